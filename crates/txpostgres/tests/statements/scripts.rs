//! Scripts: a COPY FROM STDIN where none is expected, which is a clean error and no harm to what shares
//! the connection; and results that rules add.

use txpostgres::{Connection, Delivery, Error};

use crate::support::{assert_works, bounded, connected};

/// Scripts with a COPY that waits for data, wherever it stands and however it is written.
const SCRIPTS: [&str; 14] = [
    "copy t from stdin",
    "select pg_sleep(0.05); copy t from stdin",
    "select pg_sleep(0.05);copy t from stdin; select 1",
    "select pg_sleep(0.05); COPY t (n) FROM STDIN (format csv)",
    "select pg_sleep(0.05); CoPy t FrOm sTdIn",
    "select pg_sleep(0.05); /* x */ copy /* y */ t from /* z */ stdin",
    "select pg_sleep(0.05); -- copy nothing\ncopy t from stdin",
    "-- first\nselect pg_sleep(0.05);\n\n\tcopy\n t\n from\n stdin",
    ";;select pg_sleep(0.05); copy t from stdin",
    "begin; rollback; select pg_sleep(0.05); copy t from stdin",
    "copy t to stdout; copy t from stdin",
    "select pg_sleep(0.05); copy t from stdin; copy t from stdin",
    "select 'copy; it''s', pg_sleep(0.05); copy t from stdin",
    "select $$copy;$$, pg_sleep(0.05); copy \"t\" from stdin",
];

/// A text that only says so is no COPY, and is answered.
const INNOCENT: [&str; 2] = [
    "select pg_sleep(0.05); select 'copy t from stdin'",
    "select pg_sleep(0.05) /* ; copy t from stdin */",
];

async fn innocent(connection: &Connection) -> Result<String, Error> {
    connection.run_query("select 'innocent'", ()).await?.first().unwrap().get(0)
}

#[tokio::test]
async fn a_copy_from_stdin_anywhere_in_a_script_is_an_error_of_this_script_alone() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let pid = connection.backend_pid();
    for sql in SCRIPTS {
        for first in [false, true] {
            if first {
                // In a flight with what was asked for before.
                let before = connection.run_query("select pg_sleep(0.02)", ());
                let outcome = bounded(async {
                    tokio::join!(
                        before,
                        innocent(&connection),
                        connection.run_script(sql),
                        innocent(&connection)
                    )
                })
                .await;
                outcome.0.unwrap();
                outcome.2.expect_err(sql);
                for answer in [outcome.1, outcome.3] {
                    assert!(
                        answer.as_ref().is_ok_and(|said| said == "innocent"),
                        "beside {sql}: {answer:?}"
                    );
                }
            } else {
                let (script, answer) = bounded(async {
                    tokio::join!(connection.run_script(sql), innocent(&connection))
                })
                .await;
                let error = script.expect_err(sql);
                assert_eq!(error.delivery(), Delivery::Answered, "{sql}: {error:?}");
                assert!(
                    answer.as_ref().is_ok_and(|said| said == "innocent"),
                    "beside {sql}: {answer:?}"
                );
            }
            assert!(!connection.is_closed(), "{sql}");
            assert_works(&connection).await;
        }
    }
    assert_eq!(connection.backend_pid(), pid);
    for sql in INNOCENT {
        let (script, answer) =
            bounded(async { tokio::join!(connection.run_script(sql), innocent(&connection)) })
                .await;
        script.unwrap();
        assert_eq!(answer.unwrap(), "innocent", "beside {sql}");
    }
    let rows = bounded(connection.run_query("select 1 from t", ())).await.unwrap();
    assert!(rows.is_empty());
}

/// In an interaction the script fails the transaction, and the connection stays.
#[tokio::test]
async fn a_copy_from_stdin_in_a_script_of_an_interaction_fails_the_transaction() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    for sql in SCRIPTS.into_iter().filter(|sql| !sql.contains("rollback")) {
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            cursor.run_query("select 1", ()).await?;
            let (script, behind) =
                tokio::join!(cursor.run_script(sql), cursor.run_query("select 2", ()));
            behind.expect_err("the transaction has failed");
            script.map(drop)
        }))
        .await;
        let error = outcome.expect_err(sql);
        assert_eq!(error.delivery(), Delivery::Answered, "{sql}: {error:?}");
        assert_works(&connection).await;
    }
    // A cursor's script goes the same way.
    for sql in SCRIPTS.into_iter().filter(|sql| !sql.contains("rollback")) {
        let cursor = connection.cursor();
        let (script, answer) =
            bounded(async { tokio::join!(cursor.execute_script(sql), innocent(&connection)) })
                .await;
        script.expect_err(sql);
        assert_eq!(answer.unwrap(), "innocent", "beside {sql}");
    }
    assert_works(&connection).await;
}

/// The SELECTs of rules come before the tag of the statement that they are on.
#[tokio::test]
async fn what_rules_add_to_a_statement_are_results() {
    let (_database, connection) = connected().await;
    let setup = "create table ruled (n int);
        create rule one as on insert to ruled do also select new.n as one;
        create rule two as on insert to ruled do also select new.n + 1 as two, 'x' as x";
    bounded(connection.run_script(setup)).await.unwrap();
    let results =
        bounded(connection.run_script("select 0; insert into ruled values (5); select 9"));
    let results = results.await.unwrap();
    let values: Vec<_> = results
        .iter()
        .map(|result| result.rows().first().map(|row| row.get::<&str>(0).unwrap().to_owned()))
        .collect();
    assert_eq!(values, ["0", "5", "6", "9"].map(|text| Some(text.to_owned())));
    let tags: Vec<_> = results.iter().map(|result| result.tag().as_str().to_owned()).collect();
    assert_eq!(tags, ["SELECT 1", "", "INSERT 0 1", "SELECT 1"]);
    assert_works(&connection).await;
}
