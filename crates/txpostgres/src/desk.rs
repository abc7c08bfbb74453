//! Who waits for which answer: what tasks share of one connection's session, behind one lock.
//!
//! The lock is never held across a system call, and nothing of the user's runs under it: wakers are gathered and called
//! when it is released.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use txpostgres_session::{
    Answer, Error, ErrorKind, Event, Request, Result, Session, Ticket, TransactionStatus,
};

use crate::cancel::Interruption;
use crate::inbox::{Inbox, Next, Piece};
use crate::notify::audience::Audience;
use crate::standstill::{Standstill, stuck};
use crate::turnstile::{Turn, Turnstile};

/// An answer, and the transaction status that came with it.
pub(crate) type Settled = (Result<Box<Answer>>, TransactionStatus);

/// Wakers to be called once the lock is released.
pub(crate) type Calls = Vec<Waker>;

/// An answer that is larger than this is fetched in parts of this size, by those who can: 64 KiB, what is read at a time.
const PART_BYTES: u32 = 64 * 1024;

/// What is behind the lock.
pub(crate) struct Desk {
    pub(crate) session: Session,
    pub(crate) turnstile: Turnstile,
    pub(crate) waiters: VecDeque<Waiter>,
    /// The ticket number of the first waiter.
    pub(crate) first: u64,
    /// How many of them get their answers in pieces.
    inboxes: usize,
    /// How long nobody has come for what the oldest call has waiting, though its task waits for another.
    pub(crate) standstill: Standstill,
    /// The task that looks after the connection when nobody else does.
    watcher: Option<Waker>,
    /// The watcher looks every few milliseconds whether a task that was woken also drove.
    pub(crate) patrol: bool,
    /// A task has promised to send what has gathered.
    pub(crate) flush_promised: bool,
    /// The answer that the driving task has just read for itself.
    own: Option<(Ticket, Settled)>,
    /// Requests that nobody waits for, each with the one that undoes it.
    undoings: Vec<(Ticket, Ticket)>,
    /// The request that the server is being told to cancel.
    pub(crate) interruption: Option<Interruption>,
    /// Who hears notifications, and the session's number among the connection's.
    audience: Arc<Audience>,
    generation: u64,
    /// Notifications were handed out that their listeners had no time to hear.
    pub(crate) has_notified: bool,
    end: End,
}

/// Whether the session is over, and why.
enum End {
    NotYet,
    /// The user wanted it.
    Asked,
    Because(Error),
}

/// Who waits for the answer of a ticket.
pub(crate) enum Waiter {
    /// A call; its waker is gone while it is being woken to drive.
    Call(Option<Waker>),
    /// A call whose answer comes in pieces.
    Pieces(Box<Inbox>),
    /// The answer has come and was not fetched yet.
    Answered(Settled),
    /// The end of an interaction that nobody waits for.
    End(Turn),
    /// Nobody.
    Nobody,
}

/// Why a session is not used again.
pub(crate) fn rollback_failed(reason: &(impl Display + ?Sized)) -> Error {
    Error::new(ErrorKind::Lost, format!("a transaction could not be rolled back: {reason}"))
}

impl Desk {
    pub(crate) fn new(session: Session, audience: Arc<Audience>) -> Self {
        let generation = audience.begin();
        Self {
            session,
            turnstile: Turnstile::default(),
            waiters: VecDeque::new(),
            first: 0,
            inboxes: 0,
            standstill: Standstill::default(),
            watcher: None,
            patrol: false,
            flush_promised: false,
            own: None,
            undoings: Vec::new(),
            interruption: None,
            audience,
            generation,
            has_notified: false,
            end: End::NotYet,
        }
    }

    /// The oldest call that waits, else the watcher. A task that was called and has not come yet is not called again.
    pub(crate) fn next_driver(&mut self) -> Option<Waker> {
        // Mostly there is but one.
        if let Some(Waiter::Call(waker @ Some(_))) = self.waiters.front_mut() {
            return waker.take();
        }
        let next = self.waiters.iter_mut().find_map(|waiter| match waiter {
            Waiter::Call(waker) => waker.take(),
            Waiter::Pieces(inbox) => inbox.take_waker(),
            _ => None,
        });
        next.or_else(|| self.watcher.clone())
    }

