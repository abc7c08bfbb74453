//! Keys and signatures of every kind: by rcgen where it can, else by the program `openssl`.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

use super::der::pem;
use super::folder::Folder;
pub(super) use super::kinds::{Kind, Signing};

/// A key, with what a certificate says about it.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kind: Kind,
    /// PKCS #8.
    pub(super) pem: String,
    /// `SubjectPublicKeyInfo`.
    pub(super) info: Vec<u8>,
    /// The same PEM in a file.
    path: String,
}

static FILES: LazyLock<Folder> = LazyLock::new(|| Folder::new("keys"));

/// Whether there is an `openssl` to make what rcgen cannot.
pub(super) fn has_openssl() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| {
        Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
    });
    *HAS
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The key of a kind with this number; made once.
pub(super) fn key(kind: Kind, number: usize) -> Arc<Key> {
    type Keys = HashMap<(Kind, usize), Arc<Key>>;
    static KEYS: LazyLock<Mutex<Keys>> = LazyLock::new(Mutex::default);
    let mut keys = KEYS.lock().unwrap();
    Arc::clone(keys.entry((kind, number)).or_insert_with(|| Arc::new(Key::generate(kind, number))))
}

impl Key {
    fn generate(kind: Kind, number: usize) -> Self {
        let algorithm = match kind {
            Kind::P256 => Some(&rcgen::PKCS_ECDSA_P256_SHA256),
            Kind::P384 => Some(&rcgen::PKCS_ECDSA_P384_SHA384),
            Kind::P521 => Some(&rcgen::PKCS_ECDSA_P521_SHA512),
            Kind::Rsa => Some(&rcgen::PKCS_RSA_SHA256),
            Kind::Ed25519 => Some(&rcgen::PKCS_ED25519),
            _ => None,
        };
        if let Some(algorithm) = algorithm {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let info = pair.subject_public_key_info();
            let pem = pair.serialize_pem();
            let path = FILES.write(&format!("{kind:?}-{number}.pem"), pem.as_bytes());
            return Self { kind, pem, info, path };
        }
        let words = match kind {
            Kind::Rsa1024 => "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            Kind::Rsa3072 => "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
            Kind::RsaPss => "-algorithm RSA-PSS",
            Kind::K256 => "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
            Kind::P224 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
            Kind::Brainpool => "-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1",
            Kind::Ed448 => "-algorithm ED448",
            _ => return Self::dsa(number),
        };
        let words: Vec<_> = std::iter::once("genpkey").chain(words.split(' ')).collect();
        Self::of(kind, number, openssl(&words, b""))
    }

    fn dsa(number: usize) -> Self {
        let parameters = openssl(
            &["genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:2048"],
            b"",
        );
        let path = FILES.write(&format!("dsa{number}.pem"), &parameters);
        Self::of(Kind::Dsa, number, openssl(&["genpkey", "-paramfile", &path], b""))
    }

    fn of(kind: Kind, number: usize, pem: Vec<u8>) -> Self {
        let info = openssl(&["pkey", "-pubout", "-outform", "DER"], &pem);
        let path = FILES.write(&format!("{kind:?}-{number}.pem"), &pem);
        Self { kind, pem: String::from_utf8(pem).unwrap(), info, path }
    }

    /// Signs.
    pub(super) fn sign(&self, signing: Signing, message: &[u8]) -> Vec<u8> {
        let algorithm = match (self.kind, signing) {
            (Kind::P256, Signing::Ecdsa(256)) => Some(&rcgen::PKCS_ECDSA_P256_SHA256),
            (Kind::P384, Signing::Ecdsa(384)) => Some(&rcgen::PKCS_ECDSA_P384_SHA384),
            (Kind::P521, Signing::Ecdsa(512)) => Some(&rcgen::PKCS_ECDSA_P521_SHA512),
            (Kind::Rsa, Signing::Rsa(256)) => Some(&rcgen::PKCS_RSA_SHA256),
            (Kind::Rsa, Signing::Rsa(384)) => Some(&rcgen::PKCS_RSA_SHA384),
            (Kind::Rsa, Signing::Rsa(512)) => Some(&rcgen::PKCS_RSA_SHA512),
            (Kind::Ed25519, Signing::Ed25519) => Some(&rcgen::PKCS_ED25519),
            _ => None,
        };
        if let Some(algorithm) = algorithm {
            let pair = KeyPair::from_pem_and_sign_algo(&self.pem, algorithm).unwrap();
            return pair.sign(message).unwrap();
        }
        let path = &self.path;
        match signing {
            Signing::Ecdsa(hash) | Signing::Rsa(hash) | Signing::Dsa(hash) => {
                openssl(&["dgst", &format!("-sha{hash}"), "-sign", path], message)
            }
            Signing::Pss(hash, salt) => openssl(
                &[
                    "dgst",
                    &format!("-sha{hash}"),
                    "-sign",
                    path,
                    "-sigopt",
                    "rsa_padding_mode:pss",
                    "-sigopt",
                    &format!("rsa_pss_saltlen:{salt}"),
                ],
                message,
            ),
            Signing::Ed25519 | Signing::Ed448 => {
                let hash: u64 = message.iter().fold(0, |sum, byte| {
                    u64::wrapping_add(u64::wrapping_mul(sum, 31), u64::from(*byte))
                });
                let file = FILES.write(&format!("message{hash:x}"), message);
                openssl(&["pkeyutl", "-sign", "-inkey", path, "-rawin", "-in", &file], b"")
            }
        }
    }
}

/// Writes the certificates of a chain one after the other.
pub(super) fn certificates_pem(all: &[Vec<u8>]) -> String {
    all.iter().map(|der| pem("CERTIFICATE", der)).collect()
}
