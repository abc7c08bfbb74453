//! The rows of the original's `ConnectionPool`, by their names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use txpostgres::{Connection, ConnectionPool, ErrorKind, Executor, NotifyEvent, Result};
use txpostgres_testkit::shared as shared_server;

use super::support::{bounded, eventually};
use super::{pool, sessions};

#[tokio::test]
async fn min_connections_are_open_after_start() {
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::new(database.dsn()).unwrap();
    assert_eq!(pool.statistics().min, 3);
    assert_eq!(sessions(&database), 0, "none before");
    bounded(pool.start()).await.unwrap();
    assert_eq!(sessions(&database), 3);
    assert_eq!(pool.statistics().idle, 3);
    // As often as one likes.
    bounded(pool.start()).await.unwrap();
    assert_eq!(sessions(&database), 3);
}

#[tokio::test]
async fn start_fails_with_the_first_error_and_leaves_nothing_open() {
    let database = shared_server().database().unwrap();
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dials);
    let pool = ConnectionPool::builder(database.dsn())
        .min(4)
        .before_connect(move |mut config| {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == 2 {
                    config.dbname("there_is_no_such_database");
                }
                Ok(config)
            }
        })
        .build()
        .unwrap();
    let error = bounded(pool.start()).await.unwrap_err();
    assert_eq!(error.sqlstate().unwrap().as_str(), "3D000", "{error}");
    eventually("the sessions have ended", || sessions(&database) == 0).await;
    assert_eq!(pool.statistics().size, 0);
    // The next attempt succeeds.
    bounded(pool.start()).await.unwrap();
    assert_eq!(pool.statistics().size, 4);
}

#[tokio::test]
async fn start_that_is_dropped_leaves_nothing_open() {
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::builder(database.dsn())
        .after_connect(|_| async {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            Ok(())
        })
        .build()
        .unwrap();
    let limit = std::time::Duration::from_millis(300);
    tokio::time::timeout(limit, pool.start()).await.unwrap_err();
    eventually("the sessions have ended", || sessions(&database) == 0).await;
}

