//! The fields of a certificate that rustls keeps to itself: names, dates, and how it is signed (RFC
//! 5280, section 4.1).
//!
//! It reads version 1 as well, which webpki refuses: the manual's own recipe (section 18.9.5) makes
//! such certificates with OpenSSL 3.0.

use core::net::IpAddr;

use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber};
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// One value of DER, with the header that it had.
#[derive(Clone, Copy)]
struct Item<'a> {
    tag: Tag,
    value: &'a [u8],
    whole: &'a [u8],
}

/// The values that lie side by side in these bytes.
fn items(mut bytes: &[u8]) -> der::Result<Vec<Item<'_>>> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let mut reader = SliceReader::new(bytes)?;
        let whole = reader.tlv_bytes()?;
        let (_, rest) = bytes.split_at(whole.len());
        bytes = rest;
        let any = AnyRef::from_der(whole)?;
        items.push(Item { tag: der::Tagged::tag(&any), value: any.value(), whole });
    }
    Ok(items)
}

/// A certificate, borrowed from its bytes.
pub(super) struct Certificate<'a> {
    /// What is signed.
    signed: &'a [u8],
    /// `AlgorithmIdentifier` without its header, as webpki compares it.
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    /// 1 or 3.
    version: u8,
    issuer: &'a [u8],
    subject: &'a [u8],
    /// Seconds since 1970.
    not_before: u64,
    not_after: u64,
    /// `SubjectPublicKeyInfo`, with its header; then its two parts.
    key_info: &'a [u8],
    key_algorithm: &'a [u8],
    key: &'a [u8],
    alternative_names: Vec<Name>,
    common_name: Option<String>,
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Dns(String),
    Ip(IpAddr),
}

/// `id-ce-subjectAltName` and `id-at-commonName`, as DER has them.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

