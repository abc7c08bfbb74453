//! Who may end the calls of a named cursor: one handle for all of them, and a time limit for each.

use std::fmt;
use std::time::Duration;

use crate::driver::{Call, Cancellation};

/// It goes with the call that is on its way, and comes back from it.
#[derive(Default)]
pub(super) struct Watch {
    limit: Option<Duration>,
    /// If anybody may, and while no call has it.
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

    /// A call begins: its time runs from now on. `asked` is on its way already, and has whoever may end it.
    pub(super) fn renew<W>(&mut self, asked: Option<&mut Call<'_, W>>) {
        let Some(limit) = self.limit else {
            return;
        };
        match asked {
            Some(call) => {
                // One that is being cancelled ends for the reason that there was.
                let cancellation = call.cancellation();
                if !cancellation.must_end() {
                    cancellation.renew(limit);
                }
            }
            None => self.cancellation().renew(limit),
        }
    }

    /// For a statement of the call.
    pub(super) fn take(&mut self) -> Option<Box<Cancellation>> {
        self.cancellation.take()
    }

    /// The statement has ended.
    pub(super) fn put(&mut self, cancellation: Option<Box<Cancellation>>) {
        self.cancellation = cancellation;
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("limit", &self.limit).finish_non_exhaustive()
    }
}
