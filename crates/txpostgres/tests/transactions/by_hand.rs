//! Transactions that statements begin and end by hand, beside interactions.

use std::future::{Future, poll_fn};
use std::task::Poll;

use txpostgres::{Connection, Cursor, Delivery, Error, ErrorKind, TransactionStatus};

use crate::support::{assert_works, bounded, connected, count};

const ROWS: &str = "select count(*) from t";

async fn with_table() -> (txpostgres_testkit::Database, Connection) {
    let (database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    (database, connection)
}

async fn insert(cursor: &Cursor, n: i32) -> Result<(), Error> {
    cursor.run_operation("insert into t values ($1)", (n,)).await.map(drop)
}

/// The interaction's BEGIN would be a warning, and its end would end what is not its own.
#[tokio::test]
async fn an_interaction_is_refused_in_a_transaction_begun_by_hand() {
    let (_database, connection) = with_table().await;
    for failed in [false, true] {
        connection.run_operation("begin", ()).await.unwrap();
        connection.run_operation("insert into t values (1)", ()).await.unwrap();
        if failed {
            connection.run_query("select nothing", ()).await.unwrap_err();
        }
        let mut ran = 0;
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            for _ in 0..2 {
                let error = insert(&cursor, 2).await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.delivery()),
                    (ErrorKind::Request, Delivery::NotSent)
                );
                assert!(error.to_string().contains("a transaction is open"), "{error}");
                assert!(error.hint().is_some());
                ran += 1;
            }
            let nested = cursor.run_interaction(async |nested| insert(&nested, 3).await).await;
            assert_eq!(nested.unwrap_err().kind(), ErrorKind::Request);
            let copied = cursor.copy_in("copy t from stdin").await;
            assert_eq!(copied.unwrap_err().kind(), ErrorKind::Request);
            insert(&cursor, 4).await
        }))
        .await;
        assert_eq!((outcome.unwrap_err().kind(), ran), (ErrorKind::Request, 2));
        // One that asks for nothing harms nothing.
        bounded(connection.run_interaction(async |_| Ok::<_, Error>(()))).await.unwrap();
        let status =
            if failed { TransactionStatus::Failed } else { TransactionStatus::InTransaction };
        assert_eq!(connection.transaction_status(), Some(status), "it is still open");
        connection.run_operation("rollback", ()).await.unwrap();
        assert_eq!(count(&connection, ROWS).await, 0);
    }
    bounded(connection.run_interaction(async |cursor| insert(&cursor, 5).await)).await.unwrap();
    assert_eq!(count(&connection, ROWS).await, 1);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_named_cursor_of_the_connection_says_where_it_could_live() {
    let (_database, connection) = with_table().await;
    connection.run_operation("begin", ()).await.unwrap();
    let error = bounded(connection.cursor().named("c").open("select 1", ())).await.unwrap_err();
    assert!(!error.to_string().contains("there is none"), "{error}");
    assert!(error.hint().unwrap().contains("run_interaction"));
    connection.run_operation("rollback", ()).await.unwrap();
}

/// Statements after which a transaction is open, as before them; but what was done before them is committed.
const COMMITS: [&str; 4] = [
    "commit and chain",
    "end and chain",
    "commit; begin",
    "insert into t values (0); commit; begin; select 1",
];

#[tokio::test]
async fn a_commit_that_begins_anew_ends_the_interaction() {
    let (_database, connection) = with_table().await;
    for commits in COMMITS {
        for fails in [false, true] {
            connection.run_operation("delete from t", ()).await.unwrap();
            let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
                insert(&cursor, 1).await?;
                cursor.run_script(commits).await?;
                let error = insert(&cursor, 2).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InteractionEnded, "{commits}");
                if fails { Err(error) } else { Ok(()) }
            }))
            .await;
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InteractionEnded, "{commits}");
            assert!(count(&connection, ROWS).await > 0);
            assert_eq!(count(&connection, "select count(*) from t where n = 2").await, 0);
            assert_works(&connection).await;
        }
    }
    // As one statement, and by its END nobody waits.
    let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        cursor.run_operation("commit and chain", ()).await?;
        insert(&cursor, 2).await
    }))
    .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InteractionEnded);
    assert_works(&connection).await;
}

/// A script that commits and fails then: the error is the statement's, and the interaction is over all the same.
#[tokio::test]
async fn a_script_that_fails_after_its_commit_ends_the_interaction() {
    let (_database, connection) = with_table().await;
    let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        let error = cursor.run_script("commit; begin; select nothing").await.unwrap_err();
        assert!(error.has_committed());
        assert_eq!(insert(&cursor, 2).await.unwrap_err().kind(), ErrorKind::InteractionEnded);
        Ok(())
    }))
    .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InteractionEnded);
    assert_eq!(count(&connection, ROWS).await, 1);
    assert_works(&connection).await;
}

