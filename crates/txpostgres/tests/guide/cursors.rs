//! The page on cursors and batches.

use txpostgres::{Error, ErrorKind, FetchDirection, Scroll, SqlState};

use super::connected;
use super::support::{bounded, count};

const PEOPLE: &str =
    "insert into people (id, name) select n, 'number ' || n from generate_series(1, 20) n";

#[tokio::test]
async fn execute_and_fetch() {
    let (_database, connection) = connected().await;
    connection.run_operation(PEOPLE, ()).await.unwrap();
    let cursor = connection.cursor();
    let sql = "select id, name from people where id > $1 order by id";
    assert_eq!(bounded(cursor.execute(sql, (10_i64,))).await.unwrap(), 10);
    assert_eq!(cursor.fetch_one().unwrap().unwrap().get::<&str>("name").unwrap(), "number 11");
    assert_eq!(cursor.fetch_many(5).unwrap().len(), 5);
    let rest: Vec<(i64, String)> = cursor.fetch_all_as().unwrap();
    assert_eq!((rest.len(), rest[0].0), (4, 17));
    cursor.scroll(-2, Scroll::Relative).unwrap();
    assert_eq!(cursor.row_number(), Some(8));
    assert_eq!(cursor.fetch_all_as::<(i64, String)>().unwrap()[0].0, 19);
    let columns = cursor.description().unwrap();
    assert_eq!(columns[1].name(), "name");
    assert!(columns[1].table_oid().is_some());

    bounded(cursor.execute_script("select count(*) from people; select sum(sum) from account"))
        .await
        .unwrap();
    assert_eq!(cursor.fetch_one_as::<(String,)>().unwrap(), Some(("20".to_owned(),)));
    assert!(cursor.next_set().unwrap());
    assert_eq!(cursor.fetch_one_as::<(String,)>().unwrap(), Some(("100".to_owned(),)));
    assert!(!cursor.next_set().unwrap());

    bounded(cursor.callproc("repeat", ("ab", 3_i32))).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(String,)>().unwrap(), Some(("ababab".to_owned(),)));
    bounded(cursor.callproc(("pg_catalog", "upper"), ("ab",))).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(String,)>().unwrap(), Some(("AB".to_owned(),)));
}

#[tokio::test]
async fn many_sets_and_many_statements() {
    let (_database, connection) = connected().await;
    let insert = "insert into people (id, name) values ($1, $2)";
    let people = [(1_i64, "Ada"), (2, "Grace"), (3, "Mary")];
    assert_eq!(bounded(connection.execute_many(insert, people)).await.unwrap(), 3);
    let cursor = connection.cursor();
    let sets = (4..=1_000_i64).map(|id| (id, format!("number {id}")));
    let returning = "insert into people (id, name) values ($1, $2) returning id";
    bounded(cursor.execute_many(returning, sets)).await.unwrap();
    assert!(cursor.fetch_all_as::<(i64,)>().unwrap().into_iter().map(|(id,)| id).eq(4..=1_000));

    let insert = "insert into people (id) values ($1)";
    let outcome = connection
        .run_interaction(async |cursor| {
            cursor.execute_many(insert, [(1_001_i64,), (1_002,), (1_001,)]).await
        })
        .await;
    assert_eq!(outcome.unwrap_err().item(), Some(2));
    assert_eq!(count(&connection, "select count(*) from people").await, 1_000);

    let batch = connection
        .batch()
        .add("insert into people (id, name) values ($1, $2)", (1_i64, "Ada"))
        .add("update account set sum = sum + $1 where id = 1", (100_i64,))
        .add("select count(*) from people", ());
    let results = bounded(batch.send()).await.unwrap();
    let error = results[0].as_ref().unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
    assert_eq!(results[1].as_ref().unwrap().tag().as_str(), "UPDATE 1");
    assert_eq!(results[2].as_ref().unwrap().row_count(), 1);
}

#[tokio::test]
async fn named_cursors() {
    let (_database, connection) = connected().await;
    connection.run_operation(PEOPLE, ()).await.unwrap();
    let query = "select id, name from people order by id";
    bounded(connection.run_interaction(async |cursor| {
        let mut people = cursor.named("people").scroll(true).open(query, ()).await?;
        let mut read = 0;
        while let Some(row) = people.next().await? {
            read += 1;
            assert_eq!(row.get::<i64>("id")?, read);
        }
        let last: Vec<(i64, String)> = people.fetch_as(FetchDirection::Last).await?;
        assert_eq!((read, last[0].0), (20, 20));
        let before: Vec<(i64, String)> = people.fetch_as(FetchDirection::Backward(5)).await?;
        assert_eq!(before.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [19, 18, 17, 16, 15]);
        assert_eq!(people.move_to(FetchDirection::First).await?, 1);
        people.close().await
    }))
    .await
    .unwrap();

    let cursor = connection.cursor();
    let held = cursor.named("report").with_hold(true).open(query, ());
    let mut report = bounded(held).await.unwrap();
    connection.run_operation("delete from people", ()).await.unwrap();
    let mut read = 0;
    while let Some(row) = bounded(report.next()).await.unwrap() {
        read += 1;
        assert_eq!(row.get::<i64>(0).unwrap(), read);
    }
    assert_eq!(read, 20);
    bounded(report.close()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_meant_to_be_done() {
    let (_database, connection) = connected().await;
    let cursor = connection.cursor();
    assert_eq!(cursor.fetch_one().unwrap_err().kind(), ErrorKind::Request);
    let unheld = bounded(cursor.named("c").open("select 1", ())).await;
    assert_eq!(unheld.unwrap_err().kind(), ErrorKind::Request);
    cursor.close();
    let error = bounded(cursor.execute("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);

    // Beyond its interaction, only what was executed before can be fetched.
    let kept = connection
        .run_interaction(async |cursor| {
            cursor.execute("select 7", ()).await?;
            Ok::<_, Error>(cursor)
        })
        .await
        .unwrap();
    assert_eq!(kept.fetch_one_as::<(i32,)>().unwrap(), Some((7,)));
    let error = bounded(kept.execute("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
}
