//! Public keys, and whether they have signed something: the mathematics is aws-lc's.

use aws_lc_rs::signature::{
    self as lc, RsaPssSaltLength, UnparsedPublicKey, VerificationAlgorithm,
};

use super::algorithm::{Algorithm, Hash, KeyFamily, Pss};
use super::items::{Item, dotted, items};

/// A `SubjectPublicKeyInfo`.
#[derive(Debug, Clone)]
pub(crate) struct PublicKey<'a> {
    /// With its header.
    pub(crate) info: &'a [u8],
    /// The contents of its `AlgorithmIdentifier`, as webpki compares them.
    pub(crate) algorithm: &'a [u8],
    pub(crate) bits: &'a [u8],
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// This key did not make it.
    Wrong,
    /// It may be right: its algorithm is not supported.
    Unsupported,
}

/// Elliptic curves that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
    K256,
}

impl<'a> PublicKey<'a> {
    pub(crate) fn read(item: &Item<'a>) -> Option<Self> {
        let [algorithm, bits] = item.sequence()?.try_into().ok()?;
        algorithm.sequence()?;
        Some(Self { info: item.whole, algorithm: algorithm.value, bits: bits.whole_bits()? })
    }

    fn parameters(&self) -> Option<(String, Option<Item<'a>>)> {
        let parts = items(self.algorithm)?;
        Some((dotted(parts.first()?.oid()?), parts.get(1).copied()))
    }

    pub(crate) fn family(&self) -> KeyFamily {
        match self.parameters().as_ref().map(|(oid, _)| oid.as_str()) {
            Some("1.2.840.113549.1.1.1") => KeyFamily::Rsa,
            Some("1.2.840.113549.1.1.10") => KeyFamily::RsaPss,
            Some("1.2.840.10045.2.1") => KeyFamily::Ec,
            Some("1.3.101.112") => KeyFamily::Ed25519,
            Some("1.3.101.113") => KeyFamily::Ed448,
            Some("1.2.840.10040.4.1") => KeyFamily::Dsa,
            _ => KeyFamily::Unknown,
        }
    }

    /// The object identifier of the curve; `None` for one that is spelled out, which OpenSSL
    /// refuses in chains since CVE-2020-0601.
    fn curve_name(&self) -> Option<String> {
        let (_, parameters) = self.parameters()?;
        parameters?.oid().map(dotted)
    }

    fn curve(&self) -> Option<Curve> {
        Some(match self.curve_name()?.as_str() {
            "1.2.840.10045.3.1.7" => Curve::P256,
            "1.3.132.0.34" => Curve::P384,
            "1.3.132.0.35" => Curve::P521,
            "1.3.132.0.10" => Curve::K256,
            _ => return None,
        })
    }

    /// Whether it is an elliptic curve that is spelled out and not named.
    pub(crate) fn has_explicit_curve(&self) -> bool {
        self.family() == KeyFamily::Ec && self.curve_name().is_none()
    }

    /// Refuses a key below OpenSSL's security level 2 (112 bits), Debian's default: why.
    pub(crate) fn check_strength(&self) -> Result<(), String> {
        match self.family() {
            KeyFamily::Rsa | KeyFamily::RsaPss => match self.modulus_bits() {
                Some(bits) if bits >= 2048 => Ok(()),
                Some(bits) => Err(format!("its RSA key has {bits} bits, and 2048 are the least")),
                None => Err("its RSA key cannot be read".into()),
            },
            KeyFamily::Ec => match self.curve_name().as_deref() {
                // secp192r1, secp160r1 and their like.
                Some("1.2.840.10045.3.1.1" | "1.3.132.0.8" | "1.3.132.0.9" | "1.3.132.0.31") => {
                    Err("its elliptic curve has less than 224 bits".into())
                }
                _ => Ok(()),
            },
            KeyFamily::Unknown => Err("its key is of a kind that is not known".into()),
            KeyFamily::Ed25519 | KeyFamily::Ed448 | KeyFamily::Dsa => Ok(()),
        }
    }

    fn modulus_bits(&self) -> Option<usize> {
        let [key] = items(self.bits)?.try_into().ok()?;
        let bytes = key.sequence()?.first()?.integer()?;
        let bytes = bytes.split_at(bytes.iter().take_while(|byte| **byte == 0).count()).1;
        let first = bytes.first()?;
        Some(bytes.len() * 8 - first.leading_zeros() as usize)
    }

