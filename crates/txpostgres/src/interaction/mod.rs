//! A transaction around a closure: committed when it succeeds, rolled back when it fails, panics or is dropped.

mod options;

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::time::{Instant, timeout_at};
use txpostgres_session::{Delivery, Error, ErrorKind, Request, Result, Ticket, TransactionStatus};

use crate::call::Call;
use crate::caller::Caller;
use crate::cancel::Otherwise;
use crate::cursor::Cursor;
use crate::desk::{Calls, Desk, rollback_failed};
use crate::link::Link;
use crate::patience::Patience;
use crate::turnstile::Turn;

use options::Options;
pub use options::{Interaction, IsolationLevel};

/// A transaction, or a savepoint in one, while its closure runs.
///
/// ```text
///   inside the turnstile ──first statement──▶ begun ──COMMIT, ROLLBACK──▶ out of the turnstile
///            └──────────────nothing was asked──────────────────────────────▲
/// ```
pub(crate) struct Transaction {
    link: Arc<Link>,
    turn: Turn,
    begin: String,
    savepoint: Option<String>,
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
        Poll::Ready(Ok((!inside.has_begun()).then_some(&self.begin)))
    }

    pub(crate) fn has_begun(&self, desk: &mut Desk, ticket: Ticket) {
        if let Some(inside) = desk.turnstile.inside(self.turn) {
            inside.begin(ticket);
        }
    }

    fn is_begun(&self) -> bool {
        let mut desk = self.link.board.desk();
        desk.turnstile.inside(self.turn).is_some_and(|inside| inside.has_begun())
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

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn undo(&self) {
        self.undone.store(true, Ordering::Release);
    }

    /// Lets the next one in.
    fn leave(&self) {
        let mut calls = Calls::new();
        self.link.board.desk().turnstile.leave(self.turn, &mut calls);
        for waker in calls {
            waker.wake();
        }
    }

    fn roll_back_sql(&self) -> String {
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

fn outlived() -> Error {
    Error::new(ErrorKind::InteractionEnded, "the cursor's interaction has ended")
        .with_hint("use a cursor only within the closure that it was given to")
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
struct Level<'a>(&'a Transaction);

impl<'a> Level<'a> {
    fn enter(transaction: &'a Transaction) -> Result<Self> {
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

fn over() -> Error {
    Error::new(
        ErrorKind::InteractionEnded,
        "the interaction's transaction is over: it could not begin, or one of its statements ended it",
    )
    .with_hint("leave BEGIN, COMMIT and ROLLBACK to run_interaction")
}

/// Rolls back unless told otherwise: what happens when the closure panics or its future is dropped.
struct Guard {
    transaction: Arc<Transaction>,
    done: bool,
    /// The statement that runs is cancelled first.
    cancels: bool,
}

impl Guard {
    fn new(transaction: &Arc<Transaction>) -> Self {
        Self { transaction: Arc::clone(transaction), done: false, cancels: false }
    }

    /// Nothing is left to be done.
    fn disarm(mut self) {
        self.done = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let transaction = &self.transaction;
        transaction.end();
        transaction.undo();
        if self.cancels {
            drop(transaction.link.cancel_inside(transaction.turn, Otherwise::GiveUpIfTold));
        }
        let mut desk = transaction.link.board.desk();
        let Some(inside) = desk.turnstile.inside(transaction.turn) else {
            return;
        };
        if !inside.has_begun() {
            drop(desk);
            if transaction.savepoint.is_none() {
                transaction.leave();
            }
            return;
        }
        let sql = transaction.roll_back_sql();
        let Ok(ticket) = desk.session.submit(Request::Script { sql: &sql }) else {
            // The session is over, and the transaction with it.
            return;
        };
        if transaction.savepoint.is_some() {
            desk.expect_nothing(ticket);
        } else {
            desk.expect_end(ticket, transaction.turn);
        }
        drop(desk);
        transaction.link.drive(None, true);
    }
}

/// Waits for the connection to be free of other interactions.
struct Enter {
    link: Arc<Link>,
    place: Option<Turn>,
}

impl Future for Enter {
    type Output = Result<Turn>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Turn>> {
        let this = self.get_mut();
        let mut desk = this.link.board.desk();
        if desk.session.is_closed() {
            return Poll::Ready(Err(desk.why_closed()));
        }
        match desk.turnstile.enter(&mut this.place, cx) {
            Some(turn) => {
                this.place = None;
                Poll::Ready(Ok(turn))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        if let Some(turn) = self.place {
            let mut calls = Calls::new();
            self.link.board.desk().turnstile.give_up(turn, &mut calls);
            for waker in calls {
                waker.wake();
            }
        }
    }
}

/// Runs a closure in a transaction of its own.
pub(crate) async fn run<T, E, F, Fut>(
    link: Result<Arc<Link>>,
    options: Options,
    mut patience: Option<Patience>,
    interaction: F,
) -> Result<T, E>
where
    F: FnOnce(Cursor) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    let link = link?;
    let enter = Enter { link: Arc::clone(&link), place: None };
    let turn = watched::<_, Error>(&mut patience, None, enter).await?;
    if let Some(inside) = link.board.desk().turnstile.inside(turn) {
        inside.isolates = patience.is_some() || options.cancels_on_drop;
    }
    if let Some(patience) = &patience {
        patience.inside(&link, turn);
    }
    let transaction = Arc::new(Transaction {
        link,
        turn,
        begin: options.begin(),
        savepoint: None,
        outer: None,
        names: Arc::default(),
        level: 0,
        ended: AtomicBool::new(false),
        undone: AtomicBool::new(false),
    });
    let mut guard = Guard::new(&transaction);
    guard.cancels = options.cancels_on_drop;
    let body = interaction(Cursor::new(Arc::clone(&transaction)));
    let outcome = watched(&mut patience, Some(&transaction), body).await;
    transaction.end();
    // COMMIT and ROLLBACK are not interrupted: they may be done already.
    guard.cancels = false;
    let end = patience.as_ref().and_then(|patience| {
        patience.over();
        patience.end()
    });
    let link = &transaction.link;
    match outcome {
        Ok(value) => {
            answered_by(end, link, commit(&transaction)).await?;
            guard.disarm();
            Ok(value)
        }
        Err(error) => answered_by(end, link, roll_back(&transaction, guard, error)).await,
    }
}

/// The outcome, or why it is not waited for.
async fn watched<T, E: From<Error>>(
    patience: &mut Option<Patience>,
    transaction: Option<&Transaction>,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(patience) = patience else {
        return future.await;
    };
    let mut future = pin!(future);
    poll_fn(|cx| {
        patience.watch(cx);
        let is_to_end = |patience: &Patience| {
            let begun = transaction.is_some_and(Transaction::is_begun);
            let error = patience.interrupted(begun)?;
            if let Some(Transaction { link, turn, .. }) = transaction {
                // Something may have been sent since the cancel.
                drop(link.cancel_inside(*turn, patience.otherwise()));
            }
            Some(E::from(error))
        };
        if let Some(error) = is_to_end(patience) {
            return Poll::Ready(Err(error));
        }
        match future.as_mut().poll(cx) {
            // Its statement was cancelled for the same reason.
            Poll::Ready(Err(error)) => Poll::Ready(Err(is_to_end(patience).unwrap_or(error))),
            polled => polled,
        }
    })
    .await
}

/// Waits for the end of a transaction; with a time limit, not for longer than that and the grace.
async fn answered_by<F: Future>(limit: Option<Instant>, link: &Link, future: F) -> F::Output {
    let Some(limit) = limit else {
        return future.await;
    };
    let mut future = pin!(future);
    if let Ok(output) = timeout_at(limit + link.interrupter.grace, &mut future).await {
        return output;
    }
    let message = "the end of a transaction was not answered within its time limit";
    link.give_up(Error::new(ErrorKind::Lost, message));
    future.await
}

/// Runs a closure in a savepoint of a transaction.
pub(crate) async fn run_nested<T, E, F, Fut>(
    outer: &Arc<Transaction>,
    interaction: F,
) -> Result<T, E>
where
    F: FnOnce(Cursor) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    let name = outer.next_name();
    let transaction = Arc::new(Transaction {
        link: Arc::clone(&outer.link),
        turn: outer.turn,
        begin: outer.begin.clone(),
        savepoint: Some(name.clone()),
        outer: Some(Arc::clone(outer)),
        names: Arc::clone(&outer.names),
        level: outer.level + 1,
        ended: AtomicBool::new(false),
        undone: AtomicBool::new(false),
    });
    let _level = Level::enter(&transaction)?;
    let sql = format!("SAVEPOINT {name}");
    Call::new(Ok(Caller::Transaction(Arc::clone(&transaction))), &sql, ()).answer(|_| ()).await?;
    let mut guard = Guard::new(&transaction);
    match interaction(Cursor::new(Arc::clone(&transaction))).await {
        Ok(value) => {
            transaction.end();
            let sql = format!("RELEASE SAVEPOINT {name}");
            let caller = if outer.has_ended() {
                Err(outlived())
            } else {
                Ok(Caller::End(Arc::clone(&outer.link)))
            };
            let release = Call::script(caller, &sql);
            // Sent with the next poll. A rollback to what has been released would fail the whole transaction.
            guard.done = true;
            if let Err(error) = release.answer(|_| ()).await {
                guard.done = false;
                return Err(error.into());
            }
            Ok(value)
        }
        Err(error) => {
            transaction.end();
            roll_back(&transaction, guard, error).await
        }
    }
}

/// Ends the transaction well, or says why it did not. Whatever comes out, the transaction is over afterwards, or the
/// caller's guard sees to it.
async fn commit(transaction: &Arc<Transaction>) -> Result<()> {
    let link = &transaction.link;
    match state(transaction) {
        State::Untouched => {
            transaction.leave();
            return Ok(());
        }
        State::Over => {
            transaction.leave();
            return Err(over());
        }
        State::Open => {}
    }
    let call = Call::script(Ok(Caller::End(Arc::clone(link))), "COMMIT");
    let outcome = call.answer(|answer| *answer.tag()).await;
    let is_over = link.board.desk().session.transaction_status() == TransactionStatus::Idle;
    if is_over {
        transaction.leave();
    }
    match outcome {
        Ok(tag) if tag.as_str() == "ROLLBACK" => Err(Error::new(
            ErrorKind::CommitRefused,
            "nothing was committed: a statement of the transaction had failed, and COMMIT became ROLLBACK",
        )
        .with_delivery(Delivery::Answered)
        .with_hint("return the error of the statement that failed, or run it in a nested interaction")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() != ErrorKind::Server && error.delivery() == Delivery::Unknown => {
            Err(Error::new(
                ErrorKind::CommitUnknown,
                "the connection broke after COMMIT was sent: whether it took place is unknown",
            )
            .with_delivery(Delivery::Unknown)
            .with_source(error))
        }
        Err(error) => Err(error),
    }
}

/// Undoes what was done, and gives the error that asked for it, or tells that it could not be undone.
async fn roll_back<T, E>(
    transaction: &Arc<Transaction>,
    mut guard: Guard,
    original: E,
) -> Result<T, E>
where
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    transaction.undo();
    let link = &transaction.link;
    if link.board.desk().session.is_closed() {
        // The session is over; the server ends its transaction by itself.
        guard.disarm();
        return Err(original);
    }
    if !matches!(state(transaction), State::Open) {
        if transaction.savepoint.is_none() {
            transaction.leave();
        }
        guard.disarm();
        return Err(original);
    }
    let sql = transaction.roll_back_sql();
    // A second ROLLBACK does no harm; a second one to the same savepoint would fail the whole transaction.
    guard.done = transaction.savepoint.is_some();
    let outcome = Call::script(Ok(Caller::End(Arc::clone(link))), &sql).answer(|_| ()).await;
    guard.disarm();
    match outcome {
        Ok(()) => {
            if transaction.savepoint.is_none() {
                transaction.leave();
            }
            Err(original)
        }
        // As if it had been gone before: the server ends the transaction by itself.
        Err(rollback)
            if rollback.kind() == ErrorKind::Lost && rollback.delivery() == Delivery::NotSent =>
        {
            Err(original)
        }
        Err(rollback) => {
            tracing::warn!(target: "txpostgres", error = %rollback, "ROLLBACK failed");
            link.give_up(rollback_failed(&rollback));
            Err(Error::rollback_failed(original, rollback).into())
        }
    }
}

enum State {
    /// No statement was sent: there is no transaction.
    Untouched,
    /// The transaction is open, in the server's words.
    Open,
    /// It is not any more.
    Over,
}

fn state(transaction: &Transaction) -> State {
    match transaction.link.board.desk().turnstile.inside(transaction.turn) {
        Some(inside) if inside.over => State::Over,
        Some(inside) if inside.has_begun() => State::Open,
        Some(_) => State::Untouched,
        // The session is over: COMMIT will say so.
        None => State::Open,
    }
}
