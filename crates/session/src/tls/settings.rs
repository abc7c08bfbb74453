//! What all connections of one configuration share of TLS: the authorities, our certificate, the
//! versions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, SignatureScheme, SupportedProtocolVersion};

use super::keys::private_key;
use super::options::{ClientCertificate, RevocationLists, Root, TlsOptions};
use super::verify::{Authorities, Revocation, Verifier};
use super::x509::{Certificate, RevocationList};
use crate::config::{SslMode, SslNegotiation, TlsVersion};
use crate::{Error, ErrorKind, Result};

/// The name by which TLS knows PostgreSQL (ALPN), registered with IANA and checked by servers since
/// version 17.
pub(super) const ALPN: &[u8] = b"postgresql";

/// TLS as one configuration wants it. Clones share everything.
#[derive(Debug, Clone)]
pub struct TlsSettings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<ClientConfig>,
    sslmode: SslMode,
    direct: bool,
    has_certificate: bool,
    client_required: bool,
}

/// Our certificate, and whether the server has asked for it.
#[derive(Debug)]
struct Noting {
    certificate: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Noting {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certificate.resolve(authorities, schemes)
    }

    fn has_certs(&self) -> bool {
        self.certificate.has_certs()
    }
}

impl TlsSettings {
    /// Reads the certificates and checks that everything fits together. With [`Root::System`] it
    /// reads the operating system's files.
    pub fn build(options: &TlsOptions) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier {
            authorities: read_authorities(options)?,
            check_name: options.sslmode == SslMode::VerifyFull,
            algorithms: provider.signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(options)?)
            .map_err(|error| config("the TLS versions cannot be used").with_source(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &options.client {
            Some(client) => {
                let key = SingleCertAndKey::from(read_client(client, &provider)?);
                builder.with_client_cert_resolver(Arc::new(key))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = options.sni;
        // PostgreSQL does not resume sessions; and so every connection looks at the certificate
        // anew.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(Shared {
            config: Arc::new(config),
            sslmode: options.sslmode,
            direct: options.negotiation == SslNegotiation::Direct,
            has_certificate: options.client.is_some(),
            client_required: options.client_required,
        })))
    }

    /// Whether a session may ask the server for TLS.
    pub fn offers_tls(&self) -> bool {
        self.0.sslmode != SslMode::Disable
    }

    fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.config)
    }

    /// A configuration for one connection, which notes whether the server asked for our
    /// certificate, if it must.
    pub(super) fn noting(&self) -> (Arc<ClientConfig>, Option<Arc<AtomicBool>>) {
        if !self.0.client_required {
            return (self.config(), None);
        }
        let mut config = ClientConfig::clone(&self.0.config);
        let asked = Arc::<AtomicBool>::default();
        config.client_auth_cert_resolver = Arc::new(Noting {
            certificate: Arc::clone(&config.client_auth_cert_resolver),
            asked: Arc::clone(&asked),
        });
        (Arc::new(config), Some(asked))
    }

    pub(super) fn checks_name(&self) -> bool {
        self.0.sslmode == SslMode::VerifyFull
    }

    pub(super) fn is_direct(&self) -> bool {
        self.0.direct
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.0.has_certificate
    }
}

fn versions(options: &TlsOptions) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let least = options.min_version.unwrap_or(TlsVersion::V1_2);
    let most = options.max_version.unwrap_or(TlsVersion::V1_3);
    let versions: Vec<_> =
        [(TlsVersion::V1_3, &rustls::version::TLS13), (TlsVersion::V1_2, &rustls::version::TLS12)]
            .into_iter()
            .filter_map(|(version, supported)| {
                (least..=most).contains(&version).then_some(supported)
            })
            .collect();
    if versions.is_empty() {
        let what =
            "no TLS version is between ssl_min_protocol_version and ssl_max_protocol_version";
        return Err(config(what).with_hint("TLSv1.2 and TLSv1.3 can be used"));
    }
    Ok(versions)
}

fn read_authorities(options: &TlsOptions) -> Result<Option<Authorities>> {
    let (certificates, name) = match &options.root {
        Root::None => {
            return match options.sslmode {
                SslMode::VerifyCa | SslMode::VerifyFull => Err(config(format!(
                    "sslmode={} needs a root certificate",
                    options.sslmode.as_str()
                ))
                .with_hint("name a file by sslrootcert, or use sslrootcert=system")),
                _ => Ok(None),
            };
        }
        Root::System if options.sslmode == SslMode::Disable => return Ok(None),
        // Anybody can have a certificate of a public authority: only the name tells who it is.
        Root::System if options.sslmode != SslMode::VerifyFull => {
            return Err(config(format!(
                "sslmode={} is too weak for sslrootcert=system",
                options.sslmode.as_str()
            ))
            .with_hint("use sslmode=verify-full"));
        }
        Root::System => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                let error = config("the operating system has no root certificates");
                return Err(match found.errors.into_iter().next() {
                    Some(cause) => error.with_source(cause),
                    None => error.with_hint("on Debian they are in the package ca-certificates"),
                });
            }
            (found.certs, "the operating system".to_owned())
        }
        Root::Pem { pem, name } => {
            let certificates = read_certificates(pem, "root certificate", name)?;
            if let Some(at) = certificates.iter().position(|one| Certificate::read(one).is_none()) {
                return Err(config(format!(
                    "root certificate file \"{name}\" cannot be used: its certificate {} is none",
                    at + 1
                )));
            }
            (certificates, format!("\"{name}\""))
        }
    };
    let revocation = options.revocation.as_ref().map(read_revocation).transpose()?;
    Ok(Some(Authorities { certificates, name, revocation }))
}

fn read_revocation(lists: &RevocationLists) -> Result<Revocation> {
    let RevocationLists { pem, name } = lists;
    let found = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, PemError>>()
        .map_err(|_| config(format!("revocation lists of \"{name}\" are not in PEM")))?;
    let lists: Vec<_> = found.iter().map(|list| list.as_ref().to_vec()).collect();
    if let Some(at) = lists.iter().position(|list| RevocationList::read(list).is_none()) {
        let message = format!("revocation list {} of \"{name}\" cannot be read", at + 1);
        return Err(config(message).with_hint("its authority must make it again"));
    }
    Ok(Revocation { lists, name: format!("\"{name}\"") })
}

fn read_certificates(pem: &[u8], what: &str, name: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, PemError>>()
        .map_err(|_| config(format!("{what} file \"{name}\" is not in PEM")))?;
    if certificates.is_empty() {
        return Err(config(format!("{what} file \"{name}\" has no certificate in it"))
            .with_hint("it must be in PEM, with a line -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}

fn read_client(client: &ClientCertificate, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let name = &client.key_name;
    let chain = read_certificates(&client.certificate, "certificate", &client.certificate_name)?;
    let key = private_key(client)?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        config(format!("private key file \"{name}\" has a key of a kind that cannot be used"))
            .with_hint("RSA of 2,048 to 8,192 bits, ECDSA P-256, P-384 and P-521, and Ed25519 can")
    })?;
    // Not by rustls, which reads the certificate with webpki, and that refuses version 1.
    let certificate = chain.first().and_then(|bytes| Certificate::read(bytes));
    let matches = certificate.is_some_and(|certificate| {
        key.public_key().is_none_or(|ours| ours.as_ref() == certificate.key.info)
    });
    if !matches {
        return Err(config(format!(
            "certificate \"{}\" does not match private key file \"{name}\"",
            client.certificate_name
        )));
    }
    Ok(CertifiedKey::new(chain, key))
}

fn config(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, message)
}
