//! Why a server's certificate is not trusted, in words: which certificate, which field of it, which
//! option.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use super::super::x509::Certificate;

/// A refusal, carried through rustls to the error that a user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tls) struct Refusal {
    pub(in crate::tls) message: String,
    pub(in crate::tls) hint: Cow<'static, str>,
}

impl Refusal {
    /// A refusal because of a certificate, by its place in the chain: 0 is the server's own. `what`
    /// goes on from "the server's certificate (CN=db)".
    pub(super) fn of(
        certificate: &Certificate<'_>,
        place: usize,
        what: impl fmt::Display,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        let whose =
            if place == 0 { "the server's certificate" } else { "the authority's certificate" };
        let message = format!("{whose} ({}) {what}", certificate.subject);
        Self { message, hint: hint.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

/// A moment as `2026-11-22T16:00:00Z`, from seconds since 1970.
pub(super) fn date(seconds: i64) -> String {
    let since_1970 = u64::try_from(seconds).map(std::time::Duration::from_secs);
    match since_1970.map(der::DateTime::from_unix_duration) {
        Ok(Ok(date)) => date.to_string(),
        Ok(Err(_)) => "a day that is too far away".into(),
        Err(_) => "a day before 1970".into(),
    }
}
