//! The interface of a face's driver to the calls of this crate: the lock, the socket, timers.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;
use txpostgres_session::{Error, Ticket};

use crate::access_lock::LockId;
use crate::cancellation::CancelTarget;
use crate::effects::Effects;
use crate::multiplexer::{Multiplexer, OnGraceExpired};

/// The driver of a face: the multiplexer behind its lock, and the socket.
///
/// A call that waits drives: it sends what must be sent, reads what has arrived, and so settles the
/// answers of others as well. None of these methods waits.
pub trait Drive: Send + Sync + Sized + 'static {
    /// A timer.
    type Timer: Future<Output = ()> + Send + Unpin;

    /// A timer that ends after this time.
    fn timer(limit: Duration) -> Self::Timer;

    /// Locks the multiplexer.
    fn lock(&self) -> Locked<'_, Self>;

    /// Whether the socket has become ready, and was not read since until nothing was left.
    fn is_ready(&self) -> bool;

    /// Sends pending output (if `flush`) and reads, as far as possible without waiting. `own` is
    /// the request that the calling task waits for.
    fn drive(&self, own: Option<Ticket>, flush: bool);

    /// Sends at once a request that was just submitted under this lock. Returns whether it may have
    /// been answered already.
    fn send(&self, locked: Locked<'_, Self>, own: Ticket) -> bool;

    /// Wakes the task that must drive now, since the calling one does something else.
    fn pass_on(&self);

    /// Stops reading while the oldest response is over its limit (backpressure).
    fn set_backpressure(&self, is_over_limit: bool);

    /// Ends backpressure. Returns whether there was any; then the caller must drive.
    fn resume(&self) -> bool;

    /// Whether reading has stopped.
    fn is_paused(&self) -> bool;

    /// Makes the watchdog check after an interval that promises were kept.
    fn watch(&self);

    /// Starts to cancel a call or a transaction. The cancel goes on in the background.
    fn start_cancel(self: &Arc<Self>, target: CancelTarget, otherwise: OnGraceExpired);

    /// The error of a call that is made from within the closure of the transaction with this lease,
    /// whose end it would wait for; `None` for a call from anywhere else.
    fn refuse_within(&self, lease: LockId) -> Option<Error>;
}

/// The multiplexer, locked. Effects run when the lock is released.
#[derive(Debug)]
pub struct Locked<'a, D: Drive> {
    // In this order: the lock is released first.
    multiplexer: MutexGuard<'a, Multiplexer>,
    after: After<'a, D>,
}

#[derive(Debug)]
struct After<'a, D: Drive> {
    effects: Effects,
    driver: &'a D,
}

impl<'a, D: Drive> Locked<'a, D> {
    /// Wraps a guard.
    #[inline]
    pub fn new(multiplexer: MutexGuard<'a, Multiplexer>, driver: &'a D) -> Self {
        Self { multiplexer, after: After { effects: Effects::default(), driver } }
    }

    /// The driver whose multiplexer this is.
    #[inline]
    pub(crate) fn driver(&self) -> &'a D {
        self.after.driver
    }

    /// Releases the lock, which dropping does as well, but not inlined.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn unlock(self) {
        let Self { multiplexer, after } = self;
        drop(multiplexer);
        drop(after);
    }

    /// Calls `f` without the lock, unless `holds` says so. The effects so far run before that.
    #[inline]
    pub(crate) fn without_lock<R>(&mut self, holds: bool, f: impl FnOnce() -> R) -> R {
        if holds {
            return f();
        }
        let after = &mut self.after;
        MutexGuard::unlocked(&mut self.multiplexer, || {
            if !after.effects.is_unused() {
                after.run();
            }
            f()
        })
    }

    /// The multiplexer, and its effects.
    #[inline]
    pub fn parts(&mut self) -> (&mut Multiplexer, &mut Effects) {
        (&mut self.multiplexer, &mut self.after.effects)
    }
}

impl<D: Drive> Deref for Locked<'_, D> {
    type Target = Multiplexer;

    #[inline]
    fn deref(&self) -> &Multiplexer {
        &self.multiplexer
    }
}

impl<D: Drive> DerefMut for Locked<'_, D> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Multiplexer {
        &mut self.multiplexer
    }
}

impl<D: Drive> After<'_, D> {
    #[inline(never)]
    fn run(&mut self) {
        self.effects.run();
        if self.effects.take_watch() {
            self.driver.watch();
        }
    }
}

impl<D: Drive> Drop for After<'_, D> {
    #[inline]
    fn drop(&mut self) {
        if !self.effects.is_unused() {
            self.run();
        }
    }
}