    /// Whether a task that was woken and does not poll its call would hold up others.
    pub(crate) fn concerns_several(&self) -> bool {
        if self.is_swamped() {
            return self.stuck().is_some();
        }
        self.session.outstanding() > 1 || self.turnstile.waits_for_begin()
    }

    /// With more than one party concerned the watcher looks after who drives.
    pub(crate) fn start_patrol(&mut self) -> Option<Waker> {
        if self.patrol || !self.concerns_several() {
            return None;
        }
        self.patrol = true;
        self.watcher.clone()
    }

    /// Notes that a call waits for this ticket, which the session has just given out.
    pub(crate) fn expect(&mut self, ticket: Ticket, waker: &Waker) {
        self.push(ticket, Waiter::Call(Some(waker.clone())));
    }

    /// The same for a call whose answer comes in pieces, of which so many bytes may wait for it.
    pub(crate) fn expect_pieces(&mut self, ticket: Ticket, inbox: Inbox) {
        self.session.stream(ticket, 0);
        self.inboxes += 1;
        self.push(ticket, Waiter::Pieces(Box::new(inbox)));
    }

    /// The same for a call that fetches a large answer in parts.
    pub(crate) fn expect_parts(&mut self, ticket: Ticket, waker: &Waker) {
        self.session.stream(ticket, PART_BYTES);
        self.expect(ticket, waker);
    }

    /// The oldest call that is not settled, if its answer comes in pieces.
    pub(crate) fn oldest_inbox(&self) -> Option<(usize, &Inbox)> {
        if self.inboxes == 0 {
            return None;
        }
        let ended = |waiter: &Waiter| match waiter {
            Waiter::Pieces(inbox) => inbox.has_ended(),
            Waiter::Answered(_) | Waiter::Nobody => true,
            Waiter::Call(_) | Waiter::End(_) => false,
        };
        let at = self.waiters.iter().position(|waiter| !ended(waiter))?;
        match self.waiters.get(at)? {
            Waiter::Pieces(inbox) => Some((at, inbox)),
            _ => None,
        }
    }

    /// Whether the oldest call has too much waiting for it.
    pub(crate) fn is_swamped(&self) -> bool {
        let others = self.session.outstanding() > 1;
        self.oldest_inbox().is_some_and(|(_, inbox)| inbox.is_full(others))
    }

    /// Notes that this ticket ends an interaction whose future is gone.
    pub(crate) fn expect_end(&mut self, ticket: Ticket, turn: Turn) {
        self.push(ticket, Waiter::End(turn));
    }

    /// Notes that nobody waits for this ticket.
    pub(crate) fn expect_nothing(&mut self, ticket: Ticket) {
        self.push(ticket, Waiter::Nobody);
    }

    /// Nobody waits for this ticket, and if its request takes place another one is to undo it. That one comes right behind it, and
    /// travels alone: so it leaves when the answer is known, or is taken back, and nothing that is asked from now on comes between.
    pub(crate) fn undo(&mut self, ticket: Ticket, by: Request<'_>) {
        let is_outstanding = self.session.is_outstanding(ticket);
        let has_failed =
            matches!(self.waiter(ticket), Some(Waiter::Answered((outcome, _))) if outcome.is_err());
        if has_failed {
            return;
        }
        let Ok(undoing) = self.session.submit(by) else {
            return;
        };
        self.expect_nothing(undoing);
        if is_outstanding {
            self.session.make_exclusive(undoing);
            self.undoings.push((ticket, undoing));
        }
    }

    /// A request has been answered: what was to undo it is taken back if there is nothing to undo.
    fn undone(&mut self, ticket: Ticket, has_failed: bool) {
        let Some(at) = self.undoings.iter().position(|(undone, _)| *undone == ticket) else {
            return;
        };
        let (_, undoing) = self.undoings.swap_remove(at);
        if has_failed {
            // It has not left: this answer was before it.
            self.session.cancel(undoing);
        }
    }

    fn push(&mut self, ticket: Ticket, waiter: Waiter) {
        if self.turnstile.isolates() {
            self.session.make_exclusive(ticket);
        }
        if self.waiters.is_empty() {
            self.first = ticket.number();
        }
        self.waiters.push_back(waiter);
    }

