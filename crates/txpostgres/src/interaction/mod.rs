//! A transaction around a closure: committed when it succeeds, rolled back when it fails, panics or is dropped.

mod ending;
mod options;
mod transaction;
mod within;

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, timeout_at};
use txpostgres_session::{Error, ErrorKind, Result};

use crate::call::Call;
use crate::caller::Caller;
use crate::cursor::Cursor;
use crate::desk::Calls;
use crate::link::Link;
use crate::patience::Patience;
use crate::turnstile::Turn;

use ending::{Guard, commit, not_released, roll_back};
use options::Options;
pub use options::{Interaction, IsolationLevel};
pub(crate) use transaction::Transaction;
use transaction::{Level, outlived, over};
pub(crate) use within::why_not_to_wait;

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
            // What has its place in the queue leaves it when it is dropped.
            None => match why_not_to_wait(&this.link, &desk.turnstile) {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
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
    let transaction = Arc::new(Transaction::new(link, turn, options.begin()));
    let mut guard = Guard::new(&transaction);
    guard.cancels = options.cancels_on_drop;
    let outcome = {
        // Pinned here: passed on, it would be kept by each that it goes through.
        let body = pin!(interaction(Cursor::new(Arc::clone(&transaction))));
        let body = within::noted(&transaction.link, turn, body);
        watched(&mut patience, Some(&transaction), body).await
    };
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
    let transaction = Arc::new(Transaction::nested(outer, name.clone()));
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
            } else if transaction.is_over() {
                Err(over())
            } else {
                Ok(Caller::End(Arc::clone(&outer.link)))
            };
            let release = Call::script(caller, &sql);
            // Sent with the next poll. A rollback to what has been released would fail the whole transaction.
            guard.done = true;
            if let Err(error) = release.answer(|_| ()).await {
                guard.done = false;
                return Err(not_released(error).into());
            }
            Ok(value)
        }
        Err(error) => {
            transaction.end();
            roll_back(&transaction, guard, error).await
        }
    }
}
