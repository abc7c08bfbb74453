//! What a detector reconnects.

use std::any::Any;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

/// A future in a box.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Anything that can be opened and closed, and may be found dead: a client of another service, a
/// replication stream, a file on a network.
///
/// A detector calls `close` and then `connect` at each attempt. A [`Connection`](crate::Connection)
/// that was built with a detector is its reconnectable already.
///
/// ```
/// use std::io;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use txpostgres::reconnection::{DetectorBuilder, Reconnectable};
///
/// #[derive(Default)]
/// struct Feed {
///     connects: AtomicU32,
/// }
///
/// impl Reconnectable for Feed {
///     type Error = io::Error;
///
///     async fn connect(&self) -> io::Result<()> {
///         self.connects.fetch_add(1, Ordering::Relaxed);
///         Ok(())
///     }
///
///     async fn close(&self) {}
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let is_death = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
/// let detector = DetectorBuilder::new(is_death).build();
/// detector.set_reconnectable(Feed::default());
///
/// let read = || async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionReset)) };
/// detector.call_checking(read).await.unwrap_err();
/// assert!(detector.connection_is_dead());
/// detector.recovered().await;
/// let feed = detector.reconnectable::<Feed>().unwrap();
/// assert_eq!(feed.connects.load(Ordering::Relaxed), 1);
/// # }
/// ```
pub trait Reconnectable: Send + Sync + 'static {
    /// The error of a failed attempt, and of calls.
    type Error;

    /// Opens it once more, with whatever it was opened with the first time.
    fn connect(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Closes what is left of it. Called before each attempt, and must do nothing then if it is
    /// closed.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

impl<R: Reconnectable> Reconnectable for Arc<R> {
    type Error = R::Error;

    fn connect(&self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        (**self).connect()
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        (**self).close()
    }
}

/// What a detector does with its reconnectable: the two methods that users give, and what a
/// connection is told besides.
pub(crate) trait Link<E>: Send + Sync {
    fn connect(&self) -> BoxFuture<'_, Result<(), E>>;
    fn close(&self) -> BoxFuture<'_, ()>;

    /// It was found dead, for this reason.
    fn died(&self, _error: &E) {}

    /// An attempt has failed for a reason that does not pass by itself.
    fn failed_permanently(&self, _error: &E) {}

    /// No further attempt is made.
    fn given_up(&self) {}

    /// Runs the recovery handlers.
    fn recover<'a>(&'a self, handlers: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        handlers
    }

    /// The handlers have run: it may be used. `false`: it is dead again.
    fn recovered(&self) -> bool {
        true
    }

    /// How often it was opened, if it counts.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// The reconnectable itself.
    fn reconnectable(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}

/// What a user has given.
pub(super) struct Given<R>(pub(super) Arc<R>);

impl<E, R: Reconnectable<Error = E>> Link<E> for Given<R> {
    fn connect(&self) -> BoxFuture<'_, Result<(), E>> {
        Box::pin(self.0.connect())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.close())
    }

    fn reconnectable(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::clone(&self.0) as Arc<dyn Any + Send + Sync>)
    }
}

/// Nothing was given.
pub(super) struct Nothing;

impl<E: Send + 'static> Link<E> for Nothing {
    fn connect(&self) -> BoxFuture<'_, Result<(), E>> {
        Box::pin(ready(Ok(())))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}
