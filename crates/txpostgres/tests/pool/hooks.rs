//! Hooks, lifetimes, sizes, and how a pool is suspended and closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use txpostgres::{Connection, ConnectionPool, Error, ErrorKind};
use txpostgres_testkit::shared as shared_server;

use super::support::{bounded, eventually};
use super::{pool, sessions};

#[tokio::test]
async fn hooks_are_called_when_their_names_say() {
    let database = shared_server().database().unwrap();
    let calls: [Arc<AtomicUsize>; 4] = Default::default();
    let [connect, connected, acquire, release] = calls.clone();
    let count = |counter: &Arc<AtomicUsize>| counter.fetch_add(1, Ordering::Relaxed);
    let pool = ConnectionPool::builder(database.dsn())
        .min(1)
        .max(1)
        .before_connect(move |mut config| {
            count(&connect);
            config.application_name("hooked");
            async move { Ok(config) }
        })
        .after_connect(move |connection| {
            count(&connected);
            async move { connection.set("lock_timeout", "7s").await }
        })
        .before_acquire(move |_| {
            let number = count(&acquire);
            async move {
                if number == 1 {
                    Err(Error::new(ErrorKind::Request, "not this one"))
                } else {
                    Ok(())
                }
            }
        })
        .after_release(move |_| {
            count(&release);
            async { Ok(()) }
        })
        .build()
        .unwrap();
    let sql = "select current_setting('application_name'), current_setting('lock_timeout')";
    let settings = async || -> (String, String) {
        let held = bounded(pool.get()).await.unwrap();
        bounded(held.run_query_as(sql, ()).one()).await.unwrap()
    };
    let wanted = ("hooked".to_owned(), "7s".to_owned());
    assert_eq!(settings().await, wanted);
    let counts = || calls.each_ref().map(|calls| calls.load(Ordering::Relaxed));
    eventually("it came back", || pool.statistics().idle == 1).await;
    assert_eq!(counts(), [1, 1, 1, 1]);
    // The one that is refused is replaced.
    assert_eq!(settings().await, wanted);
    eventually("it came back", || pool.statistics().idle == 1).await;
    assert_eq!(counts(), [2, 2, 3, 2]);
}

#[tokio::test]
async fn a_hook_that_fails_or_panics_fails_the_attempt() {
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::builder(database.dsn())
        .after_connect(|_| async { panic!("in a hook") })
        .build()
        .unwrap();
    let error = bounded(pool.start()).await.unwrap_err();
    assert!(error.to_string().contains("after_connect of the pool panicked: in a hook"), "{error}");
    eventually("its sessions have ended", || sessions(&database) == 0).await;
}

#[tokio::test]
async fn a_factory_that_panics_fails_the_attempt_and_no_more() {
    let database = shared_server().database().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let pool = ConnectionPool::builder(database.dsn())
        .min(1)
        .max(1)
        .connection_factory(move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            assert!(number >= 3, "in a factory");
            Connection::builder()
        })
        .build()
        .unwrap();
    let error = bounded(pool.start()).await.unwrap_err();
    assert!(error.to_string().contains("what the program gave to the pool panicked"), "{error}");
    // Callers wait, and the pool tries again.
    bounded(pool.run_query("select 1", ())).await.unwrap();
    assert_eq!((calls.load(Ordering::Relaxed), pool.statistics().not_opened), (4, 2));
}

#[tokio::test]
async fn a_pool_whose_last_connection_is_lost_in_use_closes_at_once() {
    let (database, pool) = pool(1, 1).await;
    let call = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query("select pg_sleep(60)", ()).await }
    });
    eventually("it runs", || pool.statistics().taken == 1).await;
    pool.resize(0, 1);
    let began = Instant::now();
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    eventually("it is being closed", || pool.is_closed()).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%sleep(60)%' \
               and datname = current_database() and pid <> pg_backend_pid()";
    database.sql(end).unwrap();
    bounded(call).await.unwrap().unwrap_err();
    bounded(closing).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn connections_that_are_too_old_or_idle_are_replaced_or_closed() {
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::builder(database.dsn())
        .min(1)
        .max(5)
        .max_lifetime(Duration::from_millis(700))
        .build()
        .unwrap();
    bounded(pool.start()).await.unwrap();
    let pid = async || bounded(pool.get()).await.unwrap().backend_pid().unwrap();
    let first = pid().await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_ne!(pid().await, first);
    let pool = ConnectionPool::builder(database.dsn())
        .min(1)
        .max(5)
        .idle_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bounded(pool.get()).await.unwrap());
    }
    drop(held);
    eventually("the least number is left", || pool.statistics().size == 1).await;
}

