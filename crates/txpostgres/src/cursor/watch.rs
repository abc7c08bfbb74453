//! Who may end the calls of a named cursor: one handle for all of them, and a time limit for each.

use std::fmt;
use std::time::Duration;

use crate::call::Call;
use crate::patience::Patience;

/// It goes with the call that is on its way, and comes back from it.
#[derive(Default)]
pub(super) struct Watch {
    limit: Option<Duration>,
    /// If anybody may, and while no call has it.
    patience: Option<Box<Patience>>,
}

impl Watch {
    pub(super) fn patience(&mut self) -> &mut Patience {
        let patience = self.patience.get_or_insert_default();
        patience.set_lasting(true);
        patience
    }

    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = Some(limit);
        self.patience();
    }

    /// A call begins: its time runs from now on. `asked` is on its way already, and has whoever may end it.
    pub(super) fn renew<W>(&mut self, asked: Option<&mut Call<'_, W>>) {
        let Some(limit) = self.limit else {
            return;
        };
        match asked {
            Some(call) => {
                // One that is being cancelled ends for the reason that there was.
                let patience = call.patience();
                if !patience.is_to_end() {
                    patience.renew(limit);
                }
            }
            None => self.patience().renew(limit),
        }
    }

    /// For a statement of the call.
    pub(super) fn take(&mut self) -> Option<Box<Patience>> {
        self.patience.take()
    }

    /// The statement has ended.
    pub(super) fn put(&mut self, patience: Option<Box<Patience>>) {
        self.patience = patience;
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("limit", &self.limit).finish_non_exhaustive()
    }
}