#[tokio::test]
async fn close_disconnects_all_connections_and_start_opens_them_again() {
    let (database, pool) = pool(3, 5).await;
    bounded(pool.close()).await;
    assert_eq!(sessions(&database), 0);
    assert!(pool.is_closed());
    let error = bounded(pool.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    bounded(pool.close()).await;
    bounded(pool.start()).await.unwrap();
    bounded(pool.run_query("select 1", ())).await.unwrap();
}

#[tokio::test]
async fn the_last_clone_that_is_dropped_closes_the_connections() {
    let (database, pool) = pool(3, 5).await;
    let clone = pool.clone();
    drop(pool);
    bounded(clone.run_query("select 1", ())).await.unwrap();
    drop(clone);
    eventually("the sessions have ended", || sessions(&database) == 0).await;
}

#[tokio::test]
async fn run_query_run_operation_and_run_interaction() {
    let (_database, pool) = pool(2, 2).await;
    bounded(pool.run_operation("create table t (n int4)", ())).await.unwrap();
    let inserted = bounded(pool.run_operation("insert into t values ($1), ($2)", (1, 2))).await;
    assert_eq!(inserted.unwrap(), 2);
    let sum: i64 =
        bounded(pool.run_query("select sum(n) from t", ()).one()).await.unwrap().get(0).unwrap();
    assert_eq!(sum, 3);
    let outcome = pool.run_interaction(async |cursor| {
        cursor.run_operation("insert into t values (3)", ()).await?;
        cursor.run_query("select no_such_column", ()).await
    });
    bounded(outcome).await.unwrap_err();
    let committed = pool
        .run_interaction(async |cursor| cursor.run_operation("insert into t values (4)", ()).await);
    assert_eq!(bounded(committed).await.unwrap(), 1);
    let all: Vec<(i32,)> =
        bounded(pool.run_query_as("select n from t order by n", ())).await.unwrap();
    assert_eq!(all, [(1,), (2,), (4,)]);
}

#[tokio::test]
async fn add_and_remove_while_in_use() {
    let (database, pool) = pool(1, 1).await;
    let own = bounded(Connection::open(database.dsn())).await.unwrap();
    let held = bounded(pool.get()).await.unwrap();
    pool.add(own.clone());
    pool.add(own.clone());
    assert_eq!((pool.statistics().size, pool.statistics().max), (2, 2), "added once");
    // The only one that is free.
    let pid = |row: txpostgres::OwnedRow| row.get::<i32>(0).unwrap();
    let sql = "select pg_backend_pid()";
    let used = pid(bounded(pool.run_query(sql, ()).one()).await.unwrap());
    assert_eq!(Some(used), own.backend_pid());
    let mut slow = Box::pin(pool.run_query("select pg_sleep(0.2), pg_backend_pid()", ()).one());
    let soon = std::time::Duration::from_millis(50);
    tokio::time::timeout(soon, &mut slow).await.unwrap_err();
    assert!(pool.remove(&own), "in use");
    assert!(!pool.remove(&own));
    let used: i32 = bounded(slow).await.unwrap().get(1).unwrap();
    assert_eq!(Some(used), own.backend_pid(), "its call goes on");
    assert_eq!((pool.statistics().size, pool.statistics().max), (1, 1));
    bounded(own.run_query("select 1", ())).await.unwrap();
    // That of a caller can be removed as well.
    assert!(pool.remove(&held));
    let kept = Connection::clone(&held);
    drop(held);
    bounded(kept.run_query("select 1", ())).await.unwrap();
    assert_eq!(pool.statistics().size, 0);
}

#[tokio::test]
async fn an_added_connection_with_a_detector_comes_back() {
    let (database, pool) = pool(0, 1).await;
    let own = Connection::builder().reconnecting().build();
    bounded(own.connect(database.dsn())).await.unwrap();
    pool.add(own.clone());
    assert_eq!(pool.statistics().size, 1);
    let pid = own.backend_pid().unwrap();
    database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
    eventually("another session is there", || own.backend_pid().is_some_and(|now| now != pid))
        .await;
    eventually("it is in the pool", || pool.statistics().size == 1).await;
    let used: i32 =
        bounded(pool.run_query("select pg_backend_pid()", ()).one()).await.unwrap().get(0).unwrap();
    assert_eq!(Some(used), own.backend_pid());
}

#[tokio::test]
async fn a_connection_factory_makes_the_connections() {
    let database = shared_server().database().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let pool = ConnectionPool::builder(database.dsn())
        .connection_factory(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Connection::builder()
        })
        .build()
        .unwrap();
    bounded(pool.start()).await.unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 3);
    let with_detector = ConnectionPool::builder(database.dsn())
        .connection_factory(|| Connection::builder().reconnecting())
        .build()
        .unwrap();
    let error = bounded(with_detector.start()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

/// One function takes a pool, a connection and a transaction.
#[tokio::test]
async fn a_generic_function_takes_any_of_them() {
    async fn insert(db: &impl Executor, name: &str) -> Result<i64> {
        db.run_operation("insert into p (name) values ($1)", (name,)).await?;
        db.run_interaction(async |cursor| {
            cursor.run_operation("insert into p (name) values ('inner')", ()).await
        })
        .await?;
        db.execute_many("insert into p (name) values ($1)", [("a",), ("b",)]).await?;
        db.run_query("select count(*) from p", ()).one().await?.get(0)
    }
    let (database, pool) = pool(1, 2).await;
    bounded(pool.run_operation("create table p (name text)", ())).await.unwrap();
    assert_eq!(bounded(insert(&pool, "pool")).await.unwrap(), 4);
    let connection = bounded(Connection::open(database.dsn())).await.unwrap();
    assert_eq!(bounded(insert(&connection, "connection")).await.unwrap(), 8);
    let held = bounded(pool.get()).await.unwrap();
    assert_eq!(bounded(insert(&*held, "held")).await.unwrap(), 12);
    let within = pool.run_interaction(async |cursor| insert(&cursor, "transaction").await);
    assert_eq!(bounded(within).await.unwrap(), 16);
}

/// The other calls of a connection.
#[tokio::test]
async fn streams_batches_scripts_and_copies() {
    let (_database, pool) = pool(1, 1).await;
    bounded(pool.run_script("create table t (n int4); create table u (n int4)")).await.unwrap();
    let many = (0..1000).map(|n| (n,));
    assert_eq!(bounded(pool.execute_many("insert into t values ($1)", many)).await.unwrap(), 1000);
    let mut stream = pool.query_stream("select n from t order by n", ());
    let mut count = 0;
    while let Some(row) = bounded(stream.next()).await {
        assert_eq!(row.unwrap().get::<i32>(0).unwrap(), count);
        count += 1;
    }
    assert_eq!(count, 1000);
    let results = pool.batch().add("select 1", ()).add("select nothing", ()).send();
    let results = bounded(results).await.unwrap();
    assert!(results[0].is_ok() && results[1].is_err());
    let mut copy = bounded(pool.copy_in_rows("u", &["n"])).await.unwrap();
    bounded(copy.send((7,))).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
    let mut copy = bounded(pool.copy_in("copy u from stdin")).await.unwrap();
    bounded(copy.send("8\n")).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
    let mut out = bounded(pool.copy_out_rows("select n from u order by n")).await.unwrap();
    let mut seen = Vec::new();
    while let Some(row) = bounded(out.next()).await {
        seen.push(row.unwrap().get::<i32>(0).unwrap());
    }
    assert_eq!(seen, [7, 8]);
    drop(out);
    let mut out = bounded(pool.copy_out("copy u to stdout")).await.unwrap();
    assert!(bounded(out.next()).await.is_some());
    drop(out);
    // There is one connection, and it is free after each of them.
    bounded(pool.run_query("select 1", ())).await.unwrap();
    let typed = pool.with_rows_as::<(i32,)>();
    assert_eq!(bounded(typed.run_query("select n from u where n = 7", ())).await.unwrap(), [(7,)]);
}

#[tokio::test]
async fn notifications_have_a_connection_of_their_own_that_survives() {
    let (database, pool) = pool(1, 1).await;
    let mut news = bounded(pool.subscribe("news")).await.unwrap();
    bounded(pool.notify("news", "one")).await.unwrap();
    let payload = |event: Option<NotifyEvent>| match event {
        Some(NotifyEvent::Notification(news)) => news.payload().to_owned(),
        event => panic!("{event:?}"),
    };
    assert_eq!(payload(bounded(news.next()).await), "one");
    database
        .sql("select pg_terminate_backend(pid) from pg_stat_activity where query ilike '%listen%' and pid <> pg_backend_pid()")
        .unwrap();
    let event = loop {
        match bounded(news.next()).await.unwrap() {
            NotifyEvent::Disconnected => {}
            event => break event,
        }
    };
    assert!(matches!(event, NotifyEvent::Gap { .. }), "{event:?}");
    bounded(pool.notify("news", "two")).await.unwrap();
    assert_eq!(payload(bounded(news.next()).await), "two");
}
