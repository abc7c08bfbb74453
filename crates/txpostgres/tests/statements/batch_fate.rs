//! Batches in interactions: what becomes of the others when one of them fails, and what is said about it.

use std::error::Error as _;
use std::time::Duration;

use txpostgres::{Batch, Connection, Delivery, Error, ErrorKind, ResultSet, SqlState};

use crate::support::{assert_works, bounded, connected, count};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

async fn with_table() -> (txpostgres_testkit::Database, Connection) {
    let (database, connection) = connected().await;
    bounded(connection.run_operation("create table ok (n int)", ())).await.unwrap();
    (database, connection)
}

/// It was not sent, and says why.
fn assert_not_run(result: &Result<ResultSet, Error>, code: Option<SqlState>, says: &str) {
    let error = result.as_ref().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Request, Delivery::NotSent));
    assert!(error.to_string().contains(says), "{error}");
    let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(cause.sqlstate(), code);
    assert!(error.to_string().ends_with(&cause.to_string()), "{error}");
}

/// What is described first fails the transaction before what stands before it is run.
#[tokio::test]
async fn what_was_not_run_for_want_of_a_description_says_so() {
    let (_database, connection) = with_table().await;
    let missing = Some(SqlState::UNDEFINED_TABLE);
    for starts in [false, true] {
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            if starts {
                cursor.run_query("select 1", ()).await?;
            }
            let results = cursor
                .batch()
                .add("insert into ok values (1)", ())
                .add("select * from ok where n = $1", (0_i32,))
                .add("select * from missing where x = $1", (1_i32,))
                .add("select $1::int8", (2_i64,))
                .add("insert into ok values (2)", ())
                .send()
                .await?;
            assert_eq!(results[2].as_ref().unwrap_err().sqlstate(), missing);
            for item in [0, 1, 3, 4] {
                let says =
                    format!("item {item} of the batch was not run, since item 2 could not be prep");
                assert_not_run(&results[item], missing, &says);
            }
            results.into_iter().collect::<Result<Vec<_>, Error>>().map(drop)
        }))
        .await;
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("42P01"), "{error}");
        assert!(error.hint().is_some() && !error.is_retryable());
    }
    assert_eq!(count(&connection, "select count(*) from ok").await, 0);
    assert_works(&connection).await;
}

#[tokio::test]
async fn what_a_batch_makes_cannot_be_described_in_it() {
    let (_database, connection) = with_table().await;
    let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        let batch = cursor.batch().add("create table later (n int)", ());
        let results = batch.add("insert into later values ($1)", (1_i32,)).send().await?;
        assert_not_run(&results[0], Some(SqlState::UNDEFINED_TABLE), "item 1 could not be");
        results.into_iter().collect::<Result<Vec<_>, Error>>().map(drop)
    }))
    .await;
    outcome.unwrap_err();
    assert_works(&connection).await;
}

/// The transaction had failed before: the server's word for that is not the reason of anything.
#[tokio::test]
async fn a_transaction_that_had_failed_before_is_named() {
    let (_database, connection) = with_table().await;
    let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        cursor.run_query("select nothing", ()).await.unwrap_err();
        let batch = cursor.batch().add("insert into ok values (1)", ());
        let results = batch.add("insert into ok values ($1)", (1_i32,)).send().await?;
        let aborted = Some(SqlState::IN_FAILED_SQL_TRANSACTION);
        assert_eq!(results[1].as_ref().unwrap_err().sqlstate(), aborted);
        assert_not_run(&results[0], aborted, "item 1 could not be prepared");
        results.into_iter().collect::<Result<Vec<_>, Error>>().map(drop)
    }))
    .await;
    outcome.unwrap_err();
    assert_works(&connection).await;
}

fn value_that_does_not_fit(batch: Batch<'_>) -> Batch<'_> {
    batch
        .add("insert into ok values ($1)", (1_i32,))
        .add("insert into ok values ($1)", ("no number",))
        .add("insert into ok values ($1)", (2_i32,))
        .add("insert into ok values (3)", ())
}

/// One that fails here, and not in the server, ends the batch as well; what to do about it is for whoever sent it.
#[tokio::test]
async fn after_a_value_that_does_not_fit_nothing_is_run() {
    let (_database, connection) = with_table().await;
    for singly in [false, true] {
        bounded(connection.run_interaction(async |cursor| {
            let mut batch = value_that_does_not_fit(cursor.batch());
            if singly {
                batch = batch.timeout(LONG);
            }
            let results = batch.send().await?;
            assert_eq!(results[0].as_ref().unwrap().row_count(), 1);
            assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::Parameter);
            for item in [2, 3] {
                let says = format!("item {item} of the batch was not run, since item 1 had failed");
                assert_not_run(&results[item], None, &says);
            }
            assert_eq!(cursor.run_operation("delete from ok", ()).await?, 1);
            Ok::<_, Error>(())
        }))
        .await
        .unwrap();
    }
    // Each is a transaction of its own.
    let results = bounded(value_that_does_not_fit(connection.batch()).send()).await.unwrap();
    assert!(results[1].is_err() && results[2].is_ok() && results[3].is_ok());
    assert_eq!(count(&connection, "select count(*) from ok").await, 3);
}

/// With the first statement goes BEGIN, and the others wait for its answer.
#[tokio::test]
async fn after_a_first_statement_that_fails_nothing_is_sent() {
    let (_database, connection) = with_table().await;
    for singly in [false, true] {
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            let mut batch = cursor.batch().add("select 1 / 0", ());
            batch.push("select 1", ());
            if singly {
                batch.cancel_handle();
            }
            let results = batch.send().await?;
            let zero = Some(SqlState::DIVISION_BY_ZERO);
            assert_eq!(results[0].as_ref().unwrap_err().sqlstate(), zero);
            assert_not_run(&results[1], zero, "since item 0 had failed");
            results.into_iter().collect::<Result<Vec<_>, Error>>().map(drop)
        }))
        .await;
        assert_eq!(outcome.unwrap_err().sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
    }
    assert_works(&connection).await;
}
