//! Whether listeners have emptied their queues.
//!
//! A driver that reads a burst of notifications faster than their listeners are scheduled would
//! overflow the queues of listeners that are quick enough. So after a read that brought
//! notifications it waits until every listener that has something to take has taken all of it: not
//! for a turn of the executor, which may poll the driver many times before it polls a listener.
//! Each wait lasts one of the watchdog's intervals at least and two at most. A listener that does
//! not come at all is waited for once, and not again before it has come.

use std::task::Waker;

use parking_lot::Mutex;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct CatchUp(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Listeners that fell behind in an earlier round are not waited for any more.
    round: u64,
    /// How many listeners fell behind in this round and have not caught up yet.
    behind: usize,
    /// The driver, if it waits for them.
    driver: Option<Waker>,
    /// The driver has waited since before the last tick.
    is_old: bool,
}

impl CatchUp {
    /// There is an event for a listener that has come since the last one. Returns the round;
    /// `before` is the one in which it had fallen behind already.
    pub(super) fn fell_behind(&self, before: Option<u64>) -> u64 {
        let mut state = self.0.lock();
        state.behind += usize::from(before != Some(state.round));
        state.round
    }

    /// A listener that fell behind in this round has emptied its queue, or is gone. Returns the
    /// driver's waker if it waits for that.
    pub(super) fn caught_up(&self, round: u64) -> Option<Waker> {
        let mut state = self.0.lock();
        if state.round != round {
            return None;
        }
        state.behind = state.behind.saturating_sub(1);
        if state.behind == 0 { state.driver.take() } else { None }
    }

    /// Registers the driver to wait. `false` if no listener is behind. Returns a waker that must be
    /// dropped outside of all locks.
    pub(super) fn wait(&self, driver: Waker) -> (bool, Option<Waker>) {
        let mut state = self.0.lock();
        if state.behind == 0 {
            return (false, Some(driver));
        }
        state.is_old = false;
        (true, state.driver.replace(driver))
    }

    /// An interval is over. A driver that has waited for a whole interval stops waiting, and its
    /// waker is returned; the other value tells whether it still waits.
    pub(super) fn tick(&self) -> (Option<Waker>, bool) {
        let mut state = self.0.lock();
        if !std::mem::replace(&mut state.is_old, true) {
            return (None, state.driver.is_some());
        }
        drop(state);
        (self.give_up(), false)
    }

    /// Stops waiting for listeners that are behind. Returns the driver's waker, if it waited.
    pub(super) fn give_up(&self) -> Option<Waker> {
        let mut state = self.0.lock();
        state.round += 1;
        state.behind = 0;
        state.driver.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_waits_for_all_and_for_none_twice() {
        let catch_up = CatchUp::default();
        assert!(!catch_up.wait(Waker::noop().clone()).0);
        let (first, second) = (catch_up.fell_behind(None), catch_up.fell_behind(None));
        assert!(catch_up.wait(Waker::noop().clone()).0);
        assert!(catch_up.caught_up(first).is_none());
        assert!(catch_up.caught_up(second).is_some());
        let stuck = catch_up.fell_behind(None);
        assert!(catch_up.wait(Waker::noop().clone()).0);
        assert!(catch_up.give_up().is_some());
        let next = catch_up.fell_behind(None);
        assert!(catch_up.wait(Waker::noop().clone()).0);
        assert!(catch_up.caught_up(stuck).is_none(), "of an earlier round");
        assert!(catch_up.caught_up(next).is_some());
    }
}
