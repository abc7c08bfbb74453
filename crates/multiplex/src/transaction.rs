//! The transaction of a lease: its automaton, from BEGIN to its end.
//!
//! ```text
//!        first statement, BEGIN with it          answered            end submitted
//!   Idle ───────────────────────────▶ Beginning ──────────▶ Open ───────────────────▶ Ending
//!    ▲ │ ◀──taken back, not sent────┘    │                  │ │                         │ answered
//!    │ │                                 │ BEGIN failed     │ │ a statement ended it    ▼
//!    │ └─end: nothing to send─▶ released └──▶ Over ◀────────┘ └──▶ Replaced           released
//!    └──rolled back, to begin again (restart)   (Foreign: begun by hand, not ours)
//! ```
//!
//! There is one end of a transaction, whether its closure returned, failed, panicked or was
//! dropped: [`Transaction::end`] decides what to send, [`Ending::judge`] what each answer means. No
//! cancel can reach the request that ends a transaction; of a transaction that is cancelled nothing
//! else is sent any more.

mod ending;
mod failure;
mod refusal;

use std::sync::Arc;
use std::task::Waker;

use txpostgres_session::{Delivery, Error, Result, Ticket, TransactionEffect, TransactionStatus};

pub use ending::EndKind;
pub(crate) use ending::Ending;
use failure::Failure;
pub use refusal::outlived;
pub(crate) use refusal::over;
use refusal::{begun_by_hand, cancelled, nested_is_running};

use crate::access_lock::LockId;
use crate::effects::Effects;

/// The state of the transaction of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionState {
    /// Nothing was sent: there is no transaction in the server.
    Idle,
    /// BEGIN is in flight with this request. Nothing else may be sent: if BEGIN fails, a further
    /// statement would be committed by itself.
    Beginning(Ticket),
    /// BEGIN was answered. The ticket is that of the first request.
    Open(Ticket),
    /// The end was submitted.
    Ending(Ticket),
    /// It is over: BEGIN failed, or one of its statements ended it.
    Over,
    /// One of its statements ended it and began another transaction (`COMMIT AND CHAIN`), which
    /// does not share the fate of what was done before.
    Replaced(Ticket),
    /// BEGIN met a transaction that a statement of the connection had begun, which must not be
    /// ended here.
    Foreign,
}

/// What the answer to a request told about its transaction, besides the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// One of the request's statements ended the transaction, whatever is open now.
    Ended,
    /// As `Ended`, by a COMMIT: what was done before stays.
    Committed,
    /// Our BEGIN met an open transaction.
    MetOpen,
}

impl From<TransactionEffect> for Seen {
    #[inline]
    fn from(effect: TransactionEffect) -> Self {
        match (effect.met_open(), effect.committed(), effect.ended()) {
            (true, ..) => Self::MetOpen,
            (false, true, _) => Self::Committed,
            (false, false, true) => Self::Ended,
            (false, false, false) => Self::Nothing,
        }
    }
}

/// How a transaction begins.
#[derive(Debug, Clone)]
pub struct Begin {
    /// The BEGIN that is sent with its first statement.
    pub sql: Arc<str>,
    /// Its requests are exclusive, so that they can be cancelled.
    pub is_exclusive: bool,
    /// It was asked to be read-only, so that it may not write wherever it runs.
    pub is_read_only: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Transaction {
    lease: LockId,
    begin: Begin,
    state: TransactionState,
    /// How many savepoints deep its statements are.
    level: u32,
    /// It must end: no further statement is sent.
    is_cancelled: bool,
    /// The error that failed it in the server. The closure may have swallowed it.
    failure: Failure,
    /// One of its statements was a COMMIT.
    has_committed: bool,
    /// Calls that wait for the answer to BEGIN.
    waiting: Vec<Waker>,
}

/// Whether a call of a transaction may be submitted.
#[derive(Debug)]
pub(crate) enum Admission {
    Now {
        /// BEGIN must be sent with it.
        begins: bool,
    },
    /// Not before BEGIN is answered.
    Later,
    Refused(Error),
}

/// The action that ends a transaction.
#[derive(Debug)]
pub(crate) enum EndPlan {
    /// Nothing is sent; this is the outcome.
    Done(Result<()>),
    /// This SQL is sent.
    Send(String),
}

impl Transaction {
    pub(crate) fn new(lease: LockId, begin: Begin) -> Self {
        Self {
            lease,
            begin,
            state: TransactionState::Idle,
            level: 0,
            is_cancelled: false,
            failure: Failure::default(),
            has_committed: false,
            waiting: Vec::new(),
        }
    }

    /// Whether it was asked to be read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.begin.is_read_only
    }

