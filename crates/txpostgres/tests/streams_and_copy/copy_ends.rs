//! How a COPY ends otherwise than by its data: aborted, cancelled, out of time, and by whom.

use std::time::{Duration, Instant};

use txpostgres::{
    Connection, CopyIn, Delivery, EndedBy, Error, ErrorKind, SqlState, TransactionStatus,
};
use txpostgres_testkit::{Database, Script, backend};

use crate::support::{assert_works, bounded, connected, count, until_session, welcomed};

/// Waits for its time, and no longer; but a COPY can begin in it.
const SOON: Duration = Duration::from_millis(500);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

/// A table into which a row takes longer than any test.
async fn slow_table() -> (Database, Connection) {
    let (database, connection) = connected().await;
    let sql = "create table people (id int, name text);
        create function slow() returns trigger language plpgsql as
            'begin perform pg_sleep(60); return new; end';
        create trigger slow before insert on people for each row execute function slow()";
    bounded(connection.run_script(sql)).await.unwrap();
    (database, connection)
}

async fn people(connection: &Connection) -> i64 {
    count(connection, "select count(*) from people").await
}

/// A COPY that the server does not get done with.
async fn stuck(connection: &Connection) -> CopyIn {
    let mut copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
    bounded(copy.send("1\tAda\n")).await.unwrap();
    bounded(copy.flush()).await.unwrap();
    copy
}

/// An abort, a `statement_timeout` and an administrator's cancel have one SQLSTATE, 57014.
#[tokio::test]
async fn what_ended_a_copy_before_its_abort_is_told() {
    let (database, connection) = slow_table().await;
    let pid = connection.backend_pid().unwrap();
    bounded(connection.run_script("set statement_timeout = 300")).await.unwrap();
    // As alike as can be.
    for why in ["no more interest", "timeout", ""] {
        let copy = stuck(&connection).await;
        until_session(&database, pid, "state = 'idle'").await;
        let error = bounded(copy.abort(why)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(error.sqlstate(), Some(SqlState::QUERY_CANCELED));
        assert_eq!(error.ended_by(), Some(EndedBy::StatementTimeout), "{why:?}");
        assert_works(&connection).await;
    }
    bounded(connection.run_script("set statement_timeout = 0")).await.unwrap();
    let copy = stuck(&connection).await;
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    database.server().sql(&format!("select pg_cancel_backend({pid})")).unwrap();
    let error = bounded(copy.abort("user request")).await.unwrap_err();
    assert_eq!(error.ended_by(), Some(EndedBy::ByAnother));
    assert_eq!(people(&connection).await, 0);
    // And what is an abort is one, whatever its reason.
    for why in ["", "canceling statement due to user request", "ist das – schön?"] {
        let copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
        bounded(copy.abort(why)).await.unwrap();
    }
    assert_works(&connection).await;
}

/// A server that speaks German (`lc_messages`), and one that does not say which of its routines speaks.
#[tokio::test]
async fn an_abort_is_known_by_its_reason_in_any_language() {
    let report = |message, routine| {
        let fields = [(b'S', "FEHLER"), (b'C', "57014"), (b'M', message), (b'R', routine)];
        let said = if routine.is_empty() { &fields[..3] } else { &fields[..] };
        [backend::report_of(b'E', said), backend::ready(b'I')].concat()
    };
    for (message, routine, is_abort) in [
        ("COPY FROM STDIN fehlgeschlagen: kein Interesse", "CopyGetData", true),
        ("COPY FROM STDIN fehlgeschlagen: kein Interesse", "", true),
        ("storniere Anfrage wegen Zeitüberschreitung der Anfrage", "ProcessInterrupts", false),
        ("storniere Anfrage wegen Zeitüberschreitung der Anfrage", "", false),
    ] {
        let server = Script::new()
            .welcome()
            .expect_message(b'Q')
            .send(backend::copy_in(1, 0))
            .expect_message(b'f')
            .send(report(message, routine))
            .play()
            .unwrap();
        let connection = welcomed(&server).await;
        let copy = bounded(connection.copy_in("copy t from stdin")).await.unwrap();
        let outcome = bounded(copy.abort("kein Interesse")).await;
        assert_eq!(outcome.is_ok(), is_abort, "{message}");
        server.finish().unwrap();
    }
}

// --- Cancelled ---

/// The server waits for data, is busy with what it has got, or has got all.
#[tokio::test]
async fn a_copy_is_cancelled_whatever_the_server_does() {
    let (database, connection) = slow_table().await;
    let pid = connection.backend_pid().unwrap();
    for state in ["ClientRead", "PgSleep", "finish"] {
        let mut begin = connection.copy_in("copy people from stdin");
        let handle = begin.cancel_handle();
        let mut copy = bounded(begin).await.unwrap();
        if state != "ClientRead" {
            bounded(copy.send("1\tAda\n")).await.unwrap();
            bounded(copy.flush()).await.unwrap();
        }
        let wait = if state == "ClientRead" { state } else { "PgSleep" };
        let waits = format!("wait_event = '{wait}' and state = 'active'");
        let error = if state == "finish" {
            let cancel = async {
                until_session(&database, pid, &waits).await;
                connection.cancel(&handle).await.unwrap();
            };
            bounded(async { tokio::join!(copy.finish(), cancel) }).await.0.unwrap_err()
        } else {
            until_session(&database, pid, &waits).await;
            bounded(connection.cancel(&handle)).await.unwrap();
            until_session(&database, pid, "state = 'idle'").await;
            bounded(copy.send("2\tGrace\n")).await.unwrap_err()
        };
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Cancelled, Delivery::Answered),
            "{state}"
        );
        assert_eq!(error.ended_by(), Some(EndedBy::Ours));
        // What is over stays as it is.
        bounded(connection.cancel(&handle)).await.unwrap();
        assert_works(&connection).await;
    }
    assert_eq!((people(&connection).await, connection.backend_pid()), (0, Some(pid)));
}

