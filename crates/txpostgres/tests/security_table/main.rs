//! Who is let in, and how: our verdict beside libpq's, cell by cell, against real servers.
//!
//! libpq is asked through the `psql` of the server's own release, with the same connection string.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod cell;
mod deliberate;
mod edges;
mod newer;
mod server;
mod table;
