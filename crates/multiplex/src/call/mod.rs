//! One call: a statement on its way to the server and back, driven by the task that awaits it.
//!
//! ```text
//!   Queued ──submitted──▶ Sent ──answered──▶ Ended, or Queued again for the next step
//!      └──────────────refused───────────────▶ Ended
//! ```

mod borrow;
mod drop;
mod submit;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use txpostgres_session::{Answer, Error, ErrorKind, NextStep, Query, Result, Results};

use crate::access_lock::LockId;
use crate::cancellation::Cancellation;
use crate::drive::{Drive, Locked};
use crate::loan::{Lender, Source};
use crate::multiplexer::{Patience, ResponseMode};
use crate::operation::{BindParams, Operation, SimpleOperation};
use crate::response_buffer::{Chunk, Next};
use crate::scope::Scope;
use crate::slots::SlotId;
use borrow::give_back;

/// A statement and its state: see the module's text.
pub struct Call<'a, W, D: Drive> {
    /// The scope; or the error if there is none. Neither: a connection must be borrowed.
    scope: Result<Scope<D>, Option<Error>>,
    /// Lends the connection. `None` for a call with a scope of its own, and after the end.
    loan: Lender<D>,
    sql: Cow<'a, str>,
    params: W,
    operation: Operation,
    mode: ResponseMode,
    /// Nothing else is in flight meanwhile: the call may be cancelled, or its data must not be
    /// mixed with other requests.
    is_exclusive: bool,
    /// A part of its answer was handed out: it cannot begin again on another connection.
    is_answering: bool,
    /// Set if the call is an item of a batch, which sends what its items submit.
    batch: Option<BatchStep>,
    on_drop: OnDrop,
    state: CallState,
    cancellation: Option<Box<Cancellation<D>>>,
    /// How long it waits for a session, unless that is as the connection says. Apart, since most
    /// calls do not wait.
    patience: Option<Box<Patience<D>>>,
}

#[derive(Debug, Clone, Copy)]
enum CallState {
    /// Not submitted, or about to be submitted again; perhaps in the queue of the access lock.
    Queued {
        id: Option<LockId>,
    },
    /// Submitted. `flushes`: this call has promised to send the output that gathers until its next
    /// poll.
    Sent {
        slot: SlotId,
        id: Option<LockId>,
        flushes: bool,
    },
    Ended,
}

/// What happens to a request that was sent when its call is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// The server runs it to its end, and the answer is discarded.
    Abandon,
    /// It is cancelled.
    Cancel,
    /// It is cancelled, unless that would fail a transaction that a statement has begun: then the
    /// rest of the response is read and discarded.
    CancelOutsideTransaction,
}

/// The progress that an item of a batch may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchStep {
    /// The statement is described first. `bare`: it has no parameters.
    Preparing { bare: bool },
    /// The next step is to run it, once that is allowed.
    Ready,
    /// It is allowed to run.
    Running,
}

/// What [`Call::poll_chunk`] fetches.
#[derive(Debug)]
pub enum Fetched {
    /// More of the response.
    Chunk(Chunk),
    /// The answer, without what was fetched in chunks.
    End(Box<Answer>),
}

impl<'a, W: BindParams, D: Drive> Call<'a, W, D> {
    /// A call of one statement.
    pub fn new(source: impl Into<Source<D>>, sql: impl Into<Cow<'a, str>>, params: W) -> Self {
        let (scope, loan) = source.into().into_parts();
        Self {
            scope,
            loan,
            sql: sql.into(),
            params,
            operation: Operation::Statement(Query::new()),
            mode: ResponseMode::Buffered,
            is_exclusive: false,
            is_answering: false,
            batch: None,
            on_drop: OnDrop::Abandon,
            state: CallState::Queued { id: None },
            cancellation: None,
            patience: None,
        }
    }

    /// Fetches the response in chunks, of which `limit` bytes may be buffered.
    #[must_use]
    pub fn streamed(mut self, limit: usize) -> Self {
        self.limit(limit);
        if let Operation::Statement(query) = &mut self.operation {
            query.prepare_first();
        }
        self
    }

    /// Sets how many bytes of chunks may be buffered.
    pub fn limit(&mut self, bytes: usize) {
        self.mode = ResponseMode::Streamed(bytes);
    }

    /// Fetches the response in chunks if it is large.
    pub fn chunked(&mut self) {
        self.mode = ResponseMode::Chunked;
    }

    /// Makes the call exclusive: nothing else is in flight meanwhile.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// Makes the call an item of a batch, which sends what is submitted. It stops before it runs.
    /// `bare`: it has no parameters.
    #[must_use]
    pub fn in_batch(mut self, bare: bool) -> Self {
        self.batch = Some(BatchStep::Preparing { bare });
        self
    }