#[tokio::test]
async fn min_idle_is_kept_ready() {
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::builder(database.dsn()).min(1).max(4).min_idle(2).build().unwrap();
    bounded(pool.start()).await.unwrap();
    eventually("two are idle", || pool.statistics().idle == 2).await;
    let _held = [bounded(pool.get()).await.unwrap(), bounded(pool.get()).await.unwrap()];
    eventually("two others are idle", || pool.statistics().idle == 2).await;
    assert_eq!(pool.statistics().size, 4);
}

#[tokio::test]
async fn a_pool_is_resized_while_it_runs() {
    let (database, pool) = pool(4, 4).await;
    let held = bounded(pool.get()).await.unwrap();
    pool.resize(1, 2);
    eventually("two are left", || sessions(&database) == 2).await;
    bounded(held.run_query("select 1", ())).await.unwrap();
    drop(held);
    assert_eq!(pool.statistics().size, 2);
    pool.resize(6, 6);
    eventually("six are open", || pool.statistics().idle == 6).await;
}

#[tokio::test]
async fn a_suspended_pool_makes_callers_wait() {
    let (_database, pool) = pool(2, 2).await;
    let held = bounded(pool.get()).await.unwrap();
    let suspended = tokio::spawn({
        let pool = pool.clone();
        async move { pool.suspend().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!suspended.is_finished(), "one is in use");
    let caller = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query("select 1", ()).await }
    });
    drop(held);
    bounded(suspended).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!caller.is_finished());
    pool.retire();
    pool.resume();
    bounded(caller).await.unwrap().unwrap();
    assert_eq!(pool.statistics().generation, 2);
    eventually("others are open", || pool.statistics().idle == 2).await;
}

#[tokio::test]
async fn close_waits_for_what_is_in_use_for_a_limited_time() {
    let database = shared_server().database().unwrap();
    let limit = Duration::from_millis(400);
    let pool = ConnectionPool::builder(database.dsn()).close_timeout(limit).build().unwrap();
    let short = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query("select pg_sleep(0.2)", ()).await }
    });
    let long = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query("select pg_sleep(60)", ()).await }
    });
    eventually("both run", || pool.statistics().taken == 2).await;
    let began = Instant::now();
    let closing = pool.close();
    let mut closing = std::pin::pin!(closing);
    let _ = tokio::time::timeout(Duration::from_millis(20), &mut closing).await;
    assert_eq!(bounded(pool.get()).await.unwrap_err().kind(), ErrorKind::Closed);
    bounded(closing).await;
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    bounded(short).await.unwrap().unwrap();
    bounded(long).await.unwrap().unwrap_err();
    eventually("no session is left", || sessions(&database) == 0).await;
}

#[tokio::test]
async fn reads_go_elsewhere_if_wanted() {
    let (database, plain) = pool(1, 1).await;
    let of = |pool: &ConnectionPool| {
        let call = pool.clone();
        async move {
            let sql = "select current_setting('application_name')";
            let row = bounded(call.run_query(sql, ()).one()).await.unwrap();
            row.get::<String>(0).unwrap()
        }
    };
    assert_eq!(of(plain.read()).await, of(&plain).await);
    let split = ConnectionPool::builder(format!("{} application_name=writes", database.dsn()))
        .read(format!("{} application_name=reads", database.dsn()))
        .build()
        .unwrap();
    assert_eq!(of(&split).await, "writes");
    // There is no standby: any server will do.
    assert_eq!(of(split.read()).await, "reads");
    bounded(split.close()).await;
    assert_eq!(bounded(split.read().get()).await.unwrap_err().kind(), ErrorKind::Closed);
}
