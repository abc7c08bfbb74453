//! Whether a call that has failed may be made again.

use super::{Delivery, Error, ErrorKind};
use crate::error::sqlstate::SqlState;

impl Error {
    /// Whether the same call may succeed when made again, and cannot have taken effect the first
    /// time.
    ///
    /// Serialization failures, deadlocks, lock timeouts, a server that is full or starting up, a
    /// remembered statement that had gone stale within a transaction, and a connection that broke
    /// before the request left; what was not run or not committed because of such a failure.
    /// Whatever *may* have been done, or committed in part, is not retryable.
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            _ if self.has_committed() => false,
            ErrorKind::Server => {
                let is_passing = matches!(
                    self.sqlstate(),
                    Some(
                        SqlState::T_R_SERIALIZATION_FAILURE
                            | SqlState::T_R_DEADLOCK_DETECTED
                            | SqlState::LOCK_NOT_AVAILABLE
                            | SqlState::TOO_MANY_CONNECTIONS
                            | SqlState::CANNOT_CONNECT_NOW
                    )
                );
                is_passing || self.0.went_stale
            }
            ErrorKind::Connect | ErrorKind::Lost | ErrorKind::Timeout => {
                self.delivery() == Delivery::NotSent
            }
            // What was not run, or not committed, because of another failure.
            ErrorKind::Request | ErrorKind::CommitRefused => {
                self.cause().is_some_and(Self::is_retryable)
            }
            _ => false,
        }
    }

    /// Whether it is the error of a remembered statement that had gone stale, and is not remembered
    /// any more.
    pub fn is_of_stale(&self) -> bool {
        self.0.went_stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::server_error::ServerError;

    fn from_server(code: &str) -> Error {
        Error::from_server(ServerError::parse(format!("VERROR\0C{code}\0Mno\0\0").as_bytes()))
    }

    #[test]
    fn only_what_cannot_have_been_done_is_retryable() {
        let lost = |delivery| Error::new(ErrorKind::Lost, "gone").with_delivery(delivery);
        assert!(lost(Delivery::NotSent).is_retryable());
        assert!(!lost(Delivery::Unknown).is_retryable());
        // A serialization failure, a deadlock, a lock that is held, a server that is full, and one
        // that is starting up.
        for code in ["40001", "40P01", "55P03", "53300", "57P03"] {
            assert!(from_server(code).is_retryable(), "{code}");
        }
        assert!(!from_server("42601").is_retryable());
        assert!(from_server("0A000").went_stale().is_retryable());
    }

    #[test]
    fn what_was_not_run_is_retryable_if_its_reason_is() {
        let deadlock = ServerError::parse(b"VERROR\0C40P01\0Mdeadlock detected\0\0");
        let error = Error::from_server(deadlock).not_run("the other was not run");
        assert_eq!(error.to_string(), "the other was not run: ERROR 40P01: deadlock detected");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Request, Delivery::NotSent));
        assert!(error.is_retryable() && error.sqlstate().is_none());
        assert!(!from_server("42601").not_run("the other was not run").is_retryable());
    }

    #[test]
    fn what_was_not_committed_is_retryable_if_its_reason_is() {
        for (code, is_retryable) in [("40001", true), ("40P01", true), ("23505", false)] {
            let refused = Error::new(ErrorKind::CommitRefused, "not committed")
                .with_source(from_server(code).without_causes());
            assert_eq!(refused.is_retryable(), is_retryable, "{code}");
            assert_eq!(refused.sqlstate(), from_server(code).sqlstate());
        }
        let without = Error::new(ErrorKind::CommitRefused, "not committed");
        assert!(!without.is_retryable() && without.sqlstate().is_none());
    }

    #[test]
    fn what_was_committed_in_part_is_not_retryable() {
        let deadlock = || from_server("40P01");
        assert!(deadlock().is_retryable());
        let error = deadlock().after_commit();
        assert!(error.has_committed() && !error.is_retryable());
        assert!(
            error.to_string().ends_with("(a part of what was asked for had been committed before)")
        );
    }
}
