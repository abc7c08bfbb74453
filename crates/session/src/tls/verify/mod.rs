//! Whether a server's certificate is to be trusted: by the rules of libpq, which are those of
//! OpenSSL's `X509_verify_cert` for the purpose of a TLS server at security level 2. That the
//! server has the key is always checked.
//!
//! ```text
//!   path ─▶ extensions ─▶ strength ─▶ revocation ─▶ signatures, dates ─▶ name constraints ─▶ host
//! ```
//!
//! Why not webpki's judgement: decision 23, `docs/decisions/0023-a-verifier-that-follows-openssl`.

mod checks;
mod name_constraints;
mod path;
mod refusal;
mod revocation;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::x509::{Certificate, KeyFamily, RevocationList, handshake_pss, usage};

pub(super) use refusal::Refusal;

/// Which authorities are trusted.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Where they are from, for messages.
    pub(super) name: String,
    pub(super) revocation: Option<Revocation>,
}

/// Revocation lists. Where there are some every certificate needs one.
#[derive(Debug)]
pub(super) struct Revocation {
    pub(super) lists: Vec<Vec<u8>>,
    /// Where they are from, for messages.
    pub(super) name: String,
}

/// What rustls asks about the server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None`: any certificate will do.
    pub(super) authorities: Option<Authorities>,
    pub(super) check_name: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Refuses what the authorities, and the lists, do not vouch for. `sent` begins with the server's
/// own certificate.
fn check_chain(
    authorities: &Authorities,
    sent: &[Certificate<'_>],
    now: i64,
) -> Result<(), Refusal> {
    let anchors: Vec<_> =
        authorities.certificates.iter().filter_map(|bytes| Certificate::read(bytes)).collect();
    if let Some(server) = sent.first() {
        checks::check_key(server, 0, "the server needs a stronger key")?;
    }
    let path = path::find(sent, &anchors, now, &authorities.name)?;
    checks::check_extensions(&path)?;
    checks::check_strength(&path)?;
    if let Some(revocation) = &authorities.revocation {
        let lists: Vec<_> =
            revocation.lists.iter().filter_map(|bytes| RevocationList::read(bytes)).collect();
        revocation::check(&path, &lists, now, &revocation.name)?;
    }
    checks::check_signatures_and_dates(&path, now)?;
    name_constraints::check(&path)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let chain = std::iter::once(end_entity).chain(intermediates);
        let sent = chain.map(read).collect::<Result<Vec<_>, _>>()?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        check_chain(authorities, &sent, now)?;
        if self.check_name
            && let Some(certificate) = sent.first()
            && !certificate.is_for(&server_name.to_str())
        {
            return Err(CertificateError::NotValidForNameContext {
                expected: server_name.to_owned(),
                presented: certificate.names(),
            }
            .into());
        }
        Ok(ServerCertVerified::assertion())
    }

    /// Done here and not by rustls, which would have webpki read the certificate, and that refuses
    /// version 1.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = read(cert)?;
        // OpenSSL looks at the keyUsage of an elliptic curve's key here, for any purpose.
        if certificate.key.family() == KeyFamily::Ec
            && certificate.extensions.forbids(usage::DIGITAL_SIGNATURE)
        {
            let what = "may not sign a TLS handshake: its keyUsage has no digitalSignature";
            return Err(Refusal::of(&certificate, 0, what, "the server needs a new one").into());
        }
        self.verify_signature(message, &certificate, dss, usize::MAX)
    }

    /// As in TLS 1.2; but here a scheme names its curve.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = read(cert)?;
        if let Some(algorithm) = handshake_pss(u16::from(dss.scheme)) {
            let made = certificate.key.family() == KeyFamily::RsaPss
                && certificate.key.verify(&algorithm, message, dss.signature()).is_ok();
            return valid(made, &certificate);
        }
        self.verify_signature(message, &certificate, dss, 1)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        // Of keys for RSASSA-PSS alone, for which rustls has no names.
        schemes.extend([0x0809_u16, 0x080a, 0x080b].map(SignatureScheme::from));
        schemes
    }
}

impl Verifier {
    /// Whether the server's key made this signature, by one of the first `count` algorithms of the
    /// scheme.
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &Certificate<'_>,
        dss: &DigitallySignedStruct,
        count: usize,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let key = &certificate.key;
        let made = algorithms
            .iter()
            .take(count)
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm)
            .any(|algorithm| {
                algorithm.verify_signature(key.bits, message, dss.signature()).is_ok()
            });
        valid(made, certificate)
    }
}

/// The verdict on the signature of a handshake, by whether the certificate's key made it. Where no
/// certificate is checked, a key that is too weak shows itself here only.
fn valid(made: bool, certificate: &Certificate<'_>) -> Result<HandshakeSignatureValid, Error> {
    if made {
        return Ok(HandshakeSignatureValid::assertion());
    }
    checks::check_key(certificate, 0, "the server needs a stronger key")?;
    Err(CertificateError::BadSignature.into())
}

fn read<'a>(bytes: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::read(bytes).ok_or_else(|| CertificateError::BadEncoding.into())
}
