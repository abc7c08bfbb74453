//! Observers: functions that are called for every event, one event after the other, each observer for itself.
//!
//! An observer has a queue and, once there was something to hear, a piece of work that empties it: awaits the observer, looks
//! for the next event. Where that work runs is the cooperator's business. So an observer may take its time, fail, panic or use
//! the connection it observes, and neither the connection nor the others notice.
//!
//! ```text
//!   Idle ──first event: the Starter is called──▶ at work ──removed, connection gone──▶ Ended
//!     ▲                                             │
//!     └────────the work is dropped by its runtime───┘
//! ```

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::NotifyEvent;
use super::audience::Audience;
use super::queue::Queue;

/// How long an observer works before other tasks have their turn, if the cooperator does not say otherwise: 10 ms, as Twisted's
/// cooperator has it. By events it would be either long for those that work much, or so short that a burst, of which the
/// connection reads thousands at a time, overtakes those that work little.
const TURN: Duration = Duration::from_millis(10);

/// Which observer: what [`add_notify_observer`](crate::Connection::add_notify_observer) gives, and
/// [`remove_notify_observer`](crate::Connection::remove_notify_observer) takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObserverId(u64);

type Failure = String;
type Observing = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;
type Observe = dyn Fn(NotifyEvent) -> Option<Observing> + Send + Sync;

/// A function that is called with every [`NotifyEvent`] of a connection.
///
/// A handle: clones are the same observer, and the same observer is added to a connection once, however often it is given
/// to it. Made anew from the same function it is another one.
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

/// What an observer may return: nothing, or a `Result` whose error can be shown. The error is logged.
pub trait Observed: sealed::Sealed {
    #[doc(hidden)]
    fn failure(self) -> Result<(), Failure>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}

impl Observed for () {
    fn failure(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: fmt::Display> Observed for Result<(), E> {
    fn failure(self) -> Result<(), Failure> {
        self.map_err(|error| error.to_string())
    }
}

impl NotifyObserver {
    /// An observer whose future is awaited before it is called with the next event.
    pub fn new<F, Fut>(observe: F) -> Self
    where
        F: Fn(NotifyEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Observed> + Send + 'static,
    {
        Self::of(move |event| {
            let observing = observe(event);
            Some(Box::pin(async move { observing.await.failure() }))
        })
    }

    /// An observer that has done its work when it returns. It must not block: it runs on a thread of the runtime.
    pub fn immediate<F, R>(observe: F) -> Self
    where
        F: Fn(NotifyEvent) -> R + Send + Sync + 'static,
        R: Observed,
    {
        Self::of(move |event| match observe(event).failure() {
            Ok(()) => None,
            Err(failure) => Some(Box::pin(std::future::ready(Err(failure)))),
        })
    }

    fn of(observe: impl Fn(NotifyEvent) -> Option<Observing> + Send + Sync + 'static) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = ObserverId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, observe: Arc::new(observe) }
    }

    /// Which one it is.
    pub fn id(&self) -> ObserverId {
        self.id
    }

    /// Calls it and awaits it; what goes wrong is logged, and is nobody else's concern.
    async fn notified(&self, event: NotifyEvent) {
        let mut observing = match catch_unwind(AssertUnwindSafe(|| (self.observe)(event))) {
            Ok(None) => return,
            Ok(Some(observing)) => observing,
            Err(panic) => return self.panicked(&*panic),
        };
        let outcome =
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| observing.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            });
        match outcome.await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                let observer = self.id.0;
                tracing::error!(target: "txpostgres::notify", observer, %failure, "a notify observer failed");
            }
            Err(panic) => self.panicked(&*panic),
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) {
        let said = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or_default();
        let observer = self.id.0;
        tracing::error!(target: "txpostgres::notify", observer, said, "a notify observer panicked");
    }
}

