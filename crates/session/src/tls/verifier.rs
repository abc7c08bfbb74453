//! Whether a server's certificate is to be trusted: as libpq decides it, with webpki's mathematics.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};

use super::certificate::Certificate;

/// Which authorities are trusted, in both of the forms that are needed.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) store: RootCertStore,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// What rustls asks about the server's certificate. That the server has the key to it is always
/// checked.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None`: any certificate will do.
    pub(super) authorities: Option<Authorities>,
    pub(super) check_name: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// The one verdict for which rustls has no word.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is self-signed")
    }
}

impl std::error::Error for SelfSigned {}

impl Verifier {
    fn check_chain(
        &self,
        authorities: &Authorities,
        bytes: &CertificateDer<'_>,
        certificate: &Certificate<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if certificate.is_self_issued() {
            // Trusted as it is, or not at all. webpki has no such case: its authorities sign, they
            // do not serve.
            return if authorities.certificates.contains(bytes) {
                check_dates(certificate, now)
            } else {
                Err(CertificateError::Other(OtherError(Arc::new(SelfSigned))).into())
            };
        }
        if certificate.is_version_3() {
            let certificate = ParsedCertificate::try_from(bytes)?;
            return verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &authorities.store,
                between,
                now,
                self.algorithms.all,
            );
        }
        // webpki refuses version 1. Without extensions there is little to check: its authority must
        // have signed it.
        let signed = authorities
            .certificates
            .iter()
            .filter_map(|authority| Certificate::read(authority))
            .any(|authority| self.is_signed_by(certificate, &authority));
        if !signed {
            return Err(CertificateError::UnknownIssuer.into());
        }
        check_dates(certificate, now)
    }

    fn is_signed_by(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
        let Some((message, signature_algorithm, signature)) = certificate.signed_by(issuer) else {
            return false;
        };
        let (key_algorithm, key) = issuer.key();
        self.algorithms.all.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == signature_algorithm
                && algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.verify_signature(key, message, signature).is_ok()
        })
    }
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
        let certificate = read(end_entity)?;
        self.check_chain(authorities, end_entity, &certificate, intermediates, now)?;
        if self.check_name && !certificate.is_for(&server_name.to_str()) {
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
        let (key_algorithm, key) = certificate.key();
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        algorithms
            .iter()
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key_algorithm)
            .any(|algorithm| algorithm.verify_signature(key, message, dss.signature()).is_ok())
            .then(HandshakeSignatureValid::assertion)
            .ok_or_else(|| CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(read(cert)?.key_info());
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn read<'a>(bytes: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::read(bytes).ok_or_else(|| CertificateError::BadEncoding.into())
}

fn check_dates(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let (not_before, not_after) = certificate.dates();
    if now.as_secs() < not_before {
        let not_before = at(not_before);
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now.as_secs() > not_after {
        let not_after = at(not_after);
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(())
}
