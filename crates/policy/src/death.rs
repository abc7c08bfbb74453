//! Which errors mean that a connection is dead: decided by what the server said and by how the
//! session ended, not by the class of the error.

use txpostgres_session::{Error, ErrorKind, ServerError};

/// Whether this error means that the connection it came from cannot be used any more, or was never
/// made.
///
/// | error | dead |
/// |---|---|
/// | the end of the stream, a reset; a COMMIT or a rollback whose outcome is unknown for that | yes |
/// | a `FATAL` or `PANIC` of the server, such as `57P01` | yes |
/// | the peer broke the protocol | yes |
/// | a failed attempt to connect: refused, too slow, not logged in, TLS | yes |
/// | an `ERROR`: a deadlock, `40001`, `55P03`, `57014`, `53300`, any other SQLSTATE | no |
/// | a cancel or a time limit of one call; a mistake of the caller | no |
///
/// `25006` (read-only) is an error like others here. A connection that was asked to have a server
/// that can be written to (`target_session_attrs`) is ended by the library when it meets this
/// error, and that end is a death.
pub fn is_death(error: &Error) -> bool {
    if error.server().is_some_and(ServerError::is_fatal) {
        return true;
    }
    match error.kind() {
        ErrorKind::Connect
        | ErrorKind::Lost
        | ErrorKind::Protocol
        | ErrorKind::Tls
        | ErrorKind::Authentication
        | ErrorKind::RollbackFailed
        | ErrorKind::ConnectionDead => true,
        ErrorKind::CommitUnknown => !error.is_of_replication(),
        ErrorKind::Timeout => error.is_of_connecting(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(severity: &str, code: &str) -> Error {
        let body = format!("S{severity}\0V{severity}\0C{code}\0Mno\0\0");
        Error::from_server(ServerError::parse(body.as_bytes()))
    }

    #[test]
    fn a_session_that_goes_on_is_not_dead() {
        for code in ["40001", "40P01", "55P03", "57014", "53300", "25006", "23505", "0A000"] {
            assert!(!is_death(&said("ERROR", code)), "{code}");
        }
        for kind in [ErrorKind::Cancelled, ErrorKind::Timeout, ErrorKind::Parameter] {
            assert!(!is_death(&Error::new(kind, "no")), "{kind:?}");
        }
    }

    #[test]
    fn what_ends_a_session_or_prevents_one_is_a_death() {
        for code in ["57P01", "57P02", "57P03", "53300", "28P01", "25P03", "57P05"] {
            assert!(is_death(&said("FATAL", code)), "{code}");
        }
        assert!(is_death(&said("PANIC", "XX000")));
        for kind in [ErrorKind::Lost, ErrorKind::Protocol, ErrorKind::Connect, ErrorKind::Tls] {
            assert!(is_death(&Error::new(kind, "gone")), "{kind:?}");
        }
        assert!(is_death(&Error::new(ErrorKind::Timeout, "too slow").while_connecting()));
    }
}
