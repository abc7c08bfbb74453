//! An error that stands for several: each of the hosts that were tried said something.

use std::fmt;

use super::Error;
use crate::error::escaped::one_line;

/// One host that did not accept the connection: see [`Error::attempts`].
#[derive(Debug)]
pub struct FailedAttempt {
    endpoint: String,
    error: Error,
}

impl FailedAttempt {
    /// `endpoint`: the host and its port, as it is printed.
    pub fn new(endpoint: impl Into<String>, error: Error) -> Self {
        Self { endpoint: endpoint.into(), error }
    }

    /// Where: `db1:5432`, with its address if a name was looked up, `db1 (10.0.0.1:5432)`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the host said, or why there was no connection to it.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

/// Attempts that all failed.
pub(super) struct Attempts {
    all: Vec<FailedAttempt>,
    /// The one whose error is this one's source.
    decisive: usize,
}

/// As many attempts as are printed. All of them are in [`Error::attempts`].
const PRINTED_ATTEMPTS: usize = 16;

impl Error {
    /// The error of several attempts to connect. Kind, SQLSTATE, delivery and hint are those of
    /// the attempt `decisive`, which is also the source.
    pub fn no_host_accepted(all: Vec<FailedAttempt>, decisive: usize) -> Self {
        let message = "no host accepted the connection";
        let Some(FailedAttempt { error, .. }) = all.get(decisive) else {
            return Self::new(super::ErrorKind::Connect, message);
        };
        let mut this = Self::new(error.kind(), message).with_delivery(error.delivery());
        this.0.server.clone_from(&error.0.server);
        this.0.hint.clone_from(&error.0.hint);
        this.0.attempts = Some(Attempts { all, decisive });
        this
    }

    /// Which hosts were tried, and what each of them said, in the order of preference: of an error
    /// of `connect` with several hosts, or with a name that has several addresses. Empty for any
    /// other error.
    ///
    /// Such an error has the kind and the SQLSTATE of the refusal that ended the attempts, such as
    /// a wrong password; otherwise those of the attempt that failed last.
    pub fn attempts(&self) -> &[FailedAttempt] {
        self.0.attempts.as_ref().map_or(&[], |attempts| &attempts.all)
    }
}

impl Attempts {
    pub(super) fn decisive(&self) -> Option<&Error> {
        self.all.get(self.decisive).map(FailedAttempt::error)
    }

    /// `no host accepted the connection: a:1: FATAL …; b:2: …`.
    pub(super) fn write(&self, message: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(message)?;
        for (number, attempt) in self.all.iter().take(PRINTED_ATTEMPTS).enumerate() {
            f.write_str(if number == 0 { ": " } else { "; " })?;
            let text = attempt.error.to_string();
            if !text.contains(&attempt.endpoint) {
                one_line(f, &attempt.endpoint)?;
                f.write_str(": ")?;
            }
            one_line(f, &text)?;
        }
        match self.all.len().saturating_sub(PRINTED_ATTEMPTS) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::error::ErrorKind;
    use crate::error::server_error::ServerError;
    use crate::error::sqlstate::SqlState;

    fn refused() -> Error {
        Error::from_server(ServerError::parse(b"VFATAL\0C28P01\0Mno such password\0\0"))
    }

    fn unreachable() -> Error {
        Error::new(ErrorKind::Connect, "cannot connect to a:1").with_hint("is it on?")
    }

    #[test]
    fn each_host_is_named_with_what_it_said() {
        let attempts =
            vec![FailedAttempt::new("a:1", unreachable()), FailedAttempt::new("b:2", refused())];
        let error = Error::no_host_accepted(attempts, 1);
        assert_eq!(
            error.to_string(),
            "no host accepted the connection: cannot connect to a:1; \
             b:2: FATAL 28P01: no such password"
        );
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(error.sqlstate(), Some(SqlState::INVALID_PASSWORD));
        assert!(!error.is_retryable());
        assert_eq!(error.source().unwrap().to_string(), "FATAL 28P01: no such password");
        let told: Vec<_> = error
            .attempts()
            .iter()
            .map(|attempt| (attempt.endpoint(), attempt.error().kind()))
            .collect();
        assert_eq!(told, [("a:1", ErrorKind::Connect), ("b:2", ErrorKind::Server)]);
        assert!(refused().attempts().is_empty());
    }

    #[test]
    fn what_decided_says_whether_to_try_again() {
        let attempts =
            vec![FailedAttempt::new("a:1", unreachable()), FailedAttempt::new("b:2", refused())];
        let error = Error::no_host_accepted(attempts, 0);
        assert!(error.is_retryable());
        assert_eq!(error.hint(), Some("is it on?"));
        assert!(error.server().is_none());
        assert_eq!(Error::no_host_accepted(Vec::new(), 0).kind(), ErrorKind::Connect);
    }

    #[test]
    fn a_name_with_many_addresses_is_not_printed_in_full() {
        let attempts = (0..5000).map(|_| FailedAttempt::new("b:2", refused())).collect();
        let text = Error::no_host_accepted(attempts, 0).to_string();
        assert!(text.len() < 1000 && text.ends_with("; and 4984 more"), "{text}");
    }
}
