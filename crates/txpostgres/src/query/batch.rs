//! Different statements in one round trip, each with a result of its own.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use txpostgres_multiplex::{BindParams, Borrower, Drive, Usable};
use txpostgres_session::{
    Answer, Error, ErrorKind, Execute, Params, Result, ResultSet, SqlState, TransactionStatus,
};

use crate::driver::{Call, CancelHandle, Cancellation, Driver, Scope, Source};

/// Statements that go to the server together: see [`Connection::batch`](crate::Connection::batch).
#[must_use = "a batch does nothing unless it is sent"]
pub struct Batch<'a> {
    source: Source,
    statements: Vec<(Cow<'a, str>, Parameters<'a>)>,
    /// What may end the batch early.
    cancellation: Option<Box<Cancellation>>,
    cancels_on_drop: bool,
}

/// The parameters of one statement, whatever their number and types.
struct Parameters<'a> {
    values: Box<dyn DynParams + 'a>,
    /// There are no values.
    bare: bool,
}

/// [`Params`] for a trait object.
trait DynParams: Send + Sync {
    fn bind(&self, f: &mut dyn FnMut(Execute<'_>));
}

impl<P: Params> DynParams for P {
    fn bind(&self, f: &mut dyn FnMut(Execute<'_>)) {
        self.with(|parameters| f(Execute::Run(parameters)));
    }
}

impl BindParams for Parameters<'_> {
    fn bind<R>(&self, f: impl FnOnce(Execute<'_>) -> Result<R>) -> Result<R> {
        let mut f = Some(f);
        let mut result = None;
        self.values.bind(&mut |execute| result = f.take().map(|f| f(execute)));
        result.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Parameter, "the parameters were not bound"))
        })
    }
}

/// A statement that was sent, or its outcome.
enum Sent<'a> {
    /// `ran`: the statement itself was sent, not only its description requested.
    Waiting {
        call: Call<'a, Parameters<'a>>,
        ran: bool,
    },
    Over(Result<ResultSet>),
}

