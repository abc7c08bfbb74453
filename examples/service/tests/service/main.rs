//! The program as it is, driven over HTTP: what it answers, what it survives, how it stops.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail so"
)]

mod answers;
mod client;
mod hostile;
mod restarts;
mod running;
mod stopping;

use std::time::Duration;

/// How long a request waits for a connection, as the tests set it.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How late an answer may be on a machine that is busy.
const LATE: Duration = Duration::from_secs(2);

/// The outcome of this future, which must not hang.
async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("this hangs")
}
