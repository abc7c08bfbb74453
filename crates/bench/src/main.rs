//! How fast we are beside the peers, and beside a bare socket: `bench help` lists the commands.
//!
//! Each figure in `docs/performance.md` comes from one of these commands, and the commands are
//! written beside the figures.

// Counts become ratios; a count that f64 cannot hold exactly is larger than any printed here.
#![allow(clippy::cast_precision_loss)]

mod arguments;
mod commands;
mod contenders;
mod fake_server;
mod frames;
mod item;
mod pinning;
mod runtime;
mod stopwatch;
mod strace;
mod table;
mod target;
mod task;
mod turns;
mod valgrind;
mod workload;
mod workload_c;
mod workload_d;
mod workload_e;
mod workload_f;

use std::process::ExitCode;

/// Any error: a measuring program reports it to the user and ends.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match commands::run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