    fn waiter(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        let index = usize::try_from(ticket.number().checked_sub(self.first)?).ok()?;
        self.waiters.get_mut(index)
    }

    /// The answer of this ticket, if it has come; else the waker is kept.
    pub(crate) fn poll(&mut self, ticket: Ticket, cx: &Context<'_>) -> Poll<Settled> {
        if let Some((_, settled)) = self.own.take_if(|(own, _)| *own == ticket) {
            return Poll::Ready(settled);
        }
        let Some(waiter) = self.waiter(ticket) else {
            // Fetched already: a future that is polled after its end.
            return Poll::Pending;
        };
        match std::mem::replace(waiter, Waiter::Nobody) {
            Waiter::Answered(settled) => {
                self.forget_answered();
                Poll::Ready(settled)
            }
            Waiter::Call(waker) => {
                let waker = match waker {
                    Some(waker) if waker.will_wake(cx.waker()) => waker,
                    _ => cx.waker().clone(),
                };
                *waiter = Waiter::Call(Some(waker));
                Poll::Pending
            }
            other => {
                *waiter = other;
                Poll::Pending
            }
        }
    }

    /// The next piece of this ticket's answer, or its end; else the waker is kept.
    pub(crate) fn poll_piece(&mut self, ticket: Ticket, cx: &Context<'_>) -> Poll<Next> {
        let Some(Waiter::Pieces(inbox)) = self.waiter(ticket) else {
            return self.poll(ticket, cx).map(Next::End);
        };
        let next = inbox.poll(cx);
        if let Poll::Ready(Next::End(_)) = next {
            self.clear(ticket);
            self.forget_answered();
        }
        next
    }

    /// The inbox of this ticket, if its answer comes in pieces.
    pub(crate) fn inbox(&mut self, ticket: Ticket) -> Option<&mut Inbox> {
        match self.waiter(ticket)? {
            Waiter::Pieces(inbox) => Some(inbox),
            _ => None,
        }
    }

    /// Whether part of this ticket's answer is to be fetched before more is read.
    pub(crate) fn has_portion(&mut self, own: Option<Ticket>) -> bool {
        self.inboxes > 0
            && own.and_then(|own| self.inbox(own)).is_some_and(|inbox| inbox.is_to_be_fetched())
    }

    /// Nobody waits for this ticket for now. Its answer is kept.
    pub(crate) fn drop_waker(&mut self, ticket: Ticket) {
        match self.waiter(ticket) {
            Some(Waiter::Call(waker)) => *waker = None,
            Some(Waiter::Pieces(inbox)) => drop(inbox.take_waker()),
            _ => {}
        }
    }

    /// Nobody waits for this ticket any more. What has not left is taken back if it `may_be` and can be; says whether it was.
    pub(crate) fn leave(&mut self, ticket: Ticket, may_be: bool, calls: &mut Calls) -> bool {
        self.clear(ticket);
        let is_taken_back = may_be && self.session.take_back(ticket);
        if is_taken_back {
            self.turnstile.withdrawn(ticket, calls);
            self.distribute(None, calls);
        } else {
            self.session.abandon(ticket);
        }
        self.forget_answered();
        is_taken_back
    }

    fn clear(&mut self, ticket: Ticket) {
        if let Some(waiter) = self.waiter(ticket)
            && let Waiter::Pieces(_) = std::mem::replace(waiter, Waiter::Nobody)
        {
            self.inboxes -= 1;
        }
    }

    /// Drops waiters at the front whose tickets are settled and fetched.
    fn forget_answered(&mut self) {
        while matches!(self.waiters.front(), Some(Waiter::Nobody))
            && self.waiters.len() > self.session.outstanding()
        {
            self.waiters.pop_front();
            self.first += 1;
        }
    }

