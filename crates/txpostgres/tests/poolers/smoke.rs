//! The smoke suite: each kind of call once or a few times, on one connection.

use std::time::Duration;

use txpostgres::{Connection, Error, ErrorKind, FetchDirection, NotifyEvent, Result, SqlState};

use crate::support::{assert_works, bounded};

/// What can be asked of a server or pooler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    /// A LISTEN stays in force.
    pub(crate) listens: bool,
    /// The parameters of the session are reported.
    pub(crate) reports: bool,
}

/// Runs all of it, and names the part that fails.
pub(crate) async fn smoke(dsn: &str, abilities: Abilities) {
    let connection = bounded(Connection::open(dsn)).await.unwrap();
    macro_rules! part {
        ($($name:ident)+) => {
            $(
                if let Err(error) = bounded($name(&connection)).await {
                    panic!("{}: {error:?}", stringify!($name));
                }
                assert_works(&connection).await;
            )+
        };
    }
    part! {
        statements texts_of_one_kind errors scripts batches many_at_once many_sets interactions
        savepoints types streams copies named_cursors cancels
    }
    if abilities.reports {
        assert!(connection.server_version().is_some_and(|version| version >= 140_000));
    }
    if abilities.listens {
        part! { notifications }
    }
    bounded(connection.close()).await;
    // What a session leaves to the next one of a pooler.
    bounded(connection.connect(dsn)).await.unwrap();
    part! { statements texts_of_one_kind interactions }
    bounded(connection.close()).await;
}

async fn statements(connection: &Connection) -> Result<()> {
    connection.run_operation("drop table if exists people", ()).await?;
    connection.run_operation("create table people (id int8 primary key, name text)", ()).await?;
    for id in 0..5_i64 {
        let sql = "insert into people values ($1, $2)";
        assert_eq!(connection.run_operation(sql, (id, format!("name {id}"))).await?, 1);
    }
    for id in 0..5_i64 {
        let sql = "select name from people where id = $1";
        let rows = connection.run_query(sql, (id,)).await?;
        assert_eq!(rows.first().unwrap().get::<String>(0)?, format!("name {id}"));
    }
    Ok(())
}

/// Statements with and without parameters that are told apart by their text only.
async fn texts_of_one_kind(connection: &Connection) -> Result<()> {
    for round in 0..3 {
        for n in 0..20 {
            let rows = connection.run_query(&format!("select {n}, $1::int4"), (round,)).await?;
            let row = rows.first().unwrap();
            assert_eq!((row.get::<i32>(0)?, row.get::<i32>(1)?), (n, round));
        }
    }
    Ok(())
}

async fn errors(connection: &Connection) -> Result<()> {
    for (sql, code) in [
        ("select 1 / 0", SqlState::DIVISION_BY_ZERO),
        ("select * from nowhere", SqlState::UNDEFINED_TABLE),
        ("selec", SqlState::SYNTAX_ERROR),
    ] {
        let error = connection.run_query(sql, ()).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(code));
        assert_works(connection).await;
    }
    Ok(())
}

async fn scripts(connection: &Connection) -> Result<()> {
    let results = connection.run_script("select 1; select 2, 3; begin; select 4; commit").await?;
    assert_eq!(results.len(), 5);
    Ok(())
}

async fn batches(connection: &Connection) -> Result<()> {
    let results = connection
        .batch()
        .add("select $1::int4", (1,))
        .add("select 1 / $1::int4", (0,))
        .add("select $1::text", ("three",))
        .send()
        .await?;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    Ok(())
}

/// Twenty calls in flight, one of which fails.
async fn many_at_once(connection: &Connection) -> Result<()> {
    let tasks: Vec<_> = (0..20_i32)
        .map(|n| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let rows = connection.run_query("select $1::int4, 10 / $1::int4", (n,)).await?;
                rows.first().unwrap().get::<i32>(0)
            })
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        match (n, task.await.unwrap()) {
            (0, outcome) => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Server),
            (n, outcome) => assert_eq!(outcome?, n),
        }
    }
    Ok(())
}

async fn many_sets(connection: &Connection) -> Result<()> {
    let sets = (100..1_600_i64).map(|id| (id, "one of many"));
    let count = connection.execute_many("insert into people values ($1, $2)", sets).await?;
    assert_eq!(count, 1_500);
    Ok(())
}

async fn interactions(connection: &Connection) -> Result<()> {
    let count = connection
        .run_interaction(async |cursor| {
            cursor.run_operation("delete from people where id < $1", (2_i64,)).await
        })
        .await?;
    assert_eq!(count, 2);
    let given_up = connection
        .run_interaction(async |cursor| {
            cursor.run_operation("delete from people", ()).await?;
            Err::<(), _>(Error::new(ErrorKind::Decode, "given up"))
        })
        .await;
    assert_eq!(given_up.unwrap_err().to_string(), "given up");
    let rows = connection.run_query("select count(*) from people where id < 5", ()).await?;
    assert_eq!(rows.first().unwrap().get::<i64>(0)?, 3);
    Ok(())
}

