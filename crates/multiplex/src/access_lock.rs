//! Who may submit: any number of calls, or the holder of the one lease.
//!
//! A fair lock with two modes. A *shared* call passes whenever no lease is given out; it holds
//! nothing afterwards, since the server answers in order. An *exclusive* caller, such as a
//! transaction, gets the lease, one at a time and first come first served. A waiter that was woken
//! but is not polled delays the others by at most the watchdog's interval: see
//! [`tick`](AccessLock::tick).
//!
//! ```text
//!                  poll_exclusive
//!        Free ───────────────────────▶ Leased
//!         │ ◀───────────────────────     │
//!         │     release: wakes all shared waiters and the first exclusive one
//!         └─ poll_shared: passes         └─ poll_shared, poll_exclusive: queue
//! ```
//!
//! While there is no session, callers that wait for one are *suspended*: they wait in a queue of
//! their own, and are woken in their order when there is one.

use std::collections::VecDeque;
use std::task::Waker;

use crate::effects::Effects;

/// Numbers an arrival at the lock: a call keeps it until it is answered, a lease until its release.
/// Lower numbers came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(u64);

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct AccessLock {
    lease: Option<LockId>,
    /// Shared and exclusive waiters, each in order of arrival. Apart, so that a release need not
    /// pass over exclusive waiters, of which it wakes only the first.
    shared: VecDeque<Waiter>,
    exclusive: VecDeque<Waiter>,
    /// Callers of both modes that wait for a session, in order of arrival.
    suspended: VecDeque<Waiter>,
    last: u64,
}

#[derive(Debug)]
struct Waiter {
    id: LockId,
    /// It is exclusive, and has let earlier waiters go first, once.
    has_yielded: bool,
    /// `None` once it was woken, until it is polled again.
    waker: Option<Waker>,
}

impl AccessLock {
    /// Whether a shared call may submit now. If not, it waits in the queue, and `waker` is taken.
    /// The number stays in `id`: a call of several steps comes back with it and keeps its place.
    #[inline]
    pub(crate) fn poll_shared(
        &mut self,
        id: &mut Option<LockId>,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> bool {
        let own = *id.get_or_insert_with(|| next(&mut self.last));
        if self.lease.is_some() {
            enqueue(&mut self.shared, own, waker, effects);
            return false;
        }
        if !self.shared.is_empty() {
            remove(&mut self.shared, own, effects);
        }
        true
    }

    /// [`poll_shared`](Self::poll_shared) for the usual case that nothing is leased and no
    /// shared call waits: `false` says nothing else.
    #[inline]
    pub(crate) fn passes_at_once(&mut self, id: &mut Option<LockId>) -> bool {
        let passes = self.lease.is_none() && self.shared.is_empty();
        if passes {
            id.get_or_insert_with(|| next(&mut self.last));
        }
        passes
    }

    /// Takes the lease, if it is free. Otherwise the caller waits in the queue, and `waker` is
    /// taken. Yields once to earlier waiters.
    pub(crate) fn poll_exclusive(
        &mut self,
        id: &mut Option<LockId>,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Option<LockId> {
        let own = *id.get_or_insert_with(|| next(&mut self.last));
        if self.lease.is_some() {
            enqueue(&mut self.exclusive, own, waker, effects);
            return None;
        }
        let is_earlier = |first: &Waiter| first.id < own;
        if self.shared.front().is_some_and(is_earlier)
            || self.exclusive.front().is_some_and(is_earlier)
        {
            let waiter = enqueue(&mut self.exclusive, own, &mut None, effects);
            if !waiter.is_some_and(|waiter| std::mem::replace(&mut waiter.has_yielded, true)) {
                effects.wake(waker.take());
                return None;
            }
        }
        *id = None;
        remove(&mut self.exclusive, own, effects);
        self.lease = Some(own);
        Some(own)
    }

    /// The lease that is given out.
    #[inline]
    pub(crate) fn lease(&self) -> Option<LockId> {
        self.lease
    }

    /// Whether anything waits in the queue.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        !self.shared.is_empty() || !self.exclusive.is_empty()
    }

    /// Ends the lease, if this is it, and wakes the waiters that may go on.
    pub(crate) fn release(&mut self, lease: LockId, effects: &mut Effects) {
        if self.lease == Some(lease) {
            self.lease = None;
            self.wake_next(effects);
        }
    }

    /// A caller waits for a session; `waker` is taken.
    #[cold]
    pub(crate) fn suspend(
        &mut self,
        id: &mut Option<LockId>,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) {
        let own = *id.get_or_insert_with(|| next(&mut self.last));
        enqueue(&mut self.suspended, own, waker, effects);
    }

    /// Wakes all callers that wait for a session: there is one, or there will be none.
    pub(crate) fn resume(&mut self, effects: &mut Effects) {
        for waiter in self.suspended.drain(..) {
            effects.wake(waiter.waker);
        }
    }

    /// Removes a waiter that no longer waits.
    pub(crate) fn leave(&mut self, id: LockId, effects: &mut Effects) {
        remove(&mut self.suspended, id, effects);
        remove(&mut self.shared, id, effects);
        remove(&mut self.exclusive, id, effects);
        if self.lease.is_none() {
            self.wake_next(effects);
        }
    }

    /// Ends the lease and wakes all waiters, since the session is over.
    pub(crate) fn wake_all(&mut self, effects: &mut Effects) {
        self.lease = None;
        wake(&mut self.shared, self.exclusive.iter_mut(), effects);
        self.shared.clear();
        self.exclusive.clear();
    }

    /// Wakes all waiters of a lock that is free: the first was woken an interval ago and was not
    /// polled since. Returns whether there are waiters for a free lock.
    pub(crate) fn tick(&mut self, effects: &mut Effects) -> bool {
        if self.lease.is_some() {
            return false;
        }
        wake(&mut self.shared, self.exclusive.iter_mut(), effects);
        self.has_waiters()
    }

    /// Shared waiters all pass; of exclusive ones only the first can.
    fn wake_next(&mut self, effects: &mut Effects) {
        wake(&mut self.shared, self.exclusive.iter_mut().take(1), effects);
        if self.has_waiters() {
            effects.watch();
        }
    }
}

/// Wakes waiters in their order of arrival.
fn wake<'a>(
    shared: &'a mut VecDeque<Waiter>,
    exclusive: impl Iterator<Item = &'a mut Waiter>,
    effects: &mut Effects,
) {
    let mut exclusive = exclusive.peekable();
    for waiter in shared {
        while let Some(earlier) = exclusive.next_if(|earlier| earlier.id < waiter.id) {
            effects.wake(earlier.waker.take());
        }
        effects.wake(waiter.waker.take());
    }
    for waiter in exclusive {
        effects.wake(waiter.waker.take());
    }
}

