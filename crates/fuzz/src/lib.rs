//! What arrives from outside, random and damaged, in a loop: messages of a server, values, COPY
//! data, connection strings, certificates. Everything is decided by a seed, and happens the same
//! way each time.
//!
//! ```text
//!   seed ──▶ strategy ──▶ case ──▶ check ──▶ what was reached
//!                          ▲         │
//!                          └─ shrink ┴──▶ a panic: a finding, with its seed and its case
//! ```
//!
//! A case is made by a strategy of `proptest`, as in the property tests, and many of the strategies
//! are theirs. A check fails by a panic, be it of the code or of an assertion. Overflow checks are
//! on, memory is measured, and a case that does not end ends the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a check fails as a test does"
)]

mod certificates;
mod conninfo;
mod copy;
#[path = "../../sim/src/coverage.rs"]
mod coverage;
mod opened;
mod panics;
mod probe;
mod runs;
mod session;
#[path = "../../session/tests/support/mod.rs"]
mod support;
mod target;
mod values;
mod watchdog;

pub use probe::Gauge;
pub use runs::{Options, Report, Seeds};
pub use target::{TARGETS, Target};
pub use watchdog::{LIMIT, watch};
