//! Where to connect, as whom and how: connection strings, `PG*` variables, `~/.pgpass`,
//! `pg_service.conf`.
//!
//! A [`Config`] is filled by its setters or from a string; [`Config::resolve`] completes it from
//! the environment; then [`Config::endpoints`], [`Config::password_for`] and
//! [`Config::startup_parameters`] say what to do.
//!
//! ```
//! use txpostgres_session::config::{Config, NoEnvironment, SslMode};
//!
//! let mut config = Config::parse("postgresql://me@db1,db2/app?connect_timeout=5")?;
//! config.sslmode(SslMode::VerifyFull).application_name("tour");
//! let config = config.resolve(&NoEnvironment)?;
//! assert_eq!(config.endpoints()?.len(), 2);
//! # Ok::<(), txpostgres_session::Error>(())
//! ```

mod accessors;
pub mod defaults;
mod endpoint;
mod environment;
mod keyword_value;
mod keywords;
mod options;
mod origin;
mod passfile;
mod password;
mod resolve;
mod service;
mod spelling;
mod uri;
mod values;

#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use endpoint::{Endpoint, Host};
pub use environment::{Environment, FileContents, NoEnvironment, SystemEnvironment};
pub use options::{
    AuthenticationMethod, ChannelBinding, LoadBalanceHosts, ProtocolVersion, RequireAuth,
    SslCertMode, SslMode, SslNegotiation, SslRootCert, TargetSessionAttrs, TlsVersion,
};
pub use password::Password;
pub use resolve::IntoConfig;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use keywords::{KEYWORDS, Target};
pub(crate) use origin::shown_path;
use origin::{Origin, Position};
use resolve::Resolved;

/// Where to connect, as whom and how.
///
/// Every keyword of a connection string has a setter of its name and a getter with `get_` before
/// it. What is not said has the default that the getter's setter names; [`resolve`](Self::resolve)
/// asks the environment first. libpq's keywords and words are all known; those for what is not
/// supported here are refused, but for `krbsrvname`, `gsslib`, `gssdelegation`, `sslcompression`
/// and a `gssencmode` of `disable` or `prefer`, which are accepted and without effect.
///
/// `Debug` shows what was said, and no secrets.
///
/// ```
/// use txpostgres_session::config::Config;
///
/// let mut config = Config::new();
/// config.host("db.example.org").user("me").password("hunter2").dbname("app");
/// assert_eq!(config, "host=db.example.org user=me password=hunter2 dbname=app".parse()?);
/// assert!(!format!("{config:?}").contains("hunter2"));
/// # Ok::<(), txpostgres_session::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Config {
    // `None` is what has not been said: the environment may say it.
    service: Option<String>,
    servicefile: Option<PathBuf>,
    host: Option<Vec<String>>,
    hostaddr: Option<Vec<Option<IpAddr>>>,
    port: Option<Vec<u16>>,
    dbname: Option<String>,
    user: Option<String>,
    password: Option<Password>,
    passfile: Option<PathBuf>,
    options: Option<String>,
    application_name: Option<String>,
    fallback_application_name: Option<String>,
    client_encoding: Option<String>,
    connect_timeout: Option<Duration>,
    keepalives: Option<bool>,
    keepalives_idle: Option<Duration>,
    keepalives_interval: Option<Duration>,
    keepalives_count: Option<u32>,
    tcp_user_timeout: Option<Duration>,
    sslmode: Option<SslMode>,
    sslnegotiation: Option<SslNegotiation>,
    sslrootcert: Option<SslRootCert>,
    sslcert: Option<PathBuf>,
    sslkey: Option<PathBuf>,
    sslpassword: Option<Password>,
    sslcrl: Option<PathBuf>,
    sslcrldir: Option<PathBuf>,
    sslcertmode: Option<SslCertMode>,
    sslsni: Option<bool>,
    ssl_min_protocol_version: Option<TlsVersion>,
    ssl_max_protocol_version: Option<TlsVersion>,
    requirepeer: Option<String>,
    channel_binding: Option<ChannelBinding>,
    require_auth: Option<RequireAuth>,
    min_scram_iterations: Option<u32>,
    target_session_attrs: Option<TargetSessionAttrs>,
    load_balance_hosts: Option<LoadBalanceHosts>,
    min_protocol_version: Option<ProtocolVersion>,
    max_protocol_version: Option<ProtocolVersion>,
    statement_cache_size: Option<usize>,
    pipelining: Option<bool>,
    max_answer_bytes: Option<u64>,
    runtime_parameters: Vec<(String, String)>,
    resolved: Option<Resolved>,
}

