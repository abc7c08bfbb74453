//! The ends of a call other than its answer: abandoned, dropped, cancelled, out of time.

use std::task::Context;
use std::time::Duration;

use txpostgres_session::{Error, TransactionStatus};

use super::{Call, CallState, OnDrop};
use crate::access_lock::LockId;
use crate::cancellation::{CancelTarget, Cancellation};
use crate::drive::Drive;
use crate::multiplexer::{OnGraceExpired, ResponseMode};
use crate::operation::Operation;

impl<W, D: Drive> Call<'_, W, D> {
    /// Cancels the request when the call is dropped before its end.
    pub fn cancel_on_drop(&mut self) {
        (self.is_exclusive, self.on_drop) = (true, OnDrop::Cancel);
    }

    /// Cancels the request when the call is dropped before its end. In a transaction that a
    /// statement has begun, which a cancel would fail, the rest of the response is read and
    /// discarded instead.
    #[must_use]
    pub fn stopped_on_drop(mut self) -> Self {
        (self.is_exclusive, self.on_drop) = (true, OnDrop::CancelOutsideTransaction);
        self
    }

    /// Sets how long it waits for a session that is opened anew.
    pub fn wait_for_recovery(&mut self, limit: Duration) {
        self.patience.get_or_insert_default().set_limit(limit);
    }

    /// Takes the cancellation out of this call, which is over, for the call that follows it.
    pub fn take_cancellation(&mut self) -> Option<Box<Cancellation<D>>> {
        self.cancellation.take()
    }

    /// Continues with the cancellation of an earlier call.
    #[must_use]
    pub fn with_cancellation(mut self, cancellation: Option<Box<Cancellation<D>>>) -> Self {
        self.is_exclusive |= cancellation.is_some();
        self.cancellation = cancellation;
        self
    }

    /// What may end this call early.
    pub fn cancellation(&mut self) -> &mut Cancellation<D> {
        self.is_exclusive = true;
        self.cancellation.get_or_insert_default()
    }

    /// Whether anything may end this call early.
    pub fn is_watched(&self) -> bool {
        self.cancellation.is_some()
    }

    /// Checks the time limit. Must be called whenever the call is polled.
    pub fn watch(&mut self, cx: &mut Context<'_>) {
        if let Some(cancellation) = &mut self.cancellation {
            cancellation.watch(cx);
        }
    }

    /// The error with which the call ends, with the reason for an early end.
    #[cold]
    pub(super) fn map_error(&self, error: Error) -> Error {
        match &self.cancellation {
            Some(cancellation) => {
                cancellation.over();
                cancellation.map_error(error)
            }
            None => error,
        }
    }

    /// The next step must be submitted.
    pub(super) fn queue(&mut self, id: Option<LockId>) {
        self.state = CallState::Queued { id };
        if let Some(cancellation) = &self.cancellation {
            cancellation.queued();
        }
    }

    /// The error of a call that must end while it is queued.
    #[inline]
    pub(super) fn must_end(&mut self) -> Option<Error> {
        let cancellation = self.cancellation.as_ref()?;
        if !matches!(self.state, CallState::Queued { .. }) || !cancellation.must_end() {
            return None;
        }
        let error = cancellation.not_sent();
        self.leave();
        Some(error)
    }

    /// The task does something else for now, and the answer is kept. Others must not rely on the
    /// task to drive.
    pub fn step_aside(&mut self) {
        let (Ok(scope), CallState::Sent { slot, flushes, .. }) = (&self.scope, &mut self.state)
        else {
            return;
        };
        let (driver, flushes) = (scope.driver(), std::mem::take(flushes));
        let mut locked = driver.lock();
        let (multiplexer, effects) = locked.parts();
        multiplexer.step_aside(*slot, effects);
        if flushes {
            multiplexer.end_flush_promise();
        }
        drop(locked);
        if flushes {
            driver.drive(None, true);
        }
        if driver.is_ready() {
            // This call may have been the one that was woken to drive.
            driver.pass_on();
        }
    }

    /// Abandons the call: nothing fetches its answer any more.
    pub fn leave(&mut self) {
        let state = std::mem::replace(&mut self.state, CallState::Ended);
        let Ok(scope) = &self.scope else {
            return;
        };
        let driver = scope.driver();
        match state {
            CallState::Queued { id: Some(id) } => {
                let mut locked = driver.lock();
                let (multiplexer, effects) = locked.parts();
                multiplexer.leave_queue(id, effects);
            }
            CallState::Sent { slot, flushes, .. } => {
                let cancels = match self.on_drop {
                    OnDrop::Abandon => false,
                    OnDrop::Cancel => true,
                    OnDrop::CancelOutsideTransaction => {
                        driver.lock().transaction_status() == TransactionStatus::Idle
                    }
                };
                if cancels {
                    let target = CancelTarget::Request(slot.ticket());
                    driver.start_cancel(target, OnGraceExpired::GiveUpIfTold);
                }
                let mut locked = driver.lock();
                let (multiplexer, effects) = locked.parts();
                let is_taken_back = multiplexer.leave(slot, effects);
                if let Operation::Statement(query) = &mut self.operation {
                    multiplexer.abandon(query);
                }
                if flushes {
                    multiplexer.end_flush_promise();
                }
                // A COPY that was abandoned has a last message to send.
                let has_last_message =
                    self.mode != ResponseMode::Buffered && multiplexer.has_output();
                // Chunks that it did not fetch held up reading.
                if !multiplexer.is_over_limit() {
                    driver.resume();
                }
                drop(locked);
                // Requests that waited behind it may be sent now.
                if flushes || has_last_message || is_taken_back {
                    driver.drive(None, true);
                }
                if driver.is_ready() {
                    // This call may have been the one that was woken to drive.
                    driver.pass_on();
                }
            }
            CallState::Queued { id: None } | CallState::Ended => {}
        }
    }
}

impl<W, D: Drive> Drop for Call<'_, W, D> {
    fn drop(&mut self) {
        if !matches!(self.state, CallState::Ended) {
            self.leave();
            if let Some(cancellation) = &self.cancellation {
                cancellation.over();
            }
        }
    }
}
