//! Standbys: servers that stream from a primary, and become one when they are promoted.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::address::Address;
use crate::cluster::{Cluster, StopMode};
use crate::fetch::run;
use crate::install::Install;
use crate::places;
use crate::setup_error::{Doing, SetupError};
use crate::template::ADMIN;

/// How long a standby may take to catch up, or to become a primary: the server's own default.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(3);

/// The server that a standby streams from; see [`Builder::standby_of`](crate::Builder::standby_of).
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    address: Address,
    settings: Vec<(String, String)>,
}

impl Upstream {
    pub(crate) fn of(primary: &Cluster) -> Self {
        let is_shared =
            |(name, _): &(String, String)| !name.starts_with("ssl") && !is_of_role(name);
        let settings = primary.settings().iter().filter(|one| is_shared(one)).cloned().collect();
        Self { address: (**primary).clone(), settings }
    }

    pub(crate) fn install(&self, account: Account) -> Result<Install, SetupError> {
        Install::at(self.address.bin_dir(), account)
    }

    pub(crate) fn password(&self) -> Option<String> {
        self.address.password.clone()
    }

    /// Copies the primary's data directory to that of a server at `address`.
    pub(crate) fn lay_out(&self, account: Account, address: &Address) -> Result<(), SetupError> {
        let data = address.data_dir();
        let program = self.address.bin_dir().join("pg_basebackup");
        let mut backup = account.command(program, address.socket_dir());
        backup
            .arg("-h")
            .arg(self.address.socket_dir())
            .args(["-p", &self.address.port.to_string()]);
        backup.args(["-U", ADMIN, "-X", "stream", "-c", "fast", "--no-sync", "-D"]).arg(&data);
        run(&mut backup)?;
        write_signal(account, address)
    }

    /// The settings of such a server: those of the primary, since some may not be lower on a
    /// standby, and where it streams from.
    pub(crate) fn settings(&self, address: &Address) -> Vec<(String, String)> {
        let mut settings = self.settings.clone();
        settings.extend(self.source(address));
        settings
    }

    /// Where a standby at this address streams from.
    fn source(&self, address: &Address) -> [(String, String); 2] {
        let source = format!(
            "host={} port={} user={ADMIN} application_name={}",
            self.address.socket_dir().display(),
            self.address.port,
            name_of(address)
        );
        // A standby asks again for what it has missed after 5 s; a test should not wait for that.
        let retry = ("wal_retrieve_retry_interval".to_owned(), "100ms".to_owned());
        [("primary_conninfo".to_owned(), source), retry]
    }
}

/// Whether a setting is of the role that a server has at present, and not of the server.
fn is_of_role(name: &str) -> bool {
    matches!(name, "synchronous_standby_names" | "primary_conninfo" | "wal_retrieve_retry_interval")
}

/// Makes a standby of a server at its next start.
fn write_signal(account: Account, address: &Address) -> Result<(), SetupError> {
    let signal = address.data_dir().join("standby.signal");
    File::create(&signal).doing(|| format!("cannot create {}", signal.display()))?;
    account.give(&signal)
}

/// The name under which a primary knows a standby: that of its folder.
fn name_of(address: &Address) -> String {
    let name = address.socket_dir().file_name().unwrap_or_default().to_string_lossy();
    name.replace('-', "_")
}

impl Cluster {
    /// Makes a primary of a standby, and waits until it takes writes.
    pub fn promote(&self) -> Result<(), SetupError> {
        // `pg_promote(true)` looks ten times a second only.
        self.sql("select pg_promote(false)")?;
        let sql = "select pg_is_in_recovery()";
        self.until("the standby was not promoted", || Ok(self.sql(sql)? == "f"))
    }

    /// Makes a standby of a primary that works, as at a planned switchover: it is stopped in good
    /// order, its standbys get what is left, and it follows `upstream` when it starts again.
    /// `upstream` may be a standby still, and [promoted](Self::promote) afterwards.
    pub fn demote(&self, upstream: &Cluster) -> Result<(), SetupError> {
        self.stop(StopMode::Fast)?;
        self.follow(&Upstream::of(upstream));
        write_signal(self.account(), self)?;
        self.write_settings()?;
        self.start_again()
    }

    /// Makes a standby of a former primary, whatever became of it: its data is thrown away, and is
    /// a new copy of the primary's. Port, `pg_hba` lines and TLS stay.
    pub fn rejoin(&self, primary: &Cluster) -> Result<(), SetupError> {
        self.stop(StopMode::Immediate)?;
        self.kill_processes();
        let data = self.data_dir();
        let hba_path = data.join("pg_hba.conf");
        let hba = fs::read_to_string(&hba_path)
            .doing(|| format!("cannot read {}", hba_path.display()))?;
        // What ends at this moment may write once more.
        let removed = fs::remove_dir_all(&data).or_else(|_| fs::remove_dir_all(&data));
        removed.doing(|| format!("cannot remove {}", data.display()))?;
        let upstream = Upstream::of(primary);
        upstream.lay_out(self.account(), self)?;
        self.follow(&upstream);
        places::write(&hba_path, &hba, 0o600, Some(self.account()))?;
        self.write_settings()?;
        self.start_again()?;
        self.wait_for_stream()
    }

    /// Has the settings of a standby from now on.
    fn follow(&self, upstream: &Upstream) {
        let mut settings = self.settings();
        settings.retain(|(name, _)| !is_of_role(name));
        settings.extend(upstream.source(self));
    }

    /// Makes each commit wait for this standby, which must be streaming; with `None` for none.
    /// `synchronous_commit` is on then, which is off by default in the kit.
    pub fn set_synchronous(&self, standby: Option<&Cluster>) -> Result<(), SetupError> {
        let name = standby.map(|standby| name_of(standby));
        self.set("synchronous_standby_names", name.clone().unwrap_or_default())?;
        self.set("synchronous_commit", if name.is_some() { "on" } else { "off" })?;
        self.reload()?;
        let Some(name) = name else { return Ok(()) };
        let sql = format!(
            "select 1 from pg_stat_replication \
             where application_name = '{name}' and sync_state = 'sync' and state = 'streaming'"
        );
        self.until("no synchronous standby", || Ok(self.sql(&sql)? == "1"))
    }

    /// Waits until a standby shows what is committed here.
    pub fn wait_for_replay(&self, standby: &Cluster) -> Result<(), SetupError> {
        // With the kit's asynchronous commits some of it is written a little later.
        let written = self.sql("select pg_current_wal_insert_lsn()")?;
        let sql = format!("select pg_last_wal_replay_lsn() >= '{written}'");
        self.until("the standby does not catch up", || Ok(standby.sql(&sql)? == "t"))
    }

    /// Waits until a new standby streams.
    pub(crate) fn wait_for_stream(&self) -> Result<(), SetupError> {
        let sql = "select 1 from pg_stat_wal_receiver where status = 'streaming'";
        self.until("the standby does not stream", || Ok(self.sql(sql)? == "1"))
    }

    fn until(
        &self,
        otherwise: &str,
        is_so: impl Fn() -> Result<bool, SetupError>,
    ) -> Result<(), SetupError> {
        let end = Instant::now() + PATIENCE;
        while !is_so()? {
            if Instant::now() > end {
                return Err(self.failure(otherwise));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}
