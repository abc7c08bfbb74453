//! The pool on a cluster under Patroni that switches over and loses its leader: what was
//! acknowledged, when the first write came, which connections stayed behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::acks::{Picture, Row};
use crate::patroni::Stack;
use crate::run::{cargo, root, succeed};
use crate::survive::install;

/// How many tasks write through each pool.
const WRITERS: &str = "50";

/// How long after a change a write may take to be told of before it is missed: 20 s.
const FIRST_WRITE: Duration = Duration::from_secs(20);

/// How long the writers write before and after a change: 3 s.
const QUIET: Duration = Duration::from_secs(3);

const LEFT_BEHIND: &str =
    "select count(*) from pg_stat_activity where application_name in ('hosts', 'haproxy')";

/// A program that writes through a pool, and what it says.
struct Writer {
    name: &'static str,
    child: Child,
    said: PathBuf,
}

impl Writer {
    fn start(name: &'static str, dsn: &str) -> Result<Self, String> {
        let said = root().join("target").join(format!("cluster-{name}.log"));
        let file = File::create(&said).map_err(|error| error.to_string())?;
        let mut command = std::process::Command::new(root().join("target/debug/examples/survive"));
        command.env("SURVIVE_DSN", dsn).env("SURVIVE_NAME", name);
        command.env("SURVIVE_WORKERS", WRITERS).env("SURVIVE_THINK_MS", "100");
        command.env("SURVIVE_POOL_MAX", "10").env("SURVIVE_SECONDS", "900");
        let child = command.stdout(file).stderr(Stdio::null()).spawn();
        Ok(Self { name, child: child.map_err(|error| error.to_string())?, said })
    }

    /// What was acknowledged or not by now: its word, its row, and when.
    fn told(&self) -> Outcomes {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let mut told = Vec::new();
        for line in said.lines() {
            let mut words = line.split(' ');
            if let (Some(word @ ("ack" | "rej" | "unk")), Some(id), Some(at)) =
                (words.next(), words.next(), words.next())
                && let Ok(at) = at.parse()
            {
                told.push((word.to_owned(), id.to_owned(), at));
            }
        }
        told
    }

    fn first_after(&self, time: f64) -> Option<f64> {
        let told = self.told();
        let later = told.iter().filter(|(word, _, at)| word == "ack" && *at > time);
        later.map(|(_, _, at)| at - time).reduce(f64::min)
    }

