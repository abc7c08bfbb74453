//! Connections that break while they are in use: who is told what, how soon, and what works afterwards.

use std::time::Duration;

use txpostgres::types::ToSql;
use txpostgres::{Connection, Delivery, EndedBy, Error, ErrorKind, SqlState};
use txpostgres_testkit::{Cluster, Direction, Script, backend, shared};

use crate::support::{
    LATE, assert_works, bounded, connected, connected_through_proxy, count, eventually, megabytes,
    sessions, through, tight, until_session, welcomed,
};

/// Rows of several megabytes, and then the server sleeps in the middle of the answer.
const HALF_AN_ANSWER: &str = "select n, repeat('x', 1000), \
    case when n = 5000 then pg_sleep(60)::text end from generate_series(1, 10000) n";

/// Rows of 100 MB.
const LONG_ANSWER: &str = "select n, repeat('x', 1000) from generate_series(1, 100000) n";

/// A statement that the server works on, in a task of its own.
fn run_apart(
    connection: &Connection,
    sql: &'static str,
) -> tokio::task::JoinHandle<Result<usize, Error>> {
    let connection = connection.clone();
    tokio::spawn(async move { connection.run_query(sql, ()).await.map(|rows| rows.len()) })
}

/// What of the two the system tells depends on what was on its way.
fn assert_broken(error: &Error) {
    let text = error.to_string();
    let ends = ["the server closed the connection", "the connection to the server broke: "];
    assert!(ends.iter().any(|end| text.starts_with(end)), "{text}");
}

/// The connection is known to be dead, says why, and can be opened anew.
async fn assert_dead_and_opens_anew(connection: &Connection, why: &str, dsn: &str) {
    assert!(connection.is_closed());
    for _ in 0..2 {
        let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionDead);
        assert!(error.to_string().starts_with("the connection is dead: "), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert_eq!(error.hint(), Some("connect again"));
        assert!(!error.is_retryable());
    }
    bounded(connection.connect(dsn)).await.unwrap();
    assert_works(connection).await;
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_an_answer() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    let connection = bounded(Connection::open(database.dsn())).await.unwrap();
    let pid = connection.backend_pid().unwrap();
    let answer = run_apart(&connection, HALF_AN_ANSWER);
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    let next = run_apart(&connection, "select 1");
    tokio::task::yield_now().await;
    cluster.kill_backend(pid).unwrap();
    for lost in [answer, next] {
        let error = bounded(lost).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert_broken(&error);
        assert_eq!(error.delivery(), Delivery::Unknown);
        assert!(!error.is_retryable());
    }
    // The server ends all sessions and starts anew.
    let ready = || cluster.log().matches("database system is ready to accept").count() > 1;
    eventually("the server is well again", ready).await;
    assert_dead_and_opens_anew(&connection, "server", &database.dsn()).await;
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_an_answer() {
    let (database, proxy, connection) = connected_through_proxy().await;
    proxy.cut_after(Direction::ToClient, 1_000_000);
    let error = bounded(connection.run_query(LONG_ANSWER, ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(error.to_string(), "the server closed the connection");
    assert_eq!(error.delivery(), Delivery::Unknown);
    let dsn = through(&proxy, &database);
    assert_dead_and_opens_anew(&connection, "the server closed the connection", &dsn).await;
}

#[tokio::test]
async fn a_connection_reset_in_the_middle_of_an_answer() {
    let (database, proxy, connection) = connected_through_proxy().await;
    let answer = run_apart(&connection, HALF_AN_ANSWER);
    until_session(&database, connection.backend_pid().unwrap(), "wait_event = 'PgSleep'").await;
    proxy.reset();
    let error = bounded(answer).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    let text = error.to_string();
    assert!(text.starts_with("the connection to the server broke: Connection reset"), "{text}");
    assert_eq!(error.delivery(), Delivery::Unknown);
    let dsn = through(&proxy, &database);
    assert_dead_and_opens_anew(&connection, "Connection reset", &dsn).await;
}

#[tokio::test]
async fn a_session_terminated_while_busy() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let answer = run_apart(&connection, "select pg_sleep(60)");
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
    let error = bounded(answer).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(error.sqlstate(), Some(SqlState::ADMIN_SHUTDOWN));
    let why = "FATAL 57P01: terminating connection due to administrator command";
    assert_eq!(error.to_string(), format!("the server ended the session (the server said: {why})"));
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_dead_and_opens_anew(&connection, why, &database.dsn()).await;
}

#[tokio::test]
async fn a_session_terminated_while_idle_is_noticed_by_itself() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
    eventually("the connection is closed", || connection.is_closed()).await;
    let why = "FATAL 57P01: terminating connection due to administrator command";
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::ADMIN_SHUTDOWN));
    assert_eq!(error.server().unwrap().severity(), "FATAL");
    assert_eq!(error.ended_by(), Some(EndedBy::Terminated));
    assert_eq!(
        error.to_string(),
        format!("the connection is dead: the server ended the session (the server said: {why})")
    );
    assert_dead_and_opens_anew(&connection, why, &database.dsn()).await;
}

