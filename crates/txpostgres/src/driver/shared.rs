//! What the tasks of one connection share, and the waker that the socket knows.
//!
//! The socket knows one waker only: this one. When it is woken, the oldest call that waits is woken
//! and drives the connection in its own task; when none waits, the watchdog is. The waker never
//! changes, so the socket need not be handed from one task to the next, and a dropped future cannot
//! lose a wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use parking_lot::{Mutex, MutexGuard};
use txpostgres_multiplex::{Driven, Listeners, Multiplexer};

use super::readiness::Readiness;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Shared {
    multiplexer: Mutex<Multiplexer>,
    pub(super) readiness: Readiness,
    pub(super) alarm: Alarm,
}

/// Wakes the watchdog.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// It must check after an interval: a task was woken or has made a promise.
    is_set: AtomicBool,
    /// It must drive now: no call waits.
    drives: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Shared {
    pub(crate) fn new(listeners: Arc<Listeners>) -> Arc<Self> {
        Arc::new(Self {
            multiplexer: Mutex::new(Multiplexer::new(listeners)),
            readiness: Readiness::default(),
            alarm: Alarm::default(),
        })
    }

    /// Locks the multiplexer. Held for moments, never across a system call.
    #[inline]
    pub(super) fn multiplexer(&self) -> MutexGuard<'_, Multiplexer> {
        self.multiplexer.lock()
    }

    /// The socket is ready: wakes the task that must drive.
    pub(crate) fn wake_driver(&self) {
        self.readiness.set_ready();
        let (driven, has_dependants) = {
            let mut multiplexer = self.multiplexer();
            (multiplexer.next_driver(), multiplexer.has_dependants())
        };
        match driven {
            Driven::ByCall(waker) => waker.wake(),
            Driven::ByReader(waker) => waker.wake_by_ref(),
            Driven::ByWatchdog => return self.alarm.drive_now(),
        }
        if has_dependants {
            self.alarm.set();
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_driver();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_driver();
    }
}

/// Woken when listeners have caught up, or are not waited for any more: reading goes on.
pub(super) struct CaughtUp(pub(super) Arc<Shared>);

impl Wake for CaughtUp {
    fn wake(self: Arc<Self>) {
        self.0.readiness.clear_behind();
        self.0.wake_driver();
    }
}

impl Alarm {
    /// Makes the watchdog check after an interval, unless it does so already.
    #[inline]
    pub(super) fn set(&self) {
        if !self.is_set.load(Ordering::Acquire) {
            self.set_now();
        }
    }

    #[cold]
    fn set_now(&self) {
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    fn drive_now(&self) {
        self.drives.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the watchdog's task.
    pub(super) fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Registers the watchdog's task. Must be called before the flags are checked. Returns the task
    /// that was registered before.
    pub(super) fn register(&self, waker: &Waker) -> Option<Waker> {
        // Cloned and dropped outside of the lock.
        let waker = waker.clone();
        self.waker.lock().replace(waker)
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// The interval is over.
    pub(super) fn clear(&self) {
        self.is_set.store(false, Ordering::Release);
    }

    /// Whether the watchdog must drive now; the request is cleared.
    pub(super) fn take_drive(&self) -> bool {
        self.drives.swap(false, Ordering::AcqRel)
    }
}
