//! Whether the channels that a session listens to are still listened to: SQL text may undo a LISTEN unseen by those who wait for
//! notifications.
//!
//! UNLISTEN and DISCARD ALL count when their transaction is over. A LISTEN counts when its transaction has committed: one that was
//! rolled back, as a whole or perhaps only to a savepoint, is taken for undone.

use crate::command::Command;
use crate::request::Ticket;
use crate::transaction_status::TransactionStatus;

/// What has become of LISTENs since the session was last outside of a transaction.
#[derive(Debug, Default)]
pub(crate) struct ListenWatch {
    /// There is something to be told at the end of the transaction, or may be.
    is_open: bool,
    /// A LISTEN has run in the transaction that is open.
    listened: bool,
    /// The first request that undid a LISTEN, or may have.
    undone_by: Option<Ticket>,
}

impl ListenWatch {
    /// Whether there is something to be told at the end of the transaction, or may be.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// A statement of this request is complete.
    pub(crate) fn ran(&mut self, ticket: Ticket, command: Command) {
        match command {
            Command::Listen => (self.is_open, self.listened) = (true, true),
            Command::Unlisten | Command::DiscardAll => self.undone(ticket),
            Command::Commit => self.listened = false,
            Command::Rollback if self.listened => self.undone(ticket),
            _ => {}
        }
    }

    fn undone(&mut self, ticket: Ticket) {
        self.is_open = true;
        self.undone_by.get_or_insert(ticket);
    }

    /// This request is complete. Gives back, when the transaction is over, the first request that undid a LISTEN.
    pub(crate) fn settled(
        &mut self,
        ticket: Ticket,
        has_failed: bool,
        status: TransactionStatus,
    ) -> Option<Ticket> {
        if has_failed && self.listened {
            self.undone(ticket);
        }
        if status != TransactionStatus::Idle {
            return None;
        }
        std::mem::take(self).undone_by
    }
}