    /// Whether this key has signed the message.
    pub(crate) fn verify(
        &self,
        algorithm: &Algorithm<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureFault> {
        if !algorithm.fits(self) {
            return Err(SignatureFault::Wrong);
        }
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rsa(hash) => match hash {
                Hash::Sha256 => &lc::RSA_PKCS1_2048_8192_SHA256,
                Hash::Sha384 => &lc::RSA_PKCS1_2048_8192_SHA384,
                Hash::Sha512 => &lc::RSA_PKCS1_2048_8192_SHA512,
                Hash::Md5 | Hash::Sha1 | Hash::Sha224 => return Err(SignatureFault::Unsupported),
            },
            Algorithm::Pss(Some(pss)) if self.allows(*pss) => {
                pss_verification(*pss, self.modulus_bits()).ok_or(SignatureFault::Unsupported)?
            }
            Algorithm::Pss(Some(_)) => return Err(SignatureFault::Wrong),
            Algorithm::Ecdsa(hash) => self
                .curve()
                .and_then(|curve| ecdsa(curve, *hash))
                .ok_or(SignatureFault::Unsupported)?,
            Algorithm::Ed25519 => &lc::ED25519,
            Algorithm::Pss(None) | Algorithm::Other(..) => return Err(SignatureFault::Unsupported),
        };
        UnparsedPublicKey::new(verification, self.bits)
            .verify(message, signature)
            .map_err(|_| SignatureFault::Wrong)
    }

    /// Whether the parameters of a key for PSS alone allow these of a signature (RFC 4055, section
    /// 3.3): the hash is the same, and the salt at least as long.
    fn allows(&self, pss: Pss) -> bool {
        if self.family() != KeyFamily::RsaPss {
            return true;
        }
        match self.parameters() {
            Some((_, Some(parameters))) if parameters.tag != der::Tag::Null => {
                Pss::read(&parameters)
                    .is_some_and(|least| least.hash == pss.hash && pss.salt >= least.salt)
            }
            _ => true,
        }
    }
}

/// ECDSA on this curve with this hash.
fn ecdsa(curve: Curve, hash: Hash) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &lc::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &lc::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Hash::Sha512) => &lc::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Hash::Sha256) => &lc::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &lc::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha512) => &lc::ECDSA_P384_SHA512_ASN1,
        (Curve::P521, Hash::Sha224) => &lc::ECDSA_P521_SHA224_ASN1,
        (Curve::P521, Hash::Sha256) => &lc::ECDSA_P521_SHA256_ASN1,
        (Curve::P521, Hash::Sha384) => &lc::ECDSA_P521_SHA384_ASN1,
        (Curve::P521, Hash::Sha512) => &lc::ECDSA_P521_SHA512_ASN1,
        (Curve::K256, Hash::Sha256) => &lc::ECDSA_P256K1_SHA256_ASN1,
        _ => return None,
    })
}

/// One of the library's algorithms with a salt of another length than the hash's. They must be
/// constants, so there is one for each length that is in use.
macro_rules! salted {
    ($hash:expr, $salt:expr; $($length:literal),*) => {
        match $salt {
            $($length => Some(const {
                &$hash.with_pss_salt_length(RsaPssSaltLength::Custom($length))
            }),)*
            _ => None,
        }
    };
}

/// RSASSA-PSS with a salt of one of these lengths: as long as a hash, the longest that fits the key
/// (OpenSSL's default when it signs), or none.
fn pss_verification(
    Pss { hash, salt }: Pss,
    modulus_bits: Option<usize>,
) -> Option<&'static dyn VerificationAlgorithm> {
    let longest = modulus_bits?.checked_add(6)? / 8;
    let longest = longest.checked_sub(usize::from(hash.bytes()) + 2)?;
    let is_longest = usize::from(salt) == longest;
    macro_rules! of {
        ($hash:expr) => {{
            if is_longest {
                return Some(const { &$hash.with_pss_salt_length(RsaPssSaltLength::Max) });
            }
            let found: Option<&'static lc::RsaParameters> =
                salted!($hash, salt; 0, 8, 16, 20, 24, 28, 32, 48, 64);
            found?
        }};
    }
    Some(match hash {
        Hash::Sha256 => of!(lc::RSA_PSS_2048_8192_SHA256),
        Hash::Sha384 => of!(lc::RSA_PSS_2048_8192_SHA384),
        Hash::Sha512 => of!(lc::RSA_PSS_2048_8192_SHA512),
        Hash::Md5 | Hash::Sha1 | Hash::Sha224 => return None,
    })
}

/// The hash of `rsa_pss_pss_sha256` and its like, which a server with a key for PSS alone signs the
/// handshake with (RFC 8446, section 4.2.3), by the number of the scheme; rustls has no name for
/// them.
pub(crate) fn handshake_pss(scheme: u16) -> Option<Algorithm<'static>> {
    let hash = match scheme {
        0x0809 => Hash::Sha256,
        0x080a => Hash::Sha384,
        0x080b => Hash::Sha512,
        _ => return None,
    };
    Some(Algorithm::Pss(Some(Pss { hash, salt: hash.bytes() })))
}
