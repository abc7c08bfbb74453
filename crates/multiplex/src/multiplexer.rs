//! Many callers on one session: who may submit, who waits for which answer, and the effects of what
//! arrives.
//!
//! ```text
//!   Call ──admit, submit──▶ ┌─────────────┐ ──take_output──▶  driver writes
//!        ◀──poll, fetch──── │ Multiplexer │
//!   EndTransaction, Round ▶ └─────────────┘ ◀──received────── driver reads
//! ```
//!
//! A connection has one multiplexer for all its life, and sessions one after the other. It knows no
//! socket, no clock and no runtime. It is used under a lock that is held for moments only, never
//! across a system call, and none of the user's code runs under it: see [`Effects`].

mod access;
mod cancelling;
mod dispatch;
mod listening;

use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::BytesMut;
use txpostgres_session::{
    Answer, CancelKey, Error, ErrorKind, NextStep, Query, Request, Result, ServerError, Session,
    Ticket, TransactionStatus,
};

pub use access::{Access, EndStart};
pub(crate) use cancelling::no_key;
pub use cancelling::{CancelStart, OnGraceExpired};
pub use dispatch::{Input, Received};

use crate::access_lock::{AccessLock, LockId};
use crate::effects::Effects;
use crate::listen::Listeners;
use crate::operation::Operation;
use crate::response_buffer::{Capacity, Next, ResponseBuffer};
use crate::slots::{Driven, Settled, Slot, SlotId, Slots};
use crate::transaction::Transaction;
use cancelling::PendingCancel;
use listening::Reconciliation;

/// A larger response is fetched in chunks of this size by calls that can: 64 KiB, as much as is
/// read at a time.
const CHUNK_BYTES: u32 = 64 * 1024;

/// Ticks after which a warning is logged about a stream that is not read while calls wait behind
/// it: 500, which are 5 s.
const STALLED_TICKS: u32 = 500;

/// See the module's text.
pub struct Multiplexer {
    session: Option<Box<Session>>,
    availability: Availability,
    /// Why the last session ended; `None` if the user closed it.
    last_end: Option<Error>,
    /// The latest lease that was given out when a session ended.
    lost_lease: Option<LockId>,
    /// How many sessions there were.
    generation: u64,
    lock: AccessLock,
    transaction: Option<Transaction>,
    slots: Slots,
    /// A task has promised to send pending output.
    is_flush_promised: bool,
    pending_cancel: Option<PendingCancel>,
    listeners: Arc<Listeners>,
    reconciliation: Reconciliation,
    /// A COPY whose task waits for data to be sent.
    feeding: Option<SlotId>,
    /// For how many ticks calls have waited behind a stream that is not read.
    stalled_ticks: u32,
    /// Notifications were dispatched that their listeners had no time to take.
    has_notified: bool,
}

/// Whether there is a session to use, and if not, why.
#[derive(Debug)]
enum Availability {
    /// Never opened, or closed by the user.
    Closed,
    Opening,
    Open,
    /// The session ended for this reason.
    Dead(Error),
}

/// How a call gets its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseMode {
    /// As a whole.
    Buffered,
    /// In chunks as they arrive, of which this many bytes may be buffered.
    Streamed(usize),
    /// In chunks if it is large; the rest comes with the end.
    Chunked,
}

/// Whether a COPY takes more data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyRoom {
    /// More data may be sent.
    Free,
    /// No more data before some was sent.
    Full,
    /// The COPY takes no more data.
    Over,
}

/// What the watchdog must do after a [`tick`](Multiplexer::tick).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Send pending output: the task that has promised it was not polled.
    pub flush: bool,
    /// Look again after another interval.
    pub again: bool,
}

impl Multiplexer {
    /// Creates a multiplexer without a session.
    pub fn new(listeners: Arc<Listeners>) -> Self {
        Self {
            session: None,
            availability: Availability::Closed,
            last_end: None,
            lost_lease: None,
            generation: 0,
            lock: AccessLock::default(),
            transaction: None,
            slots: Slots::default(),
            is_flush_promised: false,
            pending_cancel: None,
            listeners,
            reconciliation: Reconciliation::Agreed,
            feeding: None,
            stalled_ticks: 0,
            has_notified: false,
        }
    }

    // --- The life of a session ---

    /// A session is about to be opened.
    pub fn opening(&mut self) {
        let before = std::mem::replace(&mut self.availability, Availability::Opening);
        self.last_end = match before {
            Availability::Dead(reason) => Some(reason),
            _ => None,
        };
    }

