//! A server or a network that has gone in silence, and one that is merely slow.

use std::time::{Duration, Instant};

use txpostgres::reconnection::ConnectionState;
use txpostgres::{Connection, ConnectionBuilder, Delivery, ErrorKind};
use txpostgres_testkit::{Proxy, shared};

use crate::support::{LATE, bounded, eventually, through, until_session};
use crate::{open, reconnecting, up};

const BOUND: Duration = Duration::from_secs(1);

fn watched() -> ConnectionBuilder {
    reconnecting().liveness_bound(BOUND).heartbeat(Some(Duration::from_millis(300)))
}

/// Old connections are deaf from some time on, and new ones work or not: within the bound, the call
/// that waits ends, and the connection is back when new ones work.
async fn found_dead(
    make: impl AsyncFn(&Connection) -> txpostgres::Error + Send + Sync + 'static,
    works: bool,
) {
    let database = shared().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let connection = open(watched(), through(&proxy, &database)).await;
    bounded(connection.run_operation("create table t (line text)", ())).await.unwrap();
    proxy.deafen_new((!works).then_some(0));
    let error = {
        let call = make(&connection);
        tokio::pin!(call);
        // It is under way.
        tokio::time::timeout(Duration::from_millis(200), &mut call).await.unwrap_err();
        proxy.deafen();
        let began = Instant::now();
        let error = bounded(&mut call).await;
        assert!(began.elapsed() < BOUND + LATE, "{:?}: {error}", began.elapsed());
        error
    };
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    proxy.deafen_new(None);
    let well = Instant::now();
    up(&connection, 2).await;
    assert!(well.elapsed() < LATE, "{:?}", well.elapsed());
    bounded(connection.run_query("select 1", ())).await.unwrap();
}

#[tokio::test]
async fn in_a_query() {
    for works in [true, false] {
        found_dead(
            async |connection: &Connection| {
                connection.run_query("select pg_sleep(1.2)", ()).await.unwrap_err()
            },
            works,
        )
        .await;
    }
}

/// The server works for a second, and sends into the void; then it has nothing left to do.
#[tokio::test]
async fn in_the_middle_of_rows() {
    found_dead(
        async |connection: &Connection| {
            let sql = "select repeat('x', 1000), pg_sleep(0.01) from generate_series(1, 80)";
            let mut rows = connection.query_stream(sql, ());
            loop {
                match rows.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("it does not end"),
                }
            }
        },
        true,
    )
    .await;
}

