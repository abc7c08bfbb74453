//! Algorithms of signatures, by their object identifiers: for which keys, with which hash (RFC
//! 3279, 4055, 5758, 8410).

use super::items::{Item, dotted, items};
use super::public_key::PublicKey;

/// The hash of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn bytes(self) -> u16 {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn of(oid: &[u8]) -> Option<Self> {
        Some(match dotted(oid).as_str() {
            "1.3.14.3.2.26" => Self::Sha1,
            "2.16.840.1.101.3.4.2.4" => Self::Sha224,
            "2.16.840.1.101.3.4.2.1" => Self::Sha256,
            "2.16.840.1.101.3.4.2.2" => Self::Sha384,
            "2.16.840.1.101.3.4.2.3" => Self::Sha512,
            _ => return None,
        })
    }
}

/// Which keys make the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFamily {
    Rsa,
    /// A key for RSASSA-PSS alone.
    RsaPss,
    Ec,
    Ed25519,
    Ed448,
    Dsa,
    Unknown,
}

/// The parameters of RSASSA-PSS (RFC 4055, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pss {
    pub(crate) hash: Hash,
    /// Bytes.
    pub(crate) salt: u16,
}

/// An algorithm of signatures.
#[derive(Debug, Clone)]
pub(crate) enum Algorithm<'a> {
    /// RSA with the padding of PKCS #1, version 1.5.
    Rsa(Hash),
    /// `None` if the parameters cannot be read or are not supported.
    Pss(Option<Pss>),
    Ecdsa(Hash),
    Ed25519,
    /// One that cannot be verified here, with the keys that it is for.
    Other(KeyFamily, &'a [u8]),
}

impl<'a> Algorithm<'a> {
    /// Reads the contents of an `AlgorithmIdentifier`.
    pub(crate) fn read(contents: &'a [u8]) -> Self {
        let parts = items(contents).unwrap_or_default();
        let oid = parts.first().and_then(Item::oid).unwrap_or_default();
        match dotted(oid).as_str() {
            "1.2.840.113549.1.1.4" => Self::Rsa(Hash::Md5),
            "1.2.840.113549.1.1.5" => Self::Rsa(Hash::Sha1),
            "1.2.840.113549.1.1.14" => Self::Rsa(Hash::Sha224),
            "1.2.840.113549.1.1.11" => Self::Rsa(Hash::Sha256),
            "1.2.840.113549.1.1.12" => Self::Rsa(Hash::Sha384),
            "1.2.840.113549.1.1.13" => Self::Rsa(Hash::Sha512),
            "1.2.840.113549.1.1.10" => Self::Pss(parts.get(1).and_then(Pss::read)),
            "1.2.840.10045.4.1" => Self::Ecdsa(Hash::Sha1),
            "1.2.840.10045.4.3.1" => Self::Ecdsa(Hash::Sha224),
            "1.2.840.10045.4.3.2" => Self::Ecdsa(Hash::Sha256),
            "1.2.840.10045.4.3.3" => Self::Ecdsa(Hash::Sha384),
            "1.2.840.10045.4.3.4" => Self::Ecdsa(Hash::Sha512),
            "1.3.101.112" => Self::Ed25519,
            "1.3.101.113" => Self::Other(KeyFamily::Ed448, oid),
            "1.2.840.10040.4.3" | "2.16.840.1.101.3.4.3.1" | "2.16.840.1.101.3.4.3.2" => {
                Self::Other(KeyFamily::Dsa, oid)
            }
            _ => Self::Other(KeyFamily::Unknown, oid),
        }
    }

    /// The hash that is signed; `None` if the algorithm has none of its own.
    pub(crate) fn hash(&self) -> Option<Hash> {
        match self {
            Self::Rsa(hash) | Self::Ecdsa(hash) => Some(*hash),
            Self::Pss(pss) => pss.map(|pss| pss.hash),
            // dsa-with-sha1 and dsa-with-sha256.
            Self::Other(KeyFamily::Dsa, oid) => match dotted(oid).as_str() {
                "1.2.840.10040.4.3" => Some(Hash::Sha1),
                "2.16.840.1.101.3.4.3.1" => Some(Hash::Sha224),
                _ => Some(Hash::Sha256),
            },
            Self::Ed25519 | Self::Other(..) => None,
        }
    }

