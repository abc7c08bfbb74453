//! One call, made again after each failure.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::Sleep;

use super::Verdict;
use super::backoff::{Backoff, BackoffHandle};
#[cfg(doc)]
use super::simple_backoff_iterator;

/// How many calls in a row are made at once before other tasks may run. Calls that fail without
/// waiting, with delays that are all zero, would otherwise keep the thread from whatever could end
/// their failures, and from dropping them. A thousand calls take milliseconds at most, and no
/// backoff of use has as many zeros.
const CALLS_AT_ONCE: u32 = 1_000;

/// A call that is repeated until it succeeds, or there is a reason to stop.
///
/// ```text
///                  ┌──────────── the tester says: retry ───────────┐
///                  ▼                                               │
///   start ──▶ next delay ──▶ wait, unless it is zero ──▶ call ──▶ failed ──▶ the tester says: stop
///                  │                                       │                        │
///                  ▼                                       ▼                        ▼
///     none is left: the last failure                   its value               its failure
/// ```
///
/// ```
/// use std::future::ready;
/// use txpostgres::retrying::{RetryingCall, simple_backoff_iterator};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let mut calls = 0;
/// let call = RetryingCall::new(|| {
///     calls += 1;
///     ready(if calls < 3 { Err("busy") } else { Ok(calls) })
/// });
/// assert_eq!(call.start(simple_backoff_iterator(), |_| true).await, Ok(3));
/// # }
/// ```
///
/// A delay precedes every call, the first one too: `n` delays are `n` calls. After the last of them
/// has failed, the result is the failure of the last call. A backoff without any delay makes one
/// call, at once.
///
/// **A delay of zero** is no delay: the call begins in the same poll, without a timer and without
/// giving way to other tasks. (After 1,000 such calls in a row the task yields once, so that a call
/// that always fails at once does not block its thread.)
///
/// # Dropping the future
///
/// The future may be dropped at any await point. During a delay nothing else happens, and the call
/// is not made again. During a call the future of that call is dropped with it: what then becomes
/// of the call is told by its own documentation, for those of this crate by [the
/// table](crate#futures-may-be-dropped). Neither the tester nor the backoff is asked any more.
///
/// To limit one call, put the limit around the call; to limit all of them with their delays, put
/// it around the future of [`start`](Self::start).
#[must_use = "a retrying call does nothing until it is started"]
#[doc(alias("retry", "Retryable", "RetryIf"))]
pub struct RetryingCall<F, S = fn(Duration) -> Sleep> {
    call: F,
    sleep: S,
    handle: Option<BackoffHandle>,
}

impl<F> RetryingCall<F> {
    /// Will make this call. Delays are those of Tokio's clock.
    ///
    /// The closure returns the future of one call: `|| connection.run_query(sql, ())`, or
    /// `async || { … }`. For a future that must be `'static`, as `tokio::spawn` wants it, have the
    /// closure clone what its future owns, or start the call within an `async move` block.
    pub fn new(call: F) -> Self {
        Self { call, sleep: tokio::time::sleep, handle: None }
    }
}

impl<F, S> RetryingCall<F, S> {
    /// Waits with this instead of `tokio::time::sleep`: another clock, another runtime, or a test
    /// that only writes the delays down. It is never asked to wait for zero.
    ///
    /// ```
    /// use std::future::ready;
    /// use std::time::Duration;
    /// use txpostgres::retrying::RetryingCall;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let mut delays = Vec::new();
    /// let failed = RetryingCall::new(|| ready(Err::<(), _>("down")))
    ///     .sleep(|delay| {
    ///         delays.push(delay);
    ///         ready(())
    ///     })
    ///     .start([0, 3, 5].map(Duration::from_secs), |_| true)
    ///     .await;
    /// assert_eq!(failed, Err("down"));
    /// assert_eq!(delays, [3, 5].map(Duration::from_secs));
    /// # }
    /// ```
    #[doc(alias("clock", "reactor"))]
    pub fn sleep<T, Z>(self, sleep: T) -> RetryingCall<F, T>
    where
        T: FnMut(Duration) -> Z,
        Z: Future<Output = ()>,
    {
        RetryingCall { call: self.call, sleep, handle: self.handle }
    }

