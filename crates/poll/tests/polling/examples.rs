//! The examples run, and what they are built from has no Tokio in it.

use std::process::Command;

use crate::support::database;

fn example(name: &str) -> String {
    let database = database();
    let run = ["run", "--quiet", "--example", name, "--", &database.dsn()];
    cargo(&run)
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_connections_and_a_timer_by_poll() {
    let told = example("poll_loop");
    let heard: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("heard ")).collect();
    assert_eq!(heard, ["1", "2", "3", "4", "5"], "{told}");
}

#[test]
fn a_loop_of_mio() {
    let told = example("mio_loop");
    assert_eq!(told.lines().last(), Some("5 squared is 25"), "{told}");
}

#[test]
fn nothing_is_built_from_tokio() {
    let tree =
        cargo(&["tree", "--edges", "normal,build,dev", "--prefix", "none", "--all-features"]);
    assert!(tree.contains("txpostgres-session"), "{tree}");
    let runtimes: Vec<_> = tree
        .lines()
        .filter(|line| line.starts_with("tokio") || line.contains("multiplex"))
        .collect();
    assert!(runtimes.is_empty(), "{runtimes:?}");
}
