//! The smoke suite through poolers, and on the oldest and newest releases.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use txpostgres_testkit::{Pooler, Pooling, SERVER_VARIABLE, Shared};

use crate::run::cargo;

/// What the tests look at to know that releases may be fetched.
const THOROUGH_VARIABLE: &str = "TXPOSTGRES_POOLERS";

/// Runs the suite, and lists at the end what was skipped for want of a program.
pub(crate) fn poolers() -> Result<(), String> {
    for pooling in [Pooling::PgBouncerSession, Pooling::Pgpool] {
        Pooler::install(pooling);
    }
    let server = Shared::join().map_err(|error| error.to_string())?;
    // The workspace with all features, as the other tests have it: else all is built once more.
    let mut tests = cargo(["test", "--workspace", "--all-features", "--test", "poolers"]);
    tests.args(["--", "--nocapture"]);
    tests.env(SERVER_VARIABLE, server.variable()).env(THOROUGH_VARIABLE, "1");
    let mut child = tests.stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut skipped = Vec::new();
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines()) {
        let line = line.map_err(|error| error.to_string())?;
        eprintln!("{line}");
        if line.starts_with("SKIPPED") {
            skipped.push(line);
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("the poolers' tests failed: {status}"));
    }
    match skipped.as_slice() {
        [] => println!("poolers: nothing was skipped"),
        lines => println!("poolers: {} SKIPPED:\n{}", lines.len(), lines.join("\n")),
    }
    Ok(())
}
