//! Why the server refuses a statement that would go well if it were asked otherwise: by what its error says.

use crate::error::Error;
use crate::error::sqlstate::SqlState;

/// Whether the server and we no longer mean the same by a prepared statement: its result has other columns now, it is
/// gone (`DISCARD ALL`, `DEALLOCATE`, another server behind a pooler), or its name is taken.
pub(super) fn is_stale(error: &Error) -> bool {
    let Some(server) = error.server().filter(|_| error.is_before_running()) else {
        return false;
    };
    match server.code() {
        // "cached plan must not change result type" shares its code with everything that is not supported.
        SqlState::FEATURE_NOT_SUPPORTED => {
            server.routine().is_some_and(|routine| routine == "RevalidateCachedQuery")
        }
        SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => true,
        _ => false,
    }
}

/// Whether a statement that was described before may mean something else by now, so that the server refuses it before it runs: its
/// tables, types or functions were altered or made anew, or `search_path` leads to others.
pub(super) fn may_be_outdated(error: &Error) -> bool {
    error.is_before_running()
        && error.sqlstate().is_some_and(|code| {
            // Of a type that is gone: "cache lookup failed for type 16431". And syntax error or access rule violation: there is no
            // such thing, or it does not take these types.
            code == SqlState::INTERNAL_ERROR || code.class() == "42"
        })
}

/// Whether a statement that the server does not keep has another number of columns than when it was described: "bind message
/// has 2 result formats but query has 3 columns".
pub(super) fn has_other_columns(error: &Error) -> bool {
    error.is_before_running() && error.sqlstate() == Some(SqlState::PROTOCOL_VIOLATION)
}

/// Whether it failed because a type has no binary output: a column's own, or that of what an array or a range is made of.
pub(super) fn has_no_binary(error: &Error) -> bool {
    /// Who says so, in the server's `lsyscache.c`, `arrayfuncs.c`, `rangetypes.c` and `multirangetypes.c`.
    const ROUTINES: [&str; 4] =
        ["getTypeBinaryOutputInfo", "array_send", "get_range_io_data", "get_multirange_io_data"];
    error.server().is_some_and(|server| {
        server.code() == SqlState::UNDEFINED_FUNCTION
            && server.routine().is_some_and(|routine| ROUTINES.contains(&&*routine))
    })
}
