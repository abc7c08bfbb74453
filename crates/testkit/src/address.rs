//! How a test reaches a server: connection strings, folders, and the kit's own superuser.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::database::Database;
use crate::errand::Errand;
use crate::setup_error::{Doing, SetupError};
use crate::template::ADMIN;

/// Where a server of the kit listens, and where its files are.
///
/// [`Cluster`](crate::Cluster) and [`Shared`](crate::Shared) dereference to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) base: PathBuf,
    pub(crate) bin_dir: PathBuf,
    pub(crate) major: u32,
    pub(crate) port: u16,
    /// The password of the superuser, if the server requires one.
    pub(crate) password: Option<String>,
}

impl Address {
    /// A connection string of keywords and values for TCP, as the superuser `postgres`, with the
    /// password if the server requires one.
    pub fn dsn(&self) -> String {
        self.dsn_of("127.0.0.1", "postgres", "postgres")
    }

    /// A connection string for the Unix socket, as the superuser.
    pub fn unix_dsn(&self) -> String {
        self.dsn_of(&self.socket_dir().to_string_lossy(), "postgres", "postgres")
    }

    /// A connection string for another host (or socket folder), user and database; the password is
    /// the superuser's.
    pub fn dsn_of(&self, host: &str, user: &str, database: &str) -> String {
        let mut dsn = String::new();
        let port = self.port.to_string();
        let password = self.password.as_deref().filter(|_| user == self.user());
        let pairs = [
            ("host", Some(host)),
            ("port", Some(port.as_str())),
            ("user", Some(user)),
            ("password", password),
            ("dbname", Some(database)),
        ];
        for (keyword, value) in pairs {
            if let Some(value) = value {
                let gap = if dsn.is_empty() { "" } else { " " };
                write!(dsn, "{gap}{keyword}={}", quoted(value)).ok();
            }
        }
        dsn
    }

    /// The address it listens on for TCP.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port, of TCP and of the Unix socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's name.
    pub fn user(&self) -> &'static str {
        "postgres"
    }

    /// The superuser's password, if the server requires one.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The folder of the Unix socket; only root and the server's user may enter it.
    pub fn socket_dir(&self) -> &Path {
        &self.base
    }

    /// The Unix socket itself.
    pub fn socket(&self) -> PathBuf {
        self.base.join(format!(".s.PGSQL.{}", self.port))
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.base.join("data")
    }

    /// The folder of the server's programs, with `psql`, `pg_dump` and the like where they are
    /// installed.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.base.join("log")
    }

    /// Runs statements in the database `postgres` as the kit's own superuser, whom the server
    /// accepts over its Unix socket whatever its `pg_hba` lines are. Rows are returned as
    /// `psql -At` prints them: `1|a`, separated by newlines.
    pub fn sql(&self, sql: &str) -> Result<String, SetupError> {
        self.sql_in("postgres", sql)
    }

    pub(crate) fn sql_in(&self, database: &str, sql: &str) -> Result<String, SetupError> {
        Errand::open(&self.socket(), ADMIN, database)
            .and_then(|mut errand| errand.run(sql))
            .doing(|| format!("cannot run {sql:?} on the test server"))
    }

    /// Runs the release's own `psql -At` with a connection string, to see how libpq reads it,
    /// without the environment variables and files of the user who runs the test.
    pub fn psql(&self, conninfo: &str, sql: &str) -> Result<Output, SetupError> {
        let program = self.bin_dir.join("psql");
        let mut command = Command::new(&program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
            .args(["-X", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-c", sql, "-d", conninfo])
            .output()
            .doing(|| format!("cannot run {}", program.display()))
    }

    /// A database of your own, dropped when the returned value is.
    pub fn database(&self) -> Result<Database, SetupError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let name = format!("test_{}_{now:x}_{count}", std::process::id());
        Database::create(self.clone(), name)
    }

    /// The address as text for other processes; see [`SERVER_VARIABLE`](crate::SERVER_VARIABLE).
    pub(crate) fn to_text(&self) -> String {
        format!(
            "socket_dir={}\nbin_dir={}\nmajor={}\nhost=127.0.0.1\nport={}\nuser=postgres\n",
            self.base.display(),
            self.bin_dir.display(),
            self.major,
            self.port
        )
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let value = |wanted: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.find_map(|(keyword, value)| (keyword == wanted).then_some(value))
        };
        Some(Self {
            base: value("socket_dir")?.into(),
            bin_dir: value("bin_dir")?.into(),
            major: value("major")?.parse().ok()?,
            port: value("port")?.parse().ok()?,
            password: None,
        })
    }
}

/// A value, quoted for a connection string if needed.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address {
            base: "/tmp/a b".into(),
            bin_dir: "/usr/bin".into(),
            major: 15,
            port: 5433,
            password: Some("it's".into()),
        }
    }

    #[test]
    fn a_connection_string_quotes_what_needs_it() {
        let wanted = r"host='/tmp/a b' port=5433 user=postgres password='it\'s' dbname=postgres";
        assert_eq!(address().unix_dsn(), wanted);
        assert_eq!(address().dsn_of("h", "u", "d"), "host=h port=5433 user=u dbname=d");
    }

    #[test]
    fn an_address_survives_being_written_down() {
        let address = Address { password: None, ..address() };
        assert_eq!(Address::from_text(&address.to_text()), Some(address));
        assert_eq!(Address::from_text("port=1"), None);
    }
}