    /// Whether the next step is to run it, once that is [allowed](Self::run).
    pub fn is_ready_to_run(&self) -> bool {
        self.batch == Some(BatchStep::Ready)
    }

    /// Allows an item of a batch to run.
    pub fn run(&mut self) {
        self.batch = self.batch.map(|_| BatchStep::Running);
    }

    /// Sets the formats in which the columns are requested.
    pub fn set_results(&mut self, results: Results) {
        if let Operation::Statement(query) = &mut self.operation {
            query.set_results(results);
        }
    }

    /// The statement is only described, not run.
    #[must_use]
    pub fn describing(mut self) -> Self {
        self.operation = Operation::Statement(Query::describing());
        self
    }

    /// The types that the statement uses are looked up, though they may be known.
    #[must_use]
    pub fn looking_up_anew(mut self) -> Self {
        if let Operation::Statement(query) = &mut self.operation {
            query.look_up_anew();
        }
        self
    }

    /// The text of the statement.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Takes the text out of this call, which is over, for the call that follows it.
    pub fn take_sql(&mut self) -> Cow<'a, str> {
        std::mem::take(&mut self.sql)
    }

    /// The request that it waits for, and its driver.
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

    /// Whether the statement itself was submitted, and not only a step before it.
    pub fn has_sent_last(&self) -> bool {
        self.is_sent() && self.operation.is_last()
    }

    /// Whether something of it was sent, so that it cannot be left as if it had never been made.
    pub fn has_begun(&self) -> bool {
        self.is_sent() || self.operation.has_begun()
    }

    /// Polls for the answer; `take` extracts the value from it.
    #[inline]
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Answer) -> T,
    ) -> Poll<Result<T>> {
        if self.cancellation.is_some() {
            self.watch(cx);
        }
        self.poll_fetched(cx, |fetched, cancellation, loan| {
            match fetched {
                Fetch::End(mut answer, mut locked) => {
                    let taken = take(&mut answer);
                    locked.recycle(answer);
                    locked.unlock();
                    if let Some(cancellation) = cancellation {
                        cancellation.over();
                    }
                    if loan.is_some() {
                        give_back(loan);
                    }
                    Poll::Ready(Ok(taken))
                }
                // A call that is polled for a whole answer gets no chunks.
                Fetch::Chunk(_) => Poll::Ready(Err(polled_after_end())),
            }
        })
    }

    /// Polls for the next chunk of the response, or its end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fetched>> {
        self.watch(cx);
        let polled = self.poll_fetched(cx, |fetched, cancellation, loan| {
            Poll::Ready(Ok(match fetched {
                Fetch::Chunk(chunk) => Fetched::Chunk(chunk),
                Fetch::End(answer, locked) => {
                    locked.unlock();
                    // More follows a suspended one.
                    if let Some(cancellation) = cancellation.filter(|_| !answer.is_suspended()) {
                        cancellation.over();
                    }
                    if loan.is_some() {
                        give_back(loan);
                    }
                    Fetched::End(answer)
                }
            }))
        });
        self.is_answering |= matches!(polled, Poll::Ready(Ok(Fetched::Chunk(_))));
        polled
    }

    /// Returns an answer that was fetched with [`poll_chunk`](Self::poll_chunk), for its memory to
    /// be reused.
    pub fn recycle(&self, answer: Box<Answer>) {
        if let Ok(scope) = &self.scope {
            scope.driver().lock().recycle(answer);
        }
    }

    /// The loop of every call. `take` makes the result of what was fetched.
    // On the path of every plain query, where the call itself would cost as much as the work. There
    // is one call of `take`, and the result is made in its place: it may be large.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn poll_fetched<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(Fetch<'_, D>, Option<&Cancellation<D>>, &mut Lender<D>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let fetched = loop {
            match self.poll_submitted(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    // The answer of a statement whose types could not be looked up any more.
                    if let (Some(answer), Ok(scope)) = (self.operation.take_held(), &self.scope) {
                        break Ok(Fetch::End(answer, scope.driver().lock()));
                    }
                    if self.loan.is_some() && self.borrows_anew(&error) {
                        continue;
                    }
                    break Err(error);
                }
            }
            let (Ok(scope), CallState::Sent { slot, id, .. }) = (&self.scope, self.state) else {
                break Err(polled_after_end());
            };
            let driver = scope.driver();
            let mut locked = driver.lock();
            let (multiplexer, effects) = locked.parts();
            let polled = match self.mode {
                ResponseMode::Buffered => multiplexer
                    .poll(slot, cx.waker(), &mut None, effects)
                    .map(|poll| poll.map(Next::End)),
                _ => multiplexer.poll_chunk(slot, cx.waker(), &mut None, effects),
            };
            let (mut locked, polled) = if let Ok(polled) = polled {
                (locked, polled)
            } else {
                locked.unlock();
                poll_anew(&**driver, self.mode, slot, cx)
            };
            let reads_on =
                self.mode != ResponseMode::Buffered && locked.may_read_on(slot) && driver.resume();
            let chunk = match polled {
                Poll::Ready(Next::End(settled)) => {
                    match locked.settled_step(&mut self.operation, &self.sql, settled) {
                        NextStep::Done(outcome) => {
                            self.state = CallState::Ended;
                            match outcome {
                                Ok(answer) => break Ok(Fetch::End(answer, locked)),
                                Err(error) => {
                                    locked.refused(slot.ticket(), &error);
                                    drop(locked);
                                    if self.loan.is_some() && self.borrows_anew(&error) {
                                        continue;
                                    }
                                    break Err(error);
                                }
                            }
                        }
                        NextStep::Again => {}
                        NextStep::AgainAfterRollback(error) => {
                            if !locked.restart(slot.ticket()) {
                                locked.refused(slot.ticket(), &error);
                                self.state = CallState::Ended;
                                break Err(error);
                            }
                        }
                    }
                    drop(locked);
                    self.queue(id);
                    continue;
                }
                Poll::Ready(Next::Chunk(chunk)) => Some(chunk),
                Poll::Pending => None,
            };
            drop(locked);
            if reads_on {
                driver.drive(Some(slot.ticket()), false);
            }
            match chunk {
                Some(chunk) => break Ok(Fetch::Chunk(chunk)),
                None if reads_on => {}
                None => return Poll::Pending,
            }
        };
        match fetched {
            Ok(fetched) => take(fetched, self.cancellation.as_deref(), &mut self.loan),
            Err(error) => {
                give_back(&mut self.loan);
                Poll::Ready(Err(self.map_error(error)))
            }
        }
    }

    /// Submits the next step, and drives the connection if it is ready. `Ok`: the step was sent,
    /// and its answer may have arrived.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn poll_submitted(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(error) = self.must_end() {
            return Poll::Ready(Err(error));
        }
        if self.scope.is_err() {
            ready!(self.borrow(cx))?;
        }
        let Ok(scope) = &self.scope else {
            return Poll::Ready(Err(polled_after_end()));
        };
        match &mut self.state {
            CallState::Ended => Poll::Ready(Err(polled_after_end())),
            CallState::Sent { slot, flushes, .. } => {
                let driver = scope.driver();
                if std::mem::take(flushes) {
                    driver.lock().end_flush_promise();
                    driver.drive(Some(slot.ticket()), true);
                } else if driver.is_ready() {
                    driver.drive(Some(slot.ticket()), false);
                }
                Poll::Ready(Ok(()))
            }
            CallState::Queued { .. } => self.poll_queued(cx),
        }
    }
}