/// What the server said to nobody is said to whoever comes next.
#[tokio::test]
async fn a_transaction_that_was_idle_for_too_long_is_told_why_it_is_gone() {
    let (database, connection) = connected().await;
    let outcome = bounded(connection.run_interaction(async |cursor| {
        let sql = "set local idle_in_transaction_session_timeout to '10ms'";
        cursor.run_operation(sql, ()).await?;
        eventually("the connection is closed", || connection.is_closed()).await;
        cursor.run_operation("select 1", ()).await
    }))
    .await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    assert_eq!(error.sqlstate(), Some(SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT));
    assert_eq!(error.ended_by(), None);
    let why = "FATAL 25P03: terminating connection due to idle-in-transaction timeout";
    assert_dead_and_opens_anew(&connection, why, &database.dsn()).await;
}

#[tokio::test]
async fn a_session_terminated_in_an_interaction() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    connection.run_operation("create table t (id int)", ()).await.unwrap();
    let waiting = connection.clone();
    let outcome = bounded(connection.run_interaction(async |cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        let waiting = tokio::spawn(async move { waiting.run_query("select 1", ()).await });
        tokio::task::yield_now().await;
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
        let error = bounded(waiting).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionDead);
        cursor.run_operation("insert into t values (2)", ()).await
    }))
    .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionDead);
    bounded(connection.connect(database.dsn())).await.unwrap();
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
}

#[tokio::test]
async fn a_loss_ends_every_call_with_its_own_delivery() {
    let server = Script::new().welcome().expect_message(b'Q').reset().play().unwrap();
    let connection = tight(&server.dsn()).await;
    let big = format!("select '{}'", megabytes(16));
    let sent = connection.run_script("select 1");
    let half_sent = connection.run_script(&big);
    let queued = connection.run_script("select 2");
    let (sent, half_sent, queued) = bounded(async { tokio::join!(sent, half_sent, queued) }).await;
    for (error, delivery) in [
        (sent.unwrap_err(), Delivery::Unknown),
        (half_sent.unwrap_err(), Delivery::NotSent),
        (queued.unwrap_err(), Delivery::NotSent),
    ] {
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert_broken(&error);
        assert_eq!(error.delivery(), delivery);
        assert_eq!(error.is_retryable(), delivery == Delivery::NotSent);
    }
}