#[tokio::test]
async fn in_a_copy() {
    found_dead(
        async |connection: &Connection| {
            let mut copy = connection.copy_in("copy t from stdin").await.unwrap();
            let line = format!("{}\n", "x".repeat(10_000));
            loop {
                if copy.send(line.as_bytes()).await.is_err() {
                    return copy.finish().await.unwrap_err();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                // What is sent is acknowledged: only the end is owed an answer.
                if copy.progress().bytes > 2_000_000 {
                    return copy.finish().await.unwrap_err();
                }
            }
        },
        true,
    )
    .await;
}

/// A connection that nothing uses is found dead by its heartbeat.
#[tokio::test]
async fn while_idle() {
    let database = shared().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let connection = open(watched(), through(&proxy, &database)).await;
    let pid = connection.backend_pid().unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(connection.backend_pid(), Some(pid), "a heartbeat harms nothing");
    proxy.deafen();
    let began = Instant::now();
    up(&connection, 2).await;
    assert!(began.elapsed() < Duration::from_millis(300) + BOUND + LATE, "{:?}", began.elapsed());
}

/// The server works on the answer: it takes ten times the bound, and the session survives.
#[tokio::test]
async fn a_query_that_is_merely_slow_survives() {
    let database = shared().database().unwrap();
    let connection = open(watched(), database.dsn()).await;
    let pid = connection.backend_pid();
    let mut states = connection.detector().unwrap().states();
    bounded(connection.run_query("select pg_sleep($1::float8)", (10.0 * BOUND.as_secs_f64(),)))
        .await
        .unwrap();
    assert_eq!(connection.backend_pid(), pid);
    assert_eq!(states.next().await, Some(ConnectionState::Up { generation: 1 }));
    let suspected = bounded(states.next()).await;
    assert!(matches!(suspected, Some(ConnectionState::Suspect { .. })), "{suspected:?}");
    assert_eq!(bounded(states.next()).await, Some(ConnectionState::Up { generation: 1 }));
}

/// A lock that another session holds is waited for, and a program that reads slowly is left alone.
#[tokio::test]
async fn waiting_is_no_death() {
    let database = shared().database().unwrap();
    let connection = open(watched(), database.dsn()).await;
    let other = open(Connection::builder(), database.dsn()).await;
    let pid = connection.backend_pid().unwrap();
    bounded(other.run_query("select pg_advisory_lock(1)", ())).await.unwrap();
    let waiting = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.run_query("select pg_advisory_lock(1)", ()).await })
    };
    until_session(&database, pid, "wait_event_type = 'Lock'").await;
    tokio::time::sleep(BOUND * 2).await;
    bounded(other.run_query("select pg_advisory_unlock(1)", ())).await.unwrap();
    bounded(waiting).await.unwrap().unwrap();
    // Not read for a while.
    let mut rows =
        connection.query_stream("select repeat('x', 1000) from generate_series(1, 100000)", ());
    bounded(rows.next()).await.unwrap().unwrap();
    tokio::time::sleep(BOUND * 2).await;
    let mut count = 1;
    while let Some(row) = bounded(rows.next()).await {
        row.unwrap();
        count += 1;
    }
    assert_eq!(count, 100_000);
    // A COPY without data, and a transaction in which nothing happens.
    let mut copy = {
        bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
        bounded(connection.copy_in("copy t from stdin")).await.unwrap()
    };
    tokio::time::sleep(BOUND * 2).await;
    bounded(copy.send(b"1\n")).await.unwrap();
    bounded(copy.finish()).await.unwrap();
    let interaction = connection.run_interaction(async |cursor| {
        cursor.run_query("select 1", ()).await?;
        tokio::time::sleep(BOUND * 2).await;
        cursor.run_query("select 1", ()).await
    });
    bounded(interaction).await.unwrap();
    assert_eq!(connection.backend_pid(), Some(pid));
}

/// A call on a connection that went deaf while idle is told that it may have been done.
#[tokio::test]
async fn without_a_heartbeat_the_next_call_finds_out() {
    let database = shared().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let silent = reconnecting().liveness_bound(BOUND).heartbeat(None);
    let connection = open(silent, through(&proxy, &database)).await;
    proxy.deafen();
    tokio::time::sleep(BOUND).await;
    let began = Instant::now();
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::Unknown));
    assert!(began.elapsed() < BOUND + LATE);
    up(&connection, 2).await;
    eventually("old sessions are closed", || proxy.connections() < 4).await;
}

