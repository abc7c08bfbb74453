//! The state of the socket that is known without its lock, in one atomic.
//!
//! ```text
//!               clear (before a read or write that may have to wait)
//!   READY ─────────────────────────────────────────────────────────────▶ waiting
//!     ▲ ◀──────────────────────────────────────────────────────────────     │
//!     │     set (the socket's waker; a driver that stops while more may be there)
//!
//!   PAUSED ── the oldest response is over its limit: nothing is read (backpressure)
//!   BEHIND ── listeners have not taken what they were sent: nothing is read
//!   DRIVE, FLUSH ── a task found the socket's lock taken: its holder must go round again
//! ```
//!
//! All changes are read-modify-write operations on the same atomic, so there is one order of them
//! that all threads agree on. Two things follow. A wake-up between `clear` and the read that finds
//! nothing sets READY again, and is not lost. And of a task that sets DRIVE and then fails to take
//! the lock, and a holder that releases the lock and then looks for DRIVE, at least one sees the
//! other: the lock's own acquire and release order the rest. `AcqRel` publishes what was written
//! before, such as a request in the multiplexer, to the task that acts on the flag.

use std::sync::atomic::{AtomicU32, Ordering};

const READY: u32 = 1;
const PAUSED: u32 = 2;
const DRIVE: u32 = 4;
const FLUSH: u32 = 8;
const BEHIND: u32 = 16;

/// See the module's text. A new one is ready: nothing was read yet. 32 bits, since x86-64 tests and
/// changes one bit of these by one instruction.
#[derive(Debug)]
pub(crate) struct Readiness(AtomicU32);

impl Default for Readiness {
    fn default() -> Self {
        Self(AtomicU32::new(READY))
    }
}

impl Readiness {
    /// Whether the socket must be looked at.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) & READY != 0
    }

    /// Notes that the socket must be looked at.
    #[inline]
    pub(crate) fn set_ready(&self) {
        self.0.fetch_or(READY, Ordering::AcqRel);
    }

    /// Must be called before a read or write that may have to wait, so that a wake-up during it is
    /// not lost. Returns whether it was ready.
    #[inline]
    pub(crate) fn clear_ready(&self) -> bool {
        self.0.fetch_and(!READY, Ordering::AcqRel) & READY != 0
    }

    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.0.load(Ordering::Acquire) & PAUSED != 0
    }

    /// Whether nothing must be read now.
    #[inline]
    pub(crate) fn must_not_read(&self) -> bool {
        self.0.load(Ordering::Acquire) & (PAUSED | BEHIND) != 0
    }

    /// Listeners are behind: nothing must be read.
    pub(crate) fn set_behind(&self) {
        self.0.fetch_or(BEHIND, Ordering::AcqRel);
    }

    /// Listeners have caught up, or are not waited for any more.
    pub(crate) fn clear_behind(&self) {
        self.0.fetch_and(!BEHIND, Ordering::AcqRel);
    }

    /// Begins or ends backpressure.
    #[inline]
    pub(crate) fn set_paused(&self, paused: bool) {
        if paused != self.is_paused() {
            if paused {
                self.0.fetch_or(PAUSED, Ordering::AcqRel);
            } else {
                self.resume();
            }
        }
    }

    /// Ends backpressure. Returns whether there was any.
    pub(crate) fn resume(&self) -> bool {
        self.0.fetch_and(!PAUSED, Ordering::AcqRel) & PAUSED != 0
    }

    /// Requests a drive. Called by a task that is about to try the socket's lock: if it is taken,
    /// its holder drives once more.
    #[inline]
    pub(crate) fn request_drive(&self, flush: bool) {
        self.0.fetch_or(if flush { DRIVE | FLUSH } else { DRIVE }, Ordering::AcqRel);
    }

    /// Takes all requests, for the holder of the lock. Returns whether one is to send pending
    /// output.
    #[inline]
    pub(crate) fn take_requests(&self) -> bool {
        // A request that comes between is found by `has_requests`.
        if self.0.load(Ordering::Acquire) & (DRIVE | FLUSH) == 0 {
            return false;
        }
        self.0.fetch_and(!(DRIVE | FLUSH), Ordering::AcqRel) & FLUSH != 0
    }

    /// Whether there are requests. Must be checked after the lock was released.
    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        // A read-modify-write, so that it comes after the release in the order of the atomic.
        self.0.fetch_or(0, Ordering::AcqRel) & (DRIVE | FLUSH) != 0
    }
}
