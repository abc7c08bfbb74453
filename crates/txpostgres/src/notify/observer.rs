//! Observers: callbacks that are called for every event, one event after the other, independently
//! of other observers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use txpostgres_multiplex::NotifyEvent;

use crate::panics::{CallbackFailure, call_back};

/// Identifies an observer: returned by
/// [`add_notify_observer`](crate::Connection::add_notify_observer), taken by
/// [`remove_notify_observer`](crate::Connection::remove_notify_observer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObserverId(u64);

type Failure = String;
type Observing = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;
type Observe = dyn Fn(NotifyEvent) -> Option<Observing> + Send + Sync;

/// A callback for every [`NotifyEvent`] of a connection.
///
/// A handle: clones are the same observer, and a connection has the same observer once, however
/// often it is added. A second observer created from the same function is a different one.
///
/// ```
/// use txpostgres::{Connection, NotifyEvent, NotifyObserver};
///
/// let connection = Connection::new();
/// let observer = NotifyObserver::new(|event| async move {
///     if let NotifyEvent::Notification(notification) = event {
///         println!("{}: {}", notification.channel(), notification.payload());
///     }
/// });
/// let id = connection.add_notify_observer(&observer);
/// assert_eq!(connection.add_notify_observer(&observer), id);
/// assert_eq!(connection.notify_observers().len(), 1);
/// ```
#[derive(Clone)]
pub struct NotifyObserver {
    id: ObserverId,
    observe: Arc<Observe>,
}

/// What an observer may return: nothing, or a `Result` whose error implements `Display`. The error
/// is logged.
pub trait ObserverOutput: sealed::Sealed {
    #[doc(hidden)]
    fn failure(self) -> Result<(), Failure>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}

impl ObserverOutput for () {
    fn failure(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: fmt::Display> ObserverOutput for Result<(), E> {
    fn failure(self) -> Result<(), Failure> {
        self.map_err(|error| error.to_string())
    }
}

impl NotifyObserver {
    /// An observer whose future is awaited before it is called with the next event.
    pub fn new<F, Fut>(observe: F) -> Self
    where
        F: Fn(NotifyEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: ObserverOutput> + Send + 'static,
    {
        Self::from_fn(move |event| {
            let observing = observe(event);
            Some(Box::pin(async move { observing.await.failure() }))
        })
    }

    /// An observer without a future. It must not block: it runs on a thread of the runtime.
    pub fn immediate<F, R>(observe: F) -> Self
    where
        F: Fn(NotifyEvent) -> R + Send + Sync + 'static,
        R: ObserverOutput,
    {
        Self::from_fn(move |event| match observe(event).failure() {
            Ok(()) => None,
            Err(failure) => Some(Box::pin(std::future::ready(Err(failure)))),
        })
    }

    fn from_fn(observe: impl Fn(NotifyEvent) -> Option<Observing> + Send + Sync + 'static) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = ObserverId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, observe: Arc::new(observe) }
    }

    /// Identifies this observer.
    pub fn id(&self) -> ObserverId {
        self.id
    }

    /// Calls the observer and awaits its future. Errors and panics are logged and have no other
    /// effect.
    pub(super) async fn notified(&self, event: NotifyEvent) {
        let observer = self.id.0;
        match call_back(|| (self.observe)(event)).await {
            Ok(()) => {}
            Err(CallbackFailure::Error(failure)) => {
                tracing::error!(target: "txpostgres::notify", observer, %failure, "a notify observer failed");
            }
            Err(CallbackFailure::Panic(said)) => {
                tracing::error!(target: "txpostgres::notify", observer, said, "a notify observer panicked");
            }
        }
    }
}

impl<F, Fut> From<F> for NotifyObserver
where
    F: Fn(NotifyEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: ObserverOutput> + Send + 'static,
{
    fn from(observe: F) -> Self {
        Self::new(observe)
    }
}

impl From<&NotifyObserver> for NotifyObserver {
    fn from(observer: &NotifyObserver) -> Self {
        observer.clone()
    }
}

impl PartialEq for NotifyObserver {
    /// Whether the two are the same observer.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for NotifyObserver {}

impl fmt::Debug for NotifyObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NotifyObserver").field(&self.id.0).finish()
    }
}
