//! Errors of types that have no binary form, which only casts to text make readable.

use super::Error;
use crate::error::sqlstate::SqlState;

impl Error {
    /// Whether a statement failed because a type has no binary output: a column's own, or that of
    /// what an array, a range or a record is made of.
    pub(crate) fn is_of_no_binary(&self) -> bool {
        /// Who says so, in the server's `lsyscache.c`, `arrayfuncs.c`, `rangetypes.c` and
        /// `multirangetypes.c`.
        const ROUTINES: [&str; 4] = [
            "getTypeBinaryOutputInfo",
            "array_send",
            "get_range_io_data",
            "get_multirange_io_data",
        ];
        self.server().is_some_and(|server| {
            server.code() == SqlState::UNDEFINED_FUNCTION
                && server.routine().is_some_and(|routine| ROUTINES.contains(&&*routine))
        })
    }

    /// With the advice to cast, if a type has no binary output: for COPY and FETCH, which are not
    /// asked for in text.
    #[doc(hidden)]
    #[must_use]
    pub fn advising_a_cast(self) -> Self {
        if self.is_of_no_binary() {
            self.with_hint("a type in it has no binary form: cast the column to text")
        } else {
            self
        }
    }
}
