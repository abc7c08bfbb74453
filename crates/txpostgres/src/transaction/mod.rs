//! A transaction around a closure: committed when it succeeds, rolled back when it fails, panics or
//! is dropped.

mod guard;
mod nested;
mod options;
mod retry_policy;
mod retrying;

use std::borrow::BorrowMut;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, timeout_at};
use txpostgres_multiplex::{Access, Begin, Borrower, CancelTarget, Drive, LockId, Patience};
use txpostgres_session::{Error, ErrorKind, Result};

use crate::connection::Connection;
use crate::cursor::Cursor;
use crate::driver::{Cancellation, Driver, Source, TransactionScope, noted};
use guard::{Guard, rolled_back};
use options::Options;
pub use options::{Interaction, IsolationLevel};
use retry_policy::RetryPolicy;
pub use retrying::RetryingInteraction;

impl Connection {
    /// Runs a closure in a transaction, which is committed when the closure returns `Ok`, and
    /// rolled back when it returns `Err`, panics, or is dropped.
    ///
    /// The transaction has the connection for itself: other calls on it wait. Within the closure,
    /// call the cursor, not the connection. BEGIN is sent together with the first statement.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let amount = 100_i64;
    /// let update = "update account set sum = sum + $1 where id = $2";
    /// let left: i64 = connection
    ///     .run_interaction(async |cursor| {
    ///         cursor.run_operation(update, (-amount, 1_i64)).await?;
    ///         cursor.run_operation(update, (amount, 2_i64)).await?;
    ///         cursor.run_query("select sum from account where id = 1", ()).one().await?.get(0)
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the closure, after the rollback; and, converted to the closure's error type:
    ///
    /// * [`ErrorKind::Request`] if a statement has begun a transaction by hand, which the
    ///   interaction would end;
    /// * the error of COMMIT, such as a deferred constraint; the transaction is rolled back;
    /// * [`ErrorKind::CommitRefused`] if a statement had failed and the closure returned `Ok` all
    ///   the same;
    /// * [`ErrorKind::InteractionEnded`] if a statement of the closure was a COMMIT, or ended the
    ///   transaction otherwise;
    /// * [`ErrorKind::CommitUnknown`] if the connection broke after COMMIT was sent;
    /// * [`ErrorKind::RollbackFailed`] if the rollback failed, with the closure's error in
    ///   [`Error::original`]; the connection is closed then.
    #[doc(alias = "transaction")]
    #[doc(alias = "begin")]
    pub fn run_interaction<T, E, F, Fut>(
        &self,
        interaction: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F, Fut>
    where
        F: FnOnce(Cursor) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        self.interaction().run(interaction)
    }

    /// An interaction with options: isolation level, read only, deferrable, time limit.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::IsolationLevel;
    ///
    /// let rows = connection
    ///     .interaction()
    ///     .isolation_level(IsolationLevel::Serializable)
    ///     .read_only(true)
    ///     .run(async |cursor| cursor.run_query("select sum(sum) from account", ()).await)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "build_transaction")]
    pub fn interaction(&self) -> Interaction {
        Interaction::new(self.source())
    }
}

/// Waits for the lease: until no other transaction has the connection.
struct Lease {
    driver: Arc<Driver>,
    access: Access,
    begin: Begin,
    id: Option<LockId>,
    patience: Patience<Driver>,
}

impl Future for Lease {
    type Output = Result<LockId>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<LockId>> {
        let this = self.get_mut();
        let mut waker = Some(cx.waker().clone());
        let mut locked = this.driver.lock();
        let (multiplexer, effects) = locked.parts();
        let (id, begin, access) = (&mut this.id, &this.begin, this.access);
        let waits = this.patience.waits(multiplexer);
        let polled = multiplexer.poll_lease(access, id, begin, waits, &mut waker, effects);
        let lease = multiplexer.lease();
        let is_usable = multiplexer.is_usable_by(access);
        drop(locked);
        if polled.is_pending() && !is_usable {
            ready!(this.patience.poll(&this.driver, cx));
            let why = this.driver.lock().why_closed();
            return Poll::Ready(Err(why));
        }
        if polled.is_pending() {
            // Dropping this future removes it from the queue.
            if let Some(error) = lease.and_then(|lease| this.driver.refuse_within(lease)) {
                return Poll::Ready(Err(error));
            }
            this.driver.watch();
        }
        polled
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let mut locked = self.driver.lock();
            let (multiplexer, effects) = locked.parts();
            multiplexer.leave_queue(id, effects);
        }
    }
}

/// Runs a closure in a transaction of its own.
async fn run_once<T, E, F, Fut>(once: Interaction, interaction: F) -> Result<T, E>
where
    F: FnOnce(Cursor) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    let Interaction { mut source, options, cancellation } = once;
    run(&mut source, options, cancellation, None, interaction).await
}

