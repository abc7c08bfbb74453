//! A caller in the queue of a pool.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use txpostgres_session::Error;

use super::shared::Lent;

/// See the module's text.
#[derive(Default)]
pub(super) struct Waiter(Mutex<Waiting>);

#[derive(Default)]
enum Waiting {
    #[default]
    New,
    Since(Waker),
    Told(Told),
    Gone,
}

/// What a caller in the queue is told.
pub(super) enum Told {
    /// A connection is its own.
    Lent(Lent),
    /// There will be none.
    Refused(Error),
}

impl Waiter {
    /// Registers the task, unless the caller was told already.
    pub(super) fn poll(&self, waker: &Waker) -> Option<Told> {
        // Cloned and dropped outside of the lock.
        let mut waker = Some(waker.clone());
        let mut waiting = self.0.lock();
        let before = match std::mem::take(&mut *waiting) {
            Waiting::Told(told) => return Some(told),
            Waiting::Since(before) => Some(before),
            Waiting::New | Waiting::Gone => None,
        };
        if let Some(waker) = waker.take() {
            *waiting = Waiting::Since(waker);
        }
        drop(waiting);
        drop(before);
        None
    }

    /// Tells the caller. One that is gone gives a connection back at once.
    pub(super) fn tell(self: &Arc<Self>, told: Told) {
        let mut waiting = self.0.lock();
        if matches!(*waiting, Waiting::Gone) {
            drop(waiting);
            drop(told);
            return;
        }
        let before = std::mem::replace(&mut *waiting, Waiting::Told(told));
        drop(waiting);
        if let Waiting::Since(waker) = before {
            waker.wake();
        }
    }

    /// The caller does not wait any more. Returns what it was told meanwhile.
    pub(super) fn leave(&self) -> Option<Told> {
        let before = std::mem::replace(&mut *self.0.lock(), Waiting::Gone);
        match before {
            Waiting::Told(told) => Some(told),
            _ => None,
        }
    }
}
