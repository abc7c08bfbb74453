//! What must be done once the lock is released: wake tasks, drop wakers, log.
//!
//! Wakers and log subscribers are the user's code. The state machines of this crate run under a
//! lock, so they never call that code: they record an effect here, and the holder of the lock runs
//! the effects after releasing it.

use std::sync::Arc;
use std::task::Waker;

use txpostgres_session::ServerError;

/// See the module's text. Dropping effects runs them, so that none is lost when a panic unwinds.
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    /// Others depend on a task that was woken or has made a promise: the watchdog must check that
    /// it has acted.
    watch: bool,
}

#[derive(Debug)]
enum Effect {
    Wake(Waker),
    /// Shared, so that no clone of it was needed under the lock.
    WakeShared(Arc<Waker>),
    /// Dropping a waker may free a task, and with it the user's values.
    Drop(Waker),
    Notice(Box<ServerError>),
    Warning(String),
}

impl Effects {
    /// Wakes this task.
    #[inline]
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.list.extend(waker.map(Effect::Wake));
    }

    /// Wakes this task, whose waker is shared.
    pub(crate) fn wake_shared(&mut self, waker: Option<Arc<Waker>>) {
        self.list.extend(waker.map(Effect::WakeShared));
    }

    /// Drops this waker.
    #[inline]
    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.list.extend(waker.map(Effect::Drop));
    }

    /// Logs a notice of the server.
    pub(crate) fn log(&mut self, notice: ServerError) {
        self.list.push(Effect::Notice(Box::new(notice)));
    }

    /// Logs a warning.
    pub(crate) fn warn(&mut self, warning: String) {
        self.list.push(Effect::Warning(warning));
    }

    /// Requests the watchdog.
    #[inline]
    pub(crate) fn watch(&mut self) {
        self.watch = true;
    }

    /// Whether the watchdog was requested; the request is cleared.
    #[inline]
    pub fn take_watch(&mut self) -> bool {
        std::mem::take(&mut self.watch)
    }

    /// Whether there is nothing to run.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the list has no memory of its own yet.
    pub fn is_unallocated(&self) -> bool {
        self.list.capacity() == 0
    }

    /// Runs all effects, in order. The emptied list keeps its memory, so that waking allocates
    /// nothing when it is used again.
    #[inline]
    pub fn run(&mut self) {
        if !self.list.is_empty() {
            self.run_all();
        }
    }

    fn run_all(&mut self) {
        for effect in self.list.drain(..) {
            match effect {
                Effect::Wake(waker) => waker.wake(),
                Effect::WakeShared(waker) => waker.wake_by_ref(),
                Effect::Drop(waker) => drop(waker),
                Effect::Notice(notice) => {
                    tracing::debug!(target: "txpostgres::notice", "{notice}");
                }
                Effect::Warning(warning) => tracing::warn!(target: "txpostgres", "{warning}"),
            }
        }
    }
}

impl Drop for Effects {
    #[inline]
    fn drop(&mut self) {
        self.run();
    }
}
