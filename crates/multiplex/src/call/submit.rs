//! The way of a call's next step into the session: admitted, planned, encoded without the lock, and
//! sent.

use std::task::{Context, Poll, Waker, ready};

use txpostgres_session::{Result, Submitted, Ticket};

use super::{BatchStep, Call, CallState, polled_after_end};
use crate::access_lock::LockId;
use crate::cancellation::CancelTarget;
use crate::drive::{Drive, Locked};
use crate::multiplexer::{Access, Multiplexer, ResponseMode};
use crate::operation::{BindParams, Operation, put_buffer, take_buffer};
use crate::slots::SlotId;

impl<W: BindParams, D: Drive> Call<'_, W, D> {
    /// Submits the next step, if it may be submitted now.
    #[inline]
    pub(super) fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = self.poll_submit(cx);
        if let Poll::Ready(Err(_)) = polled {
            // The call has ended before it was sent; it must not stay in the queue.
            self.leave();
        } else if self.cancellation.is_some()
            && let CallState::Sent { slot, .. } = self.state
        {
            self.note_sent(slot);
        }
        polled
    }

    fn note_sent(&self, slot: SlotId) {
        if let (Some(cancellation), Ok(scope)) = (&self.cancellation, &self.scope)
            && self.batch.is_none()
        {
            cancellation.sent(scope.driver(), CancelTarget::Request(slot.ticket()));
        }
    }

    #[inline]
    fn poll_submit(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let (Ok(scope), CallState::Queued { mut id }) = (&self.scope, self.state) else {
            return Poll::Ready(Err(polled_after_end()));
        };
        scope.check()?;
        let (driver, access) = (scope.driver(), scope.access());
        let mut waker = Some(cx.waker().clone());
        let mut buffer = None;
        let mut locked = driver.lock();
        let ticket = loop {
            let (multiplexer, effects) = locked.parts();
            if !may_go_on(&mut self.batch, &self.operation, multiplexer, &self.sql)? {
                return Poll::Pending;
            }
            let patience = self.patience.as_deref();
            let waits = |multiplexer: &Multiplexer| multiplexer.waits_with(patience);
            let admitted = multiplexer.admit(access, &mut id, waits, &mut waker, effects);
            self.state = CallState::Queued { id };
            let begin = match admitted {
                Poll::Ready(begin) => begin?,
                Poll::Pending if !multiplexer.is_usable_by(access) => {
                    drop(locked);
                    return self.wait_for_session(cx);
                }
                Poll::Pending => {
                    let lease = multiplexer.lease().filter(|_| access == Access::Shared);
                    drop(locked);
                    return self.wait(lease);
                }
            };
            let (sql, begin) = (&*self.sql, begin.as_deref());
            let session = multiplexer.open_session()?;
            let query = match &mut self.operation {
                Operation::Statement(query) => query,
                simple @ Operation::Simple { .. } => {
                    let ticket = simple.submit_simple(session, sql, begin);
                    let ticket = ticket.ok_or_else(polled_after_end)??;
                    multiplexer.begin_with(ticket, begin);
                    break ticket;
                }
            };
            let plan = query.plan(session, sql)?;
            // Values and the code that encodes them are the user's: none of it runs under the lock.
            let generation = multiplexer.generation();
            let is_bare = self.params.is_bare();
            let buffer = buffer.get_or_insert_with(take_buffer);
            let encoded = locked.without_lock(is_bare, || {
                self.params.bind(|execute| Ok(plan.encode(sql, execute, begin, buffer)))
            })?;
            let (multiplexer, effects) = locked.parts();
            if !is_bare {
                // Meanwhile another call may have begun the transaction or taken the lease, and the
                // session may be a new one.
                let waits = |multiplexer: &Multiplexer| multiplexer.waits_with(patience);
                let admitted = multiplexer.admit(access, &mut id, waits, &mut waker, effects);
                self.state = CallState::Queued { id };
                match admitted {
                    Poll::Ready(again)
                        if again.as_ref().is_ok_and(|again| again.as_deref() == begin)
                            && multiplexer.generation() == generation => {}
                    _ => continue,
                }
            }
            match query.submit(multiplexer.open_session()?, sql, encoded)? {
                Submitted::PlanAgain(error) => {
                    // The user's own, perhaps: dropped outside of the lock.
                    locked.without_lock(error.is_none(), || drop(error));
                }
                Submitted::Sent(ticket) => {
                    multiplexer.begin_with(ticket, begin);
                    break ticket;
                }
            }
        };
        if let Some(buffer) = buffer {
            put_buffer(buffer);
        }
        let (slot, flushes, may_be_answered) = self.send_submitted(locked, ticket, waker, cx);
        if let Some(patience) = &mut self.patience {
            patience.end();
        }
        self.state = CallState::Sent { slot, id, flushes };
        if may_be_answered { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Gives the submitted step a slot, and sends it. Returns the slot, whether the call has
    /// promised to send output that gathers, and whether the answer may have arrived already.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn send_submitted(
        &self,
        mut locked: Locked<'_, D>,
        ticket: Ticket,
        waker: Option<Waker>,
        cx: &Context<'_>,
    ) -> (SlotId, bool, bool) {
        let driver = locked.driver();
        let mode = match self.mode {
            ResponseMode::Streamed(_) if !self.operation.is_last() => ResponseMode::Buffered,
            ResponseMode::Chunked if !self.operation.is_foreseen() => ResponseMode::Buffered,
            mode => mode,
        };
        // The access lock has taken the waker of a call that waited; such a call is polled again
        // anyway.
        let waker = waker.unwrap_or_else(|| Waker::noop().clone());
        let slot = locked.register(ticket, mode, self.is_exclusive, waker);
        // A buffer that is over its limit alone may not be with other requests behind it.
        if driver.is_paused() {
            driver.set_backpressure(locked.is_over_limit());
        }
        if self.batch.is_some() {
            return (slot, false, false);
        }
        let (flushes, may_be_answered) = send(driver, locked, slot, cx);
        (slot, flushes, may_be_answered)
    }

    /// Waits for a session that is opened anew, for as long as its patience lasts.
    #[cold]
    fn wait_for_session(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Ok(scope) = &self.scope else {
            return Poll::Pending;
        };
        let driver = scope.driver();
        ready!(self.patience.get_or_insert_default().poll(driver, cx));
        let why = driver.lock().why_closed();
        Poll::Ready(Err(why))
    }

    /// Waits in the queue. A call must not wait for the end of the transaction that it is made in.
    #[cold]
    fn wait(&self, lease: Option<LockId>) -> Poll<Result<()>> {
        let Ok(scope) = &self.scope else {
            return Poll::Pending;
        };
        let driver = scope.driver();
        if let Some(error) = lease.and_then(|lease| driver.refuse_within(lease)) {
            return Poll::Ready(Err(error));
        }
        // It may wait for a call of the same task that is not polled now.
        if driver.is_ready() {
            driver.drive(None, false);
        }
        driver.watch();
        Poll::Pending
    }
}

