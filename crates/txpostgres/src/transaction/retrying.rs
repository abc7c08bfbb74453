//! An interaction that is tried again when it came to nothing for a reason that passes.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tracing::Instrument as _;
use txpostgres_session::{Error, Result};

use super::options::Interaction;
use super::retry_policy::RetryPolicy;
use super::watched;
use crate::cursor::Cursor;
use crate::driver::Cancellation;
use crate::retrying::{SimpleBackoffIterator, simple_backoff_iterator};
#[cfg(doc)]
use crate::{ConnectionBuilder, ErrorKind};

/// The first delay after the retry that comes at once: 10 ms. A transaction that met another one
/// takes some milliseconds, and so does that one.
const INITIAL_DELAY: Duration = Duration::from_millis(10);

/// The longest delay: 1 s. What takes longer to pass is no conflict of transactions.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// An interaction that is about to be run, and again if it comes to nothing: see
/// [`Interaction::retries`].
#[must_use = "an interaction does nothing until it is run"]
pub struct RetryingInteraction<B = SimpleBackoffIterator, P = fn(&Error) -> bool> {
    interaction: Interaction,
    retries: u32,
    backoff: B,
    retry_on: P,
    is_idempotent: bool,
}

impl Interaction {
    /// Tries the transaction again, up to this many times, when it came to nothing for a reason
    /// that passes: a serialization failure or a deadlock in the closure or at COMMIT, a lock
    /// timeout, a cached plan that went stale, a connection that was lost before COMMIT was sent.
    ///
    /// That is decided by what became of the transaction: the closure may convert or swallow the
    /// error, or let it pass through a nested interaction. An error of the closure's own, for which
    /// the server had given no reason, ends the interaction. So does a COMMIT whose answer was
    /// lost, unless it is [idempotent](RetryingInteraction::idempotent).
    ///
    /// The closure runs once for each attempt, so what it does besides its statements is done
    /// again. A COMMIT must not be one of its statements: if its answer was lost with the
    /// connection, the transaction is taken for rolled back. Options, such as the isolation level,
    /// are set before and hold for each attempt; a time limit and a cancel handle are for all
    /// attempts together with the delays between them.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::IsolationLevel;
    ///
    /// let amount = 100_i64;
    /// connection
    ///     .interaction()
    ///     .isolation_level(IsolationLevel::Serializable)
    ///     .retries(4)
    ///     .run(async |cursor| {
    ///         let update = "update account set sum = sum + $1 where id = $2";
    ///         cursor.run_operation(update, (-amount, 1_i64)).await?;
    ///         cursor.run_operation(update, (amount, 2_i64)).await
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "retry")]
    pub fn retries(self, retries: u32) -> RetryingInteraction {
        let backoff = simple_backoff_iterator()
            .initial_delay(INITIAL_DELAY)
            .max_delay(MAX_DELAY)
            .max_retries(None);
        RetryingInteraction {
            interaction: self,
            retries,
            backoff,
            retry_on: Error::is_retryable,
            is_idempotent: false,
        }
    }
}

impl<B, P> RetryingInteraction<B, P> {
    /// Sets the delays, one before each attempt but the first. When there is none left, there is
    /// no further attempt.
    ///
    /// Without it the second attempt is made at once, and the next ones after delays that grow from
    /// 10 ms to 1 s, with jitter, so that transactions that met do not meet again.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use std::time::Duration;
    ///
    /// connection
    ///     .interaction()
    ///     .retries(10)
    ///     .backoff(std::iter::repeat(Duration::from_millis(50)))
    ///     .run(async |cursor| cursor.run_operation("update job set done = now()", ()).await)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn backoff<I>(self, delays: I) -> RetryingInteraction<I::IntoIter, P>
    where
        I: IntoIterator<Item = Duration>,
    {
        let Self { interaction, retries, retry_on, is_idempotent, .. } = self;
        let backoff = delays.into_iter();
        RetryingInteraction { interaction, retries, backoff, retry_on, is_idempotent }
    }

