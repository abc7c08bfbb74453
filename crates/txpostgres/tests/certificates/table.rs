//! Tries every case in some modes, `psql` and we against the same peer.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use txpostgres::config::Config;
use txpostgres::{Connection, Error};
use txpostgres_testkit::Install;

use super::chain::{Chain, Lists};
use super::deliberate::STRICTER;
use super::der::pem;
use super::folder::Folder;
use super::home::Home;
use super::keys::certificates_pem;
use super::peer::Peer;
use super::shapes::Case;

/// Modes in which a certificate is judged where there is a root.
pub(super) const MODES: [&str; 4] = ["verify-full", "verify-ca", "require", "prefer"];

/// How many cases are tried at a time.
const TOGETHER: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    ByTls,
    InPlainText,
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByTls => "connected by TLS",
            Self::InPlainText => "connected in plain text",
            Self::Refused => "refused",
        })
    }
}

/// The whole table as it was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    cells: usize,
    by_tls: usize,
    in_plain_text: usize,
    weaker: Vec<String>,
    stricter: Vec<String>,
    /// How often each deliberate difference was seen.
    deliberate: [usize; STRICTER.len()],
    /// Every error of ours, for those who look at the words.
    pub(super) errors: Vec<(String, String)>,
}

/// Tries these cases in these modes.
pub(super) fn try_all(name: &str, cases: &[Case], modes: &[&str]) -> Found {
    let psql = Install::find().unwrap().bin_dir().join("psql");
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Found::default()));
    thread::scope(|scope| {
        for worker in 0..TOGETHER {
            let (next, found, psql) = (&next, &found, &psql);
            scope.spawn(move || {
                let folder = Folder::new(&format!("{name}{worker}"));
                let peer = Peer::start(folder.path());
                let mut builder = tokio::runtime::Builder::new_current_thread();
                let runtime = builder.enable_all().build().unwrap();
                while let Some((name, chain)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cell = Written::new(&folder, &peer, chain);
                    for mode in modes {
                        let libpq = cell.psql(psql, mode);
                        let ours = runtime.block_on(cell.ours(mode));
                        found.lock().unwrap().count(&format!("{name}, {mode}"), &libpq, ours);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// A case in files, with its peer.
struct Written {
    home: Home,
    conninfo: String,
}

impl Written {
    fn new(folder: &Folder, peer: &Peer, chain: &Chain) -> Self {
        // Once each: a signature by an elliptic curve is another every time.
        let all: Vec<_> = (0..chain.specs.len()).map(|place| chain.certificate(place)).collect();
        let der = |places: &[usize]| -> Vec<_> {
            places.iter().map(|place| all[*place].clone()).collect()
        };
        peer.show(&der(&chain.sent), &chain.specs[chain.sent[0]].key(), chain.only_tls12);
        let lists: Vec<_> = chain.lists.iter().map(|list| chain.list(list)).collect();
        let lists_pem: String = lists.iter().map(|list| pem("X509 CRL", list)).collect();
        let mut roots = certificates_pem(&der(&chain.roots));
        let _ = std::fs::remove_dir_all(folder.path().join("lists"));
        let _ = std::fs::remove_dir_all(folder.path().join(".postgresql"));
        let mut more = String::new();
        match chain.where_lists_are {
            Lists::Nowhere => {}
            Lists::File => {
                more = format!("sslcrl={}", folder.write("crl.pem", lists_pem.as_bytes()));
            }
            Lists::Home => drop(folder.write(".postgresql/root.crl", lists_pem.as_bytes())),
            Lists::Root => roots += &lists_pem,
            Lists::RootAndFolder => {
                roots += &lists_pem;
                let path = folder.write("lists/README", b"");
                more = format!("sslcrldir={}", PathBuf::from(path).parent().unwrap().display());
            }
            Lists::Folder | Lists::FolderOfOtherNames => {
                let mut path = PathBuf::new();
                for (number, list) in lists.iter().enumerate() {
                    let text = pem("X509 CRL", list);
                    let name = if chain.where_lists_are == Lists::Folder {
                        name_in_folder(folder, &text)
                    } else {
                        format!("lists/0123456{number}.r0")
                    };
                    path = folder.write(&name, text.as_bytes()).into();
                }
                more = format!("sslcrldir={}", path.parent().unwrap().display());
            }
        }
        let root = folder.write("root.crt", roots.as_bytes());
        let conninfo = format!(
            "host={} hostaddr=127.0.0.1 port={} user=me dbname=me sslrootcert={root} {more}",
            chain.host,
            peer.port()
        );
        Self { home: Home(folder.path().to_owned()), conninfo }
    }

    fn psql(&self, psql: &PathBuf, mode: &str) -> (Verdict, String) {
        let conninfo = format!("{} sslmode={mode}", self.conninfo);
        let mut command = Command::new(psql);
        command.env_clear().env("HOME", &self.home.0);
        let output = command.args(["-XAtw", "-c", "ssl", "-d", &conninfo]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let verdict = match (output.status.success(), output.stdout.as_slice()) {
            (true, b"t\n") => Verdict::ByTls,
            (true, b"f\n") => Verdict::InPlainText,
            (false, _) => Verdict::Refused,
            other => panic!("{other:?}"),
        };
        (verdict, said)
    }

    async fn ours(&self, mode: &str) -> (Verdict, Option<Error>) {
        let config: Config = format!("{} sslmode={mode}", self.conninfo).parse().unwrap();
        let config = config.resolve(&self.home).unwrap();
        let opened = tokio::time::timeout(PATIENCE, Connection::open(config)).await.unwrap();
        match opened {
            Ok(connection) => {
                let by_tls = connection.is_encrypted();
                connection.close().await;
                (if by_tls { Verdict::ByTls } else { Verdict::InPlainText }, None)
            }
            Err(error) => (Verdict::Refused, Some(error)),
        }
    }
}

/// The name under which OpenSSL looks for a list, by OpenSSL.
fn name_in_folder(folder: &Folder, list: &str) -> String {
    let path = folder.write("one.pem", list.as_bytes());
    let output = Command::new("openssl").args(["crl", "-hash", "-noout", "-in", &path]).output();
    let hash = String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned();
    let taken = |number: &u32| folder.path().join(format!("lists/{hash}.r{number}")).exists();
    let number = (0_u32..100).find(|number| !taken(number)).unwrap();
    format!("lists/{hash}.r{number}")
}

impl Found {
    fn count(&mut self, cell: &str, libpq: &(Verdict, String), ours: (Verdict, Option<Error>)) {
        let (verdict, error) = ours;
        self.cells += 1;
        self.by_tls += usize::from(verdict == Verdict::ByTls);
        self.in_plain_text += usize::from(verdict == Verdict::InPlainText);
        let said = error.map(|error| {
            let hint = error.hint().unwrap_or_default().to_owned();
            format!("{error} ({hint})")
        });
        if let Some(said) = &said {
            self.errors.push((cell.to_owned(), said.clone()));
        }
        if verdict == libpq.0 {
            return;
        }
        let text = format!(
            "{cell}\n    psql: {}: {}\n    ours: {verdict}: {}",
            libpq.0,
            libpq.1.trim(),
            said.unwrap_or_default()
        );
        // Plain text where libpq has TLS protects less, though the certificate was refused.
        let is_stricter =
            verdict == Verdict::Refused || (libpq.0 == Verdict::ByTls && cell.ends_with("prefer"));
        let known = STRICTER.iter().position(|stricter| stricter.is_about(cell));
        match known {
            Some(number) if is_stricter => self.deliberate[number] += 1,
            _ if is_stricter => self.stricter.push(text),
            _ => self.weaker.push(text),
        }
    }

    /// Adds what another part of the table gave.
    pub(super) fn add(&mut self, other: Self) {
        self.cells += other.cells;
        self.by_tls += other.by_tls;
        self.in_plain_text += other.in_plain_text;
        self.weaker.extend(other.weaker);
        self.stricter.extend(other.stricter);
        for (sum, more) in self.deliberate.iter_mut().zip(other.deliberate) {
            *sum += more;
        }
        self.errors.extend(other.errors);
    }

    /// Prints the table, and fails if it is not as it should be.
    pub(super) fn finish(&self) {
        let Self { cells, by_tls, in_plain_text, weaker, stricter, deliberate, .. } = self;
        let refused = cells - by_tls - in_plain_text;
        println!(
            "certificates: {cells} cells beside psql: {by_tls} by TLS, {in_plain_text} in plain text, \
             {refused} refused; {} weaker, {} stricter, {} stricter on purpose",
            weaker.len(),
            stricter.len(),
            deliberate.iter().sum::<usize>()
        );
        for (stricter, seen) in STRICTER.iter().zip(deliberate).filter(|(_, seen)| **seen > 0) {
            println!("    {seen} times: {}", stricter.why);
        }
        let differences = [weaker.as_slice(), stricter].concat();
        assert!(
            differences.is_empty(),
            "weaker:\n{}\nstricter:\n{}",
            weaker.join("\n"),
            stricter.join("\n")
        );
    }

    /// How often the deliberate difference of this number was seen.
    pub(super) fn seen(&self, number: usize) -> usize {
        self.deliberate[number]
    }
}
