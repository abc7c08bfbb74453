//! One call: a statement on its way to the server and back, driven by the task that awaits it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::MutexGuard;
use txpostgres_session::{
    Answer, Error, ErrorKind, Query, Request, Result, Rows, Ticket, TransactionStatus,
    Turn as Step, Work,
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
    /// What begins an interaction by itself.
    Begin(Arc<Transaction>),
    /// What ends an interaction: it needs nobody's leave.
    End(Arc<Link>),
}

impl Caller {
    pub(crate) fn link(&self) -> &Arc<Link> {
        match self {
            Self::Connection(link) | Self::End(link) => link,
            Self::Transaction(transaction) | Self::Begin(transaction) => transaction.link(),
        }
    }
}

/// A statement and where it is.
///
/// ```text
///   Queued ──submitted──▶ Waiting ──answered──▶ Ended, or Queued again for the next step
///      └──────────────────refused─────────────▶ Ended
/// ```
pub(crate) struct Call<'a, P> {
    /// On whose behalf; or why on nobody's.
    caller: Result<Caller, Option<Error>>,
    sql: &'a str,
    params: P,
    question: Question,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// Not submitted, or to be submitted again; perhaps in the turnstile's queue.
    Queued { turn: Option<Turn> },
    /// Submitted. `flusher`: this call has promised to send what gathers until it is polled next.
    Waiting { ticket: Ticket, turn: Option<Turn>, flusher: bool },
    /// Over.
    Ended,
}

/// How the text is asked.
enum Question {
    /// As one statement with parameters.
    Statement(Query),
    /// As any number of statements.
    Script,
}

impl<'a, P: Params> Call<'a, P> {
    pub(crate) fn new(caller: Result<Caller>, sql: &'a str, params: P) -> Self {
        Self {
            caller: caller.map_err(Some),
            sql,
            params,
            question: Question::Statement(Query::new()),
            place: Place::Queued { turn: None },
        }
    }

    /// `take` takes from the answer what the caller is to have.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Answer) -> T,
    ) -> Poll<Result<T>> {
        loop {
            let caller = match &mut self.caller {
                Ok(caller) => &*caller,
                Err(error) => {
                    self.place = Place::Ended;
                    return Poll::Ready(Err(error.take().unwrap_or_else(polled_after_end)));
                }
            };
            match &mut self.place {
                Place::Ended => return Poll::Ready(Err(polled_after_end())),
                Place::Queued { turn } => {
                    let mut desk = caller.link().board.desk();
                    let submitted = match admit(caller, &mut desk, turn, cx) {
                        Poll::Pending => {
                            queued(caller.link(), desk);
                            return Poll::Pending;
                        }
                        Poll::Ready(Err(error)) => Err(error),
                        Poll::Ready(Ok(begin)) => {
                            self.question.submit(&mut desk, self.sql, &self.params, begin)
                        }
                    };
                    let ticket = match submitted {
                        Ok(ticket) => ticket,
                        Err(error) => {
                            drop(desk);
                            self.leave();
                            return Poll::Ready(Err(error));
                        }
                    };
                    if let Caller::Transaction(transaction) | Caller::Begin(transaction) = caller {
                        transaction.has_begun(&mut desk, ticket);
                    }
                    desk.expect(ticket, cx.waker());
                    let turn = *turn;
                    let (flusher, may_be_answered) = send(caller.link(), desk, ticket, cx);
                    self.place = Place::Waiting { ticket, turn, flusher };
                    if !may_be_answered {
                        return Poll::Pending;
                    }
                }
                Place::Waiting { ticket, turn, flusher } => {
                    let (ticket, turn, link) = (*ticket, *turn, caller.link());
                    if std::mem::take(flusher) {
                        link.board.desk().flush_promised = false;
                        link.drive(Some(ticket), true);
                    } else if link.board.has_rung() {
                        link.drive(Some(ticket), false);
                    }
                    let mut desk = link.board.desk();
                    let Poll::Ready((outcome, status)) = desk.poll(ticket, cx) else {
                        return Poll::Pending;
                    };
                    match self.question.settled(&mut desk, self.sql, outcome, status) {
                        Step::Done(Ok(mut answer)) => {
                            self.place = Place::Ended;
                            let taken = take(&mut answer);
                            desk.session.recycle(answer);
                            return Poll::Ready(Ok(taken));
                        }
                        Step::Done(Err(error)) => {
                            self.place = Place::Ended;
                            return Poll::Ready(Err(error));
                        }
                        Step::Again => self.place = Place::Queued { turn },
                    }
                }
            }
        }
    }
}

