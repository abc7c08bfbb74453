//! Why a statement is not sent in a transaction, or its end not.

use txpostgres_session::{Error, ErrorKind};

/// The error of a cursor that is used after its interaction.
pub fn outlived() -> Error {
    Error::new(ErrorKind::InteractionEnded, "the cursor's interaction has ended")
        .with_hint("use a cursor only within the closure that it was given to")
}

/// The error of a transaction that one of its own statements ended.
pub(crate) fn over() -> Error {
    Error::new(
        ErrorKind::InteractionEnded,
        "the interaction's transaction is over: it could not begin, or one of its statements ended it",
    )
    .with_hint("leave BEGIN, COMMIT and ROLLBACK to run_interaction")
}

#[cold]
pub(super) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the interaction was cancelled before the statement was sent")
}

#[cold]
pub(super) fn begun_by_hand() -> Error {
    Error::new(
        ErrorKind::Request,
        "a transaction is open already: a statement of the connection has begun it",
    )
    .with_hint("end it before the interaction, or leave BEGIN to run_interaction altogether")
}

/// Savepoints are a stack: what is sent outside of the innermost one would share its fate.
pub(super) fn nested_is_running() -> Error {
    Error::new(
        ErrorKind::Request,
        "a nested interaction is running; its cursor is the one to use until it has ended",
    )
    .with_hint("await calls of the outer cursor before, and nested interactions one after another")
}
