//! Runs every test of the workspace, with all setup.

use std::process::Stdio;
use std::time::Instant;

use txpostgres_testkit::{SERVER_VARIABLE, Shared};

use crate::run::{cargo, seconds, succeed};
use crate::tidy;

/// Runs everything, even after failures, and reports all failures at the end. With arguments, runs
/// only the test runner that they are for.
pub(crate) fn test(arguments: &[&str]) -> Result<(), String> {
    let began = Instant::now();
    let server = Shared::join().map_err(|error| error.to_string())?;
    println!(
        "test: PostgreSQL {} on port {} is up after {}",
        server.major(),
        server.port(),
        seconds(began.elapsed())
    );
    let variable = server.variable();
    let mut failures = Vec::new();
    let mut parts = Vec::new();
    let mut part = |name: &'static str, result: Result<(), String>| {
        parts.push(name);
        failures.extend(result.err().map(|reason| format!("test: {name} failed: {reason}")));
    };
    if arguments.is_empty() {
        part("tidy", tidy::tidy());
        let documented = ["test", "--doc", "--workspace", "--all-features"];
        part("documentation", succeed(cargo(documented).env(SERVER_VARIABLE, &variable)));
    }
    let runner: &[&str] = if has_nextest() {
        &["nextest", "run"]
    } else {
        &["test", "--lib", "--bins", "--tests", "--examples"]
    };
    let patience: &[&str] = if arguments.is_empty() { &["--no-fail-fast"] } else { &[] };
    let everything = ["--workspace", "--all-features"];
    let words = runner.iter().chain(&everything).chain(patience).chain(arguments).copied();
    part("tests", succeed(cargo(words).env(SERVER_VARIABLE, &variable)));
    let took = seconds(began.elapsed());
    if failures.is_empty() {
        println!("test: {} passed in {took}", parts.join(", "));
        return Ok(());
    }
    failures.push(format!("test: {} of {} parts failed in {took}", failures.len(), parts.len()));
    Err(failures.join("\n"))
}

fn has_nextest() -> bool {
    let mut asking = cargo(["nextest", "--version"]);
    asking.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
