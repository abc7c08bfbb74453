//! The extensions of a certificate that decide whether it is trusted (RFC 5280, section 4.2).

use super::distribution::DistributionPoint;
use super::general_name::GeneralName;
use super::items::{Item, dotted, flags, items};

/// Bits of keyUsage, as [`flags`] numbers them.
pub(crate) mod usage {
    pub(crate) const DIGITAL_SIGNATURE: u16 = 0x80;
    pub(crate) const KEY_ENCIPHERMENT: u16 = 0x20;
    pub(crate) const KEY_AGREEMENT: u16 = 0x08;
    pub(crate) const CERT_SIGN: u16 = 0x04;
    pub(crate) const CRL_SIGN: u16 = 0x02;
}

/// Bits of Netscape's certificate type, which OpenSSL minds.
pub(crate) mod netscape {
    pub(crate) const SSL_SERVER: u16 = 0x40;
    pub(crate) const SSL_CA: u16 = 0x04;
}

/// What the extensions of one certificate say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extensions<'a> {
    /// The extension that could not be read, or stands there twice.
    pub(crate) fault: Option<String>,
    /// A critical extension that OpenSSL does not know either.
    pub(crate) unknown_critical: Option<String>,
    pub(crate) basic: Option<BasicConstraints>,
    pub(crate) key_usage: Option<u16>,
    /// extendedKeyUsage: whether a TLS server is among the uses.
    pub(crate) serves: Option<bool>,
    pub(crate) netscape_type: Option<u16>,
    pub(crate) subject_key: Option<&'a [u8]>,
    pub(crate) authority_key: AuthorityKey<'a>,
    pub(crate) alternative_names: Vec<GeneralName<'a>>,
    pub(crate) constraints: Option<NameConstraints<'a>>,
    pub(crate) distribution_points: Vec<DistributionPoint<'a>>,
    /// Whether it stands for another certificate (RFC 3820).
    pub(crate) is_proxy: bool,
    /// Whether it is about addresses and autonomous systems (RFC 3779).
    pub(crate) has_resources: bool,
}

/// basicConstraints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BasicConstraints {
    pub(crate) is_authority: bool,
    /// How many authorities may stand between it and the last certificate.
    pub(crate) path_length: Option<u64>,
}

/// authorityKeyIdentifier: which certificate of the issuer's name is meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthorityKey<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) issuer: Vec<GeneralName<'a>>,
    pub(crate) serial: Option<&'a [u8]>,
}

/// nameConstraints.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameConstraints<'a> {
    pub(crate) permitted: Vec<Subtree<'a>>,
    pub(crate) excluded: Vec<Subtree<'a>>,
}

/// A name that stands for all names below it.
#[derive(Debug, Clone)]
pub(crate) struct Subtree<'a> {
    pub(crate) base: GeneralName<'a>,
    /// Whether it has a minimum of 0 and no maximum, which is all that RFC 5280 allows.
    pub(crate) is_whole: bool,
}

/// One extension as it stands there.
pub(crate) struct Extension<'a> {
    pub(crate) kind: &'a [u8],
    pub(crate) is_critical: bool,
    pub(crate) contents: &'a [u8],
}

impl<'a> Extension<'a> {
    /// The extensions in the contents of an `Extensions`.
    pub(crate) fn read_all(contents: &'a [u8]) -> Option<Vec<Self>> {
        items(contents)?
            .iter()
            .map(|item| {
                let parts = item.sequence()?;
                let (kind, is_critical, contents) = match parts.as_slice() {
                    [kind, contents] => (kind, false, contents),
                    [kind, critical, contents] => (kind, critical.boolean()?, contents),
                    _ => return None,
                };
                Some(Self { kind: kind.oid()?, is_critical, contents: contents.octets()? })
            })
            .collect()
    }

    /// Its name for messages.
    pub(crate) fn name(&self) -> String {
        let known = KNOWN.iter().find(|(kind, ..)| *kind == self.kind);
        known.map_or_else(
            || format!("extension {}", dotted(self.kind)),
            |(_, name, _)| (*name).into(),
        )
    }
}

