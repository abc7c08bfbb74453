//! One place where a server may listen: an address or a Unix socket, and a port.

use core::net::IpAddr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::origin::{shown_host, shown_path};
use super::{Config, defaults};
use crate::error::{Error, ErrorKind, Result};

/// How to reach a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to be looked up.
    Tcp(String),
    /// An address: nothing is looked up. The name, if one was given too, is what the certificate
    /// must show.
    Addr {
        /// What was given as `host`.
        name: Option<String>,
        /// What was given as `hostaddr`, or as `host` if that was an address.
        addr: IpAddr,
    },
    /// The directory of a Unix socket; after a leading `@`, the start of a name in Linux's abstract
    /// namespace.
    Unix(PathBuf),
}

/// One place where a server may listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// How to reach it.
    pub host: Host,
    /// Its TCP port; for a Unix socket, the end of its name.
    pub port: u16,
}

impl Endpoint {
    /// The Unix socket's path, `<directory>/.s.PGSQL.<port>`. A leading `@` stands for the NUL that
    /// begins the name of an abstract socket.
    ///
    /// ```
    /// use txpostgres_session::config::{Endpoint, Host};
    ///
    /// let endpoint = Endpoint { host: Host::Unix("/tmp".into()), port: 5432 };
    /// assert_eq!(endpoint.unix_socket_path().unwrap().to_str(), Some("/tmp/.s.PGSQL.5432"));
    /// ```
    pub fn unix_socket_path(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
            Host::Tcp(_) | Host::Addr { .. } => None,
        }
    }

    /// Whether the Unix socket is in Linux's abstract namespace.
    pub fn is_abstract(&self) -> bool {
        matches!(&self.host, Host::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"@"))
    }

    /// The name or address that the server's certificate must be for; none for a Unix socket, and
    /// for a bare `hostaddr`.
    pub fn tls_name(&self) -> Option<&str> {
        match &self.host {
            Host::Tcp(name) => Some(name),
            Host::Addr { name, .. } => name.as_deref(),
            Host::Unix(_) => None,
        }
    }

    /// The names under which a password file may know this host. libpq writes `localhost` for the
    /// default directory.
    pub(super) fn passfile_names(&self) -> Vec<String> {
        match &self.host {
            Host::Tcp(name) => vec![name.clone()],
            Host::Addr { name, addr } => vec![name.clone().unwrap_or_else(|| addr.to_string())],
            Host::Unix(directory) => {
                let default =
                    defaults::SOCKET_DIRECTORIES.iter().any(|path| directory == Path::new(path));
                let own = directory.display().to_string();
                if default { vec!["localhost".to_owned(), own] } else { vec![own] }
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Tcp(name) => write!(f, "{}:{port}", shown_host(name)),
            Host::Addr { name, addr } => {
                let literal = addr.to_string();
                let literal = if addr.is_ipv6() { format!("[{literal}]") } else { literal };
                match name {
                    Some(name) if name.parse() != Ok(*addr) => {
                        write!(f, "{} ({literal}:{port})", shown_host(name))
                    }
                    _ => write!(f, "{literal}:{port}"),
                }
            }
            Host::Unix(directory) => write!(f, "{}/.s.PGSQL.{port}", shown_path(directory)),
        }
    }
}

impl Config {
    /// The places to try, in the order written. There is at least one.
    ///
    /// ```
    /// # use txpostgres_session::config::Config;
    /// let config = Config::parse("postgresql://db1,db2:5433/")?;
    /// let places: Vec<String> = config.endpoints()?.iter().map(ToString::to_string).collect();
    /// assert_eq!(places, ["db1:5432", "db2:5433"]);
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn endpoints(&self) -> Result<Vec<Endpoint>> {
        let refused = |message: String| Error::new(ErrorKind::Config, message);
        let (names, addresses, ports) = (self.get_hosts(), self.get_hostaddrs(), self.get_ports());
        let count = if addresses.is_empty() { names.len().max(1) } else { addresses.len() };
        if !names.is_empty() && names.len() != count {
            return Err(refused(format!(
                "{} in host, but {count} in hostaddr: give as many of one as of the other",
                names.len()
            )));
        }
        if ports.len() > 1 && ports.len() != count {
            let hosts = if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
            return Err(refused(format!(
                "{} ports for {hosts}: give one port for all hosts, or one for each",
                ports.len()
            )));
        }
        let first = ports.first().copied().unwrap_or(defaults::PORT);
        (0..count)
            .map(|number| {
                let name = names.get(number).filter(|name| !name.is_empty());
                let endpoint = Endpoint {
                    host: self.host_of(name, addresses.get(number).copied().flatten()),
                    port: ports.get(number).copied().unwrap_or(first),
                };
                let length = endpoint.unix_socket_path().map_or(0, |path| path.as_os_str().len());
                if length > defaults::SOCKET_PATH_BYTES {
                    return Err(refused(format!(
                        "the path of the Unix socket is {length} bytes long, more than the {} that systems allow: {endpoint}",
                        defaults::SOCKET_PATH_BYTES
                    )));
                }
                Ok(endpoint)
            })
            .collect()
    }