async fn savepoints(connection: &Connection) -> Result<()> {
    connection
        .run_interaction(async |cursor| {
            let failed = cursor
                .run_interaction(async |cursor| cursor.run_query("select 1 / 0", ()).await)
                .await;
            assert!(failed.is_err());
            let rows = cursor.run_query("select 5", ()).await?;
            assert_eq!(rows.first().unwrap().get::<i32>(0)?, 5);
            Ok(())
        })
        .await
}

/// Types of the database are looked up, and known afterwards.
async fn types(connection: &Connection) -> Result<()> {
    let make = "drop table if exists moods; drop type if exists mood;
                create type mood as enum ('sad', 'happy'); create table moods (now mood, all_of mood[])";
    connection.run_script(make).await?;
    let sql = "insert into moods values ($1::text::mood, array['sad', 'happy']::mood[])";
    for mood in ["sad", "happy"] {
        connection.run_operation(sql, (mood,)).await?;
    }
    let sql = "select count(*) from moods where now = any (all_of)";
    assert_eq!(connection.run_query(sql, ()).await?.first().unwrap().get::<i64>(0)?, 2);
    let sql = "select array_agg(now order by now)::text[] from moods";
    let rows = connection.run_query(sql, ()).await?;
    assert_eq!(rows.first().unwrap().get::<Vec<String>>(0)?, ["sad", "happy"]);
    Ok(())
}

async fn streams(connection: &Connection) -> Result<()> {
    let sql = "select n from generate_series(1, $1) n";
    let mut stream = connection.query_stream(sql, (20_000,));
    let mut sum = 0;
    while let Some(row) = stream.next().await {
        sum += i64::from(row?.get::<i32>(0)?);
    }
    assert_eq!(sum, 200_010_000);
    drop(stream);
    // Left early, and within an interaction as a portal.
    let mut left = connection.query_stream(sql, (20_000,));
    assert!(left.next().await.is_some());
    drop(left);
    connection
        .run_interaction(async |cursor| {
            let mut stream = cursor.query_stream(sql, (5_000,));
            let mut count = 0;
            while let Some(row) = stream.next().await {
                row?;
                count += 1;
            }
            assert_eq!(count, 5_000);
            Ok(())
        })
        .await
}

async fn copies(connection: &Connection) -> Result<()> {
    connection
        .run_script("drop table if exists copied; create table copied (id int8, t text)")
        .await?;
    let mut copy = connection.copy_in("copy copied from stdin").await?;
    for id in 0..2_000 {
        copy.send(format!("{id}\tcopied\n")).await?;
    }
    assert_eq!(copy.finish().await?, 2_000);
    let mut copy = connection.copy_in_rows("copied", &["id", "t"]).await?;
    for id in 0..100_i64 {
        copy.send((id, "row")).await?;
    }
    assert_eq!(copy.finish().await?, 100);
    let mut copy = connection.copy_out("copy copied to stdout").await?;
    let mut lines = 0;
    while let Some(data) = copy.next().await {
        lines += str::from_utf8(&data?).unwrap().matches('\n').count();
    }
    assert_eq!(lines, 2_100);
    drop(copy);
    let mut copy = connection.copy_out_rows("select id, t from copied where t = 'row'").await?;
    let mut rows = 0;
    while let Some(row) = copy.next().await {
        row?.get::<i64>("id")?;
        rows += 1;
    }
    assert_eq!(rows, 100);
    Ok(())
}

async fn named_cursors(connection: &Connection) -> Result<()> {
    connection
        .run_interaction(async |cursor| {
            let sql = "select n from generate_series(1, 100) n";
            let mut named = cursor.named("numbers").scroll(true).open(sql, ()).await?;
            assert_eq!(named.fetch(FetchDirection::Forward(10)).await?.len(), 10);
            let last = named.fetch(FetchDirection::Last).await?;
            assert_eq!(last.first().unwrap().get::<i32>(0)?, 100);
            named.close().await
        })
        .await
}

/// A time limit that passes cancels the statement on the server; the next one is not hit.
async fn cancels(connection: &Connection) -> Result<()> {
    let limit = Duration::from_millis(300);
    let error = connection.run_query("select pg_sleep(60)", ()).timeout(limit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(!connection.is_closed(), "the cancel did not arrive");
    for _ in 0..20 {
        assert_works(connection).await;
    }
    Ok(())
}

async fn notifications(connection: &Connection) -> Result<()> {
    let mut jobs = connection.subscribe("jobs").await?;
    connection.notify("jobs", "one").await?;
    match jobs.next().await {
        Some(NotifyEvent::Notification(job)) => assert_eq!(job.payload(), "one"),
        other => panic!("{other:?}"),
    }
    Ok(())
}
