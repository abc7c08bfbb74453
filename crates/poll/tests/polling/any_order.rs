//! However the bytes are cut, and however often and whenever the connection is polled, the same
//! results come out.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use proptest::prelude::*;
use txpostgres_poll::{Connection, PollState};
use txpostgres_testkit::backend;

/// A peer in the thread of the test: it answers what it has read, so many bytes at a time.
struct Peer {
    stream: UnixStream,
    read: Vec<u8>,
    is_greeted: bool,
    answers: Vec<u8>,
}

impl Peer {
    /// Reads what has come, and writes `count` bytes of the answers.
    fn go_on(&mut self, count: usize) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.read.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        while let Some(answer) = self.next_answer() {
            self.answers.extend(answer);
        }
        let count = count.min(self.answers.len());
        let written = self.stream.write(&self.answers[..count]).unwrap();
        self.answers.drain(..written);
    }

    /// The answer to the next message, if it is complete.
    fn next_answer(&mut self) -> Option<Vec<u8>> {
        let tag = usize::from(self.is_greeted);
        let length = self.read.get(tag..tag + 4)?.try_into().unwrap();
        let length = tag + usize::try_from(u32::from_be_bytes(length)).unwrap();
        if self.read.len() < length {
            return None;
        }
        let message: Vec<u8> = self.read.drain(..length).collect();
        if !std::mem::replace(&mut self.is_greeted, true) {
            return Some(backend::welcome());
        }
        let text = String::from_utf8_lossy(&message).into_owned();
        Some(match message[0] {
            b'Q' if text.contains("fail") => {
                [backend::error("22012", "no"), backend::ready(b'I')].concat()
            }
            b'Q' => [
                backend::notification(7, "news", "hear"),
                backend::row_description(&[("n", 25)], 0),
                backend::data_row(&[Some(b"one")]),
                backend::data_row(&[None]),
                backend::command_complete("SELECT 2"),
                backend::ready(b'I'),
            ]
            .concat(),
            _ => Vec::new(),
        })
    }
}

/// What came out of a conversation, as text.
fn converse(cuts: &[usize], polls: &[u8]) -> String {
    let directory = tempfile();
    let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).unwrap();
    let dsn = format!("host={} port=5432 user=x", directory.display());
    let mut connection = Connection::connect_start(dsn).unwrap();
    // The socket is made by the first poll.
    let mut state = connection.poll();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut peer = Peer { stream, read: Vec::new(), is_greeted: false, answers: Vec::new() };
    let mut told = String::new();
    let mut statements = ["select", "fail", "select"].into_iter();
    let (mut cuts, mut polls) = (cuts.iter().cycle(), polls.iter().cycle());
    loop {
        match state {
            Ok(PollState::Ok) | Err(_) => {
                let error = state.as_ref().err().map(ToString::to_string);
                let results: Vec<_> = connection.take_results();
                write!(told, "{error:?} {results:?} ").unwrap();
                told.extend(connection.notifies().map(|heard| heard.payload().to_owned()));
                let Some(sql) = statements.next() else { break };
                state = connection.send_query(sql);
            }
            Ok(_) => {
                peer.go_on(*cuts.next().unwrap());
                let superfluous = *polls.next().unwrap();
                for _ in 0..superfluous {
                    // A poll that ends it is heeded; any other one is superfluous.
                    state = connection.poll();
                    if !matches!(state, Ok(PollState::Read | PollState::Write)) {
                        break;
                    }
                }
            }
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
    told
}

fn tempfile() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("txp-poll-{}-{number}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    directory
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_same_results_come_out(
        cuts in prop::collection::vec(1_usize..60, 1..20),
        polls in prop::collection::vec(1_u8..4, 1..10),
    ) {
        let plain = converse(&[usize::MAX], &[1]);
        prop_assert!(plain.contains("hear") && plain.contains("22012"), "{}", plain);
        prop_assert_eq!(converse(&cuts, &polls), plain);
    }
}
