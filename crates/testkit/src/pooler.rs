//! A pooler between client and server, if it is installed.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Account;
use crate::address::Address;
use crate::database::Database;
use crate::fetch;
use crate::places;
use crate::setup_error::{Doing, SetupError};
use crate::watchdog::Watchdog;

/// Folders to look in besides `PATH`: Debian installs poolers where only root's `PATH` leads.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];

/// How long a pooler may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a pooler may take to end by one signal, before a stronger one is sent.
const ENDING: Duration = Duration::from_secs(2);

/// A pooler in front of one server; stopped when dropped.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    child: Child,
    watchdog: Option<Watchdog>,
}

/// Which pooler, and how it lends its connections to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// PgBouncer: a connection for each session.
    PgBouncerSession,
    /// PgBouncer: a connection for each transaction.
    PgBouncerTransaction,
    /// Pgpool-II, with the defaults of its sample configuration and one server behind it.
    Pgpool,
}

impl Pooling {
    /// The name of the program, and of Debian's package.
    pub fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::PgBouncerSession | Self::PgBouncerTransaction => ("pgbouncer", "pgbouncer"),
            Self::Pgpool => ("pgpool", "pgpool2"),
        }
    }
}

impl Pooler {
    /// Installs Debian's package, if the program is not here, this is Debian and we are root.
    pub fn install(pooling: Pooling) {
        let (program, package) = pooling.program();
        if find(program).is_none() && !fetch::from_debian(package) {
            eprintln!("testkit: {package} could not be installed");
        }
    }

    /// Starts a pooler; `None` if it is not installed.
    ///
    /// # Errors
    ///
    /// The pooler is installed and cannot be started, or does not listen within ten seconds.
    pub fn start(pooling: Pooling, server: &Address) -> Result<Option<Self>, SetupError> {
        let (name, _) = pooling.program();
        let Some(program) = find(name) else {
            return Ok(None);
        };
        let account = Account::of_servers()?;
        let base = places::fresh(account)?;
        let watchdog = Watchdog::of_private(&base, account)?;
        let port = free_port()?;
        let file = base.join("settings");
        let settings = match pooling {
            Pooling::PgBouncerSession => pgbouncer(server, &base, port, "session"),
            Pooling::PgBouncerTransaction => pgbouncer(server, &base, port, "transaction"),
            Pooling::Pgpool => pgpool(server, &base, port, free_port()?),
        };
        places::write(&file, &settings, 0o600, Some(account))?;
        let mut command = account.command(&program, &base);
        if pooling == Pooling::Pgpool {
            for name in ["pcp.conf", "pool_hba.conf", "pool_passwd", "key"] {
                places::write(&base.join(name), "", 0o600, Some(account))?;
            }
            command.arg("-f").arg(&file).arg("-F").arg(base.join("pcp.conf"));
            command.arg("-a").arg(base.join("pool_hba.conf")).arg("-k").arg(base.join("key"));
            command.arg("-n");
        } else {
            command.arg("-q").arg(&file);
        }
        let log =
            fs::File::create(base.join("output")).doing(|| "cannot write a log".to_owned())?;
        let copy = log.try_clone().doing(|| "cannot write a log".to_owned())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .doing(|| format!("cannot start {name}"))?;
        let this = Self { port, child, watchdog: Some(watchdog) };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                let log = fs::read_to_string(base.join("output")).unwrap_or_default();
                return Err(SetupError::new(format!("{name} does not listen")).with_log(log));
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

impl Pooler {
    fn has_ended_within(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // The watchdog would kill it, and what is killed leaves its shared memory behind. QUIT ends
        // it at once, unless it is ignored, as in what a shell starts in the background.
        for signal in [Signal::QUIT, Signal::TERM, Signal::KILL] {
            kill_process(Pid::from_child(&self.child), signal).ok();
            if self.has_ended_within(ENDING) {
                break;
            }
        }
        // A pooler works in a folder of its own, which is removed with it.
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.release();
        }
    }
}

fn pgbouncer(server: &Address, base: &Path, port: u16, mode: &str) -> String {
    let password = server.password().map(|it| format!(" password={it}")).unwrap_or_default();
    format!(
        "[databases]\n* = host={host} port={to} user={user}{password}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\npool_mode = {mode}\nmax_client_conn = 200\ndefault_pool_size = 50\n\
         ignore_startup_parameters = extra_float_digits\nlogfile = {base}/log\n",
        host = server.host(),
        to = server.port(),
        user = server.user(),
        base = base.display(),
    )
}

/// The sample's settings are the program's defaults; these are the ones that it must be told.
fn pgpool(server: &Address, base: &Path, port: u16, control: u16) -> String {
    format!(
        "backend_clustering_mode = 'streaming_replication'\n\
         listen_addresses = '127.0.0.1'\nport = {port}\nsocket_dir = '{base}'\n\
         pcp_port = {control}\npcp_listen_addresses = ''\npcp_socket_dir = '{base}'\n\
         wd_ipc_socket_dir = '{base}'\nlogdir = '{base}'\npid_file_name = '{base}/pid'\n\
         pool_passwd = '{base}/pool_passwd'\n\
         backend_hostname0 = '{host}'\nbackend_port0 = {to}\nbackend_weight0 = 1\n\
         backend_flag0 = 'ALWAYS_PRIMARY'\n\
         num_init_children = 8\nsr_check_period = 0\nhealth_check_period = 0\n",
        base = base.display(),
        host = server.host(),
        to = server.port(),
    )
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| Path::is_file(program))
}

fn free_port() -> Result<u16, SetupError> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).doing(|| "there is no free port".to_owned())
}
