//! Which server is asked, and as whom: a Unix socket, a user and a database.

use std::path::{Path, PathBuf};

use tokio_postgres::config::Host;

use crate::Failure;

/// Where `PostgreSQL` listens: `host` of a connection string names the directory, and the socket in
/// it is called after the port.
const SOCKET_PREFIX: &str = ".s.PGSQL.";

/// A server to measure against, without a password: authentication is not what is measured.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    directory: PathBuf,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
}

impl Target {
    /// From a connection string such as `host=/run/postgresql user=postgres`.
    pub(crate) fn from_dsn(dsn: &str) -> Result<Target, Failure> {
        let config: tokio_postgres::Config = dsn.parse()?;
        let directory = match config.get_hosts() {
            [Host::Unix(directory)] => directory.clone(),
            _ => {
                return Err("what is measured goes over one Unix socket: \
                            --dsn 'host=/socket/directory port=5432 user=postgres'"
                    .into());
            }
        };
        let user = config.get_user().unwrap_or("postgres");
        Ok(Target {
            directory,
            port: config.get_ports().first().copied().unwrap_or(5432),
            user: user.to_owned(),
            database: config.get_dbname().unwrap_or(user).to_owned(),
        })
    }

    /// From the path of a socket, as the fake server is given it.
    pub(crate) fn from_socket(path: &Path) -> Result<Target, Failure> {
        let port = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(SOCKET_PREFIX)?.parse().ok());
        match (path.parent(), port) {
            (Some(directory), Some(port)) if directory.is_absolute() => Ok(Target {
                directory: directory.to_owned(),
                port,
                user: "postgres".to_owned(),
                database: "postgres".to_owned(),
            }),
            _ => Err(format!(
                "{}: clients look for an absolute path that ends in {SOCKET_PREFIX}PORT",
                path.display()
            )
            .into()),
        }
    }

    /// Where its socket is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The socket's path.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join(format!("{SOCKET_PREFIX}{}", self.port))
    }

    /// The same as a connection string.
    pub(crate) fn dsn(&self) -> String {
        let quoted = |value: &str| value.replace('\\', r"\\").replace('\'', r"\'");
        format!(
            "host='{}' port={} user='{}' dbname='{}'",
            quoted(&self.directory.to_string_lossy()),
            self.port,
            quoted(&self.user),
            quoted(&self.database),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Target;

    #[test]
    fn a_dsn_and_a_socket_name_the_same_place() {
        let by_dsn = Target::from_dsn("host=/tmp/x port=6000 user=postgres").unwrap();
        let by_socket = Target::from_socket(Path::new("/tmp/x/.s.PGSQL.6000")).unwrap();
        assert_eq!(by_dsn.dsn(), by_socket.dsn());
        assert_eq!(by_dsn.socket(), Path::new("/tmp/x/.s.PGSQL.6000"));
        assert_eq!(Target::from_dsn(&by_dsn.dsn()).unwrap().dsn(), by_dsn.dsn());
    }

    #[test]
    fn tcp_and_odd_socket_names_are_refused() {
        assert!(Target::from_dsn("host=localhost user=x").is_err());
        assert!(Target::from_socket(Path::new("/tmp/x/socket")).is_err());
        assert!(Target::from_socket(Path::new(".s.PGSQL.5432")).is_err());
    }
}
