//! Transactions by hand that an interaction cannot see as a whole: one that ends its own and begins
//! another, and one that was begun while something else was outstanding.

use txpostgres::{Connection, Cursor, Error, ErrorKind, IsolationLevel};
use txpostgres_testkit::Database;

use crate::support::polls::begin;
use crate::support::{assert_works, bounded, connected, count};

const ROWS: &str = "select count(*) from t";

/// Texts that undo the transaction and begin another one.
const ANEW: [&str; 9] = [
    "rollback; begin",
    "rollback and chain",
    "ROLLBACK AND CHAIN",
    "abort and chain",
    "rollback work and chain",
    "rollback transaction and chain",
    "rollback; begin; select 1",
    "rollback; start transaction",
    "insert into t values (0); abort; begin; insert into t values (0)",
];

async fn with_table() -> (Database, Connection, Connection) {
    let (database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    let other = bounded(Connection::open(database.dsn())).await.unwrap();
    (database, connection, other)
}

async fn insert(cursor: &Cursor, n: i32) -> Result<(), Error> {
    cursor.run_operation("insert into t values ($1)", (n,)).await.map(drop)
}

/// As a script, as a query, and as a call that is dropped while it runs.
async fn send(cursor: &Cursor, way: usize, sql: &str) -> Result<(), Error> {
    match way {
        0 => cursor.run_script(sql).await.map(drop),
        1 => cursor.run_operation(sql, ()).await.map(drop),
        _ => {
            let mut dropped = Box::pin(cursor.run_script(sql));
            assert!(begin(dropped.as_mut()).await.is_pending());
            drop(dropped);
            // Answered behind it.
            cursor.run_script("select 1").await.map(drop)
        }
    }
}

/// Half of the work is lost, so nothing of the rest is done, and nothing is kept.
#[tokio::test]
async fn a_rollback_that_begins_anew_ends_the_interaction() {
    let (_database, connection, _) = with_table().await;
    for anew in ANEW {
        for way in 0..3 {
            if way == 1 && anew.contains(';') {
                continue;
            }
            for failed_before in [false, true] {
                // Of a transaction that has failed nothing but its end is run.
                if failed_before && anew.starts_with("insert") {
                    continue;
                }
                let mut refused = None;
                let outcome: Result<(), Error> =
                    bounded(connection.run_interaction(async |cursor| {
                        insert(&cursor, 1).await?;
                        if failed_before {
                            cursor.run_query("select nothing", ()).await.unwrap_err();
                        }
                        send(&cursor, way, anew).await.ok();
                        refused = insert(&cursor, 2).await.err();
                        insert(&cursor, 3).await.ok();
                        Ok(())
                    }))
                    .await;
                let what = format!("{anew} (way {way}, failed before: {failed_before})");
                let error = outcome.expect_err(&what);
                assert_eq!(error.kind(), ErrorKind::InteractionEnded, "{what}: {error:?}");
                let refused = refused.expect(&what);
                assert_eq!(refused.kind(), ErrorKind::InteractionEnded, "{what}: {refused:?}");
                assert_eq!(count(&connection, ROWS).await, 0, "{what}");
                assert_works(&connection).await;
            }
        }
    }
}

/// The closure hands the refusal on, or has the work done in a nested interaction.
#[tokio::test]
async fn a_rollback_that_begins_anew_ends_it_however_the_closure_goes_on() {
    let (_database, connection, _) = with_table().await;
    for anew in ANEW {
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            insert(&cursor, 1).await?;
            cursor.run_script(anew).await?;
            insert(&cursor, 2).await
        }))
        .await;
        assert_eq!(outcome.expect_err(anew).kind(), ErrorKind::InteractionEnded);
        // Within a savepoint, which is gone then.
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            insert(&cursor, 1).await?;
            let nested: Result<(), Error> = cursor
                .run_interaction(async |nested| {
                    insert(&nested, 2).await?;
                    nested.run_script(anew).await?;
                    insert(&nested, 3).await
                })
                .await;
            assert_eq!(nested.unwrap_err().kind(), ErrorKind::InteractionEnded, "{anew}");
            insert(&cursor, 4).await.ok();
            Ok(())
        }))
        .await;
        assert_eq!(outcome.expect_err(anew).kind(), ErrorKind::InteractionEnded);
        // As the last thing of all.
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            insert(&cursor, 1).await?;
            cursor.run_script(anew).await.map(drop)
        }))
        .await;
        assert_eq!(outcome.expect_err(anew).kind(), ErrorKind::InteractionEnded);
        assert_eq!(count(&connection, ROWS).await, 0, "{anew}");
        assert_works(&connection).await;
    }
}

