//! The model server: PostgreSQL's side of the protocol, for what the simulator's callers ask.
//!
//! It has no clock, no thread and no randomness; it does one thing each time it is told to.

mod act;
mod backend;
mod copy;
mod cursor;
mod database;
mod describe;
mod happened;
mod output;
mod portal;
mod run;
mod statement;
mod transaction;
mod work;

use std::collections::BTreeMap;

use crate::net::Net;
use crate::wire::{self, Fields};

use backend::{Around, Backend};
use database::Database;

pub(crate) use copy::{BAD_LINE, PLANNED};
pub(crate) use happened::{Happened, Target};
pub(crate) use output::Output;
pub(crate) use work::{Fail, Work};

/// The version of the protocol that a StartupMessage asks for: 3.x.
const MAJOR_VERSION: u32 = 3;
/// The code of a CancelRequest.
const CANCEL_REQUEST: u32 = 80_877_102;
/// The process of the session on line 0 is this one, and so on.
const FIRST_PROCESS: u32 = 1_000;

/// The server and its peers.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) database: Database,
    peers: BTreeMap<usize, Peer>,
    /// CancelRequests are not read.
    pub(crate) hangs: bool,
    pub(crate) happened: Vec<Happened>,
}

/// What is at the server's end of a line.
#[derive(Debug)]
enum Peer {
    /// It has not said what it wants.
    Stranger(Vec<u8>),
    Session(Box<Backend>),
    Gone,
}

impl Server {
    /// Does up to `most` things on this line; says how many there were to do.
    pub(crate) fn serve(&mut self, net: &Net, line: usize, most: u32, now: u64) -> u32 {
        let (mut done, from) = (0, self.happened.len());
        while done < most && self.serve_once(net, line, now) {
            done += 1;
        }
        self.note_ready(net, from);
        done
    }

    fn serve_once(&mut self, net: &Net, line: usize, now: u64) -> bool {
        let peer = self.peers.entry(line).or_insert_with(|| Peer::Stranger(Vec::new()));
        let Self { database, happened, .. } = self;
        let mut around = Around { database, now, happened };
        match peer {
            Peer::Gone => false,
            Peer::Stranger(input) => {
                if self.hangs && net.is_cancel(line) {
                    return false;
                }
                net.read_up(line, input);
                let ended = net.up_has_ended(line);
                match wire::take_message(input, true) {
                    Some(message) => self.greet(net, line, &message.body),
                    None if ended => {
                        net.close_down(line);
                        *peer = Peer::Gone;
                    }
                    None => return false,
                }
                true
            }
            Peer::Session(backend) => {
                net.read_up(line, &mut backend.input);
                if !net.is_held(line) {
                    backend.output.discard();
                }
                let mut worked = backend.step(&mut around);
                worked |= net.write_down(line, &mut backend.output);
                // A statement that runs is run to its end, whether or not its client is there.
                if !worked && backend.is_waiting() && net.up_has_ended(line) {
                    happened.push(Happened::Left { line, politely: false });
                    let mut around = Around { database, now, happened };
                    backend.end(&mut around);
                    worked = true;
                }
                if backend.is_over && backend.output.is_empty() {
                    net.close_down(line);
                    *peer = Peer::Gone;
                }
                worked
            }
        }
    }

    /// Tells the network where answers end.
    fn note_ready(&self, net: &Net, from: usize) {
        for happened in self.happened.iter().skip(from) {
            if let Happened::Answered { line, offset, .. } = happened {
                net.note_ready(*line, *offset);
            }
        }
    }

    /// The first packet of a line: a session, or a CancelRequest.
    fn greet(&mut self, net: &Net, line: usize, body: &[u8]) {
        let mut fields = Fields(body);
        let code = fields.long().unwrap_or(0);
        let process = FIRST_PROCESS + u32::try_from(line).unwrap_or(0);
        if code == CANCEL_REQUEST {
            self.cancel(fields.long().unwrap_or(0), fields.long().unwrap_or(0));
            net.close_down(line);
            self.peers.insert(line, Peer::Gone);
        } else if code >> 16 == MAJOR_VERSION {
            let mut backend = Backend::new(process, line);
            backend.output.put(0, |out| wire::put_welcome(out, process, key_of(process)));
            self.peers.insert(line, Peer::Session(Box::new(backend)));
            self.happened.push(Happened::Opened { line });
        } else {
            self.happened.push(Happened::Broken { why: format!("a packet of code {code}") });
            net.close_down(line);
            self.peers.insert(line, Peer::Gone);
        }
    }

    fn cancel(&mut self, process: u32, key: u32) {
        let line = usize::try_from(process.wrapping_sub(FIRST_PROCESS)).unwrap_or(usize::MAX);
        let target = match self.peers.get_mut(&line) {
            Some(Peer::Session(backend)) if key == key_of(process) => backend.cancel(),
            _ => None,
        };
        self.happened.push(target.map_or(Happened::Missed, |target| Happened::Struck { target }));
    }

    /// Ends a session, as an administrator does.
    pub(crate) fn terminate(&mut self, line: usize, now: u64) {
        let Self { database, happened, .. } = self;
        if let Some(Peer::Session(backend)) = self.peers.get_mut(&line) {
            backend.terminate(&mut Around { database, now, happened });
        }
    }

    /// Notifies from another session.
    pub(crate) fn notify(&mut self, channel: &str, payload: &str) {
        self.database.notify(1, channel, payload);
    }

    /// When the next statement that sleeps goes on.
    pub(crate) fn wakes_at(&self, now: u64) -> Option<u64> {
        let wakes = self.peers.values().filter_map(|peer| match peer {
            Peer::Session(backend) => backend.wakes_at().filter(|&wake| wake > now),
            _ => None,
        });
        wakes.min()
    }

    /// Whether the session on this line listens to a channel.
    pub(crate) fn listens(&self, line: usize, channel: &str) -> bool {
        match self.peers.get(&line) {
            Some(Peer::Session(backend)) => self.database.listens(backend.pid, channel),
            _ => false,
        }
    }
}

/// The secret of a session.
fn key_of(process: u32) -> u32 {
    process.wrapping_mul(2_654_435_761)
}