impl Sent<'_> {
    /// The outcome, if it is known yet.
    fn outcome(&self) -> Option<&Result<ResultSet>> {
        match self {
            Self::Waiting { .. } => None,
            Self::Over(outcome) => Some(outcome),
        }
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, statements: Vec::new(), cancellation: None, cancels_on_drop: false }
    }

    /// Adds a statement. Its text and its parameters may be borrowed for as long as the batch
    /// lives, or owned.
    pub fn add<P: Params + 'a>(mut self, sql: impl Into<Cow<'a, str>>, params: P) -> Self {
        self.push(sql, params);
        self
    }

    /// Adds a statement, as [`add`](Self::add) does.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let mut batch = connection.batch();
    /// for table in ["people", "orders"] {
    ///     batch.push(format!("select count(*) from {table}"), ());
    /// }
    /// let counts = batch.send().await?;
    /// # Ok(()) }
    /// ```
    pub fn push<P: Params + 'a>(&mut self, sql: impl Into<Cow<'a, str>>, params: P) {
        let bare = params.with(|values| values.is_empty());
        self.statements.push((sql.into(), Parameters { values: Box::new(params), bare }));
    }

    /// The number of statements.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether the batch has no statements.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// A handle that [cancels](crate::Connection::cancel) the batch from any task. The statement
    /// that runs is cancelled in the server, and the statements after it are not sent: each gets an
    /// [`ErrorKind::Cancelled`] as its result. What was done before stays done; in an interaction
    /// the transaction fails.
    ///
    /// A request that can be cancelled is not pipelined with others: each statement of the batch
    /// then has a round trip of its own.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.cancellation.get_or_insert_default().handle())
    }

    /// Limits the time from the first poll of [`send`](Self::send) to its end. When the limit has
    /// passed, the statement that runs is cancelled in the server, and the statements after it are
    /// not sent: each gets an [`ErrorKind::Timeout`] as its result, unless it completed before.
    /// What was done before stays done; in an interaction the transaction fails.
    ///
    /// As with a [handle](Self::cancel_handle), each statement has a round trip of its own. To
    /// limit a batch that stays one round trip, set the server's `statement_timeout`, which limits
    /// each statement.
    ///
    /// If the server does not end the statement within the grace period
    /// ([`ConnectionBuilder::cancel_grace`](crate::ConnectionBuilder::cancel_grace), 5 s), the
    /// connection is closed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.cancellation.get_or_insert_default().set_limit(limit);
        self
    }

    /// When the future of [`send`](Self::send) is dropped before its end, the statement that runs
    /// is cancelled in the server, and the statements after it are not sent. As with a
    /// [handle](Self::cancel_handle), each statement has a round trip of its own.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancels_on_drop = true;
        self
    }

    /// Sends all statements and returns the result of each, in their order.
    ///
    /// Statements with parameters that the connection has not seen before are described first, all
    /// of them in one additional round trip. If the future is dropped before its end, the
    /// statements that were sent run on in the server, and the connection stays usable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] and [`ErrorKind::ConnectionDead`] if there is no open connection. The
    /// error of a statement is in its own result: outside of an interaction each statement is a
    /// transaction of its own, and a failed one does not keep the others from being run.
    ///
    /// Within an interaction the statements after a failed one fail as well: the server refuses
    /// them with `25P02`, or they are not sent, with an [`ErrorKind::Request`] whose
    /// [source](std::error::Error::source) is the first failure. If one statement cannot be
    /// described, none is run.
    pub async fn send(self) -> Result<Vec<Result<ResultSet>>> {
        if self.cancellation.is_some() || self.cancels_on_drop {
            return self.send_singly().await;
        }
        let mut source = self.source;
        let scope = source.borrow(Borrower::ALONE, None).await?;
        let driver = Arc::clone(scope.driver());
        Usable::new(&driver, scope.access()).await?;
        let call = |(sql, params): (Cow<'a, str>, Parameters<'a>)| {
            let bare = params.bare;
            let call = Call::new(Ok(scope.clone()), sql, params).in_batch(bare);
            Sent::Waiting { call, ran: false }
        };
        let mut batch: Vec<Sent<'a>> = self.statements.into_iter().map(call).collect();
        // New statements are described first, so that afterwards all can run in their order.
        poll_fn(|cx| poll_all(&mut batch, &driver, false, cx)).await;
        let shares_fate = matches!(scope, Scope::Transaction(_));
        if shares_fate {
            stop_if_unprepared(&mut batch, &driver);
        }
        for sent in &mut batch {
            if let Sent::Waiting { call, .. } = sent {
                call.run();
            }
        }
        poll_fn(|cx| poll_all(&mut batch, &driver, shares_fate, cx)).await;
        source.give_back();
        let over = batch.into_iter().filter_map(|sent| match sent {
            Sent::Over(result) => Some(result),
            Sent::Waiting { .. } => None,
        });
        Ok(over.collect())
    }

    /// Sends one statement after the other, so that a cancel can hit only this batch.
    async fn send_singly(self) -> Result<Vec<Result<ResultSet>>> {
        let (mut source, mut cancellation) = (self.source, self.cancellation);
        let scope = source.borrow(Borrower::ALONE, cancellation.as_deref_mut()).await?;
        if let Some(cancellation) = &mut cancellation {
            cancellation.set_lasting(true);
        }
        let shares_fate = matches!(scope, Scope::Transaction(_));
        let mut results: Vec<Result<ResultSet>> = Vec::with_capacity(self.statements.len());
        for (sql, params) in self.statements {
            // A call that must end early returns that error itself.
            let must_end =
                cancellation.as_ref().is_some_and(|cancellation| cancellation.must_end());
            if shares_fate
                && !must_end
                && let Some(error) = failed(results.iter().map(Some))
            {
                results.push(Err(error));
                continue;
            }
            let mut call =
                Call::new(Ok(scope.clone()), sql, params).with_cancellation(cancellation.take());
            if self.cancels_on_drop {
                call.cancel_on_drop();
            }
            let result = poll_fn(|cx| call.poll(cx, Answer::take_results)).await;
            cancellation = call.take_cancellation();
            results.push(result.map(last));
        }
        source.give_back();
        Ok(results)
    }
}

fn last(mut results: Vec<ResultSet>) -> ResultSet {
    results.pop().unwrap_or_default()
}

