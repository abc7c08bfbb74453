//! The commands run, and what they print names every contender that was asked for.

use std::process::{Command, Output};

fn bench(line: &str) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(line.split_whitespace()).output()
}

#[test]
fn workload_a_runs_on_every_runtime_against_the_fake_server() {
    let output = bench("a --fake --rounds 2 --queries 200 --markdown").unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for contender in ["raw", "ours", "tokio-postgres"] {
        let rows = printed.lines().filter(|line| line.starts_with(&format!("| {contender} ")));
        assert_eq!(rows.count(), 3, "{printed}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_told() {
    for (line, told) in [
        ("a", "which server?"),
        ("a --fake --rounds 0", "at least 1"),
        ("a --fake --contenders nobody", "nobody is not a contender"),
        ("a --dsn host=localhost", "Unix socket"),
        ("a --dsn host=/nowhere", "/nowhere/.s.PGSQL.5432"),
        ("z", "z is not a command"),
    ] {
        let output = bench(line).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(told), "{line}: {said}");
    }
}
