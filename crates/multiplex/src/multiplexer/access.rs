//! Admission: which calls of the connection or of a transaction may submit, and the end of a
//! transaction.

use std::sync::Arc;
use std::task::{Poll, Waker, ready};

use txpostgres_session::{Error, ErrorKind, Request, Result, Ticket};

use super::{Availability, Multiplexer, NeedsWaker};
use crate::access_lock::LockId;
use crate::effects::Effects;
use crate::slots::{Slot, SlotId};
use crate::transaction::{Admission, Begin, EndKind, EndPlan, Ending, Transaction, outlived};

/// On whose behalf a request is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Of the connection, whichever session it has.
    Shared,
    /// Of the connection, in this session only.
    Session(u64),
    /// Of the connection, by a recovery handler of this session, which may use it while it is
    /// being restored.
    Recovery(u64),
    /// Of the transaction that holds this lease, at this depth of savepoints.
    Lease {
        /// The lease.
        id: LockId,
        /// How many savepoints deep.
        level: u32,
    },
    /// Of the transaction that holds this lease, at whatever depth it is.
    AnyLevel(LockId),
}

/// The start of the end of a transaction.
#[derive(Debug)]
pub enum EndStart {
    /// Nothing had to be sent.
    Done(Result<()>),
    /// A request was submitted.
    Sent(SlotId),
}

impl Multiplexer {
    /// Whether a call may submit now, and the BEGIN that must go with it. Otherwise its task waits
    /// and `waker` is taken. `waits`: the call waits while there is no session.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        access: Access,
        id: &mut Option<LockId>,
        waits: impl FnOnce(&Self) -> bool,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Poll<Result<Option<Arc<str>>>> {
        let is_open = matches!(self.availability, Availability::Open);
        if is_open && access == Access::Shared && self.lock.passes_at_once(id) {
            return Poll::Ready(Ok(None));
        }
        let waits = waits(self);
        self.admit_any(access, id, waits, waker, effects)
    }

