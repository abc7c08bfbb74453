//! The events that one listener has not taken yet: bounded, the oldest evicted first, and evictions
//! counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

use super::catch_up::CatchUp;
use super::event::NotifyEvent;
use crate::effects::Effects;

/// Events for which an emptied queue keeps memory: 1,024. One burst must not cost its memory for
/// ever.
const KEPT_EVENTS: usize = 1_024;

/// Notifications that one read of 64 KiB brings at most: 5,461 of twelve bytes each.
const READ_EVENTS: usize = 64 * 1024 / 12;

/// Bytes that they count at most: their texts, and [`EVENT_BYTES`] for each.
const READ_SIZE: usize = 64 * 1024 + READ_EVENTS * EVENT_BYTES;

/// Bytes that an event counts besides its texts: its place in the queue and the header of its
/// allocation.
const EVENT_BYTES: usize = 64;

/// The bounds of the queue of an observer or a stream.
///
/// When either bound is reached, the oldest notifications are evicted, and [`NotifyEvent::Missed`]
/// tells their number in their place. The newest one always has room. Other listeners are not
/// slowed down.
///
/// ```
/// use txpostgres_multiplex::QueueBounds;
///
/// let bounds = QueueBounds { notifications: 100_000, ..QueueBounds::default() };
/// assert_eq!(bounds.bytes, 8 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// The most notifications in the queue; 16,384 by default.
    pub notifications: usize,
    /// The most bytes of their texts, plus 64 for each; 8 MiB by default. Queues share the texts,
    /// and each counts them in full.
    pub bytes: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { notifications: 16_384, bytes: 8 * 1024 * 1024 }
    }
}

/// The queue of one listener.
#[derive(Debug)]
pub struct Queue {
    bounds: QueueBounds,
    /// The session that was current when the queue was made: nothing of earlier ones was missed.
    pub(crate) generation: u64,
    catch_up: Arc<CatchUp>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<NotifyEvent>,
    bytes: usize,
    /// How many notifications were evicted before the first event.
    missed: u64,
    /// The last event about the connection that was evicted with them.
    news: Option<NotifyEvent>,
    /// The listener's waker, if it waits.
    waker: Option<Waker>,
    /// The round in which the queue got its first event, until it is empty.
    behind: Option<u64>,
    /// The listener is behind, and has not come since.
    is_counted: bool,
    /// No more events follow.
    ended: bool,
}

impl Queue {
    pub(crate) fn new(bounds: QueueBounds, generation: u64, catch_up: &Arc<CatchUp>) -> Self {
        Self { bounds, generation, catch_up: Arc::clone(catch_up), waiting: Mutex::default() }
    }

    /// Appends an event, and wakes the listener.
    // For every notification, as `take`.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn push(&self, event: NotifyEvent, effects: &mut Effects) {
        let size = size(&event);
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            return;
        }
        // Neither of the bounds is reached, nor would be by one more read.
        let has_room = waiting.events.len() + READ_EVENTS <= self.bounds.notifications
            && waiting.bytes + size.max(READ_SIZE) <= self.bounds.bytes;
        if !has_room {
            self.make_room(&mut waiting, size);
        }
        waiting.bytes += size;
        waiting.events.push_back(event);
        effects.wake(waiting.waker.take());
    }

    /// Evicts what is in the way of an event of this size, and notes that the listener is behind.
    #[inline(never)]
    fn make_room(&self, waiting: &mut Waiting, size: usize) {
        while !waiting.events.is_empty()
            && (waiting.events.len() >= self.bounds.notifications
                || waiting.bytes + size > self.bounds.bytes)
        {
            waiting.evict();
        }
        if !waiting.is_counted && waiting.reaches(self.bounds.notifications, self.bounds.bytes) {
            waiting.is_counted = true;
            waiting.behind = Some(self.catch_up.fell_behind(waiting.behind));
        }
    }

    /// The next event; `None` after the last one.
    pub fn poll(&self, waker: &Waker) -> Poll<Option<NotifyEvent>> {
        let mut waiting = self.waiting.lock();
        waiting.is_counted = false;
        if let Some(event) = waiting.take() {
            if waiting.behind.is_some() {
                self.caught_up(waiting);
            }
            return Poll::Ready(Some(event));
        }
        drop(waiting);
        self.poll_empty(waker)
    }

    /// The next event, or the listener waits for it.
    #[inline(never)]
    fn poll_empty(&self, waker: &Waker) -> Poll<Option<NotifyEvent>> {
        let mut spare = None;
        loop {
            let mut waiting = self.waiting.lock();
            waiting.is_counted = false;
            if let Some(event) = waiting.take() {
                self.caught_up(waiting);
                return Poll::Ready(Some(event));
            }
            if waiting.ended {
                return Poll::Ready(None);
            }
            if waiting.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                return Poll::Pending;
            }
            if let Some(waker) = spare.take() {
                Self::wait(waiting, waker);
                return Poll::Pending;
            }
            drop(waiting);
            // Cloned outside of the lock.
            spare = Some(waker.clone());
        }
    }

    /// Wakes the driver if it waits for this listener, whose queue is empty now.
    #[inline(never)]
    fn caught_up(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.behind.is_some()
            && !waiting.reaches(self.bounds.notifications / 2, self.bounds.bytes / 2)
            && let Some(round) = waiting.behind.take()
        {
            drop(waiting);
            if let Some(driver) = self.catch_up.caught_up(round) {
                driver.wake();
            }
        }
    }

    /// Registers the listener, whose queue is empty.
    fn wait(mut waiting: MutexGuard<'_, Waiting>, waker: Waker) {
        let replaced = waiting.waker.replace(waker);
        drop(waiting);
        drop(replaced);
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    /// Registers the waker that is woken by the next event.
    pub fn register(&self, waker: Waker) {
        Self::wait(self.waiting.lock(), waker);
    }

    /// Ends the queue; its events can still be taken.
    pub(crate) fn end(&self, effects: &mut Effects) {
        let mut waiting = self.waiting.lock();
        waiting.ended = true;
        effects.wake(waiting.waker.take());
    }

    /// The listener is gone: discards the events.
    pub(crate) fn discard(&self, effects: &mut Effects) {
        let mut waiting = self.waiting.lock();
        effects.wake(waiting.waker.take());
        effects.wake(waiting.behind.take().and_then(|round| self.catch_up.caught_up(round)));
        *waiting = Waiting { ended: true, ..Waiting::default() };
    }
}