/// Puts a waiter at its place in a queue, or replaces its waker there. Returns it.
fn enqueue<'a>(
    queue: &'a mut VecDeque<Waiter>,
    id: LockId,
    waker: &mut Option<Waker>,
    effects: &mut Effects,
) -> Option<&'a mut Waiter> {
    let at = queue.partition_point(|waiter| waiter.id < id);
    if queue.get(at).is_some_and(|waiter| waiter.id == id) {
        let known = queue.get_mut(at)?;
        if let Some(waker) = waker.take() {
            effects.discard(known.waker.replace(waker));
        }
        return Some(known);
    }
    queue.insert(at, Waiter { id, has_yielded: false, waker: waker.take() });
    queue.get_mut(at)
}

fn remove(queue: &mut VecDeque<Waiter>, id: LockId, effects: &mut Effects) {
    if let Ok(at) = queue.binary_search_by_key(&id, |waiter| waiter.id)
        && let Some(waiter) = queue.remove(at)
    {
        effects.discard(waiter.waker);
    }
}

fn next(last: &mut u64) -> LockId {
    *last += 1;
    LockId(*last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A caller of the lock: its number, and how often it was woken.
    #[derive(Default)]
    struct Caller {
        id: Option<LockId>,
        count: Arc<Count>,
    }

    impl Caller {
        fn shared(&mut self, lock: &mut AccessLock) -> bool {
            let mut waker = Some(Waker::from(Arc::clone(&self.count)));
            lock.poll_shared(&mut self.id, &mut waker, &mut Effects::default())
        }

        fn exclusive(&mut self, lock: &mut AccessLock) -> Option<LockId> {
            let mut waker = Some(Waker::from(Arc::clone(&self.count)));
            lock.poll_exclusive(&mut self.id, &mut waker, &mut Effects::default())
        }

        fn woken(&self) -> usize {
            self.count.0.swap(0, Ordering::Relaxed)
        }
    }

    fn release(lock: &mut AccessLock, lease: LockId) {
        lock.release(lease, &mut Effects::default());
    }

    #[test]
    fn leases_are_given_out_one_at_a_time_and_in_order() {
        let mut lock = AccessLock::default();
        let [mut first, mut second, mut third] = std::array::from_fn(|_| Caller::default());
        let mut call = Caller::default();
        let lease = first.exclusive(&mut lock).unwrap();
        assert!(second.exclusive(&mut lock).is_none());
        assert!(third.exclusive(&mut lock).is_none());
        assert!(!call.shared(&mut lock));
        release(&mut lock, lease);
        assert_eq!((second.woken(), third.woken()), (1, 0), "only the next one is woken");
        assert_eq!(call.woken(), 1, "shared calls pass a lock that is free");
        assert!(third.exclusive(&mut lock).is_none(), "yields to the one before");
        let lease = second.exclusive(&mut lock).unwrap();
        assert!(third.exclusive(&mut lock).is_none());
        release(&mut lock, lease);
        let lease = third.exclusive(&mut lock).unwrap();
        release(&mut lock, lease);
        assert!(call.shared(&mut lock));
        assert!(!lock.has_waiters());
    }

    #[test]
    fn calls_that_came_first_go_first() {
        let mut lock = AccessLock::default();
        let (mut first, mut second, mut call) = Default::default();
        let lease = Caller::exclusive(&mut first, &mut lock).unwrap();
        assert!(!Caller::shared(&mut call, &mut lock));
        assert!(Caller::exclusive(&mut second, &mut lock).is_none());
        release(&mut lock, lease);
        assert_eq!((call.woken(), second.woken()), (1, 1));
        assert!(second.exclusive(&mut lock).is_none(), "lets the call go first");
        assert_eq!(second.woken(), 1, "and is polled again at once");
        assert!(second.exclusive(&mut lock).is_some(), "but only once");
    }

    #[test]
    fn a_call_in_two_steps_keeps_its_place() {
        let mut lock = AccessLock::default();
        let [mut first, mut second, mut call, mut later] =
            std::array::from_fn(|_| Caller::default());
        assert!(call.shared(&mut lock));
        let lease = first.exclusive(&mut lock).unwrap();
        assert!(!later.shared(&mut lock));
        assert!(second.exclusive(&mut lock).is_none());
        assert!(!call.shared(&mut lock));
        let order: Vec<_> = lock.shared.iter().map(|waiter| Some(waiter.id)).collect();
        assert_eq!(order, [call.id, later.id]);
        release(&mut lock, lease);
        assert!(call.shared(&mut lock) && later.shared(&mut lock));
        assert!(second.exclusive(&mut lock).is_some());
    }

    #[test]
    fn a_call_behind_an_exclusive_waiter_that_does_not_come_is_woken() {
        let mut lock = AccessLock::default();
        let [mut first, mut second, mut call] = std::array::from_fn(|_| Caller::default());
        let lease = first.exclusive(&mut lock).unwrap();
        assert!(second.exclusive(&mut lock).is_none());
        assert!(!call.shared(&mut lock));
        release(&mut lock, lease);
        assert_eq!(call.woken(), 1);
        assert!(call.shared(&mut lock));
    }

    #[test]
    fn an_exclusive_waiter_that_does_not_come_is_passed_over_at_the_next_tick() {
        let mut lock = AccessLock::default();
        let [mut first, mut second, mut third] = std::array::from_fn(|_| Caller::default());
        let lease = first.exclusive(&mut lock).unwrap();
        assert!(second.exclusive(&mut lock).is_none());
        assert!(third.exclusive(&mut lock).is_none());
        assert!(!lock.tick(&mut Effects::default()), "no waiter is passed over while it is leased");
        release(&mut lock, lease);
        assert_eq!((second.woken(), third.woken()), (1, 0));
        assert!(lock.tick(&mut Effects::default()));
        assert_eq!(third.woken(), 1);
        assert!(third.exclusive(&mut lock).is_none(), "yields once");
        assert!(third.exclusive(&mut lock).is_some());
    }

    #[test]
    fn a_waiter_that_leaves_holds_up_no_other() {
        let mut lock = AccessLock::default();
        let [mut first, mut second, mut third] = std::array::from_fn(|_| Caller::default());
        let lease = first.exclusive(&mut lock).unwrap();
        assert!(second.exclusive(&mut lock).is_none());
        assert!(third.exclusive(&mut lock).is_none());
        release(&mut lock, lease);
        lock.leave(second.id.unwrap(), &mut Effects::default());
        assert_eq!(third.woken(), 1);
        assert!(third.exclusive(&mut lock).is_some());
    }
}
