//! The driver of a connection: its multiplexer, its socket, and who moves bytes between them.
//!
//! No task stands between a call and the socket. A call that waits drives: it sends what must be
//! sent, reads what has arrived, and hands the answers to those who wait for them. Two locks keep
//! this cheap: the multiplexer's, for submitting and fetching, which is never held across a system
//! call; and the socket's, which one task at a time holds and no task waits for. Locks are taken in
//! the order socket, multiplexer.

mod cancel;
mod closing;
mod connect;
mod liveness;
mod login;
mod probe;
mod pulse;
mod readiness;
mod reentrancy;
mod shared;
mod socket_io;
mod watchdog;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Sleep;
use txpostgres_multiplex::{CancelTarget, Drive, Input, Listeners, LockId, Locked, OnGraceExpired};
use txpostgres_policy::{Observed, WaitsFor};
use txpostgres_session::{Error, Session, Ticket};

pub use cancel::{CancelFuture, CancelHandle};
pub(crate) use cancel::{CancelRequester, GRACE, LONGEST_GRACE};
pub(crate) use closing::Closing;
pub(crate) use connect::{Connector, Occasion, OnHeard};
pub(crate) use liveness::watch_liveness;
pub(crate) use pulse::Pulse;
pub(crate) use reentrancy::{in_recovery, is_within, noted, recovering};
use shared::Shared;
use socket_io::SocketIo;

use crate::io::ByteStream;

/// A call on this driver.
pub(crate) type Call<'a, W> = txpostgres_multiplex::Call<'a, W, Driver>;
/// What may end a call early.
pub(crate) type Cancellation = txpostgres_multiplex::Cancellation<Driver>;
/// In which scope a statement is sent.
pub(crate) type Scope = txpostgres_multiplex::Scope<Driver>;
/// From where a call has its scope.
pub(crate) type Source = txpostgres_multiplex::Source<Driver>;
/// A transaction while its closure runs.
pub(crate) type TransactionScope = txpostgres_multiplex::TransactionScope<Driver>;

