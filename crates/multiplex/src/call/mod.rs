//! One call: a statement on its way to the server and back, driven by the task that awaits it.
//!
//! ```text
//!   Queued ──submitted──▶ Sent ──answered──▶ Ended, or Queued again for the next step
//!      └──────────────refused───────────────▶ Ended
//! ```

mod drop;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use txpostgres_session::{
    Answer, Error, ErrorKind, NextStep, Query, Result, Results, Submitted, Ticket,
};

use crate::access_lock::LockId;
use crate::cancellation::{CancelTarget, Cancellation};
use crate::drive::{Drive, Locked};
use crate::multiplexer::{Access, Multiplexer, ResponseMode};
use crate::operation::{BindParams, Operation, SimpleOperation, put_buffer, take_buffer};
use crate::response_buffer::{Chunk, Next};
use crate::scope::Scope;
use crate::slots::SlotId;

/// A statement and where it is: see the module's text.
pub struct Call<'a, W, D: Drive> {
    /// In which scope; or why in none.
    scope: Result<Scope<D>, Option<Error>>,
    sql: Cow<'a, str>,
    params: W,
    operation: Operation,
    mode: ResponseMode,
    /// Nothing else is in flight while it is: it may be cancelled, or what it sends must not be mixed
    /// with other requests.
    is_exclusive: bool,
    /// It is an item of a batch, which sends what is submitted.
    batch: Option<BatchStep>,
    on_drop: OnDrop,
    state: CallState,
    cancellation: Option<Box<Cancellation<D>>>,
}

#[derive(Debug, Clone, Copy)]
enum CallState {
    /// Not submitted, or about to be submitted again; perhaps in the queue of the access lock.
    Queued {
        id: Option<LockId>,
    },
    /// Submitted. `flushes`: this call has promised to send what gathers until it is polled next.
    Sent {
        slot: SlotId,
        id: Option<LockId>,
        flushes: bool,
    },
    Ended,
}

/// What becomes of what was sent when nothing waits for it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// The server runs it to its end, and the answer is discarded.
    Abandon,
    /// It is cancelled.
    Cancel,
    /// It is cancelled, unless that would fail a transaction that a statement has begun: then what is
    /// left is read and discarded.
    CancelOutsideTransaction,
}

/// How far an item of a batch may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchStep {
    /// It is described first. `bare`: it has no parameters.
    Preparing { bare: bool },
    /// It runs next, when it may.
    Ready,
    /// It may run.
    Running,
}

/// What [`Call::poll_chunk`] fetches.
#[derive(Debug)]
pub enum Fetched {
    /// More of the response.
    Chunk(Chunk),
    /// How it ended; what came in chunks is not in it.
    End(Box<Answer>),
}

impl<'a, W: BindParams, D: Drive> Call<'a, W, D> {
    /// A call of one statement.
    pub fn new(scope: Result<Scope<D>>, sql: impl Into<Cow<'a, str>>, params: W) -> Self {
        Self {
            scope: scope.map_err(Some),
            sql: sql.into(),
            params,
            operation: Operation::Statement(Query::new()),
            mode: ResponseMode::Buffered,
            is_exclusive: false,
            batch: None,
            on_drop: OnDrop::Abandon,
            state: CallState::Queued { id: None },
            cancellation: None,
        }
    }

    /// The response is fetched in chunks, of which `limit` bytes may wait.
    #[must_use]
    pub fn streamed(mut self, limit: usize) -> Self {
        self.limit(limit);
        if let Operation::Statement(query) = &mut self.operation {
            query.prepare_first();
        }
        self
    }

    /// Sets how many bytes of chunks may wait.
    pub fn limit(&mut self, bytes: usize) {
        self.mode = ResponseMode::Streamed(bytes);
    }

    /// The response is fetched in chunks if it is large.
    pub fn chunked(&mut self) {
        self.mode = ResponseMode::Chunked;
    }

    /// Nothing else must be in flight while it is.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// It is an item of a batch, which sends what is submitted, and stops before it runs. `bare`: it
    /// has no parameters.
    #[must_use]
    pub fn in_batch(mut self, bare: bool) -> Self {
        self.batch = Some(BatchStep::Preparing { bare });
        self
    }

    /// Whether it runs next, when it [may](Self::run).
    pub fn is_ready_to_run(&self) -> bool {
        self.batch == Some(BatchStep::Ready)
    }

