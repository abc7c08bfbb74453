//! The steps of a detector that a program may override.

use std::fmt;
use std::sync::Arc;

use txpostgres_session::Error;

use super::BoxFuture;
use super::detector::Core;
use super::handlers::run_all;
use super::run;

/// What an overridden step returns if it takes time.
pub type Overriding<T> = BoxFuture<'static, T>;

/// The steps of a detector, each of which may be overridden. A step that is overridden calls the
/// same method of `base` for what the detector does by itself, before, after or not at all.
///
/// A detector that counts outages:
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use txpostgres::Error;
/// use txpostgres::reconnection::{Base, DeadConnectionDetector, Overrides};
///
/// #[derive(Default)]
/// struct Counting(AtomicU32);
///
/// impl Overrides for Counting {
///     fn start_reconnecting(&self, base: &Base, error: &Error) {
///         println!("outage {}: {error}", self.0.fetch_add(1, Ordering::Relaxed) + 1);
///         base.start_reconnecting(error);
///     }
/// }
///
/// let detector = DeadConnectionDetector::builder().overrides(Counting::default()).build();
/// # drop(detector);
/// ```
pub trait Overrides<E: Send + Sync + fmt::Display + 'static = Error>:
    Send + Sync + 'static
{
    /// Decides whether an error means that the connection is dead, and starts to reconnect it if
    /// so. Returns whether it does.
    fn check_for_dead_connection(&self, base: &Base<E>, error: &E) -> bool {
        base.check_for_dead_connection(error)
    }

    /// Called when the connection is found to be dead.
    fn start_reconnecting(&self, base: &Base<E>, error: &E) {
        base.start_reconnecting(error);
    }

    /// Called at each attempt.
    fn reconnect(&self, base: &Base<E>) -> Overriding<Result<(), E>> {
        base.reconnect()
    }

    /// Called when the connection has recovered. It is up when the future of `base` has ended.
    fn connection_recovered(&self, base: &Base<E>) -> Overriding<()> {
        base.connection_recovered()
    }
}

/// Nothing is overridden.
pub(super) struct Defaults;

impl<E: Send + Sync + fmt::Display + 'static> Overrides<E> for Defaults {}

/// The steps of a detector as they are without [`Overrides`].
pub struct Base<E: 'static = Error>(pub(super) Arc<Core<E>>);

impl<E: Send + Sync + fmt::Display + 'static> Base<E> {
    /// If the death checker says that the error is a death: calls
    /// [`start_reconnecting`](Overrides::start_reconnecting).
    pub fn check_for_dead_connection(&self, error: &E) -> bool {
        let is_death = (self.0.death_checker)(error);
        if is_death {
            self.0.overrides.start_reconnecting(self, error);
        }
        is_death
    }

    /// Notes that the connection is dead, unless that is known already, and spawns the task that
    /// makes the attempts.
    pub fn start_reconnecting(&self, error: &E) {
        run::start(&self.0, error);
    }

    /// Closes the reconnectable, and connects it.
    pub fn reconnect(&self) -> Overriding<Result<(), E>> {
        let link = self.0.link();
        Box::pin(async move {
            link.close().await;
            link.connect().await
        })
    }

    /// Runs the recovery handlers in parallel with each other, and awaits them all. Then the
    /// connection is up.
    pub fn connection_recovered(&self) -> Overriding<()> {
        let core = Arc::clone(&self.0);
        Box::pin(async move {
            let handlers = core.handlers.lock().clone();
            core.link().recover(Box::pin(run_all(handlers))).await;
            run::recovered(&core);
        })
    }
}

impl<E> fmt::Debug for Base<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").finish_non_exhaustive()
    }
}
