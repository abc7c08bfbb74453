//! Handshakes with a rustls server in memory.

mod keys;
mod stream;
mod trust;

use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::config::SslMode;
use crate::{Error, ErrorKind, Result};

type Versions = &'static [&'static rustls::SupportedProtocolVersion];
static ONLY_12: Versions = &[&rustls::version::TLS12];
static ONLY_13: Versions = &[&rustls::version::TLS13];

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
    params: CertificateParams,
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn self_signed(params: CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key, params }
}

fn authority(name: &str) -> Identity {
    let mut params = params(&[], name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    self_signed(params)
}

impl Identity {
    fn sign(&self, params: CertificateParams) -> Identity {
        self.sign_by(params, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    fn sign_by(
        &self,
        params: CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Identity {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key, params }
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    fn root(&self) -> Root {
        Root::Pem { pem: self.pem.clone().into_bytes(), name: "root.crt".into() }
    }

    fn client(&self) -> ClientCertificate {
        ClientCertificate {
            certificate: self.pem.clone().into_bytes(),
            certificate_name: "my.crt".into(),
            key: crate::config::Password::from(self.key.serialize_pem()),
            key_name: "my.key".into(),
            key_password: None,
        }
    }
}

/// Which server to talk to.
struct Site<'a> {
    identity: &'a Identity,
    versions: Versions,
    alpn: bool,
    demands: Option<&'a Identity>,
}

impl<'a> Site<'a> {
    fn new(identity: &'a Identity) -> Self {
        Self { identity, versions: rustls::ALL_VERSIONS, alpn: true, demands: None }
    }

    fn accept(&self) -> ServerConnection {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.demands {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let resolver = rustls::sign::CertifiedKey::new(
            vec![self.identity.certificate.clone()],
            rustls::crypto::aws_lc_rs::sign::any_supported_type(&self.identity.private_key())
                .unwrap(),
        );
        let mut config =
            builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(resolver)));
        if self.alpn {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        ServerConnection::new(Arc::new(config)).unwrap()
    }
}

fn options(sslmode: SslMode, root: Root) -> TlsOptions {
    TlsOptions { sslmode, root, ..TlsOptions::default() }
}

/// Both ends, joined: bytes go over `step` at a time.
struct Pair {
    client: Tls,
    server: ServerConnection,
    step: usize,
    received: Vec<u8>,
}

impl Pair {
    fn new(options: &TlsOptions, site: &Site<'_>, host: &str) -> Result<Self> {
        Ok(Self {
            client: Tls::new(&TlsSettings::build(options)?, host)?,
            server: site.accept(),
            step: usize::MAX,
            received: Vec::new(),
        })
    }

    fn deliver(&mut self) -> usize {
        let mut bytes = Vec::new();
        self.client.output(&mut bytes);
        let count = bytes.len();
        let mut rest = &bytes[..];
        while !rest.is_empty() && self.server.read_tls(&mut rest).unwrap() > 0 {
            // What the server finds wrong it tells the client by an alert.
            let _ = self.server.process_new_packets();
        }
        count
    }

    fn collect(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Exchanges bytes until neither side has more to send.
    fn run(&mut self) -> Result<()> {
        loop {
            let sent = self.deliver();
            let bytes = self.collect();
            for piece in bytes.chunks(self.step.min(bytes.len().max(1))) {
                let result = self.client.receive(piece, &mut self.received);
                if result.is_err() {
                    self.deliver();
                }
                result?;
            }
            if sent == 0 && bytes.is_empty() {
                return Ok(());
            }
        }
    }
}

fn connect(options: &TlsOptions, site: &Site<'_>, host: &str) -> Result<Pair> {
    let mut pair = Pair::new(options, site, host)?;
    pair.run()?;
    assert!(!pair.client.is_handshaking());
    Ok(pair)
}

#[track_caller]
fn fails<T>(result: Result<T>, kind: ErrorKind, text: &str, hint: &str) -> Error {
    let Err(error) = result else {
        panic!("no error: {text}");
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    let found = error.hint().unwrap_or_default();
    assert!(found.contains(hint), "{found}");
    error
}

static SITE: LazyLock<Identity> =
    LazyLock::new(|| authority("ours").sign(params(&["localhost", "127.0.0.1"], "x")));
static CERTIFICATE: LazyLock<Vec<u8>> = LazyLock::new(|| SITE.certificate.to_vec());
