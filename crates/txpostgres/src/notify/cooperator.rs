//! The work of observers: where it runs, and when it yields.
//!
//! An observer has a queue and, once there was something to hear, a piece of work that empties it:
//! await the observer, look for the next event. Where that work runs is the cooperator's business. So
//! an observer may take its time, fail, panic or use the connection it observes, and neither the
//! connection nor the others notice.
//!
//! ```text
//!   Idle ──first event: the starter is woken──▶ at work ──removed, connection gone──▶ Ended
//!     ▲                                             │
//!     └────────the work is dropped by its runtime───┘
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

/// How long an observer works before other tasks have their turn, if the cooperator does not say otherwise: 10 ms, as Twisted's
/// cooperator has it. By events it would be either long for those that work much, or so short that a burst, of which the
/// connection reads thousands at a time, overtakes those that work little.
const TURN: Duration = Duration::from_millis(10);

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
pub struct SpawnObservers;

impl Cooperator for SpawnObservers {
    fn cooperate(&self, work: ObserverWork, runtime: &Handle) {
        runtime.spawn(work);
    }
}

/// Woken when there is something to hear for an observer that is not at work.
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
        // It is called by the task that drives the connection, which must not suffer for it.
        let begun =
            catch_unwind(AssertUnwindSafe(|| cooperator.cooperate(Box::pin(work), &runtime)));
        if begun.is_err() {
            tracing::error!(target: "txpostgres::notify", "a cooperator panicked");
        }
    }
}

/// Awaits events and calls the observer, until its queue ends.
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

/// Puts the observer back to where it was if its work is dropped.
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

/// Pending once.
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
