//! From opening to closing: peers of all kinds, lost connections, cancels, time limits, futures
//! dropped or left unpolled.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod cancel;
mod cancel_peers;
mod cancel_races;
mod dial_panics;
mod dropped_openings;
mod drops;
mod endless_peers;
mod hosts;
mod left_waiting;
mod limits;
mod login;
mod lost;
mod many_calls;
mod next_session;
mod opening;
mod outside_runtime;
mod passwords;
mod peers;
mod polling;
mod put_aside;
mod refused;
#[cfg(feature = "tls")]
mod security_table;
mod storms;
#[path = "../support/mod.rs"]
mod support;
mod unpolled;
