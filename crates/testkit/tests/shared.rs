//! One server for many tests in many processes, gone when none of them is left.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use txpostgres_testkit::{SERVER_VARIABLE, Shared, shared};

#[test]
fn every_database_is_ones_own_and_goes_away() {
    let (one, two) = (shared().database().unwrap(), shared().database().unwrap());
    assert_ne!(one.name(), two.name());
    one.sql("create table t (id int)").unwrap();
    two.sql("create table t (id int)").unwrap();
    let output = one.server().psql(&one.dsn(), "select current_database()").unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), one.name());
    let count = format!("select count(*) from pg_database where datname = '{}'", one.name());
    assert_eq!(shared().sql(&count).unwrap(), "1");
    drop(one);
    assert_eq!(shared().sql(&count).unwrap(), "0");
}

/// Processes without the address of the run's server find each other's, in a kit's folder of their own.
fn another_process(kit: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "child_that_joins"])
        .env_remove(SERVER_VARIABLE)
        .env("TXPOSTGRES_TESTKIT_DIR", kit)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told =
        lines.map_while(Result::ok).find_map(|line| Some(line.split_once("joined ")?.1.to_owned()));
    (child, told.unwrap())
}

#[test]
fn processes_share_one_server_and_the_last_one_takes_it_along() {
    let kit = std::env::temp_dir().join(format!("txpg-kit-{}", std::process::id()));
    let children: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| another_process(&kit))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut folders: Vec<_> = children.iter().map(|(_, folder)| folder.clone()).collect();
    folders.dedup();
    let [folder] = folders.as_slice() else { panic!("{folders:?}") };
    let folder = Path::new(folder);
    for (number, (mut child, _)) in children.into_iter().enumerate() {
        assert!(folder.exists());
        if number % 2 == 0 {
            child.kill().unwrap();
        } else {
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
        }
        child.wait().unwrap();
    }
    let began = Instant::now();
    // It is kept for some seconds, for somebody who may come.
    while folder.exists() && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!folder.exists());
    eprintln!("gone {:?} after the last user", began.elapsed());
    std::fs::remove_dir_all(&kit).unwrap();
}

#[test]
#[ignore = "run by another test, in processes of its own"]
fn child_that_joins() {
    let shared = Shared::join().unwrap();
    assert_eq!(shared.sql("select 1").unwrap(), "1");
    println!("\njoined {}", shared.socket_dir().display());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
