//! The simulator: the Tokio face of txpostgres in one thread and virtual time, with a model server,
//! callers that are polled or not, and a line that cuts, delays and breaks. Everything is decided
//! by a seed, and happens the same way each time.
//!
//! ```text
//!   seed ──▶ plan (settings, callers) ──▶ world ◀── steps, chosen one by one
//!                                           │
//!             callers ──▶ txpostgres ──▶ net ──▶ server
//!                │                                 │
//!                └──── told ──▶ referee ◀── happened
//! ```
//!
//! After every step the referee holds what callers were told against what happened in the server.
//! At the end a calm phase shows that everything that is polled makes progress.

#![allow(clippy::struct_excessive_bools, reason = "what a plan switches on and off is many things")]

mod callers;
mod coverage;
mod expected;
mod finding;
mod gate;
mod net;
mod panics;
mod plan;
mod referee;
mod runs;
mod script;
mod server;
mod shrink;
mod step;
mod token;
mod trace;
mod wakers;
mod wire;
mod world;

pub use runs::{Options, Report, Seeds, replay, run_seed, shrink_script};
