//! A PgBouncer between client and server, if one is installed.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::account::Account;
use crate::address::Address;
use crate::database::Database;
use crate::places;
use crate::setup_error::{Doing, SetupError};
use crate::watchdog::Watchdog;

/// Folders to look in besides `PATH`: Debian installs it where only root's `PATH` leads.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A PgBouncer in session mode, in front of one server; stopped when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    watchdog: Option<Watchdog>,
}

impl PgBouncer {
    /// Starts a PgBouncer; `None` if none is installed.
    pub fn start(server: &Address) -> Result<Option<Self>, SetupError> {
        let Some(program) = find() else {
            return Ok(None);
        };
        let account = Account::of_servers()?;
        let base = places::fresh(account)?;
        let watchdog = Watchdog::of_private(&base, account)?;
        let port = free_port()?;
        let password = server.password().map(|it| format!(" password={it}")).unwrap_or_default();
        let (folder, host, to) = (base.display(), server.host(), server.port());
        let settings = format!(
            "[databases]\n* = host={host} port={to} user={user}{password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = session\nmax_client_conn = 200\ndefault_pool_size = 50\n\
             ignore_startup_parameters = extra_float_digits\nlogfile = {folder}/log\n",
            user = server.user(),
        );
        let file = base.join("pgbouncer.ini");
        places::write(&file, &settings, 0o600, Some(account))?;
        account
            .command(program, &base)
            .args(["-q"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .doing(|| "cannot start pgbouncer".to_owned())?;
        let this = Self { port, watchdog: Some(watchdog) };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                let log = std::fs::read_to_string(base.join("log")).unwrap_or_default();
                return Err(SetupError::new("pgbouncer does not listen").with_log(log));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(this))
    }

    /// A connection string for this database through the pooler.
    pub fn dsn(&self, database: &Database) -> String {
        format!("{} port={}", database.dsn(), self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It works in a folder of its own, which is removed with it.
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.release();
        }
    }
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| Path::is_file(program))
}

fn free_port() -> Result<u16, SetupError> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).doing(|| "there is no free port".to_owned())
}
