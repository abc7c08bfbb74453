//! Many callers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use txpostgres::ConnectionPool;
use txpostgres_testkit::shared as shared_server;

use super::pool;
use super::support::{bounded, eventually};

/// HikariCP's "Welcome to the Jungle": five idle connections of at most 20, opening one takes 150
/// ms, 50 callers arrive at once with queries of 2 ms. Few connections are opened for that.
#[tokio::test]
async fn a_burst_opens_two_connections_at_most() {
    let database = shared_server().database().unwrap();
    let is_slow = Arc::new(AtomicUsize::new(0));
    let slow = Arc::clone(&is_slow);
    let pool = ConnectionPool::builder(database.dsn())
        .min(5)
        .max(20)
        .after_connect(move |_| {
            let takes = Duration::from_millis(u64::try_from(slow.load(Ordering::Relaxed)).unwrap());
            async move {
                tokio::time::sleep(takes).await;
                Ok(())
            }
        })
        .build()
        .unwrap();
    bounded(pool.start()).await.unwrap();
    is_slow.store(150, Ordering::Relaxed);
    let began = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..50 {
        let pool = pool.clone();
        calls.push(tokio::spawn(async move { pool.run_query("select pg_sleep(0.002)", ()).await }));
    }
    for call in calls {
        bounded(call).await.unwrap().unwrap();
    }
    let took = began.elapsed();
    // All go through five connections before a sixth is open.
    assert!(took < Duration::from_millis(60) + super::support::LATE, "{took:?}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let opened = pool.statistics().opened;
    assert!(opened <= 7, "{opened}");
    println!("{took:?}, {opened} connections");
}

/// Callers are served in the order in which they came.
#[tokio::test]
async fn callers_are_served_in_their_order() {
    let (_database, pool) = pool(1, 1).await;
    let held = bounded(pool.get()).await.unwrap();
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for number in 0..1000 {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        callers.push(tokio::spawn(async move {
            let _held = pool.get().await.unwrap();
            order.lock().push(number);
        }));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    eventually("all wait", || pool.statistics().waiting == 1000).await;
    drop(held);
    for caller in callers {
        bounded(caller).await.unwrap();
    }
    assert!(order.lock().is_sorted());
}
