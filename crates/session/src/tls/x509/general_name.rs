//! The kinds of names that extensions have: of hosts, addresses, mail, directories (RFC 5280,
//! section 4.2.1.6).

use super::items::{Item, items};
use super::name::DistinguishedName;

/// One `GeneralName`.
#[derive(Debug, Clone)]
pub(crate) enum GeneralName<'a> {
    Email(&'a [u8]),
    Dns(&'a [u8]),
    Directory(DistinguishedName<'a>),
    Uri(&'a [u8]),
    /// Four or sixteen bytes; twice as many in a constraint.
    Ip(&'a [u8]),
    /// Any other kind, by the number of its tag.
    Other(u32, &'a [u8]),
}

impl<'a> GeneralName<'a> {
    /// The names in the contents of a `GeneralNames`.
    pub(crate) fn read_all(contents: &'a [u8]) -> Option<Vec<Self>> {
        items(contents)?.iter().map(Self::read).collect()
    }

    pub(crate) fn read(item: &Item<'a>) -> Option<Self> {
        Some(match item.context()? {
            1 => Self::Email(ia5(item)?),
            2 => Self::Dns(ia5(item)?),
            4 => {
                let [name] = items(item.value)?.try_into().ok()?;
                name.sequence()?;
                Self::Directory(DistinguishedName::read(name.value)?)
            }
            6 => Self::Uri(ia5(item)?),
            7 => Self::Ip(item.value),
            number @ (0 | 3 | 5 | 8) => Self::Other(number, item.value),
            _ => return None,
        })
    }

    /// The number of the tag.
    pub(crate) fn number(&self) -> u32 {
        match self {
            Self::Email(_) => 1,
            Self::Dns(_) => 2,
            Self::Directory(_) => 4,
            Self::Uri(_) => 6,
            Self::Ip(_) => 7,
            Self::Other(number, _) => *number,
        }
    }

    /// The object identifier of an `otherName`'s kind.
    pub(crate) fn other_kind(&self) -> Option<&'a [u8]> {
        match self {
            Self::Other(0, value) => items(value)?.first()?.oid(),
            _ => None,
        }
    }

    /// The name, if it is one of a directory.
    pub(crate) fn directory(&self) -> Option<&DistinguishedName<'a>> {
        match self {
            Self::Directory(name) => Some(name),
            _ => None,
        }
    }
}

impl PartialEq for GeneralName<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(one), Self::Directory(other)) => one == other,
            (Self::Email(one), Self::Email(other))
            | (Self::Dns(one), Self::Dns(other))
            | (Self::Uri(one), Self::Uri(other)) => one.eq_ignore_ascii_case(other),
            (Self::Ip(one), Self::Ip(other)) => one == other,
            (Self::Other(kind, one), Self::Other(other_kind, other)) => {
                kind == other_kind && one == other
            }
            _ => false,
        }
    }
}

/// The bytes of an implicitly tagged string.
fn ia5<'a>(item: &Item<'a>) -> Option<&'a [u8]> {
    match item.tag {
        der::Tag::ContextSpecific { constructed: false, .. } => Some(item.value),
        _ => None,
    }
}
