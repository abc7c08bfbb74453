//! Who is called when the socket is ready, and who waits for which answer.
//!
//! The socket knows one waker only: the switchboard's. When it rings, the oldest call that waits is woken and drives the
//! connection in its own task; when none waits, the connection's watcher is. So handing the socket from one task to the
//! next is nothing that has to be done, and nothing that can be forgotten when a future is dropped.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::{Mutex, MutexGuard};
use txpostgres_session::{
    Answer, Cancel, Error, ErrorKind, Event, Result, Session, Ticket, TransactionStatus,
};

use crate::cancel::Interruption;
use crate::inbox::{Inbox, Next, Piece};
use crate::notify::audience::Audience;
use crate::turnstile::{Turn, Turnstile};

/// An answer, and the transaction status that came with it.
pub(crate) type Settled = (Result<Box<Answer>>, TransactionStatus);

/// What tasks share of one connection's session. Its lock is never held across a system call.
pub(crate) struct Switchboard {
    desk: Mutex<Desk>,
    /// The socket will ring when there is something to read, or room for what waits. Cleared by the ringing.
    armed: AtomicBool,
    /// What those want who found the socket's lock taken: [`DRIVE`], [`FLUSH`].
    wishes: AtomicU8,
    /// The oldest call has more waiting for it than it wants: nothing is read until it has fetched some.
    paused: AtomicBool,
}

const DRIVE: u8 = 1;
const FLUSH: u8 = 2;

/// What is behind the lock.
pub(crate) struct Desk {
    pub(crate) session: Session,
    pub(crate) turnstile: Turnstile,
    waiters: VecDeque<Waiter>,
    /// The ticket number of the first waiter.
    first: u64,
    /// How many of them get their answers in pieces.
    inboxes: usize,
    /// How long nobody has come for what the oldest call has waiting, though its task waits for another.
    standstill: Standstill,
    /// The task that looks after the connection when nobody else does.
    watcher: Option<Waker>,
    /// The watcher looks every few milliseconds whether a task that was woken also drove.
    pub(crate) patrol: bool,
    /// A task has promised to send what has gathered.
    pub(crate) flush_promised: bool,
    /// The answer that the driving task has just read for itself.
    own: Option<(Ticket, Settled)>,
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
enum Waiter {
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

/// A stream or a COPY whose own task waits for a call behind it, seen from time to time.
#[derive(Default, Clone, Copy)]
struct Standstill {
    /// The oldest call, and how often its task had come for it.
    at: Option<(Ticket, u64)>,
    /// How many times it was seen unchanged.
    times: u32,
    /// A call that is being refused for it.
    refused: Option<Ticket>,
}

/// Wakers to be called once the lock is released.
pub(crate) type Calls = Vec<Waker>;

impl Switchboard {
    pub(crate) fn new(session: Session, audience: Arc<Audience>) -> Arc<Self> {
        let generation = audience.begin();
        Arc::new(Self {
            desk: Mutex::new(Desk {
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
                interruption: None,
                audience,
                generation,
                has_notified: false,
                end: End::NotYet,
            }),
            armed: AtomicBool::new(false),
            wishes: AtomicU8::new(0),
            paused: AtomicBool::new(false),
        })
    }

    /// Locks the desk. A panic of a user's `ToSql` leaves it as it was.
    #[inline]
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock()
    }

    /// Whether the socket has to be looked at: it rang, and nobody has read until there was nothing left.
    pub(crate) fn has_rung(&self) -> bool {
        !self.armed.load(Ordering::Acquire)
    }

    /// Call before a write or read that may have to wait; a ringing during it is then not lost. Says whether it had rung.
    pub(crate) fn arm(&self) -> bool {
        !self.armed.swap(true, Ordering::SeqCst)
    }

    /// There is more to read.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }

    /// Whether nothing is to be read for now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Nothing is to be read while the oldest call has too much waiting for it.
    pub(crate) fn pause(&self, desk: &Desk) {
        self.paused.store(desk.is_swamped(), Ordering::Release);
    }

    /// Reading goes on; whoever says so drives. Says whether it had stopped.
    pub(crate) fn resume(&self) -> bool {
        self.paused.swap(false, Ordering::AcqRel)
    }

    /// Somebody is about to try the socket's lock, and wants it driven by whoever has it.
    pub(crate) fn want(&self, flush: bool) {
        self.wishes.fetch_or(if flush { DRIVE | FLUSH } else { DRIVE }, Ordering::SeqCst);
    }

