//! Who is called when the socket is ready.
//!
//! The socket knows one waker only: the switchboard's. When it rings, the oldest call that waits is woken and drives the
//! connection in its own task; when none waits, the connection's watcher is. So handing the socket from one task to the
//! next is nothing that has to be done, and nothing that can be forgotten when a future is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Wake;

use parking_lot::{Mutex, MutexGuard};
use txpostgres_session::Session;

use crate::desk::Desk;
use crate::notify::audience::Audience;

/// What tasks share of one connection's session. Its lock is never held across a system call.
pub(crate) struct Switchboard {
    desk: Mutex<Desk>,
    /// The socket will ring when there is something to read, or room for what waits. Cleared by the ringing.
    armed: AtomicBool,
    /// What those want who found the socket's lock taken: [`DRIVE`], [`FLUSH`].
    wishes: AtomicU8,
    /// The oldest call has more waiting for it than it wants: nothing is read until it has fetched some.
    paused: AtomicBool,
}

const DRIVE: u8 = 1;
const FLUSH: u8 = 2;

impl Switchboard {
    pub(crate) fn new(session: Session, audience: Arc<Audience>) -> Arc<Self> {
        Arc::new(Self {
            desk: Mutex::new(Desk::new(session, audience)),
            armed: AtomicBool::new(false),
            wishes: AtomicU8::new(0),
            paused: AtomicBool::new(false),
        })
    }

    /// Locks the desk. A panic of a user's `ToSql` leaves it as it was.
    #[inline]
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock()
    }

    /// Whether the socket has to be looked at: it rang, and nobody has read until there was nothing left.
    pub(crate) fn has_rung(&self) -> bool {
        !self.armed.load(Ordering::Acquire)
    }

    /// Call before a write or read that may have to wait; a ringing during it is then not lost. Says whether it had rung.
    pub(crate) fn arm(&self) -> bool {
        !self.armed.swap(true, Ordering::SeqCst)
    }

    /// There is more to read.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }

    /// Whether nothing is to be read for now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Nothing is to be read while the oldest call has too much waiting for it.
    pub(crate) fn pause(&self, desk: &Desk) {
        self.paused.store(desk.is_swamped(), Ordering::Release);
    }

    /// Reading goes on; whoever says so drives. Says whether it had stopped.
    pub(crate) fn resume(&self) -> bool {
        self.paused.swap(false, Ordering::AcqRel)
    }

    /// Somebody is about to try the socket's lock, and wants it driven by whoever has it.
    pub(crate) fn want(&self, flush: bool) {
        self.wishes.fetch_or(if flush { DRIVE | FLUSH } else { DRIVE }, Ordering::SeqCst);
    }

    /// Who has the lock takes everybody's wishes upon itself. Says whether one is that what has gathered be sent.
    pub(crate) fn take_wishes(&self) -> bool {
        self.wishes.swap(0, Ordering::SeqCst) & FLUSH != 0
    }

    pub(crate) fn has_wishes(&self) -> bool {
        self.wishes.load(Ordering::SeqCst) != 0
    }

    /// Calls whoever should drive now.
    pub(crate) fn ring(&self) {
        self.disarm();
        let mut desk = self.desk();
        let target = desk.next_driver();
        let watcher = desk.start_patrol();
        drop(desk);
        if let Some(target) = target {
            target.wake();
        }
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }
}

impl Wake for Switchboard {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
