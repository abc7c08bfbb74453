//! What happens in the model server, for the referee.

use crate::token::Token;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A session was opened.
    Opened {
        line: usize,
    },
    /// A statement begins to run, in this transaction.
    Started {
        token: Token,
        transaction: u64,
        explicit: bool,
    },
    /// It ran to its end.
    Done {
        token: Token,
    },
    /// A transaction that a statement had begun is committed; `ended` tells that of the tokens it
    /// ran.
    Committed {
        transaction: u64,
        line: usize,
    },
    RolledBack {
        transaction: u64,
    },
    /// ReadyForQuery was written: what was asked since the last one is answered once the client has
    /// read so many bytes.
    Answered {
        line: usize,
        offset: u64,
        tokens: Vec<Token>,
        transactions: Vec<u64>,
    },
    /// A CancelRequest struck what this session was doing.
    Struck {
        target: Target,
    },
    /// A CancelRequest found nothing to strike.
    Missed,
    /// A notification was written to a session.
    Notified {
        line: usize,
        channel: String,
        payload: String,
    },
    /// An error was sent.
    Refused {
        code: &'static str,
    },
    /// Everything prepared was forgotten, or every channel.
    Forgot {
        what: &'static str,
    },
    /// The client has said Terminate, or has hung up.
    Left {
        line: usize,
        politely: bool,
    },
    /// The client has broken the rules, or said what the model does not know.
    Broken {
        why: String,
    },
}

/// What a CancelRequest struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Statement(Token),
    Commit,
    Rollback,
}
