//! Why a transaction came to nothing, whatever its closure says: what a retry is decided by.

use txpostgres_session::{Delivery, Error, ErrorKind, Ticket};

use super::{Availability, Multiplexer};
use crate::access_lock::LockId;

impl Multiplexer {
    /// The call of this request returns an error, of which it may know more than the server said.
    #[cold]
    pub(crate) fn refused(&mut self, ticket: Ticket, error: &Error) {
        if error.is_of_stale()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.has_failed_rather(ticket, error);
        }
    }

    /// Why the transaction of this lease, whose COMMIT was not sent, comes to nothing: the error
    /// that failed it in the server, or the loss of its session. `None` if it would be committed,
    /// or has ended otherwise.
    #[cold]
    pub fn reason(&mut self, lease: LockId) -> Option<Error> {
        if let Some(transaction) = self.transaction_of(lease) {
            return transaction.reason();
        }
        let is_lost = self.lost_lease.is_some_and(|lost| lease <= lost);
        if !is_lost || self.availability == Availability::Closed {
            return None;
        }
        let message = "the connection was lost before COMMIT was sent: the server has rolled back";
        let mut error = Error::new(ErrorKind::Lost, message).with_delivery(Delivery::NotSent);
        if let Some(cause) = &self.last_end {
            if let Some(server) = cause.server() {
                error = error.with_server(server.clone());
            }
            error = error.with_source(cause.without_causes());
        }
        // An older lease may be one of which nothing was committed; that is not remembered.
        let may_have_committed = self.lost_after_commit.is_some_and(|lost| lease <= lost);
        Some(if may_have_committed { error.after_commit() } else { error })
    }
}