/// Whether an item of a batch may go further now; any other call may.
#[inline]
fn may_go_on(
    batch: &mut Option<BatchStep>,
    operation: &Operation,
    multiplexer: &mut Multiplexer,
    sql: &str,
) -> Result<bool> {
    let bare = match batch {
        None | Some(BatchStep::Running) => return Ok(true),
        Some(BatchStep::Ready) => return Ok(false),
        Some(BatchStep::Preparing { bare }) => *bare,
    };
    let is_ready = operation.runs_next(multiplexer.open_session()?, sql, bare);
    if is_ready {
        *batch = Some(BatchStep::Ready);
    }
    Ok(!is_ready)
}

/// Sends a request that was just submitted: at once if the connection was idle, otherwise together
/// with what other tasks submit in this turn of the executor. Returns whether this call has
/// promised to do so, and whether the answer may have arrived already.
#[allow(clippy::inline_always)]
#[inline(always)]
fn send<D: Drive>(
    driver: &D,
    mut locked: Locked<'_, D>,
    slot: SlotId,
    cx: &Context<'_>,
) -> (bool, bool) {
    let (multiplexer, effects) = locked.parts();
    if multiplexer.outstanding() == 1 {
        multiplexer.end_flush_promise();
        return (false, driver.send(locked, slot.ticket()));
    }
    let promises = multiplexer.promise_flush(effects);
    drop(locked);
    if promises {
        cx.waker().wake_by_ref();
    }
    (promises, false)
}
