//! One server with a user for every way in, which can show a certificate of every kind.

use std::sync::LazyLock;

use txpostgres_testkit::{Builder, ClientFiles, Cluster, Install, TlsCertificates};

/// The password of every user that has one.
pub(crate) const PASSWORD: &str = "open sesame";

/// What the server shows when it is asked for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It has no TLS.
    Nothing,
    Good,
    /// Good, but for another host.
    WrongName,
    SelfSigned,
    Expired,
    /// Signed by an authority that is not the one of `sslrootcert`.
    OtherAuthority,
    /// Good, with a signature that names no hash.
    Ed25519,
}

impl Shown {
    pub(crate) const BAD: [Self; 4] =
        [Self::WrongName, Self::SelfSigned, Self::Expired, Self::OtherAuthority];

    fn certificates(self) -> Option<TlsCertificates> {
        let made = match self {
            Self::Nothing => return None,
            Self::Good => TlsCertificates::good(),
            Self::WrongName => TlsCertificates::wrong_name(),
            Self::SelfSigned => TlsCertificates::self_signed(),
            Self::Expired => TlsCertificates::expired(),
            Self::OtherAuthority => TlsCertificates::other_authority(),
            Self::Ed25519 => TlsCertificates::ed25519(),
        };
        Some(made.unwrap())
    }
}

/// The users, each named after the only way in that `pg_hba.conf` leaves.
const HBA: [&str; 13] = [
    "host all trust 127.0.0.1/32 trust",
    "host all scram 127.0.0.1/32 scram-sha-256",
    "host all md5 127.0.0.1/32 md5",
    "host all password 127.0.0.1/32 password",
    "hostssl all hostssl 127.0.0.1/32 scram-sha-256",
    "hostnossl all hostnossl 127.0.0.1/32 scram-sha-256",
    "hostssl all clientcert 127.0.0.1/32 scram-sha-256 clientcert=verify-ca",
    "hostssl all cert 127.0.0.1/32 cert",
    // Two ways in, the second of which asks nothing.
    "hostssl all tls_asks 127.0.0.1/32 scram-sha-256",
    "hostnossl all tls_asks 127.0.0.1/32 trust",
    "local all all trust",
    // Their keys take long to derive.
    "host all slow 127.0.0.1/32 scram-sha-256",
    "host all too_slow 127.0.0.1/32 scram-sha-256",
];

/// And the other way round.
const MORE_HBA: [&str; 2] = [
    "hostnossl all plain_asks 127.0.0.1/32 scram-sha-256",
    "hostssl all plain_asks 127.0.0.1/32 trust",
];

const USERS: [&str; 12] = [
    "trust",
    "scram",
    "md5",
    "password",
    "hostssl",
    "hostnossl",
    "clientcert",
    "cert",
    "tls_asks",
    "plain_asks",
    "slow",
    "too_slow",
];

/// The server, and where its files are.
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) shown: Shown,
    client: ClientFiles,
}

/// The first release that has direct TLS, `require_auth`, `sslrootcert=system`, protocol 3.2 and a `psql` that knows them.
const NEWER: u32 = 18;

/// The server of all tests that change nothing about it.
pub(crate) fn standing() -> &'static Server {
    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(Cluster::builder()));
    &SERVER
}

/// The same of a newer release; nothing where it is not installed and cannot be fetched.
pub(crate) fn newer() -> Option<&'static Server> {
    static SERVER: LazyLock<Option<Server>> = LazyLock::new(newer_of_our_own);
    SERVER.as_ref()
}

/// A newer one, to be changed.
pub(crate) fn newer_of_our_own() -> Option<Server> {
    match Install::major(NEWER) {
        Ok(install) => Some(Server::start(Cluster::builder().install(install))),
        Err(error) => {
            println!("skipped, for want of PostgreSQL {NEWER}: {error}");
            None
        }
    }
}

impl Server {
    pub(crate) fn start(builder: Builder) -> Self {
        let lines = HBA.into_iter().chain(MORE_HBA);
        let builder = lines.fold(builder, Builder::hba);
        let cluster = builder.tls(TlsCertificates::good().unwrap()).start().unwrap();
        for user in USERS {
            let method = if user == "md5" { "md5" } else { "scram-sha-256" };
            cluster
                .sql(&format!(
                    "set password_encryption = '{method}'; create role \"{user}\" login password '{PASSWORD}'"
                ))
                .unwrap();
        }
        let client = cluster.client_certificate("cert").unwrap();
        Self { cluster, shown: Shown::Good, client }
    }

    /// From now on the server shows this.
    pub(crate) fn show(&mut self, shown: Shown) {
        let certificates = shown.certificates();
        let ssl = if certificates.is_some() { "on" } else { "off" };
        if let Some(certificates) = certificates {
            self.cluster.set_tls(certificates).unwrap();
            self.client = self.cluster.client_certificate("cert").unwrap();
        }
        self.cluster.set("ssl", ssl).unwrap();
        self.cluster.reload().unwrap();
        self.shown = shown;
    }

    /// The connection string for a user, without anything about TLS.
    pub(crate) fn conninfo(&self, user: &str) -> String {
        let port = self.cluster.port();
        format!("host=localhost hostaddr=127.0.0.1 port={port} dbname=postgres user={user}")
    }

    /// `sslrootcert=…` for the authority that the certificates should be from.
    pub(crate) fn root(&self) -> String {
        let path = self.cluster.root_certificate().unwrap();
        format!("sslrootcert={}", path.display())
    }

    /// `sslcert=… sslkey=…` of the user `cert`.
    pub(crate) fn client(&self) -> String {
        let ClientFiles { certificate, key } = &self.client;
        format!("sslcert={} sslkey={}", certificate.display(), key.display())
    }

    /// The same files.
    pub(crate) fn client_files(&self) -> &ClientFiles {
        &self.client
    }
}
