//! How a COPY ends otherwise than by its data: aborted, and by whom.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod support;

use support::{assert_works, bounded, connected, count, until_session, welcomed};
use txpostgres::{Connection, CopyIn, ErrorKind, Interruption, SqlState};
use txpostgres_testkit::{Database, Script, backend};

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
        assert_eq!(error.interruption(), Some(Interruption::StatementTimeout), "{why:?}");
        assert_works(&connection).await;
    }
    bounded(connection.run_script("set statement_timeout = 0")).await.unwrap();
    let copy = stuck(&connection).await;
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    database.server().sql(&format!("select pg_cancel_backend({pid})")).unwrap();
    let error = bounded(copy.abort("user request")).await.unwrap_err();
    assert_eq!(error.interruption(), Some(Interruption::ByAnother));
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
