//! One call: a statement on its way to the server and back, driven by the task that awaits it.

mod ending;

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::MutexGuard;
use txpostgres_session::{
    Answer, Error, ErrorKind, NextStep as Step, Query, Result, Results, Ticket,
};

use crate::caller::{Caller, admit};
use crate::desk::Desk;
use crate::inbox::{Inbox, Next, Piece};
use crate::link::Link;
use crate::patience::Patience;
use crate::question::{Plain, Question, Task};
use crate::turnstile::Turn;

/// A statement and where it is.
///
/// ```text
///   Queued ──submitted──▶ Waiting ──answered──▶ Ended, or Queued again for the next step
///      └──────────────────refused─────────────▶ Ended
/// ```
pub(crate) struct Call<'a, W> {
    /// On whose behalf; or why on nobody's.
    caller: Result<Caller, Option<Error>>,
    sql: Cow<'a, str>,
    work: W,
    question: Question,
    handing: Handing,
    /// Nothing else is on the line while it is: it may be stopped, or what it sends must not be mixed with others.
    alone: bool,
    /// It is one of a batch, which sends what is submitted.
    hold: Option<Hold>,
    /// What was sent is cancelled when nobody waits for it any more.
    cancels_on_drop: bool,
    place: Place,
    /// Who may end it: a handle, a time limit.
    patience: Option<Box<Patience>>,
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

/// How the answer is handed over.
#[derive(Clone, Copy)]
enum Handing {
    Whole,
    /// In pieces as they come, of which so many bytes may wait to be fetched.
    Pieces(usize),
    /// In parts if it is large, and what is left with its end.
    Parts,
}

/// How far a call of a batch may go.
struct Hold {
    bare: bool,
    /// It may run.
    runs: bool,
    /// It has come to where it runs next.
    ready: bool,
}

impl<'a, W: Task> Call<'a, W> {
    pub(crate) fn new(caller: Result<Caller>, sql: impl Into<Cow<'a, str>>, work: W) -> Self {
        Self {
            caller: caller.map_err(Some),
            sql: sql.into(),
            work,
            question: Question::Statement(Query::new()),
            handing: Handing::Whole,
            alone: false,
            hold: None,
            cancels_on_drop: false,
            place: Place::Queued { turn: None },
            patience: None,
        }
    }

    /// The answer is to be fetched in pieces, of which so many bytes may wait.
    pub(crate) fn in_pieces(mut self, limit: usize) -> Self {
        self.handing = Handing::Pieces(limit);
        if let Question::Statement(query) = &mut self.question {
            query.prepare_first();
        }
        self
    }

    /// Sets how many bytes of pieces may wait.
    pub(crate) fn limit(&mut self, bytes: usize) {
        self.handing = Handing::Pieces(bytes);
    }

    /// The answer is to be fetched in parts if it is large.
    pub(crate) fn in_parts(&mut self) {
        self.handing = Handing::Parts;
    }

    /// Nothing else is to be on the line while it is.
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// It is one of a batch, which sends what is submitted, and it stops before it runs. `bare` is one without parameters.
    pub(crate) fn held(mut self, bare: bool) -> Self {
        self.hold = Some(Hold { bare, runs: false, ready: false });
        self
    }