/// `id-ce` of ITU-T X.509, and below it the number of each extension.
macro_rules! id_ce {
    ($number:literal) => {
        &[0x55, 0x1d, $number]
    };
}

const SUBJECT_KEY: &[u8] = id_ce!(14);
const KEY_USAGE: &[u8] = id_ce!(15);
const ALTERNATIVE_NAMES: &[u8] = id_ce!(17);
const BASIC_CONSTRAINTS: &[u8] = id_ce!(19);
const NAME_CONSTRAINTS: &[u8] = id_ce!(30);
const DISTRIBUTION_POINTS: &[u8] = id_ce!(31);
pub(crate) const AUTHORITY_KEY: &[u8] = id_ce!(35);
const EXTENDED_KEY_USAGE: &[u8] = id_ce!(37);
const NETSCAPE_TYPE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01];
const PROXY: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x0e];
const ADDRESS_BLOCKS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x07];
const AUTONOMOUS_SYSTEMS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x08];

/// Object identifier, name, and whether it may be critical: OpenSSL's table of supported
/// extensions (`X509_supported_extension`). Policies are among them and are not evaluated, as in
/// OpenSSL without `X509_V_FLAG_POLICY_CHECK`.
const KNOWN: &[(&[u8], &str, bool)] = &[
    (SUBJECT_KEY, "subjectKeyIdentifier", false),
    (KEY_USAGE, "keyUsage", true),
    (ALTERNATIVE_NAMES, "subjectAltName", true),
    (BASIC_CONSTRAINTS, "basicConstraints", true),
    (NAME_CONSTRAINTS, "nameConstraints", true),
    (DISTRIBUTION_POINTS, "cRLDistributionPoints", true),
    (id_ce!(32), "certificatePolicies", true),
    (id_ce!(33), "policyMappings", true),
    (AUTHORITY_KEY, "authorityKeyIdentifier", false),
    (id_ce!(36), "policyConstraints", true),
    (EXTENDED_KEY_USAGE, "extendedKeyUsage", true),
    (id_ce!(54), "inhibitAnyPolicy", true),
    (NETSCAPE_TYPE, "nsCertType", true),
    (PROXY, "proxyCertInfo", true),
    (ADDRESS_BLOCKS, "ipAddrBlocks", true),
    (AUTONOMOUS_SYSTEMS, "autonomousSysIds", true),
    // id-pkix-ocsp-nocheck.
    (&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x05], "OCSP no check", true),
];

/// Uses that allow a TLS server: `id-kp-serverAuth`, and the server gated cryptography of Microsoft
/// and Netscape. `anyExtendedKeyUsage` does not, in OpenSSL.
const SERVING: [&[u8]; 3] = [
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
    &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0a, 0x03, 0x03],
    &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x04, 0x01],
];

