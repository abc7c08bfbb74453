//! The wakers of the callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

/// Whether a caller was woken.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    is_woken: AtomicBool,
    /// Which of its wakers counts: the one of the last poll.
    generation: AtomicU64,
}

impl Flag {
    pub(crate) fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Relaxed)
    }

    pub(crate) fn wake(&self) {
        self.is_woken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.is_woken.store(false, Ordering::Relaxed);
    }

    /// A waker that wakes as long as no newer one was made.
    pub(crate) fn fresh(self: &Arc<Self>) -> Waker {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        Waker::from(Arc::new(Call { flag: Arc::clone(self), generation }))
    }
}

struct Call {
    flag: Arc<Flag>,
    generation: u64,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.generation == self.flag.generation.load(Ordering::Relaxed) {
            self.flag.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_waker_counts() {
        let flag = Arc::new(Flag::default());
        let (old, new) = (flag.fresh(), flag.fresh());
        old.wake();
        assert!(!flag.is_woken());
        new.wake();
        assert!(flag.is_woken());
    }
}