impl Waiting {
    /// Whether one more read of the socket may bring more than these bounds leave room for.
    fn reaches(&self, notifications: usize, bytes: usize) -> bool {
        !self.events.is_empty()
            && (self.events.len() + READ_EVENTS > notifications || self.bytes + READ_SIZE > bytes)
    }

    fn is_empty(&self) -> bool {
        self.missed == 0 && self.news.is_none() && self.events.is_empty()
    }

    #[cold]
    fn evict(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes = self.bytes.saturating_sub(size(&event));
            match event {
                NotifyEvent::Notification(_) => self.missed += 1,
                news => self.news = Some(news),
            }
        }
    }

    // For every notification; as a call it would return the event in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn take(&mut self) -> Option<NotifyEvent> {
        if self.missed > 0 {
            return Some(NotifyEvent::Missed(std::mem::take(&mut self.missed)));
        }
        if let Some(news) = self.news.take() {
            return Some(news);
        }
        let event = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(size(&event));
        if self.events.is_empty() && self.events.capacity() > 2 * KEPT_EVENTS {
            self.events.shrink_to(KEPT_EVENTS);
        }
        Some(event)
    }
}

fn size(event: &NotifyEvent) -> usize {
    match event {
        NotifyEvent::Notification(notification) => notification.size() + EVENT_BYTES,
        _ => EVENT_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use txpostgres_session::Notification;

    use super::*;

    fn queue(notifications: usize, bytes: usize) -> Queue {
        Queue::new(QueueBounds { notifications, bytes }, 1, &Arc::default())
    }

    fn notification(payload: &str) -> NotifyEvent {
        NotifyEvent::Notification(Notification::new(1, "c", payload))
    }

    /// The events, abbreviated.
    fn heard(queue: &Queue) -> Vec<String> {
        let waker = Waker::noop();
        let mut heard = Vec::new();
        while let Poll::Ready(Some(event)) = queue.poll(waker) {
            heard.push(match event {
                NotifyEvent::Notification(notification) => notification.payload().to_owned(),
                NotifyEvent::Missed(count) => format!("missed {count}"),
                NotifyEvent::Disconnected => "disconnected".to_owned(),
                NotifyEvent::Gap { generation } => format!("gap {generation}"),
            });
        }
        heard
    }

    fn push(queue: &Queue, events: impl IntoIterator<Item = NotifyEvent>) {
        for event in events {
            queue.push(event, &mut Effects::default());
        }
    }

    #[test]
    fn the_oldest_give_way_and_are_counted() {
        let queue = queue(2, usize::MAX);
        push(&queue, ["a", "b", "c", "d"].map(notification));
        assert_eq!(heard(&queue), ["missed 2", "c", "d"]);
        push(&queue, ["e"].map(notification));
        assert_eq!(heard(&queue), ["e"]);
    }

    #[test]
    fn bytes_are_bounded_and_the_newest_always_has_room() {
        let queue = queue(usize::MAX, 200);
        let large = "x".repeat(1_000);
        push(&queue, ["a", "b", "c"].map(notification));
        assert_eq!(heard(&queue), ["missed 1", "b", "c"]);
        push(&queue, ["a", &large].map(notification));
        assert_eq!(heard(&queue), ["missed 1", &large]);
        push(&queue, [&large, "b"].map(notification));
        assert_eq!(heard(&queue), ["missed 1", "b"]);
        assert_eq!(queue.waiting.lock().bytes, 0);
    }

    #[test]
    fn what_became_of_the_connection_does_not_give_way() {
        let queue = queue(1, usize::MAX);
        push(&queue, [notification("a"), NotifyEvent::Disconnected]);
        push(&queue, [NotifyEvent::Gap { generation: 2 }, notification("b"), notification("c")]);
        assert_eq!(heard(&queue), ["missed 2", "gap 2", "c"]);
    }

    #[test]
    fn a_queue_without_room_keeps_the_newest() {
        let queue = queue(0, 0);
        push(&queue, ["a", "b"].map(notification));
        assert_eq!(heard(&queue), ["missed 1", "b"]);
    }

    #[test]
    fn a_burst_leaves_little_behind() {
        let queue = queue(usize::MAX, usize::MAX);
        push(&queue, (0..100_000).map(|n| notification(&n.to_string())));
        assert_eq!(heard(&queue).len(), 100_000);
        assert!(queue.waiting.lock().events.capacity() <= 2 * KEPT_EVENTS);
    }

    #[test]
    fn what_waits_is_heard_after_the_end_and_not_after_a_discarding() {
        let waker = Waker::noop();
        for (discarded, expected) in [(false, vec!["a".to_owned()]), (true, vec![])] {
            let queue = queue(10, 1_000);
            push(&queue, [notification("a")]);
            if discarded {
                queue.discard(&mut Effects::default());
            } else {
                queue.end(&mut Effects::default());
            }
            push(&queue, [notification("b")]);
            assert_eq!(heard(&queue), expected);
            assert_eq!(queue.poll(waker), Poll::Ready(None));
        }
    }
}
