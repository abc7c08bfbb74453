//! What may block is done here, before anything is polled: files are read, names are looked up.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use txpostgres_policy::{Hosts, LOGIN_DELAY, LoginSettings, Nonce, unreachable};
use txpostgres_session::config::{Config, Endpoint, Host, IntoConfig, LoadBalanceHosts};
use txpostgres_session::{Error, ErrorKind, KeyCache, Result};

use crate::Connection;

/// Everything that is needed to connect, as often as one likes: the configuration, certificates and
/// keys from their files, the addresses of the hosts, and keys of earlier logins.
///
/// [`new`](Self::new) reads files and asks the system for addresses, which may block; nothing else
/// in this crate does. Where that must not delay an event loop, make it on another thread:
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// use txpostgres_poll::Connector;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // `done` becomes readable when the thread is done: the event loop waits for it.
/// let (mut done, mut tell) = UnixStream::pair()?;
/// let looked_up = std::thread::spawn(move || {
///     let connector = Connector::new("host=localhost user=app");
///     tell.write_all(b"!").map(|()| connector)
/// });
/// # done.read_exact(&mut [0])?;
/// let connector = looked_up.join().map_err(|_| "the thread panicked")???;
/// # drop(connector);
/// # Ok(())
/// # }
/// ```
///
/// Hosts that are addresses (`hostaddr=`) or Unix sockets are not looked up.
#[derive(Clone)]
pub struct Connector {
    pub(crate) settings: LoginSettings,
    endpoints: Vec<Endpoint>,
    /// The addresses of each host that is a name.
    found: Arc<[(Endpoint, Found)]>,
}

impl Connector {
    /// Reads what the configuration names: a keyword/value string, a URI, or a [`Config`].
    ///
    /// # Errors
    ///
    /// The configuration or a file of it cannot be used. That a name has no address is an error of
    /// the connect, which may have other hosts.
    pub fn new(config: impl IntoConfig) -> Result<Self> {
        let config = config.into_config()?;
        for warning in config.warnings() {
            tracing::warn!(target: "txpostgres", "{warning}");
        }
        let endpoints = config.endpoints()?;
        let names = endpoints.iter().filter(|endpoint| matches!(endpoint.host, Host::Tcp(_)));
        let found = names.map(|name| {
            let addresses = look_up(name).map_err(|error| error.to_string().into());
            (name.clone(), addresses)
        });
        let found = found.collect();
        let settings = LoginSettings::new(Arc::new(config), KeyCache::default(), random_nonce)?;
        Ok(Self { settings, endpoints, found })
    }

    /// Begins to connect: see [`Connection::connect_start`].
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn connect_start(&self) -> Result<Connection> {
        Connection::begin(self)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.settings.config
    }

    /// The hosts, of which none was tried yet.
    pub(crate) fn hosts(&self) -> Result<Hosts> {
        let is_shuffled = self.config().get_load_balance_hosts() == LoadBalanceHosts::Random;
        let seed = || getrandom::u64().map_err(no_random_bytes);
        let shuffle = is_shuffled.then(seed).transpose()?;
        Ok(Hosts::new(self.endpoints.clone(), shuffle, LOGIN_DELAY))
    }

    /// What was found for this host.
    pub(crate) fn addresses(&self, name: &Endpoint) -> Result<Vec<Endpoint>> {
        let known = self.found.iter().find(|(known, _)| known == name);
        let (_, found) = known.ok_or_else(|| unreachable(name, io::ErrorKind::NotFound.into()))?;
        found.clone().map_err(|error| unreachable(name, io::Error::other(&*error)))
    }
}

/// The addresses of a name, or why there are none.
type Found = Result<Vec<Endpoint>, Arc<str>>;

fn look_up(endpoint: &Endpoint) -> io::Result<Vec<Endpoint>> {
    let Host::Tcp(name) = &endpoint.host else {
        return Ok(vec![endpoint.clone()]);
    };
    let found = (name.as_str(), endpoint.port).to_socket_addrs()?;
    let endpoints = found.map(|address| Endpoint {
        host: Host::Addr { name: Some(name.clone()), addr: address.ip() },
        port: address.port(),
    });
    Ok(endpoints.collect())
}

fn random_nonce() -> Result<Nonce> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(no_random_bytes)?;
    Ok(nonce)
}

fn no_random_bytes(error: getrandom::Error) -> Error {
    Error::new(ErrorKind::Connect, "could not obtain random bytes from the system")
        .with_source(error)
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
