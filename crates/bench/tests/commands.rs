//! The commands run, and what they print names every contender that was asked for.

use std::process::{Command, Output};

fn bench(line: &str) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(line.split_whitespace()).output()
}

const CONTENDERS: [&str; 4] = ["raw", "ours", "tokio-postgres", "sqlx"];

fn assert_rows(output: &Output, tables: usize) {
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for contender in CONTENDERS {
        let rows = printed.lines().filter(|line| line.starts_with(&format!("| {contender} ")));
        assert_eq!(rows.count(), tables, "{printed}");
    }
}

#[test]
fn workload_a_runs_on_every_runtime_against_the_fake_server() {
    let output = bench("a --fake --rounds 2 --queries 200 --markdown").unwrap();
    assert_rows(&output, 3);
}

#[test]
fn every_row_and_every_byte_comes_from_the_fake_server() {
    assert_rows(&bench("d --fake --rounds 1 --size 3000 --markdown").unwrap(), 4);
    assert_rows(&bench("e --fake --rounds 1 --size 300000 --markdown").unwrap(), 1);
}

#[test]
fn every_row_goes_into_a_real_server() {
    let database = txpostgres_testkit::shared().database().unwrap();
    let server = database.server();
    let directory = server.socket_dir().to_string_lossy();
    let server = server.dsn_of(&directory, "postgres", database.name());
    for (workload, tables) in [("d", 4), ("e", 1), ("f", 3)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        command.args([workload, "--rounds", "1", "--size", "1500", "--markdown", "--dsn"]);
        assert_rows(&command.arg(&server).output().unwrap(), tables);
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
        ("f --fake", "f-copy needs a real server"),
        ("instructions --task z", "z is not a task"),
        ("z", "z is not a command"),
    ] {
        let output = bench(line).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(told), "{line}: {said}");
    }
}
