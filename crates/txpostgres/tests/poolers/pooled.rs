//! A pool of ours in front of PgBouncer in transaction mode: tests of the pool, with the setting
//! that the guide names.

#[path = "../pool/shared.rs"]
mod shared_connections;

use std::time::Duration;

use txpostgres::ConnectionPool;
use txpostgres_testkit::{Database, Pooler, Pooling, shared};

use super::support;
use support::bounded;

/// A pool through PgBouncer, which lives as long as the tests. Without PgBouncer, directly.
async fn pool(min: usize, max: usize) -> (Database, ConnectionPool) {
    let database = shared().database().unwrap();
    let pooler = Pooler::start(Pooling::PgBouncerTransaction, shared()).unwrap();
    let dsn = if let Some(pooler) = pooler {
        let dsn = format!("{} statement_cache_size=0", pooler.dsn(&database));
        // Stopped by its watchdog when this process ends.
        std::mem::forget(pooler);
        dsn
    } else {
        let (_, package) = Pooling::PgBouncerTransaction.program();
        eprintln!("SKIPPED: a pool behind PgBouncer; install {package}");
        database.dsn()
    };
    let pool = ConnectionPool::builder(dsn).min(min).max(max).build().unwrap();
    bounded(pool.start()).await.unwrap();
    (database, pool)
}

/// What callers leave behind is cleaned up: the next one finds no transaction.
#[tokio::test]
async fn what_is_left_behind_is_cleaned_up() {
    let (_database, pool) = pool(1, 1).await;
    bounded(pool.run_operation("create table left_behind (n int4)", ())).await.unwrap();
    let held = bounded(pool.get()).await.unwrap();
    bounded(held.run_script("begin; insert into left_behind values (1)")).await.unwrap();
    drop(held);
    let interaction = pool.run_interaction(async |cursor| {
        cursor.run_operation("insert into left_behind values (2)", ()).await?;
        cursor.run_query("select pg_sleep(0.2)", ()).await
    });
    tokio::time::timeout(Duration::from_millis(100), interaction).await.unwrap_err();
    let mut stream = pool.query_stream("select generate_series(1, 100000)", ());
    bounded(stream.next()).await.unwrap().unwrap();
    drop(stream);
    let mut copy = bounded(pool.copy_in("copy left_behind from stdin")).await.unwrap();
    bounded(copy.send("3\n")).await.unwrap();
    drop(copy);
    let call = pool.run_query("select pg_sleep(0.3)", ());
    tokio::time::timeout(Duration::from_millis(50), call).await.unwrap_err();
    let row = bounded(pool.run_query("select count(*) from left_behind", ()).one()).await.unwrap();
    assert_eq!(row.get::<i64>(0).unwrap(), 0);
}

/// Sessions that PgBouncer is told to end are replaced.
#[tokio::test]
async fn sessions_of_the_server_that_end_are_replaced() {
    let (database, pool) = pool(3, 3).await;
    for _ in 0..3 {
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid()";
        database.sql(sql).unwrap();
        // PgBouncer notices at the next use of a connection to the server, and ends that of the
        // client with it: a call may fail, the next ones do not.
        let mut failures = 0;
        for _ in 0..20 {
            failures += u32::from(bounded(pool.run_query("select 1", ())).await.is_err());
        }
        assert!(failures <= 3, "{failures} of 20");
    }
}
