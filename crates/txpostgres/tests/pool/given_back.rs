//! Connections that come back to the pool in whatever state: the next caller finds them idle.

use std::time::Duration;

use txpostgres::{ConnectionPool, SessionState};
use txpostgres_testkit::{Database, shared as shared_server};

use super::support::{bounded, eventually};
use super::{pool, sessions};

/// What the next caller finds in the only connection.
async fn next_caller_finds_it_idle(pool: &ConnectionPool) {
    let sql = "select pg_current_xact_id_if_assigned() is null, pg_sleep(0)";
    let row = bounded(pool.run_query(sql, ()).one()).await.unwrap();
    assert!(row.get::<bool>(0).unwrap());
}

fn pid(connection: &txpostgres::Connection) -> i32 {
    connection.backend_pid().unwrap()
}

#[tokio::test]
async fn an_open_transaction_is_rolled_back() {
    let (_database, pool) = pool(1, 1).await;
    bounded(pool.run_operation("create table t (n int4)", ())).await.unwrap();
    let held = bounded(pool.get()).await.unwrap();
    let before = pid(&held);
    bounded(held.run_script("begin; insert into t values (1)")).await.unwrap();
    drop(held);
    next_caller_finds_it_idle(&pool).await;
    let count: i64 =
        bounded(pool.run_query("select count(*) from t", ()).one()).await.unwrap().get(0).unwrap();
    assert_eq!(count, 0);
    assert_eq!(pid(&bounded(pool.get()).await.unwrap()), before, "by the same session");
}

#[tokio::test]
async fn a_failed_transaction_is_rolled_back() {
    let (_database, pool) = pool(1, 1).await;
    bounded(pool.run_script("begin; select 1/0")).await.unwrap_err();
    next_caller_finds_it_idle(&pool).await;
    // One that a single statement begins, too.
    bounded(pool.run_operation("begin", ())).await.unwrap();
    next_caller_finds_it_idle(&pool).await;
}

#[tokio::test]
async fn a_statement_that_was_left_is_awaited_and_then_cancelled() {
    let (database, pool) = pool(1, 1).await;
    let soon = Duration::from_millis(50);
    let before = pid(&bounded(pool.get()).await.unwrap());
    let short = pool.run_query("select pg_sleep(0.3)", ());
    tokio::time::timeout(soon, short).await.unwrap_err();
    next_caller_finds_it_idle(&pool).await;
    assert_eq!(pid(&bounded(pool.get()).await.unwrap()), before, "a short one is awaited");
    let long = pool.run_query("select pg_sleep(60)", ());
    tokio::time::timeout(soon, long).await.unwrap_err();
    next_caller_finds_it_idle(&pool).await;
    let sql = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' \
               and state = 'active' and datname = current_database() and pid <> pg_backend_pid()";
    for _ in 0..100 {
        if database.sql(sql).unwrap().trim() == "0" {
            return eventually("one session is left", || sessions(&database) == 1).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the statement runs on");
}

#[tokio::test]
async fn dropped_streams_copies_and_interactions_leave_it_usable() {
    let (_database, pool) = pool(1, 1).await;
    bounded(pool.run_script("create table t as select generate_series(1, 100000) n"))
        .await
        .unwrap();
    let mut stream = pool.query_stream("select n from t", ());
    bounded(stream.next()).await.unwrap().unwrap();
    drop(stream);
    next_caller_finds_it_idle(&pool).await;
    let mut copy = bounded(pool.copy_in("copy t from stdin")).await.unwrap();
    bounded(copy.send("1\n")).await.unwrap();
    drop(copy);
    next_caller_finds_it_idle(&pool).await;
    let mut copy = bounded(pool.copy_out("copy t to stdout")).await.unwrap();
    bounded(copy.next()).await.unwrap().unwrap();
    drop(copy);
    next_caller_finds_it_idle(&pool).await;
    let interaction = pool.run_interaction(async |cursor| {
        cursor.run_operation("insert into t values (-1)", ()).await?;
        cursor.run_query("select pg_sleep(0.2)", ()).await
    });
    tokio::time::timeout(Duration::from_millis(100), interaction).await.unwrap_err();
    next_caller_finds_it_idle(&pool).await;
    let rows = bounded(pool.run_query("select n from t where n = -1", ())).await.unwrap();
    assert!(rows.is_empty());
}

async fn soiled(state: SessionState) -> (Database, ConnectionPool, i32) {
    let database = shared_server().database().unwrap();
    let pool =
        ConnectionPool::builder(database.dsn()).min(1).max(1).session_state(state).build().unwrap();
    let held = bounded(pool.get()).await.unwrap();
    let script = "set search_path to nowhere; create temporary table t (n int4); \
                  select pg_advisory_lock(7); listen news; \
                  declare c cursor with hold for select 1";
    for sql in script.split("; ") {
        bounded(held.run_script(sql)).await.unwrap();
    }
    bounded(held.run_query("select $1::int4 + 1", (1,))).await.unwrap();
    let before = pid(&held);
    (database, pool, before)
}

const TRACES: &str = "select current_setting('search_path') = 'nowhere', \
    exists (select from pg_class where relname = 't' and relpersistence = 't'), \
    exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()), \
    exists (select from pg_listening_channels()), \
    exists (select from pg_cursors where name = 'c'), pg_backend_pid()";

async fn traces(pool: &ConnectionPool) -> (Vec<bool>, i32) {
    let row = bounded(pool.run_query(TRACES, ()).one()).await.unwrap();
    ((0..5).map(|column| row.get(column).unwrap()).collect(), row.get(5).unwrap())
}

#[tokio::test]
async fn the_state_of_a_session_is_kept_by_default() {
    let (_database, pool, before) = soiled(SessionState::Keep).await;
    assert_eq!(traces(&pool).await, (vec![true; 5], before));
}

#[tokio::test]
async fn the_state_of_a_session_is_reset_if_wanted() {
    let (_database, pool, before) = soiled(SessionState::Reset).await;
    assert_eq!(traces(&pool).await, (vec![false; 5], before));
}

#[tokio::test]
async fn the_state_of_a_session_is_discarded_if_wanted() {
    let (_database, pool, before) = soiled(SessionState::Discard).await;
    assert_eq!(traces(&pool).await, (vec![false; 5], before));
    // Its prepared statements are gone, and are prepared again.
    bounded(pool.run_query("select $1::int4 + 1", (1,))).await.unwrap();
}
