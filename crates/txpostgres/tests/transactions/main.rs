//! Interactions and transactions begun by hand: what is kept, what is undone, who waits, and how
//! they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod by_hand;
mod cancelled_ends;
mod commit_answers;
mod half_by_hand;
mod interaction_ends;
mod interactions;
mod not_replicated;
mod outlived;
mod retried;
mod retried_lost;
mod retried_spans;
#[path = "../support/mod.rs"]
mod support;
mod swallowed;
mod within;