impl<'a> Extensions<'a> {
    /// Reads the extensions of a certificate. What cannot be read is remembered as a fault, since
    /// only who verifies the certificate minds.
    pub(crate) fn read(list: &[Extension<'a>]) -> Self {
        let mut found = Self::default();
        for (index, extension) in list.iter().enumerate() {
            let known = KNOWN.iter().find(|(kind, ..)| *kind == extension.kind);
            let repeated = list.iter().take(index).any(|earlier| earlier.kind == extension.kind);
            let is_read = known.is_some() && repeated;
            if is_read || found.take(extension).is_none() {
                found.fault.get_or_insert_with(|| extension.name());
            }
            if extension.is_critical && !known.is_some_and(|(_, _, supported)| *supported) {
                found.unknown_critical.get_or_insert_with(|| extension.name());
            }
        }
        found
    }

    fn take(&mut self, extension: &Extension<'a>) -> Option<()> {
        let one = || <[Item<'a>; 1]>::try_from(items(extension.contents)?).ok();
        match extension.kind {
            BASIC_CONSTRAINTS => {
                let [item] = one()?;
                self.basic = Some(BasicConstraints::read(&item)?);
            }
            KEY_USAGE => {
                let [item] = one()?;
                let bits = bit_string(&item)?;
                // A key that is for nothing is a mistake (RFC 5280, section 4.2.1.3).
                self.key_usage = Some(bits).filter(|bits| *bits != 0);
                self.key_usage?;
            }
            EXTENDED_KEY_USAGE => {
                let [item] = one()?;
                let uses: Option<Vec<_>> = item.sequence()?.iter().map(Item::oid).collect();
                self.serves = Some(uses?.iter().any(|oid| SERVING.contains(oid)));
            }
            NETSCAPE_TYPE => {
                let [item] = one()?;
                self.netscape_type = Some(bit_string(&item)?);
            }
            SUBJECT_KEY => {
                let [item] = one()?;
                self.subject_key = Some(item.octets()?);
            }
            AUTHORITY_KEY => self.authority_key = AuthorityKey::read(extension.contents)?,
            ALTERNATIVE_NAMES => {
                let [item] = one()?;
                item.sequence()?;
                self.alternative_names = GeneralName::read_all(item.value)?;
            }
            NAME_CONSTRAINTS => {
                let [item] = one()?;
                self.constraints = Some(NameConstraints::read(&item)?);
            }
            DISTRIBUTION_POINTS => {
                let [item] = one()?;
                let points = item.sequence()?;
                self.distribution_points =
                    points.iter().map(DistributionPoint::read).collect::<Option<_>>()?;
            }
            PROXY => self.is_proxy = true,
            ADDRESS_BLOCKS | AUTONOMOUS_SYSTEMS => self.has_resources = true,
            _ => {}
        }
        Some(())
    }

    /// Whether keyUsage is there and allows none of these.
    pub(crate) fn forbids(&self, uses: u16) -> bool {
        self.key_usage.is_some_and(|bits| bits & uses == 0)
    }
}

fn bit_string(item: &Item<'_>) -> Option<u16> {
    if item.tag == der::Tag::BitString { flags(item.value) } else { None }
}

impl BasicConstraints {
    fn read(item: &Item<'_>) -> Option<Self> {
        let parts = item.sequence()?;
        let mut parts = parts.iter().peekable();
        let is_authority = match parts.next_if(|part| part.boolean().is_some()) {
            Some(part) => part.boolean()?,
            None => false,
        };
        let path_length = match parts.next() {
            None => None,
            // Negative lengths are invalid, and those of more than eight bytes are no limit.
            Some(part) => match part.integer()? {
                [first, ..] if first & 0x80 != 0 => return None,
                bytes if bytes.len() > 8 => None,
                bytes => Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
            },
        };
        parts.next().is_none().then_some(Self { is_authority, path_length })
    }
}

impl<'a> AuthorityKey<'a> {
    /// Reads the contents of the extension, of a certificate or of a revocation list.
    pub(crate) fn read(contents: &'a [u8]) -> Option<Self> {
        let [item] = items(contents)?.try_into().ok()?;
        let mut found = Self::default();
        for part in item.sequence()? {
            match part.context()? {
                0 => found.key = Some(part.value),
                1 => found.issuer = GeneralName::read_all(part.value)?,
                2 => found.serial = Some(part.value),
                _ => return None,
            }
        }
        Some(found)
    }
}

impl<'a> NameConstraints<'a> {
    fn read(item: &Item<'a>) -> Option<Self> {
        let mut found = Self::default();
        for part in item.sequence()? {
            let subtrees = items(part.value)?;
            let subtrees = subtrees.iter().map(Subtree::read).collect::<Option<Vec<_>>>()?;
            match part.context()? {
                0 => found.permitted = subtrees,
                1 => found.excluded = subtrees,
                _ => return None,
            }
        }
        Some(found)
    }
}

impl<'a> Subtree<'a> {
    fn read(item: &Item<'a>) -> Option<Self> {
        let parts = item.sequence()?;
        let (base, bounds) = parts.split_first()?;
        let is_whole =
            bounds.iter().all(|part| part.context() == Some(0) && matches!(part.value, [0]));
        Some(Self { base: GeneralName::read(base)?, is_whole })
    }
}
