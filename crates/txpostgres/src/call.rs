//! One call: a statement on its way to the server and back, driven by the task that awaits it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use txpostgres_session::{
    Answer, Error, ErrorKind, Query, Request, Result, Rows, Ticket, Turn as Step,
};

use crate::interaction::Transaction;
use crate::link::Link;
use crate::params::Params;
use crate::switchboard::Desk;
use crate::turnstile::Turn;

/// On whose behalf a call is made.
#[derive(Clone)]
pub(crate) enum Caller {
    /// The connection: each statement is its own transaction.
    Connection(Arc<Link>),
    /// An interaction.
    Transaction(Arc<Transaction>),
    /// What ends an interaction: it needs nobody's leave.
    End(Arc<Link>),
}

impl Caller {
    pub(crate) fn link(&self) -> &Arc<Link> {
        match self {
            Self::Connection(link) | Self::End(link) => link,
            Self::Transaction(transaction) => transaction.link(),
        }
    }
}

/// A statement and where it is.
///
/// ```text
///   Queued ──submitted──▶ Waiting ──answered──▶ (the answer, or Queued again for the next step)
///   Refused ────────────────────────────────▶ (the error)
/// ```
pub(crate) struct Call<'a, P> {
    sql: &'a str,
    params: P,
    question: Question,
    place: Place,
}

/// How the text is asked.
enum Question {
    /// As one statement with parameters.
    Statement(Query),
    /// As any number of statements.
    Script,
}

enum Place {
    /// Not called on a connection that could take it.
    Refused(Option<Error>),
    /// Not submitted; perhaps in the turnstile's queue.
    Queued { caller: Caller, turn: Option<Turn> },
    /// Submitted. `flusher`: this call has promised to send what gathers until it is polled next.
    Waiting { caller: Caller, ticket: Ticket, flusher: bool },
}

impl<'a, P: Params> Call<'a, P> {
    pub(crate) fn new(caller: Result<Caller>, sql: &'a str, params: P) -> Self {
        let place = match caller {
            Ok(caller) => Place::Queued { caller, turn: None },
            Err(error) => Place::Refused(Some(error)),
        };
        Self { sql, params, question: Question::Statement(Query::new()), place }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
        loop {
            match &mut self.place {
                Place::Refused(error) => {
                    let error = error.take().unwrap_or_else(polled_after_end);
                    return Poll::Ready(Err(error));
                }
                Place::Queued { caller, turn } => {
                    let link = Arc::clone(caller.link());
                    let mut desk = link.board.desk();
                    let begin = match admit(caller, &mut desk, turn, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(begin)) => begin,
                        Poll::Ready(Err(error)) => {
                            drop(desk);
                            return self.end(Err(error));
                        }
                    };
                    let (sql, session) = (self.sql, &mut desk.session);
                    let submitted = match &mut self.question {
                        Question::Statement(query) => {
                            self.params.with(|values| query.submit(session, sql, values, begin))
                        }
                        Question::Script => session.submit(Request::Script { sql }),
                    };
                    let ticket = match submitted {
                        Ok(ticket) => ticket,
                        Err(error) => {
                            drop(desk);
                            return self.end(Err(error));
                        }
                    };
                    if let Caller::Transaction(transaction) = caller {
                        transaction.has_begun(&mut desk);
                    }
                    desk.expect(ticket, cx.waker());
                    let idle = desk.session.outstanding() == 1;
                    let flusher = !idle && !desk.flush_promised;
                    desk.flush_promised = !idle;
                    let patrol = if flusher { desk.start_patrol() } else { None };
                    drop(desk);
                    let caller = caller.clone();
                    self.place = Place::Waiting { caller, ticket, flusher };
                    if idle {
                        link.drive(Some(ticket), true);
                    } else {
                        // The connection is busy: what other tasks submit in this turn of the executor goes along.
                        if flusher {
                            cx.waker().wake_by_ref();
                        }
                        if let Some(watcher) = patrol {
                            watcher.wake();
                        }
                        return Poll::Pending;
                    }
                }
                Place::Waiting { caller, ticket, flusher } => {
                    let link = Arc::clone(caller.link());
                    if std::mem::take(flusher) {
                        link.board.desk().flush_promised = false;
                        link.drive(Some(*ticket), true);
                    } else if link.board.has_rung() {
                        link.drive(Some(*ticket), false);
                    }
                    let mut desk = link.board.desk();
                    let Poll::Ready((outcome, status)) = desk.poll(*ticket, cx) else {
                        return Poll::Pending;
                    };
                    if let Caller::Transaction(transaction) = caller {
                        transaction.has_settled(&mut desk, status);
                    }
                    let step = match &mut self.question {
                        Question::Statement(query) => {
                            query.settled(&mut desk.session, self.sql, outcome, status)
                        }
                        Question::Script => {
                            Step::Done(outcome.map_err(|error| error.with_statement(self.sql)))
                        }
                    };
                    match step {
                        Step::Done(result) => {
                            drop(desk);
                            return self.end(result);
                        }
                        Step::Again => {
                            self.place = Place::Queued { caller: caller.clone(), turn: None };
                        }
                    }
                }
            }
        }
    }

    fn end(&mut self, result: Result<Answer>) -> Poll<Result<Answer>> {
        if matches!(self.place, Place::Queued { .. }) {
            self.leave();
        }
        self.place = Place::Refused(None);
        Poll::Ready(result)
    }
}

