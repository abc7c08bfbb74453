//! The states that a poll goes through are libpq's, up to repetition: beside psycopg2, whose wheel
//! `psycopg2-binary` carries libpq. Skipped, and said so, where that cannot be installed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use rustix::event::PollFlags;
use txpostgres_poll::{Connection, PollState};
use txpostgres_testkit::{Cluster, TlsCertificates};

use crate::support::{PATIENCE, database, wait_for};

/// psycopg2 in a process of its own.
struct Psycopg {
    process: Child,
    commands: ChildStdin,
    told: BufReader<ChildStdout>,
}

impl Psycopg {
    /// `None` if it cannot be installed.
    fn start(dsn: &str) -> Option<Self> {
        let python = python()?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/polling/beside_libpq.py");
        let mut process = Command::new(python)
            .args([script, dsn])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let told = BufReader::new(process.stdout.take().unwrap());
        Some(Self { process, commands, told })
    }

    fn begin(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    fn states(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        self.begin(command);
        self.states()
    }
}

impl Drop for Psycopg {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A Python with psycopg2 in it.
fn python() -> Option<PathBuf> {
    let has_it = |python: &PathBuf| {
        let status =
            Command::new(python).args(["-c", "import psycopg2"]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let system = PathBuf::from("python3");
    if has_it(&system) {
        return Some(system);
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("psycopg2");
    let python = folder.join("bin/python");
    if !has_it(&python) {
        Command::new("python3").args(["-m", "venv"]).arg(&folder).status().ok()?;
        let pip = ["-m", "pip", "install", "--quiet", "psycopg2-binary"];
        let _ = Command::new(&python).args(pip).status();
    }
    if has_it(&python) {
        return Some(python);
    }
    eprintln!("SKIPPED: psycopg2-binary cannot be installed");
    None
}

/// Polls until it is done; a state that is repeated is noted once.
fn states(connection: &mut Connection) -> String {
    states_after(Vec::new(), connection)
}

fn states_after(mut states: Vec<&str>, connection: &mut Connection) -> String {
    loop {
        let polled = connection.poll();
        let name = match polled {
            Ok(PollState::Ok) => "ok",
            Ok(PollState::Read) => "read",
            Ok(PollState::Write) => "write",
            Err(_) => "error",
        };
        if states.last() != Some(&name) {
            states.push(name);
        }
        let flags = match name {
            "read" => PollFlags::IN,
            "write" => PollFlags::OUT,
            _ => return states.join(" "),
        };
        wait_for(connection, flags, Instant::now() + PATIENCE);
    }
}

fn execute(connection: &mut Connection, sql: &str) -> String {
    assert_eq!(connection.send_query(sql).unwrap(), PollState::Read);
    assert!(wait_for(connection, PollFlags::IN, Instant::now() + PATIENCE));
    states_after(vec!["read"], connection)
}

/// One test, as both need what is installed.
#[test]
fn the_states_are_those_of_libpq() {
    without_tls();
    with_tls();
}

fn without_tls() {
    let database = database();
    let (dsn, unix) = (database.dsn(), database.unix_dsn());
    let Some(mut theirs) = Psycopg::start(&dsn) else { return };
    let mut ours = Connection::connect_start(dsn.as_str()).unwrap();
    let connected = states(&mut ours);
    assert_eq!(connected, theirs.ask("connect"));
    // The server has no TLS, which was asked for first.
    assert_eq!(connected, "write read write read ok");
    let mut by_unix = Psycopg::start(&unix).unwrap();
    assert_eq!(
        states(&mut Connection::connect_start(unix).unwrap()),
        by_unix.ask("connect"),
        "over a Unix socket"
    );
    for sql in [
        "select 1",
        "select repeat('x', 1000) from generate_series(1, 20000)",
        "create temp table t (n int)",
        "select 1 / 0",
        "select 1; select 2",
        "listen news",
        "notify news, 'own'",
    ] {
        assert_eq!(execute(&mut ours, sql), theirs.ask(&format!("execute {sql}")), "{sql}");
    }
    // A notification while idle.
    database.sql("notify news, 'idle'").unwrap();
    assert!(wait_for(&ours, PollFlags::IN, Instant::now() + PATIENCE));
    assert_eq!(states(&mut ours), theirs.ask("idle"));
    // Both refuse a COPY. psycopg2's connection is of no more use then.
    let copy = "copy t from stdin";
    assert_eq!(execute(&mut ours, copy), theirs.ask(&format!("execute {copy}")));
    assert_eq!(execute(&mut ours, "select 1"), "read ok");
    assert_eq!(theirs.ask("connect"), connected);
    // Terminated within a statement.
    let terminate = |pid: &str| {
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
    };
    let their_pid = theirs.ask("pid");
    theirs.begin("execute select pg_sleep(60)");
    assert_eq!(ours.send_query("select pg_sleep(60)").unwrap(), PollState::Read);
    terminate(&ours.backend_pid().unwrap().to_string());
    terminate(&their_pid);
    assert!(wait_for(&ours, PollFlags::IN, Instant::now() + PATIENCE));
    assert_eq!(states_after(vec!["read"], &mut ours), theirs.states());

    // Terminated while idle: psycopg2 tells when it has seen the end of the stream, at the second
    // poll perhaps, ours when the server has said why.
    let mut ours = Connection::connect_start(dsn.as_str()).unwrap();
    assert_eq!(states(&mut ours), theirs.ask("connect"));
    terminate(&ours.backend_pid().unwrap().to_string());
    terminate(&theirs.ask("pid"));
    assert!(wait_for(&ours, PollFlags::IN, Instant::now() + PATIENCE));
    assert_eq!(states(&mut ours), "error");
    let first = theirs.ask("idle");
    assert!(first == "error" || (first == "ok" && theirs.ask("idle") == "error"), "{first}");
}

fn with_tls() {
    let certificates = TlsCertificates::good().unwrap();
    let cluster = Cluster::builder().tls(certificates).auth("scram-sha-256").start().unwrap();
    let root = cluster.root_certificate().unwrap();
    let dsn = format!("{} sslmode=verify-full sslrootcert={}", cluster.dsn(), root.display());
    let Some(mut theirs) = Psycopg::start(&dsn) else { return };
    let mut ours = Connection::connect_start(dsn.as_str()).unwrap();
    let connected = states(&mut ours);
    assert_eq!(connected, theirs.ask("connect"));
    assert_eq!(connected, "write read write read ok");
    for sql in ["select 1", "select repeat('x', 1000) from generate_series(1, 20000)"] {
        assert_eq!(execute(&mut ours, sql), theirs.ask(&format!("execute {sql}")), "{sql}");
    }
}
