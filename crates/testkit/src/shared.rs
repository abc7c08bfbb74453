//! One default server for all tests of a run, though a runner may give every test a process of its
//! own.
//!
//! `cargo xtask test` starts it and passes its address to all test processes by
//! [`SERVER_VARIABLE`]. Without that variable, the first process that needs a server starts one and
//! writes its address to a file; others join. Each holds the writing end of a named pipe, so the
//! system counts them, however they end. When no process has held it for some seconds, the watchdog
//! removes the server.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::path::Path;
use std::sync::OnceLock;

use crate::address::Address;
use crate::cluster::Cluster;
use crate::errand::Errand;
use crate::install::Install;
use crate::places::{self, FolderLock};
use crate::setup_error::SetupError;
use crate::template::ADMIN;
use crate::watchdog::{self, Joined};

/// The environment variable with the address of a running shared server, as returned by
/// [`Shared::variable`].
pub const SERVER_VARIABLE: &str = "TXPOSTGRES_TEST_SERVER";

/// A share in the server of this test run: the server lives as long as it does. It dereferences to
/// the server's [`Address`].
#[derive(Debug)]
pub struct Shared {
    address: Address,
    /// `None` if another process keeps the server alive.
    _joined: Option<Joined>,
}

impl Deref for Shared {
    type Target = Address;

    fn deref(&self) -> &Address {
        &self.address
    }
}

/// The shared server of this test run, which is started if necessary.
///
/// # Panics
///
/// If no server is available, with one line that says what to install.
#[expect(clippy::panic, reason = "a test that needs a server cannot go on without")]
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Result<Shared, SetupError>> = OnceLock::new();
    match SHARED.get_or_init(Shared::join) {
        Ok(shared) => shared,
        Err(error) => panic!("{error}"),
    }
}

impl Shared {
    /// Takes a share in the server of this run, or starts it.
    pub fn join() -> Result<Self, SetupError> {
        if let Ok(text) = std::env::var(SERVER_VARIABLE) {
            let address = Address::from_text(&text).ok_or_else(|| {
                SetupError::new(format!(
                    "{SERVER_VARIABLE} is not what cargo xtask test sets: {text:?}"
                ))
            })?;
            return Ok(Self { address, _joined: None });
        }
        let install = Install::find()?;
        let kit = places::kit()?;
        let mut hasher = DefaultHasher::new();
        (install.bin_dir(), install.version(), rustix::process::geteuid().as_raw())
            .hash(&mut hasher);
        let name = format!("shared-{:016x}", hasher.finish());
        let note = kit.join(&name);
        if let Some(shared) = Self::join_noted(&note) {
            return Ok(shared);
        }
        let _lock = FolderLock::take(&kit, &name)?;
        if let Some(shared) = Self::join_noted(&note) {
            return Ok(shared);
        }
        let asked = Cluster::builder().install(install).setting("max_connections", "200");
        let (address, joined) = Cluster::start_shared(&asked)?;
        places::write(&address.base.join("address"), &address.to_text(), 0o644, None)?;
        places::write(&note, &address.base.to_string_lossy(), 0o644, None)?;
        Ok(Self { address, _joined: Some(joined) })
    }

    /// Joins the server whose address is in the file, if it works.
    fn join_noted(note: &Path) -> Option<Self> {
        let base = fs::read_to_string(note).ok()?;
        let base = Path::new(base.trim());
        let joined = watchdog::join(base)?;
        // Read after joining: see `watchdog::join`.
        let address = Address::from_text(&fs::read_to_string(base.join("address")).ok()?)?;
        Errand::open(&address.socket(), ADMIN, "postgres").ok()?;
        Some(Self { address, _joined: Some(joined) })
    }

    /// The value of [`SERVER_VARIABLE`] for processes that use this server without a share in it.
    pub fn variable(&self) -> String {
        self.address.to_text()
    }
}
