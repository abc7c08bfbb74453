//! What statements return and how they fail: every way of asking, every type of value, cursors
//! and batches.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

#[cfg(feature = "derive")]
mod altered;
mod answer_limit;
mod batch_fate;
mod carried_out;
mod cursors;
mod encoding_texts;
mod encodings;
#[cfg(feature = "derive")]
mod outdated;
mod parameters;
mod placeholders;
mod queries;
mod routines;
mod row_counts;
mod scripts;
mod session_texts;
mod single;
mod spawned;
mod stale;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod tokens;
mod values;
