//! Time limits and cancel handles of what makes several calls, a batch and a named cursor.

use std::time::{Duration, Instant};

use txpostgres::{
    Batch, Connection, Delivery, Error, ErrorKind, FetchDirection, NamedCursor, ResultSet,
    TransactionStatus,
};

use crate::support::polls::GiveUp;
use crate::support::{assert_works, bounded, connected, count, occupied, until_session};

/// Takes longer than any test.
const SLEEP: &str = "select pg_sleep(60)";
/// Waits for its time, and no longer.
const SOON: Duration = Duration::from_millis(300);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

fn became(result: &Result<ResultSet, Error>) -> (ErrorKind, Delivery) {
    let error = result.as_ref().unwrap_err();
    (error.kind(), error.delivery())
}

// --- Batches ---

async fn with_table() -> (txpostgres_testkit::Database, Connection) {
    let (database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    (database, connection)
}

/// One that is done, one that runs for ever, and two behind it.
fn stuck(batch: Batch<'_>) -> Batch<'_> {
    let insert = "insert into t values ($1)";
    batch.add(insert, (1_i32,)).add(SLEEP, ()).add(insert, (2_i32,)).add("select 1 / 0", ())
}

#[tokio::test]
async fn a_batch_is_cancelled_where_it_is() {
    let (database, connection) = with_table().await;
    let pid = connection.backend_pid().unwrap();
    let mut batch = stuck(connection.batch());
    let handle = batch.cancel_handle();
    let cancel = async {
        until_session(&database, pid, "wait_event = 'PgSleep'").await;
        connection.cancel(&handle).await.unwrap();
    };
    let (results, ()) = bounded(async { tokio::join!(batch.send(), cancel) }).await;
    let results = results.unwrap();
    assert_eq!(results[0].as_ref().unwrap().row_count(), 1);
    assert_eq!(became(&results[1]), (ErrorKind::Cancelled, Delivery::Answered));
    assert_eq!(became(&results[2]), (ErrorKind::Cancelled, Delivery::NotSent));
    assert_eq!(became(&results[3]), (ErrorKind::Cancelled, Delivery::NotSent));
    assert_works(&connection).await;
    assert_eq!(connection.backend_pid(), Some(pid));
    assert_eq!(count(&connection, "select count(*) from t").await, 1);
    // Before it is sent, and when it is over.
    let mut batch = stuck(connection.batch());
    bounded(batch.cancel_handle().cancel()).await.unwrap();
    let results = bounded(batch.send()).await.unwrap();
    assert!(results.iter().all(|result| became(result).1 == Delivery::NotSent));
    bounded(connection.cancel(&handle)).await.unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_batch_has_its_time_limit() {
    let (database, connection) = with_table().await;
    let began = Instant::now();
    let results = bounded(stuck(connection.batch()).timeout(SOON).send()).await.unwrap();
    assert!(began.elapsed() >= SOON && began.elapsed() < Duration::from_secs(5));
    assert!(results[0].is_ok());
    assert_eq!(became(&results[1]), (ErrorKind::Timeout, Delivery::Answered));
    assert_eq!(became(&results[2]), (ErrorKind::Timeout, Delivery::NotSent));
    assert_eq!(became(&results[3]), (ErrorKind::Timeout, Delivery::NotSent));
    until_session(&database, connection.backend_pid().unwrap(), "state = 'idle'").await;
    assert_works(&connection).await;
    // It is for all of them together.
    let began = Instant::now();
    let mut batch = connection.batch().timeout(SOON);
    for _ in 0..100 {
        batch.push("select pg_sleep(0.1)", ());
    }
    let results = bounded(batch.send()).await.unwrap();
    let done = results.iter().filter(|result| result.is_ok()).count();
    assert!(done <= 3 && began.elapsed() < Duration::from_secs(5), "{done} done");
    // In time, with statements that have to be described and such that fail.
    let batch = connection.batch().add("insert into t values ($1)", (1_i32,)).timeout(LONG);
    let results = batch.add("select 1 / 0", ()).add("select $1::int", (5_i32,)).send();
    let results = bounded(results).await.unwrap();
    assert_eq!(became(&results[1]).0, ErrorKind::Server);
    assert_eq!(results[2].as_ref().unwrap().row_count(), 1);
    assert!(bounded(connection.batch().timeout(LONG).send()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_that_is_dropped_is_cancelled_if_asked_to() {
    let (database, connection) = with_table().await;
    for after in 1..8 {
        let give_up = GiveUp { after, woken: false };
        let batch = stuck(connection.batch()).cancel_on_drop();
        let waiting = give_up.poll(batch.send());
        // The last poll may be the one that waits for the statement that sleeps.
        let _ = tokio::time::timeout(SOON, waiting).await;
        until_session(&database, connection.backend_pid().unwrap(), "state = 'idle'").await;
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn in_an_interaction_a_batch_that_is_cancelled_fails_it() {
    let (_database, connection) = with_table().await;
    bounded(connection.run_interaction(async |outer| {
        let nested: Result<(), Error> = outer
            .run_interaction(async |cursor| {
                let mut results = stuck(cursor.batch()).timeout(SOON).send().await?;
                assert_eq!(became(&results[3]), (ErrorKind::Timeout, Delivery::NotSent));
                results.swap_remove(1).map(drop)
            })
            .await;
        assert_eq!(nested.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(connection.transaction_status(), Some(TransactionStatus::InTransaction));
        outer.run_query("select 1", ()).await
    }))
    .await
    .unwrap();
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
}

/// Between two of its statements it waits for its turn, and nothing of it is on the line.
#[tokio::test]
async fn a_batch_is_cancelled_between_its_statements() {
    let (_database, connection) = with_table().await;
    let mut batch = connection.batch().add("select pg_sleep(0.05)", ());
    batch.push("insert into t values (1)", ());
    let handle = batch.cancel_handle();
    let mut sending = Box::pin(batch.send());
    let once = GiveUp { after: 1, woken: false };
    assert!(once.poll(&mut sending).await.is_none());
    let occupied = occupied(&connection).await;
    assert!(once.poll(&mut sending).await.is_none());
    bounded(connection.cancel(&handle)).await.unwrap();
    let results = bounded(sending).await.unwrap();
    occupied.leave().await;
    assert!(results[0].is_ok());
    assert_eq!(became(&results[1]), (ErrorKind::Cancelled, Delivery::NotSent));
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
}

// --- Named cursors ---

const NUMBERS: &str = "select n from generate_series(1, $1::int4) n";
/// Whose second row takes longer than any test.
const STUCK: &str =
    "select n from generate_series(1, 5) n where pg_sleep((n / 2 * 60)) is not null";

async fn number(cursor: &mut NamedCursor) -> Option<i32> {
    bounded(cursor.next()).await.unwrap().map(|row| row.get(0).unwrap())
}

#[tokio::test]
async fn a_cursor_is_cancelled_while_it_is_declared() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    // What is held is run to its end when it is declared.
    let held = || connection.cursor().named("c").with_hold(true);
    let mut builder = held();
    let handle = builder.cancel_handle();
    let cancel = async {
        until_session(&database, pid, "wait_event = 'PgSleep'").await;
        connection.cancel(&handle).await.unwrap();
    };
    let (opened, ()) = bounded(async { tokio::join!(builder.open(SLEEP, ()), cancel) }).await;
    let error = opened.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::Answered));
    let began = Instant::now();
    let error = bounded(held().timeout(SOON).open(SLEEP, ())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Answered));
    assert!(began.elapsed() >= SOON && began.elapsed() < Duration::from_secs(5));
    // Nothing is left of them.
    let mut cursor = bounded(held().timeout(LONG).open(NUMBERS, (1_i32,))).await.unwrap();
    assert_eq!((number(&mut cursor).await, number(&mut cursor).await), (Some(1), None));
    bounded(cursor.close()).await.unwrap();
    assert_works(&connection).await;
    assert_eq!(connection.backend_pid(), Some(pid));
}

#[tokio::test]
async fn a_cursor_is_cancelled_while_it_fetches() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    bounded(connection.run_interaction(async |outer| {
        for limited in [false, true] {
            let nested: Result<(), Error> = outer
                .run_interaction(async |cursor| {
                    let mut builder = cursor.named("c").rows_ahead(1);
                    let handle = builder.cancel_handle();
                    if limited {
                        builder = builder.timeout(SOON);
                    }
                    let mut named = builder.open(STUCK, ()).await?;
                    assert_eq!(number(&mut named).await, Some(1));
                    let cancel = async {
                        if !limited {
                            until_session(&database, pid, "wait_event = 'PgSleep'").await;
                            handle.cancel().await.unwrap();
                        }
                    };
                    let (row, ()) = tokio::join!(named.next(), cancel);
                    row.map(drop)
                })
                .await;
            let error = nested.unwrap_err();
            let kind = if limited { ErrorKind::Timeout } else { ErrorKind::Cancelled };
            assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Answered));
        }
        outer.run_query("select 1", ()).await
    }))
    .await
    .unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_cursor_that_was_cancelled_asks_for_nothing_more() {
    let (_database, connection) = connected().await;
    let mut builder = connection.cursor().named("c").with_hold(true).rows_ahead(2);
    let handle = builder.cancel_handle();
    let mut cursor = bounded(builder.open(NUMBERS, (5_i32,))).await.unwrap();
    assert_eq!(number(&mut cursor).await, Some(1));
    bounded(connection.cancel(&handle)).await.unwrap();
    // Fetched it was before.
    assert_eq!(number(&mut cursor).await, Some(2));
    for _ in 0..2 {
        let error = bounded(cursor.next()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::NotSent));
    }
    bounded(cursor.close()).await.unwrap();
    assert_eq!(count(&connection, "select count(*) from pg_cursors where name <> ''").await, 0);
    bounded(connection.cancel(&handle)).await.unwrap();
    assert_works(&connection).await;
}

/// It is each call's: the time between them does not count, nor does that of one that was dropped.
#[tokio::test]
async fn the_time_limit_of_a_cursor_is_for_each_call() {
    let (_database, connection) = connected().await;
    let builder = connection.cursor().named("c").with_hold(true).rows_ahead(2).timeout(SOON);
    let mut cursor = bounded(builder.open(NUMBERS, (9_i32,))).await.unwrap();
    for n in [1, 3, 5] {
        tokio::time::sleep(2 * SOON).await;
        let once = GiveUp { after: 1, woken: false };
        let early = once.poll(cursor.next()).await;
        tokio::time::sleep(2 * SOON).await;
        if early.is_none() {
            assert_eq!(number(&mut cursor).await, Some(n));
        }
        assert_eq!(number(&mut cursor).await, Some(n + 1));
    }
    // What waits for its turn for too long is not sent, and the cursor goes on.
    let occupied = occupied(&connection).await;
    for _ in 0..2 {
        let error = bounded(cursor.fetch(FetchDirection::Last)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    }
    occupied.leave().await;
    assert_eq!(number(&mut cursor).await, Some(7));
    assert_eq!(bounded(cursor.move_to(FetchDirection::Last)).await.unwrap(), 1);
    assert_works(&connection).await;
}