#[tokio::test]
async fn a_copy_that_is_cancelled_takes_nothing_more() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table people (id int)", ())).await.unwrap();
    let mut begin = connection.copy_in_rows("people", &[]);
    let handle = begin.cancel_handle();
    let mut copy = bounded(begin).await.unwrap();
    bounded(copy.send((1_i32,))).await.unwrap();
    bounded(connection.cancel(&handle)).await.unwrap();
    let error = bounded(copy.send((2_i32,))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    bounded(copy.finish()).await.unwrap_err();
    // It was not an abort, whatever it says.
    let mut begin = connection.copy_in("copy people from stdin");
    let handle = begin.cancel_handle();
    let copy = bounded(begin).await.unwrap();
    bounded(connection.cancel(&handle)).await.unwrap();
    let error = bounded(copy.abort("")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    // Cancelled before it began.
    let mut begin = connection.copy_out_rows("table people");
    bounded(begin.cancel_handle().cancel()).await.unwrap();
    let error = bounded(begin).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::NotSent));
    assert_eq!(people(&connection).await, 0);
}

#[tokio::test]
async fn a_copy_out_is_cancelled() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let much = "select repeat('x', 1000) from generate_series(1, 1000000)";
    let sql = format!("copy ({much}) to stdout");
    let mut begin = connection.copy_out(&sql);
    let handle = begin.cancel_handle();
    let mut copy = bounded(begin).await.unwrap();
    bounded(copy.next()).await.unwrap().unwrap();
    bounded(connection.cancel(&handle)).await.unwrap();
    until_session(&database, pid, "state = 'idle'").await;
    let error = bounded(async {
        loop {
            if let Err(error) = copy.next().await.expect("an error") {
                break error;
            }
        }
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(bounded(copy.next()).await.is_none());
    assert_works(&connection).await;
}

// --- Out of time ---

fn assert_late(error: &Error, began: Instant) {
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Answered));
    assert_eq!(error.ended_by(), Some(EndedBy::Ours));
    assert!(
        began.elapsed() >= SOON && began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

/// Before it begins, while rows are sent, and while the server takes the last ones.
#[tokio::test]
async fn a_copy_has_its_time_limit() {
    let (database, connection) = slow_table().await;
    let other = Connection::open(database.dsn()).await.unwrap();
    let limited = || connection.copy_in("copy people from stdin").timeout(SOON);
    bounded(other.run_interaction(async |cursor| {
        cursor.run_script("lock table people").await?;
        let began = Instant::now();
        assert_late(&limited().await.unwrap_err(), began);
        let began = Instant::now();
        // Its columns cannot be asked for either.
        let rows = connection.copy_out_rows("table people").timeout(SOON);
        assert_late(&rows.await.unwrap_err(), began);
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();

    let began = Instant::now();
    let mut copy = bounded(limited()).await.unwrap();
    tokio::time::sleep(SOON).await;
    assert_late(&bounded(copy.send("1\tAda\n")).await.unwrap_err(), began);
    assert_works(&connection).await;

    // Rows that gather are not sent for a long time.
    let began = Instant::now();
    let mut copy = bounded(connection.copy_in_rows("people", &[]).timeout(SOON)).await.unwrap();
    let error = loop {
        if let Err(error) = bounded(copy.send((1_i32, "Ada"))).await {
            break error;
        }
        tokio::time::sleep(SOON / 10).await;
    };
    assert_late(&error, began);

    let began = Instant::now();
    let mut copy = bounded(limited()).await.unwrap();
    bounded(copy.send("1\tAda\n")).await.unwrap();
    assert_late(&bounded(copy.finish()).await.unwrap_err(), began);
    assert_works(&connection).await;
    assert_eq!(people(&connection).await, 0);

    let slow =
        "copy (select repeat('x', 1000), pg_sleep(n / 100 * 60) from generate_series(1, 100) n)
        to stdout";
    let began = Instant::now();
    let mut copy = bounded(connection.copy_out(slow).timeout(SOON)).await.unwrap();
    let error = loop {
        if let Err(error) = bounded(copy.next()).await.unwrap() {
            break error;
        }
    };
    assert_late(&error, began);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_copy_that_is_in_time_is_left_alone() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table people (id int)", ())).await.unwrap();
    let mut begin = connection.copy_in_rows("people", &[]).timeout(LONG);
    let handle = begin.cancel_handle();
    let mut copy = bounded(begin).await.unwrap();
    bounded(copy.send_many((0..100_000).map(|n| (n,)))).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 100_000);
    bounded(connection.cancel(&handle)).await.unwrap();
    let mut copy = bounded(connection.copy_out_rows("table people").timeout(LONG)).await.unwrap();
    let mut rows = 0;
    while let Some(some) = bounded(copy.next_rows()).await.unwrap() {
        rows += some.len();
    }
    assert_eq!(rows, 100_000);
    assert_works(&connection).await;
}

/// It fails the transaction that it is in, as any statement does; here a nested one.
#[tokio::test]
async fn in_an_interaction_a_copy_has_its_time_limit() {
    let (_database, connection) = slow_table().await;
    bounded(connection.run_interaction(async |outer| {
        let nested: Result<u64, Error> = outer
            .run_interaction(async |cursor| {
                let mut copy = cursor.copy_in("copy people from stdin").timeout(SOON).await?;
                copy.send("1\tAda\n").await?;
                copy.finish().await
            })
            .await;
        assert_eq!(nested.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(connection.transaction_status(), Some(TransactionStatus::InTransaction));
        outer.run_query("select 1", ()).await
    }))
    .await
    .unwrap();
    assert_works(&connection).await;
}

/// The server is done when the time has passed, and says so: the rows are kept, and that is the outcome.
#[tokio::test]
async fn a_copy_that_was_faster_than_its_cancel_is_kept() {
    let welcome = [backend::auth_ok(), backend::ready(b'I')].concat();
    let server = Script::new()
        .expect_startup()
        .send(welcome)
        .expect_message(b'Q')
        .send(backend::copy_in(1, 0))
        .expect_message(b'c')
        .silence(2 * SOON)
        .send([backend::command_complete("COPY 1"), backend::ready(b'I')].concat())
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let copy = bounded(connection.copy_in("copy t from stdin").timeout(SOON)).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
    server.finish().unwrap();
}
