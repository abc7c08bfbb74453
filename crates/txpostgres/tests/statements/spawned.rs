//! Every call of the public interface in a task of its own (`tokio::spawn`) and in an interaction, with parameters, sets and
//! rows that borrow from what the task owns.
//!
//! Most of this is a test of types: a future that is not `Send` for whatever its parts borrow from does not compile here
//! ("implementation of `FnOnce` is not general enough"). `execute_many`, `send_many` and `iter_as` with a borrowed shape
//! were such before.

use std::future::Future;

use txpostgres::types::ToSql;
use txpostgres::{Connection, Cursor, Error, ErrorKind, FetchDirection, Result, Scalar, Scroll};

use crate::support::{bounded, connected, count};

const INSERT: &str = "insert into people values ($1, $2)";

struct Person {
    id: i32,
    name: String,
}

fn people() -> Vec<Person> {
    (1..=3).map(|id| Person { id, name: format!("person {id}") }).collect()
}

/// Runs it as a task.
async fn spawned<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    bounded(tokio::spawn(future)).await.unwrap()
}

async fn with_people() -> (txpostgres_testkit::Database, Connection) {
    let (database, connection) = connected().await;
    bounded(connection.run_operation("create table people (id int, name text)", ())).await.unwrap();
    (database, connection)
}

#[tokio::test]
async fn sets_that_borrow_go_through_a_task() {
    let (_database, connection) = with_people().await;

    let (c, people_) = (connection.clone(), people());
    let done =
        spawned(
            async move { c.execute_many(INSERT, people_.iter().map(|p| (p.id, &p.name))).await },
        );
    assert_eq!(done.await.unwrap(), 3);

    let (c, people_) = (connection.clone(), people());
    let done = spawned(async move {
        let cursor = c.cursor();
        cursor.execute_many(INSERT, people_.iter().map(|p| (p.id, p.name.as_str()))).await
    });
    assert_eq!(done.await.unwrap(), 3);

    let (c, people_) = (connection.clone(), people());
    let done = spawned(async move {
        let mut copy = c.copy_in_rows("people", &["id", "name"]).await?;
        copy.send_many(people_.iter().map(|p| (p.id, &p.name))).await?;
        for person in &people_ {
            copy.send((person.id, &person.name)).await?;
        }
        copy.finish().await
    });
    assert_eq!(done.await.unwrap(), 6);
    assert_eq!(count(&connection, "select count(*) from people").await, 12);
}

#[tokio::test]
async fn sets_that_borrow_go_through_an_interaction() {
    let (_database, connection) = with_people().await;

    // From where the interaction is begun, and from within it.
    let outside = people();
    let done = connection.run_interaction(async |cursor| {
        let inside = people();
        let sets = outside.iter().chain(&inside);
        cursor.execute_many(INSERT, sets.map(|p| (p.id, &p.name))).await
    });
    assert_eq!(bounded(done).await.unwrap(), 6);

    let (c, outside) = (connection.clone(), people());
    let done = spawned(async move {
        c.run_interaction(async |cursor| {
            cursor.execute_many(INSERT, outside.iter().map(|p| (p.id, &p.name))).await?;
            let mut copy = cursor.copy_in_rows("people", &[]).await?;
            copy.send_many(outside.iter().map(|p| (p.id, &p.name))).await?;
            let copied = copy.finish().await?;
            cursor
                .run_interaction(async |nested| {
                    nested.execute_many(INSERT, outside.iter().map(|p| (p.id, &p.name))).await
                })
                .await
                .map(|inserted| inserted + copied)
        })
        .await
    });
    assert_eq!(done.await.unwrap(), 6);
    assert_eq!(count(&connection, "select count(*) from people").await, 15);
}