impl<F, Fut> From<F> for NotifyObserver
where
    F: Fn(NotifyEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Observed> + Send + 'static,
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

/// The work of one observer: it awaits events and calls the observer, until the observer is removed or the connection is gone.
/// Dropped before, it is begun anew with the next event.
pub type ObserverWork = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the work of observers runs, and when it lets others have their turn.
///
/// ```
/// use tokio::runtime::Handle;
/// use txpostgres::{Connection, Cooperator, ObserverWork};
///
/// /// Runs observers on a runtime of their own.
/// struct Elsewhere(Handle);
///
/// impl Cooperator for Elsewhere {
///     fn cooperate(&self, work: ObserverWork, _: &Handle) {
///         self.0.spawn(work);
///     }
/// }
///
/// # fn example(handle: Handle) {
/// let connection = Connection::builder().cooperator(Elsewhere(handle)).build();
/// # }
/// ```
pub trait Cooperator: Send + Sync + 'static {
    /// Runs this work, beginning after this call: it must not be polled within. `runtime` is the one that the connection was
    /// opened on. Called once for an observer, when there is something to hear for the first time.
    fn cooperate(&self, work: ObserverWork, runtime: &Handle);

    /// Whether others should have their turn, after the observer was called with so many events and worked so long without a
    /// pause. After 10 ms, if not said otherwise.
    fn is_time_to_yield(&self, events: usize, busy: Duration) -> bool {
        let _ = events;
        busy >= TURN
    }
}

/// Runs the work of observers as tasks of the connection's runtime: the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spawning;

impl Cooperator for Spawning {
    fn cooperate(&self, work: ObserverWork, runtime: &Handle) {
        runtime.spawn(work);
    }
}

/// Called when there is something to hear for an observer that is not at work.
pub(crate) struct Starter {
    observer: NotifyObserver,
    queue: Weak<Queue>,
    audience: Weak<Audience>,
}

impl Starter {
    pub(crate) fn waker(
        observer: &NotifyObserver,
        queue: &Arc<Queue>,
        audience: &Arc<Audience>,
    ) -> Waker {
        Waker::from(Arc::new(Self {
            observer: observer.clone(),
            queue: Arc::downgrade(queue),
            audience: Arc::downgrade(audience),
        }))
    }
}

impl Wake for Starter {
    fn wake(self: Arc<Self>) {
        let (Some(queue), Some(audience)) = (self.queue.upgrade(), self.audience.upgrade()) else {
            return;
        };
        let cooperator = audience.cooperator();
        let Some(runtime) = audience.runtime() else {
            return queue.call(Waker::from(self));
        };
        let work = work(queue, Arc::clone(&cooperator), self);
        // It is called by whoever drives the connection, who must not suffer for it.
        let begun =
            catch_unwind(AssertUnwindSafe(|| cooperator.cooperate(Box::pin(work), &runtime)));
        if begun.is_err() {
            tracing::error!(target: "txpostgres::notify", "a cooperator panicked");
        }
    }
}

/// What an observer does all its life.
fn work(
    queue: Arc<Queue>,
    cooperator: Arc<dyn Cooperator>,
    starter: Arc<Starter>,
) -> impl Future<Output = ()> + Send {
    // Made before it is polled: it may be dropped before that as well.
    let at_work = AtWork { queue, starter: Some(starter) };
    async move {
        let mut at_work = at_work;
        let Some(observer) = at_work.starter.as_ref().map(|starter| starter.observer.clone())
        else {
            return;
        };
        let (mut events, mut began) = (0, Instant::now());
        loop {
            if at_work.queue.is_empty() {
                events = 0;
            }
            let queue = &at_work.queue;
            let Some(event) = poll_fn(|cx| queue.poll(cx)).await else {
                break;
            };
            if events == 0 {
                began = Instant::now();
            }
            observer.notified(event).await;
            events += 1;
            if cooperator.is_time_to_yield(events, began.elapsed()) {
                events = 0;
                let_others().await;
            }
        }
        at_work.starter = None;
    }
}

/// Puts the observer back to where it was if its work is dropped.
struct AtWork {
    queue: Arc<Queue>,
    starter: Option<Arc<Starter>>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(starter) = self.starter.take() {
            self.queue.call(Waker::from(starter));
        }
    }
}

/// Pending once.
async fn let_others() {
    let mut has_waited = false;
    poll_fn(|cx: &mut Context<'_>| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