impl<'a> Certificate<'a> {
    /// `None` if it is not a certificate.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let [whole] = items(bytes).ok()?.try_into().ok()?;
        let [signed, algorithm, signature] = items(whole.value).ok()?.try_into().ok()?;
        let mut fields = items(signed.value).ok()?.into_iter().peekable();
        let context = |number: u32| {
            let number = TagNumber(number);
            let constructed = true;
            Tag::ContextSpecific { constructed, number }
        };
        let version = match fields.next_if(|item| item.tag == context(0)) {
            Some(item) => items(item.value).ok()?.first()?.value.first()?.checked_add(1)?,
            None => 1,
        };
        let _serial = fields.next()?;
        let _algorithm = fields.next()?;
        let issuer = fields.next()?.value;
        let [not_before, not_after] = items(fields.next()?.value).ok()?.try_into().ok()?;
        let subject = fields.next()?.value;
        let key_info = fields.next()?;
        let [key_algorithm, key] = items(key_info.value).ok()?.try_into().ok()?;
        let extensions = fields.find(|item| item.tag == context(3));
        Some(Self {
            signed: signed.whole,
            signature_algorithm: algorithm.value,
            signature: bits(signature)?,
            version,
            issuer,
            subject,
            not_before: seconds(not_before)?,
            not_after: seconds(not_after)?,
            key_info: key_info.whole,
            key_algorithm: key_algorithm.value,
            key: bits(key)?,
            alternative_names: match extensions {
                Some(item) => alternative_names(item.value).ok()?,
                None => Vec::new(),
            },
            common_name: common_name(subject).ok()?,
        })
    }

    pub(super) fn is_version_3(&self) -> bool {
        self.version == 3
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub(super) fn dates(&self) -> (u64, u64) {
        (self.not_before, self.not_after)
    }

    pub(super) fn key_info(&self) -> &'a [u8] {
        self.key_info
    }

    pub(super) fn key(&self) -> (&'a [u8], &'a [u8]) {
        (self.key_algorithm, self.key)
    }

    /// What was signed, how, and the signature, if this issuer's name is the one in it.
    pub(super) fn signed_by(
        &self,
        issuer: &Certificate<'_>,
    ) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
        (self.issuer == issuer.subject).then_some((
            self.signed,
            self.signature_algorithm,
            self.signature,
        ))
    }

    /// What it is for, as a person reads it.
    pub(super) fn names(&self) -> Vec<String> {
        let names: Vec<_> = self
            .alternative_names
            .iter()
            .map(|name| match name {
                Name::Dns(name) => name.clone(),
                Name::Ip(address) => address.to_string(),
            })
            .collect();
        match &self.common_name {
            Some(name) if names.is_empty() => vec![name.clone()],
            _ => names,
        }
    }

    /// Whether it is for this host, as libpq sees it: the common name counts only if there is no
    /// alternative name of the host's own kind (manual, section 34.19.1).
    pub(super) fn is_for(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let mut same_kind = false;
        for name in &self.alternative_names {
            same_kind |= matches!(name, Name::Ip(_)) == address.is_some();
            let matches = match name {
                Name::Dns(name) => name_matches(name, host, address.is_some()),
                Name::Ip(ip) => Some(*ip) == address,
            };
            if matches {
                return true;
            }
        }
        !same_kind
            && self
                .common_name
                .as_ref()
                .is_some_and(|name| name_matches(name, host, address.is_some()))
    }

    /// The hash for `tls-server-end-point` (RFC 5929, section 4.1): that of the signature, SHA-256
    /// in place of MD5 and SHA-1. `None` for a signature that names none.
    pub(super) fn end_point(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(match signature_hash(self.signature_algorithm)? {
            SignatureHash::Sha224 => Sha224::digest(bytes).to_vec(),
            SignatureHash::Sha256 => Sha256::digest(bytes).to_vec(),
            SignatureHash::Sha384 => Sha384::digest(bytes).to_vec(),
            SignatureHash::Sha512 => Sha512::digest(bytes).to_vec(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignatureHash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The hash that an `AlgorithmIdentifier` names, given without its header.
fn signature_hash(algorithm: &[u8]) -> Option<SignatureHash> {
    use SignatureHash::{Sha224, Sha256, Sha384, Sha512};
    let parts = items(algorithm).ok()?;
    let algorithm = oid(parts.first()?)?;
    Some(match algorithm.as_str() {
        // md5, sha1 and sha256WithRSAEncryption; ecdsa-with-SHA1, -SHA256; dsa-with-sha1, -sha256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2"
        | "1.2.840.10040.4.3"
        | "2.16.840.1.101.3.4.3.2" => Sha256,
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" | "2.16.840.1.101.3.4.3.1" => Sha224,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512,
        // RSASSA-PSS says in its parameters which; nothing said is SHA-1 (RFC 4055, section 3.1).
        "1.2.840.113549.1.1.10" => {
            let parameters = items(parts.get(1)?.value).ok()?;
            let zero = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
            let Some(hash) = parameters.iter().find(|item| item.tag == zero) else {
                return Some(Sha256);
            };
            let [hash] = items(hash.value).ok()?.try_into().ok()?;
            match oid(items(hash.value).ok()?.first()?)?.as_str() {
                "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Sha256,
                "2.16.840.1.101.3.4.2.4" => Sha224,
                "2.16.840.1.101.3.4.2.2" => Sha384,
                "2.16.840.1.101.3.4.2.3" => Sha512,
                _ => return None,
            }
        }
        _ => return None,
    })
}

fn oid(item: &Item<'_>) -> Option<String> {
    let oid: ObjectIdentifier = ObjectIdentifier::from_der(item.whole).ok()?;
    Some(oid.to_string())
}

/// A BIT STRING of whole bytes.
fn bits(item: Item<'_>) -> Option<&[u8]> {
    match item.value.split_first() {
        Some((0, bits)) if item.tag == Tag::BitString => Some(bits),
        _ => None,
    }
}

fn seconds(item: Item<'_>) -> Option<u64> {
    let since_1970 = match item.tag {
        Tag::UtcTime => UtcTime::from_der(item.whole).ok()?.to_unix_duration(),
        Tag::GeneralizedTime => GeneralizedTime::from_der(item.whole).ok()?.to_unix_duration(),
        _ => return None,
    };
    Some(since_1970.as_secs())
}

/// The first common name of a subject: a sequence of sets of pairs.
fn common_name(subject: &[u8]) -> der::Result<Option<String>> {
    for set in items(subject)? {
        for pair in items(set.value)? {
            if let [kind, name] = items(pair.value)?.as_slice()
                && kind.value == COMMON_NAME
            {
                return Ok(Some(String::from_utf8_lossy(name.value).into_owned()));
            }
        }
    }
    Ok(None)
}

fn alternative_names(extensions: &[u8]) -> der::Result<Vec<Name>> {
    let mut names = Vec::new();
    for list in items(extensions)? {
        for extension in items(list.value)? {
            let parts = items(extension.value)?;
            // Identifier, whether it is critical (may be left out), contents.
            let (Some(kind), Some(contents)) = (parts.first(), parts.last()) else {
                continue;
            };
            if kind.value != SUBJECT_ALT_NAME {
                continue;
            }
            for list in items(contents.value)? {
                names.extend(items(list.value)?.iter().filter_map(alternative_name));
            }
        }
    }
    Ok(names)
}

/// `dNSName [2]` and `iPAddress [7]`; the other kinds name no server.
fn alternative_name(item: &Item<'_>) -> Option<Name> {
    let Tag::ContextSpecific { number, .. } = item.tag else {
        return None;
    };
    match number.value() {
        2 => Some(Name::Dns(String::from_utf8_lossy(item.value).into_owned())),
        7 => match item.value.len() {
            4 => <[u8; 4]>::try_from(item.value).ok().map(|ip| Name::Ip(ip.into())),
            16 => <[u8; 16]>::try_from(item.value).ok().map(|ip| Name::Ip(ip.into())),
            _ => None,
        },
        _ => None,
    }
}

/// Equal but for case; or `*.` and one label in front of what is equal (RFC 6125, section 6.4.3).
/// No wildcard is an address.
fn name_matches(pattern: &str, host: &str, is_address: bool) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(suffix), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !is_address && !label.is_empty() && !suffix.is_empty() && suffix.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_label() {
        for (pattern, host, matches) in [
            ("db.example.com", "DB.example.com", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*", "localhost", false),
            ("*.", "localhost.", false),
            ("d*.example.com", "db.example.com", false),
            ("db.example.com", "db.example.com.evil", false),
            ("", "", true),
        ] {
            assert_eq!(name_matches(pattern, host, false), matches, "{pattern} {host}");
        }
        assert!(!name_matches("*.0.0.1", "127.0.0.1", true));
        assert!(name_matches("127.0.0.1", "127.0.0.1", true));
    }

    /// As OpenSSL writes it for `-sha512 -sigopt rsa_padding_mode:pss`, and with every parameter
    /// left out.
    #[test]
    fn pss_names_its_hash_in_its_parameters() {
        let written = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\
            \x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\
            \x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40";
        assert_eq!(signature_hash(written), Some(SignatureHash::Sha512));
        let (oid, _) = written.split_at(11);
        let default = [oid, b"\x30\x00"].concat();
        assert_eq!(signature_hash(&default), Some(SignatureHash::Sha256));
        assert_eq!(signature_hash(oid), None);
    }

    #[test]
    fn garbage_is_no_certificate() {
        for bytes in [&b""[..], b"\x30", b"\x30\x00", b"\x30\x84\xff\xff\xff\xff", &[0x30; 400]] {
            assert!(Certificate::read(bytes).is_none());
        }
    }
}
