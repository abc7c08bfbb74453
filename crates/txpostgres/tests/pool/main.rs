//! The pool: who gets which connection, what becomes of connections, what callers are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod copies;
mod dead;
mod exhausted;
mod failover;
mod given_back;
mod hooks;
#[cfg(feature = "metrics")]
mod meters;
mod seed;
mod shared;
mod spikes;
mod storm;
#[path = "../support/mod.rs"]
mod support;

use txpostgres::ConnectionPool;
use txpostgres_testkit::{Database, shared as shared_server};

use support::bounded;

/// A database of our own, and a pool of this many connections to it, which was started.
async fn pool(min: usize, max: usize) -> (Database, ConnectionPool) {
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::builder(database.dsn()).min(min).max(max).build().unwrap();
    bounded(pool.start()).await.unwrap();
    (database, pool)
}

/// How many sessions of clients the database has.
fn sessions(database: &Database) -> usize {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() \
               and pid <> pg_backend_pid() and backend_type = 'client backend'";
    database.sql(sql).unwrap().trim().parse().unwrap()
}
