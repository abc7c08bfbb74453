//! A peer that plays scripts, one for each connection, and reports where the other side departed
//! from them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::places;
use crate::player::{POLL, Player, Stream};
use crate::script::{BOUND, Script};

/// A server that plays one [`Script`] for each connection, in the order of the connections,
/// concurrently. When each script has its connection, no more are accepted.
#[derive(Debug)]
pub struct ScriptedServer {
    address: Option<SocketAddr>,
    folder: Option<PathBuf>,
    finishing: Arc<AtomicBool>,
    results: Receiver<(usize, Played)>,
    count: usize,
    bound: Duration,
}

#[derive(Debug, Default)]
struct Played {
    received: Vec<u8>,
    complaint: Option<String>,
}

/// Where the client departed from the script.
#[derive(Clone, PartialEq, Eq)]
pub struct Mismatch {
    text: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Mismatch {}

impl ScriptedServer {
    /// Listens on a free port of 127.0.0.1.
    pub fn tcp(scripts: Vec<Script>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(false)?;
            // Chunks must arrive as they were sent.
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        };
        Ok(Self::start(scripts, Some(address), None, accept))
    }

    /// Listens on a Unix socket, `.s.PGSQL.5432` in a new folder.
    pub fn unix(scripts: Vec<Script>) -> io::Result<Self> {
        let folder = places::fresh(Account::ourselves()).map_err(io::Error::other)?;
        let listener = UnixListener::bind(folder.join(".s.PGSQL.5432"))?;
        listener.set_nonblocking(true)?;
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(false)?;
            Ok(Stream::Unix(stream))
        };
        Ok(Self::start(scripts, None, Some(folder), accept))
    }

    fn start(
        scripts: Vec<Script>,
        address: Option<SocketAddr>,
        folder: Option<PathBuf>,
        accept: impl FnMut() -> io::Result<Stream> + Send + 'static,
    ) -> Self {
        let finishing = Arc::new(AtomicBool::new(false));
        let (sender, results) = channel();
        let count = scripts.len();
        let bound = scripts.iter().map(|script| script.bound).max().unwrap_or(BOUND);
        let stop = Arc::clone(&finishing);
        thread::spawn(move || play_each(scripts, accept, &sender, &stop));
        Self { address, folder, finishing, results, count, bound }
    }

    /// The TCP address that it listens on; port 0 of the unspecified address if it listens on a
    /// Unix socket.
    pub fn address(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// The port: the one of the Unix socket's name is 5432.
    pub fn port(&self) -> u16 {
        self.address.map_or(5432, |address| address.port())
    }

    /// The folder of the Unix socket, if it listens on one.
    pub fn socket_dir(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// A connection string for it: user and database `postgres`, without encryption.
    pub fn dsn(&self) -> String {
        let host =
            self.folder.as_ref().map_or("127.0.0.1".to_owned(), |path| path.display().to_string());
        format!("host={host} port={} user=postgres dbname=postgres sslmode=disable", self.port())
    }

    /// Waits until every script was played, and returns the bytes that each connection received.
    /// Steps of silence end at once; a connection that was not made by now is an error.
    pub fn finish(self) -> Result<Vec<Vec<u8>>, Mismatch> {
        self.finishing.store(true, Ordering::Release);
        let mut received = vec![Vec::new(); self.count];
        let deadline = Instant::now() + self.bound + Duration::from_secs(1);
        let mut complaints = Vec::new();
        for _ in 0..self.count {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((index, played)) = self.results.recv_timeout(left) else {
                complaints.push("a script did not end in time".to_owned());
                break;
            };
            if let Some(complaint) = played.complaint {
                complaints.push(format!("connection {}, {complaint}", index + 1));
            }
            if let Some(slot) = received.get_mut(index) {
                *slot = played.received;
            }
        }
        if complaints.is_empty() {
            Ok(received)
        } else {
            Err(Mismatch { text: complaints.join("\n") })
        }
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.finishing.store(true, Ordering::Release);
        if let Some(folder) = &self.folder {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}

fn play_each(
    scripts: Vec<Script>,
    mut accept: impl FnMut() -> io::Result<Stream>,
    results: &Sender<(usize, Played)>,
    finishing: &Arc<AtomicBool>,
) {
    for (index, script) in scripts.into_iter().enumerate() {
        let stream = loop {
            // Checked before accepting, so that a connection made before the end is not missed.
            let last_look = finishing.load(Ordering::Acquire);
            match accept() {
                Ok(stream) => break Some(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !last_look => {
                    thread::sleep(POLL);
                }
                Err(_) => break None,
            }
        };
        let Some(stream) = stream else {
            let complaint = Some("which was never made".to_owned());
            results.send((index, Played { complaint, ..Played::default() })).ok();
            continue;
        };
        let (results, finishing) = (results.clone(), Arc::clone(finishing));
        thread::spawn(move || {
            // Closed before the result is reported.
            let (received, complaint) =
                Player::new(stream, script.bound, finishing).play(&script.steps);
            results.send((index, Played { received, complaint })).ok();
        });
    }
}
