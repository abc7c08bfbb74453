//! Early ends of a call or a transaction: by a handle, by a time limit.
//!
//! ```text
//!   Queued ──sent──▶ Request ──┐                the handle's target: what a cancel must reach now
//!     ▲  └──leased─▶ Transaction ─┐
//!     └── between two steps ◀──┘  └──▶ Over     nothing can be cancelled any more
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use txpostgres_session::{Delivery, Error, ErrorKind, Ticket};

use crate::access_lock::LockId;
use crate::drive::Drive;
use crate::multiplexer::OnGraceExpired;

/// The target of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelTarget {
    /// A request.
    Request(Ticket),
    /// All requests of the transaction with this lease, except for the one that ends it.
    Transaction(LockId),
}

/// A handle that cancels a call or a transaction. Clones refer to the same one. It keeps nothing
/// open.
pub struct CancelHandle<D>(Arc<Mutex<CancelState<D>>>);

/// See the module's text.
struct CancelState<D> {
    stage: Stage<D>,
    /// Why the call must end, if it must.
    reason: Option<CancelReason>,
    /// The task that awaits the call.
    waker: Option<Waker>,
}

enum Stage<D> {
    /// Nothing was sent, or the call is between two steps.
    Queued,
    /// A request or a transaction that can be cancelled.
    Active(Weak<D>, CancelTarget),
    /// Over, or past the point where it can be cancelled.
    Over,
}

/// Why a call must end.
#[derive(Debug, Clone, Copy)]
enum CancelReason {
    /// A handle was used.
    Asked,
    /// This time limit has passed.
    Limit(Duration),
}

