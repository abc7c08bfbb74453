//! The kinds of keys and of signatures that the table knows.

use super::der::{integer, oid, sequence, tlv};

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
    /// From here on by `openssl`.
    Rsa1024,
    Rsa3072,
    RsaPss,
    K256,
    P224,
    Brainpool,
    Dsa,
    Ed448,
}

/// How something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signing {
    Ecdsa(u16),
    Rsa(u16),
    /// RSA-PSS: the hash's bits and the salt's bytes.
    Pss(u16, u8),
    Dsa(u16),
    Ed25519,
    Ed448,
}

impl Kind {
    /// How such a key signs if nothing else is said.
    pub(super) fn default_signing(self) -> Signing {
        match self {
            Self::P256 | Self::K256 | Self::P224 | Self::Brainpool => Signing::Ecdsa(256),
            Self::P384 => Signing::Ecdsa(384),
            Self::P521 => Signing::Ecdsa(512),
            Self::Rsa | Self::Rsa1024 | Self::Rsa3072 => Signing::Rsa(256),
            Self::RsaPss => Signing::Pss(256, 32),
            Self::Dsa => Signing::Dsa(256),
            Self::Ed25519 => Signing::Ed25519,
            Self::Ed448 => Signing::Ed448,
        }
    }
}

impl Signing {
    /// The `AlgorithmIdentifier`.
    pub(super) fn identifier(self) -> Vec<u8> {
        let null = [5, 0];
        let of_hash = |bits| match bits {
            1 => oid("1.3.14.3.2.26"),
            224 => oid("2.16.840.1.101.3.4.2.4"),
            384 => oid("2.16.840.1.101.3.4.2.2"),
            512 => oid("2.16.840.1.101.3.4.2.3"),
            _ => oid("2.16.840.1.101.3.4.2.1"),
        };
        match self {
            Self::Ecdsa(hash) => sequence(&[&oid(match hash {
                1 => "1.2.840.10045.4.1",
                224 => "1.2.840.10045.4.3.1",
                384 => "1.2.840.10045.4.3.3",
                512 => "1.2.840.10045.4.3.4",
                _ => "1.2.840.10045.4.3.2",
            })]),
            Self::Rsa(hash) => {
                let algorithm = oid(match hash {
                    1 => "1.2.840.113549.1.1.5",
                    224 => "1.2.840.113549.1.1.14",
                    384 => "1.2.840.113549.1.1.12",
                    512 => "1.2.840.113549.1.1.13",
                    _ => "1.2.840.113549.1.1.11",
                });
                sequence(&[&algorithm, &null])
            }
            Self::Pss(hash, salt) => {
                let hash = sequence(&[&of_hash(hash), &null]);
                let mask = sequence(&[&oid("1.2.840.113549.1.1.8"), &hash]);
                let parameters = sequence(&[
                    &tlv(0xa0, &[&hash]),
                    &tlv(0xa1, &[&mask]),
                    &tlv(0xa2, &[&integer(salt)]),
                ]);
                sequence(&[&oid("1.2.840.113549.1.1.10"), &parameters])
            }
            Self::Dsa(_) => sequence(&[&oid("2.16.840.1.101.3.4.3.2")]),
            Self::Ed25519 => sequence(&[&oid("1.3.101.112")]),
            Self::Ed448 => sequence(&[&oid("1.3.101.113")]),
        }
    }
}
