//! What one request did to the transaction: by its command tags, by warnings, and where these leave
//! it open by its text.
//!
//! ```text
//!   BEGIN     warned 25001 (a transaction is open)    nothing; our own BEGIN has met an open one
//!             else                                    began; an earlier ROLLBACK has ended one
//!   COMMIT                                            committed, ended
//!   ROLLBACK  warned 25P01 (no transaction is open)   rolled back, ended
//!             else                                    open: it may be a ROLLBACK TO SAVEPOINT
//!     then the end of the request, status I           rolled back, ended
//!                     status T or E, AND CHAIN        rolled back, ended; another one is open
//!                     status T or E                   to a savepoint
//!   PREPARE TRANSACTION                               ended
//! ```
//!
//! With `client_min_messages` at `error` the server warns of nothing. Then a BEGIN within a
//! transaction counts as the beginning of another one.

use std::fmt;

use crate::command::Command;
use crate::error::sqlstate::SqlState;
use crate::transaction_status::TransactionStatus;

/// What the statements of one request did to the transaction, as far as their command tags tell. A
/// BEGIN that was sent along with the request is none of them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
// One byte, since it goes with every answer.
pub struct TransactionEffect(u8);

impl TransactionEffect {
    const BEGAN: u8 = 1;
    const COMMITTED: u8 = 2;
    const ROLLED_BACK: u8 = 4;
    const ENDED: u8 = 8;
    const MET_OPEN: u8 = 16;
    const TO_SAVEPOINT: u8 = 32;

    /// A BEGIN or START TRANSACTION has begun a transaction.
    pub fn began(self) -> bool {
        self.0 & Self::BEGAN != 0
    }

    /// A COMMIT was done: a later rollback does not undo what was done before it.
    pub fn committed(self) -> bool {
        self.0 & Self::COMMITTED != 0
    }

    /// A transaction was rolled back as a whole, and not to a savepoint.
    pub fn rolled_back(self) -> bool {
        self.0 & Self::ROLLED_BACK != 0
    }

    /// A rollback was one to a savepoint: what had failed the transaction before is undone.
    pub fn to_savepoint(self) -> bool {
        self.0 & Self::TO_SAVEPOINT != 0
    }

    /// The same effect, with a COMMIT.
    pub(crate) fn and_committed(self) -> Self {
        Self(self.0 | Self::COMMITTED)
    }

    /// The transaction that was open before the request, or before one of its statements, has
    /// ended. One that is open afterwards is another one: `COMMIT AND CHAIN`, `ROLLBACK AND CHAIN`,
    /// `rollback; begin`.
    pub fn ended(self) -> bool {
        self.0 & Self::ENDED != 0
    }

    /// The BEGIN that was sent along with the request has met an open transaction, and done
    /// nothing.
    pub fn met_open(self) -> bool {
        self.0 & Self::MET_OPEN != 0
    }
}

impl fmt::Debug for TransactionEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.began(), "began"),
            (self.committed(), "committed"),
            (self.rolled_back(), "rolled back"),
            (self.to_savepoint(), "to a savepoint"),
            (self.ended(), "ended"),
            (self.met_open(), "met open"),
        ];
        f.debug_set().entries(words.iter().filter(|(is, _)| *is).map(|(_, word)| word)).finish()
    }
}

/// Follows one request to its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TransactionWatch {
    effect: TransactionEffect,
    /// What the server warned of since the last command.
    warning: Warning,
    /// A ROLLBACK was seen that may have been one to a savepoint.
    is_ambiguous: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Warning {
    #[default]
    None,
    /// `25001`: there is a transaction in progress already.
    IsOpen,
    /// `25P01`: there is no transaction in progress.
    IsNotOpen,
}

impl TransactionWatch {
    /// A notice with this code has come.
    pub(crate) fn noticed(&mut self, code: SqlState) {
        match code {
            SqlState::ACTIVE_SQL_TRANSACTION => self.warning = Warning::IsOpen,
            SqlState::NO_ACTIVE_SQL_TRANSACTION => self.warning = Warning::IsNotOpen,
            _ => {}
        }
    }

    /// The BEGIN that was sent along is complete.
    pub(crate) fn begun(&mut self) {
        if std::mem::take(&mut self.warning) == Warning::IsOpen {
            self.had(TransactionEffect::MET_OPEN);
        }
    }

