//! A certificate revocation list, borrowed from its bytes (RFC 5280, section 5).

use std::collections::HashMap;

use super::certificate::Signed;
use super::distribution::Scope;
use super::extensions::{AUTHORITY_KEY, AuthorityKey, Extension};
use super::general_name::GeneralName;
use super::items::{Item, items};
use super::name::DistinguishedName;

const CRL_REASON: &[u8] = &[0x55, 0x1d, 21];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const DELTA: &[u8] = &[0x55, 0x1d, 27];
const SCOPE: &[u8] = &[0x55, 0x1d, 28];

/// `removeFromCRL`.
const REMOVED: u8 = 8;

/// When the list ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextUpdate {
    Never,
    /// Seconds since 1970.
    At(i64),
    /// It is no date.
    Unreadable,
}

/// A list of the certificates that their issuer has taken back.
#[derive(Debug, Clone)]
pub(crate) struct RevocationList<'a> {
    pub(crate) signed: Signed<'a>,
    pub(crate) issuer: DistinguishedName<'a>,
    /// Seconds since 1970; `None` if it is no date.
    pub(crate) this_update: Option<i64>,
    pub(crate) next_update: NextUpdate,
    pub(crate) authority_key: AuthorityKey<'a>,
    pub(crate) scope: Option<Scope<'a>>,
    /// Whether it only adds to another list.
    pub(crate) is_delta: bool,
    /// A critical extension, of the list or of an entry, that OpenSSL does not know either.
    pub(crate) unknown_critical: Option<String>,
    /// By serial number; the issuer of the certificate if it is another than the list's.
    revoked: HashMap<&'a [u8], Vec<Entry<'a>>>,
}

#[derive(Debug, Clone)]
struct Entry<'a> {
    issuer: Option<Vec<GeneralName<'a>>>,
    is_removed: bool,
}

impl<'a> RevocationList<'a> {
    /// `None` if it is not a revocation list, or has an extension that cannot be read.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let has_version = |fields: &[Item<'_>]| {
            usize::from(fields.first().is_some_and(|item| item.integer().is_some()))
        };
        let (signed, fields) =
            Signed::read(bytes, |fields| fields.get(has_version(fields)).copied())?;
        let mut fields = fields.into_iter().peekable();
        fields.next_if(|item| item.integer().is_some());
        let _algorithm = fields.next()?;
        let issuer = fields.next()?;
        issuer.sequence()?;
        let this_update = fields.next()?.time();
        let is_time =
            |item: &Item<'_>| matches!(item.tag, der::Tag::UtcTime | der::Tag::GeneralizedTime);
        let next_update = match fields.next_if(is_time).map(|item| item.time()) {
            None => NextUpdate::Never,
            Some(Some(time)) => NextUpdate::At(time),
            Some(None) => NextUpdate::Unreadable,
        };
        let mut list = Self {
            signed,
            issuer: DistinguishedName::read(issuer.value)?,
            this_update,
            next_update,
            authority_key: AuthorityKey::default(),
            scope: None,
            is_delta: false,
            unknown_critical: None,
            revoked: HashMap::new(),
        };
        if let Some(entries) = fields.next_if(|item| item.tag == der::Tag::Sequence) {
            list.read_entries(entries.value)?;
        }
        if let Some(item) = fields.next_if(|item| item.is_explicit(0)) {
            let [extensions] = items(item.value)?.try_into().ok()?;
            extensions.sequence()?;
            list.read_extensions(&Extension::read_all(extensions.value)?)?;
        }
        fields.next().is_none().then_some(list)
    }

    fn read_entries(&mut self, bytes: &'a [u8]) -> Option<()> {
        // It holds for the entries that follow, too (RFC 5280, section 5.3.3).
        let mut issuer = None;
        for entry in items(bytes)? {
            let parts = entry.sequence()?;
            let (serial, extensions) = match parts.as_slice() {
                [serial, date] if date.context().is_none() => (serial, None),
                [serial, _, extensions] => (serial, Some(extensions)),
                _ => return None,
            };
            let mut is_removed = false;
            if let Some(extensions) = extensions {
                extensions.sequence()?;
                for extension in Extension::read_all(extensions.value)? {
                    let known = self.read_entry_extension(&extension, &mut issuer, &mut is_removed);
                    known?;
                }
            }
            let entry = Entry { issuer: issuer.clone(), is_removed };
            self.revoked.entry(serial.integer()?).or_default().push(entry);
        }
        Some(())
    }

    fn read_entry_extension(
        &mut self,
        extension: &Extension<'a>,
        issuer: &mut Option<Vec<GeneralName<'a>>>,
        is_removed: &mut bool,
    ) -> Option<()> {
        if extension.kind == CERTIFICATE_ISSUER {
            let [names] = items(extension.contents)?.try_into().ok()?;
            names.sequence()?;
            *issuer = Some(GeneralName::read_all(names.value)?);
            return Some(());
        }
        if extension.kind == CRL_REASON {
            let [reason] = items(extension.contents)?.try_into().ok()?;
            *is_removed = reason.value == [REMOVED];
        }
        if extension.is_critical {
            self.unknown_critical.get_or_insert_with(|| extension.name());
        }
        Some(())
    }

    fn read_extensions(&mut self, list: &[Extension<'a>]) -> Option<()> {
        for extension in list {
            match extension.kind {
                AUTHORITY_KEY => self.authority_key = AuthorityKey::read(extension.contents)?,
                SCOPE => self.scope = Some(Scope::read(extension.contents)?),
                DELTA => self.is_delta = true,
                _ if extension.is_critical => {
                    self.unknown_critical.get_or_insert_with(|| extension.name());
                }
                _ => {}
            }
        }
        Some(())
    }

    /// The hash of the issuer's name by which OpenSSL finds the file of a list in a folder
    /// (`X509_NAME_hash`).
    pub(crate) fn name_hash(&self) -> u32 {
        use sha1::Digest as _;
        let hash = sha1::Sha1::digest(self.issuer.canonical());
        hash.first_chunk().map_or(0, |first| u32::from_le_bytes(*first))
    }

    /// Whether a certificate of this issuer with this serial number has been revoked.
    pub(crate) fn revokes(&self, issuer: &DistinguishedName<'_>, serial: &[u8]) -> bool {
        self.revoked.get(serial).is_some_and(|entries| {
            entries.iter().any(|entry| {
                let is_meant = match &entry.issuer {
                    None => *issuer == self.issuer,
                    Some(names) => {
                        names.iter().filter_map(GeneralName::directory).any(|name| name == issuer)
                    }
                };
                is_meant && !entry.is_removed
            })
        })
    }
}