/// Within a transaction, the error of a statement that is not run because one of those `before` it
/// has failed.
fn failed<'a>(
    before: impl ExactSizeIterator<Item = Option<&'a Result<ResultSet>>>,
) -> Option<Error> {
    let item = before.len();
    let failure = |(number, outcome): (usize, Option<&'a Result<ResultSet>>)| {
        Some((number, outcome?.as_ref().err()?))
    };
    let (failed, error) = before.enumerate().find_map(failure)?;
    let message = format!("item {item} of the batch was not run, since item {failed} had failed");
    Some(error.not_run(message))
}

/// If a statement could not be described, the transaction has failed before any statement was run.
/// Every other statement gets an error that names the one that caused it.
fn stop_if_unprepared(batch: &mut [Sent<'_>], driver: &Arc<Driver>) {
    if driver.lock().transaction_status() != TransactionStatus::Failed {
        return;
    }
    let is_aborted = |error: &Error| error.sqlstate() == Some(SqlState::IN_FAILED_SQL_TRANSACTION);
    let mut errors = batch.iter().enumerate().filter_map(|(number, sent)| match sent {
        Sent::Over(Err(error)) => Some((number, error)),
        _ => None,
    });
    let Some(first) = errors.next() else {
        return;
    };
    let (at, cause) =
        std::iter::once(first).chain(errors).find(|(_, error)| !is_aborted(error)).unwrap_or(first);
    let not_run = |item: usize| {
        let message =
            format!("item {item} of the batch was not run, since item {at} could not be prepared");
        Sent::Over(Err(cause.not_run(message).with_hint(
            "in a transaction, statements with parameters are described before any statement of their batch is run; what they refer to must exist by then",
        )))
    };
    let is_stopped = |(item, sent): (usize, &Sent<'_>)| match sent {
        Sent::Waiting { .. } => true,
        Sent::Over(outcome) => item != at && outcome.as_ref().is_err_and(is_aborted),
    };
    let stopped: Vec<_> = batch
        .iter()
        .enumerate()
        .map(|(item, sent)| is_stopped((item, sent)).then(|| not_run(item)))
        .collect();
    for (sent, stopped) in batch.iter_mut().zip(stopped) {
        if let Some(stopped) = stopped {
            *sent = stopped;
        }
    }
}

/// Polls all statements until each is over, or ready to run but held back. If they share their
/// `fate`, a statement is not sent once an earlier one has failed.
fn poll_all(
    batch: &mut [Sent<'_>],
    driver: &Arc<Driver>,
    fate: bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let (mut waits, mut submits) = (false, false);
        // `is_held_up`: an earlier statement was not sent yet, and may fail.
        let (mut has_failed, mut is_held_up) = (false, false);
        for number in 0..batch.len() {
            let (before, rest) = batch.split_at_mut(number);
            let Some(sent) = rest.first_mut() else {
                break;
            };
            let (call, ran) = match sent {
                Sent::Waiting { call, ran } => (call, ran),
                Sent::Over(outcome) => {
                    has_failed |= outcome.is_err();
                    continue;
                }
            };
            if fate && !*ran && (has_failed || is_held_up) {
                match failed(before.iter().map(Sent::outcome)) {
                    Some(error) => *sent = Sent::Over(Err(error)),
                    None => waits = true,
                }
                continue;
            }
            let before = call.waiting().map(|(_, slot)| slot);
            match call.poll(cx, Answer::take_results) {
                Poll::Ready(results) => {
                    has_failed |= results.is_err();
                    *sent = Sent::Over(results.map(last));
                }
                Poll::Pending => {
                    waits |= !call.is_ready_to_run();
                    *ran |= call.has_sent_last();
                    is_held_up |= !*ran;
                    submits |= call.waiting().map(|(_, slot)| slot) != before;
                }
            }
        }
        if !waits {
            return Poll::Ready(());
        }
        if !submits {
            return Poll::Pending;
        }
        // Everything that was submitted in this round is sent together.
        driver.drive(None, true);
        if !driver.is_ready() {
            return Poll::Pending;
        }
    }
}

impl fmt::Debug for Batch<'_> {
    /// Without parameters: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statements = self.statements.iter().map(|(sql, _)| sql);
        f.debug_list().entries(statements).finish()
    }
}