#[tokio::test]
async fn an_error_after_a_huge_statement_is_short() {
    let database = shared().database().unwrap();
    let connection = tight(&database.dsn()).await;
    let sql = format!("select '{}' frm nothing", megabytes(8));
    let error = bounded(connection.run_query(&sql, ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(error.to_string(), "ERROR 42601: syntax error at or near \"nothing\"");
    assert_eq!(error.delivery(), Delivery::Answered);
    let shown = format!("{error:#}");
    assert!(shown.len() < 1000, "{}", shown.len());
    let mut lines = shown.lines().skip(1);
    let (line, caret) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(line.find("nothing"), caret.find('^'), "{shown}");
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_answer_that_comes_while_we_still_write() {
    let answer = [
        backend::row_description(&[("?column?", 25)], 0),
        backend::data_row(&[Some(b"works")]),
        backend::command_complete("SELECT 1"),
        backend::ready(b'I'),
    ];
    let big = format!("select '{}'", megabytes(8));
    let question = backend::message(b'Q', format!("{big}\0").as_bytes());
    // The server reads no more than the first byte before it has said all this, and 8 MB fit into no buffer.
    let notices = backend::notice(&"careful ".repeat(1000)).repeat(1000);
    let refusal = [backend::error("54000", "too much"), backend::ready(b'I')].concat();
    for early in [[notices.clone(), refusal.clone()], [refusal, notices]] {
        let server = Script::new()
            .welcome()
            .expect(&question[..1])
            .send(early.concat())
            .expect(&question[1..])
            .expect_message(b'Q')
            .send(answer.concat())
            .expect_message(b'X')
            .expect_end()
            .play()
            .unwrap();
        let connection = tight(&server.dsn()).await;
        let error = bounded(connection.run_script(&big)).await.unwrap_err();
        assert_eq!(error.to_string(), "ERROR 54000: too much");
        assert_eq!(error.delivery(), Delivery::Answered);
        let results = bounded(connection.run_script("select 'works'")).await.unwrap();
        assert_eq!(results[0].rows().first().unwrap().get::<&str>(0).unwrap(), "works");
        // The newest 50, and no more than their bound of 256 KiB.
        let kept = connection.notices().len();
        assert!((1..=50).contains(&kept), "{kept} notices are kept");
        bounded(connection.close()).await;
        server.finish().unwrap();
    }
}

#[tokio::test]
async fn the_last_words_of_a_server_that_hangs_up_while_we_write() {
    let server = Script::new()
        .welcome()
        .expect(b"Q")
        .send(backend::fatal("57P01", "closing time"))
        // With the reset the kernel throws away what was not read: no client could show it then.
        .silence(Duration::from_millis(100))
        .reset()
        .play()
        .unwrap();
    let connection = tight(&server.dsn()).await;
    let big = format!("select '{}'", megabytes(8));
    let error = bounded(connection.run_script(&big)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(
        error.to_string(),
        "the server ended the session (the server said: FATAL 57P01: closing time)"
    );
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_dead_and_opens_anew(&connection, "closing time", &shared().dsn()).await;
}

#[tokio::test]
async fn both_sides_write_a_lot() {
    let database = shared().database().unwrap();
    let connection = tight(&database.dsn()).await;
    connection.run_operation("set client_min_messages = debug5", ()).await.unwrap();
    let list: Vec<String> = (1..=65_535).map(|n| format!("${n}::text")).collect();
    let sql = format!("select array_length(array[{}], 1)", list.join(","));
    let value: &(dyn ToSql + Sync) = &"some twenty letters.";
    let rows = bounded(connection.run_query(&sql, &vec![value; 65_535])).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), 65_535);
    assert!(!connection.notices().is_empty());
}

#[tokio::test]
async fn many_calls_send_and_receive_a_lot_at_once() {
    let database = shared().database().unwrap();
    let connection = tight(&database.dsn()).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let value = megabytes(1);
                let rows = connection.run_query("select $1::text", (&value,)).await.unwrap();
                assert!(rows.first().unwrap().get::<&str>(0).unwrap() == value);
            })
        })
        .collect();
    for call in calls {
        bounded(call).await.unwrap();
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_silent_network_holds_nobody_up_at_the_end() {
    let (database, proxy, connection) = connected_through_proxy().await;
    proxy.stall(Direction::ToServer);
    proxy.stall(Direction::ToClient);
    let answer = run_apart(&connection, "select 1");
    tokio::task::yield_now().await;
    let before = std::time::Instant::now();
    bounded(connection.close()).await;
    assert!(before.elapsed() < Duration::from_secs(1) + LATE);
    let error = bounded(answer).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    proxy.flow(Direction::ToServer);
    proxy.flow(Direction::ToClient);
    eventually("the session is over", || sessions(&database) == 0).await;
    bounded(connection.connect(database.dsn())).await.unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_fatal_error_without_an_end_is_the_end() {
    // pgx: TestFatalErrorReceivedAfterCommandComplete.
    let server = Script::new()
        .welcome()
        .expect_message(b'Q')
        .send(backend::command_complete("SELECT 0"))
        .send(backend::fatal("57P01", "closing time"))
        .silence(Duration::from_secs(9))
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let error = bounded(connection.run_script("select")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_dead_and_opens_anew(&connection, "closing time", &shared().dsn()).await;
    server.finish().unwrap();
}

#[tokio::test]
async fn a_session_that_ends_as_soon_as_it_has_begun() {
    let farewell = backend::fatal("57P01", "closing time");
    let server = Script::new()
        .expect_startup()
        .send([backend::welcome(), farewell].concat())
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    eventually("the connection is closed", || connection.is_closed()).await;
    assert_dead_and_opens_anew(&connection, "closing time", &shared().dsn()).await;
}