    /// Whether it has come to where it runs next.
    pub(crate) fn is_ready(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.ready && !hold.runs)
    }

    /// It may run.
    pub(crate) fn run(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.runs = true;
        }
    }

    /// The formats in which to ask for the columns.
    pub(crate) fn set_results(&mut self, results: Results) {
        if let Question::Statement(query) = &mut self.question {
            query.set_results(results);
        }
    }

    /// The statement is described and not run.
    pub(crate) fn describing(mut self) -> Self {
        self.question = Question::Statement(Query::describing());
        self
    }

    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// Gives away the text of this call, which is over, to one that goes on for it.
    pub(crate) fn take_sql(&mut self) -> Cow<'a, str> {
        std::mem::take(&mut self.sql)
    }

    /// What it waits for, and where.
    pub(crate) fn waiting(&self) -> Option<(&Arc<Link>, Ticket)> {
        match (&self.caller, self.place) {
            (Ok(caller), Place::Waiting { ticket, .. }) => Some((caller.link(), ticket)),
            _ => None,
        }
    }

    /// Whether the statement itself has been submitted, and not a step on the way to it.
    pub(crate) fn has_sent_last(&self) -> bool {
        self.waiting().is_some() && self.question.is_last()
    }

    /// Whether something of it was sent, and it cannot be left as if it had never been.
    pub(crate) fn has_begun(&self) -> bool {
        self.waiting().is_some() || self.question.has_begun()
    }

    /// `take` takes from the answer what the caller is to have.
    #[inline]
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Answer) -> T,
    ) -> Poll<Result<T>> {
        if self.patience.is_none() {
            return self.poll_answer(cx, take);
        }
        self.watch(cx);
        let polled = self.poll_answer(cx, take);
        self.explained(polled)
    }

    // The way of every plain query; a call on it costs as much as what it does.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn poll_answer<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Answer) -> T,
    ) -> Poll<Result<T>> {
        loop {
            let (ticket, turn) = match ready!(self.poll_submitted(cx)) {
                Ok(submitted) => submitted,
                Err(error) => {
                    return Poll::Ready(match self.question.take_held() {
                        Some(mut answer) => Ok(take(&mut answer)),
                        None => Err(error),
                    });
                }
            };
            let Ok(caller) = &self.caller else {
                return Poll::Ready(Err(polled_after_end()));
            };
            let mut desk = caller.link().board.desk();
            let Poll::Ready(settled) = desk.poll(ticket, cx) else {
                return Poll::Pending;
            };
            match self.question.settled(&mut desk, &self.sql, settled) {
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
                Step::Again => {
                    drop(desk);
                    self.queue(turn);
                }
            }
        }
    }

    /// Gives back the end of an answer that was read in parts.
    pub(crate) fn recycle(&self, answer: Box<Answer>) {
        if let Ok(caller) = &self.caller {
            caller.link().board.desk().session.recycle(answer);
        }
    }

    /// The next piece of the answer, or its end.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fetched>> {
        self.watch(cx);
        let polled = self.poll_next(cx);
        match &polled {
            // There is more to come.
            Poll::Pending | Poll::Ready(Ok(Fetched::Piece(_))) => polled,
            Poll::Ready(Ok(Fetched::End(answer))) if answer.is_suspended() => polled,
            Poll::Ready(_) => self.explained(polled),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fetched>> {
        loop {
            let (ticket, turn) = match ready!(self.poll_submitted(cx)) {
                Ok(submitted) => submitted,
                Err(error) => {
                    return Poll::Ready(self.question.take_held().map(Fetched::End).ok_or(error));
                }
            };
            let Ok(caller) = &self.caller else {
                return Poll::Ready(Err(polled_after_end()));
            };
            let link = caller.link();
            let mut desk = link.board.desk();
            let next = desk.poll_piece(ticket, cx);
            let has_room = desk.inbox(ticket).is_some_and(|inbox| inbox.has_room());
            // The oldest call of all may have too much waiting, whatever this one has.
            let reads_on = has_room && !desk.is_swamped() && link.board.resume();
            let done = match next {
                Poll::Pending => None,
                Poll::Ready(Next::Piece(piece)) => Some(Ok(Fetched::Piece(piece))),
                Poll::Ready(Next::End(settled)) => {
                    match self.question.settled(&mut desk, &self.sql, settled) {
                        Step::Again => {
                            drop(desk);
                            self.queue(turn);
                            continue;
                        }
                        Step::Done(outcome) => {
                            self.place = Place::Ended;
                            Some(outcome.map(Fetched::End))
                        }
                    }
                }
            };
            drop(desk);
            if reads_on {
                link.drive(Some(ticket), false);
            }
            match done {
                Some(fetched) => return Poll::Ready(fetched),
                None if reads_on => {}
                None => return Poll::Pending,
            }
        }
    }

    /// Sees to it that the question is asked, and drives the connection if that is this task's turn.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn poll_submitted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Ticket, Option<Turn>)>> {
        if let Some(error) = self.is_to_end() {
            return Poll::Ready(Err(error));
        }
        let caller = match &mut self.caller {
            Ok(caller) => &*caller,
            Err(error) => {
                self.place = Place::Ended;
                return Poll::Ready(Err(error.take().unwrap_or_else(polled_after_end)));
            }
        };
        match &mut self.place {
            Place::Ended => Poll::Ready(Err(polled_after_end())),
            Place::Queued { turn } => {
                let mut desk = caller.link().board.desk();
                if let Some(hold) = self.hold.as_mut().filter(|hold| !hold.runs)
                    && self.question.runs_next(&mut desk, &self.sql, hold.bare)
                {
                    hold.ready = true;
                    return Poll::Pending;
                }
                let submitted = match admit(caller, &mut desk, turn, cx) {
                    Poll::Pending => {
                        queued(caller.link(), desk);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => Err(error),
                    Poll::Ready(Ok(begin)) => {
                        self.question.submit(&mut desk, &self.sql, &self.work, begin)
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
                if let Caller::Transaction(transaction) = caller {
                    transaction.has_begun(&mut desk, ticket);
                }
                if self.alone {
                    desk.session.make_exclusive(ticket);
                }
                match self.handing {
                    Handing::Pieces(limit) if self.question.is_last() => {
                        let inbox = Inbox::new(limit, !self.alone, cx.waker());
                        desk.expect_pieces(ticket, inbox);
                    }
                    Handing::Parts if self.question.is_foreseen() => {
                        desk.expect_parts(ticket, cx.waker());
                    }
                    _ => desk.expect(ticket, cx.waker()),
                }
                // What was full for one may not be for two.
                if caller.link().board.is_paused() {
                    caller.link().board.pause(&desk);
                }
                let turn = *turn;
                if self.hold.is_some() {
                    self.place = Place::Waiting { ticket, turn, flusher: false };
                    return Poll::Pending;
                }
                let (flusher, may_be_answered) = send(caller.link(), desk, ticket, cx);
                self.place = Place::Waiting { ticket, turn, flusher };
                if let Some(patience) = &self.patience {
                    patience.sent(caller.link(), ticket);
                }
                if may_be_answered { Poll::Ready(Ok((ticket, turn))) } else { Poll::Pending }
            }
            Place::Waiting { ticket, turn, flusher } => {
                let (ticket, turn, link) = (*ticket, *turn, caller.link());
                if std::mem::take(flusher) {
                    link.board.desk().flush_promised = false;
                    link.drive(Some(ticket), true);
                } else if link.board.has_rung() {
                    link.drive(Some(ticket), false);
                }
                Poll::Ready(Ok((ticket, turn)))
            }
        }
    }
}

/// What [`Call::poll_piece`] fetches.
pub(crate) enum Fetched {
    /// More of the answer.
    Piece(Piece),
    /// How it ended; what came in pieces is not in it.
    End(Box<Answer>),
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

impl<W: Task> Call<'_, W> {
    /// Awaits the answer.
    pub(crate) async fn answer<T>(mut self, take: impl Fn(&mut Answer) -> T) -> Result<T> {
        std::future::poll_fn(|cx| self.poll(cx, &take)).await
    }
}

impl<'a> Call<'a, ()> {
    /// A call without parameters.
    pub(crate) fn plain(
        caller: Result<Caller>,
        sql: impl Into<Cow<'a, str>>,
        plain: Plain,
    ) -> Self {
        let mut this = Self::new(caller, sql, ());
        this.question = Question::Plain { plain, opening: false };
        this
    }

    /// A call of several statements, without parameters.
    pub(crate) fn script(caller: Result<Caller>, sql: &'a str) -> Self {
        Self::plain(caller, sql, Plain::Script)
    }
}

fn polled_after_end() -> Error {
    Error::new(ErrorKind::Request, "a future was polled again after it had ended")
}
