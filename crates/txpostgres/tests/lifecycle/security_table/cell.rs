//! One cell: the same connection string for libpq and for us, and what each says to it.

use std::fmt;
use std::process::Output;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use txpostgres::{Connection, Error, ErrorKind};
use txpostgres_testkit::Cluster;

use super::deliberate::DIFFERENCES;
use super::server::Shown;

/// How many cells are tried at a time: a few more than there are processors, for everybody mostly waits.
const TOGETHER: usize = 4;
/// No cell waits for anything but a server on this machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whether the server sees TLS.
pub(crate) const QUESTION: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// A connection string, and which server it is for.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) shown: Shown,
    pub(crate) conninfo: String,
}

impl Cell {
    /// Whether the connection string has this in it.
    pub(crate) fn says(&self, words: &str) -> bool {
        words.split(' ').all(|word| self.conninfo.split(' ').any(|said| said == word))
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Connected { encrypted: bool },
    Refused(Check),
}

/// The check that failed, as far as `psql` can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// The server says no, in these words.
    Server(String),
    /// TLS is demanded and not offered.
    NoTls,
    /// The certificate's signature or dates.
    Certificate,
    /// The certificate's name.
    Name,
    /// There is no file to verify the certificate by.
    NoRoot,
    /// The server does not like our certificate.
    OurCertificate,
    /// `sslcertmode=require` cannot be kept.
    NotAsked,
    /// `channel_binding=require` cannot be kept.
    Binding,
    /// `require_auth` does not allow what the server asks for.
    Method,
    /// A password is asked for and there is none.
    NoPassword,
    /// The connection string cannot be used, or a file that it names.
    Settings,
    /// The server hung up without a word.
    HungUp,
    /// The version of TLS, or of the protocol.
    Version,
    Other(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { encrypted: true } => f.write_str("connected by TLS"),
            Self::Connected { encrypted: false } => f.write_str("connected in plain text"),
            Self::Refused(check) => write!(f, "refused: {check:?}"),
        }
    }
}

/// The first of these texts that is in it tells the check.
fn check(text: &str, checks: &[(&str, Check)]) -> Check {
    let found = checks.iter().find(|(part, _)| text.contains(part));
    found.map_or_else(|| Check::Other(text.to_owned()), |(_, check)| check.clone())
}

/// What libpq says.
pub(crate) fn psql(cluster: &Cluster, conninfo: &str) -> Verdict {
    verdict_of(&cluster.psql(conninfo, QUESTION).unwrap())
}