/// Nobody waits for the answer of the COMMIT.
#[tokio::test]
async fn a_commit_that_is_dropped_ends_the_interaction() {
    let (_database, connection) = with_table().await;
    let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        let mut commit = Box::pin(cursor.run_script("select pg_sleep(0.02); commit; begin"));
        assert!(poll_fn(|cx| Poll::Ready(commit.as_mut().poll(cx).is_pending())).await);
        drop(commit);
        cursor.run_query("select 1", ()).await?;
        insert(&cursor, 2).await
    }))
    .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InteractionEnded);
    assert_eq!(count(&connection, ROWS).await, 1);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_nested_interaction_notices_a_commit() {
    let (_database, connection) = with_table().await;
    for fails in [false, true] {
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            let nested: Result<(), Error> = cursor
                .run_interaction(async |nested| {
                    insert(&nested, 1).await?;
                    nested.run_script("commit; begin").await?;
                    if fails { insert(&nested, 2).await } else { Ok(()) }
                })
                .await;
            assert_eq!(nested.unwrap_err().kind(), ErrorKind::InteractionEnded);
            insert(&cursor, 3).await
        }))
        .await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InteractionEnded);
        assert_works(&connection).await;
    }
    assert_eq!(count(&connection, "select sum(n) from t").await, 2);
}

/// Savepoints are the user's to use.
#[tokio::test]
async fn a_rollback_to_a_savepoint_is_no_end() {
    let (_database, connection) = with_table().await;
    bounded(connection.run_interaction(async |cursor| {
        cursor.run_script("savepoint s; insert into t values (1); rollback to savepoint s").await?;
        insert(&cursor, 2).await?;
        cursor.run_operation("release savepoint s", ()).await?;
        insert(&cursor, 3).await
    }))
    .await
    .unwrap();
    assert_eq!(count(&connection, ROWS).await, 2);
}

/// What a nested interaction says that goes on after a statement has failed.
#[tokio::test]
async fn a_nested_interaction_that_ends_well_after_a_failure_is_refused() {
    let (_database, connection) = with_table().await;
    bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        let nested: Result<(), Error> = cursor
            .run_interaction(async |nested| {
                insert(&nested, 2).await?;
                nested.run_query("select nothing", ()).await.unwrap_err();
                Ok(())
            })
            .await;
        let error = nested.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommitRefused);
        assert_eq!(error.delivery(), Delivery::Answered);
        assert!(!format!("{error:#}").contains("SAVEPOINT"), "{error:#}");
        assert!(error.hint().is_some());
        insert(&cursor, 3).await
    }))
    .await
    .unwrap();
    assert_eq!(count(&connection, "select sum(n) from t").await, 4);
}

/// It is gone with the transaction; but a savepoint may bring the transaction back.
#[tokio::test]
async fn a_named_cursor_is_closed_in_a_transaction_that_has_failed() {
    let (_database, connection) = with_table().await;
    let failed = bounded(connection.run_interaction(async |cursor| {
        let named = cursor.named("c").open("select 1", ()).await?;
        let failed = cursor.run_query("select nothing", ()).await;
        named.close().await.unwrap();
        failed
    }))
    .await;
    failed.unwrap_err();
    bounded(connection.run_interaction(async |cursor| {
        let named = cursor.named("c").open("select 1", ()).await?;
        cursor.run_operation("savepoint s", ()).await?;
        cursor.run_query("select nothing", ()).await.unwrap_err();
        named.close().await.unwrap();
        cursor.run_operation("rollback to savepoint s", ()).await?;
        let open = cursor.run_query("select name from pg_cursors where name = 'c'", ()).await?;
        assert!(open.is_empty());
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    assert_works(&connection).await;
}

/// Beside a COPY nothing else runs, also within its interaction.
#[tokio::test]
async fn what_waits_behind_a_copy_ends_by_its_time_limit() {
    let (_database, connection) = with_table().await;
    let refused: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        let copy = cursor.copy_in("copy t from stdin").await?;
        let stream = cursor.query_stream("select n from t", ());
        let mut stream = stream.timeout(std::time::Duration::from_millis(100));
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        drop((copy, stream));
        Err(error)
    }))
    .await;
    refused.unwrap_err();
    assert_works(&connection).await;
}
