//! The folders of the kit: below cargo's target folder for what is kept, in the system's temporary
//! folder for what is not.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::account::Account;
use crate::setup_error::{Doing, SetupError};

/// `sun_path` holds 104 bytes on macOS and the BSDs, 108 on Linux, with the NUL.
const SOCKET_PATH_LIMIT: usize = 103;
const SOCKET_NAME: &str = "/.s.PGSQL.65535";

/// Names the kit's own folder; by default `testkit` in cargo's target folder.
const FOLDER_VARIABLE: &str = "TXPOSTGRES_TESTKIT_DIR";

/// Cargo's target folder: cargo leaves a `CACHEDIR.TAG` in it, and test binaries lie below it.
fn target() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    let tagged = executable.ancestors().skip(1).find(|folder| folder.join("CACHEDIR.TAG").exists());
    let named = || std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    // Documentation tests run from a temporary folder.
    tagged
        .map(Path::to_owned)
        .or_else(|| named().filter(|path| path.is_absolute()))
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("target"))
}

/// `target/testkit`: templates, downloads, and the address of the shared server.
pub(crate) fn kit() -> Result<PathBuf, SetupError> {
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let path = named.unwrap_or_else(|| target().join("testkit"));
    fs::create_dir_all(&path).doing(|| format!("cannot create {}", path.display()))?;
    path.canonicalize().doing(|| format!("cannot find {}", path.display()))
}

/// The folder for downloads: the kit's folder, or a permanent one in the temporary folder if the
/// server's user cannot reach that.
pub(crate) fn programs(account: Account) -> Result<PathBuf, SetupError> {
    let kit = kit()?;
    if account.can_reach(&kit) {
        return Ok(kit);
    }
    let us = rustix::process::geteuid().as_raw();
    let path = std::env::temp_dir().join(format!("txpostgres-testkit-{us}"));
    let created = DirBuilder::new().mode(0o755).create(&path);
    let meta = fs::symlink_metadata(&path);
    // The name can be guessed, so an existing folder must be owned by us.
    match meta {
        Ok(meta) if meta.is_dir() && meta.uid() == us && meta.mode() & 0o022 == 0 => {}
        _ => {
            created.doing(|| format!("cannot create {}", path.display()))?;
        }
    }
    path.canonicalize().doing(|| format!("cannot find {}", path.display()))
}

/// A new private folder for one server, short enough for a socket in it, owned by the server's
/// account.
pub(crate) fn fresh(account: Account) -> Result<PathBuf, SetupError> {
    let wanted = std::env::temp_dir();
    let parent = [wanted.as_path(), Path::new("/tmp"), Path::new("/var/tmp")]
        .into_iter()
        .filter_map(|path| path.canonicalize().ok())
        .find(|path| {
            let length = path.as_os_str().len() + "/txpg-0123456789".len() + SOCKET_NAME.len();
            length <= SOCKET_PATH_LIMIT && account.can_reach(path)
        })
        .ok_or_else(|| {
            SetupError::new(format!(
                "{} is too long for a socket or closed to the server's user: set TMPDIR to another folder",
                wanted.display()
            ))
        })?;
    loop {
        let path = parent.join(format!("txpg-{}", random_name()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                account.give(&path)?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).doing(|| format!("cannot create {}", path.display())),
        }
    }
}

fn random_name() -> String {
    // The standard library's hashers are seeded from the system's randomness.
    let number = RandomState::new().build_hasher().finish();
    format!("{:010x}", number & 0xff_ffff_ffff)
}

/// Writes a file with the given mode from its first moment, for the given owner.
pub(crate) fn write(
    path: &Path,
    text: &str,
    mode: u32,
    owner: Option<Account>,
) -> Result<(), SetupError> {
    let doing = || format!("cannot write {}", path.display());
    if path.exists() {
        fs::remove_file(path).doing(doing)?;
    }
    fs::write(path, "").doing(doing)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing(doing)?;
    fs::write(path, text).doing(doing)?;
    owner.map_or(Ok(()), |account| account.give(path))
}

/// A lock between processes: held until dropped, and released by the system when the process dies.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub(crate) fn take(folder: &Path, name: &str) -> Result<Self, SetupError> {
        let path = folder.join(format!("{name}.lock"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.doing(|| format!("cannot open {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)
            .doing(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { _file: file })
    }
}
