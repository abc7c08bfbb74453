//! The end of a transaction, awaited or not: when its closure returns, fails, panics or is dropped.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use txpostgres_multiplex::{
    CancelTarget, Drive, EndKind, EndStart, OnGraceExpired, SlotId, polled_after_end,
};
use txpostgres_session::{Error, Result};

use crate::driver::{Driver, TransactionScope};

/// Rolls back unless the transaction was ended otherwise.
pub(super) struct Guard {
    scope: Arc<TransactionScope>,
    is_over: bool,
    /// Cancel the running statement first.
    pub(super) cancels: bool,
}

impl Guard {
    pub(super) fn new(scope: &Arc<TransactionScope>) -> Self {
        Self { scope: Arc::clone(scope), is_over: false, cancels: false }
    }

    /// Commits a transaction, or releases a savepoint. If that fails and the transaction or
    /// savepoint is still there, the guard rolls it back.
    pub(super) async fn commit(mut self) -> Result<()> {
        self.scope.end();
        let end = End::new(&self.scope, self.scope.commit());
        // Sent with the first poll. A rollback to a savepoint that was released would fail the
        // whole transaction; that of the transaction itself is refused once COMMIT was sent.
        self.is_over = self.scope.level() > 0;
        let outcome = end.await;
        self.is_over = outcome.is_ok();
        outcome
    }

    /// Rolls back.
    pub(super) async fn roll_back(mut self) -> Result<()> {
        self.scope.undo();
        self.is_over = true;
        End::new(&self.scope, self.scope.roll_back()).await
    }
}

/// The error that caused a rollback, or the error of a rollback that failed.
pub(super) fn rolled_back<E>(original: E, outcome: Result<()>) -> E
where
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    match outcome {
        Ok(()) => original,
        Err(rollback) => {
            tracing::warn!(target: "txpostgres", error = %rollback, "ROLLBACK failed");
            Error::rollback_failed(original, rollback).into()
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let scope = &self.scope;
        if self.cancels {
            let target = CancelTarget::Transaction(scope.lease());
            drop(scope.driver().cancel(target, OnGraceExpired::GiveUpIfTold));
        }
        let mut locked = scope.driver().lock();
        let (multiplexer, effects) = locked.parts();
        let (lease, level, kind) = (scope.lease(), scope.level(), scope.roll_back());
        let end = multiplexer.end(lease, level, kind, &mut None, effects);
        drop(locked);
        // An end that was submitted already makes this one fail.
        if !matches!(end, EndStart::Done(Err(_))) {
            scope.undo();
            scope.driver().drive(None, true);
        }
        scope.end();
    }
}

/// The end of a transaction or a savepoint, submitted at the first poll. If it is dropped later, it
/// is carried out all the same.
struct End {
    driver: Arc<Driver>,
    state: EndState,
}

enum EndState {
    New { scope: Arc<TransactionScope>, kind: EndKind },
    Sent(SlotId),
    Over,
}

impl End {
    fn new(scope: &Arc<TransactionScope>, kind: EndKind) -> Self {
        let driver = Arc::clone(scope.driver());
        Self { driver, state: EndState::New { scope: Arc::clone(scope), kind } }
    }
}

impl Future for End {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let slot = match std::mem::replace(&mut this.state, EndState::Over) {
            EndState::Over => return Poll::Ready(Err(polled_after_end())),
            EndState::New { scope, kind } => {
                let mut waker = Some(cx.waker().clone());
                let mut locked = this.driver.lock();
                let (multiplexer, effects) = locked.parts();
                let (lease, level) = (scope.lease(), scope.level());
                let start = multiplexer.end(lease, level, kind, &mut waker, effects);
                drop(locked);
                let own = match &start {
                    EndStart::Done(_) => None,
                    EndStart::Sent(slot) => Some(slot.ticket()),
                };
                this.driver.drive(own, true);
                match start {
                    EndStart::Done(outcome) => return Poll::Ready(outcome),
                    EndStart::Sent(slot) => slot,
                }
            }
            EndState::Sent(slot) => {
                if this.driver.is_ready() {
                    this.driver.drive(Some(slot.ticket()), false);
                }
                slot
            }
        };
        this.state = EndState::Sent(slot);
        let mut waker = None;
        loop {
            let mut locked = this.driver.lock();
            let (multiplexer, effects) = locked.parts();
            match multiplexer.poll_end(slot, cx.waker(), &mut waker, effects) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(outcome)) => {
                    this.state = EndState::Over;
                    return Poll::Ready(outcome);
                }
                // Cloned outside of the lock.
                Err(_) => {
                    drop(locked);
                    waker = Some(cx.waker().clone());
                }
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let EndState::Sent(slot) = self.state else {
            return;
        };
        let mut locked = self.driver.lock();
        let (multiplexer, effects) = locked.parts();
        multiplexer.abandon_end(slot, effects);
        drop(locked);
        if self.driver.is_ready() {
            // This task may have been the one that was woken to drive.
            self.driver.pass_on();
        }
    }
}
