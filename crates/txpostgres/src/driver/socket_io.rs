//! Reading and writing the socket of a connection, without waiting.
//!
//! ```text
//!   flush:   Flushed ──written──▶ Unflushed ──flushed──▶ Flushed
//!                                   ▲   │ no room
//!                                   │   ▼
//!                        socket ready ── Full
//!
//!   work:    clear READY ──▶ write ──▶ was it ready? ──no──▶ done: the socket will wake
//!                  ▲                        │ yes
//!                  │                        ▼
//!                  └──── more ◀──────── read ──▶ nothing left: done
//!                                           ├──▶ paused, a chunk to fetch first: READY, done
//!                                           └──▶ bound of one turn, listeners behind: READY, yield
//!            (whichever way it is done, what an answer has released is written first)
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use txpostgres_multiplex::{Effects, Input, Multiplexer};
use txpostgres_session::{Error, ErrorKind, Ticket};

use super::closing::Closing;
use super::shared::{CaughtUp, Shared};
use crate::io::ByteStream;

/// Bytes read at a time: with 8 KiB a large answer would take eight times as many system calls.
const READ_BYTES: usize = 64 * 1024;

/// Reads in one poll of a task: 16, which are 1 MiB. Then the driver yields to other tasks, however
/// much the server sends.
const READS_IN_A_TURN: u32 = 16;

/// Reads after a write has failed, for the last message of the server: 64, so that a peer cannot
/// prolong them.
const READS_AFTER_END: u32 = 64;

/// Bytes of memory that the write buffer keeps: 1 MiB. One large parameter must not cost its memory
/// for ever.
const KEPT_BYTES: usize = 1024 * 1024;

/// The socket and its buffers.
pub(super) struct SocketIo {
    /// Dropped as soon as the session is over.
    stream: Option<Box<dyn ByteStream>>,
    /// Wakes [`Shared`].
    waker: Waker,
    /// Wakes it when listeners have caught up.
    listeners_waker: Waker,
    received: Box<[u8]>,
    outgoing: BytesMut,
    /// Bytes of `outgoing` that are written.
    written: usize,
    /// The session has more to send than `outgoing`.
    has_more_output: bool,
    flush: FlushState,
    /// The stream was empty when it was looked at last.
    was_empty: bool,
    /// Bytes written that were not reported to the session yet.
    unreported: usize,
    /// Must be run when the socket's lock is released.
    pub(super) effects: Effects,
    /// Other tasks must run before more is read.
    pub(super) yields: bool,
}

/// Whether the stream holds written bytes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlushState {
    /// Everything written was handed to the transport.
    Flushed,
    /// The stream may hold bytes back until it is flushed.
    Unflushed,
    /// As `Unflushed`, and the stream is full. It wakes when it is writable.
    Full,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// The buffer was filled: there may be more.
    Full,
    /// The buffer was not filled: there is probably no more.
    Partial,
    /// A chunk of the driving call's response, which should be fetched before more is read.
    Chunk,
    /// Notifications, whose listeners have not caught up.
    Notified { more: bool },
    /// Nothing, or the end.
    Nothing,
}