    /// Hands out everything the session has to tell. `own` is the ticket of the driving task, which need not be called.
    pub(crate) fn distribute(&mut self, own: Option<Ticket>, calls: &mut Calls) {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Settled { ticket, mut outcome, status } => {
                    if outcome.is_err() && self.standstill.refuses(ticket) {
                        outcome = Err(stuck());
                    }
                    let committed = || match &outcome {
                        Ok(answer) => answer.has_committed(),
                        Err(error) => error.has_committed(),
                    };
                    self.turnstile.settled(ticket, status, committed, calls);
                    if !self.undoings.is_empty() {
                        self.undone(ticket, outcome.is_err());
                    }
                    if let Some(interruption) = &mut self.interruption {
                        calls.extend(interruption.waker_for(ticket));
                    }
                    self.settle(ticket, (outcome, status), own, calls);
                }
                Event::Rows { ticket, rows } => self.put(ticket, Piece::Rows(rows), own, calls),
                Event::CopyStarted { ticket, layout, .. } => {
                    self.put(ticket, Piece::CopyStarted(layout), own, calls);
                }
                Event::CopyData { ticket, data } => {
                    self.put(ticket, Piece::CopyData(data), own, calls);
                }
                // Before the answer that follows it is handed out: the order of the wire is kept.
                Event::Notification(notification) => {
                    self.has_notified = true;
                    self.audience.hear(&notification, calls);
                }
                Event::Notice(notice) => tracing::debug!(target: "txpostgres::notice", "{notice}"),
                Event::Closed(error) => {
                    self.end = error.map_or(End::Asked, End::Because);
                    calls.extend(self.watcher.take());
                    self.turnstile.wake_all(calls);
                    self.audience.ended(self.generation, calls);
                }
                _ => {}
            }
        }
    }

    fn put(&mut self, ticket: Ticket, piece: Piece, own: Option<Ticket>, calls: &mut Calls) {
        let Some(waiter) = self.waiter(ticket) else {
            return;
        };
        // A large answer that is fetched in parts.
        if let Waiter::Call(waker) = waiter {
            *waiter = Waiter::Pieces(Box::new(Inbox::unbounded(waker.take())));
            self.inboxes += 1;
        }
        if let Some(inbox) = self.inbox(ticket) {
            let waker = inbox.put(piece);
            if own != Some(ticket) {
                calls.extend(waker);
            }
        }
    }

    fn settle(&mut self, ticket: Ticket, settled: Settled, own: Option<Ticket>, calls: &mut Calls) {
        let front_is_whole = !matches!(self.waiters.front(), Some(Waiter::Pieces(_)));
        if own == Some(ticket)
            && ticket.number() == self.first
            && self.own.is_none()
            && front_is_whole
        {
            self.own = Some((ticket, settled));
            self.waiters.pop_front();
            self.first += 1;
            return;
        }
        let Some(waiter) = self.waiter(ticket) else {
            return;
        };
        match std::mem::replace(waiter, Waiter::Nobody) {
            Waiter::Call(waker) => {
                *waiter = Waiter::Answered(settled);
                if own != Some(ticket) {
                    calls.extend(waker);
                }
            }
            Waiter::Pieces(mut inbox) => {
                let waker = inbox.end(settled);
                *waiter = Waiter::Pieces(inbox);
                if own != Some(ticket) {
                    calls.extend(waker);
                }
            }
            Waiter::End(turn) => {
                match settled {
                    (Ok(_), TransactionStatus::Idle) => self.turnstile.leave(turn, calls),
                    // Nobody can tell what state the transaction is in: nobody may use it.
                    (Ok(_), _) => {
                        self.session.lost(rollback_failed("the transaction is still open"));
                    }
                    (Err(error), _) => self.session.lost(rollback_failed(&error)),
                }
                self.forget_answered();
            }
            Waiter::Answered(_) | Waiter::Nobody => self.forget_answered(),
        }
    }

    /// The watcher is this task.
    pub(crate) fn set_watcher(&mut self, waker: &Waker) {
        if !self.watcher.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.watcher = Some(waker.clone());
        }
    }

    /// Whether the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.end, End::NotYet)
    }

    /// What to tell those who call now that the session is over.
    pub(crate) fn why_closed(&self) -> Error {
        match &self.end {
            End::Because(reason) => Error::connection_dead(reason),
            End::NotYet | End::Asked => Error::new(ErrorKind::Closed, "the connection is closed"),
        }
    }

    /// The user closes the session: whoever waits is told, and the last words can be sent.
    pub(crate) fn close(&mut self, calls: &mut Calls) {
        self.flush_promised = false;
        self.session.close();
        self.distribute(None, calls);
        calls.extend(self.watcher.take());
        self.turnstile.wake_all(calls);
        self.audience.ended(self.generation, calls);
    }
}
