//! Different statements in one round trip, each with a result of its own.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use txpostgres_session::{Answer, Error, ErrorKind, Result, ResultSet, Ticket, Work};

use crate::call::Call;
use crate::caller::Caller;
use crate::link::Link;
use crate::params::Params;
use crate::patience::{CancelHandle, Patience};
use crate::question::Task;

/// Statements that go to the server together: see [`Connection::batch`](crate::Connection::batch).
#[must_use = "a batch does nothing unless it is sent"]
pub struct Batch<'a> {
    caller: Result<Caller>,
    statements: Vec<(&'a str, Parameters<'a>)>,
    /// Who may end it.
    patience: Option<Box<Patience>>,
    cancels_on_drop: bool,
}

/// The parameters of one statement, whatever their number and types.
struct Parameters<'a> {
    values: Box<dyn Asks + 'a>,
    /// There are none.
    bare: bool,
}

/// [`Task`] for a trait object.
trait Asks: Send + Sync {
    fn ask(&self, ask: &mut dyn FnMut(Work<'_>) -> Result<Ticket>) -> Result<Ticket>;
}

impl<P: Params> Asks for P {
    fn ask(&self, ask: &mut dyn FnMut(Work<'_>) -> Result<Ticket>) -> Result<Ticket> {
        Params::with(self, |parameters| ask(Work::Run(parameters)))
    }
}

impl Task for Parameters<'_> {
    fn ask(&self, ask: impl FnOnce(Work<'_>) -> Result<Ticket>) -> Result<Ticket> {
        let mut ask = Some(ask);
        self.values.ask(&mut |work| match ask.take() {
            Some(ask) => ask(work),
            None => Err(Error::new(ErrorKind::Request, "a statement was asked for twice")),
        })
    }
}

/// A statement that was sent, or what came of it.
enum Sent<'a> {
    Waiting(Call<'a, Parameters<'a>>),
    Over(Result<ResultSet>),
}

impl<'a> Batch<'a> {
    pub(crate) fn new(caller: Result<Caller>) -> Self {
        Self { caller, statements: Vec::new(), patience: None, cancels_on_drop: false }
    }

    /// Adds a statement.
    pub fn add<P: Params + 'a>(mut self, sql: &'a str, params: P) -> Self {
        self.push(sql, params);
        self
    }

    /// Adds a statement.
    pub fn push<P: Params + 'a>(&mut self, sql: &'a str, params: P) {
        let bare = params.with(|values| values.is_empty());
        self.statements.push((sql, Parameters { values: Box::new(params), bare }));
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
        self.patience.get_or_insert_default().handle()
    }

    /// Limits the time from the first poll of [`send`](Self::send) to its end. When it passes, the statement that runs is cancelled in
    /// the server, and those behind it are not sent: each has an [`ErrorKind::Timeout`] for its result, unless it was faster. What was
    /// done before stays done; in an interaction the transaction fails.
    ///
    /// As with a [handle](Self::cancel_handle), each statement has a round trip of its own. The server's `statement_timeout` limits each
    /// statement of a batch that is one.
    ///
    /// A server that does not end the statement within the grace ([`Builder::cancel_grace`](crate::Builder::cancel_grace), 5 s) is
    /// given up, with the connection.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.patience.get_or_insert_default().set_limit(limit);
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
    /// keep the others from being run; within one, those after it fail as well.
    pub async fn send(self) -> Result<Vec<Result<ResultSet>>> {
        if self.patience.is_some() || self.cancels_on_drop {
            return self.send_singly().await;
        }
        let caller = self.caller?;
        let link = Arc::clone(caller.link());
        let call = |(sql, params): (&'a str, Parameters<'a>)| {
            let bare = params.bare;
            Sent::Waiting(Call::new(Ok(caller.clone()), sql, params).held(bare))
        };
        let mut batch: Vec<Sent<'a>> = self.statements.into_iter().map(call).collect();
        // First what is new is described, so that then all run in their order.
        poll_fn(|cx| poll_all(&mut batch, &link, cx)).await;
        for sent in &mut batch {
            if let Sent::Waiting(call) = sent {
                call.run();
            }
        }
        poll_fn(|cx| poll_all(&mut batch, &link, cx)).await;
        let over = batch.into_iter().filter_map(|sent| match sent {
            Sent::Over(result) => Some(result),
            Sent::Waiting(_) => None,
        });
        Ok(over.collect())
    }

    /// Sends one statement after another: each can be cancelled, and nothing else is hit.
    async fn send_singly(self) -> Result<Vec<Result<ResultSet>>> {
        let caller = self.caller?;
        let mut patience = self.patience;
        if let Some(patience) = &mut patience {
            patience.set_lasting(true);
        }
        let mut results = Vec::with_capacity(self.statements.len());
        for (sql, params) in self.statements {
            let mut call =
                Call::new(Ok(caller.clone()), sql, params).with_patience(patience.take());
            if self.cancels_on_drop {
                call.cancel_on_drop();
            }
            let result = poll_fn(|cx| call.poll(cx, Answer::take_results)).await;
            patience = call.take_patience();
            results.push(result.map(last));
        }
        Ok(results)
    }
}

fn last(mut results: Vec<ResultSet>) -> ResultSet {
    results.pop().unwrap_or_default()
}

/// Drives all of them until each is over, or ready to run if it may not yet.
fn poll_all(batch: &mut [Sent<'_>], link: &Arc<Link>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let (mut waits, mut submits) = (false, false);
        for sent in &mut *batch {
            let Sent::Waiting(call) = sent else {
                continue;
            };
            let before = call.waiting().map(|(_, ticket)| ticket);
            match call.poll(cx, Answer::take_results) {
                Poll::Ready(results) => {
                    *sent = Sent::Over(results.map(last));
                }
                Poll::Pending => {
                    waits |= !call.is_ready();
                    submits |= call.waiting().map(|(_, ticket)| ticket) != before;
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
        link.drive(None, true);
        if !link.board.has_rung() {
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
