//! Where the delays of a retrying call come from: its iterator, and the one that replaces it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use txpostgres_policy::SimpleBackoffIterator;

#[cfg(doc)]
use super::RetryingCall;

/// Delays that grow from 1 s to an hour by the factor _e_, with jitter; the first is zero, and
/// there are ten in all. Each of these is a setting: see [`SimpleBackoffIterator`].
///
/// The seed of its jitter is random; [`seed`](SimpleBackoffIterator::seed) sets it.
///
/// ```
/// use std::time::Duration;
/// use txpostgres::retrying::simple_backoff_iterator;
///
/// // About every two seconds, forever.
/// let mut backoff = simple_backoff_iterator()
///     .initial_delay(Duration::from_secs(2))
///     .factor(1.0)
///     .max_retries(None);
/// assert_eq!(backoff.next(), Some(Duration::ZERO));
/// assert!(backoff.next() > Some(Duration::from_millis(500)));
/// ```
#[doc(alias("simpleBackoffIterator", "exponential", "backoff"))]
pub fn simple_backoff_iterator() -> SimpleBackoffIterator {
    // The keys of std's hash maps: random in each process, and others at each call. Jitter needs
    // nothing better.
    SimpleBackoffIterator::new(RandomState::new().hash_one(()))
}

/// Replaces the delays of a retrying call while it runs: see [`RetryingCall::backoff_handle`].
///
/// Clones refer to the same call.
#[derive(Clone, Default)]
pub struct BackoffHandle(Arc<Mutex<Option<Delays>>>);

/// A backoff that came later, of whatever type.
pub(super) type Delays = Box<dyn Iterator<Item = Duration> + Send>;

impl BackoffHandle {
    /// A handle that is yet to be given to a call.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the backoff of the call: its next delay, after its next failure, is the first of
    /// these. A delay that is running goes on to its end.
    ///
    /// Useful when a phase has succeeded that makes a short delay right again, such as the login
    /// of a subscription that breaks much later. Without a running call it has no effect.
    #[doc(alias("resetBackoff", "reset"))]
    pub fn reset_backoff<B>(&self, backoff: B)
    where
        B: IntoIterator<Item = Duration>,
        B::IntoIter: Send + 'static,
    {
        // The iterators are the user's: made before the lock is taken, dropped after it.
        let backoff: Delays = Box::new(backoff.into_iter());
        let unused = self.0.lock().replace(backoff);
        drop(unused);
    }

    /// The backoff that was set since the last call of this.
    pub(super) fn take(&self) -> Option<Delays> {
        self.0.lock().take()
    }
}

impl fmt::Debug for BackoffHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackoffHandle").finish_non_exhaustive()
    }
}

/// The delays of a running call.
pub(super) struct Backoff<I> {
    /// Of any type, and not necessarily `Send` or `'static`.
    first: I,
    replaced: Option<Delays>,
    handle: Option<BackoffHandle>,
}

impl<I: Iterator<Item = Duration>> Backoff<I> {
    pub(super) fn new(first: I, handle: Option<BackoffHandle>) -> Self {
        Self { first, replaced: None, handle }
    }

    pub(super) fn next_delay(&mut self) -> Option<Duration> {
        if let Some(newer) = self.handle.as_ref().and_then(BackoffHandle::take) {
            self.replaced = Some(newer);
        }
        match &mut self.replaced {
            Some(delays) => delays.next(),
            None => self.first.next(),
        }
    }
}