/// Part of a response.
enum Fetch<'a, D: Drive> {
    Chunk(Chunk),
    /// With the lock under which it was fetched.
    End(Box<Answer>, Locked<'a, D>),
}

impl<W: BindParams, D: Drive> Call<'_, W, D> {
    /// Awaits the answer.
    ///
    /// # Errors
    ///
    /// The error of the call.
    pub async fn answer<T>(mut self, take: impl Fn(&mut Answer) -> T) -> Result<T> {
        std::future::poll_fn(|cx| self.poll(cx, &take)).await
    }
}

/// Polls for the answer of a request, or for a chunk of it, with the task's waker at hand: it is
/// cloned outside of the lock.
#[inline(never)]
fn poll_anew<'d, D: Drive>(
    driver: &'d D,
    mode: ResponseMode,
    slot: SlotId,
    cx: &Context<'_>,
) -> (Locked<'d, D>, Poll<Next>) {
    loop {
        let mut waker = Some(cx.waker().clone());
        let mut locked = driver.lock();
        let (multiplexer, effects) = locked.parts();
        let polled = match mode {
            ResponseMode::Buffered => multiplexer
                .poll(slot, cx.waker(), &mut waker, effects)
                .map(|poll| poll.map(Next::End)),
            _ => multiplexer.poll_chunk(slot, cx.waker(), &mut waker, effects),
        };
        // It was not needed after all.
        effects.discard(waker.take());
        if let Ok(polled) = polled {
            return (locked, polled);
        }
    }
}

impl<'a, D: Drive> Call<'a, (), D> {
    /// A call without parameters.
    pub fn simple(
        source: impl Into<Source<D>>,
        sql: impl Into<Cow<'a, str>>,
        operation: SimpleOperation,
    ) -> Self {
        let mut this = Self::new(source, sql, ());
        this.operation = Operation::Simple { operation, begins: false };
        this
    }

    /// A call of several statements, without parameters.
    pub fn script(source: impl Into<Source<D>>, sql: impl Into<Cow<'a, str>>) -> Self {
        Self::simple(source, sql, SimpleOperation::Script)
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