    /// An item of a batch may run.
    pub fn run(&mut self) {
        self.batch = self.batch.map(|_| BatchStep::Running);
    }

    /// The formats in which to ask for the columns.
    pub fn set_results(&mut self, results: Results) {
        if let Operation::Statement(query) = &mut self.operation {
            query.set_results(results);
        }
    }

    /// The statement is described and not run.
    #[must_use]
    pub fn describing(mut self) -> Self {
        self.operation = Operation::Statement(Query::describing());
        self
    }

    /// Its text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Gives away the text of this call, which is over, to one that goes on for it.
    pub fn take_sql(&mut self) -> Cow<'a, str> {
        std::mem::take(&mut self.sql)
    }

    /// What it waits for, and where.
    pub fn waiting(&self) -> Option<(&Arc<D>, SlotId)> {
        match (&self.scope, self.state) {
            (Ok(scope), CallState::Sent { slot, .. }) => Some((scope.driver(), slot)),
            _ => None,
        }
    }

    /// Whether a request of it is in flight.
    pub fn is_sent(&self) -> bool {
        self.waiting().is_some()
    }

    /// Whether the statement itself has been submitted, and not a step on the way to it.
    pub fn has_sent_last(&self) -> bool {
        self.is_sent() && self.operation.is_last()
    }

    /// Whether something of it was sent, and it cannot be left as if it had never been.
    pub fn has_begun(&self) -> bool {
        self.is_sent() || self.operation.has_begun()
    }

    /// The answer; `take` takes from it what the caller wants.
    #[inline]
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Answer) -> T,
    ) -> Poll<Result<T>> {
        if self.cancellation.is_some() {
            self.watch(cx);
        }
        let fetched = self.poll_fetched(cx, |next| match next {
            // A call that is polled for a whole answer is delivered no chunks.
            Fetch::Chunk(_) => None,
            Fetch::End(mut answer, locked) => {
                let taken = take(&mut answer);
                locked.recycle(answer);
                Some(taken)
            }
            Fetch::Held(mut answer) => Some(take(&mut answer)),
        });
        if self.cancellation.is_none() {
            return fetched;
        }
        self.map_outcome(fetched)
    }

    /// The next chunk of the response, or its end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fetched>> {
        self.watch(cx);
        let polled = self.poll_fetched(cx, |next| {
            Some(match next {
                Fetch::Chunk(chunk) => Fetched::Chunk(chunk),
                Fetch::End(answer, _) | Fetch::Held(answer) => Fetched::End(answer),
            })
        });
        match &polled {
            // There is more to come.
            Poll::Pending | Poll::Ready(Ok(Fetched::Chunk(_))) => polled,
            Poll::Ready(Ok(Fetched::End(answer))) if answer.is_suspended() => polled,
            Poll::Ready(_) => self.map_outcome(polled),
        }
    }

    /// Gives back an answer that was fetched with [`poll_chunk`](Self::poll_chunk).
    pub fn recycle(&self, answer: Box<Answer>) {
        if let Ok(scope) = &self.scope {
            scope.driver().lock().recycle(answer);
        }
    }

    /// The one loop of every call. `take` is `None` for what is not wanted.
    // On the way of every plain query; a call of it costs as much as what it does.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn poll_fetched<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(Fetch<'_, '_, D>) -> Option<T>,
    ) -> Poll<Result<T>> {
        let mut spare = None;
        loop {
            let (slot, id) = match ready!(self.poll_submitted(cx)) {
                Ok(submitted) => submitted,
                Err(error) => {
                    let held = self.operation.take_held().map(Fetch::Held);
                    return Poll::Ready(held.and_then(take).ok_or(error));
                }
            };
            let Ok(scope) = &self.scope else {
                return Poll::Ready(Err(polled_after_end()));
            };
            let driver = scope.driver();
            let (mut locked, polled) = loop {
                let mut locked = driver.lock();
                let (multiplexer, effects) = locked.parts();
                let polled = match self.mode {
                    ResponseMode::Buffered => multiplexer
                        .poll(slot, cx.waker(), &mut spare, effects)
                        .map(|poll| poll.map(Next::End)),
                    _ => multiplexer.poll_chunk(slot, cx.waker(), &mut spare, effects),
                };
                if let Ok(polled) = polled {
                    break (locked, polled);
                }
                // Cloned outside of the lock.
                drop(locked);
                spare = Some(cx.waker().clone());
            };
            let reads_on =
                self.mode != ResponseMode::Buffered && locked.may_read_on(slot) && driver.resume();
            let fetched = match polled {
                Poll::Ready(Next::End(settled)) => {
                    match locked.settled_step(&mut self.operation, &self.sql, settled) {
                        NextStep::Done(outcome) => {
                            self.state = CallState::Ended;
                            return Poll::Ready(match outcome {
                                Ok(answer) => take(Fetch::End(answer, &mut locked))
                                    .ok_or_else(polled_after_end),
                                Err(error) => Err(error),
                            });
                        }
                        NextStep::Again => {
                            drop(locked);
                            self.queue(id);
                            continue;
                        }
                        // Not begun again yet: its error is the outcome.
                        NextStep::AgainAfterRollback(error) => {
                            self.state = CallState::Ended;
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                Poll::Ready(Next::Chunk(chunk)) => Some(chunk),
                Poll::Pending => None,
            };
            drop(locked);
            if reads_on {
                driver.drive(Some(slot.ticket()), false);
            }
            match fetched {
                Some(chunk) => {
                    return Poll::Ready(take(Fetch::Chunk(chunk)).ok_or_else(polled_after_end));
                }
                None if reads_on => {}
                None => return Poll::Pending,
            }
        }
    }

    /// Submits what comes next, and drives the connection if that is this task's turn.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn poll_submitted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(SlotId, Option<LockId>)>> {
        if let Some(error) = self.must_end() {
            return Poll::Ready(Err(error));
        }
        let scope = match &mut self.scope {
            Ok(scope) => &*scope,
            Err(error) => {
                self.state = CallState::Ended;
                return Poll::Ready(Err(error.take().unwrap_or_else(polled_after_end)));
            }
        };
        match &mut self.state {
            CallState::Ended => Poll::Ready(Err(polled_after_end())),
            CallState::Sent { slot, id, flushes } => {
                let (slot, id, driver) = (*slot, *id, scope.driver());
                if std::mem::take(flushes) {
                    driver.lock().end_flush_promise();
                    driver.drive(Some(slot.ticket()), true);
                } else if driver.is_ready() {
                    driver.drive(Some(slot.ticket()), false);
                }
                Poll::Ready(Ok((slot, id)))
            }
            CallState::Queued { .. } => self.poll_queued(cx),
        }
    }
}

/// Part of a response, with the lock under which it was fetched.
enum Fetch<'l, 'd, D: Drive> {
    Chunk(Chunk),
    End(Box<Answer>, &'l mut Locked<'d, D>),
    /// The answer of a statement whose types could not be looked up any more.
    Held(Box<Answer>),
}

impl<W: BindParams, D: Drive> Call<'_, W, D> {
    /// Submits the next step, if it may be submitted now.
    #[inline]
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Result<(SlotId, Option<LockId>)>> {
        let polled = self.poll_submit(cx);
        match &polled {
            // What ended it before it was sent is known; it must not be left in the queue.
            Poll::Ready(Err(_)) => self.leave(),
            Poll::Ready(Ok((slot, _))) => self.note_sent(*slot),
            Poll::Pending => {
                if let CallState::Sent { slot, .. } = self.state {
                    self.note_sent(slot);
                }
            }
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
    fn poll_submit(&mut self, cx: &mut Context<'_>) -> Poll<Result<(SlotId, Option<LockId>)>> {
        let (Ok(scope), CallState::Queued { mut id }) = (&self.scope, self.state) else {
            return Poll::Ready(Err(polled_after_end()));
        };
        scope.check()?;
        let (driver, access) = (scope.driver(), scope.access());
        let mut waker = Some(cx.waker().clone());
        let mut buffer = None;
        let (locked, ticket) = loop {
            let mut locked = driver.lock();
            let (multiplexer, effects) = locked.parts();
            if !may_go_on(&mut self.batch, &self.operation, multiplexer, &self.sql)? {
                return Poll::Pending;
            }
            let admitted = multiplexer.admit(access, &mut id, &mut waker, effects);
            self.state = CallState::Queued { id };
            let begin = match admitted {
                Poll::Ready(begin) => begin?,
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
                    break (locked, ticket);
                }
            };
            let plan = query.plan(session, sql)?;
            // The values are the user's, and so is the code that writes them: none of it runs under
            // the lock.
            let generation = multiplexer.generation();
            let held = if self.params.is_bare() {
                Some(locked)
            } else {
                drop(locked);
                None
            };
            let buffer = buffer.get_or_insert_with(take_buffer);
            let encoded =
                self.params.bind(|execute| Ok(plan.encode(sql, execute, begin, buffer)))?;
            let (mut locked, is_held) = match held {
                Some(locked) => (locked, true),
                None => (driver.lock(), false),
            };
            let (multiplexer, effects) = locked.parts();
            if !is_held {
                // Meanwhile another call may have begun the transaction, or got the lease, and the
                // session may be another one.
                let admitted = multiplexer.admit(access, &mut id, &mut waker, effects);
                self.state = CallState::Queued { id };
                match admitted {
                    Poll::Ready(again)
                        if again.as_ref().is_ok_and(|again| again.as_deref() == begin)
                            && multiplexer.generation() == generation => {}
                    _ => continue,
                }
            }
            match query.submit(multiplexer.open_session()?, sql, encoded)? {
                Submitted::PlanAgain => {}
                Submitted::Sent(ticket) => {
                    multiplexer.begin_with(ticket, begin);
                    break (locked, ticket);
                }
            }
        };
        if let Some(buffer) = buffer {
            put_buffer(buffer);
        }
        let (slot, flushes, may_be_answered) = self.expect(locked, ticket, waker, cx);
        self.state = CallState::Sent { slot, id, flushes };
        if may_be_answered { Poll::Ready(Ok((slot, id))) } else { Poll::Pending }
    }

    /// Notes what is expected of the step that was submitted, and sends it. Gives its slot, whether the
    /// call has promised to send what gathers, and whether the answer may be there already.
    #[inline]
    fn expect(
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
        // The access lock takes the waker of a call that waits, and then the call is polled anew.
        let waker = waker.unwrap_or_else(|| Waker::noop().clone());
        let slot = locked.expect(ticket, mode, self.is_exclusive, waker);
        // What is over the limit alone may not be with others behind it.
        if driver.is_paused() {
            driver.set_backpressure(locked.is_over_limit());
        }
        if self.batch.is_some() {
            return (slot, false, false);
        }
        let (flushes, may_be_answered) = send(driver, locked, slot, cx);
        (slot, flushes, may_be_answered)
    }

    /// Waits for the turn of this call, which must not wait for the end of a transaction that it is
    /// made in.
    #[cold]
    fn wait(&self, lease: Option<LockId>) -> Poll<Result<(SlotId, Option<LockId>)>> {
        let Ok(scope) = &self.scope else {
            return Poll::Pending;
        };
        let driver = scope.driver();
        if let Some(error) = lease.and_then(|lease| driver.refuse_within(lease)) {
            return Poll::Ready(Err(error));
        }
        // What it waits for may be a call of this task that is not polled.
        if driver.is_ready() {
            driver.drive(None, false);
        }
        driver.watch();
        Poll::Pending
    }

    /// Awaits the answer.
    ///
    /// # Errors
    ///
    /// What the call ends with.
    pub async fn answer<T>(mut self, take: impl Fn(&mut Answer) -> T) -> Result<T> {
        std::future::poll_fn(|cx| self.poll(cx, &take)).await
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

/// Sends what was just submitted: at once if the connection was idle, otherwise together with what
/// other tasks submit in this turn of the executor. Says whether this call has promised to do so, and
/// whether the answer may be there already.
#[inline]
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

impl<'a, D: Drive> Call<'a, (), D> {
    /// A call without parameters.
    pub fn simple(
        scope: Result<Scope<D>>,
        sql: impl Into<Cow<'a, str>>,
        operation: SimpleOperation,
    ) -> Self {
        let mut this = Self::new(scope, sql, ());
        this.operation = Operation::Simple { operation, begins: false };
        this
    }

    /// A call of several statements, without parameters.
    pub fn script(scope: Result<Scope<D>>, sql: impl Into<Cow<'a, str>>) -> Self {
        Self::simple(scope, sql, SimpleOperation::Script)
    }
}

impl<W, D: Drive> fmt::Debug for Call<'_, W, D> {
    /// Without parameters: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The error of a future that is polled after it was ready.
pub fn polled_after_end() -> Error {
    Error::new(ErrorKind::Request, "a future was polled again after it had ended")
}
