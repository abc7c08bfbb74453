//! One line: a pipe each way, of bytes that are on their way and bytes that have arrived.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::task::Waker;

use super::Traffic;
use super::framer::{Framer, Role};

/// How a line behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Knobs {
    /// Bytes that each direction holds.
    pub(crate) up: usize,
    pub(crate) down: usize,
    /// Bytes that one write takes and one read gives, at most.
    pub(crate) write: usize,
    pub(crate) read: usize,
    /// What is written is kept back until it is flushed.
    pub(crate) keeps_back: bool,
    /// The stream can say whether it is readable, and tries writes at once.
    pub(crate) knows: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        let (up, down) = (64 * 1024, 64 * 1024);
        let (write, read) = (usize::MAX, usize::MAX);
        Self { up, down, write, read, keeps_back: false, knows: true }
    }
}

/// Bytes that a stream keeps back before it passes them on by itself.
const KEPT_BACK: usize = 8 * 1024;

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Bytes that it holds.
    capacity: usize,
    flying: VecDeque<u8>,
    arrived: VecDeque<u8>,
    /// Its writer has ended it; the end has arrived.
    ends: bool,
    has_ended: bool,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        let (flying, arrived) = (VecDeque::new(), VecDeque::new());
        Self { capacity, flying, arrived, ends: false, has_ended: false }
    }

    pub(super) fn room(&self) -> usize {
        if self.ends {
            return 0;
        }
        self.capacity.saturating_sub(self.flying.len() + self.arrived.len())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.flying.extend(bytes);
    }

    pub(super) fn end(&mut self) {
        self.ends = true;
    }

    /// Lets bytes arrive, and the end behind the last of them. Says how many did, the end counting
    /// as one.
    pub(super) fn deliver(&mut self, most: usize) -> usize {
        let count = most.min(self.flying.len());
        self.arrived.extend(self.flying.drain(..count));
        if count < most && self.ends && !self.has_ended && self.flying.is_empty() {
            self.has_ended = true;
            return count + 1;
        }
        count
    }

    /// Reads everything that has arrived; says whether there was anything.
    pub(super) fn read_all(&mut self, into: &mut Vec<u8>) -> bool {
        into.extend(self.arrived.drain(..));
        !into.is_empty()
    }

    /// Whether its reader has come to the end.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended && self.arrived.is_empty()
    }
}

/// See the file's text.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) knobs: Knobs,
    pub(super) framer: Framer,
    /// What the client's end keeps back.
    kept_back: Vec<u8>,
    pub(super) read_waker: Option<Waker>,
    pub(super) write_waker: Option<Waker>,
    /// Wakers that were replaced, to be dropped when the network is not locked.
    pub(super) stale: Vec<Waker>,
    /// How often it says that it is readable though it is not.
    pub(super) ghosts: u32,
    /// It carries a CancelRequest that was sent before the request that it is for.
    pub(super) awaits: bool,
    /// Where each ReadyForQuery ends that the client has not read, and how many it has.
    pub(super) ready: VecDeque<u64>,
    answered: u64,
    /// It was reset.
    broken: bool,
    /// The client has dropped its end.
    pub(super) is_dropped: bool,
    /// The client has seen the end.
    saw_end: bool,
    pub(super) taken: u64,
    /// For whose answers the bytes are that the client has not read, and how many it has read of
    /// each while it could still ask for something. What is read behind the end of its own writing
    /// is discarded: it waits for the server's end.
    owners: VecDeque<(u32, usize)>,
    read_of: BTreeMap<u32, u64>,
}

impl Line {
    pub(super) fn new(knobs: Knobs) -> Self {
        Self {
            up: Pipe::new(knobs.up),
            down: Pipe::new(knobs.down),
            knobs,
            framer: Framer::default(),
            kept_back: Vec::new(),
            read_waker: None,
            write_waker: None,
            stale: Vec::new(),
            ghosts: 0,
            awaits: false,
            ready: VecDeque::new(),
            answered: 0,
            broken: false,
            is_dropped: false,
            saw_end: false,
            taken: 0,
            owners: VecDeque::new(),
            read_of: BTreeMap::new(),
        }
    }

