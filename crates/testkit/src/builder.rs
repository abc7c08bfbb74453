//! Settings of a cluster, chosen before it starts.

use std::fmt::Write;

use crate::cluster::Cluster;
use crate::install::Install;
use crate::setup_error::SetupError;
use crate::standby::Upstream;
use crate::template::ADMIN;
use crate::tls::TlsCertificates;

/// Settings of a cluster; see [`Cluster::builder`].
#[derive(Debug, Clone, Default)]
pub struct Builder {
    pub(crate) install: Option<Install>,
    pub(crate) major: Option<u32>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) hba: Vec<String>,
    pub(crate) auth: Option<String>,
    pub(crate) tls: Option<TlsCertificates>,
    pub(crate) upstream: Option<Upstream>,
}

/// Fast to start, small, and without durability: the data is thrown away.
const SETTINGS: [(&str, &str); 9] = [
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "16MB"),
    ("max_connections", "100"),
    ("log_line_prefix", "%m [%p] "),
    // Files in the data directory, which are removed with it, instead of POSIX segments that a
    // killed server leaves behind.
    ("dynamic_shared_memory_type", "mmap"),
    ("max_wal_size", "256MB"),
];

impl Builder {
    /// A setting as in `postgresql.conf`, without quotes. A later setting of the same name wins.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// A line of `pg_hba.conf`; the first one replaces the default, which accepts every login.
    #[must_use]
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// The authentication method for all users, over TCP and the Unix socket; `trust` by default.
    /// With `password`, `md5` or `scram-sha-256` the superuser gets a password, which is then part
    /// of the connection strings.
    #[must_use]
    pub fn auth(mut self, method: impl Into<String>) -> Self {
        self.auth = Some(method.into());
        self
    }

    /// Turns TLS on, with these certificates.
    #[must_use]
    pub fn tls(mut self, certificates: TlsCertificates) -> Self {
        self.tls = Some(certificates);
        self
    }

    /// A major version, fetched if it is not installed.
    #[must_use]
    pub fn major(mut self, major: u32) -> Self {
        self.major = Some(major);
        self
    }

    /// A certain installation.
    #[must_use]
    pub fn install(mut self, install: Install) -> Self {
        self.install = Some(install);
        self
    }

    /// A standby of this running server: a copy of its data by `pg_basebackup`, which streams what
    /// is written from then on. It has the primary's release and settings, before its own, and the
    /// primary's password; TLS and `pg_hba` lines are its own.
    #[must_use]
    pub fn standby_of(mut self, primary: &Cluster) -> Self {
        self.upstream = Some(Upstream::of(primary));
        self
    }

    /// Starts it, and waits until it takes connections.
    pub fn start(&self) -> Result<Cluster, SetupError> {
        Cluster::start(self)
    }

    pub(crate) fn hba_text(&self) -> String {
        // The line of the kit's own superuser comes first.
        let mut text = format!("local all {ADMIN} trust\nlocal replication {ADMIN} trust\n");
        let method = self.auth.as_deref().unwrap_or("trust");
        if self.hba.is_empty() {
            for who in ["local all all", "local replication all"] {
                // Certificates need TLS.
                let method = if method == "cert" { "trust" } else { method };
                writeln!(text, "{who} {method}").ok();
            }
            let kind = if method == "cert" { "hostssl" } else { "host" };
            for who in ["all all", "replication all"] {
                writeln!(text, "{kind} {who} 127.0.0.1/32 {method}").ok();
                writeln!(text, "{kind} {who} ::1/128 {method}").ok();
            }
        }
        for line in &self.hba {
            writeln!(text, "{line}").ok();
        }
        text
    }

    /// The password encryption that the chosen method needs, if it is one with passwords.
    pub(crate) fn password_encryption(&self) -> Option<&str> {
        match self.auth.as_deref()? {
            "md5" => Some("md5"),
            "scram-sha-256" | "password" => Some("scram-sha-256"),
            _ => None,
        }
    }
}

/// `postgresql.conf` lines; a later one overrides an earlier one.
pub(crate) fn settings_text(port: u16, socket_dir: &str, asked: &[(String, String)]) -> String {
    let port = port.to_string();
    let ours = [("port", port.as_str()), ("unix_socket_directories", socket_dir)];
    let asked = asked.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in SETTINGS.into_iter().chain(ours).chain(asked) {
        writeln!(text, "{name} = '{}'", value.replace('\'', "''")).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_settings_come_last_and_are_quoted() {
        let asked = [("work_mem".to_owned(), "it's".to_owned())];
        let text = settings_text(1, "/tmp/x", &asked);
        assert!(
            text.ends_with("unix_socket_directories = '/tmp/x'\nwork_mem = 'it''s'\n"),
            "{text}"
        );
    }

    #[test]
    fn lines_asked_for_replace_the_default_but_not_the_kits_own() {
        let text = Builder::default().hba("host all all 127.0.0.1/32 reject").hba_text();
        let wanted = "local all testkit trust\nlocal replication testkit trust\nhost all all 127.0.0.1/32 reject\n";
        assert_eq!(text, wanted);
        assert!(
            Builder::default()
                .auth("cert")
                .hba_text()
                .contains("hostssl all all 127.0.0.1/32 cert")
        );
    }
}