/// What was begun anew has the session's own options: a read-only transaction must not write.
#[tokio::test]
async fn a_read_only_interaction_does_not_come_to_write() {
    let (_database, connection, _) = with_table().await;
    for anew in ANEW.into_iter().filter(|anew| !anew.starts_with("insert")) {
        let interaction =
            connection.interaction().isolation_level(IsolationLevel::Serializable).read_only(true);
        let outcome = bounded(interaction.run(async |cursor| {
            cursor.run_query("select n from t", ()).await?;
            cursor.run_script(anew).await?;
            let level = cursor.run_query("show transaction_isolation", ()).await?;
            cursor.run_operation("create table written (n int)", ()).await?;
            level.first().unwrap().get::<String>(0)
        }))
        .await;
        let error = outcome.expect_err(anew);
        assert_eq!(error.kind(), ErrorKind::InteractionEnded, "{anew}: {error:?}");
        let written = "select count(*) from pg_class where relname = 'written'";
        assert_eq!(count(&connection, written).await, 0);
    }
    assert_works(&connection).await;
}

/// Savepoints by hand stay the user's to use, in a transaction that has failed as well.
#[tokio::test]
async fn a_rollback_to_a_savepoint_by_hand_is_allowed() {
    let (_database, connection, _) = with_table().await;
    for back in [
        "rollback to savepoint x",
        "ROLLBACK TO SAVEPOINT x",
        "rollback to x",
        "rollback work to savepoint x",
        "rollback transaction to x",
        "/* chain */ rollback to savepoint x",
        "select 1; rollback to x; select 2",
    ] {
        for fails in [false, true] {
            if fails && back.starts_with("select") {
                continue;
            }
            for way in [0, 1] {
                if way == 1 && back.contains(';') {
                    continue;
                }
                connection.run_operation("delete from t", ()).await.unwrap();
                let outcome: Result<(), Error> =
                    bounded(connection.run_interaction(async |cursor| {
                        insert(&cursor, 1).await?;
                        cursor.run_operation("savepoint x", ()).await?;
                        insert(&cursor, 2).await?;
                        if fails {
                            cursor.run_query("select nothing", ()).await.unwrap_err();
                        }
                        send(&cursor, way, back).await?;
                        insert(&cursor, 4).await?;
                        cursor.run_interaction(async |nested| insert(&nested, 8).await).await
                    }))
                    .await;
                assert!(outcome.is_ok(), "{back}: {outcome:?}");
                assert_eq!(count(&connection, "select sum(n) from t").await, 13, "{back}");
            }
        }
    }
    assert_works(&connection).await;
}

/// An interaction beside which a transaction is open that was begun by hand: it fails, and what
/// others see of the other transaction is nothing.
async fn assert_refused(
    connection: &Connection,
    other: &Connection,
    what: &str,
    outcome: Result<(), Error>,
) {
    let error = outcome.expect_err(what);
    assert_ne!(error.kind(), ErrorKind::CommitUnknown, "{what}");
    assert_eq!(count(other, ROWS).await, 0, "{what}: {error:?}");
    bounded(connection.run_script("rollback")).await.unwrap();
    assert_eq!(count(other, ROWS).await, 0, "{what}");
    assert_works(connection).await;
    // It is no lasting state.
    let next = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        cursor.run_operation("delete from t", ()).await
    }));
    assert_eq!(next.await.unwrap(), 1, "{what}");
}

const BEGUN: [&str; 3] = [
    "begin; insert into t values (1)",
    "start transaction; insert into t values (1)",
    "commit; begin isolation level serializable; insert into t values (1)",
];

/// Begun before, with a call outstanding when the interaction begins.
#[tokio::test]
async fn a_transaction_begun_by_hand_is_noticed_beside_an_outstanding_call() {
    let (_database, connection, other) = with_table().await;
    for begun in BEGUN {
        for asks in [1, 3] {
            bounded(connection.run_script(begun)).await.unwrap();
            let (slow, outcome) = bounded(async {
                tokio::join!(
                    connection.run_query("select pg_sleep(0.05)", ()),
                    connection.run_interaction(async |cursor| {
                        for n in 1..=asks {
                            insert(&cursor, n).await?;
                        }
                        Ok::<_, Error>(())
                    })
                )
            })
            .await;
            slow.unwrap();
            assert_refused(&connection, &other, begun, outcome).await;
        }
    }
}

/// Begun at the same time: BEGIN itself is outstanding when the interaction begins.
#[tokio::test]
async fn a_transaction_that_is_being_begun_by_hand_is_noticed() {
    let (_database, connection, other) = with_table().await;
    for begun in BEGUN {
        for closure_goes_on in [false, true] {
            let (by_hand, outcome) = bounded(async {
                tokio::join!(
                    connection.run_script(begun),
                    connection.run_interaction(async |cursor| {
                        let first = insert(&cursor, 2).await;
                        if closure_goes_on {
                            insert(&cursor, 3).await.ok();
                            return Ok(());
                        }
                        first
                    })
                )
            })
            .await;
            by_hand.unwrap();
            assert_refused(&connection, &other, begun, outcome).await;
        }
    }
}

/// Begun by a call that was dropped.
#[tokio::test]
async fn a_transaction_begun_by_a_call_that_was_dropped_is_noticed() {
    let (_database, connection, other) = with_table().await;
    for begun in BEGUN {
        let mut dropped = Box::pin(connection.run_script(begun));
        assert!(begin(dropped.as_mut()).await.is_pending());
        drop(dropped);
        let outcome =
            bounded(connection.run_interaction(async |cursor| insert(&cursor, 2).await)).await;
        assert_refused(&connection, &other, begun, outcome).await;
    }
}
