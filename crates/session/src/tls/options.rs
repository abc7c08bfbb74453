//! Everything about TLS that a user can choose, as plain data. Words and meanings are libpq's
//! (manual, section 34.19).

use std::fmt;

use crate::config::{Password, SslMode, SslNegotiation, TlsVersion};

/// What TLS shall be like.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// What the server's certificate must prove.
    pub sslmode: SslMode,
    /// With [`SslNegotiation::Direct`] the server must have agreed to speak PostgreSQL (ALPN).
    pub negotiation: SslNegotiation,
    /// Which authorities are trusted.
    pub root: Root,
    /// Lists of the certificates that their authorities have revoked. Where there are some, each
    /// certificate of a chain needs one of its issuer; without a root they are of no use.
    pub revocation: Option<RevocationLists>,
    /// Our own certificate, shown to a server that asks for one.
    pub client: Option<ClientCertificate>,
    /// Whether a server that does not ask for our certificate is refused (`sslcertmode=require`).
    pub client_required: bool,
    /// Whether the host's name is sent in clear text with the first message (`sslsni`).
    pub sni: bool,
    /// The oldest version to use; `None` is the oldest that there is, TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// The newest version to use; `None` is the newest that there is, TLS 1.3.
    pub max_version: Option<TlsVersion>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            sslmode: SslMode::default(),
            negotiation: SslNegotiation::default(),
            root: Root::None,
            revocation: None,
            client: None,
            client_required: false,
            sni: true,
            min_version: None,
            max_version: None,
        }
    }
}

/// Which authorities are trusted. Where there are some the server's certificate is checked in every
/// `sslmode`, as in libpq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// None: `verify-ca` and `verify-full` cannot be had.
    None,
    /// Those of the operating system (`sslrootcert=system`).
    System,
    /// Those in a file.
    Pem {
        /// Its bytes.
        pem: Vec<u8>,
        /// Its name, for messages.
        name: String,
    },
}

/// Certificate revocation lists in PEM. None in it means that none of the certificates can be
/// checked, and so that all are refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevocationLists {
    /// The lists, one after the other.
    pub pem: Vec<u8>,
    /// Where they are from, for messages.
    pub name: String,
}

/// A certificate of ours and the key that belongs to it, both in PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: Vec<u8>,
    /// Where it is from, for messages.
    pub certificate_name: String,
    /// The private key.
    pub key: Password,
    /// What the key is encrypted with (`sslpassword`).
    pub key_password: Option<Password>,
    /// Where it is from, for messages.
    pub key_name: String,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("certificate_name", &self.certificate_name)
            .field("key_name", &self.key_name)
            .finish_non_exhaustive()
    }
}
