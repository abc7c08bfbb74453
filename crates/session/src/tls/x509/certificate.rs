//! A certificate, borrowed from its bytes (RFC 5280, section 4.1).

use super::algorithm::Algorithm;
use super::extensions::{AuthorityKey, Extension, Extensions};
use super::items::{Item, items};
use super::name::DistinguishedName;
use super::public_key::{PublicKey, SignatureFault};

/// Something that an authority has signed: a certificate or a revocation list.
#[derive(Debug, Clone)]
pub(crate) struct Signed<'a> {
    /// What is signed.
    contents: &'a [u8],
    /// How, as it stands outside, and as it stands in what is signed.
    algorithm: &'a [u8],
    inner_algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Splits the whole, and gives back the items of what is signed.
    pub(crate) fn read(
        bytes: &'a [u8],
        inner_algorithm: impl FnOnce(&[Item<'a>]) -> Option<Item<'a>>,
    ) -> Option<(Self, Vec<Item<'a>>)> {
        let [whole] = items(bytes)?.try_into().ok()?;
        let [contents, algorithm, signature] = whole.sequence()?.try_into().ok()?;
        let fields = contents.sequence()?;
        algorithm.sequence()?;
        let inner = inner_algorithm(&fields)?;
        inner.sequence()?;
        let signed = Self {
            contents: contents.whole,
            algorithm: algorithm.value,
            inner_algorithm: inner.value,
            signature: signature.whole_bits()?,
        };
        Some((signed, fields))
    }

    pub(crate) fn algorithm(&self) -> Algorithm<'a> {
        Algorithm::read(self.algorithm)
    }

    /// Whether this key has signed it.
    pub(crate) fn verify(&self, key: &PublicKey<'_>) -> Result<(), SignatureFault> {
        // Else an attacker could have the one judged and the other used (RFC 5280, 4.1.1.2).
        if self.algorithm != self.inner_algorithm {
            return Err(SignatureFault::Wrong);
        }
        key.verify(&self.algorithm(), self.contents, self.signature)
    }
}

/// A certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certificate<'a> {
    /// All of it: two certificates are one if these are equal.
    pub(crate) bytes: &'a [u8],
    pub(crate) signed: Signed<'a>,
    is_version_1: bool,
    pub(crate) serial: &'a [u8],
    pub(crate) issuer: DistinguishedName<'a>,
    pub(crate) subject: DistinguishedName<'a>,
    /// Seconds since 1970; `None` if it is no date.
    pub(crate) not_before: Option<i64>,
    pub(crate) not_after: Option<i64>,
    pub(crate) key: PublicKey<'a>,
    pub(crate) extensions: Extensions<'a>,
}