impl Question {
    /// Asks; `begin` opens a transaction in the same flight.
    fn submit(
        &mut self,
        desk: &mut Desk,
        sql: &str,
        params: &impl Params,
        begin: Option<&str>,
    ) -> Result<Ticket> {
        let session = &mut desk.session;
        match self {
            Self::Statement(query) => {
                params.with(|values| query.submit(session, sql, Work::Run(values), begin))
            }
            Self::Script => session.submit(Request::Script { sql }),
        }
    }

    fn settled(
        &mut self,
        desk: &mut Desk,
        sql: &str,
        outcome: Result<Box<Answer>>,
        status: TransactionStatus,
    ) -> Step {
        match self {
            Self::Statement(query) => query.settled(&mut desk.session, sql, outcome, status),
            Self::Script => Step::Done(outcome.map_err(|error| error.with_statement(sql))),
        }
    }
}

/// Leaves a call that has to wait for its turn.
fn queued(link: &Link, mut desk: MutexGuard<'_, Desk>) {
    let patrol = desk.start_patrol();
    drop(desk);
    // What it waits for may be a call of this task that is not polled.
    if link.board.has_rung() {
        link.drive(None, false);
    }
    if let Some(watcher) = patrol {
        watcher.wake();
    }
}

/// Sends what was just submitted: at once if the connection was idle; else together with what other tasks submit in this
/// turn of the executor. Says whether this call has promised to do so, and whether the answer may be there already.
fn send(
    link: &Link,
    mut desk: MutexGuard<'_, Desk>,
    ticket: Ticket,
    cx: &Context<'_>,
) -> (bool, bool) {
    if desk.session.outstanding() == 1 {
        desk.flush_promised = false;
        return (false, link.send(desk, Some(ticket)));
    }
    if std::mem::replace(&mut desk.flush_promised, true) {
        return (false, false);
    }
    let watcher = desk.start_patrol();
    drop(desk);
    cx.waker().wake_by_ref();
    if let Some(watcher) = watcher {
        watcher.wake();
    }
    (true, false)
}

impl<P: Params> Call<'_, P> {
    /// Awaits the answer.
    pub(crate) async fn answer<T>(mut self, take: impl Fn(&mut Answer) -> T) -> Result<T> {
        std::future::poll_fn(|cx| self.poll(cx, &take)).await
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
        let place = std::mem::replace(&mut self.place, Place::Ended);
        let Ok(caller) = &self.caller else {
            return;
        };
        let link = caller.link();
        match place {
            Place::Queued { turn: Some(turn) } => {
                let mut calls = Vec::new();
                link.board.desk().turnstile.give_up(turn, &mut calls);
                for waker in calls {
                    waker.wake();
                }
            }
            Place::Waiting { ticket, flusher, .. } => {
                let mut desk = link.board.desk();
                desk.leave(ticket);
                if let Question::Statement(query) = &mut self.question {
                    query.abandon(&mut desk.session);
                }
                if flusher {
                    desk.flush_promised = false;
                }
                drop(desk);
                if flusher {
                    link.drive(None, true);
                }
                if link.board.has_rung() {
                    // This call may have been the one that was woken to drive.
                    link.board.ring();
                }
            }
            Place::Queued { turn: None } | Place::Ended => {}
        }
    }
}

impl<P> Drop for Call<'_, P> {
    fn drop(&mut self) {
        if !matches!(self.place, Place::Ended) {
            self.leave();
        }
    }
}

fn polled_after_end() -> Error {
    Error::new(ErrorKind::Request, "a future was polled again after it had ended")
}

/// Whether the caller may submit now, and with which BEGIN.
#[inline]
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
        Caller::Transaction(transaction) => transaction.admit(desk, cx),
        Caller::Begin(transaction) => transaction.admit(desk, cx).map_ok(|_| None),
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
        self.get_mut().0.poll(cx, Answer::take_rows)
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
        self.get_mut().0.poll(cx, |answer| answer.row_count())
    }
}
