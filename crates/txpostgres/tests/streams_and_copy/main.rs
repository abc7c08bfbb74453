//! Rows and COPY data as they come: in order, in bounded memory, failing in the middle, given up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod copies;
mod copy_ends;
mod copy_words;
mod encrypted_parts;
mod lazy_streams;
mod left_early;
#[cfg(target_os = "linux")]
mod memory;
mod parts;
mod pauses;
mod piecemeal_peers;
mod rows_dropped;
mod streams;
#[path = "../support/mod.rs"]
mod support;
