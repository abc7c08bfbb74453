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

mod smoke;
#[path = "../support/mod.rs"]
mod support;

use txpostgres_testkit::{Cluster, Database, Install, Pooler, Pooling, shared};

use smoke::{Abilities, smoke};

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
    smoke(&format!("{}{more}", pooler.dsn(&database)), abilities).await;
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
