//! What went wrong with TLS, in one sentence, and which parameter would change it.

use rustls::{
    AlertDescription as Alert, CertificateError, Error as TlsError, PeerIncompatible,
    PeerMisbehaved,
};

use super::settings::TlsSettings;
use super::verify::Refusal;
use crate::{Error, ErrorKind};

/// Names of a certificate that are listed in an error; some have hundreds.
const NAMES: usize = 5;

pub(super) fn failed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Tls, message)
}

pub(super) fn explain(error: &TlsError, settings: &TlsSettings, host: &str) -> Error {
    match error {
        TlsError::InvalidCertificate(verdict) => certificate(verdict, host),
        TlsError::AlertReceived(alert) => received(*alert, settings),
        TlsError::DecryptError => failed("a TLS record was changed on the way"),
        TlsError::InvalidMessage(_) | TlsError::InappropriateMessage { .. } => {
            // Not `Tls`: `prefer` must not go on in plain text after it.
            Error::new(ErrorKind::Protocol, "what the server sent is not TLS")
        }
        TlsError::PeerIncompatible(what) => incompatible(what),
        TlsError::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            failed("the server signed the TLS handshake in a way that was not offered to it")
        }
        // rustls has no name for schemes of keys for RSA-PSS alone, and counts them as wrong.
        TlsError::PeerMisbehaved(PeerMisbehaved::SignedKxWithWrongAlgorithm) => {
            failed("the server signed the TLS 1.2 handshake in a way that is not supported")
                .with_hint("a key for RSA-PSS alone needs TLS 1.3")
        }
        TlsError::PeerMisbehaved(_) => failed("the server broke the rules of TLS"),
        TlsError::PeerSentOversizedRecord => {
            failed("the server sent a TLS record that is too long")
        }
        TlsError::InappropriateHandshakeMessage { .. } => {
            failed("the server sent a message of TLS that is out of place")
        }
        TlsError::NoApplicationProtocol => {
            failed("the server does not speak PostgreSQL by TLS (ALPN)")
        }
        TlsError::NoCertificatesPresented => failed("the server sent no certificate"),
        TlsError::HandshakeNotComplete => failed("the TLS handshake has not ended"),
        TlsError::FailedToGetCurrentTime => failed("the system does not tell the time"),
        TlsError::FailedToGetRandomBytes => failed("could not obtain random bytes from the system"),
        _ => failed("TLS failed"),
    }
}

fn incompatible(what: &PeerIncompatible) -> Error {
    use PeerIncompatible as What;
    let lacks = match what {
        What::NoCipherSuitesInCommon => ": no cipher suite",
        What::NoKxGroupsInCommon | What::NamedGroupsExtensionRequired => {
            ": no group for the exchange of keys; X25519, P-256 and P-384 can be used"
        }
        What::NoSignatureSchemesInCommon | What::SignatureAlgorithmsExtensionRequired => {
            ": no way to sign the handshake"
        }
        What::ExtendedMasterSecretExtensionRequired => ": no extended master secret (RFC 7627)",
        _ => "",
    };
    failed(format!("the server and we have no way of TLS in common{lacks}")).with_hint(
        "TLS 1.2 and 1.3 can be used; see ssl_min_protocol_version here and on the server",
    )
}

/// The name of an alert in RFC 8446, section 6.
fn alert_name(alert: Alert) -> &'static str {
    match alert {
        Alert::CloseNotify => "close_notify",
        Alert::UnexpectedMessage => "unexpected_message",
        Alert::BadRecordMac => "bad_record_mac",
        Alert::RecordOverflow => "record_overflow",
        Alert::HandshakeFailure => "handshake_failure",
        Alert::IllegalParameter => "illegal_parameter",
        Alert::DecodeError => "decode_error",
        Alert::DecryptError => "decrypt_error",
        Alert::InsufficientSecurity => "insufficient_security",
        Alert::InternalError => "internal_error",
        Alert::InappropriateFallback => "inappropriate_fallback",
        Alert::UserCanceled => "user_canceled",
        Alert::MissingExtension => "missing_extension",
        Alert::UnsupportedExtension => "unsupported_extension",
        _ => "an alert of another kind",
    }
}

fn certificate(verdict: &CertificateError, host: &str) -> Error {
    use CertificateError as Verdict;
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
                .with_hint("host must be a name of the certificate; hostaddr may tell where it is")
        }
        Verdict::Other(other) => match other.0.downcast_ref::<Refusal>() {
            Some(Refusal { message, hint }) => failed(message.clone()).with_hint(hint.clone()),
            None => failed("the server's certificate is not to be trusted"),
        },
        Verdict::BadEncoding => failed("the server's certificate cannot be read"),
        Verdict::BadSignature => failed("the server's certificate does not belong to its key"),
        _ => failed("the server's certificate is not to be trusted"),
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
        Alert::HandshakeFailure => {
            failed("the server ended TLS: it found no way in common with us (handshake_failure)")
        }
        other => failed(format!("the server ended TLS ({})", alert_name(other))),
    };
    if settings.has_certificate() {
        error.with_hint("our certificate is the one that sslcert names")
    } else {
        error.with_hint(
            "it may demand a client certificate: name one by sslcert and sslkey; or its own is of \
             a kind that is not supported, such as Ed448 or DSA",
        )
    }
}
