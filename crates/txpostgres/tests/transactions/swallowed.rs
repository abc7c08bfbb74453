//! A closure that swallows the error of a statement and returns `Ok`: that error is the source of
//! `CommitRefused`, and decides whether the interaction may be tried again.

use std::error::Error as _;

use txpostgres::{Connection, Cursor, Error, ErrorKind, IsolationLevel, Result, SqlState};

use crate::support::{assert_works, bounded, connected, count};

async fn raises(cursor: &Cursor, code: &str) -> Error {
    let sql = format!("do $$ begin raise exception 'no' using errcode = '{code}'; end $$");
    cursor.run_operation(&sql, ()).await.unwrap_err()
}

/// The source of a refused COMMIT, with what its code says of the whole.
fn source_of<T>(outcome: Result<T>) -> (SqlState, bool) {
    let Err(error) = outcome else { panic!("committed") };
    assert_eq!(error.kind(), ErrorKind::CommitRefused, "{error:?}");
    let source = error.source().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::Server, "{error:?}");
    assert_eq!(source.is_retryable(), error.is_retryable(), "{error:?}");
    assert_eq!(source.sqlstate(), error.sqlstate(), "{error:?}");
    assert!(error.to_string().contains(&*source.server().unwrap().message()), "{error}");
    (error.sqlstate().unwrap(), error.is_retryable())
}

#[tokio::test]
async fn the_error_that_failed_the_transaction_is_the_source() {
    let (_database, connection) = connected().await;
    for (code, state, is_retryable) in [
        ("40001", SqlState::T_R_SERIALIZATION_FAILURE, true),
        ("40P01", SqlState::T_R_DEADLOCK_DETECTED, true),
        ("22012", SqlState::DIVISION_BY_ZERO, false),
    ] {
        // As the first statement and as a later one; and what follows changes nothing.
        for before in [0, 1] {
            let outcome = bounded(connection.run_interaction(async |cursor| {
                for _ in 0..before {
                    cursor.run_query("select 1", ()).await?;
                }
                raises(&cursor, code).await;
                cursor.run_query("select 1", ()).await.unwrap_err();
                cursor.run_query("selekt 1", ()).await.unwrap_err();
                cursor.run_script("selekt 1").await.unwrap_err();
                Ok::<_, Error>(())
            }));
            assert_eq!(source_of(outcome.await), (state, is_retryable));
            assert_works(&connection).await;
        }
    }
    // Also of a call that was dropped, a script, a batch and a stream.
    let outcome = bounded(connection.run_interaction(async |cursor| {
        let mut call = Box::pin(cursor.run_query("select 1/0", ()));
        assert!(
            std::future::poll_fn(|cx| {
                std::task::Poll::Ready(call.as_mut().poll(cx).is_pending())
            })
            .await
        );
        drop(call);
        cursor.run_query("select 1", ()).await.unwrap_err();
        Ok::<_, Error>(())
    }));
    assert_eq!(source_of(outcome.await).0, SqlState::DIVISION_BY_ZERO);
    let outcome = bounded(connection.run_interaction(async |cursor| {
        cursor.query_stream("select 1/0", ()).next().await.unwrap().unwrap_err();
        Ok::<_, Error>(())
    }));
    assert_eq!(source_of(outcome.await).0, SqlState::DIVISION_BY_ZERO);
}

#[tokio::test]
async fn an_error_that_a_savepoint_has_undone_is_not_the_source() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    // Undone by a nested interaction, which is told its own.
    let kept = bounded(connection.run_interaction(async |cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        let nested = cursor.run_interaction(async |nested| {
            raises(&nested, "40001").await;
            Ok::<_, Error>(())
        });
        assert_eq!(source_of(nested.await), (SqlState::T_R_SERIALIZATION_FAILURE, true));
        cursor.run_operation("insert into t values (2)", ()).await
    }));
    kept.await.unwrap();
    assert_eq!(count(&connection, "select count(*) from t").await, 2);
    // Then another one fails the whole.
    let outcome = bounded(connection.run_interaction(async |cursor| {
        let nested =
            cursor.run_interaction(async |nested| Err::<(), _>(raises(&nested, "40001").await));
        nested.await.unwrap_err();
        raises(&cursor, "22012").await;
        Ok::<_, Error>(())
    }));
    assert_eq!(source_of(outcome.await), (SqlState::DIVISION_BY_ZERO, false));
    // By hand, also where the script that undoes the first error fails itself.
    for script in ["rollback to a; select 1/0", "rollback to a; select 1; select 1/0"] {
        let outcome = bounded(connection.run_interaction(async |cursor| {
            cursor.run_operation("savepoint a", ()).await?;
            raises(&cursor, "40001").await;
            cursor.run_script(script).await.unwrap_err();
            Ok::<_, Error>(())
        }));
        assert_eq!(source_of(outcome.await), (SqlState::DIVISION_BY_ZERO, false), "{script}");
    }
    // One that comes to nothing undoes nothing.
    let outcome = bounded(connection.run_interaction(async |cursor| {
        raises(&cursor, "40001").await;
        cursor.run_script("rollback to nowhere").await.unwrap_err();
        Ok::<_, Error>(())
    }));
    assert_eq!(source_of(outcome.await), (SqlState::T_R_SERIALIZATION_FAILURE, true));
}

/// A serialization failure of the server's own, swallowed: trying again gets through.
#[tokio::test]
async fn a_swallowed_serialization_failure_is_tried_again() {
    let (database, one) = connected().await;
    let other = bounded(Connection::open(database.dsn())).await.unwrap();
    one.run_script("create table t (n int); insert into t values (0)").await.unwrap();
    let mut tries = 0;
    loop {
        tries += 1;
        let interaction = one.interaction().isolation_level(IsolationLevel::RepeatableRead);
        let outcome = bounded(interaction.run(async |cursor| {
            cursor.run_query("select n from t", ()).await?;
            if tries == 1 {
                other.run_operation("update t set n = n + 1", ()).await?;
            }
            // Whatever became of it.
            drop(cursor.run_operation("update t set n = n + 10", ()).await);
            Ok::<_, Error>(())
        }));
        match outcome.await {
            Err(error) if error.is_retryable() && tries < 3 => {}
            outcome => break outcome.unwrap(),
        }
    }
    assert_eq!(tries, 2);
    assert_eq!(count(&one, "select n::int8 from t").await, 11);
}