    /// The session could not be opened.
    pub fn not_opened(&mut self) {
        if let Availability::Opening = self.availability {
            self.availability = Availability::Closed;
        }
    }

    /// Takes an open session, which follows the last one.
    pub fn install(&mut self, session: Session, effects: &mut Effects) {
        let mut session = Box::new(session);
        if let Some(last) = &mut self.session {
            session.follow(last);
        }
        self.session = Some(session);
        self.availability = Availability::Open;
        self.generation = self.listeners.begin();
        self.is_flush_promised = false;
        self.reconciliation = Reconciliation::Due;
        // The session may have ended with the same bytes that opened it.
        self.dispatch(None, effects);
    }

    /// Which session of the connection this is, the first being 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The last session, open or not.
    #[inline]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Whether there is no session to use.
    #[inline]
    pub fn is_closed(&self) -> bool {
        !matches!(self.availability, Availability::Open)
    }

    /// Whether a session is open or being opened.
    pub fn is_in_use(&self) -> bool {
        matches!(self.availability, Availability::Open | Availability::Opening)
    }

    /// Whether a session is being opened.
    pub fn is_opening(&self) -> bool {
        matches!(self.availability, Availability::Opening)
    }

    /// The session, if it can be used.
    #[inline]
    pub(crate) fn open_session(&mut self) -> Result<&mut Session> {
        if self.session.is_none() || self.is_closed() {
            return Err(self.why_closed());
        }
        self.session.as_deref_mut().ok_or_else(closed)
    }

