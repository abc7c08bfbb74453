//! One of each kind of call, through poolers and on the oldest and newest releases as they are
//! installed: `cargo xtask test --poolers`.
//!
//! What is not installed is skipped, with a line that begins with `SKIPPED`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

mod pooled;
mod smoke;
#[path = "../support/mod.rs"]
mod support;

use tokio::task::JoinSet;
use txpostgres::{Connection, Error};
use txpostgres_testkit::{Cluster, Database, Install, Pooler, Pooling, shared};

use smoke::{Abilities, smoke};
use support::bounded;

/// Set by `cargo xtask test --poolers`: releases that are not installed are fetched.
const THOROUGH_VARIABLE: &str = "TXPOSTGRES_POOLERS";

/// What a pooler offers that does not change a session.
const SESSION: Abilities = Abilities { listens: true, reports: true };

async fn through(pooling: Pooling, more: &str, abilities: Abilities) {
    let Some(pooler) = Pooler::start(pooling, shared()).unwrap() else {
        let (_, package) = pooling.program();
        eprintln!("SKIPPED: {pooling:?}; install {package}");
        return;
    };
    let database = shared().database().unwrap();
    let dsn = format!("{}{more}", pooler.dsn(&database));
    smoke(&dsn, abilities).await;
    smoke(&format!("{dsn} pipelining=0"), abilities).await;
}

#[tokio::test]
async fn through_pgbouncer_by_session() {
    through(Pooling::PgBouncerSession, "", SESSION).await;
}

/// Before 1.21, PgBouncer knows no prepared statements in this mode.
#[tokio::test]
async fn through_pgbouncer_by_transaction() {
    let abilities = Abilities { listens: false, ..SESSION };
    through(Pooling::PgBouncerTransaction, " statement_cache_size=0", abilities).await;
}

/// The errors of interactions with statements that the connection has prepared.
async fn interactions(dsn: String, caller: u32) -> Vec<Error> {
    let connection = Connection::open(dsn).await.unwrap();
    let mut errors = Vec::new();
    for round in 0..20_u32 {
        let done = connection.run_interaction(async |cursor| {
            // Of different lengths, so that the sessions change hands. A text without a name comes
            // first: a first statement that is missing is asked again.
            let pause = format!("select pg_sleep({}e-3)", (round + caller) % 7);
            cursor.run_script(&pause).await?;
            for n in 0..5 {
                let sql = format!("select {n} + $1::int4");
                cursor.execute(&sql, (1_i32,)).await?;
            }
            Ok::<_, Error>(())
        });
        errors.extend(done.await.err());
    }
    errors
}

/// With the cache on, a transaction meets statements that another session of the server keeps.
#[tokio::test]
async fn by_transaction_with_the_cache_on_the_error_says_what_to_set() {
    let Some(pooler) = Pooler::start(Pooling::PgBouncerTransaction, shared()).unwrap() else {
        let (_, package) = Pooling::PgBouncerTransaction.program();
        eprintln!("SKIPPED: the hint behind PgBouncer; install {package}");
        return;
    };
    let database = shared().database().unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        callers.spawn(interactions(pooler.dsn(&database), caller));
    }
    let errors: Vec<Error> = bounded(callers.join_all()).await.into_iter().flatten().collect();
    assert!(!errors.is_empty(), "the sessions were never mixed up");
    for error in errors {
        let code = error.sqlstate().unwrap();
        assert!(["26000", "42P05"].contains(&code.as_str()), "{error:#}");
        assert!(error.hint().unwrap().contains("statement_cache_size=0"), "{error:#}");
    }
}

#[tokio::test]
async fn through_pgpool() {
    through(Pooling::Pgpool, "", SESSION).await;
    // Refused by 4.3, and tried again.
    through(Pooling::Pgpool, " max_protocol_version=latest", SESSION).await;
}

/// A server whose settings are `initdb`'s, but for where it listens and that it is thrown away.
fn release(major: u32) -> Option<(Cluster, Database)> {
    if std::env::var_os(THOROUGH_VARIABLE).is_none() {
        eprintln!("SKIPPED: PostgreSQL {major}; cargo xtask test --poolers fetches it");
        return None;
    }
    match Install::major(major) {
        Ok(install) => {
            let cluster =
                Cluster::builder().install(install).auth("scram-sha-256").start().unwrap();
            let database = cluster.database().unwrap();
            Some((cluster, database))
        }
        Err(error) => {
            eprintln!("SKIPPED: PostgreSQL {major}: {error}");
            None
        }
    }
}

#[tokio::test]
async fn on_postgresql_14() {
    if let Some((_cluster, database)) = release(14) {
        smoke(&database.dsn(), SESSION).await;
    }
}

#[tokio::test]
async fn on_postgresql_18() {
    if let Some((_cluster, database)) = release(18) {
        smoke(&database.dsn(), SESSION).await;
        smoke(&format!("{} max_protocol_version=latest", database.dsn()), SESSION).await;
    }
}
