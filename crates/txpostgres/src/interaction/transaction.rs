//! A transaction, or a savepoint in one, while its closure runs: who may ask, and what has become of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use txpostgres_session::{Error, ErrorKind, Request, Result, Ticket, TransactionStatus};

use crate::desk::{Calls, Desk};
use crate::link::Link;
use crate::turnstile::Turn;

/// A transaction, or a savepoint in one, while its closure runs.
///
/// ```text
///   inside the turnstile ──first statement──▶ begun ──COMMIT, ROLLBACK──▶ out of the turnstile
///            └──────────────nothing was asked──────────────────────────────▲
/// ```
pub(crate) struct Transaction {
    pub(super) link: Arc<Link>,
    pub(super) turn: Turn,
    begin: String,
    pub(super) savepoint: Option<String>,
    /// The transaction that a savepoint is in.
    outer: Option<Arc<Transaction>>,
    names: Arc<AtomicU64>,
    /// How many savepoints it is deep in.
    level: u32,
    ended: AtomicBool,
    /// What was done in it is gone.
    undone: AtomicBool,
}

impl Transaction {
    pub(super) fn new(link: Arc<Link>, turn: Turn, begin: String) -> Self {
        Self {
            link,
            turn,
            begin,
            savepoint: None,
            outer: None,
            names: Arc::default(),
            level: 0,
            ended: AtomicBool::new(false),
            undone: AtomicBool::new(false),
        }
    }

    /// A savepoint of this name.
    pub(super) fn nested(outer: &Arc<Self>, name: String) -> Self {
        Self {
            savepoint: Some(name),
            outer: Some(Arc::clone(outer)),
            names: Arc::clone(&outer.names),
            level: outer.level + 1,
            ..Self::new(Arc::clone(&outer.link), outer.turn, outer.begin.clone())
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The BEGIN to send along, if nothing has been sent yet. What is called along with the first statement waits for its
    /// answer: if BEGIN fails, it must not run.
    pub(crate) fn admit(&self, desk: &mut Desk, cx: &Context<'_>) -> Poll<Result<Option<&str>>> {
        let inside = desk.turnstile.inside(self.turn).filter(|_| !self.has_ended());
        let Some(inside) = inside else {
            return Poll::Ready(Err(outlived()));
        };
        if inside.over {
            return Poll::Ready(Err(over()));
        }
        if inside.level != self.level {
            return Poll::Ready(Err(nested_is_running()));
        }
        if !inside.may_go_on(cx) {
            return Poll::Pending;
        }
        if inside.has_begun() {
            return Poll::Ready(Ok(None));
        }
        // BEGIN would only warn, and the end of the interaction would end what somebody else has begun.
        let is_idle = desk.session.transaction_status() == TransactionStatus::Idle;
        if !is_idle && desk.session.outstanding() == 0 {
            return Poll::Ready(Err(begun_by_hand()));
        }
        Poll::Ready(Ok(Some(&self.begin)))
    }

    pub(crate) fn has_begun(&self, desk: &mut Desk, ticket: Ticket) {
        if let Some(inside) = desk.turnstile.inside(self.turn) {
            inside.begin(ticket);
        }
    }

    pub(super) fn is_begun(&self) -> bool {
        let mut desk = self.link.board.desk();
        desk.turnstile.inside(self.turn).is_some_and(|inside| inside.has_begun())
    }

    /// Whether one of its statements ended it.
    pub(super) fn is_over(&self) -> bool {
        self.link.board.desk().turnstile.inside(self.turn).is_some_and(|inside| inside.over)
    }

    /// A savepoint ends with the transaction that it is in: what is sent after COMMIT would be committed by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
            || self.outer.as_ref().is_some_and(|outer| outer.has_ended())
    }

    /// Whether it was rolled back, or what it is in was.
    pub(crate) fn is_undone(&self) -> bool {
        self.undone.load(Ordering::Acquire)
            || self.outer.as_ref().is_some_and(|outer| outer.is_undone())
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(super) fn undo(&self) {
        self.undone.store(true, Ordering::Release);
    }

    /// Lets the next one in.
    pub(super) fn leave(&self) {
        let mut calls = Calls::new();
        self.link.board.desk().turnstile.leave(self.turn, &mut calls);
        for waker in calls {
            waker.wake();
        }
    }

    pub(super) fn roll_back_sql(&self) -> String {
        match &self.savepoint {
            Some(name) => format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"),
            None => "ROLLBACK".to_owned(),
        }
    }

    /// A name that nothing else of this transaction has: for a savepoint, a portal.
    pub(crate) fn next_name(&self) -> String {
        format!("txpostgres_{}", self.names.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Asks for something whose answer nobody waits for, unless the transaction has ended.
    pub(crate) fn tell(&self, request: Request<'_>) {
        let mut desk = self.link.board.desk();
        if self.has_ended() || desk.turnstile.inside(self.turn).is_none_or(|inside| inside.over) {
            return;
        }
        if let Ok(ticket) = desk.session.submit(request) {
            desk.expect_nothing(ticket);
            drop(desk);
            self.link.drive(None, true);
        }
    }
}

pub(super) fn outlived() -> Error {
    Error::new(ErrorKind::InteractionEnded, "the cursor's interaction has ended")
        .with_hint("use a cursor only within the closure that it was given to")
}

#[cold]
fn begun_by_hand() -> Error {
    Error::new(
        ErrorKind::Request,
        "a transaction is open already: a statement of the connection has begun it",
    )
    .with_hint("end it before the interaction, or leave BEGIN to run_interaction altogether")
}

/// Savepoints are a stack: what is sent outside of the innermost one would share its fate.
fn nested_is_running() -> Error {
    Error::new(
        ErrorKind::Request,
        "a nested interaction is running; its cursor is the one to use until it has ended",
    )
    .with_hint("await calls of the outer cursor before, and nested interactions one after another")
}

/// A savepoint is the innermost one, until this is dropped.
pub(super) struct Level<'a>(&'a Transaction);

impl<'a> Level<'a> {
    pub(super) fn enter(transaction: &'a Transaction) -> Result<Self> {
        if let Some(inside) = transaction.link.board.desk().turnstile.inside(transaction.turn) {
            if inside.level + 1 != transaction.level {
                return Err(nested_is_running());
            }
            inside.level = transaction.level;
        }
        Ok(Self(transaction))
    }
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        if let Some(inside) = self.0.link.board.desk().turnstile.inside(self.0.turn) {
            inside.level = self.0.level - 1;
        }
    }
}

pub(super) fn over() -> Error {
    Error::new(
        ErrorKind::InteractionEnded,
        "the interaction's transaction is over: it could not begin, or one of its statements ended it",
    )
    .with_hint("leave BEGIN, COMMIT and ROLLBACK to run_interaction")
}
