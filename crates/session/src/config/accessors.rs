//! A setter and a getter for everything that can be said.

use core::net::IpAddr;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::{
    ChannelBinding, LoadBalanceHosts, ProtocolVersion, RequireAuth, SslCertMode, SslMode,
    SslNegotiation, SslRootCert, TargetSessionAttrs, TlsVersion,
};
use super::password::Password;
use super::{Config, defaults};
use crate::limits;

/// The documentation of a getter.
macro_rules! value_of {
    ($name:ident) => {
        concat!("See [`", stringify!($name), "`](Self::", stringify!($name), ").")
    };
}

/// Values that are copied, with a default.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident, $get:ident: $type:ty = $default:expr;)+) => {
        impl Config { $(
            $(#[$doc])*
            pub fn $name(&mut self, value: $type) -> &mut Self {
                self.$name = Some(value);
                self
            }

            #[doc = value_of!($name)]
            pub fn $get(&self) -> $type {
                self.$name.unwrap_or($default)
            }
        )+ }
    };
}

/// Times of which zero means that there is no limit of ours.
macro_rules! times {
    ($($(#[$doc:meta])* $name:ident, $get:ident = $default:expr;)+) => {
        impl Config { $(
            $(#[$doc])*
            pub fn $name(&mut self, value: Duration) -> &mut Self {
                self.$name = Some(value);
                self
            }

            #[doc = value_of!($name)]
            /// `None` if it was set to zero.
            pub fn $get(&self) -> Option<Duration> {
                Some(self.$name.unwrap_or($default)).filter(|time| !time.is_zero())
            }
        )+ }
    };
}

/// Texts and paths, of which the empty one is as none.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident, $get:ident: $type:ty => $borrowed:ty;)+) => {
        impl Config { $(
            $(#[$doc])*
            pub fn $name(&mut self, value: impl Into<$type>) -> &mut Self {
                self.$name = Some(value.into());
                self
            }

            #[doc = value_of!($name)]
            /// `None` if it is empty or was not set.
            pub fn $get(&self) -> Option<&$borrowed> {
                self.$name.as_deref().filter(|value| !is_empty(value))
            }
        )+ }
    };
}

fn is_empty<T: AsRef<OsStr> + ?Sized>(value: &T) -> bool {
    value.as_ref().is_empty()
}

texts! {
    /// The service to look up in `pg_service.conf` when [resolving](Self::resolve).
    service, get_service: String => str;
    /// The service file; without it `~/.pg_service.conf`, then the machine's.
    servicefile, get_servicefile: PathBuf => Path;
    /// The password file, read when [resolving](Self::resolve); without it `~/.pgpass`.
    passfile, get_passfile: PathBuf => Path;
    /// Command-line options for the server, such as `-c geqo=off`.
    options, get_options: String => str;
    /// The name to use if `application_name` is not set.
    fallback_application_name, get_fallback_application_name: String => str;
    /// The operating system's user who must own the server behind a Unix socket.
    requirepeer, get_requirepeer: String => str;
}

times! {
    /// How long to wait for a connection to one host, up to the point where it takes statements;
    /// zero is for ever. 30 seconds if not set ([why](defaults::CONNECT_TIMEOUT)).
    ///
    /// Unlike libpq, one second is one second, and parts of seconds count.
    connect_timeout, get_connect_timeout = defaults::CONNECT_TIMEOUT;
    /// Silence before the first TCP keepalive probe; zero leaves it to the system. 15 seconds if
    /// not set ([why](defaults::KEEPALIVES_IDLE)).
    keepalives_idle, get_keepalives_idle = defaults::KEEPALIVES_IDLE;
    /// Time between two probes; zero leaves it to the system. 5 seconds if not set.
    keepalives_interval, get_keepalives_interval = defaults::KEEPALIVES_INTERVAL;
    /// How long sent bytes may stay unacknowledged; zero leaves it to the system. 30 seconds if not
    /// set ([why](defaults::TCP_USER_TIMEOUT)). In connection strings: milliseconds.
    tcp_user_timeout, get_tcp_user_timeout = defaults::TCP_USER_TIMEOUT;
}

plain! {
    /// Whether TCP keepalive is on. It is, if not set.
    keepalives, get_keepalives: bool = true;
    /// How to begin TLS. By asking, if not set.
    sslnegotiation, get_sslnegotiation: SslNegotiation = SslNegotiation::default();
    /// Whether a client certificate is shown. If asked for, if not set.
    sslcertmode, get_sslcertmode: SslCertMode = SslCertMode::default();
    /// Whether TLS tells the server which host name is meant. It does, if not set.
    sslsni, get_sslsni: bool = true;
    /// The oldest version of TLS. 1.2 if not set.
    ssl_min_protocol_version, get_ssl_min_protocol_version: TlsVersion = TlsVersion::V1_2;
    /// Whether SCRAM must be bound to the TLS channel. If the server offers it, if not set.
    channel_binding, get_channel_binding: ChannelBinding = ChannelBinding::default();
    /// The fewest iterations of SCRAM that the server may ask for; with fewer the connection fails,
    /// before anything is sent that depends on the password. No minimum if not set: PostgreSQL's
    /// `scram_iterations` may be 1. There is a warning when a server that is not verified asks for
    /// fewer than [`limits::USUAL_SCRAM_ITERATIONS`]. libpq does not know this keyword.
    min_scram_iterations, get_min_scram_iterations: u32 = 0;
    /// Which role the server must have. Any, if not set.
    target_session_attrs, get_target_session_attrs: TargetSessionAttrs = TargetSessionAttrs::default();
    /// In which order hosts are tried. As written, if not set.
    load_balance_hosts, get_load_balance_hosts: LoadBalanceHosts = LoadBalanceHosts::default();
    /// The oldest version of the protocol. 3.0 if not set.
    min_protocol_version, get_min_protocol_version: ProtocolVersion = ProtocolVersion::V3_0;
    /// How many statements are kept prepared on a connection; with 0, only unnamed statements are
    /// used, as some poolers need it. [`limits::STATEMENT_CACHE`] if not set. libpq does not know
    /// this keyword.
    statement_cache_size, get_statement_cache_size: usize = limits::STATEMENT_CACHE;
    /// Whether a request may be sent before the one before it is answered. It may, if not set.
    ///
    /// Without pipelining at most one Sync is unanswered at any time: calls of other tasks, the
    /// statements of a batch and what the library asks by itself wait for their turn. What is one
    /// request to the server stays one: a BEGIN and the first statement behind it, the sets of
    /// parameters of `execute_many`. For poolers that stand still when a second Sync arrives
    /// before they have answered the first. libpq does not know this keyword.
    pipelining, get_pipelining: bool = true;
    /// Bytes that an answer may have; 0, which is also the default, for no limit. A call whose
    /// answer is larger ends with an error instead of taking ever more memory: what came is let
    /// go, the rest is read and discarded, and the connection remains usable. The statement runs
    /// to its end all the same, and what it did is done.
    ///
    /// Counted are the bytes that the rows take here, which is up to twice what the server sends,
    /// and for a script those of all its results. Of streams and COPY to us, which keep no more
    /// than what waits for the reader, single rows or messages of more than 64 KiB are held against
    /// the limit. Of an error or notice as many bytes are kept, 64 KiB at least. libpq does not
    /// know this keyword.
    max_answer_bytes, get_max_answer_bytes: u64 = 0;
}

impl Config {
    /// Adds a host: a name, an address, the directory of a Unix socket (begins with `/`), or a name
    /// in Linux's abstract namespace (begins with `@`). The empty one is the default host.
    ///
    /// ```
    /// # use txpostgres_session::config::Config;
    /// let mut config = Config::new();
    /// config.host("db1").host("db2").port(5433);
    /// assert_eq!(config.get_hosts(), ["db1", "db2"]);
    /// ```
    pub fn host(&mut self, host: impl Into<String>) -> &mut Self {
        self.host.get_or_insert_default().push(host.into());
        self
    }

    /// Sets all hosts, in the order in which they are tried.
    pub fn hosts<T: Into<String>>(&mut self, hosts: impl IntoIterator<Item = T>) -> &mut Self {
        self.host = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// The hosts as they were given; an empty list stands for the default host. See
    /// [`endpoints`](Self::endpoints).
    pub fn get_hosts(&self) -> &[String] {
        self.host.as_deref().unwrap_or_default()
    }

    /// Adds an address to connect to, so that the host's name is not looked up; it still is what
    /// the certificate must show.
    pub fn hostaddr(&mut self, addr: impl Into<IpAddr>) -> &mut Self {
        self.hostaddr.get_or_insert_default().push(Some(addr.into()));
        self
    }

    /// The addresses; `None` where a host has none.
    pub fn get_hostaddrs(&self) -> &[Option<IpAddr>] {
        self.hostaddr.as_deref().unwrap_or_default()
    }

    /// Adds a port: one for all hosts, or one for each.
    pub fn port(&mut self, port: u16) -> &mut Self {
        self.port.get_or_insert_default().push(port);
        self
    }

    /// Sets all ports.
    pub fn ports(&mut self, ports: impl IntoIterator<Item = u16>) -> &mut Self {
        self.port = Some(ports.into_iter().collect());
        self
    }

    /// The ports as they were given; an empty list stands for 5432. See
    /// [`endpoints`](Self::endpoints).
    pub fn get_ports(&self) -> &[u16] {
        self.port.as_deref().unwrap_or_default()
    }

    /// As whom to connect. If not set, [resolving](Self::resolve) takes the operating system's
    /// user.
    pub fn user(&mut self, user: impl Into<String>) -> &mut Self {
        self.user = Some(user.into());
        self
    }

    /// As whom to connect, if it is known.
    pub fn get_user(&self) -> Option<&str> {
        let found = || self.resolved.as_ref().and_then(|resolved| resolved.user.as_deref());
        self.user.as_deref().filter(|user| !is_empty(user)).or_else(found)
    }

    /// The database. If not set, the one with the user's name.
    pub fn dbname(&mut self, dbname: impl Into<String>) -> &mut Self {
        self.dbname = Some(dbname.into());
        self
    }

    /// The database, if it is known.
    pub fn get_dbname(&self) -> Option<&str> {
        self.dbname.as_deref().filter(|name| !is_empty(name)).or_else(|| self.get_user())
    }

    /// The password; the empty one is as none. If not set, the password file is consulted.
    pub fn password(&mut self, password: impl Into<Password>) -> &mut Self {
        self.password = Some(password.into());
        self
    }

    /// The password that was set; [`password_for`](Self::password_for) knows the password file too.
    pub fn get_password(&self) -> Option<&Password> {
        self.password.as_ref().filter(|password| !password.is_empty())
    }

    /// What the server calls this connection in `pg_stat_activity` and its log.
    pub fn application_name(&mut self, name: impl Into<String>) -> &mut Self {
        self.application_name = Some(name.into());
        self
    }

    /// The name, or the [fallback](Self::fallback_application_name) if none was set.
    pub fn get_application_name(&self) -> Option<&str> {
        match self.application_name.as_deref() {
            Some(name) => Some(name).filter(|name| !is_empty(*name)),
            None => self.get_fallback_application_name(),
        }
    }

    /// The encoding of text: always UTF-8. The keyword is there for strings that say so.
    #[allow(clippy::unused_self)]
    pub fn get_client_encoding(&self) -> &'static str {
        "UTF8"
    }

    /// Probes without an answer before the connection counts as lost; 0 leaves it to the system. 3
    /// if not set ([why](defaults::KEEPALIVES_COUNT)).
    pub fn keepalives_count(&mut self, count: u32) -> &mut Self {
        self.keepalives_count = Some(count);
        self
    }

    /// See [`keepalives_count`](Self::keepalives_count). `None` if it was set to 0.
    pub fn get_keepalives_count(&self) -> Option<u32> {
        Some(self.keepalives_count.unwrap_or(defaults::KEEPALIVES_COUNT)).filter(|count| *count > 0)
    }

    /// Whether to use TLS. `prefer` if not set, but `verify-full` with `sslrootcert=system`.
    pub fn sslmode(&mut self, mode: SslMode) -> &mut Self {
        self.sslmode = Some(mode);
        self
    }

    /// See [`sslmode`](Self::sslmode).
    pub fn get_sslmode(&self) -> SslMode {
        match (self.sslmode, &self.sslrootcert) {
            (Some(mode), _) => mode,
            (None, Some(SslRootCert::System)) => SslMode::VerifyFull,
            (None, _) => SslMode::default(),
        }
    }

    /// Whose word a server's certificate is trusted on: `system`, or a PEM file. If not set,
    /// `~/.postgresql/root.crt` if it exists.
    pub fn sslrootcert(&mut self, cert: impl Into<SslRootCert>) -> &mut Self {
        self.sslrootcert = Some(cert.into());
        self
    }

    /// See [`sslrootcert`](Self::sslrootcert).
    pub fn get_sslrootcert(&self) -> Option<&SslRootCert> {
        let found = || self.resolved.as_ref().and_then(|resolved| resolved.sslrootcert.as_ref());
        self.sslrootcert
            .as_ref()
            .filter(|cert| !matches!(cert, SslRootCert::File(path) if is_empty(path)))
            .or_else(found)
    }

    /// The PEM file of the client's certificate. If not set, `~/.postgresql/postgresql.crt` if it
    /// exists.
    pub fn sslcert(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.sslcert = Some(path.into());
        self
    }

    /// See [`sslcert`](Self::sslcert).
    pub fn get_sslcert(&self) -> Option<&Path> {
        let found = || self.resolved.as_ref().and_then(|resolved| resolved.sslcert.as_deref());
        self.sslcert.as_deref().filter(|path| !is_empty(path)).or_else(found)
    }

    /// The PEM file of the client's key. If not set, `~/.postgresql/postgresql.key` if it exists.
    pub fn sslkey(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.sslkey = Some(path.into());
        self
    }

    /// See [`sslkey`](Self::sslkey).
    pub fn get_sslkey(&self) -> Option<&Path> {
        let found = || self.resolved.as_ref().and_then(|resolved| resolved.sslkey.as_deref());
        self.sslkey.as_deref().filter(|path| !is_empty(path)).or_else(found)
    }

    /// The PEM file of certificate revocation lists. If neither this nor
    /// [`sslcrldir`](Self::sslcrldir) is set, `~/.postgresql/root.crl` if it exists. Where there
    /// are lists each certificate of the server's chain needs one.
    pub fn sslcrl(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.sslcrl = Some(path.into());
        self
    }

    /// See [`sslcrl`](Self::sslcrl).
    pub fn get_sslcrl(&self) -> Option<&Path> {
        let found = || self.resolved.as_ref().and_then(|resolved| resolved.sslcrl.as_deref());
        let said = self.sslcrl.as_deref().filter(|path| !is_empty(path));
        said.or_else(|| if self.get_sslcrldir().is_none() { found() } else { None })
    }

    /// The folder of certificate revocation lists, as `openssl rehash` prepares one.
    pub fn sslcrldir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.sslcrldir = Some(path.into());
        self
    }

    /// See [`sslcrldir`](Self::sslcrldir).
    pub fn get_sslcrldir(&self) -> Option<&Path> {
        self.sslcrldir.as_deref().filter(|path| !is_empty(path))
    }

    /// What the client's key is encrypted with, in PKCS #8 or in the traditional form.
    pub fn sslpassword(&mut self, password: impl Into<Password>) -> &mut Self {
        self.sslpassword = Some(password.into());
        self
    }

    /// See [`sslpassword`](Self::sslpassword).
    pub fn get_sslpassword(&self) -> Option<&Password> {
        self.sslpassword.as_ref().filter(|password| !password.is_empty())
    }

    /// The newest version of TLS. No limit if not set.
    pub fn ssl_max_protocol_version(&mut self, version: TlsVersion) -> &mut Self {
        self.ssl_max_protocol_version = Some(version);
        self
    }

    /// See [`ssl_max_protocol_version`](Self::ssl_max_protocol_version).
    pub fn get_ssl_max_protocol_version(&self) -> Option<TlsVersion> {
        self.ssl_max_protocol_version
    }

    /// The newest version of the protocol, which is asked for. 3.0 if not set, as in libpq: some
    /// poolers refuse a newer one, or do not answer it at all. If
    /// [`min_protocol_version`](Self::min_protocol_version) is above 3.0 and this is not set, the
    /// newest that is known. A server that knows no newer one is talked to in 3.0.
    pub fn max_protocol_version(&mut self, version: ProtocolVersion) -> &mut Self {
        self.max_protocol_version = Some(version);
        self
    }

    /// See [`max_protocol_version`](Self::max_protocol_version).
    pub fn get_max_protocol_version(&self) -> ProtocolVersion {
        match (self.max_protocol_version, self.get_min_protocol_version()) {
            (Some(version), _) => version,
            (None, ProtocolVersion::V3_0) => ProtocolVersion::V3_0,
            (None, _) => ProtocolVersion::V3_2,
        }
    }

    /// In which ways the server may ask who we are. All that are supported, if not set.
    pub fn require_auth(&mut self, methods: RequireAuth) -> &mut Self {
        self.require_auth = Some(methods);
        self
    }

    /// See [`require_auth`](Self::require_auth).
    pub fn get_require_auth(&self) -> RequireAuth {
        self.require_auth.clone().unwrap_or_default()
    }

    /// Sets a parameter of the session from its start, such as `search_path`, replacing an earlier
    /// value.
    ///
    /// ```
    /// # use txpostgres_session::config::Config;
    /// let mut config = Config::new();
    /// config.user("me").runtime_parameter("search_path", "app");
    /// let last = config.startup_parameters()?.pop();
    /// assert_eq!(last, Some(("search_path".to_owned(), "app".to_owned())));
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn runtime_parameter(
        &mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> &mut Self {
        let name = name.into();
        self.runtime_parameters.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        self.runtime_parameters.push((name, value.into()));
        self
    }

    /// The value that a parameter of the session was given.
    pub fn get_runtime_parameter(&self, name: &str) -> Option<&str> {
        self.runtime_parameters
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
