//! Our own private key: read from PEM, and decrypted with `sslpassword` if it must be. PKCS #8 as
//! OpenSSL has written it since 1.0 (RFC 8018), and the traditional form before it (RFC 1421).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

use super::options::ClientCertificate;
use crate::{Error, ErrorKind, Result};

/// The key of a certificate of ours.
pub(super) fn private_key(client: &ClientCertificate) -> Result<PrivateKeyDer<'static>> {
    let name = &client.key_name;
    let text = String::from_utf8_lossy(client.key.as_bytes());
    let Some(encrypted) = Encrypted::find(&text) else {
        return PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
            refused(name, "has no private key in it")
                .with_hint("it must be in PEM, with a line such as -----BEGIN PRIVATE KEY-----")
        });
    };
    let Some(password) = &client.key_password else {
        return Err(refused(name, "is encrypted, and no password was given for it")
            .with_hint("give it by sslpassword; openssl pkey -in FILE -out DECRYPTED removes it"));
    };
    encrypted.decrypt(password.as_bytes()).map_err(|fault| match fault {
        Fault::Password => refused(name, "cannot be decrypted with sslpassword")
            .with_hint("the password is another one, or the file is damaged"),
        Fault::Broken => refused(name, "is encrypted and cannot be read"),
        Fault::Cipher(cipher) => {
            refused(name, &format!("is encrypted with {cipher}, which is not supported"))
                .with_hint("openssl pkey -in FILE -aes256 -out FILE2 encrypts it in another way")
        }
    })
}

fn refused(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("private key file \"{name}\" {what}"))
}

/// Why a key could not be decrypted.
enum Fault {
    Password,
    Broken,
    Cipher(String),
}

/// An encrypted key in PEM.
enum Encrypted<'a> {
    Pkcs8(&'a str),
    Traditional { label: &'a str, cipher: &'a str, vector: &'a str, body: &'a str },
}

impl<'a> Encrypted<'a> {
    /// The first encrypted key of the text, if no other comes before it.
    fn find(text: &'a str) -> Option<Self> {
        let (_, section) = text.split_once("-----BEGIN ")?;
        let (label, section) = section.split_once("-----")?;
        let (body, rest) = section.split_once("-----END ")?;
        if label == "ENCRYPTED PRIVATE KEY" {
            return Some(Self::Pkcs8(body));
        }
        if !label.ends_with("PRIVATE KEY") {
            // Such as EC PARAMETERS, which `openssl ecparam -genkey` writes in front.
            return Self::find(rest);
        }
        if !body.contains("Proc-Type: 4,ENCRYPTED") {
            return None;
        }
        let (_, info) = body.split_once("DEK-Info:")?;
        let (info, body) = info.split_once('\n')?;
        let (cipher, vector) = info.split_once(',')?;
        Some(Self::Traditional { label, cipher: cipher.trim(), vector: vector.trim(), body })
    }

    fn decrypt(&self, password: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
        match self {
            Self::Pkcs8(body) => {
                let bytes = decode(body)?;
                let key = EncryptedPrivateKeyInfoRef::try_from(bytes.as_slice())
                    .map_err(|_| Fault::Broken)?;
                let key = key.decrypt(password).map_err(|error| match error {
                    pkcs8::Error::EncryptedPrivateKey(
                        pkcs8::pkcs5::Error::UnsupportedAlgorithm { oid },
                    ) => Fault::Cipher(oid.to_string()),
                    _ => Fault::Password,
                })?;
                Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
            }
            Self::Traditional { label, cipher, vector, body } => {
                let bytes = traditional(cipher, vector, decode(body)?, password)?;
                match *label {
                    "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(bytes).into()),
                    "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(bytes).into()),
                    _ => Err(Fault::Cipher(format!("the form of a {label}"))),
                }
            }
        }
    }
}

fn decode(body: &str) -> Result<Vec<u8>, Fault> {
    let text: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(text).map_err(|_| Fault::Broken)
}

/// The traditional form: the key is made of the password by `EVP_BytesToKey` with MD5 and one
/// iteration.
fn traditional(
    cipher: &str,
    vector: &str,
    bytes: Vec<u8>,
    password: &[u8],
) -> Result<Vec<u8>, Fault> {
    let vector = hex(vector).ok_or(Fault::Broken)?;
    match cipher {
        "AES-128-CBC" => decrypt::<cbc::Decryptor<aes::Aes128>>(16, &vector, bytes, password),
        "AES-192-CBC" => decrypt::<cbc::Decryptor<aes::Aes192>>(24, &vector, bytes, password),
        "AES-256-CBC" => decrypt::<cbc::Decryptor<aes::Aes256>>(32, &vector, bytes, password),
        "DES-EDE3-CBC" => decrypt::<cbc::Decryptor<des::TdesEde3>>(24, &vector, bytes, password),
        other => Err(Fault::Cipher(other.into())),
    }
}

fn decrypt<D: KeyIvInit + BlockModeDecrypt>(
    key_bytes: usize,
    vector: &[u8],
    bytes: Vec<u8>,
    password: &[u8],
) -> Result<Vec<u8>, Fault> {
    let salt = vector.get(..8).ok_or(Fault::Broken)?;
    let mut key: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    while key.len() < key_bytes {
        let digest = Md5::new().chain_update(&last).chain_update(password).chain_update(salt);
        last = digest.finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(key_bytes);
    let decryptor = D::new_from_slices(&key, vector).map_err(|_| Fault::Broken)?;
    let mut bytes = bytes;
    let plain = decryptor.decrypt_padded::<Pkcs7>(&mut bytes).map_err(|_| Fault::Password)?;
    // One wrong password in 256 leaves a padding that looks right.
    if plain.first() != Some(&0x30) {
        return Err(Fault::Password);
    }
    Ok(plain.to_vec())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
