//! A data directory as `initdb` creates it, made once per release and copied for every cluster.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::fetch::run;
use crate::install::Install;
use crate::places::{self, FolderLock};
use crate::setup_error::{Doing, SetupError};

/// The kit's own superuser, who is accepted without a password over the Unix socket, whatever
/// `pg_hba` lines a test sets.
pub(crate) const ADMIN: &str = "testkit";

/// Part of the template's name: change it with anything below that changes what a template holds.
const RECIPE: &str = "1";

/// Fills `data` (which does not exist yet) with a fresh data directory.
pub(crate) fn lay_out(install: &Install, account: Account, data: &Path) -> Result<(), SetupError> {
    let kit = places::kit()?;
    let template = kit.join(name(install, account));
    if !template.exists() {
        let _lock = FolderLock::take(&kit, "template")?;
        if !template.exists() {
            initdb(install, account, data)?;
            let unfinished = kit.join("template-unfinished");
            fs::remove_dir_all(&unfinished).ok();
            copy(data, &unfinished)?;
            return fs::rename(&unfinished, &template)
                .doing(|| format!("cannot rename {}", unfinished.display()));
        }
    }
    copy(&template, data)
}

/// Copies with owners and modes, sharing blocks where the file system can.
fn copy(from: &Path, to: &Path) -> Result<(), SetupError> {
    run(Command::new("cp").arg("-a").arg(from).arg(to))
}

fn name(install: &Install, account: Account) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (install.bin_dir(), account.uid, RECIPE).hash(&mut hasher);
    format!("template-{}-{:016x}", install.version(), hasher.finish()).into()
}

fn initdb(install: &Install, account: Account, data: &Path) -> Result<(), SetupError> {
    let home = data.parent().unwrap_or(data);
    let program = install.bin_dir().join("initdb");
    let options = ["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"];
    run(account.command(program, home).args(options).arg("-D").arg(data))?;
    // Single-user mode: creates the kit's role without a connection.
    let program = install.bin_dir().join("postgres");
    let mut single = account
        .command(program, home)
        .args(["--single", "-F", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| "cannot run postgres --single".to_owned())?;
    if let Some(mut stdin) = single.stdin.take() {
        writeln!(stdin, "CREATE ROLE {ADMIN} SUPERUSER LOGIN")
            .doing(|| "postgres --single does not listen".to_owned())?;
    }
    let status = single.wait().doing(|| "cannot wait for postgres --single".to_owned())?;
    if status.success() { Ok(()) } else { Err(SetupError::new("postgres --single failed")) }
}
