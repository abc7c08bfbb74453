//! The network of a run: every line between the client and the server, in memory, moved only when
//! the run says so.

mod dial;
mod framer;
mod line;
mod stream;

use std::io;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use crate::server::Output;
pub(crate) use dial::Dialer;
use framer::Role;
pub(crate) use line::Knobs;
use line::Line;

/// A handle to the network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Net(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// How the next lines are made.
    knobs: Knobs,
    /// Requests may not overlap.
    single: bool,
    /// Dials to be refused.
    refusals: u32,
    /// Dials do not end.
    holds: bool,
    dialers: Vec<Waker>,
    /// What the client must not have done.
    violations: Vec<String>,
    /// What the client did, if that is kept.
    log: Option<Vec<String>>,
}

/// Both directions of a line, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    /// Written by the client and on its way.
    pub(crate) up: usize,
    /// Written by the server and on its way.
    pub(crate) down: usize,
    /// Arrived at the client and not read.
    pub(crate) unread: usize,
    /// An end of either direction is on its way.
    pub(crate) ends: bool,
}

impl Net {
    // --- For the run ---

    /// How many lines there have been.
    pub(crate) fn lines(&self) -> usize {
        self.0.lock().lines.len()
    }

    /// Sets how lines that are made from now on behave.
    pub(crate) fn set_knobs(&self, knobs: Knobs) {
        self.0.lock().knobs = knobs;
    }

    /// Whether a request may begin only when the one before it is answered.
    pub(crate) fn set_single(&self, single: bool) {
        self.0.lock().single = single;
    }

    pub(crate) fn traffic(&self, line: usize) -> Traffic {
        self.0.lock().lines.get(line).map(Line::traffic).unwrap_or_default()
    }

    /// Lets bytes arrive at the server, and then the end if it is next; says how many did.
    pub(crate) fn deliver_up(&self, line: usize, most: usize) -> usize {
        self.with(line, |line, _| line.up.deliver(most)).unwrap_or(0)
    }

    /// Lets bytes arrive at the client, and then the end if it is next; says how many did.
    pub(crate) fn deliver_down(&self, line: usize, most: usize) -> usize {
        let delivered = self.with(line, |line, wakers| {
            let count = line.down.deliver(most);
            if count > 0 {
                wakers.extend(line.read_waker.take());
            }
            count
        });
        delivered.unwrap_or(0)
    }

    /// Wakes the tasks that wait for this line, though there is nothing to be had.
    pub(crate) fn ghost(&self, line: usize) {
        self.with(line, |line, wakers| {
            line.ghosts = 1;
            wakers.extend(line.read_waker.take());
            wakers.extend(line.write_waker.take());
        });
    }

    /// Limits what one write takes and one read gives.
    pub(crate) fn set_limits(&self, line: usize, write: usize, read: usize) {
        self.with(line, |line, wakers| {
            (line.knobs.write, line.knobs.read) = (write, read);
            wakers.extend(line.write_waker.take());
        });
    }

    /// Breaks the line. Of what the client wrote, `kept` bytes still arrive at the server.
    pub(crate) fn reset(&self, line: usize, kept: usize) {
        self.with(line, |line, wakers| {
            line.reset(kept);
            wakers.extend(line.read_waker.take());
            wakers.extend(line.write_waker.take());
        });
    }

    /// The next dials are refused.
    pub(crate) fn refuse(&self, count: u32) {
        self.0.lock().refusals = count;
    }

    /// Whether dials wait from now on.
    pub(crate) fn hold_dials(&self, holds: bool) {
        let mut state = self.0.lock();
        state.holds = holds;
        let dialers = std::mem::take(&mut state.dialers);
        drop(state);
        dialers.into_iter().for_each(Waker::wake);
    }

    /// Bytes of the line that the client has read.
    pub(crate) fn taken(&self, line: usize) -> u64 {
        self.0.lock().lines.get(line).map_or(0, |line| line.taken)
    }

    /// Bytes of the answers to this operation that the client has read.
    pub(crate) fn taken_for(&self, op: u32) -> u64 {
        self.0.lock().lines.iter().map(|line| line.taken_for(op)).sum()
    }

    /// The line of the newest session.
    pub(crate) fn session(&self) -> Option<usize> {
        self.0.lock().lines.iter().rposition(|line| line.role() == Role::Session)
    }

    /// Whether the line carries a CancelRequest.
    pub(crate) fn is_cancel(&self, line: usize) -> bool {
        let state = self.0.lock();
        state.lines.get(line).is_some_and(|line| matches!(line.role(), Role::Cancel(_)))
    }

