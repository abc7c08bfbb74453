//! The error that failed a transaction in the server, until something undoes it.
//!
//! ```text
//!           a statement failed                rolled back to a savepoint
//!   None ───────────────────────▶ Standing ◀────────────────────────────▶ Undone ──▶ None
//!                                           the next rollback is sent        a statement went well
//! ```

use txpostgres_session::Error;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Failure(Option<Known>);

#[derive(Debug)]
struct Known {
    error: Error,
    /// A rollback to a savepoint has undone it, and nothing was done since. A closure that returns
    /// an error now returns it for this reason.
    is_undone: bool,
}

impl Failure {
    /// Whether a failure is known that a rollback may undo.
    #[inline]
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// The server answered, and the transaction goes on.
    #[cold]
    pub(super) fn went_on(&mut self) {
        self.0 = self.0.take().filter(|known| !known.is_undone);
        if let Some(known) = &mut self.0 {
            known.is_undone = true;
        }
    }

    /// A further rollback to a savepoint is sent: the savepoint around the one that was undone ends
    /// as well, for the reason that ended the inner one.
    pub(super) fn passes_on(&mut self) {
        if let Some(known) = &mut self.0 {
            known.is_undone = false;
        }
    }

    /// A statement has failed the transaction. Everything after the first failure is refused for it
    /// (`25P02`), unless a rollback to a savepoint has undone that one, and this is another.
    pub(super) fn failed(&mut self, error: &Error) {
        let is_first = self.standing().is_none() || error.transaction_effect().to_savepoint();
        if is_first {
            // What caused it may be the user's, and is dropped elsewhere.
            self.0 = Some(Known { error: error.without_causes(), is_undone: false });
        }
    }

    /// More is known of the error that was told last.
    pub(super) fn is_rather(&mut self, error: &Error) {
        if let Some(known) = &mut self.0 {
            known.error = error.without_causes();
        }
    }

    /// The error that the transaction stands in.
    pub(super) fn standing(&self) -> Option<&Error> {
        self.0.as_ref().filter(|known| !known.is_undone).map(|known| &known.error)
    }

    /// The error that the transaction stands in, or that was undone last.
    pub(super) fn latest(&self) -> Option<&Error> {
        self.0.as_ref().map(|known| &known.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use txpostgres_session::ErrorKind;

    fn error(message: &'static str) -> Error {
        Error::new(ErrorKind::Server, message)
    }

    fn latest(failure: &Failure) -> Option<String> {
        failure.latest().map(ToString::to_string)
    }

    #[test]
    fn what_a_savepoint_has_undone_is_the_reason_until_something_else_is_done() {
        let mut failure = Failure::default();
        failure.went_on();
        assert!(!failure.is_known());
        failure.failed(&error("first"));
        failure.failed(&error("second"));
        assert_eq!(failure.standing().unwrap().to_string(), "first");
        failure.went_on();
        assert!(failure.standing().is_none());
        assert_eq!(latest(&failure).unwrap(), "first");
        failure.went_on();
        assert_eq!(latest(&failure), None);
    }

    #[test]
    fn savepoints_that_end_one_after_the_other_have_one_reason() {
        let mut failure = Failure::default();
        failure.failed(&error("first"));
        for _ in 0..3 {
            failure.went_on();
            assert_eq!(latest(&failure).unwrap(), "first");
            failure.passes_on();
        }
        failure.went_on();
        failure.failed(&error("second"));
        assert_eq!(failure.standing().unwrap().to_string(), "second");
    }
}