    /// Who has the lock takes everybody's wishes upon itself. Says whether one is that what has gathered be sent.
    pub(crate) fn take_wishes(&self) -> bool {
        self.wishes.swap(0, Ordering::SeqCst) & FLUSH != 0
    }

    pub(crate) fn has_wishes(&self) -> bool {
        self.wishes.load(Ordering::SeqCst) != 0
    }

    /// Calls whoever should drive now.
    pub(crate) fn ring(&self) {
        self.disarm();
        let mut desk = self.desk();
        let target = desk.next_driver();
        let watcher = desk.start_patrol();
        drop(desk);
        if let Some(target) = target {
            target.wake();
        }
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }
}

/// Why a call is refused that would wait for ever.
fn stuck() -> Error {
    Error::new(
        ErrorKind::Request,
        "the call waits behind a stream or a COPY of the same task, which it keeps waiting",
    )
    .with_hint(
        "end or drop that first, or use another connection; in an interaction a stream and other calls go together",
    )
}

/// Why a session is not used again.
pub(crate) fn rollback_failed(reason: &(impl Display + ?Sized)) -> Error {
    Error::new(ErrorKind::Lost, format!("a transaction could not be rolled back: {reason}"))
}

impl Wake for Switchboard {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl Desk {
    /// The oldest call that waits, else the watcher. A task that was called and has not come yet is not called again.
    fn next_driver(&mut self) -> Option<Waker> {
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
        self.session.stream(ticket);
        self.inboxes += 1;
        self.push(ticket, Waiter::Pieces(Box::new(inbox)));
    }

    /// The oldest call that is not settled, if its answer comes in pieces.
    fn oldest_inbox(&self) -> Option<(usize, &Inbox)> {
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

    /// A stream or COPY that waits for its task, and a call behind it that the same task waits for: they wait for each other.
    fn stuck(&self) -> Option<(Ticket, u64, Ticket)> {
        let (at, inbox) = self.oldest_inbox()?;
        let ticket = |at: usize| Ticket::numbered(self.first + at as u64);
        if !inbox.is_full(false) && !self.session.is_fed(ticket(at)) {
            return None;
        }
        let behind = self.waiters.iter().enumerate().skip(at + 1);
        let same_task = |waiter: &Waiter| match waiter {
            Waiter::Call(Some(waker)) => inbox.is_read_by(waker),
            _ => false,
        };
        let (victim, _) = behind.into_iter().find(|(_, waiter)| same_task(waiter))?;
        Some((ticket(at), inbox.visits(), ticket(victim)))
    }

    /// Looks whether tasks wait for themselves; to be called from time to time. What has stood still for `times` looks is
    /// refused.
    pub(crate) fn look_for_standstill(&mut self, times: u32, calls: &mut Calls) {
        let Some((ticket, visits, victim)) = self.stuck() else {
            self.standstill = Standstill::default();
            return;
        };
        if self.standstill.at == Some((ticket, visits)) {
            self.standstill.times += 1;
        } else {
            self.standstill = Standstill { at: Some((ticket, visits)), ..Standstill::default() };
        }
        if self.standstill.times < times {
            return;
        }
        self.standstill = Standstill { refused: Some(victim), ..Standstill::default() };
        // It has not left: a stream and a COPY travel alone.
        if self.session.cancel(victim) == Cancel::Withdrawn {
            self.turnstile.withdrawn(victim, calls);
            self.distribute(None, calls);
        }
        self.standstill.refused = None;
    }

    /// Whether the oldest call has too much waiting for it.
    fn is_swamped(&self) -> bool {
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

    fn push(&mut self, ticket: Ticket, waiter: Waiter) {
        if self.turnstile.isolates() {
            self.session.isolate(ticket);
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

    /// Nobody waits for this ticket any more.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.session.abandon(ticket);
        self.clear(ticket);
        self.forget_answered();
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
                Event::Settled { ticket, outcome, status } => {
                    let outcome = match outcome {
                        Err(_) if self.standstill.refused == Some(ticket) => Err(stuck()),
                        outcome => outcome,
                    };
                    self.turnstile.settled(ticket, status, calls);
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
            End::Because(reason) => {
                Error::new(ErrorKind::ConnectionDead, format!("the connection is dead: {reason}"))
                    .with_hint("connect again")
            }
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
