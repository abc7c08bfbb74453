//! Why the server refuses a statement that would go well if it were asked otherwise: by what its
//! error says.

use super::Stage;
use crate::error::Error;
use crate::error::sqlstate::SqlState;

/// Whether a statement was refused because what is known of it is not so any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staleness {
    /// It was refused for another reason.
    None,
    /// Perhaps this statement is stale, and nothing says that others are.
    OfThis,
    /// It is stale, or may be, and so may be others.
    OfAll,
}

/// Whether what is known of a statement is stale, by the error with which the server refused it.
pub(super) fn staleness(error: &Error, stage: &Stage) -> Staleness {
    let Some(server) = error.server().filter(|_| error.is_before_running()) else {
        return Staleness::None;
    };
    let was_described = matches!(stage, Stage::Running | Stage::Anew);
    match server.code() {
        // "cached plan must not change result type" shares its code with everything that is not
        // supported.
        SqlState::FEATURE_NOT_SUPPORTED
            if server.routine().is_some_and(|routine| routine == "RevalidateCachedQuery") =>
        {
            Staleness::OfAll
        }
        // It is gone (`DISCARD ALL`, `DEALLOCATE`, another server behind a pooler), or its name is
        // taken.
        SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => Staleness::OfAll,
        // The server judges by the role of now.
        SqlState::INSUFFICIENT_PRIVILEGE => Staleness::None,
        // Of a type that is gone: "cache lookup failed for type 16431".
        SqlState::INTERNAL_ERROR if was_described => Staleness::OfAll,
        // One that the server does not keep has another number of columns than when it was
        // described: "bind message has 2 result formats but query has 3 columns".
        SqlState::PROTOCOL_VIOLATION if matches!(stage, Stage::Anew) => Staleness::OfAll,
        // A parameter that is given as text, for a type that the server took it for once.
        SqlState::INVALID_TEXT_REPRESENTATION
        | SqlState::INVALID_DATETIME_FORMAT
        | SqlState::DATETIME_FIELD_OVERFLOW
        | SqlState::NUMERIC_VALUE_OUT_OF_RANGE
            if was_described =>
        {
            Staleness::OfThis
        }
        // Syntax error or access rule violation: there is no such thing any more, or it does not
        // take these types; its tables, types or functions were altered or made anew, or
        // `search_path` leads to others.
        code if was_described && code.class() == "42" => Staleness::OfAll,
        _ => Staleness::None,
    }
}
