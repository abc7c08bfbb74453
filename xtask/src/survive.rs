//! The pool beside other libraries while servers and networks break: the set-up of a rig, which is
//! not in this repository, its run, and pictures of what it has found.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::acks::{Picture, Row};
use crate::run::{cargo, root, succeed};

pub(crate) const HELP: &str = "\
cargo xtask survive [SCENARIOS] [--rig FOLDER] [--clients LIST] [--out FOLDER]

Puts the pool and five other pools before a primary and a standby behind a faulty proxy, breaks them,
and compares what each client said with what the table has.

SCENARIOS       such as `e,g`; all by default, which takes half an hour
--rig FOLDER    the rig, or else the variable RIG: a folder with run.py, judge.py, proxy/ and clients/rust/
                (Cargo packages), clients/python/
--clients LIST  such as `txpostgres:default,asyncpg:tuned`; all with default settings if nothing is said
--out FOLDER    where the pictures go; those and all else are also in target/survive/results

It needs: PostgreSQL's programs with pg_rewind (pg_config in the path, or PG_BIN), python3 with venv, and the
packages registries of Cargo and PyPI; for scenario h also patroni and etcd. As root on Debian it installs
what is missing. What cannot be installed is SKIPPED, and said so.";

/// Debian's packages, and a program of each that shows that it is there.
const PACKAGES: [(&str, &str); 3] =
    [("pg_config", "postgresql"), ("patroni", "patroni"), ("etcd", "etcd-server")];

/// The other libraries: which of them need the clients in Rust.
const RUST_PEERS: [&str; 3] = ["deadpool", "bb8", "sqlx"];
const PYTHON_PEERS: [&str; 2] = ["psycopg", "asyncpg"];

struct Asked {
    scenarios: Option<String>,
    rig: PathBuf,
    clients: Option<String>,
    pictures: Option<PathBuf>,
}

fn asked(arguments: &[&str]) -> Result<Asked, String> {
    let (mut scenarios, mut clients, mut pictures) = (None, None, None);
    let mut rig = std::env::var_os("RIG").map(PathBuf::from);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument}: of what?\n{HELP}"));
        match *argument {
            "--rig" => rig = Some(value()?.into()),
            "--clients" => clients = Some((*value()?).to_owned()),
            "--out" => pictures = Some((*value()?).into()),
            other if scenarios.is_none() && !other.starts_with('-') => {
                scenarios = Some(other.to_owned());
            }
            _ => return Err(HELP.to_owned()),
        }
    }
    let rig = rig.ok_or_else(|| format!("Where is the rig? --rig or RIG says so.\n\n{HELP}"))?;
    let rig = rig.canonicalize().map_err(|error| format!("{}: {error}", rig.display()))?;
    if !rig.join("run.py").is_file() {
        return Err(format!("{} has no run.py: it is not the rig.\n\n{HELP}", rig.display()));
    }
    Ok(Asked { scenarios, rig, clients, pictures })
}

/// See [`HELP`].
pub(crate) fn survive(arguments: &[&str]) -> Result<(), String> {
    if matches!(arguments, ["--help" | "-h"]) {
        println!("{HELP}");
        return Ok(());
    }
    let asked = asked(arguments)?;
    let work = root().join("target/survive");
    let results = work.join("results");
    fs::create_dir_all(&results).map_err(|error| error.to_string())?;
    let mut skipped = Vec::new();
    install(&PACKAGES, &mut skipped);
    let (python, has_python_peers) = python(&work, &mut skipped);
    build_package(&asked.rig.join("proxy"), &work)?;
    let has_rust_peers = build_package(&asked.rig.join("clients/rust"), &work);
    if let Err(why) = &has_rust_peers {
        skipped.push(format!("{}: {why}", RUST_PEERS.join(", ")));
    }
    succeed(&mut cargo(["build", "--release", "-p", "txpostgres", "--example", "survive"]))?;

    let clients = asked.clients.unwrap_or_else(|| {
        let peers = RUST_PEERS.iter().filter(|_| has_rust_peers.is_ok());
        let peers = peers.chain(PYTHON_PEERS.iter().filter(|_| has_python_peers));
        let all = std::iter::once(&"txpostgres").chain(peers);
        all.map(|name| format!("{name}:default")).collect::<Vec<_>>().join(",")
    });
    // The server's user must reach it, which may not be ours.
    let data = std::env::temp_dir().join(format!("txpostgres-survive-{}", std::process::id()));
    fs::create_dir_all(&data).map_err(|error| error.to_string())?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777))
        .map_err(|error| error.to_string())?;
    let names = work.join("clients.json");
    fs::write(&names, names_of_clients(&asked.rig)?).map_err(|error| error.to_string())?;
    let programs = work.join("build/release");
    let mut run = Command::new(&python);
    run.arg(asked.rig.join("run.py")).arg(asked.scenarios.as_deref().unwrap_or("all"));
    run.arg(clients).arg("--out").arg(&results);
    run.env("RIG_DIR", &data).env("RIG_CLIENTS", &names).env("RIG_PYTHON", &python);
    run.env("RIG_PROXY", programs.join("survival-proxy"));
    run.env("RIG_RUST_CLIENTS", programs.join("survival-clients"));
    run.env("RIG_TX", root().join("target/release/examples/survive"));
    // Nothing is written into the rig.
    run.env("PYTHONDONTWRITEBYTECODE", "1");
    let outcome = succeed(&mut run);
    fs::remove_dir_all(&data).ok();
    outcome?;
    draw_all(&results, asked.scenarios.as_deref(), asked.pictures.as_deref().unwrap_or(&results))?;
    for what in &skipped {
        println!("SKIPPED {what}");
    }
    Ok(())
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = PathBuf::from("/usr/sbin");
    std::env::split_paths(&path).chain([sbin]).any(|folder| folder.join(program).is_file())
}

