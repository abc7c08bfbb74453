//! Parameters in all their forms: by reference, as lists whose values are known at run time, one statement's or one row's of
//! a COPY.
//!
//! What was not taken before did not compile: a reference to a tuple, and lists that own their values, may be sent, or are
//! given by value.

use txpostgres::types::ToSql;
use txpostgres::{ErrorKind, Result};

use crate::support::{bounded, connected, count};

const INSERT: &str = "insert into people values ($1, $2)";
const COUNT: &str = "select count(*) from people where name = 'person ' || id";

fn people() -> Vec<(i32, String)> {
    (1..=3).map(|id| (id, format!("person {id}"))).collect()
}

#[tokio::test]
async fn sets_and_rows_may_be_references() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table people (id int, name text)", ()).await.unwrap();
    let everybody = people();
    let done = bounded(connection.execute_many(INSERT, &everybody)).await;
    assert_eq!(done.unwrap(), 3);
    let last = everybody.iter().rev().take(1);
    assert_eq!(bounded(connection.execute_many(INSERT, last)).await.unwrap(), 1);

    let mut copy = bounded(connection.copy_in_rows("people", &[])).await.unwrap();
    bounded(copy.send_many(&everybody)).await.unwrap();
    bounded(copy.send(&everybody[0])).await.unwrap();
    let error = bounded(copy.send(&("no", 1_i32))).await.unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Parameter, Some(4)));
    assert_eq!(bounded(copy.finish()).await.unwrap(), 4);

    assert_eq!(bounded(connection.run_operation(INSERT, &everybody[0])).await.unwrap(), 1);
    let mut batch = connection.batch();
    for person in &everybody {
        batch.push(INSERT, person);
    }
    let done: Result<Vec<_>> = bounded(batch.send()).await.unwrap().into_iter().collect();
    assert_eq!(done.unwrap().len(), 3);
    assert_eq!(count(&connection, COUNT).await, 12);
}

#[tokio::test]
async fn lists_may_own_their_values() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table people (id int, name text)", ()).await.unwrap();
    let everybody = people();
    let c = connection.clone();
    let done = tokio::spawn(async move {
        let boxed: Vec<Vec<Box<dyn ToSql + Sync + Send>>> = everybody
            .iter()
            .map(|(id, name)| -> Vec<Box<dyn ToSql + Sync + Send>> {
                vec![Box::new(*id), Box::new(name.clone())]
            })
            .collect();
        c.run_operation(INSERT, &boxed[0]).await?;
        c.run_operation(INSERT, &boxed[1][..]).await?;
        c.execute_many(INSERT, &boxed).await?;
        let mut copy = c.copy_in_rows("people", &["id", "name"]).await?;
        copy.send_many(boxed).await?;
        copy.finish().await?;

        let seen: Vec<&(dyn ToSql + Sync + Send)> = vec![&everybody[0].0, &everybody[0].1];
        c.run_operation(INSERT, &seen).await?;
        c.run_operation(INSERT, seen).await?;
        let seen: Vec<&(dyn ToSql + Sync)> = vec![&everybody[0].0, &everybody[0].1];
        c.run_operation(INSERT, &seen[..]).await?;
        c.run_operation(INSERT, seen).await?;
        c.run_operation(INSERT, [&everybody[0].0 as &(dyn ToSql + Sync), &everybody[0].1]).await
    });
    assert_eq!(bounded(done).await.unwrap().unwrap(), 1);
    assert_eq!(count(&connection, COUNT).await, 13);
}
