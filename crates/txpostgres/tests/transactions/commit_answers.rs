//! Answers to COMMIT that contradict themselves, as a broken pooler may give them: the outcome is
//! unknown, and the connection is given up.

use txpostgres::{Connection, Error, ErrorKind};
use txpostgres_testkit::{Script, backend};

use crate::support::{bounded, welcomed};

/// A welcome, and an interaction whose only statement was answered together with its BEGIN.
fn in_transaction() -> Script {
    let begun = [
        backend::parse_complete(),
        backend::bind_complete(),
        backend::command_complete("BEGIN"),
        backend::parse_complete(),
        backend::bind_complete(),
        backend::row_description(&[("n", 23)], 1),
        backend::data_row(&[Some(&[0, 0, 0, 1])]),
        backend::command_complete("SELECT 1"),
        backend::ready(b'T'),
    ];
    Script::new().welcome().expect_messages(b"PBEPBDES").send(begun.concat())
}

async fn interaction(connection: &Connection) -> Result<usize, Error> {
    let rows = connection
        .run_interaction(async |cursor| cursor.run_query("select 1 as n", ()).await)
        .await?;
    Ok(rows.len())
}

/// Every call of a connection that was given up fails, and hangs in no case.
async fn assert_given_up(connection: &Connection, what: &str) {
    assert!(connection.is_closed(), "{what}");
    let error = bounded(connection.run_query("select 1", ())).await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::ConnectionDead, "{what}: {error:?}");
    let error = bounded(connection.run_script("select 1")).await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::ConnectionDead, "{what}: {error:?}");
    let error = bounded(interaction(connection)).await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::ConnectionDead, "{what}: {error:?}");
}

/// Success is said, and the transaction is said to be open, or to have failed.
#[tokio::test]
async fn a_commit_that_is_done_and_leaves_a_transaction_open_is_unknown() {
    for status in [b'T', b'E'] {
        let what = format!("COMMIT, {}", char::from(status));
        let answer = [backend::command_complete("COMMIT"), backend::ready(status)].concat();
        let server = in_transaction()
            .expect_message(b'Q')
            .send(answer)
            .silence(std::time::Duration::from_secs(60))
            .within(std::time::Duration::from_secs(61))
            .play()
            .unwrap();
        let connection = welcomed(&server).await;
        let error = bounded(interaction(&connection)).await.expect_err(&what);
        assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{what}: {error:?}");
        assert!(!error.is_retryable(), "{what}");
        assert_given_up(&connection, &what).await;
        server.finish().unwrap();
    }
}

/// With calls that wait behind it: they are told, with nothing of them sent.
#[tokio::test]
async fn what_waits_behind_such_a_commit_is_told() {
    for status in [b'T', b'E'] {
        let what = format!("COMMIT, {}", char::from(status));
        let answer = [backend::command_complete("COMMIT"), backend::ready(status)].concat();
        let server = in_transaction()
            .expect_message(b'Q')
            .send(answer)
            .silence(std::time::Duration::from_secs(60))
            .within(std::time::Duration::from_secs(61))
            .play()
            .unwrap();
        let connection = welcomed(&server).await;
        let behind = connection.clone();
        let (first, second, third) = bounded(async {
            tokio::join!(
                interaction(&connection),
                behind.run_query("select 2", ()),
                interaction(&behind)
            )
        })
        .await;
        assert_eq!(first.expect_err(&what).kind(), ErrorKind::CommitUnknown);
        second.expect_err(&what);
        third.expect_err(&what);
        assert_given_up(&connection, &what).await;
        let sent = server.finish().unwrap().concat();
        assert!(!String::from_utf8_lossy(&sent).contains("select 2"), "{what}");
    }
}