    /// The same, not inlined.
    #[inline(never)]
    fn admit_any(
        &mut self,
        access: Access,
        id: &mut Option<LockId>,
        waits: bool,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Poll<Result<Option<Arc<str>>>> {
        ready!(self.poll_session(access, id, waits, waker, effects))?;
        let (lease, level) = match access {
            Access::Session(generation) if generation != self.generation => {
                return Poll::Ready(Err(self.session_is_over()));
            }
            Access::Shared | Access::Session(_) | Access::Recovery(_) => {
                let passes = self.lock.poll_shared(id, waker, effects);
                return if passes { Poll::Ready(Ok(None)) } else { Poll::Pending };
            }
            Access::Lease { id, level } => (id, Some(level)),
            Access::AnyLevel(id) => (id, None),
        };
        let status = (self.outstanding() == 0).then(|| self.transaction_status());
        let Some(transaction) = self.transaction_of(lease) else {
            return Poll::Ready(Err(self.without_lease(lease)));
        };
        match transaction.admit(level, status) {
            Admission::Now { begins } => Poll::Ready(Ok(begins.then(|| transaction.begin_sql()))),
            Admission::Refused(error) => Poll::Ready(Err(error)),
            Admission::Later => {
                transaction.wait(waker);
                Poll::Pending
            }
        }
    }

    /// The error of a cursor whose session is over.
    #[cold]
    fn session_is_over(&self) -> Error {
        match &self.last_end {
            Some(reason) => Error::connection_dead(reason),
            None => Error::new(ErrorKind::Closed, "the session of the cursor was closed"),
        }
    }

    /// The error of a cursor whose transaction has no lease any more.
    #[cold]
    fn without_lease(&self, lease: LockId) -> Error {
        if self.lost_lease.is_some_and(|lost| lease <= lost) {
            self.session_is_over()
        } else {
            outlived()
        }
    }

    /// Whether a request whose answer is ignored may be sent.
    pub(super) fn is_admitted(&mut self, access: Access) -> bool {
        match access {
            Access::Shared | Access::Recovery(_) => true,
            Access::Session(generation) => generation == self.generation,
            Access::Lease { id, .. } | Access::AnyLevel(id) => {
                self.transaction_of(id).is_some_and(|transaction| transaction.is_open())
            }
        }
    }

    // --- Transactions ---

    /// Takes the lease, if it is free; otherwise the task waits and `waker` is taken. `waits`: also
    /// while there is no session.
    pub fn poll_lease(
        &mut self,
        access: Access,
        id: &mut Option<LockId>,
        begin: &Begin,
        waits: bool,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Poll<Result<LockId>> {
        ready!(self.poll_session(access, id, waits, waker, effects))?;
        match self.lock.poll_exclusive(id, waker, effects) {
            Some(lease) => {
                self.transaction = Some(Transaction::new(lease, begin.clone()));
                Poll::Ready(Ok(lease))
            }
            None => Poll::Pending,
        }
    }

    /// The lease that is given out.
    pub fn lease(&self) -> Option<LockId> {
        self.lock.lease()
    }

    /// Removes a call or a transaction from the queue.
    pub fn leave_queue(&mut self, id: LockId, effects: &mut Effects) {
        self.lock.leave(id, effects);
    }

    #[inline]
    pub(super) fn transaction_of(&mut self, lease: LockId) -> Option<&mut Transaction> {
        self.transaction.as_mut().filter(|transaction| transaction.lease() == lease)
    }

    /// Notes that BEGIN was sent with this request, if there is one.
    #[inline]
    pub(crate) fn begin_with(&mut self, ticket: Ticket, begin: Option<&str>) {
        if begin.is_some()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.begin(ticket);
        }
    }

    /// Whether anything was sent in the transaction of this lease.
    pub fn has_begun(&mut self, lease: LockId) -> bool {
        self.transaction_of(lease).is_some_and(|transaction| transaction.begun().is_some())
    }

    /// A savepoint begins in the transaction of this lease.
    ///
    /// # Errors
    ///
    /// The savepoint would not be the innermost one.
    pub fn enter_savepoint(&mut self, lease: LockId, level: u32) -> Result<()> {
        if let Some(transaction) = self.transaction_of(lease) {
            return transaction.enter(level);
        }
        self.check_open()?;
        Err(self.without_lease(lease))
    }

    /// The savepoint of this level could not be created.
    pub fn leave_savepoint(&mut self, lease: LockId, level: u32) {
        if let Some(transaction) = self.transaction_of(lease) {
            transaction.leave(level);
        }
    }

    /// Ends a transaction or the savepoint of this level. `waker`: of the task that awaits the
    /// outcome, which is `None` if nothing does; it is taken if the task must wait. The request
    /// cannot be cancelled or taken back.
    pub fn end(
        &mut self,
        lease: LockId,
        level: u32,
        kind: EndKind,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> EndStart {
        if self.transaction_of(lease).is_none() {
            // Its session is over, and the server ends the transaction by itself.
            return EndStart::Done(match kind {
                EndKind::RollBack | EndKind::RollBackTo(_) => Ok(()),
                _ => Err(self.check_open().err().unwrap_or_else(|| self.without_lease(lease))),
            });
        }
        let Some(transaction) = self.transaction_of(lease) else {
            return EndStart::Done(Err(outlived()));
        };
        let was_ending = transaction.is_ending();
        match transaction.end(&kind) {
            EndPlan::Done(outcome) => {
                if was_ending {
                    // The end that is in flight releases the lease.
                } else if kind.is_nested() {
                    transaction.leave(level);
                } else if !transaction.is_replaced() {
                    self.release(lease, effects);
                    self.begin_round(effects);
                }
                EndStart::Done(outcome)
            }
            EndPlan::Send(sql) => {
                if matches!(kind, EndKind::RollBackTo(_)) {
                    transaction.leave(level);
                }
                let request = Request::Script { sql: &sql };
                match self.open_session().and_then(|session| session.submit(request)) {
                    Ok(ticket) => {
                        let ending = Ending::new(lease, level, kind, waker.take());
                        EndStart::Sent(self.insert(ticket, Slot::Ending(Box::new(ending))))
                    }
                    Err(error) => EndStart::Done(Err(error)),
                }
            }
        }
    }

    /// Polls for the outcome of an end that was submitted.
    pub fn poll_end(
        &mut self,
        id: SlotId,
        current: &Waker,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Result<Poll<Result<()>>, NeedsWaker> {
        let Some(Slot::Ending(ending)) = self.slots.get(id) else {
            return Ok(Poll::Pending);
        };
        if let Some(outcome) = ending.take_outcome() {
            self.slots.free(id);
            return Ok(Poll::Ready(outcome));
        }
        if !ending.is_known(current) {
            if waker.is_none() {
                return Err(NeedsWaker);
            }
            ending.wait(waker, effects);
        }
        Ok(Poll::Pending)
    }

    /// Abandons the outcome of this end, which is carried out all the same.
    pub fn abandon_end(&mut self, id: SlotId, effects: &mut Effects) {
        let is_in_flight = self.slots.is_in_flight(id);
        match self.slots.get(id) {
            Some(Slot::Ending(ending)) if is_in_flight => {
                ending.abandon(effects);
                let (lease, level) = (ending.lease, ending.level);
                // Requests from now on come behind it.
                if ending.leaves_level() {
                    self.leave_savepoint(lease, level);
                }
            }
            Some(Slot::Ending(_)) => super::discard(self.slots.free(id), effects),
            _ => {}
        }
    }

    /// Ends the lease, so that others may go on. LISTEN and UNLISTEN that were requested meanwhile
    /// are due then.
    pub(super) fn release(&mut self, lease: LockId, effects: &mut Effects) {
        if self.transaction_of(lease).is_some()
            && let Some(transaction) = self.transaction.take()
        {
            transaction.wake_all(effects);
        }
        self.lock.release(lease, effects);
    }

    /// Rolls back a transaction of which only BEGIN was executed, so that its first request, this
    /// one, can be sent once more with another BEGIN.
    pub(crate) fn restart(&mut self, ticket: Ticket) -> bool {
        let next = self.session.as_ref().map(|session| session.next_ticket());
        let is_newest = next.is_some_and(|next| next.number() == ticket.number() + 1);
        let is_begun_by = |transaction: &Transaction| transaction.is_begun_by(ticket);
        if !is_newest || !self.transaction.as_ref().is_some_and(is_begun_by) {
            return false;
        }
        let rollback = Request::Script { sql: "ROLLBACK" };
        let Ok(ticket) = self.open_session().and_then(|session| session.submit(rollback)) else {
            return false;
        };
        self.insert(ticket, Slot::Cleanup);
        if let Some(transaction) = &mut self.transaction {
            transaction.restart();
        }
        true
    }
}
