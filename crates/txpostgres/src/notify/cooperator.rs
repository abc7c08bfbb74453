//! The work of observers: where it runs, and when it yields.
//!
//! An observer has a queue and, from its first event on, a future that empties the queue: it awaits
//! the observer's callback, then the next event. The cooperator decides where that future runs. So
//! an observer may be slow, fail, panic or use the connection that it observes, without an effect
//! on the connection or on other observers.
//!
//! ```text
//!   Idle ──first event: the starter is woken──▶ Running ──removed, connection gone──▶ Ended
//!     ▲                                             │
//!     └─────────the future is dropped───────────────┘
//! ```

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use txpostgres_multiplex::Queue;

use super::observer::NotifyObserver;
use super::observers::Observers;

/// How long an observer works before it yields to other tasks, unless the cooperator decides
/// otherwise: 10 ms, as in Twisted's cooperator. A number of events instead of a time would either
/// be long for slow callbacks, or so short that fast ones are overtaken by a burst, of which the
/// connection reads thousands of events at a time.
const TIME_SLICE: Duration = Duration::from_millis(10);

/// The work of one observer: it awaits events and calls the observer, until the observer is removed
/// or the connection is gone. If it is dropped before, it is started anew with the next event.
pub type ObserverWork = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the work of observers runs, and when it yields to other tasks.
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
    /// Runs this work. It must not be polled within this call. `runtime` is the runtime that the
    /// connection was opened on. Called once for an observer, at its first event.
    fn cooperate(&self, work: ObserverWork, runtime: &Handle);

    /// Whether the work should yield to other tasks, after the observer was called with this number
    /// of `events` and was `busy` for this time without a pause. The default is to yield after 10
    /// ms.
    fn is_time_to_yield(&self, events: usize, busy: Duration) -> bool {
        let _ = events;
        busy >= TIME_SLICE
    }
}

/// Runs the work of observers as tasks of the connection's runtime: the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpawnObservers;

impl Cooperator for SpawnObservers {
    fn cooperate(&self, work: ObserverWork, runtime: &Handle) {
        runtime.spawn(work);
    }
}

/// The waker of an observer's queue while its work does not run: starts the work at the next event.
pub(super) struct Starter {
    observer: NotifyObserver,
    queue: Weak<Queue>,
    observers: Weak<Observers>,
}

impl Starter {
    pub(super) fn waker(
        observer: &NotifyObserver,
        queue: &Arc<Queue>,
        observers: &Arc<Observers>,
    ) -> Waker {
        Waker::from(Arc::new(Self {
            observer: observer.clone(),
            queue: Arc::downgrade(queue),
            observers: Arc::downgrade(observers),
        }))
    }
}

impl Wake for Starter {
    fn wake(self: Arc<Self>) {
        let (Some(queue), Some(observers)) = (self.queue.upgrade(), self.observers.upgrade())
        else {
            return;
        };
        let cooperator = observers.cooperator();
        let Some(runtime) = observers.runtime() else {
            return queue.register(Waker::from(self));
        };
        let work = work(queue, Arc::clone(&cooperator), self);
        // The cooperator is called by the task that drives the connection, which must survive its
        // panic.
        let begun =
            catch_unwind(AssertUnwindSafe(|| cooperator.cooperate(Box::pin(work), &runtime)));
        if begun.is_err() {
            tracing::error!(target: "txpostgres::notify", "a cooperator panicked");
        }
    }
}

/// Awaits events and calls the observer, until the queue ends.
fn work(
    queue: Arc<Queue>,
    cooperator: Arc<dyn Cooperator>,
    starter: Arc<Starter>,
) -> impl Future<Output = ()> + Send {
    // Created before the first poll, since the future may be dropped before that as well.
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
            let Some(event) = poll_fn(|cx| queue.poll(cx.waker())).await else {
                break;
            };
            if events == 0 {
                began = Instant::now();
            }
            observer.notified(event).await;
            events += 1;
            if cooperator.is_time_to_yield(events, began.elapsed()) {
                events = 0;
                yield_now().await;
            }
        }
        at_work.starter = None;
    }
}

/// Registers the starter again if the work is dropped.
struct AtWork {
    queue: Arc<Queue>,
    starter: Option<Arc<Starter>>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(starter) = self.starter.take() {
            self.queue.register(Waker::from(starter));
        }
    }
}

/// Yields to other tasks once.
async fn yield_now() {
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
