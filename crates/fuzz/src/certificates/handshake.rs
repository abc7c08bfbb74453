//! A chain as a server shows it, and our verdict: by a handshake in memory, as a session makes it.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};
use txpostgres_session::config::SslMode;
use txpostgres_session::tls::{RevocationLists, Root, Tls, TlsOptions, TlsSettings};

use super::der::pem;
use super::keys::Key;

/// What a server sends, and what we know of it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) lists: Option<Vec<Vec<u8>>>,
    pub(super) host: &'static str,
    pub(super) only_tls12: bool,
    pub(super) key: Arc<Key>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// By the handshake.
    Refused(String),
    /// The files are refused before.
    NotRead(String),
}

fn all_pem(label: &str, all: &[Vec<u8>]) -> Vec<u8> {
    all.iter().map(|der| pem(label, der)).collect::<String>().into_bytes()
}

impl Shown {
    /// All bytes of it.
    pub(super) fn size(&self) -> usize {
        let lists = self.lists.iter().flatten();
        self.sent.iter().chain(&self.roots).chain(lists).map(Vec::len).sum()
    }

    /// Whether the server's certificate has the host's name in it, or the end of it, which a
    /// wildcard would have.
    pub(super) fn names_host(&self) -> bool {
        let Some(certificate) = self.sent.first() else { return false };
        if let Ok(address) = self.host.parse::<std::net::IpAddr>() {
            let octets = match address {
                std::net::IpAddr::V4(address) => address.octets().to_vec(),
                std::net::IpAddr::V6(address) => address.octets().to_vec(),
            };
            return certificate.windows(octets.len()).any(|part| *part == *octets)
                || contains(certificate, self.host);
        }
        let domain = self.host.split_once('.').map_or(self.host, |(_, domain)| domain);
        contains(certificate, domain)
    }

    pub(super) fn judge(&self) -> Verdict {
        let name = "root.crt".to_owned();
        let options = TlsOptions {
            sslmode: SslMode::VerifyFull,
            root: Root::Pem { pem: all_pem("CERTIFICATE", &self.roots), name },
            revocation: self.lists.as_ref().map(|lists| RevocationLists {
                pem: all_pem("X509 CRL", lists),
                name: "root.crl".to_owned(),
            }),
            ..TlsOptions::default()
        };
        let client =
            TlsSettings::build(&options).and_then(|settings| Tls::new(&settings, self.host));
        match client {
            Err(error) => Verdict::NotRead(format!("{error:#}")),
            Ok(client) => match self.shake_hands(client) {
                Ok(()) => Verdict::Accepted,
                Err(said) => Verdict::Refused(said),
            },
        }
    }

    fn server(&self) -> ServerConnection {
        let chain = self.sent.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivatePkcs8KeyDer::from(self.key.private()).into();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let versions: &[_] =
            if self.only_tls12 { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certified));
        ServerConnection::new(Arc::new(config)).unwrap()
    }

    /// Exchanges bytes until neither side has more to send.
    fn shake_hands(&self, mut client: Tls) -> Result<(), String> {
        let mut server = self.server();
        loop {
            let mut bytes = Vec::new();
            client.output(&mut bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() && server.read_tls(&mut rest).unwrap() > 0 {
                // What the server finds wrong it tells the client by an alert.
                let _ = server.process_new_packets();
            }
            let mut answer = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answer).unwrap();
            }
            client.receive(&answer, &mut Vec::new()).map_err(|error| format!("{error:#}"))?;
            if bytes.is_empty() && answer.is_empty() {
                break;
            }
        }
        assert!(!client.is_handshaking(), "the handshake stands still");
        Ok(())
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
}
