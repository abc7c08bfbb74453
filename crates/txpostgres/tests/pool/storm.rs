//! A server that restarts under the load of thousands of callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use txpostgres::ConnectionPool;
use txpostgres_testkit::{Cluster, StopMode};

use super::support::{LATE, bounded, eventually};

/// 5,000 tasks ask as fast as they can while the server is away for three seconds: it is asked at
/// most 20 times a second, and a second after it is ready all connections are there and work.
#[tokio::test]
async fn thousands_of_callers_do_not_storm_a_server_that_restarts() {
    let server = Cluster::builder().start().unwrap();
    let database = server.database().unwrap();
    let pool = ConnectionPool::builder(database.dsn()).min(10).max(10).build().unwrap();
    bounded(pool.start()).await.unwrap();
    let (done, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = Vec::new();
    for _ in 0..5_000 {
        let (pool, done, ends) = (pool.clone(), Arc::clone(&done), Arc::clone(&ends));
        tasks.push(tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                if pool.run_query("select 1", ()).await.is_ok() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let count = || done.load(Ordering::Relaxed);
    eventually("they work", || count() > 5_000).await;
    let before = pool.statistics();
    let (stopped, server) = tokio::task::spawn_blocking(move || {
        server.stop(StopMode::Immediate).unwrap();
        (Instant::now(), server)
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let away = stopped.elapsed().as_secs_f64();
    let attempts = pool.statistics().not_opened - before.not_opened;
    let attempts = f64::from(u32::try_from(attempts).unwrap());
    assert!(attempts <= 20.0 * away + 1.0, "{attempts} attempts in {away} s");
    assert!(attempts >= 5.0, "{attempts}: it is asked");
    let server = tokio::task::spawn_blocking(move || {
        server.start_again().unwrap();
        server
    })
    .await
    .unwrap();
    let ready = Instant::now();
    let all = || pool.statistics().size == 10 && pool.statistics().lost >= before.lost + 10;
    eventually("all connections are there", all).await;
    assert!(ready.elapsed() < Duration::from_secs(1) + LATE, "{:?}", ready.elapsed());
    let at = count();
    eventually("they work again", || count() > at + 5_000).await;
    assert!(ready.elapsed() < Duration::from_secs(1) + LATE * 2, "{:?}", ready.elapsed());
    println!("{attempts} attempts in {away:.1} s; whole after {:?}", ready.elapsed());
    ends.store(true, Ordering::Relaxed);
    for task in tasks {
        bounded(task).await.unwrap();
    }
    drop(server);
}
