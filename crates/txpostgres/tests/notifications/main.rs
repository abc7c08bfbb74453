//! LISTEN and NOTIFY: what is listened to, who hears what and in which order, and what a listener
//! costs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod bursts;
mod drops;
mod floods;
mod in_between;
mod late_errors;
mod listening;
mod observers;
mod renewed;
mod storm;
#[path = "../support/mod.rs"]
mod support;