impl Config {
    /// Nothing said yet. The environment is not asked before [`resolve`](Self::resolve).
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a connection string, in libpq's syntax: `keyword=value` pairs, or a URI that begins
    /// with `postgresql://` or `postgres://`. The environment is not asked.
    ///
    /// ```
    /// use txpostgres_session::config::Config;
    ///
    /// let config = Config::parse(r"host=db password='it\'s a secret' sslmode=require")?;
    /// assert_eq!(config.get_hosts(), ["db"]);
    ///
    /// let config = Config::parse("postgresql://me:p%40ss@[::1]:5433/app?application_name=x")?;
    /// assert_eq!(config.get_ports(), [5433]);
    ///
    /// let error = Config::parse("hots=db").unwrap_err();
    /// assert_eq!(error.to_string(), r#"unknown keyword "hots" (did you mean "host"?)"#);
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text, None)
    }

    /// Reads a connection string that may use only these keywords, whichever of the two forms it
    /// has: for strings from a less trusted source, which must not name files or change how the
    /// server is verified.
    ///
    /// ```
    /// use txpostgres_session::config::Config;
    ///
    /// let allowed = ["host", "port", "dbname"];
    /// assert!(Config::parse_allowing("postgresql://db:5433/app", &allowed).is_ok());
    /// let error = Config::parse_allowing("host=db passfile=/etc/shadow", &allowed).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     r#"keyword "passfile" is not allowed here: only host, port, dbname"#
    /// );
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn parse_allowing(text: &str, keywords: &[&str]) -> Result<Self> {
        if let Some(unknown) = keywords.iter().find(|name| keywords::find(name).is_none()) {
            return Err(spelling::unknown(unknown, &Origin::only("", unknown)));
        }
        Self::read(text, Some(keywords))
    }

    fn read(text: &str, allowed: Option<&[&str]>) -> Result<Self> {
        if text.contains('\0') {
            return Err(refused("the connection string has a NUL in it"));
        }
        let mut target = Target { config: Self::default(), allowed, text };
        match uri::strip_scheme(text)? {
            Some(rest) => uri::parse(rest, &mut target)?,
            None => keyword_value::parse(text, &mut target)?,
        }
        Ok(target.config)
    }

    /// Sets a keyword to a value as a connection string would, replacing what was there.
    ///
    /// ```
    /// use txpostgres_session::config::Config;
    ///
    /// let mut config = Config::new();
    /// config.set("host", "a,b")?.set("sslmode", "require")?;
    /// assert_eq!(config.get_hosts(), ["a", "b"]);
    /// assert!(config.set("sslmode", "perhaps").is_err());
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn set(&mut self, keyword: &str, value: &str) -> Result<&mut Self> {
        let text = format!("{keyword}={value}");
        let mut target = Target { config: std::mem::take(self), allowed: None, text: &text };
        let outcome = target.set(keyword, value, Position::Only);
        *self = target.config;
        outcome.map(|()| self)
    }

    /// What has been said: keywords with their values as a connection string has them, without
    /// secrets.
    ///
    /// ```
    /// # use txpostgres_session::config::Config;
    /// let config = Config::parse("host=db port=5433 password=hunter2")?;
    /// assert_eq!(config.settings(), [("host", "db".to_owned()), ("port", "5433".to_owned())]);
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        KEYWORDS
            .iter()
            .filter(|keyword| !keyword.secret)
            .filter_map(|keyword| Some((keyword.name, keyword.get(self)?)))
            .collect()
    }

    /// Whether all of it can be used together; [`resolve`](Self::resolve) asks this too.
    pub fn validate(&self) -> Result<()> {
        for keyword in KEYWORDS {
            if keyword.get(self).is_some_and(|value| value.contains('\0')) {
                return Err(refused(format!("the value of {} has a NUL in it", keyword.name)));
            }
        }
        self.validate_tls()?;
        let (least, most) = (self.get_min_protocol_version(), self.get_max_protocol_version());
        if least > most {
            return Err(refused(format!(
                "min_protocol_version {} is above max_protocol_version {}",
                least.as_str(),
                most.as_str()
            )));
        }
        let iterations = self.get_min_scram_iterations();
        if iterations > limits::SCRAM_ITERATIONS {
            return Err(refused(format!(
                "min_scram_iterations {iterations} is above {}, which are the most that are computed",
                limits::SCRAM_ITERATIONS
            )));
        }
        for (name, value) in &self.runtime_parameters {
            validate_parameter(name, value)?;
        }
        self.endpoints().map(|_| ())
    }

    fn validate_tls(&self) -> Result<()> {
        let mode = self.get_sslmode();
        if self.sslrootcert == Some(SslRootCert::System) && mode < SslMode::VerifyFull {
            // Anybody can have a certificate that some public authority signed.
            return Err(refused(format!(
                "sslmode {} is too weak for sslrootcert=system: only verify-full checks the host name",
                mode.as_str()
            )));
        }
        if self.get_sslnegotiation() == SslNegotiation::Direct && mode < SslMode::Require {
            return Err(refused(format!(
                "sslmode {} is too weak for sslnegotiation=direct: at least require is needed",
                mode.as_str()
            )));
        }
        let least = self.get_ssl_min_protocol_version();
        if let Some(most) = self.get_ssl_max_protocol_version().filter(|most| least > *most) {
            return Err(refused(format!(
                "ssl_min_protocol_version {} is above ssl_max_protocol_version {}",
                least.as_str(),
                most.as_str()
            )));
        }
        Ok(())
    }

    /// What the `StartupMessage` says, in order. A user name is needed: say it, or
    /// [`resolve`](Self::resolve).
    ///
    /// ```
    /// # use txpostgres_session::config::Config;
    /// let config = Config::parse("user=me application_name=tour")?;
    /// let said: Vec<_> = config.startup_parameters()?;
    /// assert_eq!(said[0], ("user".to_owned(), "me".to_owned()));
    /// assert_eq!(said[1], ("database".to_owned(), "me".to_owned()));
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn startup_parameters(&self) -> Result<Vec<(String, String)>> {
        self.validate()?;
        let user = self.get_user().ok_or_else(|| {
            refused("no user name: the operating system does not tell one, and user is not set")
        })?;
        let own = [
            ("user", Some(user)),
            ("database", self.get_dbname()),
            ("application_name", self.get_application_name()),
            ("client_encoding", Some("UTF8")),
            ("options", self.get_options()),
        ];
        let own =
            own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        Ok(own.chain(self.runtime_parameters.iter().cloned()).collect())
    }
}

