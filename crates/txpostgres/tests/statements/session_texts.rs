//! What SQL texts do to a session is noticed: known statements are prepared anew, in an interaction
//! as well, and another encoding is told as what it is.

use txpostgres::{Connection, Cursor, Delivery, Error, ErrorKind};
use txpostgres_testkit::shared;

use crate::support::{assert_works, bounded, connected};

/// Texts that forget prepared statements, and may be sent alone.
const FORGETTING: [&str; 5] = [
    "discard all",
    "DISCARD ALL",
    "deallocate all",
    "deallocate prepare all",
    "/* x */ DEALLOCATE ALL",
];

/// The same among others, in a script.
const SCRIPTS: [&str; 3] = [
    "deallocate all; select 1",
    "begin; deallocate all; commit",
    "begin; deallocate all; rollback",
];

/// Twenty statements, with parameters and without.
fn known() -> Vec<String> {
    (0..10).flat_map(|n| [format!("select {n}, $1::int4"), format!("select {n}, 1")]).collect()
}

async fn ask(cursor: &Cursor, sql: &str) -> Result<usize, Error> {
    if sql.contains('$') {
        cursor.run_query(sql, (1_i32,)).await.map(|rows| rows.len())
    } else {
        cursor.run_query(sql, ()).await.map(|rows| rows.len())
    }
}

async fn learn(connection: &Connection) {
    for sql in known() {
        for _ in 0..2 {
            assert_eq!(bounded(ask(&connection.cursor(), &sql)).await.unwrap(), 1);
        }
    }
}

/// Each known statement is right in an interaction, as its first statement and as a later one.
async fn assert_known(connection: &Connection, after: &str) {
    for (number, sql) in known().into_iter().enumerate() {
        let outcome = bounded(connection.run_interaction(async |cursor| {
            if number % 4 > 1 {
                cursor.run_query("select 'first'", ()).await?;
            }
            ask(&cursor, &sql).await
        }))
        .await;
        assert!(outcome.is_ok(), "after {after}, {sql}: {outcome:?}");
    }
}

#[tokio::test]
async fn interactions_work_after_a_text_that_forgets_statements() {
    let (_database, connection) = connected().await;
    for sql in FORGETTING {
        for way in 0..4 {
            learn(&connection).await;
            bounded(async {
                match way {
                    0 => connection.run_script(sql).await.map(drop),
                    1 => connection.run_query(sql, ()).await.map(drop),
                    2 => connection.run_operation(sql, ()).await.map(drop),
                    _ => connection.cursor().execute(sql, ()).await.map(drop),
                }
            })
            .await
            .unwrap();
            assert_known(&connection, sql).await;
        }
    }
    for sql in SCRIPTS {
        learn(&connection).await;
        bounded(connection.run_script(sql)).await.unwrap();
        assert_known(&connection, sql).await;
    }
    assert_works(&connection).await;
}

/// In the middle of a transaction; and a transaction that is rolled back brings no statement back.
#[tokio::test]
async fn an_interaction_goes_on_after_a_text_of_its_own_that_forgets_statements() {
    let (_database, connection) = connected().await;
    for fails in [false, true] {
        learn(&connection).await;
        let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
            cursor.run_query("select 'first'", ()).await?;
            cursor.run_operation("deallocate all", ()).await?;
            for sql in known() {
                assert_eq!(ask(&cursor, &sql).await?, 1);
            }
            cursor.run_script("select 1; deallocate all").await?;
            if fails {
                cursor.run_query("select nothing", ()).await?;
            }
            for sql in known() {
                assert_eq!(ask(&cursor, &sql).await?, 1);
            }
            Ok(())
        }))
        .await;
        assert_eq!(outcome.is_ok(), !fails, "{outcome:?}");
        assert_known(&connection, "deallocate all within").await;
    }
    assert_works(&connection).await;
}

/// A pipeline in which the text is followed by statements that it forgets: outside of a transaction
/// they are asked once more.
#[tokio::test]
async fn what_was_sent_right_behind_such_a_text_is_answered() {
    let (_database, connection) = connected().await;
    for sql in FORGETTING {
        learn(&connection).await;
        let statements = known();
        let cursor = connection.cursor();
        let (forgotten, first, second) = bounded(async {
            tokio::join!(
                connection.run_script(sql),
                ask(&cursor, &statements[0]),
                ask(&cursor, &statements[1])
            )
        })
        .await;
        forgotten.unwrap();
        assert_eq!((first.unwrap(), second.unwrap()), (1, 1), "{sql}");
        assert_known(&connection, sql).await;
    }
    assert_works(&connection).await;
}

/// Another encoding makes the connection useless; it is told as that, and not as a connection that
/// broke, after which the statement may have been done or not.
#[tokio::test]
async fn another_client_encoding_is_told_as_what_it_is() {
    let database = shared().database().unwrap();
    for sql in [
        "set client_encoding = latin1",
        "set names 'latin1'",
        "select 1; set client_encoding = latin1",
    ] {
        for way in 0..3 {
            let connection = bounded(Connection::open(database.dsn())).await.unwrap();
            if way > 0 && sql.contains(';') {
                continue;
            }
            let error = bounded(async {
                match way {
                    0 => connection.run_script(sql).await.map(drop),
                    1 => connection.run_query(sql, ()).await.map(drop),
                    _ => {
                        connection
                            .run_interaction(async |cursor| {
                                cursor.run_operation(sql, ()).await.map(drop)
                            })
                            .await
                    }
                }
            })
            .await
            .expect_err(sql);
            assert!(error.to_string().contains("client_encoding"), "{error:?}");
            assert!(error.hint().is_some(), "{error:?}");
            assert_ne!(error.kind(), ErrorKind::Lost, "{error:?}");
        }
        // The encoding that is spoken may be said.
        let connection = bounded(Connection::open(database.dsn())).await.unwrap();
        bounded(connection.run_script("set client_encoding = 'UTF8'")).await.unwrap();
        bounded(connection.run_script("set names 'utf-8'")).await.unwrap();
        assert_works(&connection).await;
    }
}

/// An encoding that is another one in the middle of a script only is not reported by the server:
/// the values that came then are not believed, though they may read as UTF-8.
#[tokio::test]
async fn values_in_another_encoding_are_not_believed() {
    let (_database, connection) = connected().await;
    for sql in [
        "begin; set local client_encoding = 'LATIN1'; select chr(195) || chr(164); commit",
        "begin; set local names 'latin1'; select chr(195) || chr(164); commit",
        "set client_encoding = latin1; select chr(195) || chr(164); set client_encoding = utf8",
        "select set_config('client_encoding', 'LATIN1', true); select chr(195) || chr(164)",
    ] {
        let error = bounded(connection.run_script(sql)).await.expect_err(sql);
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Request, Delivery::CarriedOut));
        assert!(error.to_string().contains("client_encoding") && error.hint().is_some());
        assert_works(&connection).await;
    }
    // Without values there is nothing to misread; and UTF-8 may be said.
    for sql in [
        "begin; set local client_encoding = 'LATIN1'; commit",
        "set client_encoding = 'UTF8'; select 'ä'",
        "begin; set local names 'utf-8'; select 'ä'; commit",
    ] {
        bounded(connection.run_script(sql)).await.unwrap();
    }
    assert_works(&connection).await;
}