    /// Whether there is a session to use.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(self.why_closed()) } else { Ok(()) }
    }

    /// Why a call cannot be made.
    #[cold]
    pub fn why_closed(&self) -> Error {
        match &self.availability {
            Availability::Dead(reason) => Error::connection_dead(reason),
            Availability::Opening => {
                Error::new(ErrorKind::Closed, "the connection is not open yet")
            }
            Availability::Closed | Availability::Open => closed(),
        }
    }

    /// The user closes the session: calls in flight end with an error, and Terminate can be sent.
    pub fn close(&mut self, effects: &mut Effects) {
        self.is_flush_promised = false;
        if let Some(session) = &mut self.session {
            session.close();
        }
        self.dispatch(None, effects);
        self.ended(Availability::Closed, effects);
    }

    /// The session is over.
    fn ended(&mut self, availability: Availability, effects: &mut Effects) {
        self.lost_lease = self.lost_lease.max(self.lock.lease());
        self.availability = availability;
        // The request has settled, and its waker was taken.
        self.pending_cancel = None;
        self.lock.wake_all(effects);
        if let Some(transaction) = self.transaction.take() {
            transaction.wake_all(effects);
        }
        let why = self.why_closed();
        self.listeners.ended(self.generation, &why, effects);
    }

    /// The cancel key, if a request is outstanding.
    pub fn running(&self) -> Option<CancelKey> {
        let session = self.session.as_ref().filter(|_| !self.is_closed())?;
        (session.outstanding() > 0).then(|| session.cancel_key().cloned()).flatten()
    }

    /// The transaction status that the server reported last.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.session
            .as_ref()
            .map_or(TransactionStatus::Idle, |session| session.transaction_status())
    }

    /// The newest notices, the oldest first.
    pub fn notices(&self) -> Vec<ServerError> {
        self.session.as_ref().map_or_else(Vec::new, |session| session.notices().cloned().collect())
    }

    // --- Requests ---

    /// Gives a slot to a request that the session has just taken.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn expect(
        &mut self,
        ticket: Ticket,
        mode: ResponseMode,
        is_exclusive: bool,
        waker: Waker,
    ) -> SlotId {
        if is_exclusive && let Some(session) = &mut self.session {
            session.make_exclusive(ticket);
        }
        let slot = match (mode, &mut self.session) {
            (ResponseMode::Streamed(limit), Some(session)) => {
                session.stream(ticket, 0);
                let capacity =
                    if is_exclusive { Capacity::Exclusive(limit) } else { Capacity::Shared(limit) };
                Slot::Buffered(Box::new(ResponseBuffer::new(capacity, Some(waker))))
            }
            (ResponseMode::Chunked, Some(session)) => {
                session.stream(ticket, CHUNK_BYTES);
                Slot::Waiting(Some(waker))
            }
            _ => Slot::Waiting(Some(waker)),
        };
        self.insert(ticket, slot)
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn insert(&mut self, ticket: Ticket, slot: Slot) -> SlotId {
        if self.transaction.as_ref().is_some_and(Transaction::is_exclusive)
            && slot.is_cancellable()
            && let Some(session) = &mut self.session
        {
            session.make_exclusive(ticket);
        }
        self.slots.insert(ticket, slot)
    }

    /// Submits a request that cleans up after a call, if it may be sent. Its answer is ignored.
    pub fn tell(&mut self, access: Access, request: Request<'_>) -> bool {
        if !self.is_admitted(access) {
            return false;
        }
        let Ok(Ok(ticket)) = self.open_session().map(|session| session.submit(request)) else {
            return false;
        };
        self.insert(ticket, Slot::Cleanup);
        true
    }

    /// Abandons a request and submits `by` directly behind it as compensation, if it may be sent.
    /// `by` is exclusive, so it is sent only if the request succeeded, and withdrawn if it failed.
    pub fn undo(&mut self, access: Access, id: SlotId, by: Request<'_>, effects: &mut Effects) {
        let is_in_flight = self.slots.is_in_flight(id);
        let has_failed = matches!(self.slots.get(id), Some(Slot::Answered((Err(_), _))));
        if has_failed || !self.is_admitted(access) {
            return;
        }
        let Ok(Ok(undoing)) = self.open_session().map(|session| session.submit(by)) else {
            return;
        };
        self.insert(undoing, Slot::Cleanup);
        if is_in_flight {
            if let Some(session) = &mut self.session {
                session.make_exclusive(undoing);
            }
            let before = self.slots.replace(id, Slot::UndoneBy(undoing));
            discard(before, effects);
        }
    }

    /// How many requests are outstanding.
    #[inline]
    pub fn outstanding(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.outstanding())
    }

    /// Polls for the answer of a request. The waiting task's `waker` is taken if it is not
    /// registered yet; `Err(NeedsWaker)` requests one, cloned outside of the lock.
    // On the path of every query; as a call it would return the answer in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn poll(
        &mut self,
        id: SlotId,
        current: &Waker,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Result<Poll<Settled>, NeedsWaker> {
        match self.slots.get(id) {
            Some(Slot::Answered(_)) => match self.slots.free(id) {
                Slot::Answered(settled) => Ok(Poll::Ready(settled)),
                _ => Ok(Poll::Pending),
            },
            Some(Slot::Waiting(known)) => {
                if !known.as_ref().is_some_and(|known| known.will_wake(current)) {
                    let waker = waker.take().ok_or(NeedsWaker)?;
                    effects.discard(known.replace(waker));
                }
                Ok(Poll::Pending)
            }
            // Fetched already: the future is polled after its end.
            _ => Ok(Poll::Pending),
        }
    }

    /// Polls for the next chunk of a response, or its end, like [`poll`](Self::poll).
    pub(crate) fn poll_chunk(
        &mut self,
        id: SlotId,
        current: &Waker,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Result<Poll<Next>, NeedsWaker> {
        let Some(Slot::Buffered(buffer)) = self.slots.get(id) else {
            return Ok(self.poll(id, current, waker, effects)?.map(Next::End));
        };
        let mut shared = None;
        if !buffer.knows(current) {
            shared = Some(Arc::new(waker.take().ok_or(NeedsWaker)?));
        }
        let next = buffer.poll(&mut shared);
        effects.discard(shared.and_then(Arc::into_inner));
        if let Poll::Ready(Next::End(_)) = next {
            discard(self.slots.free(id), effects);
        }
        Ok(next)
    }

    /// Whether a call that fetches chunks should have the socket read on: its buffer has room, and
    /// the oldest buffer is not over its limit.
    pub(crate) fn may_read_on(&mut self, id: SlotId) -> bool {
        let has_room = self.buffer(id).is_some_and(|buffer| buffer.has_room());
        has_room && !self.is_over_limit()
    }

    /// The buffer of a response that is fetched in chunks.
    fn buffer(&mut self, id: SlotId) -> Option<&mut ResponseBuffer> {
        match self.slots.get(id)? {
            Slot::Buffered(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// Takes back an answer that was read, for its memory to be reused.
    #[inline]
    pub(crate) fn recycle(&mut self, answer: Box<Answer>) {
        if let Some(session) = &mut self.session {
            session.recycle(answer);
        }
    }

    /// Applies the answer to a step of a query.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn settled_step(
        &mut self,
        operation: &mut Operation,
        sql: &str,
        (outcome, status): Settled,
    ) -> NextStep {
        match &mut self.session {
            Some(session) => operation.settled(session, sql, (outcome, status)),
            None => NextStep::Done(outcome),
        }
    }

    /// Clears the cache of the database's own types.
    pub fn forget_types(&mut self) {
        if let Some(session) = &mut self.session {
            session.forget_types();
        }
    }

    /// Nothing waits for the answers of this query any more.
    pub(crate) fn abandon(&mut self, query: &mut Query) {
        if let Some(session) = &mut self.session {
            query.abandon(session);
        }
    }

    /// Whether a call of this task may wait for the requests in flight.
    ///
    /// # Errors
    ///
    /// It would wait for a stream or a COPY that this very task does not fetch at the moment.
    pub fn check_stalled(&self, waker: &Waker) -> Result<()> {
        match self.slots.oldest_buffer() {
            Some(buffer) if buffer.is_left_by(waker) => Err(Error::new(
                ErrorKind::Request,
                "the call would wait behind a stream or a COPY of the same task",
            )
            .with_hint("end or drop that first, or use another connection")),
            _ => Ok(()),
        }
    }

    /// The session, to give it the data of a COPY.
    ///
    /// # Errors
    ///
    /// There is no open session.
    pub fn copy_session(&mut self) -> Result<&mut Session> {
        self.open_session()
    }

    /// Whether a COPY takes more data: at most `most` bytes must be left to be sent. Its task is
    /// woken by any message of the server.
    pub fn poll_copy_room(
        &mut self,
        id: SlotId,
        most: usize,
        waker: &mut Option<Arc<Waker>>,
    ) -> CopyRoom {
        let is_fed = self.session.as_ref().is_some_and(|session| session.is_fed(id.ticket()));
        let is_full = self.output_len() > most;
        let is_closed = self.is_closed();
        let Some(buffer) = self.buffer(id).filter(|buffer| !buffer.has_ended()) else {
            return CopyRoom::Over;
        };
        buffer.wait(waker);
        // Otherwise the server has refused the data, and its answer follows.
        let takes_data = is_fed && !is_closed;
        if takes_data && is_full {
            self.feeding = Some(id);
            return CopyRoom::Full;
        }
        // The task goes on without waiting.
        buffer.step_aside();
        if takes_data { CopyRoom::Free } else { CopyRoom::Over }
    }

    /// The task of this call does something else for now. The answer is kept.
    pub(crate) fn step_aside(&mut self, id: SlotId, effects: &mut Effects) {
        match self.slots.get(id) {
            Some(Slot::Waiting(waker)) => effects.discard(waker.take()),
            Some(Slot::Buffered(buffer)) => buffer.step_aside(),
            _ => {}
        }
    }

    /// Abandons a request. If it was not sent yet, it is taken back; returns whether it was.
    pub(crate) fn leave(&mut self, id: SlotId, effects: &mut Effects) -> bool {
        if !self.slots.is_in_flight(id) {
            discard(self.slots.free(id), effects);
            return false;
        }
        if !matches!(self.slots.get(id), Some(Slot::UndoneBy(_))) {
            discard(self.slots.replace(id, Slot::Ignored), effects);
        }
        let Some(session) = &mut self.session else {
            return false;
        };
        let is_taken_back = session.take_back(id.ticket());
        if is_taken_back {
            if let Some(transaction) = &mut self.transaction {
                transaction.withdrawn(id.ticket(), effects);
            }
            self.dispatch(None, effects);
        } else {
            session.abandon(id.ticket());
        }
        is_taken_back
    }

    // --- For the driver ---

    /// Whether the oldest response is over its limit, so that nothing must be read (backpressure).
    pub fn is_over_limit(&self) -> bool {
        self.slots.has_buffers()
            && self
                .slots
                .oldest_buffer()
                .is_some_and(|buffer| buffer.is_over_limit(self.outstanding() > 1))
    }

    /// The task that must drive: the oldest one that waits. A task that was woken and was not
    /// polled since is not woken again. If no task waits, the watchdog must drive.
    #[inline]
    pub fn next_driver(&mut self) -> Driven {
        self.slots.take_oldest_waker().unwrap_or(Driven::ByWatchdog)
    }

    /// Whether anything besides a single call depends on the socket being read: another request, a
    /// queued call, a listener. Then the watchdog checks that the task that was woken has driven; a
    /// single call delays only itself.
    #[inline]
    pub fn has_dependants(&self) -> bool {
        self.slots.in_flight_len() > 1
            || self.lock.has_waiters()
            || self.listeners.has_any()
            || self.transaction.as_ref().is_some_and(Transaction::has_waiting)
    }

    /// Registers `driver` to be woken when all listeners have emptied their queues; `false` if they
    /// have. Returns a waker that must be dropped outside of all locks.
    pub fn wait_for_listeners(
        &mut self,
        driver: Waker,
        effects: &mut Effects,
    ) -> (bool, Option<Waker>) {
        effects.watch();
        self.listeners.wait(driver)
    }

    /// An interval after a task was woken or has made a promise that others depend on: does what
    /// was not done since.
    pub fn tick(&mut self, effects: &mut Effects) -> Tick {
        let listeners = self.listeners.tick(effects);
        let waits = self.lock.tick(effects);
        let flush = std::mem::take(&mut self.is_flush_promised);
        let stalled = self.warn_of_stall(effects);
        Tick { flush, again: waits || flush || listeners || stalled }
    }

    /// Whether calls wait behind a stream or a COPY that is not read. Logs a warning once if that
    /// lasts: a task that waits for itself cannot be told from one that is busy elsewhere.
    fn warn_of_stall(&mut self, effects: &mut Effects) -> bool {
        let is_stalled = self.outstanding() > 1
            && self.slots.oldest_buffer().is_some_and(ResponseBuffer::is_left);
        self.stalled_ticks = if is_stalled { self.stalled_ticks.saturating_add(1) } else { 0 };
        if self.stalled_ticks == STALLED_TICKS {
            effects.warn(
                "calls wait behind a stream or a COPY that is not read; if the same task awaits both, \
                 it waits for itself"
                    .to_owned(),
            );
        }
        is_stalled && self.stalled_ticks < STALLED_TICKS
    }

    /// Of the output that was taken, `count` more bytes were written.
    pub fn sent(&mut self, count: usize) {
        if let Some(session) = &mut self.session {
            session.sent(count);
        }
    }

    /// Whether [`take_output`](Self::take_output) has anything to do.
    #[inline]
    pub fn takes_output(&self) -> bool {
        self.has_output() || self.feeding.is_some()
    }

    /// Appends pending output, unless a task has promised to send it together with what follows.
    /// Returns whether there is more, which must be taken when this was written.
    #[inline]
    pub fn take_output(&mut self, into: &mut BytesMut, effects: &mut Effects) -> bool {
        let mut has_more = false;
        if !self.is_flush_promised
            && let Some(session) = &mut self.session
        {
            has_more = session.take_output(into);
            if let Some(id) = self.feeding.take() {
                self.wake_feeder(id, effects);
            }
        }
        has_more
    }

    /// The data that a COPY waited for is taken for sending: wakes the task that feeds it.
    #[cold]
    fn wake_feeder(&mut self, id: SlotId, effects: &mut Effects) {
        if let Some(buffer) = self.buffer(id) {
            effects.wake_shared(buffer.take_waker());
        }
    }

    /// Whether there is output to send.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_output())
    }

    /// How many bytes of output were not taken yet.
    pub fn output_len(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.output_len())
    }

    /// Promises to send the output that gathers. `false`: another task has promised already.
    pub(crate) fn promise_flush(&mut self, effects: &mut Effects) -> bool {
        if std::mem::replace(&mut self.is_flush_promised, true) {
            return false;
        }
        effects.watch();
        true
    }

    /// Ends the promise: it is kept now.
    #[inline]
    pub(crate) fn end_flush_promise(&mut self) {
        self.is_flush_promised = false;
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection is closed").with_hint("open it with connect")
}

/// A clone of the waker is needed, which must be made outside of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsWaker;

/// Drops the contents of a slot, its wakers outside of the lock.
fn discard(slot: Slot, effects: &mut Effects) {
    match slot {
        Slot::Waiting(waker) => effects.discard(waker),
        Slot::Buffered(buffer) => buffer.discard(effects),
        Slot::Ending(mut ending) => effects.discard(ending.take_waker()),
        _ => {}
    }
}

impl std::fmt::Debug for Multiplexer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Multiplexer")
            .field("availability", &self.availability)
            .field("generation", &self.generation)
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}
