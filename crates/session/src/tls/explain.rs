//! What went wrong with TLS, in one sentence, and which parameter would change it.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription as Alert, CertificateError, Error as TlsError};

use super::settings::TlsSettings;
use super::verifier::SelfSigned;
use crate::{Error, ErrorKind};

/// Names of a certificate that are listed in an error; some have hundreds.
const NAMES: usize = 5;

pub(super) fn failed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Tls, message)
}

pub(super) fn explain(error: &TlsError, settings: &TlsSettings, host: &str) -> Error {
    match error {
        TlsError::InvalidCertificate(verdict) => certificate(verdict, settings, host),
        TlsError::AlertReceived(alert) => received(*alert, settings),
        TlsError::DecryptError => failed("a TLS record was changed on the way"),
        TlsError::InvalidMessage(_) | TlsError::InappropriateMessage { .. } => {
            // Not `Tls`: `prefer` must not go on in plain text after it.
            Error::new(ErrorKind::Protocol, "what the server sent is not TLS")
        }
        TlsError::PeerIncompatible(_) => failed("the server and we have no way of TLS in common")
            .with_source(error.clone())
            .with_hint(
                "TLS 1.2 and 1.3 can be used; see ssl_min_protocol_version here and on the server",
            ),
        TlsError::NoApplicationProtocol => {
            failed("the server does not speak PostgreSQL by TLS (ALPN)")
        }
        _ => failed("TLS failed").with_source(error.clone()),
    }
}

fn certificate(verdict: &CertificateError, settings: &TlsSettings, host: &str) -> Error {
    use CertificateError as Verdict;
    let root = settings.root_name();
    let trust = "sslrootcert must name the certificate of the authority that signed it";
    match verdict {
        Verdict::NotValidForNameContext { presented, .. } => {
            let mut names: Vec<_> =
                presented.iter().take(NAMES).map(|name| format!("\"{name}\"")).collect();
            if presented.len() > NAMES {
                names.push(format!("{} more", presented.len() - NAMES));
            }
            let names = match names.len() {
                0 => "it names no host".to_owned(),
                _ => format!("it is for {}", names.join(", ")),
            };
            failed(format!("the server's certificate is not for \"{host}\" ({names})"))
                .with_hint("sslmode=verify-ca does not check the name")
        }
        Verdict::ExpiredContext { not_after, .. } => {
            failed(format!("the server's certificate expired on {}", date(*not_after)))
                .with_hint("give the server a new one")
        }
        Verdict::NotValidYetContext { not_before, .. } => {
            failed(format!("the server's certificate is not valid before {}", date(*not_before)))
                .with_hint("one of the two clocks may be wrong")
        }
        Verdict::UnknownIssuer => {
            failed(format!("the server's certificate is not signed by an authority of {root}"))
                .with_hint(trust)
        }
        Verdict::Other(other) if other.0.is::<SelfSigned>() => {
            failed(format!("the server's certificate is self-signed, and not one of {root}"))
                .with_hint("sslrootcert may name the certificate itself")
        }
        Verdict::BadEncoding => failed("the server's certificate cannot be read"),
        Verdict::BadSignature => failed("the server's certificate does not belong to its key"),
        _ => failed("the server's certificate is not to be trusted")
            .with_source(TlsError::InvalidCertificate(verdict.clone()))
            .with_hint(trust),
    }
}

/// What the server found wrong. Many say no more than `handshake_failure` when they miss a
/// certificate of ours.
fn received(alert: Alert, settings: &TlsSettings) -> Error {
    let error = match alert {
        Alert::CertificateRequired => {
            return failed("the server demands a client certificate")
                .with_hint("name one by sslcert and sslkey");
        }
        Alert::UnknownCA => failed("the server does not trust the authority of our certificate"),
        Alert::CertificateExpired => failed("the server found our certificate expired"),
        Alert::CertificateRevoked => failed("the server found our certificate revoked"),
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied => failed("the server does not accept our certificate"),
        // Such as one by another authority of the same name.
        Alert::DecryptError if settings.has_certificate() => {
            failed("the server found a wrong signature on our certificate")
        }
        Alert::ProtocolVersion => {
            return failed("the server has no version of TLS in common with us").with_hint(
                "TLS 1.2 and 1.3 can be used; see ssl_min_protocol_version here and on the server",
            );
        }
        Alert::NoApplicationProtocol => {
            return failed("the server does not speak PostgreSQL by TLS (ALPN)");
        }
        Alert::UnrecognisedName => {
            return failed("the server does not know the name that we asked for")
                .with_hint("sslsni=0 does not send it");
        }
        other => failed(format!("the server ended TLS ({other:?})")),
    };
    if settings.has_certificate() {
        error.with_hint("our certificate is the one that sslcert names")
    } else {
        error.with_hint("it may demand a client certificate: name one by sslcert and sslkey")
    }
}

/// A moment as `2026-11-22T16:00:00Z`.
fn date(time: UnixTime) -> String {
    let since_1970 = Duration::from_secs(time.as_secs());
    match der::DateTime::from_unix_duration(since_1970) {
        Ok(date) => date.to_string(),
        Err(_) => "a day that is too far away".into(),
    }
}
