//! A small HTTP service on txpostgres: accounts, and transfers between them.
//!
//! This file has its life from start to shutdown; `app.rs` has the routes.

mod accounts;
mod app;
mod csv;
mod events;
mod failure;
mod health;
mod settings;
mod transfers;

use std::error::Error;
use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;
use txpostgres::ConnectionPool;

use crate::app::App;
use crate::settings::Settings;

/// How long requests may go on after the signal to stop: 20 s, which with the time for closing the
/// pools is less than the 30 s that Kubernetes waits before it kills.
const GRACE: Duration = Duration::from_secs(20);

/// How many uploads and downloads may run at a time.
const BULK_MAX: usize = 2;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // From here on a signal is noticed, also during the start.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let settings = Settings::from_environment()?;
    let pool = ConnectionPool::builder(settings.database.as_str())
        .max(settings.pool_max)
        .acquire_timeout(settings.acquire)
        .build()?;
    // A pool of their own for what may take minutes, at the pace of a client: however many of them
    // there are, short requests find a connection.
    let bulk = ConnectionPool::builder(settings.database.as_str())
        .min(0)
        .max(BULK_MAX)
        .acquire_timeout(settings.acquire)
        .build()?;
    // Not necessary, but a wrong address or password ends the program here, and says so.
    pool.start().await?;
    pool.run_script(include_str!("schema.sql")).await?;

    let listener = TcpListener::bind(&settings.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (close, closing) = watch::channel(false);
    let app = App { pool: pool.clone(), bulk: bulk.clone(), closing };
    let stop = app.stopped();
    let server = tokio::spawn(
        axum::serve(listener, app::router(app)).with_graceful_shutdown(stop).into_future(),
    );

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: requests that have begun come to their end");
    close.send_replace(true);
    // A client that does not read its answer would keep the server from ending.
    if timeout(GRACE, server).await.is_err() {
        tracing::warn!("some requests were not at their end after {GRACE:?}");
    }
    tokio::join!(pool.close(), bulk.close());
    Ok(())
}
