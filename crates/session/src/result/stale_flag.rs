//! Whether cached types are stale: raised by the first value that is not what its type was taken
//! for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether types that were looked up may be outdated. The session, which asks, shares it with all
/// columns and statements that use such types.
#[derive(Debug, Clone, Default)]
pub(crate) struct StaleFlag(Arc<AtomicBool>);

impl StaleFlag {
    pub(crate) fn mark_stale(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_stale(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The flag is no part of what a column is.
impl PartialEq for StaleFlag {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for StaleFlag {}