    /// Whether it is as strong as OpenSSL's security level 2 demands, Debian's default: 112 bits,
    /// which MD5 and SHA-1 are not. What cannot be verified is refused elsewhere.
    pub(crate) fn is_strong(&self) -> bool {
        !matches!(self.hash(), Some(Hash::Md5 | Hash::Sha1))
    }

    /// Whether a key of this kind makes such signatures. A plain RSA key makes both kinds.
    pub(crate) fn fits(&self, key: &PublicKey<'_>) -> bool {
        let family = key.family();
        match self {
            Self::Rsa(_) => family == KeyFamily::Rsa,
            Self::Pss(_) => matches!(family, KeyFamily::Rsa | KeyFamily::RsaPss),
            Self::Ecdsa(_) => family == KeyFamily::Ec,
            Self::Ed25519 => family == KeyFamily::Ed25519,
            Self::Other(KeyFamily::Unknown, _) => false,
            Self::Other(wanted, _) => family == *wanted,
        }
    }
}

impl std::fmt::Display for Algorithm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hash = |hash: Hash| match hash {
            Hash::Md5 => "MD5",
            Hash::Sha1 => "SHA-1",
            Hash::Sha224 => "SHA-224",
            Hash::Sha256 => "SHA-256",
            Hash::Sha384 => "SHA-384",
            Hash::Sha512 => "SHA-512",
        };
        match self {
            Self::Rsa(with) => write!(f, "RSA with {}", hash(*with)),
            Self::Pss(Some(Pss { hash: with, salt })) => {
                write!(f, "RSA-PSS with {} and a salt of {salt} bytes", hash(*with))
            }
            Self::Pss(None) => f.write_str("RSA-PSS with parameters that are not supported"),
            Self::Ecdsa(with) => write!(f, "ECDSA with {}", hash(*with)),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(KeyFamily::Ed448, _) => f.write_str("Ed448"),
            Self::Other(KeyFamily::Dsa, _) => f.write_str("DSA"),
            Self::Other(_, oid) => f.write_str(&dotted(oid)),
        }
    }
}

impl Pss {
    /// Reads `RSASSA-PSS-params`. What is left out is SHA-1, and a salt of 20 bytes.
    pub(crate) fn read(item: &Item<'_>) -> Option<Self> {
        let mut pss = Self { hash: Hash::Sha1, salt: 20 };
        let mut mask = Hash::Sha1;
        for part in item.sequence()? {
            let [inner] = items(part.value)?.try_into().ok()?;
            match part.context()? {
                0 => pss.hash = Hash::of(inner.sequence()?.first()?.oid()?)?,
                1 => {
                    let [function, hash] = inner.sequence()?.try_into().ok()?;
                    // id-mgf1.
                    if dotted(function.oid()?) != "1.2.840.113549.1.1.8" {
                        return None;
                    }
                    mask = Hash::of(hash.sequence()?.first()?.oid()?)?;
                }
                2 => {
                    let bytes = inner.integer()?;
                    let salt = bytes.iter().fold(0_u32, |sum, byte| {
                        sum.saturating_mul(256).saturating_add(u32::from(*byte))
                    });
                    pss.salt = u16::try_from(salt).ok()?;
                }
                // trailerField has one legal value.
                3 => {}
                _ => return None,
            }
        }
        // The library has one hash for both.
        (mask == pss.hash).then_some(pss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenSSL writes it for `-sha512 -sigopt rsa_padding_mode:pss`, and with every parameter
    /// left out.
    #[test]
    fn pss_names_its_hash_in_its_parameters() {
        let written = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\
            \x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\
            \x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40";
        let Algorithm::Pss(Some(pss)) = Algorithm::read(written) else { panic!() };
        assert_eq!(pss, Pss { hash: Hash::Sha512, salt: 64 });
        let (oid, _) = written.split_at(11);
        let default = [oid, b"\x30\x00"].concat();
        assert_eq!(Algorithm::read(&default).hash(), Some(Hash::Sha1));
        assert_eq!(Algorithm::read(oid).hash(), None);
    }
}
