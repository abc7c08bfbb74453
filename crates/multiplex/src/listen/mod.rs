//! The listeners of a connection: observers and streams of all channels, and subscriptions of one.
//!
//! The listeners belong to the connection and outlive its sessions. The multiplexer dispatches each
//! notification in the order of the wire, before the answer that follows it. Locks are taken in
//! this order: the multiplexer's, the listeners', a queue's or a reply's. None of the user's code
//! runs under them.

mod catch_up;
mod channels;
mod event;
mod queue;
mod reply;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use txpostgres_session::{Error, ErrorKind, Notification, Result};

pub use channels::ChannelName;
pub(crate) use channels::Round;
pub use event::NotifyEvent;
pub use queue::{Queue, QueueBounds};
pub use reply::{Reply, ReplyReceiver};

use crate::effects::Effects;
use catch_up::CatchUp;
use channels::{Channels, refuse};

/// See the module's text.
#[derive(Debug)]
pub struct Listeners {
    bounds: QueueBounds,
    catch_up: Arc<CatchUp>,
    /// How many queues there are.
    count: AtomicUsize,
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    /// Queues of all channels that stay when the connection is closed: observers.
    lasting: Vec<Arc<Queue>>,
    /// Queues of all channels that end when the connection is closed: streams.
    streams: Vec<Arc<Queue>>,
    channels: Channels,
    /// How many sessions the connection has had.
    generation: u64,
    /// The last of them has not ended.
    is_live: bool,
    /// A new session has followed another, and the listeners are still to be told.
    gap: Option<Gap>,
}

/// A gap that listeners are told of once the server listens again and the session is restored. What
/// is notified before is covered by it.
#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    is_listening: bool,
    is_restored: bool,
}