    pub(super) fn role(&self) -> Role {
        self.framer.role
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether it carries a CancelRequest for the session on that line, and the client cannot know
    /// that it was heard.
    pub(super) fn is_cancelling(&self, session: usize) -> bool {
        self.role() == Role::Cancel(session) && !self.saw_end
    }

    pub(super) fn traffic(&self) -> Traffic {
        let ends = |pipe: &Pipe| pipe.ends && !pipe.has_ended;
        Traffic {
            up: self.up.flying.len(),
            down: self.down.flying.len(),
            unread: self.down.arrived.len(),
            ends: ends(&self.up) || ends(&self.down),
        }
    }

    pub(super) fn taken_for(&self, op: u32) -> u64 {
        self.read_of.get(&op).copied().unwrap_or(0)
    }

    pub(super) fn note_owner(&mut self, owner: u32, count: usize) {
        match self.owners.back_mut() {
            Some((last, counted)) if *last == owner => *counted += count,
            _ => self.owners.push_back((owner, count)),
        }
    }

    /// Breaks; of what was written `kept` bytes arrive.
    pub(super) fn reset(&mut self, kept: usize) {
        self.broken = true;
        self.kept_back.clear();
        self.up.flying.truncate(kept);
        self.up.deliver(usize::MAX);
        self.up.ends = true;
        self.up.has_ended = true;
        self.down.flying.clear();
        self.down.arrived.clear();
        self.down.ends = true;
    }

    // --- The client's end ---

    /// Takes bytes, or keeps the waker until there is room.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        waker: Option<&Waker>,
    ) -> io::Result<Option<usize>> {
        if self.broken || self.up.ends {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.knobs.keeps_back && self.kept_back.len() < KEPT_BACK {
            let count = bytes.len().min(KEPT_BACK - self.kept_back.len()).min(self.knobs.write);
            self.kept_back.extend(bytes.iter().take(count));
            return Ok(Some(count));
        }
        if !self.pass_on(waker) {
            return Ok(None);
        }
        let count = bytes.len().min(self.up.room()).min(self.knobs.write);
        if count == 0 && !bytes.is_empty() {
            self.wait_for_room(waker);
            return Ok(None);
        }
        self.up.write(bytes.get(..count).unwrap_or_default());
        Ok(Some(count))
    }

    /// Passes on what it keeps back; `false` if there is no room for all of it.
    fn pass_on(&mut self, waker: Option<&Waker>) -> bool {
        let count = self.kept_back.len().min(self.up.room());
        let passed: Vec<u8> = self.kept_back.drain(..count).collect();
        self.up.write(&passed);
        if !self.kept_back.is_empty() {
            self.wait_for_room(waker);
        }
        self.kept_back.is_empty()
    }

    /// Keeps the waker of a writer; a write that is only tried has none.
    fn wait_for_room(&mut self, waker: Option<&Waker>) {
        if let Some(waker) = waker {
            self.stale.extend(self.write_waker.replace(waker.clone()));
        }
    }

    fn wait_for_bytes(&mut self, waker: &Waker) {
        self.stale.extend(self.read_waker.replace(waker.clone()));
    }

    pub(super) fn flush(&mut self, waker: &Waker) -> io::Result<bool> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(self.pass_on(Some(waker)))
    }

    pub(super) fn shut(&mut self, waker: &Waker) -> io::Result<bool> {
        if !self.flush(waker)? {
            return Ok(false);
        }
        self.up.end();
        Ok(true)
    }

    /// Reads what has arrived; `None` and the waker is kept if there is nothing, 0 bytes at the
    /// end.
    pub(super) fn read(&mut self, most: usize, waker: &Waker) -> io::Result<Option<Vec<u8>>> {
        self.ghosts = 0;
        if self.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = self.down.arrived.len().min(most).min(self.knobs.read.max(1));
        if count == 0 {
            if self.down.has_ended() {
                self.saw_end = true;
                return Ok(Some(Vec::new()));
            }
            self.wait_for_bytes(waker);
            return Ok(None);
        }
        self.taken += count as u64;
        self.credit(count);
        Ok(Some(self.down.arrived.drain(..count).collect()))
    }

    /// Whether every request that was begun is answered, as far as the client has read.
    pub(super) fn is_idle(&self) -> bool {
        self.framer.requests == self.answered
    }

    /// Whether a request was begun before the one before it was answered, as far as the client has
    /// read.
    pub(super) fn overlaps(&self) -> bool {
        self.framer.requests > self.answered + 1
    }

    fn credit(&mut self, mut count: usize) {
        while self.ready.front().is_some_and(|&offset| offset <= self.taken) {
            self.ready.pop_front();
            self.answered += 1;
        }
        while let Some((owner, left)) = self.owners.front_mut() {
            let read = count.min(*left);
            (*left, count) = (*left - read, count - read);
            if *owner > 0 && read > 0 && !self.up.ends {
                *self.read_of.entry(*owner).or_default() += read as u64;
            }
            if *left > 0 {
                return;
            }
            self.owners.pop_front();
        }
    }

    /// Whether a read may find something; else the waker is kept.
    pub(super) fn is_readable(&mut self, waker: &Waker) -> bool {
        if self.ghosts > 0 || self.broken || !self.down.arrived.is_empty() || self.down.has_ended()
        {
            return true;
        }
        self.wait_for_bytes(waker);
        false
    }

    pub(super) fn drop_end(&mut self) {
        self.is_dropped = true;
        self.stale.extend(self.read_waker.take());
        self.stale.extend(self.write_waker.take());
        let _ = self.pass_on(None);
        self.up.end();
    }
}
