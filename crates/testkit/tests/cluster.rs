//! A cluster of one's own: what can be asked of it, what can be done to it, and that nothing is left of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use txpostgres_testkit::{Cluster, StopMode};

fn within(time: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if done() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn it_starts_quickly_listens_on_both_and_leaves_nothing() {
    let warm = Cluster::builder().start().unwrap();
    drop(warm);
    let began = Instant::now();
    let cluster = Cluster::builder().start().unwrap();
    let took = began.elapsed();
    eprintln!("started in {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(cluster.sql("select 1, 'a', null; select 2").unwrap(), "1|a|\n2");
    assert_eq!(cluster.sql("show fsync").unwrap(), "off");
    let version = cluster.sql("show server_version_num").unwrap();
    assert!(version.starts_with(&cluster.major().to_string()), "{version}");
    UnixStream::connect(cluster.socket()).unwrap();
    TcpStream::connect((cluster.host(), cluster.port())).unwrap();
    assert!(cluster.log().contains("ready to accept connections"));
    let (base, port) = (cluster.socket_dir().to_owned(), cluster.port());
    let began = Instant::now();
    drop(cluster);
    eprintln!("removed in {:?}", began.elapsed());
    assert!(!base.exists());
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
}

#[test]
fn settings_and_reload() {
    let cluster = Cluster::builder().setting("work_mem", "3MB").start().unwrap();
    assert_eq!(cluster.sql("show work_mem").unwrap(), "3MB");
    cluster.set("work_mem", "5MB").unwrap();
    cluster.reload().unwrap();
    assert_eq!(cluster.sql("show work_mem").unwrap(), "5MB");
}

#[test]
fn a_setting_that_does_not_exist_is_told_from_the_log() {
    let error = Cluster::builder().setting("no_such_setting", "1").start().unwrap_err();
    assert_eq!(error.message(), "the test server ended while starting");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn authentication_and_hba() {
    for method in ["scram-sha-256", "md5", "password"] {
        let cluster = Cluster::builder().auth(method).start().unwrap();
        let output = cluster.psql(&cluster.dsn(), "select 7").unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "7\n", "{method}: {output:?}");
        let output = cluster.psql(&cluster.dsn().replace("secret", "wrong"), "select 7").unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("password authentication failed"), "{method}: {complaint}");
    }
    let cluster = Cluster::builder().hba("host all all 127.0.0.1/32 reject").start().unwrap();
    let refused = |dsn: &str| !cluster.psql(dsn, "select 1").unwrap().status.success();
    assert!(refused(&cluster.dsn()) && refused(&cluster.unix_dsn()));
    cluster.set_hba(&["host all all 127.0.0.1/32 trust"]).unwrap();
    cluster.reload().unwrap();
    assert!(!refused(&cluster.dsn()) && refused(&cluster.unix_dsn()));
}

#[test]
fn stopped_killed_frozen_and_started_again() {
    let cluster = Cluster::builder().start().unwrap();
    cluster.sql("create table t as select 1 as x").unwrap();
    for mode in [StopMode::Fast, StopMode::Immediate] {
        cluster.restart(mode).unwrap();
        assert_eq!(cluster.sql("select x from t").unwrap(), "1");
    }
    cluster.kill_postmaster().unwrap();
    assert!(!cluster.is_running());
    cluster.sql("select 1").unwrap_err();
    cluster.start_again().unwrap();
    assert_eq!(cluster.sql("select x from t").unwrap(), "1");
    cluster.start_again().unwrap_err();

    cluster.pause_postmaster().unwrap();
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| cluster.sql("select 2").unwrap());
        thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        cluster.resume_postmaster().unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(waiting, "2");
    cluster.stop(StopMode::Fast).unwrap();
    cluster.stop(StopMode::Fast).unwrap();
}

#[test]
fn only_backends_of_this_cluster_are_killed() {
    let cluster = Cluster::builder().start().unwrap();
    thread::scope(|scope| {
        let victim = scope.spawn(|| cluster.sql("select pg_sleep(60)"));
        let find = || {
            cluster
                .sql("select pid from pg_stat_activity where query = 'select pg_sleep(60)'")
                .unwrap()
        };
        assert!(within(Duration::from_secs(5), || !find().is_empty()));
        let pid = find().parse().unwrap();
        cluster.kill_backend(pid).unwrap();
        victim.join().unwrap().unwrap_err();
    });
    let us = i32::try_from(std::process::id()).unwrap();
    let error = cluster.kill_backend(us).unwrap_err();
    assert_eq!(error.message(), format!("process {us} is not a backend of this test server"));
    cluster.kill_backend(1).unwrap_err();
    cluster.kill_backend(-1).unwrap_err();
}

#[test]
fn a_stopped_cluster_and_a_frozen_one_leave_nothing_either() {
    let stopped = Cluster::builder().start().unwrap();
    let frozen = Cluster::builder().start().unwrap();
    let killed = Cluster::builder().start().unwrap();
    let folders = [&stopped, &frozen, &killed].map(|cluster| cluster.socket_dir().to_owned());
    stopped.stop(StopMode::Immediate).unwrap();
    frozen.pause_postmaster().unwrap();
    killed.kill_postmaster().unwrap();
    drop((stopped, frozen, killed));
    for folder in folders {
        assert!(!folder.exists(), "{}", folder.display());
    }
}

/// Runs one of the tests below in a process of its own; its folder and the server's process.
fn another_process(test: &str) -> (Child, PathBuf, u32) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", test])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("cluster at ")?.1.to_owned()));
    let base = PathBuf::from(told.unwrap());
    let pid = std::fs::read_to_string(base.join("data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().parse().unwrap();
    (child, base, pid)
}

fn runs(pid: u32) -> bool {
    // A process that ended and was not waited for has no working directory.
    Path::new(&format!("/proc/{pid}/cwd")).read_link().is_ok()
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_outlives_a_killed_test_process() {
    let (mut child, base, pid) = another_process("child_that_waits");
    assert!(base.exists() && runs(pid));
    let began = Instant::now();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(within(Duration::from_secs(20), || !base.exists() && !runs(pid)));
    eprintln!("gone {:?} after SIGKILL", began.elapsed());
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_outlives_a_panic_or_an_abort() {
    for test in ["child_that_panics", "child_that_aborts"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", test])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("cluster at ")?.1.to_owned()));
        let base = PathBuf::from(told.unwrap());
        assert!(!child.wait().unwrap().success());
        assert!(within(Duration::from_secs(20), || !base.exists()), "{test}");
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_that_waits() {
    let cluster = Cluster::builder().start().unwrap();
    println!("\ncluster at {}", cluster.socket_dir().display());
    thread::sleep(Duration::from_secs(60));
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_that_panics() {
    let cluster = Cluster::builder().start().unwrap();
    println!("\ncluster at {}", cluster.socket_dir().display());
    panic!("on purpose");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_that_aborts() {
    let cluster = Cluster::builder().start().unwrap();
    println!("\ncluster at {}", cluster.socket_dir().display());
    std::process::abort();
}
