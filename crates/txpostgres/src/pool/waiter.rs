//! A caller in the queue of a pool.

use std::task::Waker;

use parking_lot::Mutex;
use txpostgres_policy::Waiting;
use txpostgres_session::Error;

use super::shared::Lent;

/// See the module's text. Whatever the caller is told and does not fetch goes back, when it is
/// dropped.
#[derive(Default)]
pub(super) struct Waiter(Mutex<Waiting<Told, Waker>>);

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
        let waker = waker.clone();
        let (told, unused) = self.0.lock().poll(waker);
        drop(unused);
        told
    }

    /// Tells the caller. One that is gone gives a connection back at once.
    pub(super) fn tell(&self, told: Told) {
        let outcome = self.0.lock().tell(told);
        match outcome {
            Ok(Some(waker)) => waker.wake(),
            Ok(None) => {}
            Err(told) => drop(told),
        }
    }

    /// The caller does not wait any more. Returns what it was told meanwhile.
    pub(super) fn leave(&self) -> Option<Told> {
        let (told, unused) = self.0.lock().leave();
        drop(unused);
        told
    }
}
