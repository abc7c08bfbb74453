//! Connections that die, and servers that go: no caller gets a dead connection.

use std::time::{Duration, Instant};

use txpostgres::{Connection, ConnectionPool, ErrorKind};
use txpostgres_testkit::{Proxy, shared as shared_server};

use super::support::{bounded, eventually, through};
use super::{pool, sessions};

const TERMINATE: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
    where datname = current_database() and pid <> pg_backend_pid()";

/// The administrator ends all idle sessions: the next callers notice nothing.
#[tokio::test]
async fn idle_sessions_that_are_terminated_are_replaced() {
    let (database, pool) = pool(5, 5).await;
    for _ in 0..5 {
        eventually("the pool is full", || pool.statistics().idle == 5).await;
        database.sql(TERMINATE).unwrap();
        // The sessions end some milliseconds after this has returned. The runtime of this test has
        // not run since, and has not noticed.
        std::thread::sleep(Duration::from_millis(30));
        let mut calls = Vec::new();
        for _ in 0..20 {
            let pool = pool.clone();
            calls.push(tokio::spawn(async move { pool.run_query("select 1", ()).await }));
        }
        for call in calls {
            bounded(call).await.unwrap().unwrap();
        }
    }
    eventually("the pool is full again", || pool.statistics().idle == 5).await;
    assert_eq!(sessions(&database), 5);
}

/// A network that swallows everything: callers end in time, and it is noticed when it is well
/// again.
#[tokio::test]
async fn a_blackhole_costs_callers_their_time_and_no_more() {
    let database = shared_server().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let limit = Duration::from_millis(500);
    let pool =
        ConnectionPool::builder(through(&proxy, &database)).acquire_timeout(limit).build().unwrap();
    bounded(pool.start()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.deafen();
    proxy.deafen_new(Some(0));
    let mut callers = Vec::new();
    for _ in 0..100 {
        let pool = pool.clone();
        callers.push(tokio::spawn(async move {
            let began = Instant::now();
            let error = pool.get().await.unwrap_err();
            (error, began.elapsed())
        }));
    }
    let mut longest = Duration::ZERO;
    for caller in callers {
        let (error, took) = bounded(caller).await.unwrap();
        longest = longest.max(took);
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(took >= limit && took < limit + super::support::LATE, "{took:?}");
    }
    proxy.deafen_new(None);
    let began = Instant::now();
    bounded(pool.get()).await.unwrap();
    let healed = began.elapsed();
    assert!(healed < limit, "{healed:?}");
    bounded(pool.run_query("select 1", ())).await.unwrap();
    println!("the last caller ended after {longest:?}; after healing it took {healed:?}");
}

/// A call whose connection is lost says so; the pool is whole again by itself.
#[tokio::test]
async fn a_restart_of_the_server_is_survived() {
    let server = txpostgres_testkit::Cluster::builder().start().unwrap();
    let database = server.database().unwrap();
    let pool = ConnectionPool::builder(database.dsn()).min(3).max(3).build().unwrap();
    bounded(pool.start()).await.unwrap();
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query("select pg_sleep(30)", ()).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.restart(txpostgres_testkit::StopMode::Fast).unwrap();
    bounded(running).await.unwrap().unwrap_err();
    bounded(pool.run_query("select 1", ())).await.unwrap();
    eventually("the pool is full again", || pool.statistics().idle == 3).await;
    // While it is down, callers wait, and are served once it is back.
    server.stop(txpostgres_testkit::StopMode::Immediate).unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query("select 1", ()).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.start_again().unwrap();
    bounded(waiting).await.unwrap().unwrap();
}

/// A connection that was taken out is none of the pool's any more.
#[tokio::test]
async fn a_detached_connection_is_replaced() {
    let (_database, pool) = pool(1, 1).await;
    let own: Connection = bounded(pool.get()).await.unwrap().detach();
    bounded(pool.run_query("select 1", ())).await.unwrap();
    bounded(own.run_query("select 1", ())).await.unwrap();
}