    /// How long after this time the first row was acknowledged.
    fn wait_for_first(&self, time: f64) -> String {
        let until = Instant::now() + FIRST_WRITE;
        loop {
            match self.first_after(time) {
                Some(first) => return format!("{first:.2} s"),
                None if Instant::now() > until => return "none".to_owned(),
                None => sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What was done to the cluster, and when.
type Marks = Vec<(f64, String)>;

/// What the calls of a writer were told: the word, the row, and when.
type Outcomes = Vec<(String, String, f64)>;

/// Debian's packages, and a program of each.
const PACKAGES: [(&str, &str); 4] = [
    ("pg_config", "postgresql"),
    ("patroni", "patroni"),
    ("etcd", "etcd-server"),
    ("haproxy", "haproxy"),
];

/// Runs it, and prints a table.
pub(crate) fn demo() -> Result<(), String> {
    let mut skipped = Vec::new();
    install(&PACKAGES, &mut skipped);
    if !skipped.is_empty() {
        println!("SKIPPED the cluster: {}", skipped.join("; "));
        return Ok(());
    }
    succeed(&mut cargo(["build", "--quiet", "-p", "txpostgres", "--example", "survive"]))?;
    let began = Instant::now();
    let mut stack = Stack::start()?;
    println!("Two nodes under Patroni are up after {:.0} s.", began.elapsed().as_secs_f64());
    let port = stack.leader_port()?;
    stack.sql(port, "create table ledger (client text, worker int, seq int)")?;
    stack.sql(port, "create table canary (at timestamptz default now())")?;
    let ends = "user=postgres dbname=postgres sslmode=disable target_session_attrs=read-write";
    let ports: Vec<_> = stack.ports().iter().map(ToString::to_string).collect();
    let hosts = format!("host=127.0.0.1,127.0.0.1 port={}", ports.join(","));
    let front = format!("host=127.0.0.1 port={}", stack.front);
    let writers = [
        Writer::start("hosts", &format!("{hosts} application_name=hosts {ends}"))?,
        Writer::start("haproxy", &format!("{front} application_name=haproxy {ends}"))?,
    ];
    let start = now();
    println!("{WRITERS} tasks write by a list of both hosts, {WRITERS} by HAProxy.\n");
    let marks = changes(&mut stack, &writers, start)?;
    let told = writers.each_ref().map(|writer| (writer.name, writer.told()));
    let end = now();
    drop(writers);
    verdict(&stack, &told, marks, start, end)
}

/// Changes the leader four times, and tells how the writers have followed.
fn changes(stack: &mut Stack, writers: &[Writer; 2], start: f64) -> Result<Marks, String> {
    let mut marks = Vec::new();
    println!(
        "{:<14} {:>12} {:>20} {:>20} {:>12}",
        "", "new leader", "first write: hosts", "by HAProxy", "left behind"
    );
    for what in ["switchover", "switchover", "switchover", "leader killed"] {
        sleep(QUIET);
        let old_port = stack.leader_port()?;
        let asked = now();
        marks.push((asked - start, what.to_owned()));
        let is_killed = what == "leader killed";
        if is_killed {
            stack.kill_leader()?;
        } else {
            stack.switch_over()?;
        }
        let accepts = now();
        let [by_hosts, by_front] = writers.each_ref().map(|writer| writer.wait_for_first(accepts));
        let left = if is_killed {
            "-".to_owned()
        } else {
            stack.settle()?;
            stack.sql(old_port, LEFT_BEHIND)?
        };
        let took = format!("{:.1} s", accepts - asked);
        println!("{what:<14} {took:>12} {by_hosts:>20} {by_front:>20} {left:>12}");
    }
    sleep(QUIET);
    println!();
    Ok(marks)
}

/// Compares what was acknowledged with the table, and draws the run.
fn verdict(
    stack: &Stack,
    told: &[(&str, Outcomes)],
    marks: Marks,
    start: f64,
    end: f64,
) -> Result<(), String> {
    let port = stack.leader_port()?;
    let title = "Patroni: three switchovers, and a leader that is killed".to_owned();
    let mut picture = Picture { title, seconds: end - start, marks, rows: Vec::new() };
    let mut is_whole = true;
    for (name, told) in told {
        let (lost, doubled) = missed(stack, port, name, told)?;
        let acknowledged = told.iter().filter(|(word, ..)| word == "ack").count();
        is_whole &= lost + doubled == 0;
        println!(
            "{name}: {acknowledged} rows acknowledged, {lost} of them lost; {doubled} rows doubled; \
             {} calls told of an error",
            told.len() - acknowledged
        );
        let at = |is_ack: bool| {
            let of_kind = told.iter().filter(move |(word, ..)| (word == "ack") == is_ack);
            of_kind.map(|(.., at)| at - start).collect()
        };
        let (acknowledged, failed) = (at(true), at(false));
        picture.rows.push(Row { name: (*name).to_owned(), acknowledged, failed });
    }
    let path = root().join("target/cluster.svg");
    fs::write(&path, picture.svg()).map_err(|error| error.to_string())?;
    println!("The picture: {}", path.display());
    if is_whole { Ok(()) } else { Err("acknowledged rows were lost, or rows doubled".to_owned()) }
}

/// How many acknowledged rows are not there, and how many rows are there more than once.
fn missed(
    stack: &Stack,
    port: u16,
    name: &str,
    told: &[(String, String, f64)],
) -> Result<(usize, usize), String> {
    let sql = format!(
        "select worker || ':' || seq, count(*) from ledger where client = '{name}' group by 1"
    );
    let rows = stack.sql(port, &sql)?;
    let rows: BTreeMap<&str, &str> = rows.lines().filter_map(|row| row.split_once('|')).collect();
    let acknowledged = told.iter().filter(|(word, ..)| word == "ack");
    let lost = acknowledged.filter(|(_, id, _)| !rows.contains_key(id.as_str())).count();
    let doubled = rows.values().filter(|count| **count != "1").count();
    Ok((lost, doubled))
}