impl<'a> Certificate<'a> {
    /// `None` if it is not a certificate. An extension that cannot be read is only remembered.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let has_version = |fields: &[Item<'_>]| {
            usize::from(fields.first().is_some_and(|item| item.is_explicit(0)))
        };
        let (signed, fields) =
            Signed::read(bytes, |fields| fields.get(1 + has_version(fields)).copied())?;
        let mut fields = fields.into_iter().peekable();
        let version = match fields.next_if(|item| item.is_explicit(0)) {
            Some(item) => *items(item.value)?.first()?.integer()?.last()?,
            None => 0,
        };
        let serial = fields.next()?.integer()?;
        let _algorithm = fields.next()?;
        let issuer = sequence(fields.next())?;
        let [not_before, not_after] = fields.next()?.sequence()?.try_into().ok()?;
        let subject = sequence(fields.next())?;
        let key = PublicKey::read(&fields.next()?)?;
        let extensions = match fields.find(|item| item.is_explicit(3)) {
            Some(item) => {
                let [list] = items(item.value)?.try_into().ok()?;
                list.sequence()?;
                Extensions::read(&Extension::read_all(list.value)?)
            }
            None => Extensions::default(),
        };
        Some(Self {
            bytes,
            signed,
            is_version_1: version == 0,
            serial,
            issuer: DistinguishedName::read(issuer)?,
            subject: DistinguishedName::read(subject)?,
            not_before: not_before.time(),
            not_after: not_after.time(),
            key,
            extensions,
        })
    }

    /// Whether its subject is its issuer.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether it looks as if its own key had signed it: `EXFLAG_SS` of OpenSSL. The signature is
    /// not looked at: it adds nothing to a certificate that is trusted as it is.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.is_self_issued()
            && self.is_meant_by(&self.extensions.authority_key)
            && self.signed.algorithm().fits(&self.key)
    }

    /// Whether this may be the issuer of that certificate by all but the signature
    /// (`ossl_x509_likely_issued`).
    pub(crate) fn may_have_issued(&self, subject: &Certificate<'_>) -> bool {
        self.subject == subject.issuer
            && self.extensions.fault.is_none()
            && subject.extensions.fault.is_none()
            && self.is_meant_by(&subject.extensions.authority_key)
            && subject.signed.algorithm().fits(&self.key)
    }

    /// Whether an authorityKeyIdentifier is about this certificate, as far as it says anything.
    pub(crate) fn is_meant_by(&self, identifier: &AuthorityKey<'_>) -> bool {
        let is_key = match (identifier.key, self.extensions.subject_key) {
            (Some(wanted), Some(ours)) => wanted == ours,
            _ => true,
        };
        let issuer = identifier.issuer.iter().find_map(|name| name.directory());
        is_key
            && identifier.serial.is_none_or(|serial| serial == self.serial)
            && issuer.is_none_or(|issuer| *issuer == self.issuer)
    }

    /// Whether the key may sign certificates, as OpenSSL's `check_ca` sees it; else why not.
    /// `Ok(true)` for one that says so itself, `Ok(false)` for one that OpenSSL takes for one at
    /// the end of a chain.
    pub(crate) fn check_authority(&self) -> Result<bool, &'static str> {
        let extensions = &self.extensions;
        if extensions.forbids(super::usage::CERT_SIGN) {
            return Err("its keyUsage has no keyCertSign");
        }
        match extensions.basic {
            Some(basic) if basic.is_authority => Ok(true),
            Some(_) => Err("its basicConstraints say CA:FALSE"),
            None if self.is_version_1 && self.is_self_signed() => Ok(false),
            // It has keyCertSign, or it would have been refused above.
            None if extensions.key_usage.is_some() => Ok(false),
            None if extensions.netscape_type.is_some_and(|bits| bits & 7 != 0) => {
                let is_ssl = extensions
                    .netscape_type
                    .is_some_and(|bits| bits & super::netscape::SSL_CA != 0);
                if is_ssl { Ok(false) } else { Err("its nsCertType has no SSL CA") }
            }
            None => Err("it has no basicConstraints"),
        }
    }

    /// The hash for `tls-server-end-point` (RFC 5929, section 4.1): that of the signature, SHA-256
    /// in place of MD5 and SHA-1. `None` for a signature that names none.
    pub(crate) fn end_point(&self) -> Option<Vec<u8>> {
        use sha2::Digest as _;

        use super::algorithm::Hash;
        Some(match self.signed.algorithm().hash()? {
            Hash::Sha224 => sha2::Sha224::digest(self.bytes).to_vec(),
            Hash::Md5 | Hash::Sha1 | Hash::Sha256 => sha2::Sha256::digest(self.bytes).to_vec(),
            Hash::Sha384 => sha2::Sha384::digest(self.bytes).to_vec(),
            Hash::Sha512 => sha2::Sha512::digest(self.bytes).to_vec(),
        })
    }
}

/// The contents of a field that is a SEQUENCE.
fn sequence(item: Option<Item<'_>>) -> Option<&[u8]> {
    let item = item?;
    item.sequence().map(|_| item.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_certificate() {
        for bytes in [&b""[..], b"\x30", b"\x30\x00", b"\x30\x84\xff\xff\xff\xff", &[0x30; 400]] {
            assert!(Certificate::read(bytes).is_none());
        }
    }
}