impl Listeners {
    /// Without any listener.
    pub fn new(bounds: QueueBounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            catch_up: Arc::default(),
            count: AtomicUsize::new(0),
            registry: Mutex::default(),
        })
    }

    // --- Events of a session ---

    /// A session begins. Returns its number.
    pub(crate) fn begin(&self) -> u64 {
        let mut registry = self.registry.lock();
        registry.gap = (registry.generation > 0).then(Gap::default);
        registry.generation += 1;
        registry.is_live = true;
        registry.channels.restart();
        registry.generation
    }

    /// Dispatches a notification, in the order of the wire.
    // Kept apart from the dispatch of answers.
    #[inline(never)]
    pub(crate) fn dispatch(&self, notification: &Notification, effects: &mut Effects) {
        let registry = self.registry.lock();
        // Listeners that are as new as the session have missed nothing, and have no gap before
        // them.
        let newest = registry.gap.map_or(0, |_| registry.generation);
        for queues in [&registry.lasting, &registry.streams] {
            if !queues.is_empty() {
                push_to_all(queues, newest, notification, effects);
            }
        }
        push_to_all(
            registry.channels.subscribers(notification.channel()),
            newest,
            notification,
            effects,
        );
    }

    /// The session is restored: calls may use it. Listeners are told of the gap before it, now or
    /// when the server listens.
    pub(crate) fn restored(&self, effects: &mut Effects) {
        self.registry.lock().close_gap(|gap| gap.is_restored = true, effects);
    }

    /// The session with this number ended: all listeners are told, once.
    pub(crate) fn ended(&self, generation: u64, error: &Error, effects: &mut Effects) {
        let mut registry = self.registry.lock();
        if registry.generation == generation && std::mem::take(&mut registry.is_live) {
            refuse(registry.channels.take_replies(), error, effects);
            registry.channels.restart();
            for queue in registry.all() {
                queue.push(NotifyEvent::Disconnected, effects);
            }
            effects.discard(self.catch_up.give_up());
        }
    }

    /// Answers all calls that wait with this error, since there is no session.
    pub(crate) fn refuse_all(&self, error: &Error, effects: &mut Effects) {
        refuse(self.registry.lock().channels.take_replies(), error, effects);
    }

    /// A statement has undone the LISTENs of the session.
    pub(crate) fn lost(&self) {
        self.registry.lock().channels.renew();
    }

    /// Whether there is any listener.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Registers the driver to be woken when all listeners that were woken have emptied their
    /// queues; `false` if they have. Returns a waker that must be dropped outside of all locks.
    pub(crate) fn wait(&self, driver: Waker) -> (bool, Option<Waker>) {
        self.catch_up.wait(driver)
    }

    /// Gives up waiting for listeners that have not caught up since the last tick. Returns whether
    /// the driver still waits.
    pub(crate) fn tick(&self, effects: &mut Effects) -> bool {
        let (driver, waits) = self.catch_up.tick();
        effects.wake(driver);
        waits
    }

    // --- Reconciling ---

    /// The next round of LISTEN and UNLISTEN. If there is none, the server listens to what is
    /// wanted.
    pub(crate) fn next_round(&self, effects: &mut Effects) -> Option<Round> {
        let mut registry = self.registry.lock();
        let round = registry.channels.round(effects);
        if round.is_none() {
            registry.close_gap(|gap| gap.is_listening = true, effects);
        }
        round
    }

    /// A round was answered.
    pub(crate) fn finish(
        &self,
        round: Round,
        outcome: Result<(), &Error>,
        is_final: bool,
        effects: &mut Effects,
    ) {
        let mut registry = self.registry.lock();
        match outcome {
            Ok(()) => registry.channels.confirmed(round, is_final, effects),
            Err(error) if error.kind() == ErrorKind::Server => {
                registry.channels.refused(round, error, effects);
            }
            Err(error) => {
                registry.channels.restart();
                refuse(round.into_replies(), error, effects);
            }
        }
    }

    // --- Adding and removing listeners ---

    fn recount(&self, registry: &Registry) {
        let count = registry.lasting.len() + registry.streams.len();
        let channels = usize::from(!registry.channels.is_empty());
        self.count.store(count + channels, Ordering::Relaxed);
    }

    fn queue(&self, generation: u64) -> Queue {
        Queue::new(self.bounds, generation, &self.catch_up)
    }

    /// Adds a queue of all channels that stays when the connection is closed.
    pub fn add_lasting(&self) -> Arc<Queue> {
        let mut registry = self.registry.lock();
        let queue = Arc::new(self.queue(registry.generation));
        registry.lasting.push(Arc::clone(&queue));
        self.recount(&registry);
        queue
    }

    /// Removes such a queue, and discards its events.
    pub fn remove_lasting(&self, queue: &Arc<Queue>) {
        let mut effects = Effects::default();
        let mut registry = self.registry.lock();
        remove(&mut registry.lasting, queue);
        self.recount(&registry);
        drop(registry);
        queue.discard(&mut effects);
    }

    /// Adds a queue of all channels that ends when the connection is closed.
    pub fn add_stream(&self) -> Arc<Queue> {
        let mut registry = self.registry.lock();
        let queue = Arc::new(self.queue(registry.generation));
        registry.streams.push(Arc::clone(&queue));
        self.recount(&registry);
        queue
    }

    /// Removes such a queue, and discards its events.
    pub fn remove_stream(&self, queue: &Arc<Queue>) {
        let mut effects = Effects::default();
        let mut registry = self.registry.lock();
        remove(&mut registry.streams, queue);
        self.recount(&registry);
        drop(registry);
        queue.discard(&mut effects);
    }

    /// Adds a queue of one channel, which is wanted from now on.
    pub fn add_subscriber(&self, name: &ChannelName, reply: Option<Reply>) -> Arc<Queue> {
        let mut registry = self.registry.lock();
        let queue = Arc::new(self.queue(registry.generation));
        registry.channels.subscribe(name, Arc::clone(&queue), reply);
        self.recount(&registry);
        queue
    }

    /// Removes such a queue, and discards its events. After the last one the channel is not wanted
    /// for it any more.
    pub fn remove_subscriber(&self, name: &ChannelName, queue: &Arc<Queue>) {
        let mut effects = Effects::default();
        let mut registry = self.registry.lock();
        registry.channels.unsubscribe(name, queue);
        self.recount(&registry);
        drop(registry);
        queue.discard(&mut effects);
    }

    /// A call of `listen`. Returns its number, for [`forget`](Self::forget).
    pub fn listen(&self, name: &ChannelName, reply: Option<Reply>) -> u64 {
        self.registry.lock().channels.listen(name, reply)
    }

    /// This call of `listen` failed: undoes its effect, unless another call wants the channel.
    pub fn forget(&self, name: &ChannelName, call: u64) {
        self.registry.lock().channels.forget(name, call);
    }

    /// A call of `unlisten`.
    pub fn unlisten(&self, name: &ChannelName, reply: Option<Reply>) {
        self.registry.lock().channels.unlisten(name, reply);
    }

    /// A call of `unlisten_all`.
    pub fn unlisten_all(&self, reply: Option<Reply>) {
        self.registry.lock().channels.unlisten_all(reply);
    }

    /// The user closed the connection, or dropped the last handle: streams end, and no channel is
    /// wanted. `for_good`: lasting queues end as well.
    pub fn close(&self, for_good: bool) {
        let mut effects = Effects::default();
        let mut registry = self.registry.lock();
        let (subscribers, replies) = registry.channels.clear();
        let streams = std::mem::take(&mut registry.streams);
        let lasting = if for_good { std::mem::take(&mut registry.lasting) } else { Vec::new() };
        self.recount(&registry);
        drop(registry);
        for queue in streams.iter().chain(&subscribers).chain(&lasting) {
            queue.end(&mut effects);
        }
        let closed = Error::new(ErrorKind::Closed, "the connection is closed");
        refuse(replies, &closed, &mut effects);
    }
}

