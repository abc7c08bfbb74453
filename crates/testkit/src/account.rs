//! The account that a server runs as: our own, or an unprivileged one if we are root, since
//! PostgreSQL refuses root.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::setup_error::{Doing, SetupError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// We are root, and this is another account.
    switched: bool,
}

impl Account {
    pub(crate) fn of_servers() -> Result<Self, SetupError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::ourselves());
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find(&passwd, name))
            .map(|(uid, gid)| Self { uid, gid, switched: true })
            .ok_or_else(|| {
                SetupError::new(
                    "PostgreSQL refuses to run as root and there is neither a user postgres nor nobody: \
                     run the tests as an ordinary user",
                )
            })
    }

    /// The account of this process.
    pub(crate) fn ourselves() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Self { uid: uid.as_raw(), gid: gid.as_raw(), switched: false }
    }

    /// A command that runs as this account, without our own `PG*` variables.
    pub(crate) fn command(self, program: impl AsRef<Path>, at: &Path) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(at).env("LC_ALL", "C").env("TZ", "UTC");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Changes the owner of a file or folder to this account.
    pub(crate) fn give(self, path: &Path) -> Result<(), SetupError> {
        if self.switched {
            chown(path, Some(self.uid), Some(self.gid))
                .doing(|| format!("cannot give {} to the server's user", path.display()))?;
        }
        Ok(())
    }

    /// Whether this account can reach `path` and use the files there.
    pub(crate) fn can_reach(self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        !self.switched
            || path.ancestors().all(|step| {
                fs::metadata(step).is_ok_and(|meta| {
                    let shift = match (meta.uid() == self.uid, meta.gid() == self.gid) {
                        (true, _) => 6,
                        (false, true) => 3,
                        (false, false) => 0,
                    };
                    let bits = meta.mode() >> shift;
                    bits & 0o1 != 0 && (meta.is_dir() || bits & 0o4 != 0)
                })
            })
    }
}

fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (uid != 0).then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name_and_never_root() {
        let passwd = "postgres2:x:7:7::/:/bin/sh\npostgres:x:101:104:PostgreSQL,,,:/var:/bin/bash\nnobody:x:0:0::/:";
        assert_eq!(find(passwd, "postgres"), Some((101, 104)));
        assert_eq!(find(passwd, "nobody"), None);
        assert_eq!(find(passwd, "pg"), None);
    }
}
