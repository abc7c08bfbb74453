//! What callers are told that get no connection.

use std::time::{Duration, Instant};

use txpostgres::{ConnectionPool, ErrorKind};
use txpostgres_testkit::shared as shared_server;

use super::support::bounded;

#[tokio::test]
async fn a_caller_that_gets_none_is_told_why() {
    let database = shared_server().database().unwrap();
    let limit = Duration::from_millis(200);
    let pool = ConnectionPool::builder(database.dsn())
        .max(2)
        .min(2)
        .acquire_timeout(limit)
        .build()
        .unwrap();
    let one = bounded(pool.get()).await.unwrap();
    let _two = bounded(pool.get()).await.unwrap();
    let error = bounded(pool.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = format!("{error:#}");
    for part in ["2 of at most 2 are open", "2 in use", "0 idle", "one is held for", "exhausted.rs"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(pool.statistics().timeouts, 1);
    drop(one);
    bounded(pool.run_query("select 1", ())).await.unwrap();
    // One call waits for as long as it says.
    let _one = bounded(pool.get()).await.unwrap();
    let began = Instant::now();
    let waiting = pool.run_query("select 1", ()).wait_for_recovery(Duration::ZERO);
    bounded(waiting).await.unwrap_err();
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_task_that_waits_for_a_second_connection_is_told_so() {
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::builder(database.dsn())
        .min(1)
        .max(1)
        .acquire_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move {
            pool.run_interaction(async |cursor| {
                cursor.run_query("select 1", ()).await?;
                pool.run_query("select 2", ()).await
            })
            .await
        }
    });
    let error = bounded(waiting).await.unwrap().unwrap_err();
    assert!(error.hint().unwrap().contains("this task holds a connection"), "{error:#}");
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once() {
    let server = txpostgres_testkit::Cluster::builder().start().unwrap();
    server.database().unwrap().sql("create role peter login password 'right'").unwrap();
    server
        .set_hba(&[
            "local all all trust",
            "host all peter all scram-sha-256",
            "host all all all trust",
        ])
        .unwrap();
    server.reload().unwrap();
    let database = server.database().unwrap();
    let dsn = format!("{} user=peter password=wrong", database.dsn());
    let pool = ConnectionPool::new(dsn).unwrap();
    let began = Instant::now();
    let mut callers = Vec::new();
    for _ in 0..20 {
        let pool = pool.clone();
        callers.push(tokio::spawn(async move { pool.run_query("select 1", ()).await }));
    }
    for caller in callers {
        let error = bounded(caller).await.unwrap().unwrap_err();
        assert_eq!(error.sqlstate().unwrap().as_str(), "28P01", "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(pool.statistics().not_opened < 10, "no hot loop: {:?}", pool.statistics());
}

#[tokio::test]
async fn what_cannot_be_reached_is_the_source() {
    let pool = ConnectionPool::builder("host=127.0.0.1 port=1 user=x")
        .acquire_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let error = bounded(pool.get()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("cannot connect to"), "{error:#}: {source}");
    let attempts = pool.statistics().not_opened;
    assert!((1..=8).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn no_more_callers_wait_than_may() {
    let database = shared_server().database().unwrap();
    let pool =
        ConnectionPool::builder(database.dsn()).min(1).max(1).max_waiting(1).build().unwrap();
    let held = bounded(pool.get()).await.unwrap();
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get().await.map(drop) }
    });
    tokio::task::yield_now().await;
    let error = bounded(pool.get()).await.unwrap_err();
    assert!(error.to_string().contains("1 callers wait"), "{error}");
    drop(held);
    bounded(first).await.unwrap().unwrap();
}
