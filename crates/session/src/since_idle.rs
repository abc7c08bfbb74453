//! What requests have said since the session was last outside of a transaction, and what must be
//! remembered of it until the transaction is over.
//!
//! * **LISTEN.** UNLISTEN and DISCARD ALL count when their transaction is over. A LISTEN counts
//!   when its transaction has committed: one that was rolled back, as a whole or perhaps only to a
//!   savepoint, is taken for undone.
//! * **The encoding.** Once another `client_encoding` than UTF-8 was reported, the session ends
//!   with the request that is being answered: at its end it is known what became of that.
//! * **Names.** After DDL, a SET of `search_path` or the role, or a ROLLBACK to a savepoint, a
//!   statement that was prepared before may mean something else, and would fail the transaction.
//!   Until the transaction is over, texts are parsed anew.

use crate::command::Command;
use crate::request::Ticket;
use crate::transaction_status::TransactionStatus;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct SinceIdle {
    /// There is something to be done at the end of the transaction.
    is_open: bool,
    /// Names may mean something else than before the transaction.
    names_changed: bool,
    /// A LISTEN has run in the transaction that is open.
    listened: bool,
    /// The first request that undid a LISTEN, or may have.
    undone_by: Option<Ticket>,
    /// The encoding that was reported, if it is another than UTF-8.
    other_encoding: Option<String>,
}

impl SinceIdle {
    /// Whether there is something to be done at the end of the transaction.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether names may mean something else than before the transaction.
    #[inline]
    pub(crate) fn names_changed(&self) -> bool {
        self.names_changed
    }

    /// Another encoding than UTF-8 was reported.
    pub(crate) fn reported_encoding(&mut self, name: String) {
        self.is_open = true;
        self.other_encoding = Some(name);
    }

    /// The encoding that was reported, if it is another than UTF-8: the session must end.
    pub(crate) fn take_other_encoding(&mut self) -> Option<String> {
        self.other_encoding.take()
    }

    /// A statement of this request is complete.
    pub(crate) fn ran(&mut self, ticket: Ticket, command: Command) {
        self.is_open = true;
        match command {
            Command::Listen => self.listened = true,
            Command::Unlisten | Command::DiscardAll => self.undone(ticket),
            Command::Commit => self.listened = false,
            Command::Set | Command::Define => self.names_changed = true,
            Command::Rollback => {
                self.names_changed = true;
                if self.listened {
                    self.undone(ticket);
                }
            }
            Command::Begin | Command::PrepareTransaction | Command::DeallocateAll => {}
        }
    }

    fn undone(&mut self, ticket: Ticket) {
        self.undone_by.get_or_insert(ticket);
    }

    /// This request is complete. Gives back, when the transaction is over, the first request that
    /// undid a LISTEN.
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