    /// Lets this handle replace the backoff while the call runs.
    ///
    /// The handle is made first, so that the call itself can have it:
    ///
    /// ```
    /// use txpostgres::retrying::{BackoffHandle, RetryingCall, simple_backoff_iterator};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let logins = std::cell::RefCell::new([Err("refused"), Ok(()), Err("closed")].into_iter());
    /// # let log_in = async || logins.borrow_mut().next().unwrap_or(Err("gone"));
    /// # let listen = async || Err::<(), _>("connection lost");
    /// let backoff = BackoffHandle::new();
    /// let ended = RetryingCall::new(async || {
    ///     log_in().await?;
    ///     // Logged in: after the next failure begin anew.
    ///     backoff.reset_backoff(simple_backoff_iterator().max_retries(3));
    ///     listen().await
    /// })
    /// .backoff_handle(&backoff)
    /// .start(simple_backoff_iterator(), |_| true)
    /// .await;
    /// # assert_eq!(ended, Err("gone"));
    /// # }
    /// ```
    ///
    /// A handle is for one running call.
    #[doc(alias("resetBackoff", "reset_backoff"))]
    pub fn backoff_handle(mut self, handle: &BackoffHandle) -> Self {
        self.handle = Some(handle.clone());
        self
    }

    /// Makes the call until it succeeds, the tester says stop, or the backoff has no delay left.
    ///
    /// * `backoff`: the delays, one before each call. [`simple_backoff_iterator`] is the usual one;
    ///   any iterator of `Duration`s works, such as `[Duration::ZERO; 3]` or
    ///   `std::iter::repeat(…)`.
    /// * `tester`: sees every failure, and says whether it is retried: `true` or `false`, or as a
    ///   [`Verdict`] says. For calls of this crate use
    ///   [`Error::is_retryable`](crate::Error::is_retryable), which excludes what may have taken
    ///   effect already; `|_| true` retries everything.
    ///
    /// The first call is made when the future is first polled.
    ///
    /// # Panics
    ///
    /// Tokio's clock panics outside of a Tokio runtime, or in one without time, at the first delay
    /// that is not zero. Other runtimes need [`sleep`](Self::sleep).
    pub fn start<T, E, C, B, Q, V, Z>(
        mut self,
        backoff: B,
        mut tester: Q,
    ) -> impl Future<Output = Result<T, E>> + use<T, E, F, S, C, B, Q, V, Z>
    where
        F: FnMut() -> C,
        C: Future<Output = Result<T, E>>,
        B: IntoIterator<Item = Duration>,
        Q: FnMut(&E) -> V,
        V: Verdict<E>,
        S: FnMut(Duration) -> Z,
        Z: Future<Output = ()>,
    {
        // A replacement for an earlier run is none for this.
        drop(self.handle.as_ref().and_then(BackoffHandle::take));
        let mut backoff = Backoff::new(backoff.into_iter(), self.handle.take());
        async move {
            let mut at_once = 0;
            let mut delay = backoff.next_delay().unwrap_or_default();
            loop {
                if !delay.is_zero() {
                    at_once = 0;
                    (self.sleep)(delay).await;
                } else if at_once < CALLS_AT_ONCE {
                    at_once += 1;
                } else {
                    at_once = 1;
                    yield_now().await;
                }
                let failure = match (self.call)().await {
                    Ok(value) => return Ok(value),
                    Err(failure) => failure,
                };
                let failure = match tester(&failure).apply(failure) {
                    ControlFlow::Continue(failure) => failure,
                    ControlFlow::Break(error) => return Err(error),
                };
                let Some(next) = backoff.next_delay() else { return Err(failure) };
                delay = next;
            }
        }
    }
}

impl<F, S> fmt::Debug for RetryingCall<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryingCall").finish_non_exhaustive()
    }
}
