//! A server for a single test, which can be configured, stopped, killed and frozen.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Account;
use crate::address::Address;
use crate::builder::{Builder, settings_text};
use crate::errand::{Errand, Refusal};
use crate::install::Install;
use crate::places;
use crate::setup_error::{Doing, SetupError};
use crate::template::{self, ADMIN};
use crate::tls::{ClientFiles, TlsCertificates};
use crate::watchdog::{Joined, Watchdog};

/// A healthy server starts in well under a second; recovery after a kill on a busy machine may take
/// more.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// A fast stop waits only for the checkpointer.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(3);
const PASSWORD: &str = "testkit-secret";

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Connections are ended with `57P01`, open transactions are rolled back, and a checkpoint is
    /// written.
    Fast,
    /// Everything stops at once, as in a crash.
    Immediate,
}

/// A throw-away PostgreSQL, removed when dropped, after a panic, and when the test process is
/// killed.
///
/// It dereferences to its [`Address`], which has the connection strings.
#[derive(Debug)]
pub struct Cluster {
    address: Address,
    account: Account,
    settings: Mutex<Vec<(String, String)>>,
    tls: Mutex<Option<TlsCertificates>>,
    server: Mutex<Option<Child>>,
    watchdog: Option<Watchdog>,
}

impl Deref for Cluster {
    type Target = Address;

    fn deref(&self) -> &Address {
        &self.address
    }
}

