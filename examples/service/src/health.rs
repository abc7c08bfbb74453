//! Health, from the numbers of the pools.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use txpostgres::ConnectionPool;

use crate::app::App;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    pool: Numbers,
    bulk: Numbers,
}

#[derive(Serialize)]
struct Numbers {
    open: usize,
    idle: usize,
    in_use: usize,
    most: usize,
    waiting: usize,
    timeouts: u64,
    lost: u64,
}

/// Asks the pool, and not the database: a query would wait behind the load that it is asked about,
/// and have a service restarted that is merely busy. The pool notices by itself when the server is
/// away.
pub(crate) async fn health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let (pool, bulk) = (numbers(&app.pool), numbers(&app.bulk));
    let (code, status) = match pool.open {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        _ => (StatusCode::OK, "up"),
    };
    (code, Json(Health { status, pool, bulk }))
}

fn numbers(pool: &ConnectionPool) -> Numbers {
    let now = pool.statistics();
    Numbers {
        open: now.size,
        idle: now.idle,
        in_use: now.taken + now.shared,
        most: now.max,
        waiting: now.waiting,
        timeouts: now.timeouts,
        lost: now.lost,
    }
}