/// What the `StartupMessage` has a place of its own for, and what would change the protocol.
const RESERVED: [&str; 6] =
    ["user", "database", "application_name", "client_encoding", "options", "replication"];

fn validate_parameter(name: &str, value: &str) -> Result<()> {
    if name.is_empty() || name.contains('\0') || value.contains('\0') {
        return Err(refused("a runtime parameter has an empty name, or a NUL in it"));
    }
    let reserved = RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
    if reserved || name.starts_with("_pq_.") {
        return Err(refused(format!("\"{name}\" cannot be set as a runtime parameter")));
    }
    Ok(())
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, message)
}

impl FromStr for Config {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[allow(clippy::missing_fields_in_debug)] // They are in the table.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Config");
        for keyword in KEYWORDS {
            match keyword.get(self) {
                Some(_) if keyword.secret => shown.field(keyword.name, &format_args!("(..)")),
                Some(_) if !keyword.is_shown(self) => {
                    shown.field(keyword.name, &format_args!("{}", origin::NOT_SHOWN))
                }
                Some(value) => shown.field(keyword.name, &value),
                None => continue,
            };
        }
        if !self.runtime_parameters.is_empty() {
            shown.field("runtime_parameters", &self.runtime_parameters);
        }
        shown.field("resolved", &self.is_resolved()).finish()
    }
}
