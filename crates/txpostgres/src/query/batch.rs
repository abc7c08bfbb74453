//! Different statements in one round trip, each with a result of its own.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use txpostgres_multiplex::{BindParams, Drive, Params};
use txpostgres_session::{
    Answer, Error, ErrorKind, Execute, Result, ResultSet, SqlState, TransactionStatus,
};

use crate::driver::{Call, CancelHandle, Cancellation, Driver, Scope};

/// Statements that go to the server together: see [`Connection::batch`](crate::Connection::batch).
#[must_use = "a batch does nothing unless it is sent"]
pub struct Batch<'a> {
    scope: Result<Scope>,
    statements: Vec<(Cow<'a, str>, Parameters<'a>)>,
    /// Who may end it.
    cancellation: Option<Box<Cancellation>>,
    cancels_on_drop: bool,
}

/// The parameters of one statement, whatever their number and types.
struct Parameters<'a> {
    values: Box<dyn DynParams + 'a>,
    /// There are none.
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
            Err(Error::new(ErrorKind::Parameter, "the parameters could not be had"))
        })
    }
}

/// A statement that was sent, or what came of it.
enum Sent<'a> {
    /// `ran`: the statement itself was sent, and not only what describes it.
    Waiting {
        call: Call<'a, Parameters<'a>>,
        ran: bool,
    },
    Over(Result<ResultSet>),
}

impl Sent<'_> {
    /// What came of it. Of one that waits nothing yet.
    fn outcome(&self) -> Option<&Result<ResultSet>> {
        match self {
            Self::Waiting { .. } => None,
            Self::Over(outcome) => Some(outcome),
        }
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(scope: Result<Scope>) -> Self {
        Self { scope, statements: Vec::new(), cancellation: None, cancels_on_drop: false }
    }

    /// Adds a statement. Its text and its parameters may be borrowed for as long as the batch lives, or given away.
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

    /// How many statements it has.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// A handle by which the batch can be [cancelled](crate::Connection::cancel), from any task. The statement that runs is ended in
    /// the server, and those behind it are not sent: each has an [`ErrorKind::Cancelled`] for its result. What was done before it stays
    /// done; in an interaction the transaction fails.
    ///
    /// What can be cancelled travels alone: the batch is not one round trip then, but each statement has its own.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.cancellation.get_or_insert_default().handle())
    }

    /// Limits the time from the first poll of [`send`](Self::send) to its end. When it passes, the statement that runs is cancelled in
    /// the server, and those behind it are not sent: each has an [`ErrorKind::Timeout`] for its result, unless it was faster. What was
    /// done before stays done; in an interaction the transaction fails.
    ///
    /// As with a [handle](Self::cancel_handle), each statement has a round trip of its own. The server's `statement_timeout` limits each
    /// statement of a batch that is one.
    ///
    /// A server that does not end the statement within the grace ([`ConnectionBuilder::cancel_grace`](crate::ConnectionBuilder::cancel_grace), 5 s) is
    /// given up, with the connection.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.cancellation.get_or_insert_default().set_limit(limit);
        self
    }

    /// When the future of [`send`](Self::send) is dropped before its end, the statement that runs is cancelled in the server, and those
    /// behind it are not sent. As with a [handle](Self::cancel_handle), each statement has a round trip of its own.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancels_on_drop = true;
        self
    }

    /// Sends all statements and returns what came of each, in their order.
    ///
    /// Statements with parameters that the connection has not seen before are described first, all of them in one round trip
    /// more. Dropped before its end, what was sent runs on in the server, and the connection stays usable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] and [`ErrorKind::ConnectionDead`] if there is no connection to send them on. What becomes of a
    /// statement is in its own result: outside of an interaction each is a transaction of its own, and one that fails does not
    /// keep the others from being run.
    ///
    /// Within an interaction those after one that fails fail as well: the server refuses them with `25P02`, or they are not sent, with an
    /// [`ErrorKind::Request`] whose [source](std::error::Error::source) is what failed. If one cannot be described, none of them is run.
    pub async fn send(self) -> Result<Vec<Result<ResultSet>>> {
        if self.cancellation.is_some() || self.cancels_on_drop {
            return self.send_singly().await;
        }
        let scope = self.scope?;
        let driver = Arc::clone(scope.driver());
        driver.lock().check_open()?;
        let call = |(sql, params): (Cow<'a, str>, Parameters<'a>)| {
            let bare = params.bare;
            let call = Call::new(Ok(scope.clone()), sql, params).in_batch(bare);
            Sent::Waiting { call, ran: false }
        };
        let mut batch: Vec<Sent<'a>> = self.statements.into_iter().map(call).collect();
        // First what is new is described, so that then all run in their order.
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
        let over = batch.into_iter().filter_map(|sent| match sent {
            Sent::Over(result) => Some(result),
            Sent::Waiting { .. } => None,
        });
        Ok(over.collect())
    }

    /// Sends one statement after another: each can be cancelled, and nothing else is hit.
    async fn send_singly(self) -> Result<Vec<Result<ResultSet>>> {
        let scope = self.scope?;
        let mut cancellation = self.cancellation;
        if let Some(cancellation) = &mut cancellation {
            cancellation.set_lasting(true);
        }
        let shares_fate = matches!(scope, Scope::Transaction(_));
        let mut results: Vec<Result<ResultSet>> = Vec::with_capacity(self.statements.len());
        for (sql, params) in self.statements {
            // One that is to end says so itself.
            let is_to_end =
                cancellation.as_ref().is_some_and(|cancellation| cancellation.must_end());
            if shares_fate
                && !is_to_end
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
        Ok(results)
    }
}

fn last(mut results: Vec<ResultSet>) -> ResultSet {
    results.pop().unwrap_or_default()
}

/// Why what comes behind these is not run, in a transaction, if one of them has failed.
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

/// In a transaction that one could not be described has failed it before any was run. All that were not the reason are told which was.
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
            "in a transaction, what has parameters is described before anything of its batch is run; what it needs must be there by then",
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

/// Drives all of them until each is over, or ready to run if it may not yet. Those that share their `fate` are not sent when one before
/// them has failed.
fn poll_all(
    batch: &mut [Sent<'_>],
    driver: &Arc<Driver>,
    fate: bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let (mut waits, mut submits) = (false, false);
        // `is_held_up`: one before was not sent yet, and may fail.
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
        // All that was submitted in this round leaves together.
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