/// Installs Debian's packages that are missing, as root.
pub(crate) fn install(packages: &[(&str, &str)], skipped: &mut Vec<String>) {
    for &(program, package) in packages {
        if has(program) || (program == "pg_config" && std::env::var_os("PG_BIN").is_some()) {
            continue;
        }
        println!("Installing Debian's package {package}.");
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", "-qq", package]).env("DEBIAN_FRONTEND", "noninteractive");
        // In run level 1 the package's service is not started.
        apt.env("RUNLEVEL", "1").stdout(Stdio::null());
        if let Err(why) = succeed(&mut apt) {
            skipped.push(format!("{package}: {why}"));
        }
    }
}

/// A Python with the other libraries, or else the one in the path without them.
fn python(work: &Path, skipped: &mut Vec<String>) -> (PathBuf, bool) {
    let venv = work.join("venv");
    let python = venv.join("bin/python");
    let make = || -> Result<(), String> {
        if !python.is_file() {
            succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        }
        let pip = ["-m", "pip", "install", "--quiet", "psycopg[binary,pool]", "asyncpg"];
        succeed(Command::new(&python).args(pip))
    };
    match make() {
        Ok(()) => (python, true),
        Err(why) => {
            skipped.push(format!("{}: {why}", PYTHON_PEERS.join(", ")));
            (PathBuf::from("python3"), false)
        }
    }
}

/// Builds one of the rig's own packages.
fn build_package(package: &Path, work: &Path) -> Result<(), String> {
    let mut build = cargo(["build", "--quiet", "--release", "--manifest-path"]);
    build.arg(package.join("Cargo.toml")).arg("--target-dir").arg(work.join("build"));
    succeed(&mut build)
}

/// The rig's clients, and ours.
fn names_of_clients(rig: &Path) -> Result<String, String> {
    let text = fs::read_to_string(rig.join("clients.json")).map_err(|error| error.to_string())?;
    let mut names: BTreeMap<String, Value> =
        serde_json::from_str(&text).map_err(|error| error.to_string())?;
    names.insert("txpostgres".to_owned(), serde_json::json!(["$RIG_TX"]));
    serde_json::to_string(&names).map_err(|error| error.to_string())
}

/// Draws the runs of these scenarios, or of all that have results.
fn draw_all(results: &Path, scenarios: Option<&str>, into: &Path) -> Result<(), String> {
    fs::create_dir_all(into).map_err(|error| error.to_string())?;
    let runs = fs::read_dir(results).map_err(|error| error.to_string())?;
    for folder in runs.flatten().map(|entry| entry.path()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_asked = |asked: &str| name == asked || name.split('-').next() == Some(asked);
        if scenarios.is_some_and(|scenarios| !scenarios.split(',').any(is_asked)) {
            continue;
        }
        if let Some(picture) = picture(&folder)? {
            let path = into.join(format!("{name}.svg"));
            fs::write(&path, picture.svg()).map_err(|error| error.to_string())?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// A run with a ledger as a picture; `None` if the folder has none.
fn picture(folder: &Path) -> Result<Option<Picture>, String> {
    let Ok(text) = fs::read_to_string(folder.join("marks.json")) else { return Ok(None) };
    let saved: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let text_of = |name| saved.get(name).and_then(Value::as_str).unwrap_or_default();
    let list_of = |name| saved.get(name).and_then(Value::as_array).into_iter().flatten();
    if text_of("mode") != "ledger" {
        return Ok(None);
    }
    let mut rows = Vec::new();
    let (mut began, mut ended) = (f64::MAX, f64::MIN);
    for name in list_of("names").filter_map(Value::as_str) {
        let said = fs::read_to_string(folder.join(format!("{name}.out")));
        let said = said.map_err(|error| error.to_string())?;
        let mut row = Row { name: name.replace("-default", ""), ..Row::default() };
        for line in said.lines() {
            let mut words = line.split(' ');
            let word = words.next().unwrap_or_default();
            let is_of_row = matches!(word, "start" | "ack" | "rej" | "unk");
            let Some(time) = words.nth(usize::from(is_of_row)).and_then(|time| time.parse().ok())
            else {
                continue;
            };
            match word {
                "start" => began = began.min(time),
                "ack" => row.acknowledged.push(time),
                "rej" | "unk" => row.failed.push(time),
                "end" => ended = ended.max(time),
                _ => {}
            }
        }
        rows.push(row);
    }
    for row in &mut rows {
        for time in row.acknowledged.iter_mut().chain(&mut row.failed) {
            *time -= began;
        }
    }
    let marks = list_of("points").filter_map(|point| {
        let (what, at) = (point.get(0)?.as_str()?, point.get(1)?.as_f64()?);
        Some((at - began, what.to_owned()))
    });
    let (title, marks) = (text_of("scenario").to_owned(), marks.collect());
    Ok(Some(Picture { title, seconds: (ended - began).max(0.0), marks, rows }))
}