/// See the module's text.
pub struct Driver {
    shared: Arc<Shared>,
    socket: Mutex<SocketIo>,
    /// How the present session is cancelled.
    requester: Mutex<Option<Arc<CancelRequester>>>,
    /// Called with the number of a session when it is over.
    on_end: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Driver {
    /// Creates a driver without a session.
    pub(crate) fn new(listeners: Arc<Listeners>) -> Arc<Self> {
        let shared = Shared::new(listeners);
        let socket = Mutex::new(SocketIo::new(&shared));
        Arc::new(Self { shared, socket, requester: Mutex::default(), on_end: OnceLock::new() })
    }

    /// Sets what is called with the number of a session when it is over, in a task of the
    /// session's runtime. Without it the end of a session is only noticed by calls.
    pub(crate) fn on_end(&self, on_end: impl Fn(u64) + Send + Sync + 'static) {
        // Once, when the connection is built.
        let _ = self.on_end.set(Box::new(on_end));
    }

    /// Takes an open session, and spawns its watchdog on the session's runtime. Returns its number;
    /// calls may use it once it is [restored](Self::restored). `None`: the connection was closed
    /// meanwhile, and the session is dropped.
    pub(crate) fn install(
        self: &Arc<Self>,
        session: Session,
        stream: Box<dyn ByteStream>,
        requester: CancelRequester,
    ) -> Option<u64> {
        let runtime = requester.runtime.clone();
        let mut socket = self.socket.lock();
        let mut multiplexer = self.shared.multiplexer();
        if !multiplexer.is_opening() {
            return None;
        }
        let wanted_role = requester.config.get_target_session_attrs();
        // All before another task can drive the new session, or cancel a request of it.
        let before = self.requester.lock().replace(Arc::new(requester));
        self.shared.readiness.set_paused(false);
        self.shared.readiness.clear_behind();
        self.shared.readiness.set_ready();
        if self.on_end.get().is_some() {
            multiplexer.set_wanted_role(wanted_role);
        }
        multiplexer.install(session, &mut socket.effects);
        let generation = multiplexer.generation();
        drop(multiplexer);
        let replaced = socket.install(stream);
        self.release(socket);
        drop((before, replaced));
        let watchdog = watchdog::watch(Arc::clone(&self.shared), Arc::downgrade(self), generation);
        let driver = Arc::downgrade(self);
        runtime.spawn(async move {
            watchdog.await;
            if let Some(driver) = driver.upgrade()
                && let Some(on_end) = driver.on_end.get()
            {
                on_end(generation);
            }
        });
        self.drive(None, true);
        Some(generation)
    }

    /// The session of this number may be used by calls. `false`: it is over.
    pub(crate) fn restored(&self, generation: u64) -> bool {
        let mut locked = self.lock();
        let (multiplexer, effects) = locked.parts();
        multiplexer.restored(generation, effects)
    }

    /// Sessions are opened anew from now on, or not any more.
    pub(crate) fn set_reopened(&self, is_reopened: bool) {
        let mut locked = self.lock();
        let (multiplexer, effects) = locked.parts();
        multiplexer.set_reopened(is_reopened, effects);
    }

    /// The connection is dead for this reason, whether or not it has a session, and will be opened
    /// anew.
    pub(crate) fn die(&self, reason: &Error) {
        let (generation, is_closed) = {
            let mut locked = self.lock();
            let (multiplexer, effects) = locked.parts();
            multiplexer.set_reopened(true, effects);
            let is_closed = multiplexer.is_closed();
            if is_closed {
                multiplexer.set_last_end(reason.without_causes());
            }
            (multiplexer.generation(), is_closed)
        };
        if !is_closed {
            self.give_up(generation, reason.without_causes());
        }
    }

    /// What the session is like, for the judgement of its liveness.
    fn observe(&self) -> Observed {
        // Taken: it is being written or read.
        let is_unsent = self.socket.try_lock().is_some_and(|socket| socket.is_unsent());
        let observed = self.shared.multiplexer().observe(is_unsent);
        if self.shared.readiness.must_not_read() {
            return Observed { waits_for: WaitsFor::Program, ..observed };
        }
        observed
    }

    /// Asks the server for a sign of life.
    fn beat(&self) {
        let is_submitted = self.shared.multiplexer().beat();
        if is_submitted {
            self.drive(None, true);
        }
    }

    /// How the present session is cancelled.
    pub(crate) fn requester(&self) -> Option<Arc<CancelRequester>> {
        self.requester.lock().clone()
    }

    /// Reads what has arrived, if the socket has become ready.
    pub(crate) fn read_if_ready(&self) {
        if self.is_ready() {
            self.drive(None, false);
        }
    }

    /// Whether something has arrived that was not read, as the system says now. `None` if that
    /// cannot be told.
    pub(crate) fn has_input(&self) -> Option<bool> {
        self.socket.try_lock()?.has_input()
    }

    /// Reads what has arrived, whether or not the socket has become ready.
    pub(crate) fn look(&self) {
        self.shared.readiness.set_ready();
        self.drive(None, false);
    }

    /// The wanted channels have changed: sends LISTEN and UNLISTEN.
    pub(crate) fn reconcile(&self) {
        let mut locked = self.lock();
        let (multiplexer, effects) = locked.parts();
        let is_submitted = multiplexer.reconcile(effects);
        drop(locked);
        if is_submitted {
            self.drive(None, true);
        }
    }

    /// Sends Terminate and stops using the socket, now. Calls in flight end with an error. Returns
    /// what is left to do with the socket.
    pub(crate) fn shut(&self) -> Option<Closing> {
        let mut guard = self.socket.lock();
        let socket = &mut *guard;
        {
            let mut multiplexer = self.shared.multiplexer();
            socket.report_sent(&mut multiplexer);
            multiplexer.close(&mut socket.effects);
        }
        socket.gather(&self.shared);
        socket.work(&self.shared, None);
        let mut effects = std::mem::take(&mut socket.effects);
        let closing = socket.take_closing();
        drop(guard);
        effects.run();
        self.shared.alarm.wake();
        closing
    }

    /// Stops using the socket for this reason, now and without Terminate. Does nothing if the
    /// session is not the one of this number any more.
    pub(crate) fn give_up(&self, generation: u64, reason: Error) {
        let mut socket = self.socket.lock();
        // A session is replaced under the lock of its socket.
        if self.shared.multiplexer().generation() != generation {
            return;
        }
        let stream = socket.lose(&self.shared, None, Input::Lost(reason));
        let mut effects = std::mem::take(&mut socket.effects);
        drop(socket);
        drop(stream);
        effects.run();
        self.shared.alarm.wake();
    }

    /// Releases the socket and wakes the tasks whose answers have arrived.
    #[inline]
    fn release(&self, mut socket: MutexGuard<'_, SocketIo>) {
        if socket.effects.is_empty() && !socket.yields {
            let watch = socket.effects.take_watch();
            drop(socket);
            if watch {
                self.watch();
            }
        } else {
            self.release_and_run(socket);
        }
    }

    #[inline(never)]
    fn release_and_run(&self, mut socket: MutexGuard<'_, SocketIo>) {
        let yields = std::mem::take(&mut socket.yields);
        let mut effects = std::mem::take(&mut socket.effects);
        drop(socket);
        effects.run();
        if effects.take_watch() {
            self.watch();
        }
        if yields {
            // The next driver is woken last, so that it runs after those.
            self.shared.wake_driver();
        }
        // The emptied list is used again, so that waking costs no allocation.
        if let Some(mut socket) = self.socket.try_lock()
            && socket.effects.is_unallocated()
        {
            std::mem::swap(&mut socket.effects, &mut effects);
        }
    }
}

impl Drive for Driver {
    type Timer = Pin<Box<Sleep>>;