impl<P: Params> Call<'_, P> {
    /// Awaits the answer.
    pub(crate) async fn answer(mut self) -> Result<Answer> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

impl<'a> Call<'a, ()> {
    /// A call of several statements, without parameters.
    pub(crate) fn script(caller: Result<Caller>, sql: &'a str) -> Self {
        let mut this = Self::new(caller, sql, ());
        this.question = Question::Script;
        this
    }
}

impl<P> Call<'_, P> {
    /// Nobody will fetch the answer; the connection goes on without this call.
    fn leave(&mut self) {
        match &mut self.place {
            Place::Queued { caller, turn: Some(turn) } => {
                let mut calls = Vec::new();
                caller.link().board.desk().turnstile.give_up(*turn, &mut calls);
                for waker in calls {
                    waker.wake();
                }
            }
            Place::Waiting { caller, ticket, flusher } => {
                let link = caller.link();
                let mut desk = link.board.desk();
                desk.leave(*ticket);
                if let Question::Statement(query) = &mut self.question {
                    query.abandon(&mut desk.session);
                }
                if *flusher {
                    desk.flush_promised = false;
                    drop(desk);
                    link.drive(None, true);
                } else {
                    drop(desk);
                }
                if link.board.has_rung() {
                    // This call may have been the one that was woken to drive.
                    link.board.ring();
                }
            }
            Place::Queued { turn: None, .. } | Place::Refused(_) => {}
        }
    }
}

impl<P> Drop for Call<'_, P> {
    fn drop(&mut self) {
        self.leave();
    }
}

fn polled_after_end() -> Error {
    Error::new(ErrorKind::Request, "a future was polled again after it had ended")
}

/// Whether the caller may submit now, and with which BEGIN.
fn admit<'c>(
    caller: &'c Caller,
    desk: &mut Desk,
    turn: &mut Option<Turn>,
    cx: &Context<'_>,
) -> Poll<Result<Option<&'c str>>> {
    if desk.session.is_closed() {
        return Poll::Ready(Err(desk.why_closed()));
    }
    match caller {
        Caller::Connection(_) if desk.turnstile.pass(turn, cx) => Poll::Ready(Ok(None)),
        Caller::Connection(_) => Poll::Pending,
        Caller::End(_) => Poll::Ready(Ok(None)),
        Caller::Transaction(transaction) => Poll::Ready(transaction.admit(desk)),
    }
}

/// A pending [`run_query`](crate::Connection::run_query): await it for the rows.
///
/// Nothing is sent before it is first polled. Dropped before its end, a statement that was sent runs on in the server; its
/// answer is thrown away, and the connection stays usable.
#[must_use = "futures do nothing unless awaited"]
pub struct RunQuery<'a, P>(pub(crate) Call<'a, P>);

// Nothing in it is pinned.
impl<P> Unpin for RunQuery<'_, P> {}

impl<P: Params> Future for RunQuery<'_, P> {
    type Output = Result<Rows>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut()
            .0
            .poll(cx)
            .map(|result| result.map(|answer| answer.into_result().into_rows()))
    }
}

/// A pending [`run_operation`](crate::Connection::run_operation): await it for the number of rows affected.
///
/// Nothing is sent before it is first polled. Dropped before its end, a statement that was sent runs on in the server; its
/// answer is thrown away, and the connection stays usable.
#[must_use = "futures do nothing unless awaited"]
pub struct RunOperation<'a, P>(pub(crate) Call<'a, P>);

// Nothing in it is pinned.
impl<P> Unpin for RunOperation<'_, P> {}

impl<P: Params> Future for RunOperation<'_, P> {
    type Output = Result<u64>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut()
            .0
            .poll(cx)
            .map(|result| result.map(|answer| answer.into_result().row_count()))
    }
}