/// Runs a closure in a transaction of its own. The policy, if there is one, is told why it came to
/// nothing.
async fn run<T, E, F, Fut>(
    source: &mut Source,
    options: Options,
    // Owned, or borrowed for one of several attempts.
    mut cancellation: impl BorrowMut<Option<Cancellation>>,
    policy: Option<&mut RetryPolicy<'_>>,
    interaction: F,
) -> Result<T, E>
where
    F: FnOnce(Cursor) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    let cancellation = cancellation.borrow_mut();
    let is_exclusive = cancellation.is_some() || options.cancels_on_drop;
    let is_read_only = options.read_only == Some(true);
    let borrower = Borrower { limit: options.patience, ..Borrower::ALONE };
    let (driver, lease) = loop {
        let scope = source.borrow(borrower, cancellation.as_mut()).await?;
        let (driver, access) = (Arc::clone(scope.driver()), scope.access());
        let begin = Begin { sql: options.begin().into(), is_exclusive, is_read_only };
        let mut patience = Patience::default();
        if let Some(limit) = options.patience {
            patience.set_limit(limit);
        }
        let lease = Lease { driver: Arc::clone(&driver), access, begin, id: None, patience };
        match watched::<_, Error>(cancellation, None, lease).await {
            Ok(lease) => break (driver, lease),
            Err(error) if source.borrows_anew(&error) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let scope = Arc::new(TransactionScope::new(Arc::clone(&driver), lease));
    let mut guard = Guard::new(&scope);
    guard.cancels = options.cancels_on_drop;
    if let Some(cancellation) = cancellation {
        cancellation.sent(&driver, CancelTarget::Transaction(lease));
    }
    let outcome = {
        // Pinned here: passing it by value would store a copy in every enclosing future.
        let body = pin!(interaction(Cursor::of_transaction(Arc::clone(&scope))));
        let body = noted(&driver, lease, body);
        watched(cancellation, Some(&scope), body).await
    };
    scope.end();
    // COMMIT and ROLLBACK are not cancelled: they may be done already.
    guard.cancels = false;
    let limit = cancellation.as_ref().and_then(|cancellation| {
        cancellation.over();
        cancellation.timer().map(|timer| timer.deadline())
    });
    let outcome = match outcome {
        Ok(value) => match answered_by(limit, &driver, guard.commit()).await {
            Ok(()) => Ok(value),
            Err(error) => {
                if let Some(policy) = policy {
                    policy.not_committed(&driver, lease, &error);
                }
                Err(error.into())
            }
        },
        Err(error) => {
            let reason = policy.is_some().then(|| driver.lock().reason(lease)).flatten();
            let outcome = answered_by(limit, &driver, guard.roll_back()).await;
            if let (Some(policy), Ok(())) = (policy, &outcome) {
                policy.rolled_back(reason);
            }
            Err(rolled_back(error, outcome))
        }
    };
    source.give_back();
    outcome
}

/// Awaits a future, or ends with the error of a cancel or a time limit.
async fn watched<T, E: From<Error>>(
    cancellation: &mut Option<Cancellation>,
    scope: Option<&TransactionScope>,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(cancellation) = cancellation else {
        return future.await;
    };
    let mut future = pin!(future);
    poll_fn(|cx| {
        cancellation.watch(cx);
        let must_end = |cancellation: &Cancellation| {
            let begun = scope.is_some_and(|scope| scope.driver().lock().has_begun(scope.lease()));
            let error = cancellation.interrupted(begun)?;
            if let Some(scope) = scope {
                // A request may have been sent since the cancel.
                let target = CancelTarget::Transaction(scope.lease());
                scope.driver().start_cancel(target, cancellation.on_grace_expired());
            }
            Some(E::from(error))
        };
        if let Some(error) = must_end(cancellation) {
            return Poll::Ready(Err(error));
        }
        match future.as_mut().poll(cx) {
            // If it must end, its statement was cancelled for that reason.
            Poll::Ready(Err(error)) => Poll::Ready(Err(must_end(cancellation).unwrap_or(error))),
            polled => polled,
        }
    })
    .await
}

/// Waits for the end of a transaction; with a time limit, for at most that and the grace period.
async fn answered_by<F: Future>(limit: Option<Instant>, driver: &Driver, future: F) -> F::Output {
    let grace = driver.requester().map(|requester| requester.grace);
    let (Some(limit), Some(grace)) = (limit, grace) else {
        return future.await;
    };
    let generation = driver.lock().generation();
    let mut future = pin!(future);
    if let Ok(output) = timeout_at(limit + grace, &mut future).await {
        return output;
    }
    let message = "the end of a transaction was not answered within its time limit";
    driver.give_up(generation, Error::new(ErrorKind::Lost, message));
    future.await
}
