//! Decides whether a transaction that came to nothing may be tried again: by what the transaction
//! knows, and not by the error of its closure, which may be of any type or swallowed.
//!
//! ```text
//!   the closure returned Err ──▶ ROLLBACK failed ───────────────────────────────▶ never
//!                     └────────▶ why the transaction could not go on ──▶ asked
//!   COMMIT failed ──▶ unknown ──▶ if idempotent, and not of replication: ───────▶ again
//!         │    └────▶ not sent, since the session was lost before ──▶ asked
//!         └─────────▶ refused by the server ──▶ asked         a part was committed ──▶ never
//! ```

use txpostgres_multiplex::{Drive as _, LockId};
use txpostgres_session::{Error, ErrorKind};

use crate::driver::Driver;

/// See the module's text.
pub(super) struct RetryPolicy<'a> {
    /// Asked with the reason, outside of all locks.
    retry_on: &'a mut (dyn FnMut(&Error) -> bool + Send),
    /// An unknown COMMIT is tried again.
    is_idempotent: bool,
    /// Why the transaction may be tried again.
    reason: Option<Error>,
}

impl<'a> RetryPolicy<'a> {
    pub(super) fn new(
        retry_on: &'a mut (dyn FnMut(&Error) -> bool + Send),
        is_idempotent: bool,
    ) -> Self {
        Self { retry_on, is_idempotent, reason: None }
    }

    /// The closure had returned an error, and the transaction was rolled back. `reason`: what was
    /// known of it before.
    #[cold]
    pub(super) fn rolled_back(&mut self, reason: Option<Error>) {
        self.reason = reason.filter(|reason| self.asks(reason));
    }

    /// COMMIT has failed with this error, or was not sent.
    #[cold]
    pub(super) fn not_committed(&mut self, driver: &Driver, lease: LockId, error: &Error) {
        match error.kind() {
            ErrorKind::CommitUnknown => {
                if self.is_idempotent && !error.is_of_replication() && !error.has_committed() {
                    self.reason = Some(error.without_causes());
                }
            }
            // A statement of the closure has ended the transaction.
            ErrorKind::InteractionEnded => {}
            // COMMIT was not sent, for the reason that the transaction knows.
            ErrorKind::ConnectionDead => {
                let reason = driver.lock().reason(lease);
                self.rolled_back(reason);
            }
            _ => {
                if self.asks(error) {
                    self.reason = Some(error.without_causes());
                }
            }
        }
    }

    /// A part that was committed stays: so does the whole, if what failed is the call of a COMMIT
    /// that was carried out.
    fn asks(&mut self, reason: &Error) -> bool {
        !reason.has_committed() && (self.retry_on)(reason)
    }

    /// Why the transaction may be tried again; `None` if it must not.
    pub(super) fn into_reason(self) -> Option<Error> {
        self.reason
    }
}
