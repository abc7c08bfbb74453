//! The fault catalogue: whatever happens to the server or the network, pending calls end at once
//! with what is known of them, and the connection comes back by itself.

use std::time::{Duration, Instant};

use txpostgres::reconnection::ConnectionState;
use txpostgres::{Connection, Delivery, ErrorKind, SqlState};
use txpostgres_testkit::{Cluster, Database, Proxy, StopMode, shared};

use crate::support::{assert_works, bounded, eventually, through, until_session};
use crate::{open, reconnecting, up};

/// How soon the connection must be back after the server can be reached: 1 s.
const BACK: Duration = Duration::from_secs(1);

/// A statement that the server works on, in a task of its own.
fn sleeping(connection: &Connection) -> tokio::task::JoinHandle<txpostgres::Error> {
    let connection = connection.clone();
    tokio::spawn(async move { connection.run_query("select pg_sleep(60)", ()).await.unwrap_err() })
}

/// The call that is in flight when this happens ends at once, and the connection is back soon.
async fn survives(database: &Database, fault: impl FnOnce(i32)) {
    let connection = open(reconnecting(), database.dsn()).await;
    let pid = connection.backend_pid().unwrap();
    let pending = sleeping(&connection);
    until_session(database, pid, "wait_event = 'PgSleep'").await;
    fault(pid);
    let reachable = Instant::now();
    let error = bounded(pending).await.unwrap();
    assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    up(&connection, 2).await;
    assert!(reachable.elapsed() < BACK, "{:?}", reachable.elapsed());
    assert_works(&connection).await;
    connection.close().await;
    assert_eq!(connection.detector().unwrap().state(), ConnectionState::Closed);
}

#[tokio::test]
async fn a_backend_that_is_terminated() {
    let database = shared().database().unwrap();
    survives(&database, |pid| {
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_is_killed() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    survives(&database, |pid| {
        cluster.kill_backend(pid).unwrap();
        // The server resets itself.
        while database.sql("select 1").is_err() {}
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    survives(&database, |_| {
        cluster.kill_postmaster().unwrap();
        cluster.start_again().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_restarted() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    for mode in [StopMode::Fast, StopMode::Immediate] {
        survives(&database, |_| cluster.restart(mode).unwrap()).await;
    }
}

#[tokio::test]
async fn a_network_that_cuts_or_resets() {
    let database = shared().database().unwrap();
    for fault in [Proxy::cut, Proxy::reset] {
        let proxy = Proxy::to_port(database.server().port()).unwrap();
        let connection = open(reconnecting(), through(&proxy, &database)).await;
        let pid = connection.backend_pid().unwrap();
        let pending = sleeping(&connection);
        until_session(&database, pid, "wait_event = 'PgSleep'").await;
        fault(&proxy);
        let reachable = Instant::now();
        let error = bounded(pending).await.unwrap();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::Unknown));
        up(&connection, 2).await;
        assert!(reachable.elapsed() < BACK);
        assert_works(&connection).await;
    }
}

/// Nothing waits for an answer, and the end is noticed all the same.
#[tokio::test]
async fn an_idle_connection_is_back_before_it_is_used() {
    let database = shared().database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    for generation in 2..5 {
        let pid = connection.backend_pid().unwrap();
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
        up(&connection, generation).await;
        assert_ne!(connection.backend_pid(), Some(pid));
        assert_works(&connection).await;
    }
}

/// What does not end a session is no death.
#[tokio::test]
async fn errors_that_pass_do_not_end_the_connection() {
    let database = shared().database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    let detector = connection.detector().unwrap();
    let pid = connection.backend_pid();
    for (sql, code) in [
        ("do $$ begin raise sqlstate '40P01'; end $$", "40P01"),
        ("do $$ begin raise sqlstate '40001'; end $$", "40001"),
        ("do $$ begin raise sqlstate '53300'; end $$", "53300"),
        ("do $$ begin raise sqlstate '57P01'; end $$", "57P01"),
        ("do $$ begin raise sqlstate '25006'; end $$", "25006"),
        ("set statement_timeout = 1; select pg_sleep(9)", "57014"),
        ("select 1/0", "22012"),
    ] {
        let error = bounded(connection.run_script(sql)).await.unwrap_err();
        assert_eq!(error.sqlstate().unwrap().as_str(), code);
        assert!(!detector.check_for_dead_connection(&error), "{error}");
        bounded(connection.run_script("reset statement_timeout")).await.unwrap();
    }
    assert_eq!(connection.backend_pid(), pid);
    assert_eq!(detector.state(), ConnectionState::Up { generation: 1 });
}

/// That the database is gone is told, and not tried again in a hot loop; calls that would wait are told too.
#[tokio::test]
async fn what_does_not_pass_by_itself_is_told() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    let connection =
        open(reconnecting().wait_for_recovery(Duration::from_secs(60)), database.dsn()).await;
    cluster.sql(&format!("drop database {} with (force)", database.name())).unwrap();
    let detector = connection.detector().unwrap();
    eventually("it is dead", || detector.connection_is_dead()).await;
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_CATALOG_NAME));
    let is_scheduled =
        || matches!(detector.state(), ConnectionState::Reconnecting { attempt: 2, .. });
    eventually("the next attempt is scheduled", is_scheduled).await;
    let state = detector.state();
    let ConnectionState::Reconnecting { attempt, delay, .. } = state else { panic!("{state:?}") };
    assert!(attempt == 2 && delay >= Duration::from_secs(9), "{attempt} {delay:?}");
}