    fn timer(limit: Duration) -> Self::Timer {
        Box::pin(tokio::time::sleep(limit))
    }

    #[inline]
    fn lock(&self) -> Locked<'_, Self> {
        Locked::new(self.shared.multiplexer(), self)
    }

    #[inline]
    fn is_ready(&self) -> bool {
        self.shared.readiness.is_ready()
    }

    fn drive(&self, own: Option<Ticket>, mut flush: bool) {
        loop {
            let mut tried = self.socket.try_lock();
            if tried.is_none() {
                // Requested before the lock is tried once more: if it is still taken, its holder
                // looks again after releasing it.
                self.shared.readiness.request_drive(flush);
                tried = self.socket.try_lock();
            }
            let Some(mut socket) = tried else {
                return;
            };
            if self.shared.readiness.take_requests() || flush {
                socket.gather(&self.shared);
            }
            flush = false;
            socket.work(&self.shared, own);
            self.release(socket);
            // Checked last, since a task may have found the lock taken during any of the above.
            if !self.shared.readiness.has_requests() {
                return;
            }
        }
    }

    #[inline]
    fn send(&self, mut locked: Locked<'_, Self>, own: Ticket) -> bool {
        // The order of the locks is socket, multiplexer: in the other order the socket's lock is
        // only tried.
        let Some(mut socket) = self.socket.try_lock() else {
            drop(locked);
            self.drive(Some(own), true);
            return true;
        };
        self.shared.readiness.take_requests();
        socket.take_output(&mut locked);
        locked.unlock();
        let may_be_answered = socket.work(&self.shared, Some(own));
        self.release(socket);
        if self.shared.readiness.has_requests() {
            self.drive(Some(own), false);
            return true;
        }
        may_be_answered
    }

    fn pass_on(&self) {
        self.shared.wake_driver();
    }

    fn set_backpressure(&self, is_over_limit: bool) {
        self.shared.readiness.set_paused(is_over_limit);
    }

    fn resume(&self) -> bool {
        self.shared.readiness.resume()
    }

    fn is_paused(&self) -> bool {
        self.shared.readiness.is_paused()
    }

    #[inline]
    fn watch(&self) {
        self.shared.alarm.set();
    }

    fn start_cancel(self: &Arc<Self>, target: CancelTarget, otherwise: OnGraceExpired) {
        drop(self.cancel(target, otherwise));
    }

    fn refuse_within(&self, lease: LockId) -> Option<Error> {
        is_within(self, lease).then(reentrancy::waits_for_itself)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.shut());
    }
}