/// What `psql -At` said to [`QUESTION`].
pub(crate) fn verdict_of(output: &Output) -> Verdict {
    if output.status.success() {
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        return Verdict::Connected { encrypted: answer.trim() == "t" };
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // Each attempt has its line; the last is the one that counts.
    let last = text.rsplit("connection to server ").next().unwrap_or_default();
    if let Some((_, message)) = last.split_once("FATAL:  ") {
        let message = message.lines().next().unwrap_or_default().to_owned();
        return Verdict::Refused(Check::Server(message));
    }
    let checks = [
        ("does not support SSL, but SSL was required", Check::NoTls),
        ("does not match host name", Check::Name),
        ("certificate verify failed", Check::Certificate),
        ("alert protocol version", Check::Version),
        ("unsupported protocol", Check::Version),
        ("alert", Check::OurCertificate),
        ("host name must be specified", Check::Name),
        ("\" does not exist", Check::NoRoot),
        ("root certificate file", Check::Settings),
        ("could not read certificate file", Check::Settings),
        ("private key file", Check::Settings),
        ("weak sslmode", Check::Settings),
        ("authentication method requirement", Check::Method),
        ("channel binding", Check::Binding),
        ("certificate signature algorithm", Check::Binding),
        ("could not find digest for NID", Check::Binding),
        ("no password supplied", Check::NoPassword),
        ("SSL SYSCALL error", Check::HungUp),
        ("unexpected eof", Check::HungUp),
        ("did not request an SSL certificate", Check::NotAsked),
        ("without a valid SSL certificate", Check::NotAsked),
        ("psql: error: invalid", Check::Settings),
        ("is greater than", Check::Settings),
        ("closed the connection", Check::HungUp),
        ("protocol version", Check::Version),
        ("ALPN", Check::HungUp),
    ];
    Verdict::Refused(check(last, &checks))
}

/// What we say.
pub(crate) async fn ours(conninfo: &str) -> Verdict {
    let connection = match Connection::open(conninfo).await {
        Ok(connection) => connection,
        Err(error) => return Verdict::Refused(check_of(&error)),
    };
    let rows = connection.run_query(QUESTION, ()).await.unwrap();
    let encrypted: bool = rows.first().unwrap().get(0).unwrap();
    assert_eq!(connection.is_encrypted(), encrypted, "{conninfo}");
    connection.close().await;
    Verdict::Connected { encrypted }
}

fn check_of(error: &Error) -> Check {
    let text = error.to_string();
    let checks: &[(&str, Check)] = match error.kind() {
        ErrorKind::Server => {
            return Check::Server(error.server().unwrap().message().into_owned());
        }
        ErrorKind::Tls => &[
            ("does not offer TLS", Check::NoTls),
            ("certificate is not for", Check::Name),
            ("needs a host name", Check::Name),
            ("version of TLS in common", Check::Version),
            (") expired on", Check::Certificate),
            (") is not signed by", Check::Certificate),
            (") is self-signed", Check::Certificate),
            ("our certificate", Check::OurCertificate),
            ("closed the connection", Check::HungUp),
            ("did not ask for a certificate", Check::NotAsked),
        ],
        ErrorKind::Authentication => &[
            ("channel_binding=require cannot be kept", Check::Binding),
            ("which require_auth does not allow", Check::Method),
            ("none was given", Check::NoPassword),
        ],
        ErrorKind::Config => &[
            ("needs a root certificate", Check::NoRoot),
            ("\" does not exist", Check::NoRoot),
            ("", Check::Settings),
        ],
        ErrorKind::Connect => {
            &[("closed the connection", Check::HungUp), ("min_protocol_version", Check::Version)]
        }
        _ => &[],
    };
    check(&text, checks)
}

/// What was found out.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cells: usize,
    pub(crate) connected: usize,
    /// How often each deliberate difference was seen.
    pub(crate) deliberate: [usize; DIFFERENCES.len()],
    pub(crate) disagreements: Vec<String>,
}

impl Tally {
    /// Tries each cell both ways, several at a time.
    pub(crate) fn try_all(&mut self, psql_of: &Cluster, cells: &[Cell]) {
        let (queue, tally) = (Mutex::new(cells.iter()), Mutex::new(self));
        thread::scope(|scope| {
            for _ in 0..TOGETHER.min(cells.len()) {
                scope.spawn(|| {
                    let mut builder = tokio::runtime::Builder::new_current_thread();
                    let runtime = builder.enable_all().build().unwrap();
                    loop {
                        let Some(cell) = queue.lock().unwrap().next() else { break };
                        let libpq = psql(psql_of, &cell.conninfo);
                        let ours = async {
                            tokio::time::timeout(PATIENCE, ours(&cell.conninfo)).await.unwrap()
                        };
                        let ours = runtime.block_on(ours);
                        tally.lock().unwrap().count(cell, &libpq, &ours);
                    }
                });
            }
        });
    }

    fn count(&mut self, cell: &Cell, libpq: &Verdict, ours: &Verdict) {
        self.cells += 1;
        self.connected += usize::from(matches!(ours, Verdict::Connected { .. }));
        if libpq == ours {
            return;
        }
        let known = DIFFERENCES.iter().position(|difference| (difference.is)(cell, libpq, ours));
        if let Some(number) = known {
            self.deliberate[number] += 1;
        } else {
            let Cell { shown, conninfo } = cell;
            let text = format!("{shown:?}: {conninfo}\n    psql: {libpq}\n    ours: {ours}");
            self.disagreements.push(text);
        }
    }

    /// Prints what was found out, and fails if anybody disagreed.
    pub(crate) fn finish(&self, what: &str) {
        let Self { cells, connected, deliberate, disagreements } = self;
        println!(
            "{what}: {cells} cells, {connected} of them connected, {} disagreements, {} deliberate",
            disagreements.len(),
            deliberate.iter().sum::<usize>()
        );
        for (difference, seen) in DIFFERENCES.iter().zip(deliberate).filter(|(_, seen)| **seen > 0)
        {
            println!("    {seen} times: {}", difference.why);
        }
        assert!(disagreements.is_empty(), "{what}:\n{}", disagreements.join("\n"));
    }
}