impl<D> Clone for CancelHandle<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D> Default for CancelHandle<D> {
    fn default() -> Self {
        let state = CancelState { stage: Stage::Queued, reason: None, waker: None };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl<D> fmt::Debug for CancelHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

impl<D> CancelHandle<D> {
    /// Notes that the call must end, and wakes its task. Returns the target of the cancel, if
    /// anything was sent.
    pub fn cancel(&self) -> Option<(Arc<D>, CancelTarget)> {
        self.end(CancelReason::Asked)
    }

    fn end(&self, reason: CancelReason) -> Option<(Arc<D>, CancelTarget)> {
        let mut state = self.0.lock();
        let active = match &state.stage {
            Stage::Over => return None,
            Stage::Queued => None,
            Stage::Active(driver, target) => driver.upgrade().map(|driver| (driver, *target)),
        };
        state.reason.get_or_insert(reason);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        active
    }

    fn put(&self, stage: Stage<D>) {
        // The driver is dropped outside of the lock.
        let before = std::mem::replace(&mut self.0.lock().stage, stage);
        drop(before);
    }

    fn reason(&self) -> Option<CancelReason> {
        self.0.lock().reason
    }

    /// Registers the task that must be woken when the call must end.
    fn register(&self, waker: &Waker) {
        if self.0.lock().waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        // Cloned and dropped outside of the lock.
        let waker = waker.clone();
        let replaced = self.0.lock().waker.replace(waker);
        drop(replaced);
    }
}

/// Cancellation and time limit of one call or transaction, or of several calls one after the other.
pub struct Cancellation<D: Drive> {
    handle: CancelHandle<D>,
    /// Another call follows when one has ended.
    lasts: bool,
    /// The time limit, until it has passed.
    limit: Option<Duration>,
    /// Runs from the first poll.
    timer: Option<D::Timer>,
}

impl<D: Drive> Default for Cancellation<D> {
    fn default() -> Self {
        Self { handle: CancelHandle::default(), lasts: false, limit: None, timer: None }
    }
}

impl<D: Drive> fmt::Debug for Cancellation<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<D: Drive> Cancellation<D> {
    /// A handle.
    pub fn handle(&self) -> CancelHandle<D> {
        self.handle.clone()
    }

    /// Sets a time limit, which runs from the first poll.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = Some(limit);
    }

    /// Whether it is for further calls when the present one has ended.
    pub fn set_lasting(&mut self, lasts: bool) {
        self.lasts = lasts;
    }

    /// Starts the time limit anew, for further calls.
    pub fn renew(&mut self, limit: Duration) {
        self.handle.0.lock().reason.take_if(|reason| matches!(reason, CancelReason::Limit(_)));
        (self.limit, self.timer) = (Some(limit), None);
    }

    /// Checks the time limit, and registers this task to be woken when the call must end. Must be
    /// called whenever the call is polled.
    pub fn watch(&mut self, cx: &mut Context<'_>) {
        self.handle.register(cx.waker());
        let Some(limit) = self.limit else {
            return;
        };
        let timer = self.timer.get_or_insert_with(|| D::timer(limit));
        // A clock may tick in milliseconds: a limit of zero would leave some time.
        if limit.is_zero() || Pin::new(timer).poll(cx).is_ready() {
            self.limit = None;
            if let Some((driver, target)) = self.handle.end(CancelReason::Limit(limit)) {
                driver.start_cancel(target, OnGraceExpired::GiveUp);
            }
        }
    }

    /// The timer of the time limit, once it runs.
    pub fn timer(&self) -> Option<&D::Timer> {
        self.timer.as_ref()
    }

    /// Whether the call must end.
    pub fn must_end(&self) -> bool {
        self.handle.reason().is_some()
    }

    /// The error of a transaction that must end. `begun`: something of it was sent.
    pub fn interrupted(&self, begun: bool) -> Option<Error> {
        let error = match self.handle.reason()? {
            CancelReason::Asked => {
                Error::new(ErrorKind::Cancelled, "the interaction was cancelled, as asked")
            }
            CancelReason::Limit(limit) => Error::new(
                ErrorKind::Timeout,
                format!("the interaction was cancelled after its time limit of {limit:?}"),
            ),
        };
        Some(error.with_delivery(if begun { Delivery::Answered } else { Delivery::NotSent }))
    }

    /// What must be done if the statement does not end within the grace period.
    pub fn on_grace_expired(&self) -> OnGraceExpired {
        match self.handle.reason() {
            Some(CancelReason::Limit(_)) => OnGraceExpired::GiveUp,
            _ => OnGraceExpired::RunOn,
        }
    }

    /// The call or transaction was sent, and can be cancelled there. If it must end already, it is
    /// cancelled.
    pub fn sent(&self, driver: &Arc<D>, target: CancelTarget) {
        self.handle.put(Stage::Active(Arc::downgrade(driver), target));
        if self.must_end() {
            driver.start_cancel(target, self.on_grace_expired());
        }
    }

    /// The call is between two steps.
    pub(crate) fn queued(&self) {
        self.handle.put(Stage::Queued);
    }

    /// There is nothing to cancel any more.
    pub fn over(&self) {
        self.handle.put(if self.lasts { Stage::Queued } else { Stage::Over });
        let waker = self.handle.0.lock().waker.take();
        drop(waker);
    }

    /// The error of a call that was not sent.
    pub(crate) fn not_sent(&self) -> Error {
        match self.handle.reason() {
            Some(CancelReason::Limit(limit)) => Error::new(
                ErrorKind::Timeout,
                format!("the time limit of {limit:?} passed before the statement was sent"),
            ),
            _ => Error::new(ErrorKind::Cancelled, "the statement was cancelled before it was sent"),
        }
    }

    /// The error of a call that was ended, with the reason for it.
    #[cold]
    pub(crate) fn map_error(&self, error: Error) -> Error {
        let Some(CancelReason::Limit(limit)) = self.handle.reason() else {
            return error;
        };
        let message = match (error.kind(), error.delivery()) {
            (ErrorKind::Cancelled, Delivery::NotSent) => return self.not_sent(),
            (ErrorKind::Cancelled, Delivery::CarriedOut) => {
                format!("the rest of the answer was discarded after the time limit of {limit:?}")
            }
            (ErrorKind::Cancelled, _) => {
                format!("the statement was cancelled after its time limit of {limit:?}")
            }
            (ErrorKind::Lost, _) => {
                format!("the time limit of {limit:?} passed, and the connection was given up")
            }
            _ => return error,
        };
        let mut late = Error::new(ErrorKind::Timeout, message).with_delivery(error.delivery());
        if let Some(statement) = error.statement() {
            late = late.with_statement(statement);
        }
        match error.server() {
            Some(server) => late.with_server(server.clone()),
            None => late.with_source(error),
        }
    }
}
