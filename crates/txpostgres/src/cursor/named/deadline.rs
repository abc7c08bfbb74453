//! Cancellation of the calls of a named cursor: one handle for all of them, and a time limit for
//! each.

use std::fmt;
use std::time::Duration;

use crate::driver::{Call, Cancellation};

/// Lent to the call that is in flight, and handed back by it.
#[derive(Default)]
pub(super) struct Watch {
    limit: Option<Duration>,
    /// `None` if there is neither a handle nor a limit, and while a call has it.
    cancellation: Option<Box<Cancellation>>,
}

impl Watch {
    pub(super) fn cancellation(&mut self) -> &mut Cancellation {
        let cancellation = self.cancellation.get_or_insert_default();
        cancellation.set_lasting(true);
        cancellation
    }

    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = Some(limit);
        self.cancellation();
    }

    /// Starts the time of a call. `asked` is a statement that is in flight already and has the
    /// cancellation.
    pub(super) fn renew<W>(&mut self, asked: Option<&mut Call<'_, W>>) {
        let Some(limit) = self.limit else {
            return;
        };
        match asked {
            Some(call) => {
                // A statement that is being cancelled keeps the reason of that.
                let cancellation = call.cancellation();
                if !cancellation.must_end() {
                    cancellation.renew(limit);
                }
            }
            None => self.cancellation().renew(limit),
        }
    }

    /// Lends the cancellation to a statement of the call.
    pub(super) fn take(&mut self) -> Option<Box<Cancellation>> {
        self.cancellation.take()
    }

    /// Takes the cancellation back from a statement that has ended.
    pub(super) fn put(&mut self, cancellation: Option<Box<Cancellation>>) {
        self.cancellation = cancellation;
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("limit", &self.limit).finish_non_exhaustive()
    }
}
