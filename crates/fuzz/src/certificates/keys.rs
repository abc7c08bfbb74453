//! Keys that are the same each time: those of the table's P-256 are Ed25519 here, whose signatures
//! have no chance in them. Of other kinds there are public keys alone, which sign nothing.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::der::{bits, integer, oid, sequence, tlv};
pub(super) use super::kinds::{Kind, Signing};

/// A key, with what a certificate says about it.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kind: Kind,
    /// `SubjectPublicKeyInfo`.
    pub(super) info: Vec<u8>,
    seed: [u8; 32],
}

/// The key of a kind with this number.
pub(super) fn key(kind: Kind, number: usize) -> Arc<Key> {
    let seed = [u8::try_from(number + 1).unwrap(); 32];
    let (kind, info) = match kind {
        Kind::P256 | Kind::Ed25519 => (Kind::Ed25519, ed25519(&seed)),
        other => (other, public(other, seed[0])),
    };
    Arc::new(Key { kind, info, seed })
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).unwrap()
}

fn ed25519(seed: &[u8; 32]) -> Vec<u8> {
    let public = pair(seed).public_key().as_ref().to_vec();
    sequence(&[&Signing::Ed25519.identifier(), &bits(&public)])
}

/// A public key that has the form of its kind.
fn public(kind: Kind, number: u8) -> Vec<u8> {
    let curve = |name: &str, bytes: usize| {
        let algorithm = sequence(&[&oid("1.2.840.10045.2.1"), &oid(name)]);
        let point = [&[4][..], &vec![number; 2 * bytes]].concat();
        sequence(&[&algorithm, &bits(&point)])
    };
    let rsa = |bytes: usize, algorithm: &str| {
        let mut modulus = vec![0x91; bytes];
        modulus[bytes - 1] = number | 1;
        let key = sequence(&[&tlv(2, &[&[0], &modulus]), &tlv(2, &[&[1, 0, 1]])]);
        sequence(&[&sequence(&[&oid(algorithm), &[5, 0]]), &bits(&key)])
    };
    match kind {
        Kind::P384 => curve("1.3.132.0.34", 48),
        Kind::P521 => curve("1.3.132.0.35", 66),
        Kind::K256 => curve("1.3.132.0.10", 32),
        Kind::P224 => curve("1.3.132.0.33", 28),
        Kind::Brainpool => curve("1.3.36.3.3.2.8.1.1.7", 32),
        Kind::Rsa => rsa(256, "1.2.840.113549.1.1.1"),
        Kind::Rsa1024 => rsa(128, "1.2.840.113549.1.1.1"),
        Kind::Rsa3072 => rsa(384, "1.2.840.113549.1.1.1"),
        Kind::RsaPss => rsa(256, "1.2.840.113549.1.1.10"),
        Kind::Dsa => sequence(&[&sequence(&[&oid("1.2.840.10040.4.1")]), &bits(&integer(number))]),
        Kind::Ed448 => sequence(&[&Signing::Ed448.identifier(), &bits(&[number; 57])]),
        Kind::P256 | Kind::Ed25519 => ed25519(&[number; 32]),
    }
}

impl Key {
    /// Signs, if it can; else what is no signature.
    pub(super) fn sign(&self, signing: Signing, message: &[u8]) -> Vec<u8> {
        if signing == Signing::Ed25519 && self.kind == Kind::Ed25519 {
            return pair(&self.seed).sign(message).as_ref().to_vec();
        }
        vec![self.seed[0]; 64]
    }

    /// PKCS #8 (RFC 8410): whatever the kind, it is the private key of a pair that can sign.
    pub(super) fn private(&self) -> Vec<u8> {
        let secret = tlv(4, &[&tlv(4, &[&self.seed])]);
        sequence(&[&integer(0), &Signing::Ed25519.identifier(), &secret])
    }
}
