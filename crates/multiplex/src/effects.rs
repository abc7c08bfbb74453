//! What must be done once the lock is released: wake tasks, drop wakers, log.
//!
//! Wakers and log subscribers are the user's code. The state machines of this crate run under a
//! lock, so they never call that code: they record an effect here, and the holder of the lock runs
//! the effects after releasing it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::vec::Drain;

use txpostgres_session::ServerError;

/// See the module's text. Dropping effects runs them, so that none is lost when a panic unwinds.
#[derive(Debug, Default)]
pub struct Effects {
    /// `None` until there is an effect: nothing is tested and dropped for the queries of one task,
    /// which have none.
    // In a box, so that little code drops it: the compiler inlines it.
    #[allow(clippy::box_collection, reason = "one word to test and to move for each query")]
    list: Option<Box<Vec<Effect>>>,
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
        if let Some(waker) = waker {
            self.push(Effect::Wake(waker));
        }
    }

    /// Wakes this task, whose waker is shared.
    pub(crate) fn wake_shared(&mut self, waker: Option<Arc<Waker>>) {
        if let Some(waker) = waker {
            self.push(Effect::WakeShared(waker));
        }
    }

    /// Drops this waker.
    #[inline]
    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.push(Effect::Drop(waker));
        }
    }

    /// Logs a notice of the server.
    pub(crate) fn log(&mut self, notice: ServerError) {
        self.push(Effect::Notice(Box::new(notice)));
    }

    /// Logs a warning.
    pub(crate) fn warn(&mut self, warning: String) {
        self.push(Effect::Warning(warning));
    }

    #[inline(never)]
    fn push(&mut self, effect: Effect) {
        self.list.get_or_insert_default().push(effect);
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
        self.list.as_ref().is_none_or(|list| list.is_empty())
    }

    /// Whether there is nothing to run, and no memory to free either.
    #[inline]
    pub(crate) fn is_unused(&self) -> bool {
        self.list.is_none() && !self.watch
    }

    /// Whether the list has no memory of its own yet.
    pub fn is_unallocated(&self) -> bool {
        self.list.is_none()
    }

    /// Runs all effects, in order. The emptied list keeps its memory, so that waking allocates
    /// nothing when it is used again.
    #[inline]
    pub fn run(&mut self) {
        if let Some(list) = &mut self.list {
            run(list);
        }
    }
}

impl Effect {
    fn run(self) {
        match self {
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

/// Effects that were not run yet. Only a panic leaves any.
struct Left<'a>(Drain<'a, Effect>);

impl Drop for Left<'_> {
    /// A second panic would end the process.
    fn drop(&mut self) {
        for effect in &mut self.0 {
            drop(catch_unwind(AssertUnwindSafe(|| effect.run())));
        }
    }
}

#[inline(never)]
fn run(list: &mut Vec<Effect>) {
    let mut left = Left(list.drain(..));
    for effect in left.0.by_ref() {
        effect.run();
    }
}

#[allow(clippy::box_collection, reason = "as it is kept")]
#[inline(never)]
fn run_and_free(mut list: Box<Vec<Effect>>) {
    run(&mut list);
}

impl Drop for Effects {
    #[inline]
    fn drop(&mut self) {
        if let Some(list) = self.list.take() {
            run_and_free(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as a user's waker may");
        }
    }

    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waker_that_panics_takes_no_wake_up_along() {
        let woken = Arc::new(Counts(AtomicUsize::new(0)));
        let mut effects = Effects::default();
        for waker in [Waker::from(Arc::new(Panics)), Waker::from(Arc::clone(&woken))] {
            effects.wake(Some(waker.clone()));
            effects.wake(Some(waker));
        }
        assert!(catch_unwind(AssertUnwindSafe(|| effects.run())).is_err());
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(effects.is_empty());
    }
}
