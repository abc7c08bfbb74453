//! Connections that are lost and opened again: detectors, restoring, waiting, silent deaths.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod detector;
mod failover;
mod faults;
mod listeners;
mod logging;
mod restoring;
mod roles;
mod silence;
#[path = "../support/mod.rs"]
mod support;
mod waiting;

use std::time::Duration;

use txpostgres::Connection;
use txpostgres::config::IntoConfig;
use txpostgres::reconnection::{ConnectionState, DeadConnectionDetector};

use support::bounded;

/// A builder whose detector tries again every 20 ms.
fn reconnecting() -> txpostgres::ConnectionBuilder {
    let delays =
        || std::iter::once(Duration::ZERO).chain(std::iter::repeat(Duration::from_millis(20)));
    let detector = DeadConnectionDetector::builder().reconnection_iterator(delays).build();
    Connection::builder().detector(detector)
}

async fn open(builder: txpostgres::ConnectionBuilder, config: impl IntoConfig) -> Connection {
    let connection = builder.build();
    bounded(connection.connect(config)).await.unwrap();
    connection
}

/// Waits until the connection is up with at least this generation.
async fn up(connection: &Connection, generation: u64) {
    let mut states = connection.detector().unwrap().states();
    let waiting = async {
        while let Some(state) = states.next().await {
            if matches!(state, ConnectionState::Up { generation: of } if of >= generation) {
                return;
            }
        }
        panic!("the states ended");
    };
    bounded(waiting).await;
}