#[tokio::test]
async fn rows_that_are_borrowed_from_go_through_a_task() {
    let (_database, connection) = with_people().await;
    let c = connection.clone();
    let done = spawned(async move {
        let sql = "select n, 'person ' || n from generate_series(1, 3) n";
        let rows = c.run_query(sql, ()).await?;
        for person in rows.iter_as::<(i32, &str)>()? {
            let person = person?;
            c.run_operation(INSERT, (person.0, person.1)).await?;
        }
        for row in &rows {
            c.run_operation(INSERT, (row.get::<i32>(0)?, row.get::<&str>(1)?)).await?;
        }
        c.run_interaction(async |cursor| {
            for name in cursor.run_query("select name from people", ()).await?.iter_as()? {
                let Scalar::<&str>(name) = name?;
                cursor.run_query("select $1::text", (name,)).await?;
            }
            cursor.execute_many(INSERT, rows.iter_as::<(i32, &str)>()?.map_while(Result::ok)).await
        })
        .await
    });
    assert_eq!(done.await.unwrap(), 3);
    assert_eq!(count(&connection, "select count(distinct name) from people").await, 3);
    assert_eq!(count(&connection, "select count(*) from people").await, 9);
}

/// All that a cursor can do, with values that are borrowed.
async fn every_call_of_a_cursor(cursor: &Cursor, person: &Person) -> Result<()> {
    let (id, name) = (person.id, person.name.as_str());
    cursor.execute("select $1::int, $2::text", (id, name)).await?;
    cursor.execute_script("select 1").await?;
    cursor.callproc("repeat", (name, 2_i32)).await?;
    cursor.callproc(("pg_catalog", "repeat"), (&name, 2_i32)).await?;
    cursor.run_query("select $1::text", (name,)).await?;
    cursor.run_query("select $1::text", (name,)).in_text().await?;
    cursor.run_query_as::<Scalar<String>, _>("select $1::text", (name,)).await?;
    cursor.with_rows_as::<(String,)>().run_query("select $1::text", (name,)).await?;
    cursor.run_operation(INSERT, (id, name)).await?;
    cursor.run_script(&format!("select {id}")).await?;
    cursor.batch().add(INSERT, (id, name)).add(INSERT, (&id, &name)).send().await?;
    let mut stream = cursor.query_stream("select $1::text", (name,));
    stream.next().await.transpose()?;
    let mut stream = cursor.query_stream("select $1::text", (name,)).rows_as::<(String,)>();
    stream.next().await.transpose()?;
    drop(stream);
    cursor.notify(name, name).await?;

    let mut copy = cursor.copy_in(&format!("copy people from stdin -- {name}")).await?;
    copy.send(&format!("{id}\t{name}\n")).await?;
    copy.flush().await?;
    copy.finish().await?;
    let mut copy = cursor.copy_out("copy people to stdout").await?;
    while copy.next().await.transpose()?.is_some() {}
    let mut copy = cursor.copy_in_rows(("public", "people"), &["id", "name"]).await?;
    copy.send((id, name)).await?;
    copy.send_many([(id, name)]).await?;
    copy.finish().await?;
    let mut copy = cursor.copy_out_rows("select name from people").await?;
    while copy.next().await.transpose()?.is_some() {}
    assert!(copy.next_rows().await?.is_none());

    let builder = cursor.named(name).with_hold(true).scroll(true);
    let mut named = builder.open("select $1::text union all select $1", (name,)).await?;
    named.next().await?;
    named.fetch(FetchDirection::First).await?;
    named.fetch_as::<(String,)>(FetchDirection::First).await?;
    named.move_to(FetchDirection::Last).await?;
    named.scroll(0, Scroll::Absolute).await?;
    named.close().await
}