/// Wherever the login stands still, TLS and passwords included: attempts go on beside, and the
/// connection is back soon after the network is well.
#[cfg(feature = "tls")]
#[tokio::test]
async fn in_each_phase_of_the_login() {
    use txpostgres_testkit::{Cluster, TlsCertificates};

    let cluster = Cluster::builder().tls(TlsCertificates::good().unwrap()).start().unwrap();
    let database = cluster.database().unwrap();
    for bytes in [0, 1, 2, 100, 1_000, 1_500, 2_000, 2_200, 2_500] {
        let proxy = Proxy::to_port(cluster.port()).unwrap();
        let dsn = format!("{} sslmode=require", through(&proxy, &database));
        let connection = open(watched(), &dsn).await;
        let pid = connection.backend_pid().unwrap();
        proxy.deafen_new(Some(bytes));
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
        let detector = connection.detector().unwrap();
        eventually("it is dead", || detector.connection_is_dead()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if !detector.connection_is_dead() {
            // The whole login was shorter.
            assert!(bytes > 1_500, "{bytes}");
        }
        proxy.deafen_new(None);
        let well = Instant::now();
        assert!(bounded(detector.recovered()).await);
        assert!(well.elapsed() < LATE, "{bytes}: {:?}", well.elapsed());
        bounded(connection.run_query("select 1", ())).await.unwrap();
        connection.close().await;
    }
}

/// What is done to a connection whose network has gone deaf ends in time as well.
#[tokio::test]
async fn in_a_cancel_and_in_a_close() {
    let database = shared().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let connection = open(watched(), through(&proxy, &database)).await;
    let pid = connection.backend_pid().unwrap();
    let mut call = connection.run_query("select pg_sleep(30)", ());
    let handle = call.cancel_handle();
    let call = tokio::spawn(async move { (call.await, Instant::now()) });
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    proxy.deafen();
    proxy.deafen_new(Some(0));
    let began = Instant::now();
    // The CancelRequest is swallowed as well: the cancel ends with the call.
    let _ = bounded(handle.cancel()).await;
    assert!(began.elapsed() < BOUND + LATE, "{:?}", began.elapsed());
    let (outcome, ended) = bounded(call).await.unwrap();
    assert_eq!(outcome.unwrap_err().delivery(), Delivery::Unknown);
    assert!(ended - began < BOUND + LATE, "{:?}", ended - began);
    let began = Instant::now();
    bounded(connection.close()).await;
    assert!(began.elapsed() < Duration::from_secs(1) + LATE, "{:?}", began.elapsed());
}

/// The server is stopped with everything in it, and goes on later.
#[tokio::test]
async fn a_server_that_is_stopped() {
    use txpostgres_testkit::Cluster;

    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    let connection = open(watched(), database.dsn()).await;
    let pid = connection.backend_pid().unwrap();
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.run_query("select pg_sleep(30)", ()).await }
    });
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    let signal = |name: &str| {
        let pid = pid.to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    cluster.pause_postmaster().unwrap();
    signal("-STOP");
    let began = Instant::now();
    let error = bounded(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::Unknown));
    assert!(began.elapsed() < BOUND + LATE, "{:?}", began.elapsed());
    signal("-CONT");
    cluster.resume_postmaster().unwrap();
    let well = Instant::now();
    up(&connection, 2).await;
    assert!(well.elapsed() < LATE, "{:?}", well.elapsed());
}

/// The whole program is stopped for longer than the bound, and goes on: its session is alive.
#[tokio::test]
async fn a_client_that_is_stopped() {
    let database = shared().database().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "silence::the_client_that_is_stopped"])
        .env("TXPOSTGRES_STOPPED", database.dsn())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    let signal = |name: &str| std::process::Command::new("kill").args([name, &pid]).status();
    let working = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and query like '%stopped%'
         and pid <> pg_backend_pid()",
        database.name()
    );
    eventually("it works", || database.server().sql(&working).unwrap() == "1").await;
    for _ in 0..2 {
        signal("-STOP").unwrap();
        tokio::time::sleep(BOUND * 2).await;
        signal("-CONT").unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let ended = bounded(tokio::task::spawn_blocking(move || child.wait())).await;
    assert!(ended.unwrap().unwrap().success(), "it has lost its session");
}

/// Run by [`a_client_that_is_stopped`].
#[tokio::test]
#[ignore = "it is a part of another test"]
async fn the_client_that_is_stopped() {
    let Ok(dsn) = std::env::var("TXPOSTGRES_STOPPED") else { return };
    let connection = open(watched(), dsn).await;
    let pid = connection.backend_pid();
    let began = Instant::now();
    while began.elapsed() < BOUND * 6 {
        connection.run_query("select 'stopped', pg_sleep(0.3)", ()).await.unwrap();
    }
    assert_eq!(connection.backend_pid(), pid);
    let state = connection.detector().unwrap().state();
    assert_eq!(state, ConnectionState::Up { generation: 1 });
}