impl Cluster {
    /// Settings of a cluster. By default it accepts every login from this machine, and is of the
    /// first PostgreSQL that [`Install::find`] finds.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(asked: &Builder) -> Result<Self, SetupError> {
        Self::start_watched(asked, |base, account| Ok((Watchdog::of_private(base, account)?, ())))
            .map(|(cluster, ())| cluster)
    }

    /// Starts a cluster that lives as long as any process has a share in it.
    pub(crate) fn start_shared(asked: &Builder) -> Result<(Address, Joined), SetupError> {
        let (mut cluster, joined) = Self::start_watched(asked, Watchdog::of_shared)?;
        // Without a watchdog a cluster is not removed.
        cluster.watchdog = None;
        Ok((cluster.address.clone(), joined))
    }

    fn start_watched<T>(
        asked: &Builder,
        watch: impl FnOnce(&Path, Account) -> Result<(Watchdog, T), SetupError>,
    ) -> Result<(Self, T), SetupError> {
        let account = Account::of_servers()?;
        let upstream = asked.upstream.as_ref();
        let install = match (upstream, asked.install.clone(), asked.major) {
            (Some(upstream), ..) => upstream.install(account)?,
            (None, Some(install), _) => install,
            (None, None, Some(major)) => Install::major(major)?,
            (None, None, None) => Install::find()?,
        };
        let base = places::fresh(account)?;
        let (watchdog, extra) = watch(&base, account)?;
        let address = Address {
            base,
            bin_dir: install.bin_dir().to_owned(),
            major: install.major_version(),
            port: 0,
            password: match upstream {
                Some(upstream) => upstream.password(),
                None => asked.password_encryption().map(|_| PASSWORD.to_owned()),
            },
        };
        let mut settings = upstream.map_or_else(Vec::new, |upstream| upstream.settings(&address));
        settings.extend_from_slice(&asked.settings);
        // From here on an error drops the cluster and everything with it, the share first: the
        // watchdog waits for its end.
        let mut cluster = Self {
            address,
            account,
            settings: Mutex::new(settings),
            tls: Mutex::new(asked.tls.clone()),
            server: Mutex::new(None),
            watchdog: Some(watchdog),
        };
        let extra = extra;
        match upstream {
            Some(upstream) => upstream.lay_out(account, &cluster)?,
            None => template::lay_out(&install, account, &cluster.data_dir())?,
        }
        cluster.write_files(asked)?;
        cluster.launch_on_free_port()?;
        if upstream.is_some() {
            cluster.wait_for_stream()?;
            return Ok((cluster, extra));
        }
        if let Some(encryption) = asked.password_encryption() {
            cluster.sql(&format!(
                "SET password_encryption = '{encryption}'; ALTER ROLE postgres PASSWORD '{PASSWORD}'"
            ))?;
        }
        Ok((cluster, extra))
    }

    fn write_files(&self, asked: &Builder) -> Result<(), SetupError> {
        let data = self.data_dir();
        if let Some(certificates) = &asked.tls {
            let folder = self.tls_dir();
            fs::create_dir(&folder).doing(|| format!("cannot create {}", folder.display()))?;
            self.account.give(&folder)?;
            certificates.write_server(&folder, self.account)?;
            let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
            let mut settings = self.settings();
            // Settings of the test come later, and win.
            let tls = [
                ("ssl", "on".to_owned()),
                ("ssl_cert_file", file("server.crt")),
                ("ssl_key_file", file("server.key")),
                ("ssl_ca_file", file("root.crt")),
            ];
            let tls = tls.map(|(name, value)| (name.to_owned(), value));
            settings.splice(0..0, tls);
        }
        places::write(&data.join("pg_hba.conf"), &asked.hba_text(), 0o600, Some(self.account))?;
        let main = "include 'testkit.conf'\n";
        places::write(&data.join("postgresql.conf"), main, 0o600, Some(self.account))
    }

    pub(crate) fn write_settings(&self) -> Result<(), SetupError> {
        let socket_dir = self.socket_dir().to_string_lossy().into_owned();
        let text = settings_text(self.port(), &socket_dir, &self.settings());
        places::write(&self.data_dir().join("testkit.conf"), &text, 0o600, Some(self.account))
    }

    fn launch_on_free_port(&mut self) -> Result<(), SetupError> {
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            self.address.port = port.doing(|| "no free port on 127.0.0.1".to_owned())?.port();
            self.write_settings()?;
            match self.launch() {
                // Another process took the port in between.
                Err(_) if self.log().contains("could not create any TCP/IP sockets") => {
                    fs::remove_file(self.log_path()).ok();
                }
                result => return result,
            }
        }
        self.launch()
    }

    /// Starts the server and waits until a connection to it succeeds.
    fn launch(&self) -> Result<(), SetupError> {
        let log = self.log_path();
        let open = || File::options().create(true).append(true).open(&log);
        let (out, err) =
            open().and_then(|out| Ok((out, open()?))).doing(|| "cannot open the log".to_owned())?;
        let child = self
            .account
            .command(self.bin_dir().join("postgres"), self.socket_dir())
            .arg("-D")
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // A Ctrl-C in the terminal must not reach the server.
            .process_group(0)
            .spawn()
            .doing(|| "cannot run postgres".to_owned())?;
        *self.server() = Some(child);
        let patience = Instant::now() + START_PATIENCE;
        loop {
            match Errand::open(&self.socket(), ADMIN, "postgres") {
                Ok(_) => return Ok(()),
                // Neither missing socket nor "starting up" is final.
                Err(Refusal::Io(_)) => {}
                Err(Refusal::Server { sqlstate, .. }) if sqlstate == "57P03" => {}
                Err(refusal) => {
                    return Err(self.failure(&format!("the test server refuses us: {refusal}")));
                }
            }
            if !self.is_running() {
                return Err(self.failure("the test server ended while starting"));
            }
            if Instant::now() > patience {
                return Err(self.failure("the test server does not take connections"));
            }
            thread::sleep(POLL);
        }
    }

    pub(crate) fn failure(&self, message: &str) -> SetupError {
        SetupError::new(message).with_log(self.log_end())
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
    }

    /// Whether the server's first process exists.
    pub fn is_running(&self) -> bool {
        let mut server = self.server();
        let running = matches!(server.as_mut().map(Child::try_wait), Some(Ok(None)));
        if !running {
            *server = None;
        }
        running
    }

    /// Stops the server and waits until it is gone; nothing if it is not running.
    pub fn stop(&self, mode: StopMode) -> Result<(), SetupError> {
        let signal = match mode {
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        };
        if self.is_running() {
            self.signal(signal)?;
            self.signal(Signal::CONT)?;
        }
        self.wait_until_gone()
    }

    /// Starts a stopped or killed server again, on the same port.
    pub fn start_again(&self) -> Result<(), SetupError> {
        if self.is_running() {
            return Err(SetupError::new("the test server is running already"));
        }
        // Backends that outlived their postmaster keep a new one from starting.
        self.kill_processes();
        let patience = Instant::now() + STOP_PATIENCE;
        loop {
            let known = self.log().len();
            match self.launch() {
                Err(_)
                    if Instant::now() < patience
                        && self.log().get(known..).is_some_and(is_passing) =>
                {
                    thread::sleep(Duration::from_millis(50));
                }
                result => return result,
            }
        }
    }

    /// [Stops](Self::stop) and [starts again](Self::start_again).
    pub fn restart(&self, mode: StopMode) -> Result<(), SetupError> {
        self.stop(mode)?;
        self.start_again()
    }

    /// Changes a setting in the configuration file; in force after [`reload`](Self::reload) or a
    /// restart.
    pub fn set(&self, name: impl Into<String>, value: impl Into<String>) -> Result<(), SetupError> {
        self.settings().push((name.into(), value.into()));
        self.write_settings()
    }

    /// Replaces the lines of `pg_hba.conf`, except that of the kit's own superuser; in force after
    /// [`reload`](Self::reload).
    pub fn set_hba(&self, lines: &[&str]) -> Result<(), SetupError> {
        let asked = lines.iter().fold(Self::builder(), |asked, line| asked.hba(*line));
        let path = self.data_dir().join("pg_hba.conf");
        places::write(&path, &asked.hba_text(), 0o600, Some(self.account))
    }

    /// Makes the server reload its configuration, and waits until new connections use it.
    pub fn reload(&self) -> Result<(), SetupError> {
        let loaded = || self.sql("select pg_conf_load_time()");
        let before = loaded()?;
        self.signal(Signal::HUP)?;
        let patience = Instant::now() + Duration::from_secs(10);
        while loaded()? == before {
            if Instant::now() > patience {
                return Err(SetupError::new("the test server did not reload its configuration"));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Kills the server's first process with `SIGKILL`, as the out-of-memory killer does. Its
    /// backends notice when they next wait for something.
    pub fn kill_postmaster(&self) -> Result<(), SetupError> {
        self.signal(Signal::KILL)?;
        self.wait_until_gone()
    }

    /// Kills one backend with `SIGKILL`; the server then restarts all of them. Refused unless it is
    /// a backend of this server.
    pub fn kill_backend(&self, pid: i32) -> Result<(), SetupError> {
        self.signal_backend(pid, Signal::KILL)
    }

    /// Freezes one backend with `SIGSTOP`: its connection stays, and nothing answers. The server
    /// goes on, but can neither stop in good order nor recover from a kill before the backend is
    /// [resumed](Self::resume_backend).
    pub fn pause_backend(&self, pid: i32) -> Result<(), SetupError> {
        self.signal_backend(pid, Signal::STOP)
    }

    /// Ends [`pause_backend`](Self::pause_backend).
    pub fn resume_backend(&self, pid: i32) -> Result<(), SetupError> {
        self.signal_backend(pid, Signal::CONT)
    }

    fn signal_backend(&self, pid: i32, signal: Signal) -> Result<(), SetupError> {
        let ours =
            || SetupError::new(format!("process {pid} is not a backend of this test server"));
        let target = (pid > 1).then(|| Pid::from_raw(pid)).flatten().ok_or_else(ours)?;
        let is_ours = if cfg!(target_os = "linux") {
            self.processes().contains(&target)
        } else {
            self.sql(&format!("select count(*) from pg_stat_activity where pid = {pid}"))? == "1"
        };
        if !is_ours || Some(target) == self.postmaster() {
            return Err(ours());
        }
        kill_process(target, signal).doing(|| format!("cannot signal backend {pid} ({signal:?})"))
    }

    /// Freezes the postmaster with `SIGSTOP`: the system still completes TCP connections to it, but
    /// nothing answers. Backends go on.
    pub fn pause_postmaster(&self) -> Result<(), SetupError> {
        self.signal(Signal::STOP)
    }

    /// Ends [`pause_postmaster`](Self::pause_postmaster).
    pub fn resume_postmaster(&self) -> Result<(), SetupError> {
        self.signal(Signal::CONT)
    }

    /// The file with the certificate of the authority that a client should trust; none without TLS.
    pub fn root_certificate(&self) -> Option<PathBuf> {
        self.tls().as_ref().map(|_| self.tls_dir().join("root.crt"))
    }

    /// Replaces the certificates of a server that was started with TLS; in force after
    /// [`reload`](Self::reload). The files keep their names, so
    /// [`root_certificate`](Self::root_certificate) is the new authority's, and [client
    /// certificates](Self::client_certificate) made before are no longer accepted.
    pub fn set_tls(&self, certificates: TlsCertificates) -> Result<(), SetupError> {
        let mut tls = self.tls();
        if tls.is_none() {
            return Err(without_tls());
        }
        certificates.write_server(&self.tls_dir(), self.account)?;
        *tls = Some(certificates);
        Ok(())
    }

    /// A certificate and key for a client of this name, in files that libpq accepts.
    pub fn client_certificate(&self, common_name: &str) -> Result<ClientFiles, SetupError> {
        let tls = self.tls();
        let certificates = tls.as_ref().ok_or_else(without_tls)?;
        certificates.write_client(&self.tls_dir(), common_name)
    }

    fn tls(&self) -> MutexGuard<'_, Option<TlsCertificates>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tls_dir(&self) -> PathBuf {
        self.address.base.join("tls")
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn postmaster(&self) -> Option<Pid> {
        self.server().as_ref().map(Pid::from_child)
    }

    fn signal(&self, signal: Signal) -> Result<(), SetupError> {
        // The process was not waited for yet, so its number cannot belong to another process.
        let server = self.server();
        let pid = server.as_ref().map(Pid::from_child);
        let pid = pid.ok_or_else(|| SetupError::new("the test server is not running"))?;
        kill_process(pid, signal).doing(|| format!("cannot signal the test server ({signal:?})"))
    }

    fn wait_until_gone(&self) -> Result<(), SetupError> {
        let patience = Instant::now() + STOP_PATIENCE;
        while self.is_running() {
            if Instant::now() > patience {
                return Err(self.failure("the test server does not stop"));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    pub(crate) fn account(&self) -> Account {
        self.account
    }

    /// Kills what is left of a server whose first process is gone.
    pub(crate) fn kill_processes(&self) {
        for pid in self.processes() {
            kill_process(pid, Signal::KILL).ok();
        }
    }

    /// All processes that work inside our data directory; Linux only.
    fn processes(&self) -> Vec<Pid> {
        let data = self.data_dir();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = entries
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data));
        ours.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
    }
}

fn without_tls() -> SetupError {
    SetupError::new("this test server was started without TLS")
}

/// Log messages of a server whose predecessor has not quite ended.
fn is_passing(log: &str) -> bool {
    ["Address already in use", "is still in use", "lock file"].iter().any(|text| log.contains(text))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(watchdog) = self.watchdog.take() else {
            return;
        };
        if thread::panicking() {
            eprintln!("--- the test server's log ends:\n{}", self.log_end());
        }
        // The watchdog would do all of it, but cannot wait for our child.
        self.stop(StopMode::Immediate).ok();
        watchdog.release();
    }
}
