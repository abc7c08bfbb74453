//! Our own private key, read from PEM.

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::options::ClientCertificate;
use crate::{Error, ErrorKind, Result};

/// The key of a certificate of ours.
pub(super) fn private_key(client: &ClientCertificate) -> Result<PrivateKeyDer<'static>> {
    let name = &client.key_name;
    let refused = |what: &str| {
        Error::new(ErrorKind::Config, format!("private key file \"{name}\" {what}"))
    };
    let pem = String::from_utf8_lossy(client.key.as_bytes());
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(refused("is encrypted, which is not supported")
            .with_hint("openssl pkey -in FILE -out DECRYPTED removes the password"));
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        refused("has no private key in it")
            .with_hint("it must be in PEM, with a line such as -----BEGIN PRIVATE KEY-----")
    })
}
