//! The page on rows as a stream.

use std::time::Duration;

use txpostgres::{Delivery, Error, ErrorKind};

use super::connected;
use super::support::{assert_works, bounded, count, until_session};

const PEOPLE: &str =
    "insert into people (id, name) select n, 'number ' || n from generate_series(1, 300) n";

#[tokio::test]
async fn rows_one_by_one_and_many_at_a_time() {
    let (_database, connection) = connected().await;
    connection.run_operation(PEOPLE, ()).await.unwrap();
    let sql = "select id, name from people where id > $1 order by id";
    let mut people = connection.query_stream(sql, (10_i64,));
    let mut last = 10;
    while let Some(row) = bounded(people.next()).await {
        let row = row.unwrap();
        last += 1;
        assert_eq!(row.get::<i64>("id").unwrap(), last);
        assert_eq!(row.get::<&str>("name").unwrap(), format!("number {last}"));
    }
    assert_eq!((last, people.row_count()), (300, Some(290)));

    let mut numbers = connection.query_stream("select n from generate_series(1, 50000) n", ());
    let (mut sum, mut batches) = (0_i64, 0_i64);
    while let Some(rows) = bounded(numbers.next_rows()).await.unwrap() {
        batches += 1;
        for row in &rows {
            sum += i64::from(row.get::<i32>(0).unwrap());
        }
    }
    assert_eq!(sum, 50_000 * 50_001 / 2);
    assert!(batches < 1_000, "{batches}");
}

#[tokio::test]
async fn a_slow_reader_and_an_early_end() {
    let (database, connection) = connected().await;
    let sql = "select repeat('x', 1000) from generate_series(1, 10000000)";
    let mut slow = connection.query_stream(sql, ()).limit(10_000);
    bounded(slow.next()).await.unwrap().unwrap();
    let pid = connection.backend_pid().unwrap();
    until_session(&database, pid, "wait_event = 'ClientWrite'").await;
    drop(slow);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_call_behind_a_stream_of_its_own_task() {
    let (_database, connection) = connected().await;
    let mut numbers = connection.query_stream("select n from generate_series(1, 500000) n", ());
    let first = bounded(numbers.next()).await.unwrap().unwrap();
    assert_eq!(first.get::<i32>(0).unwrap(), 1);
    let call = connection.run_query("select 1", ()).timeout(Duration::from_millis(100));
    let error = bounded(call).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    let next = bounded(numbers.next()).await.unwrap().unwrap();
    assert_eq!(next.get::<i32>(0).unwrap(), 2);
}

#[tokio::test]
async fn a_stream_in_an_interaction() {
    let (_database, connection) = connected().await;
    connection.run_operation(PEOPLE, ()).await.unwrap();
    bounded(connection.run_interaction(async |cursor| {
        let mut people = cursor.query_stream("select id, note from people", ());
        while let Some(row) = people.next().await {
            let row = row?;
            assert_eq!(row.get::<Option<&str>>("note")?, None, "as it was when it began");
            let update = "update people set note = 'seen' where id = $1";
            cursor.run_operation(update, (row.get::<i64>("id")?,)).await?;
        }
        // Two at once, and one that is stopped early.
        let mut one = cursor.query_stream("select id from people", ());
        let mut other = cursor.query_stream("select id from people", ());
        one.next().await.unwrap()?;
        other.next().await.unwrap()?;
        drop(one);
        cursor.run_query("select 1", ()).await?;
        other.next().await.unwrap()?;
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    assert_eq!(count(&connection, "select count(*) from people where note = 'seen'").await, 300);
}

#[tokio::test]
async fn a_time_limit_and_a_handle() {
    let (_database, connection) = connected().await;
    let sql = "select n, pg_sleep(0.001) from generate_series(1, 100000) n";
    let mut report = connection.query_stream(sql, ()).timeout(Duration::from_millis(50));
    let error = loop {
        if let Err(error) = bounded(report.next()).await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout);

    let mut report = connection.query_stream(sql, ());
    let handle = report.cancel_handle();
    bounded(report.next()).await.unwrap().unwrap();
    drop(connection.cancel(&handle));
    let error = loop {
        if let Err(error) = bounded(report.next()).await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_works(&connection).await;
}