    /// A statement is complete.
    pub(crate) fn ran(&mut self, command: Command) {
        let warning = std::mem::take(&mut self.warning);
        match command {
            Command::Begin if warning == Warning::IsOpen => self.resolve(false),
            Command::Begin => {
                self.had(TransactionEffect::BEGAN);
                self.resolve(true);
            }
            Command::Commit => {
                self.resolve(warning == Warning::IsNotOpen);
                self.had(TransactionEffect::COMMITTED | TransactionEffect::ENDED);
            }
            Command::Rollback => {
                self.is_ambiguous = true;
                if warning == Warning::IsNotOpen {
                    self.resolve(true);
                }
            }
            Command::PrepareTransaction => self.had(TransactionEffect::ENDED),
            _ => {}
        }
    }

    /// What is certain before the request is complete.
    pub(crate) fn effect(self) -> TransactionEffect {
        self.effect
    }

    fn had(&mut self, effect: u8) {
        self.effect.0 |= effect;
    }

    /// A ROLLBACK whose meaning was open has ended a transaction, or went to a savepoint.
    fn resolve(&mut self, ended: bool) {
        if std::mem::take(&mut self.is_ambiguous) {
            self.had(if ended {
                TransactionEffect::ROLLED_BACK | TransactionEffect::ENDED
            } else {
                TransactionEffect::TO_SAVEPOINT
            });
        }
    }

    /// The request is complete. `may_chain`: its text has an `AND CHAIN`.
    #[inline]
    pub(crate) fn finish(
        &mut self,
        status: TransactionStatus,
        may_chain: bool,
    ) -> TransactionEffect {
        if self.is_ambiguous {
            self.resolve(status == TransactionStatus::Idle || may_chain);
        }
        self.effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The effect of what is written with `!` before a tag for the warning that a transaction is
    /// open, and `?` for none is open.
    fn effect(script: &str, status: TransactionStatus, may_chain: bool) -> String {
        let mut watch = TransactionWatch::default();
        for word in script.split("; ") {
            let tag = word.trim_start_matches(['!', '?', '+']);
            if word.contains('!') {
                watch.noticed(SqlState::ACTIVE_SQL_TRANSACTION);
            }
            if word.contains('?') {
                watch.noticed(SqlState::NO_ACTIVE_SQL_TRANSACTION);
            }
            match Command::from_tag(tag.as_bytes()) {
                // Our own, sent along.
                Some(Command::Begin) if word.contains('+') => watch.begun(),
                Some(command) => watch.ran(command),
                None => {}
            }
        }
        let effect = format!("{:?}", watch.finish(status, may_chain));
        effect.replace(['{', '}', '"'], "")
    }

    #[test]
    fn tags_and_warnings_tell() {
        use TransactionStatus::{Failed, Idle, InTransaction};
        for (script, status, may_chain, told) in [
            ("SELECT 1", InTransaction, false, ""),
            ("BEGIN", InTransaction, false, "began"),
            ("!BEGIN", InTransaction, false, ""),
            ("+BEGIN; SELECT 1", InTransaction, false, ""),
            ("!+BEGIN; SELECT 1", InTransaction, false, "met open"),
            ("+BEGIN; !BEGIN", InTransaction, false, ""),
            ("COMMIT", Idle, false, "committed, ended"),
            ("COMMIT", InTransaction, true, "committed, ended"),
            ("COMMIT; BEGIN", InTransaction, false, "began, committed, ended"),
            ("ROLLBACK", Idle, false, "rolled back, ended"),
            ("?ROLLBACK", Idle, false, "rolled back, ended"),
            ("ROLLBACK", InTransaction, false, "to a savepoint"),
            ("ROLLBACK", InTransaction, true, "rolled back, ended"),
            ("ROLLBACK; SELECT 1", Failed, true, "rolled back, ended"),
            ("ROLLBACK; SELECT 1", Failed, false, "to a savepoint"),
            ("ROLLBACK; BEGIN", InTransaction, false, "began, rolled back, ended"),
            ("ROLLBACK; !BEGIN", InTransaction, false, "to a savepoint"),
            ("ROLLBACK; COMMIT", Idle, false, "committed, to a savepoint, ended"),
            ("ROLLBACK; ?COMMIT", Idle, false, "committed, rolled back, ended"),
            ("!SET; BEGIN", InTransaction, false, "began"),
            ("PREPARE TRANSACTION; BEGIN", InTransaction, false, "began, ended"),
        ] {
            assert_eq!(effect(script, status, may_chain), told, "{script} {status:?} {may_chain}");
        }
    }
}