impl Registry {
    fn all(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.lasting.iter().chain(&self.streams).chain(self.channels.all_subscribers())
    }

    /// Takes note of what has been reached, and tells the gap when nothing is left to be reached.
    fn close_gap(&mut self, reach: impl FnOnce(&mut Gap), effects: &mut Effects) {
        let Some(gap) = &mut self.gap else { return };
        reach(gap);
        if !(gap.is_listening && gap.is_restored) {
            return;
        }
        self.gap = None;
        let generation = self.generation;
        for queue in self.all().filter(|queue| queue.generation < generation) {
            queue.push(NotifyEvent::Gap { generation }, effects);
        }
    }
}

fn remove(queues: &mut Vec<Arc<Queue>>, queue: &Arc<Queue>) {
    if let Some(at) = queues.iter().position(|known| Arc::ptr_eq(known, queue)) {
        queues.remove(at);
    }
}

/// Queues that are older than session `newest` do not get it.
#[inline(never)]
fn push_to_all(
    queues: &[Arc<Queue>],
    newest: u64,
    notification: &Notification,
    effects: &mut Effects,
) {
    for queue in queues.iter().filter(|queue| queue.generation >= newest) {
        queue.push(NotifyEvent::Notification(notification.clone()), effects);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    /// Notes that it was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_driver_does_not_wait_for_a_listener_that_is_gone() {
        let bounds = QueueBounds { notifications: 2, ..QueueBounds::default() };
        let listeners = Listeners::new(bounds);
        let name: ChannelName = "c".into();
        let lasting = listeners.add_lasting();
        let stream = listeners.add_stream();
        let subscriber = listeners.add_subscriber(&name, None);
        for payload in ["a", "b"] {
            let notification = Notification::new(1, "c", payload);
            listeners.dispatch(&notification, &mut Effects::default());
        }
        let woken = Arc::new(Woken::default());
        assert!(listeners.wait(Waker::from(Arc::clone(&woken))).0);
        listeners.remove_stream(&stream);
        listeners.remove_lasting(&lasting);
        assert!(!woken.0.load(Ordering::Relaxed), "it waits for one of them still");
        listeners.remove_subscriber(&name, &subscriber);
        assert!(woken.0.load(Ordering::Relaxed));
    }
}