    pub(crate) fn begin_sql(&self) -> Arc<str> {
        Arc::clone(&self.begin.sql)
    }

    #[inline]
    pub(crate) fn lease(&self) -> LockId {
        self.lease
    }

    #[inline]
    pub(crate) fn is_exclusive(&self) -> bool {
        self.begin.is_exclusive
    }

    /// The first request of the transaction.
    pub(crate) fn begun(&self) -> Option<Ticket> {
        match self.state {
            TransactionState::Beginning(begun)
            | TransactionState::Open(begun)
            | TransactionState::Ending(begun)
            | TransactionState::Replaced(begun) => Some(begun),
            TransactionState::Idle | TransactionState::Over | TransactionState::Foreign => None,
        }
    }

    /// Whether a statement of this level, or of any level, may be sent now. `status` is the
    /// session's, if nothing is outstanding.
    pub(crate) fn admit(&self, level: Option<u32>, status: Option<TransactionStatus>) -> Admission {
        match self.state {
            TransactionState::Ending(_) => return Admission::Refused(outlived()),
            TransactionState::Over | TransactionState::Replaced(_) => {
                return Admission::Refused(over());
            }
            TransactionState::Foreign => return Admission::Refused(begun_by_hand()),
            // A cancel has reached what was sent before it, and reaches nothing later.
            _ if self.is_cancelled => return Admission::Refused(cancelled()),
            _ if level.is_some_and(|level| level != self.level) => {
                return Admission::Refused(nested_is_running());
            }
            TransactionState::Beginning(_) => return Admission::Later,
            TransactionState::Open(_) => return Admission::Now { begins: false },
            TransactionState::Idle => {}
        }
        // In a transaction begun by hand, our BEGIN would cause only a warning, and our end would
        // end that transaction. While requests are outstanding, the status is unknown, and that
        // warning tells: see `settled`.
        match status {
            None | Some(TransactionStatus::Idle) => Admission::Now { begins: true },
            Some(_) => Admission::Refused(begun_by_hand()),
        }
    }

    /// Registers a call that waits for the answer to BEGIN: once for each task, however often the
    /// call is polled.
    pub(crate) fn wait(&mut self, waker: &mut Option<Waker>) {
        let is_new = |waker: &mut Waker| !self.waiting.iter().any(|known| known.will_wake(waker));
        self.waiting.extend(waker.take_if(is_new));
    }

    /// It is cancelled: its statements are refused from now on, but for its end.
    pub(crate) fn cancel(&mut self) {
        self.is_cancelled = true;
    }

