//! What a run must not show.

use std::fmt;

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) why: String,
}

/// The rules: the invariants of the design, and what progress means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// An answer is that of another call, or not whole.
    OwnAnswer,
    /// A call succeeded before ReadyForQuery was read, or though its statement failed.
    Success,
    /// A statement took effect though its call or interaction failed, or the other way round.
    Effect,
    /// A statement ran twice.
    Twice,
    /// A statement ran that was never asked for, was withdrawn, or was said not to be sent.
    NotSent,
    /// A statement ran in another's transaction, or an interaction's outside of it.
    Isolation,
    /// A cancel struck something else.
    Struck,
    /// A request left while a CancelRequest was on its way.
    Gate,
    /// The client broke the protocol.
    Protocol,
    /// A call failed, and nothing that happened explains it.
    Unexplained,
    /// Something waits, and nothing that happened explains it.
    Progress,
    /// A caller could go on, and was not woken.
    Wake,
    /// A listener did not hear in time, or not what was said.
    Hearing,
    /// `listen` succeeded and the server does not listen.
    Listening,
    /// The end of a session is not known in time.
    Closed,
    /// A call used a session before its recovery handler had ended.
    Restored,
    /// Something runs in circles.
    Spinning,
    /// More is kept than may be.
    Memory,
    /// The library panicked.
    Panic,
    /// Something of a connection outlived it.
    Leak,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.why)
    }
}

/// A finding, as what a check ends with.
pub(crate) fn found<T>(rule: Rule, why: impl Into<String>) -> Result<T, Finding> {
    Err(Finding { rule, why: why.into() })
}