    fn host_of(&self, name: Option<&String>, addr: Option<IpAddr>) -> Host {
        match (name, addr) {
            (name, Some(addr)) => Host::Addr { name: name.cloned(), addr },
            (Some(name), None) if name.starts_with(['/', '@']) => Host::Unix(name.into()),
            (Some(name), None) => match name.parse() {
                Ok(addr) => Host::Addr { name: Some(name.clone()), addr },
                Err(_) => Host::Tcp(name.clone()),
            },
            (None, None) => self.default_host(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> String {
        match Config::parse(text).and_then(|config| config.endpoints()) {
            Ok(endpoints) => {
                let shown: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
                shown.join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn hosts_and_ports() {
        for (text, expected) in [
            ("host=db", "db:5432"),
            ("host=db port=1", "db:1"),
            ("host=a,b port=1", "a:1 b:1"),
            ("host=a,b port=1,2", "a:1 b:2"),
            ("host=a,b port=,2", "a:5432 b:2"),
            ("host=a,b port=''", "a:5432 b:5432"),
            ("host=a,,c", "a:5432 /tmp/.s.PGSQL.5432 c:5432"),
            ("host=''", "/tmp/.s.PGSQL.5432"),
            ("", "/tmp/.s.PGSQL.5432"),
            ("host=127.0.0.1", "127.0.0.1:5432"),
            ("host=::1", "[::1]:5432"),
            ("hostaddr=::1", "[::1]:5432"),
            ("host=db hostaddr=10.0.0.1", "db (10.0.0.1:5432)"),
            ("host=db,eb hostaddr=10.0.0.1,", "db (10.0.0.1:5432) eb:5432"),
            ("hostaddr=10.0.0.1,10.0.0.2", "10.0.0.1:5432 10.0.0.2:5432"),
            ("host=/run/x port=7", "/run/x/.s.PGSQL.7"),
            ("host=@x", "@x/.s.PGSQL.5432"),
            (
                "host=a,b port=1,2,3",
                "3 ports for 2 hosts: give one port for all hosts, or one for each",
            ),
            ("host=a port=1,2", "2 ports for 1 host: give one port for all hosts, or one for each"),
            (
                "host=a hostaddr=::1,::2",
                "1 in host, but 2 in hostaddr: give as many of one as of the other",
            ),
        ] {
            let places = places(text).replace("/var/run/postgresql", "/tmp");
            assert_eq!(places, expected, "{text:?}");
        }
        assert!(
            places(&format!("host=/{}", "x".repeat(200))).contains("path of the Unix socket is")
        );
    }

    #[test]
    fn names() {
        let one = |text: &str| Config::parse(text).unwrap().endpoints().unwrap().remove(0);
        assert_eq!(one("host=db").tls_name(), Some("db"));
        assert_eq!(one("host=db hostaddr=::1").tls_name(), Some("db"));
        assert_eq!(one("host=10.0.0.1").tls_name(), Some("10.0.0.1"));
        assert_eq!(one("hostaddr=::1").tls_name(), None);
        assert_eq!(one("host=/tmp").tls_name(), None);
        assert!(one("host=@x").is_abstract() && !one("host=/tmp").is_abstract());
        assert_eq!(one("host=/tmp").passfile_names(), ["localhost", "/tmp"]);
        assert_eq!(one("host=/run/x").passfile_names(), ["/run/x"]);
        assert_eq!(one("hostaddr=::1").passfile_names(), ["::1"]);
        assert_eq!(one("host=db hostaddr=::1").passfile_names(), ["db"]);
    }
}