impl SocketIo {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            stream: None,
            waker: Waker::from(Arc::clone(shared)),
            listeners_waker: Waker::from(Arc::new(CaughtUp(Arc::clone(shared)))),
            received: Box::default(),
            outgoing: BytesMut::new(),
            written: 0,
            has_more_output: false,
            flush: FlushState::Flushed,
            was_empty: false,
            unreported: 0,
            effects: Effects::default(),
            yields: false,
        }
    }

    /// Takes the stream of a new session. Returns that of the last one, to be dropped.
    pub(super) fn install(&mut self, stream: Box<dyn ByteStream>) -> Option<Box<dyn ByteStream>> {
        if self.received.is_empty() {
            self.received = vec![0; READ_BYTES].into_boxed_slice();
        }
        self.outgoing.clear();
        self.written = 0;
        self.unreported = 0;
        self.has_more_output = false;
        self.flush = FlushState::Flushed;
        self.was_empty = false;
        self.stream.replace(stream)
    }

    /// Takes output of the session, unless a task has promised to send it together with what
    /// follows.
    pub(super) fn gather(&mut self, shared: &Shared) {
        self.take_output(&mut shared.multiplexer());
    }

    #[inline]
    pub(super) fn take_output(&mut self, multiplexer: &mut Multiplexer) {
        self.has_more_output = !self.outgoing.is_empty()
            || multiplexer.take_output(&mut self.outgoing, &mut self.effects);
    }

    /// Whether something has arrived that was not read, as the system says now.
    pub(super) fn has_input(&self) -> Option<bool> {
        self.stream.as_ref()?.has_input()
    }

    /// Whether bytes that were taken for sending are not written yet.
    pub(super) fn is_unsent(&self) -> bool {
        self.written < self.outgoing.len()
    }

    /// Reports to the session how much was written.
    pub(super) fn report_sent(&mut self, multiplexer: &mut Multiplexer) {
        multiplexer.sent(std::mem::take(&mut self.unreported));
    }

    /// What is left to do with the stream of a closed session.
    pub(super) fn take_closing(&mut self) -> Option<Closing> {
        let stream = self.stream.take()?;
        Some(Closing::new(stream, std::mem::take(&mut self.outgoing), self.written))
    }

    /// Writes until nothing is left or the stream is full, reads until nothing is left. Returns
    /// whether answers may have been handed out.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn work(&mut self, shared: &Shared, own: Option<Ticket>) -> bool {
        let was_ready = self.write_first(shared, own);
        if !(was_ready || shared.readiness.is_ready()) {
            return self.stream.is_none();
        }
        self.read_on(shared, own)
    }

    /// Writes what is to be written. Returns whether the socket was ready, which is cleared.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write_first(&mut self, shared: &Shared, own: Option<Ticket>) -> bool {
        // Cleared before the write as well: a wake-up for writability, right after the socket was
        // full, must not be lost.
        let was_ready = shared.readiness.clear_ready();
        // A wake-up may be for writability; without one, a full socket is still full.
        if was_ready && self.flush == FlushState::Full {
            self.flush = FlushState::Unflushed;
        }
        if self.has_to_write() {
            self.write(shared, own);
        }
        was_ready
    }

    fn read_on(&mut self, shared: &Shared, own: Option<Ticket>) -> bool {
        let readiness = &shared.readiness;
        let mut last = Read::Nothing;
        let mut reads = 0;
        loop {
            if readiness.must_not_read() {
                // The call that fetches the buffered chunks finds the socket ready, and reads on.
                readiness.set_ready();
                return true;
            }
            if last == Read::Partial && !self.is_readable() {
                return true;
            }
            reads += 1;
            last = self.read(shared, own);
            let goes_on = matches!(last, Read::Full | Read::Partial) && reads < READS_IN_A_TURN;
            if goes_on {
                // Nothing more is expected behind a partial read, and READY need not be cleared.
                if last == Read::Full || self.has_to_write() {
                    self.write_first(shared, own);
                }
                continue;
            }
            if self.has_to_write() {
                // What an answer has released; no other task may come for a while.
                self.write(shared, own);
            }
            match last {
                Read::Nothing => return true,
                Read::Chunk => {
                    // The driving call is polled for more, and finds the socket ready.
                    readiness.set_ready();
                    return true;
                }
                Read::Notified { more } => {
                    // Listeners whose queues are nearly full wake the driver when they have
                    // caught up, or the watchdog reads on. The others run before more is read.
                    let waits = self.waits_for_listeners(shared);
                    if waits || more {
                        readiness.set_ready();
                    }
                    self.yields = more && !waits;
                    return true;
                }
                Read::Full | Read::Partial => {
                    readiness.set_ready();
                    self.yields = true;
                    return true;
                }
            }
        }
    }

    /// Registers the driver with the listeners that are behind. `false`: none is.
    fn waits_for_listeners(&mut self, shared: &Shared) -> bool {
        // Said before the waker is registered, which takes it back.
        shared.readiness.set_behind();
        let waker = self.listeners_waker.clone();
        let (waits, unused) = shared.multiplexer().wait_for_listeners(waker, &mut self.effects);
        drop(unused);
        if !waits {
            shared.readiness.clear_behind();
        }
        waits
    }

    /// Whether the socket may be readable; if not, it wakes the driver when it is.
    fn is_readable(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        let polled = self.stream.as_mut().map(|stream| stream.poll_readable(&mut cx));
        self.was_empty = matches!(polled, Some(Poll::Pending));
        matches!(polled, Some(Poll::Ready(())))
    }

    /// Whether there is anything to write or flush, and the stream is not known to be full.
    fn has_to_write(&self) -> bool {
        match self.flush {
            FlushState::Flushed => !self.outgoing.is_empty(),
            FlushState::Unflushed => true,
            FlushState::Full => false,
        }
    }

    #[inline]
    fn write(&mut self, shared: &Shared, own: Option<Ticket>) {
        let left = self.outgoing.get(self.written..).unwrap_or_default();
        let tried = match &mut self.stream {
            Some(stream) if !left.is_empty() => stream.try_write(left),
            _ => Ok(0),
        };
        match tried {
            // Everything is written, most of the time.
            Ok(count)
                if count == left.len()
                    && count > 0
                    && self.flush == FlushState::Flushed
                    && !self.has_more_output =>
            {
                self.note_written(count);
            }
            tried => self.write_on(shared, own, tried),
        }
    }

    /// Goes on with what the first attempt has brought.
    #[inline(never)]
    fn write_on(&mut self, shared: &Shared, own: Option<Ticket>, tried: io::Result<usize>) {
        let mut first = Some(tried);
        let mut was_partial = false;
        while !self.outgoing.is_empty() {
            let Some(stream) = &mut self.stream else {
                return;
            };
            let mut cx = Context::from_waker(&self.waker);
            let left = self.outgoing.get(self.written..).unwrap_or_default();
            let tried = if was_partial {
                // The last write was partial, so the socket is full.
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                first.take().unwrap_or_else(|| stream.try_write(left))
            };
            let written = match tried {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A stream that cannot write at once may hold bytes back.
                    self.flush = FlushState::Unflushed;
                    Pin::new(&mut *stream).poll_write(&mut cx, left)
                }
                written => Poll::Ready(written),
            };
            let error = match written {
                // Reading goes on meanwhile, so that two full sockets cannot deadlock.
                Poll::Pending => {
                    self.flush = FlushState::Full;
                    return;
                }
                Poll::Ready(Ok(count)) if count > 0 => {
                    was_partial = count < left.len();
                    self.note_written(count);
                    if self.has_more_output {
                        self.gather(shared);
                    }
                    continue;
                }
                Poll::Ready(Ok(_)) => io::Error::from(io::ErrorKind::WriteZero),
                Poll::Ready(Err(error)) => error,
            };
            self.write_failed(shared, own, &error);
        }
        if self.flush == FlushState::Unflushed {
            self.poll_flush(shared, own);
        }
    }

    fn poll_flush(&mut self, shared: &Shared, own: Option<Ticket>) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(stream).poll_flush(&mut cx) {
            Poll::Ready(Ok(())) => self.flush = FlushState::Flushed,
            Poll::Ready(Err(error)) => self.write_failed(shared, own, &error),
            // The stream wakes the driver when it can go on.
            Poll::Pending => {}
        }
    }

    /// A write has failed. If the server has sent a last message, that explains more: read it
    /// first.
    fn write_failed(&mut self, shared: &Shared, own: Option<Ticket>, error: &io::Error) {
        for _ in 0..READS_AFTER_END {
            if self.read_once(shared, own) == Read::Nothing {
                break;
            }
        }
        drop(self.lose(shared, own, Input::Lost(broken(error))));
    }

    /// Notes that `count` bytes were written. The buffer is only cleared as a whole: advancing its
    /// beginning would lose capacity.
    fn note_written(&mut self, count: usize) {
        self.unreported += count;
        self.written += count;
        if self.written >= self.outgoing.len() {
            if self.outgoing.capacity() > KEPT_BYTES {
                self.outgoing = BytesMut::new();
            }
            self.outgoing.clear();
            self.written = 0;
        }
    }

    /// Reads once and dispatches what arrived.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn read(&mut self, shared: &Shared, own: Option<Ticket>) -> Read {
        let Some(stream) = &mut self.stream else {
            return Read::Nothing;
        };
        // Not while there is more and more to read: then `poll_read` makes the task yield at times.
        let tried = if std::mem::take(&mut self.was_empty) {
            stream.try_read(&mut self.received)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        };
        let count = match tried {
            Ok(count) => count,
            Err(error) => match self.poll_read(error) {
                Poll::Pending => {
                    self.was_empty = true;
                    return Read::Nothing;
                }
                Poll::Ready(Err(error)) => {
                    drop(self.lose(shared, own, Input::Lost(broken(&error))));
                    return Read::Nothing;
                }
                Poll::Ready(Ok(count)) => count,
            },
        };
        let input = match self.received.get(..count) {
            Some(bytes) if count > 0 => Input::Bytes(bytes),
            _ => Input::End,
        };
        let is_full = count == READ_BYTES;
        let mut multiplexer = shared.multiplexer();
        let unreported = std::mem::take(&mut self.unreported);
        let received = multiplexer.received(unreported, input, own, &mut self.effects);
        shared.readiness.set_paused(received.is_over_limit);
        if received.has_ended {
            drop(multiplexer);
            self.stream = None;
            shared.alarm.wake();
            return Read::Nothing;
        }
        if self.outgoing.is_empty() {
            self.has_more_output = multiplexer.takes_output()
                && multiplexer.take_output(&mut self.outgoing, &mut self.effects);
        } else {
            self.has_more_output = true;
        }
        drop(multiplexer);
        if received.is_fetched_first {
            Read::Chunk
        } else if received.has_notified {
            Read::Notified { more: is_full || self.is_readable() }
        } else if is_full {
            Read::Full
        } else {
            Read::Partial
        }
    }

    /// The same, not inlined.
    #[inline(never)]
    fn read_once(&mut self, shared: &Shared, own: Option<Ticket>) -> Read {
        self.read(shared, own)
    }

    /// Reads, or waits for something to read, after an attempt has ended with `error`.
    #[inline(never)]
    fn poll_read(&mut self, error: io::Error) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Pending;
        };
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            return Poll::Ready(Err(error));
        }
        let mut cx = Context::from_waker(&self.waker);
        let mut buffer = ReadBuf::new(&mut self.received);
        let polled = Pin::new(stream).poll_read(&mut cx, &mut buffer);
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Ends the session for this reason. Returns the stream, to be dropped.
    pub(super) fn lose(
        &mut self,
        shared: &Shared,
        own: Option<Ticket>,
        reason: Input<'_>,
    ) -> Option<Box<dyn ByteStream>> {
        let unreported = std::mem::take(&mut self.unreported);
        shared.multiplexer().received(unreported, reason, own, &mut self.effects);
        shared.alarm.wake();
        self.stream.take()
    }
}

impl std::fmt::Debug for SocketIo {
    /// Without the bytes: they contain values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketIo").field("flush", &self.flush).finish_non_exhaustive()
    }
}

fn broken(error: &io::Error) -> Error {
    Error::new(ErrorKind::Lost, format!("the connection to the server broke: {error}"))
}
