//! An installed PostgreSQL: found in the usual places, or fetched once.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::fetch;
use crate::setup_error::{Doing, SetupError};

/// Names a folder with `initdb` and `postgres`, which is used before any other.
const BIN_VARIABLE: &str = "TXPOSTGRES_PG_BIN";
/// Names the major version that [`Install::find`] must find.
const MAJOR_VARIABLE: &str = "TXPOSTGRES_PG_MAJOR";

/// The programs of one PostgreSQL release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    bin_dir: PathBuf,
    version: String,
    major: u32,
}

impl Install {
    /// The first of: the folder in `TXPOSTGRES_PG_BIN`, that of `pg_config`, `PATH`, the usual
    /// places, and a build that is fetched into the target folder. `TXPOSTGRES_PG_MAJOR` requires a
    /// major version.
    pub fn find() -> Result<Self, SetupError> {
        match env::var(MAJOR_VARIABLE) {
            Ok(major) => Self::major(
                major
                    .trim()
                    .parse()
                    .doing(|| format!("{MAJOR_VARIABLE} is not a major version such as 18"))?,
            ),
            Err(_) => Self::search(None),
        }
    }

    /// The first of this major version, in the same order.
    pub fn major(major: u32) -> Result<Self, SetupError> {
        Self::search(Some(major))
    }

    /// The folder with the programs in it.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The version that `postgres --version` prints, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, such as 15.
    pub fn major_version(&self) -> u32 {
        self.major
    }

    fn search(wanted: Option<u32>) -> Result<Self, SetupError> {
        let account = Account::of_servers()?;
        if let Some(folder) = env::var_os(BIN_VARIABLE) {
            let found = Self::at(Path::new(&folder), account)
                .doing(|| format!("{BIN_VARIABLE}={}", folder.display()))?;
            if wanted.is_none_or(|major| major == found.major) {
                return Ok(found);
            }
        }
        let fits = |found: &Self| wanted.is_none_or(|major| major == found.major);
        let here =
            || candidates().iter().filter_map(|path| Self::at(path, account).ok()).find(fits);
        if let Some(found) = here() {
            return Ok(found);
        }
        match fetch::from_pypi(wanted, account) {
            Ok(folder) => Self::at(&folder, account),
            Err(error) => {
                if wanted.is_none()
                    && fetch::from_debian("postgresql")
                    && let Some(found) = here()
                {
                    return Ok(found);
                }
                Err(error)
            }
        }
    }

    /// The programs in this very folder.
    pub(crate) fn at(folder: &Path, account: Account) -> Result<Self, SetupError> {
        for program in ["initdb", "postgres"] {
            let path = folder.join(program);
            if !path.is_file() {
                return Err(SetupError::new(format!(
                    "there is no {program} in {}",
                    folder.display()
                )));
            }
            if !account.can_reach(&path) {
                return Err(SetupError::new(format!(
                    "{} cannot be run by the unprivileged user that root's servers run as",
                    path.display()
                )));
            }
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output();
        let output = output.doing(|| format!("cannot run postgres in {}", folder.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(2).unwrap_or_default();
        let major = major_of(version).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            SetupError::new(format!(
                "postgres in {} does not tell its version: {}",
                folder.display(),
                said.lines().next().unwrap_or_default()
            ))
        })?;
        Ok(Self { bin_dir: folder.to_owned(), version: version.to_owned(), major })
    }
}

/// `18.6`, `19beta1`, `19devel`: the digits at the beginning.
fn major_of(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        found.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Some(path) = env::var_os("PATH") {
        found.extend(env::split_paths(&path));
    }
    for pattern in [
        "/usr/lib/postgresql/*/bin",
        "/usr/lib/postgresql*/bin",
        "/usr/pgsql-*/bin",
        "/opt/homebrew/opt/postgresql*/bin",
        "/usr/local/opt/postgresql*/bin",
        "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
        "/opt/local/lib/postgresql*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
        "/usr/local/pgsql*/bin",
    ] {
        found.extend(newest_first(pattern));
    }
    found.retain(|path| path.join("initdb").is_file() && path.join("postgres").is_file());
    let mut seen = Vec::new();
    found.retain(|path| {
        let real = path.canonicalize().unwrap_or_default();
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    found
}

/// The folders that match a pattern with one `*`, sorted by the number that it matches.
fn newest_first(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Vec::new();
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let digits = name.strip_prefix(prefix)?.trim_start_matches(['@', '-']);
            let path = entry.path().join(after.trim_start_matches('/'));
            Some((major_of(digits).unwrap_or(0), path))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_what_precedes_anything_but_a_digit() {
        assert_eq!(major_of("15.18"), Some(15));
        assert_eq!(major_of("19beta1"), Some(19));
        assert_eq!(major_of("19devel"), Some(19));
        assert_eq!(major_of(""), None);
    }

    #[test]
    fn a_folder_without_postgresql_says_what_is_missing() {
        let account = Account::of_servers().unwrap();
        let error = Install::at(Path::new("/etc"), account).unwrap_err();
        assert_eq!(error.to_string(), "there is no initdb in /etc");
    }

    #[test]
    fn the_usual_places_are_tried_newest_first() {
        let root = env::temp_dir().join(format!("txpg-places-{}", std::process::id()));
        for version in ["9", "18", "17"] {
            fs::create_dir_all(root.join(version).join("bin")).unwrap();
        }
        let found = newest_first(&format!("{}/*/bin", root.display()));
        fs::remove_dir_all(&root).unwrap();
        let wanted = ["18/bin", "17/bin", "9/bin"].map(|version| root.join(version));
        assert_eq!(found, wanted);
    }
}