#[tokio::test]
async fn every_call_of_a_cursor_goes_through_a_task() {
    let (_database, connection) = with_people().await;
    let c = connection.clone();
    let done = spawned(async move {
        for person in &people() {
            every_call_of_a_cursor(&c.cursor(), person).await?;
        }
        for person in &people() {
            c.run_interaction(async |cursor| {
                // Not in one place: they are many.
                Box::pin(every_call_of_a_cursor(&cursor, person)).await?;
                let nested = cursor.run_interaction(async |nested| {
                    Box::pin(every_call_of_a_cursor(&nested, person)).await
                });
                nested.await
            })
            .await?;
        }
        Ok::<_, Error>(())
    });
    done.await.unwrap();
}

#[tokio::test]
async fn every_call_of_a_connection_goes_through_a_task() {
    let (database, connection) = with_people().await;
    let (c, dsn) = (connection.clone(), database.dsn());
    let done = spawned(async move {
        let person = Person { id: 1, name: "Ada".to_owned() };
        let (id, name) = (person.id, person.name.as_str());
        let other = Connection::new();
        other.connect(&dsn).await?;
        other.close().await;
        let other = Connection::open(dsn.as_str()).await?;
        other.close().await;

        c.run_query("select $1::text", (name,)).await?;
        c.run_query_as::<Scalar<String>, _>("select $1::text", (&name,)).await?;
        c.with_rows_as::<(String,)>().run_query("select $1::text", (name,)).await?;
        c.run_operation(INSERT, (id, name)).await?;
        c.run_operation(INSERT, &[&id as &(dyn ToSql + Sync), &name]).await?;
        c.run_operation(INSERT, &vec![&id as &(dyn ToSql + Sync), &name]).await?;
        c.run_script(&format!("select {id}")).await?;
        let mut stream = c.query_stream("select $1::text", (name,));
        while stream.next().await.transpose()?.is_some() {}
        let mut stream = c.query_stream("select $1::text", (name,));
        while stream.next_rows().await?.is_some() {}
        let values: Vec<&(dyn ToSql + Sync)> = vec![&id, &name];
        let mut stream = c.query_stream("select $1::int, $2::text", &values);
        while stream.next().await.transpose()?.is_some() {}
        let mut stream = c.query_stream("select $1::int, $2::text", &values[..]);
        while stream.next().await.transpose()?.is_some() {}
        let everybody = people();
        let mut batch = c.batch().add(INSERT, &values);
        for person in &everybody {
            batch.push(INSERT, (person.id, &person.name));
        }
        batch.add(INSERT, (id, name)).send().await?;
        c.execute_many(INSERT, everybody.iter().map(|_| &values)).await?;
        c.execute_many(INSERT, [(id, name)]).await?;

        let mut copy = c.copy_in(&format!("copy people from stdin -- {name}")).await?;
        copy.send(name).await?;
        copy.abort(&format!("no {name}")).await?;
        let mut copy = c.copy_out(&format!("copy people to stdout -- {name}")).await?;
        while copy.next().await.transpose()?.is_some() {}
        let copy =
            c.copy_in_rows(&person.name.to_lowercase().replace("ada", "people"), &[]).await?;
        copy.abort(&format!("no {name}")).await?;
        let mut copy = c.copy_out_rows(&format!("select name from people -- {name}")).await?;
        while copy.next_rows().await?.is_some() {}

        let limited = c.run_query("select pg_sleep(60), $1::text", (name,));
        let error = limited.timeout(std::time::Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let mut cancelled = c.run_query("select pg_sleep(60), $1::text", (name,));
        let handle = cancelled.cancel_handle();
        let (cancelled, _) = tokio::join!(cancelled, c.cancel(&handle));
        assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Cancelled);

        c.listen(name).await?;
        let mut heard = c.subscribe(name).await?;
        c.notify(name, name).await?;
        assert_eq!(heard.next().await.unwrap().notification().unwrap().payload(), name);
        c.unlisten(name).await?;
        c.unlisten_all().await?;

        let interaction = c.interaction().read_only(true);
        interaction.run(async |cursor| cursor.run_query("select $1::text", (name,)).await).await?;
        Ok::<_, Error>(())
    });
    done.await.unwrap();
}