    /// Whether the client still holds its end, and can read what is sent.
    pub(crate) fn is_held(&self, line: usize) -> bool {
        self.0.lock().lines.get(line).is_some_and(|line| !line.is_dropped && !line.is_broken())
    }

    /// Whether the client has let go of its end.
    pub(crate) fn is_dropped(&self, line: usize) -> bool {
        self.0.lock().lines.get(line).is_none_or(|line| line.is_dropped)
    }

    /// What the client does is noted from now on.
    pub(crate) fn keep_log(&self) {
        self.0.lock().log = Some(Vec::new());
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        self.0.lock().log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        if let Some(log) = &mut self.0.lock().log {
            log.push(what.to_string());
        }
    }

    /// What the client must not have done.
    pub(crate) fn take_violation(&self) -> Option<String> {
        self.0.lock().violations.pop()
    }

    // --- For the server ---

    /// Reads everything that has arrived.
    pub(crate) fn read_up(&self, line: usize, into: &mut Vec<u8>) {
        self.with(line, |line, wakers| {
            if line.up.read_all(into) {
                wakers.extend(line.write_waker.take());
            }
        });
    }

    /// Whether the client has ended its direction, and everything before that was read.
    pub(crate) fn up_has_ended(&self, line: usize) -> bool {
        self.0.lock().lines.get(line).is_none_or(|line| line.up.has_ended() || line.is_broken())
    }

    /// Writes as much as there is room for; says whether there was any.
    pub(crate) fn write_down(&self, line: usize, output: &mut Output) -> bool {
        let written = self.with(line, |line, _| {
            let mut worked = false;
            while let Some((owner, bytes)) = output.take(line.down.room()) {
                line.down.write(&bytes);
                line.note_owner(owner, bytes.len());
                worked = true;
            }
            worked
        });
        written.unwrap_or(false)
    }

    /// The server has said ReadyForQuery in the bytes up to this one.
    pub(crate) fn note_ready(&self, line: usize, offset: u64) {
        self.with(line, |line, _| line.ready.push_back(offset));
    }

    /// The server hangs up, after what it has written.
    pub(crate) fn close_down(&self, line: usize) {
        self.with(line, |line, _| line.down.end());
    }

    // --- Inside ---

    /// Works on a line, and wakes when no lock is held.
    fn with<T>(
        &self,
        line: usize,
        work: impl FnOnce(&mut Line, &mut Vec<Waker>) -> T,
    ) -> Option<T> {
        let mut wakers = Vec::new();
        let mut state = self.0.lock();
        let line = state.lines.get_mut(line)?;
        let done = work(line, &mut wakers);
        // A waker may be the last that holds a connection, and with it a line.
        let replaced = std::mem::take(&mut line.stale);
        drop(state);
        drop(replaced);
        wakers.into_iter().for_each(Waker::wake);
        Some(done)
    }

    /// Makes a line; gives its number.
    fn connect(&self) -> usize {
        let mut state = self.0.lock();
        let line = Line::new(state.knobs);
        state.lines.push(line);
        state.lines.len() - 1
    }

    /// The client writes. While a CancelRequest for this session is on its way, no request may
    /// begin.
    fn write(
        &self,
        number: usize,
        bytes: &[u8],
        waker: Option<&Waker>,
    ) -> io::Result<Option<usize>> {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        let Some(line) = state.lines.get_mut(number) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let Some(count) = line.write(bytes, waker)? else {
            return Ok(None);
        };
        let was_unknown = line.role() == Role::Unknown;
        let began = line.framer.feed(bytes.get(..count).unwrap_or_default());
        let role = line.role();
        if state.single && line.overlaps() {
            state.violations.push(format!("a request left on line {number} behind another"));
        }
        if let (true, Role::Cancel(session)) = (was_unknown, role) {
            let is_idle = state.lines.get(session).is_none_or(Line::is_idle);
            if let Some(line) = state.lines.get_mut(number) {
                line.awaits = is_idle;
            }
        }
        let mut others = state.lines.iter_mut().filter(|other| other.is_cancelling(number));
        if let Some(tag) = began
            // The request that is to be cancelled may not have left yet.
            && others.any(|other| !std::mem::take(&mut other.awaits))
        {
            state.violations.push(format!(
                "request {:?} left on line {number} while a CancelRequest was on its way",
                char::from(tag)
            ));
        }
        Ok(Some(count))
    }
}