    /// Sets for which reasons the transaction is tried again, instead of those of
    /// [`Error::is_retryable`].
    ///
    /// The reason is the error that failed the transaction, or that of COMMIT, whatever the closure
    /// made of it. A connection that was lost before COMMIT was sent is an [`ErrorKind::Lost`] that
    /// is retryable. What may have been committed, as a whole or in part, is not asked about.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::{Error, SqlState};
    ///
    /// // Another session inserts the same row at the same time: then there is one to be updated.
    /// let inserts_again = |error: &Error| {
    ///     error.is_retryable() || error.sqlstate() == Some(SqlState::UNIQUE_VIOLATION)
    /// };
    /// let upsert = async |cursor: txpostgres::Cursor| {
    ///     let update = "update counter set n = n + 1 where name = $1";
    ///     if cursor.run_operation(update, ("visits",)).await? == 0 {
    ///         cursor.run_operation("insert into counter values ($1, 1)", ("visits",)).await?;
    ///     }
    ///     Ok::<_, Error>(())
    /// };
    /// connection.interaction().retries(3).retry_on(inserts_again).run(upsert).await?;
    /// # Ok(()) }
    /// ```
    pub fn retry_on<Q>(self, retry_on: Q) -> RetryingInteraction<B, Q>
    where
        Q: FnMut(&Error) -> bool,
    {
        let Self { interaction, retries, backoff, is_idempotent, .. } = self;
        RetryingInteraction { interaction, retries, backoff, retry_on, is_idempotent }
    }

    /// Declares that it does no harm if the transaction is committed twice: it is tried again also
    /// if the answer to COMMIT was lost ([`ErrorKind::CommitUnknown`]), so that it may have been
    /// committed before.
    ///
    /// Not if the server said that it was committed, and only not whether it outlasts a failover
    /// ([`Error::is_of_replication`]).
    pub fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    /// Runs the closure in a transaction, and again in another one: see
    /// [`Connection::run_interaction`](crate::Connection::run_interaction).
    ///
    /// The closure is called for each attempt with a cursor of its own. It may be an `async`
    /// closure that only reads what it captures. To change something, let a closure do so that
    /// returns an `async move` block, or use a `Cell` or an atomic.
    ///
    /// Each attempt runs in a `tracing` span `interaction` with the field `attempt`, the first
    /// being 1. Why there is a further one is logged at the level `debug`.
    ///
    /// If the connection was lost, the next attempt waits for it as long as
    /// [`wait_for_recovery`](ConnectionBuilder::wait_for_recovery) says, and fails with
    /// [`ErrorKind::ConnectionDead`] if it is not back by then.
    ///
    /// # Errors
    ///
    /// Those of the last attempt, which are those of
    /// [`Connection::run_interaction`](crate::Connection::run_interaction).
    pub fn run<T, E, F, Fut>(
        self,
        interaction: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F, Fut, B, P>
    where
        B: Iterator<Item = Duration> + Send,
        P: FnMut(&Error) -> bool + Send,
        F: FnMut(Cursor) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        run_again(self, interaction)
    }
}

/// Runs a closure in one transaction after the other.
async fn run_again<B, P, T, E, F, Fut>(
    retrying: RetryingInteraction<B, P>,
    mut interaction: F,
) -> Result<T, E>
where
    B: Iterator<Item = Duration>,
    P: FnMut(&Error) -> bool + Send,
    F: FnMut(Cursor) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    let RetryingInteraction { interaction: one, retries, mut backoff, mut retry_on, is_idempotent } =
        retrying;
    let (mut source, mut cancellation) = (one.source, one.cancellation);
    if let Some(cancellation) = &mut cancellation {
        cancellation.set_lasting(true);
    }
    let mut attempt = 1_u32;
    let outcome = loop {
        let mut policy = RetryPolicy::new(&mut retry_on, is_idempotent);
        let span = tracing::info_span!(target: "txpostgres", "interaction", attempt);
        let failed = super::run(
            &mut source,
            one.options,
            &mut cancellation,
            Some(&mut policy),
            &mut interaction,
        )
        .instrument(span)
        .await;
        let Err(error) = failed else { break failed };
        let Some(reason) = policy.into_reason() else { break Err(error) };
        if attempt > retries || cancellation.as_ref().is_some_and(Cancellation::must_end) {
            break Err(error);
        }
        let Some(delay) = backoff.next() else { break Err(error) };
        tracing::debug!(target: "txpostgres", attempt, %reason, ?delay, "an interaction is tried again");
        attempt += 1;
        if !delay.is_zero() {
            let slept = async {
                tokio::time::sleep(delay).await;
                Ok::<_, Error>(())
            };
            if let Err(error) = watched(&mut cancellation, None, slept).await {
                break Err(error.into());
            }
        }
    };
    if let Some(cancellation) = &mut cancellation {
        cancellation.set_lasting(false);
        cancellation.over();
    }
    outcome
}

impl<B, P> fmt::Debug for RetryingInteraction<B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryingInteraction")
            .field("interaction", &self.interaction)
            .field("retries", &self.retries)
            .field("is_idempotent", &self.is_idempotent)
            .finish_non_exhaustive()
    }
}
