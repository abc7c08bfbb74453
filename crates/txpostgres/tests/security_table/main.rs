//! Who is let in, and how: our verdict beside libpq's, cell by cell, against real servers.
//!
//! libpq is asked through the `psql` of the server's own release, with the same connection string.

#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

#[path = "../kit/around.rs"]
mod around;
mod cell;
mod deliberate;
mod edges;
mod environment;
mod keys;
mod newer;
mod server;
mod table;
mod texts;
mod wire;
