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
mod driving;
mod fence;
mod listening;
mod outage;
mod reason;
mod responses;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use txpostgres_session::config::TargetSessionAttrs;
use txpostgres_session::{
    CancelKey, Error, ErrorKind, Query, Request, Result, ServerError, Session, Ticket,
    TransactionStatus,
};

pub use access::{Access, EndStart};
pub(crate) use cancelling::no_key;
pub use cancelling::{CancelStart, OnGraceExpired};
pub use dispatch::{Input, Received};
pub use driving::Tick;
pub use outage::{Patience, Usable};
pub use responses::{CopyRoom, NeedsWaker};

use crate::access_lock::{AccessLock, LockId};
use crate::effects::Effects;
use crate::listen::Listeners;
use crate::response_buffer::{Capacity, ResponseBuffer};
use crate::slots::{Slot, SlotId, Slots};
use crate::transaction::Transaction;
use cancelling::PendingCancel;
use listening::Reconciliation;

/// A larger response is fetched in chunks of this size by calls that can: 64 KiB, as much as is
/// read at a time.
const CHUNK_BYTES: u32 = 64 * 1024;

/// See the module's text.
pub struct Multiplexer {
    session: Option<Box<Session>>,
    availability: Availability,
    /// Why the last session ended; `None` if the user closed it, or there was none.
    last_end: Option<Error>,
    /// Sessions are opened anew by a detector, which has not given up.
    is_reopened: bool,
    /// How long a call waits for a session that is opened anew, if it does not say so itself.
    patience: Duration,
    /// The role that the server must keep.
    wanted_role: TargetSessionAttrs,
    /// How often anything was received, of all sessions.
    received: u64,
    /// The latest lease that was given out when a session ended.
    lost_lease: Option<LockId>,
    /// The latest of these whose transaction had committed something.
    lost_after_commit: Option<LockId>,
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
///
/// ```text
///             opening            install                 restored
///   Closed ────────────▶ Opening ────────▶ Restoring ─────────────▶ Open
///   Dead                    │                  │                      │
///    ▲ ◀──── not opened ────┘                  │                      │
///    └──────────── the session ended ──────────┴──────────────────────┘     closed: any ──▶ Closed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Availability {
    /// Never opened, or closed by the user.
    Closed,
    Opening,
    /// The session is told what the last one was told, and recovery handlers run: nothing else may
    /// use it.
    Restoring,
    Open,
    /// The session ended, for the reason in `last_end`.
    Dead,
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

impl Multiplexer {
    /// Creates a multiplexer without a session.
    pub fn new(listeners: Arc<Listeners>) -> Self {
        Self {
            session: None,
            availability: Availability::Closed,
            last_end: None,
            is_reopened: false,
            patience: Duration::ZERO,
            wanted_role: TargetSessionAttrs::Any,
            received: 0,
            lost_lease: None,
            lost_after_commit: None,
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
        self.availability = Availability::Opening;
    }

    /// The session could not be opened.
    pub fn not_opened(&mut self) {
        if self.availability == Availability::Opening {
            let is_dead = self.last_end.is_some();
            self.availability = if is_dead { Availability::Dead } else { Availability::Closed };
        }
    }

    /// Takes an open session, which follows the last one. It must be [restored](Self::restored)
    /// before calls of the connection may use it.
    pub fn install(&mut self, session: Session, effects: &mut Effects) {
        let mut session = Box::new(session);
        if let Some(last) = &mut self.session {
            session.follow(last);
        }
        self.session = Some(session);
        self.availability = Availability::Restoring;
        self.generation = self.listeners.begin();
        self.is_flush_promised = false;
        self.reconciliation = Reconciliation::Due;
        // The session may have ended with the same bytes that opened it.
        self.dispatch(None, effects);
    }

    /// The session of this number was told what the last one was told: calls may use it, and
    /// listeners are told of the gap. `false`: it is over.
    pub fn restored(&mut self, generation: u64, effects: &mut Effects) -> bool {
        if self.availability != Availability::Restoring || self.generation != generation {
            return false;
        }
        self.availability = Availability::Open;
        self.lock.resume(effects);
        self.listeners.restored(effects);
        true
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
        !matches!(self.availability, Availability::Open | Availability::Restoring)
    }

    /// Whether there is a session that any call may use.
    pub fn is_open(&self) -> bool {
        self.availability == Availability::Open
    }

    /// Whether a session is open or being opened.
    pub fn is_in_use(&self) -> bool {
        self.availability == Availability::Opening || !self.is_closed()
    }

    /// Whether a session is being opened.
    pub fn is_opening(&self) -> bool {
        self.availability == Availability::Opening
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
        match (self.availability, &self.last_end) {
            (Availability::Closed | Availability::Open, _) | (Availability::Dead, None) => closed(),
            (_, Some(reason)) => Error::connection_dead(reason),
            (Availability::Opening | Availability::Restoring, None) => {
                Error::new(ErrorKind::Closed, "the connection is not open yet")
            }
        }
    }

    /// The user closes the session: calls in flight end with an error, and Terminate can be sent.
    pub fn close(&mut self, effects: &mut Effects) {
        self.is_flush_promised = false;
        if let Some(session) = &mut self.session {
            session.close();
        }
        self.is_reopened = false;
        self.dispatch(None, effects);
        self.ended(None, effects);
    }

    /// The session is over, for this reason; `None` if the user closed it.
    fn ended(&mut self, reason: Option<Error>, effects: &mut Effects) {
        self.lost_lease = self.lost_lease.max(self.lock.lease());
        let is_lost = reason.is_some();
        self.availability = if is_lost { Availability::Dead } else { Availability::Closed };
        self.last_end = reason;
        if let Some(pending) = self.pending_cancel.take() {
            effects.wake(pending.waker);
        }
        self.lock.wake_all(effects);
        if !self.is_reopened {
            self.lock.resume(effects);
        }
        if let Some(transaction) = self.transaction.take() {
            if transaction.has_committed() {
                self.lost_after_commit = Some(transaction.lease());
            }
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
    pub(crate) fn register(
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
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection is closed").with_hint("open it with connect")
}

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