    /// Whether its end was submitted.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.state, TransactionState::Ending(_))
    }

    /// Whether calls wait for the answer to BEGIN.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether its statements run in the server's transaction.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, TransactionState::Beginning(_) | TransactionState::Open(_))
    }

    /// BEGIN was submitted with this request.
    pub(crate) fn begin(&mut self, ticket: Ticket) {
        if self.state == TransactionState::Idle {
            self.state = TransactionState::Beginning(ticket);
        }
    }

    /// A request was taken back before it was sent, and BEGIN with it if that was part of it.
    pub(crate) fn withdrawn(&mut self, ticket: Ticket, effects: &mut Effects) {
        if self.state == TransactionState::Beginning(ticket) {
            self.state = TransactionState::Idle;
            self.wake_waiting(effects);
        }
    }

    /// A request of the session was answered. Once the transaction is not open any more, no further
    /// statement may run: it would be committed by itself.
    pub(crate) fn settled(
        &mut self,
        ticket: Ticket,
        status: TransactionStatus,
        seen: Seen,
        effects: &mut Effects,
    ) {
        // Requests submitted before the transaction may still be answered.
        let Some(begun) = self.begun().filter(|begun| *begun <= ticket) else {
            return;
        };
        if status == TransactionStatus::InTransaction && self.failure.is_known() {
            self.failure.went_on();
        }
        self.has_committed |= seen == Seen::Committed;
        self.state = match self.state {
            TransactionState::Beginning(_) if seen == Seen::MetOpen => TransactionState::Foreign,
            _ if status == TransactionStatus::Idle => TransactionState::Over,
            // What was done before is decided; the end must end the other transaction.
            _ if matches!(seen, Seen::Ended | Seen::Committed) => TransactionState::Replaced(begun),
            TransactionState::Beginning(_) => TransactionState::Open(begun),
            other => other,
        };
        self.wake_waiting(effects);
    }

    /// A request of the session, about to be [`settled`](Self::settled), has failed.
    #[cold]
    pub(crate) fn has_failed(&mut self, ticket: Ticket, status: TransactionStatus, error: &Error) {
        if status == TransactionStatus::Failed && self.is_of(ticket) {
            self.failure.failed(error);
        }
    }

    /// The call of this request has found out more of the error that failed the transaction.
    pub(crate) fn has_failed_rather(&mut self, ticket: Ticket, error: &Error) {
        if self.is_of(ticket) {
            self.failure.is_rather(error);
        }
    }

    /// Whether a request of the session is not from before the transaction.
    fn is_of(&self, ticket: Ticket) -> bool {
        self.begun().is_some_and(|begun| begun <= ticket)
    }

    /// The error that failed the transaction, as the source of another one.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.standing().map(Error::without_causes)
    }

    /// Why its closure has returned an error, as far as the server has said why.
    pub(crate) fn reason(&self) -> Option<Error> {
        // Of a transaction begun by hand nothing is undone here.
        let latest = self.failure.latest().filter(|_| self.state != TransactionState::Foreign)?;
        let error = latest.without_causes();
        Some(if self.has_committed { error.after_commit() } else { error })
    }

    /// Whether one of its statements was a COMMIT.
    pub(crate) fn has_committed(&self) -> bool {
        self.has_committed
    }

    /// COMMIT was refused, and the transaction is still open.
    pub(crate) fn reopen(&mut self) {
        if let TransactionState::Ending(begun) = self.state {
            self.state = TransactionState::Open(begun);
        }
    }

    /// ROLLBACK was submitted, so that BEGIN can be sent once more.
    pub(crate) fn restart(&mut self) {
        self.failure = Failure::default();
        self.state = TransactionState::Idle;
    }

    /// Whether this request began it, outside of any savepoint.
    pub(crate) fn is_begun_by(&self, ticket: Ticket) -> bool {
        self.level == 0 && self.is_open() && self.begun() == Some(ticket)
    }

    fn wake_waiting(&mut self, effects: &mut Effects) {
        for waker in self.waiting.drain(..) {
            effects.wake(Some(waker));
        }
    }

    /// A savepoint begins: its statements are one level deeper.
    pub(crate) fn enter(&mut self, level: u32) -> Result<()> {
        if self.level + 1 != level {
            return Err(nested_is_running());
        }
        self.level = level;
        Ok(())
    }

    /// The savepoint of this level has ended.
    pub(crate) fn leave(&mut self, level: u32) {
        if self.level == level {
            self.level = level.saturating_sub(1);
        }
    }

    /// Decides what must be sent to end the transaction.
    #[allow(clippy::match_same_arms, reason = "a table of states, in the order of the drawing")]
    pub(crate) fn end(&mut self, kind: &EndKind) -> EndPlan {
        if matches!(kind, EndKind::RollBackTo(_)) {
            self.failure.passes_on();
        }
        let plan = match (self.state, kind) {
            (TransactionState::Ending(_), _) => EndPlan::Done(Err(outlived())),
            (TransactionState::Idle, _) => EndPlan::Done(Ok(())),
            (TransactionState::Over, EndKind::Commit | EndKind::Release(_)) => {
                EndPlan::Done(Err(self.ended()))
            }
            (TransactionState::Foreign, EndKind::Commit | EndKind::Release(_)) => {
                EndPlan::Done(Err(begun_by_hand()))
            }
            (TransactionState::Over | TransactionState::Foreign, _) => EndPlan::Done(Ok(())),
            // COMMIT would commit the other transaction, which does not have such a savepoint
            // either. A ROLLBACK ends the other transaction.
            (TransactionState::Replaced(_), EndKind::Commit | EndKind::Release(_)) => {
                EndPlan::Done(Err(self.ended()))
            }
            (TransactionState::Replaced(_), EndKind::RollBackTo(_)) => EndPlan::Done(Ok(())),
            (
                TransactionState::Beginning(_)
                | TransactionState::Open(_)
                | TransactionState::Replaced(_),
                _,
            ) => EndPlan::Send(kind.sql()),
        };
        if matches!(plan, EndPlan::Send(_))
            && !kind.is_nested()
            && let Some(begun) = self.begun()
        {
            self.state = TransactionState::Ending(begun);
        }
        plan
    }

    /// The outcome of a transaction that one of its statements ended.
    fn ended(&self) -> Error {
        if self.has_committed {
            over().with_delivery(Delivery::Answered).after_commit()
        } else {
            over()
        }
    }

    /// Whether another transaction is open in the server, which must be ended before the lease is
    /// released.
    pub(crate) fn is_replaced(&self) -> bool {
        matches!(self.state, TransactionState::Replaced(_))
    }

    /// Wakes the calls that wait, since the session is over.
    pub(crate) fn wake_all(mut self, effects: &mut Effects) {
        self.wake_waiting(effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: TransactionStatus = TransactionStatus::Idle;
    const OPEN: TransactionStatus = TransactionStatus::InTransaction;

    fn transaction() -> Transaction {
        let mut lock = crate::access_lock::AccessLock::default();
        let lease = lock.poll_exclusive(&mut None, &mut None, &mut Effects::default()).unwrap();
        let begin = Begin { sql: "BEGIN".into(), is_exclusive: false, is_read_only: false };
        Transaction::new(lease, begin)
    }

    fn ticket(number: u64) -> Ticket {
        Ticket::numbered(number)
    }

    fn begins(transaction: &Transaction) -> bool {
        matches!(transaction.admit(Some(0), Some(IDLE)), Admission::Now { begins: true })
    }

    fn settle(transaction: &mut Transaction, number: u64, status: TransactionStatus, seen: Seen) {
        transaction.settled(ticket(number), status, seen, &mut Effects::default());
    }

    fn sent(plan: EndPlan) -> Option<String> {
        match plan {
            EndPlan::Send(sql) => Some(sql),
            EndPlan::Done(_) => None,
        }
    }

    #[test]
    fn begin_goes_with_the_first_statement_and_the_others_wait_for_it() {
        let mut transaction = transaction();
        assert!(begins(&transaction));
        transaction.begin(ticket(5));
        assert!(matches!(transaction.admit(Some(0), None), Admission::Later));
        settle(&mut transaction, 4, IDLE, Seen::Nothing);
        assert!(matches!(transaction.admit(Some(0), None), Admission::Later), "not its own answer");
        settle(&mut transaction, 5, OPEN, Seen::Nothing);
        assert!(matches!(transaction.admit(Some(0), None), Admission::Now { begins: false }));
        assert_eq!(sent(transaction.end(&EndKind::Commit)).unwrap(), "COMMIT");
        assert!(matches!(transaction.admit(Some(0), None), Admission::Refused(_)));
    }

    #[test]
    fn a_task_that_waits_for_begin_is_registered_once() {
        let mut transaction = transaction();
        transaction.begin(ticket(5));
        for _ in 0..100 {
            transaction.wait(&mut Some(Waker::noop().clone()));
        }
        assert_eq!(transaction.waiting.len(), 1);
    }

    #[test]
    fn a_first_statement_that_is_taken_back_takes_begin_along() {
        let mut transaction = transaction();
        transaction.begin(ticket(5));
        transaction.withdrawn(ticket(5), &mut Effects::default());
        assert!(begins(&transaction));
        assert!(sent(transaction.end(&EndKind::RollBack)).is_none());
    }

    #[test]
    fn one_that_a_statement_ended_admits_nothing_and_sends_nothing() {
        let mut transaction = transaction();
        transaction.begin(ticket(5));
        settle(&mut transaction, 5, IDLE, Seen::Nothing);
        assert!(matches!(transaction.admit(Some(0), None), Admission::Refused(_)));
        assert!(matches!(transaction.end(&EndKind::Commit), EndPlan::Done(Err(_))));
    }

    #[test]
    fn one_that_was_replaced_is_not_committed_but_rolled_back() {
        let mut transaction = transaction();
        transaction.begin(ticket(5));
        settle(&mut transaction, 5, OPEN, Seen::Nothing);
        settle(&mut transaction, 6, OPEN, Seen::Ended);
        settle(&mut transaction, 7, OPEN, Seen::Nothing);
        assert!(matches!(transaction.admit(Some(0), None), Admission::Refused(_)));
        assert!(matches!(transaction.end(&EndKind::Commit), EndPlan::Done(Err(_))));
        assert_eq!(sent(transaction.end(&EndKind::RollBack)).unwrap(), "ROLLBACK");
    }

    #[test]
    fn a_transaction_by_hand_is_left_alone() {
        let mut transaction = transaction();
        assert!(matches!(transaction.admit(Some(0), Some(OPEN)), Admission::Refused(_)));
        transaction.begin(ticket(5));
        settle(&mut transaction, 5, OPEN, Seen::MetOpen);
        assert!(matches!(transaction.admit(Some(0), None), Admission::Refused(_)));
        assert!(sent(transaction.end(&EndKind::RollBack)).is_none());
    }

    #[test]
    fn savepoints_are_a_stack() {
        let mut transaction = transaction();
        transaction.enter(1).unwrap();
        assert!(matches!(transaction.admit(Some(0), None), Admission::Refused(_)));
        assert!(transaction.enter(1).is_err());
        transaction.enter(2).unwrap();
        transaction.leave(1);
        assert!(matches!(transaction.admit(Some(2), None), Admission::Now { .. }));
        transaction.leave(2);
        transaction.leave(1);
        assert!(begins(&transaction));
    }
}
