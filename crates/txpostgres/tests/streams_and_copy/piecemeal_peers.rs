//! Servers that break the rules, or break off, in the middle of a COPY, a stream or a portal: the call says so and never hangs.

use std::time::Duration;

use txpostgres::{Connection, Delivery, Error, ErrorKind, SqlState};
use txpostgres_testkit::{Script, backend};

use crate::support::patience::{runtime, without_hanging};
use crate::support::{bounded, welcomed};

/// What becomes of each of these scripts, begun by a `Query`.
async fn ends<T>(
    script: Script,
    mut deed: impl AsyncFnMut(Connection) -> Result<T, Error>,
) -> (ErrorKind, Delivery) {
    let server = script.play().unwrap();
    let connection = welcomed(&server).await;
    let Err(error) = bounded(deed(connection.clone())).await else {
        panic!("it ended well");
    };
    // Nobody can use the connection any more, and everybody is told.
    let after = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert!(matches!(after.kind(), ErrorKind::ConnectionDead | ErrorKind::Lost), "{after}");
    bounded(connection.close()).await;
    (error.kind(), error.delivery())
}

fn asked() -> Script {
    Script::new().welcome().expect_message(b'Q')
}

async fn feed(connection: Connection) -> Result<(), Error> {
    let mut copy = connection.copy_in("copy t from stdin").await?;
    // It has no end: whatever is told of it is told before.
    loop {
        copy.send("one\n").await?;
        copy.flush().await?;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_a_copy_to_it() {
    // Ended before the data.
    let script = asked().send(backend::copy_in(1, 0)).send(backend::command_complete("COPY 7"));
    assert_eq!(ends(script, feed).await, (ErrorKind::Protocol, Delivery::NotSent));
    // Begun twice.
    let script = asked().send(backend::copy_in(1, 0)).send(backend::copy_in(1, 0));
    assert_eq!(ends(script, feed).await, (ErrorKind::Protocol, Delivery::NotSent));
    // Ready, without a word on what became of it.
    let script = asked().send(backend::copy_in(1, 0)).send(backend::ready(b'I'));
    assert_eq!(ends(script, feed).await, (ErrorKind::Protocol, Delivery::NotSent));
    // Before it has said whether it wants data, the statement may be anything.
    assert_eq!(ends(asked().reset(), feed).await, (ErrorKind::Lost, Delivery::Unknown));
    let script = asked().send(backend::copy_in(1, 0)).expect_message(b'd').reset();
    assert_eq!(ends(script, feed).await, (ErrorKind::Lost, Delivery::NotSent));
}

/// A server that has refused a row, and takes its time before it is ready again. Whoever has more rows waits for that, and lets
/// others have the thread.
#[test]
fn a_server_that_refuses_a_copy_and_undoes_it_slowly() {
    for many in [true, false] {
        let error = without_hanging(Duration::from_secs(20), move |progress| {
            progress.now(format_args!("many: {many}"));
            runtime(0).block_on(async move {
                let script = Script::new()
                    .welcome()
                    .expect_messages(b"PDS")
                    .send(backend::parse_complete())
                    .send(backend::parameter_description(&[]))
                    .send(backend::row_description(&[("name", 25)], 0))
                    .send(backend::ready(b'I'));
                let refused = script
                    .expect_message(b'Q')
                    .send(backend::copy_in(1, 1))
                    .expect_message(b'd')
                    .send(backend::error("23505", "twice"));
                let server = refused.silence(Duration::from_millis(200)).send(backend::ready(b'I'));
                let server = server.play().unwrap();
                let connection = welcomed(&server).await;
                let mut copy = bounded(connection.copy_in_rows("t", &["name"])).await.unwrap();
                let mut rows = std::iter::repeat(("x".repeat(1_000),));
                if many {
                    return copy.send_many(rows).await.unwrap_err();
                }
                // 100 MB of them, which would all be kept.
                for row in rows.by_ref().take(100_000) {
                    if let Err(error) = copy.send(row).await {
                        return error;
                    }
                }
                panic!("nobody was told");
            })
        });
        assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
    }
}

async fn once(connection: Connection) -> Result<u64, Error> {
    let mut copy = connection.copy_in("copy t from stdin").await?;
    copy.send("one\n").await?;
    copy.finish().await
}

#[tokio::test]
async fn a_server_that_breaks_off_after_the_end_of_the_data() {
    let script = || asked().send(backend::copy_in(1, 0)).expect_messages(b"dc");
    assert_eq!(ends(script().reset(), once).await, (ErrorKind::Lost, Delivery::Unknown));
    assert_eq!(ends(script().close(), once).await, (ErrorKind::Lost, Delivery::Unknown));
    let complete = backend::command_complete("COPY 1");
    // No success before ReadyForQuery: a deferred constraint may yet fail.
    let script_2 = script().send(&complete).reset();
    assert_eq!(ends(script_2, once).await, (ErrorKind::Lost, Delivery::Unknown));
    let script_3 = script().send(backend::copy_data(b"what?"));
    assert_eq!(ends(script_3, once).await, (ErrorKind::Protocol, Delivery::Unknown));
}

async fn tap(connection: Connection) -> Result<usize, Error> {
    let mut copy = connection.copy_out("copy t to stdout").await?;
    let mut seen = 0;
    while let Some(data) = copy.next().await {
        seen += data?.len();
    }
    Ok(seen)
}

#[tokio::test]
async fn a_server_that_breaks_off_a_copy_from_it() {
    let begun = || asked().send(backend::copy_out(1, 0)).send(backend::copy_data(b"one\n"));
    assert_eq!(ends(begun().reset(), tap).await, (ErrorKind::Lost, Delivery::Unknown));
    for next in [
        backend::copy_out(1, 0),
        backend::copy_in(1, 0),
        backend::command_complete("COPY 1"),
        backend::ready(b'I'),
        backend::data_row(&[Some(b"x")]),
        backend::portal_suspended(),
        backend::message_claiming(b'd', -5, b""),
    ] {
        let end = ends(begun().send(next), tap).await;
        assert_eq!(end, (ErrorKind::Protocol, Delivery::Unknown));
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_a_portal() {
    let opened = || {
        Script::new()
            .welcome()
            .expect_messages(b"PBEPDS")
            .send(backend::parse_complete())
            .send(backend::bind_complete())
            .send(backend::command_complete("BEGIN"))
            .send(backend::parse_complete())
            .send(backend::parameter_description(&[]))
            .send(backend::row_description(&[("n", 25)], 0))
            .send(backend::ready(b'T'))
            .expect_messages(b"BES")
            .send(backend::bind_complete())
            .send(backend::data_row(&[Some(b"one")]))
    };
    let read = async |connection: Connection| {
        connection
            .run_interaction(async |cursor| {
                let mut stream = cursor.query_stream("select n from t", ());
                let mut seen = 0;
                while let Some(row) = stream.next().await {
                    row?;
                    seen += 1;
                }
                Ok(seen)
            })
            .await
    };
    for (end, kind) in [
        (opened().reset(), ErrorKind::Lost),
        (opened().send(backend::copy_done()), ErrorKind::Protocol),
        (opened().send(backend::data_row(&[None, None])), ErrorKind::Protocol),
        (
            opened().send(backend::portal_suspended()).send(backend::portal_suspended()),
            ErrorKind::Protocol,
        ),
        (
            opened()
                .send(backend::portal_suspended())
                .send(backend::ready(b'T'))
                .expect_messages(b"ES")
                .send(backend::bind_complete()),
            ErrorKind::Protocol,
        ),
    ] {
        let (is, _) = ends(end, read).await;
        assert!(is == kind || is == ErrorKind::RollbackFailed, "{is:?} for {kind:?}");
    }
}
