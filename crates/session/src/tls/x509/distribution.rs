//! Where a revocation list is to be found, and which certificates one is about (RFC 5280, sections
//! 4.2.1.13 and 5.2.5).

use super::general_name::GeneralName;
use super::items::{Item, flags, items};
use super::name::DistinguishedName;

/// Every reason for a revocation.
pub(crate) const ALL_REASONS: u16 = 0x807f;

/// The name of a distribution point.
#[derive(Debug, Clone)]
pub(crate) enum PointName<'a> {
    Full(Vec<GeneralName<'a>>),
    /// The set of attributes that follows the issuer's name.
    Relative(&'a [u8]),
}

/// One of a certificate's distribution points.
#[derive(Debug, Clone)]
pub(crate) struct DistributionPoint<'a> {
    pub(crate) name: Option<PointName<'a>>,
    pub(crate) reasons: u16,
    pub(crate) list_issuer: Option<Vec<GeneralName<'a>>>,
}

/// The kinds of certificates that a revocation list is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kinds {
    #[default]
    All,
    Users,
    Authorities,
    Attributes,
}

/// issuingDistributionPoint: what a revocation list is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) name: Option<PointName<'a>>,
    pub(crate) kinds: Kinds,
    /// Whether it has some reasons only, or certificates of other issuers: OpenSSL uses such a list
    /// only if it is told to, which libpq does not.
    pub(crate) is_partial: bool,
}

impl<'a> PointName<'a> {
    /// Reads the contents of `[0]`, which hold one name of either kind.
    fn read(contents: &'a [u8]) -> Option<Self> {
        let [item] = items(contents)?.try_into().ok()?;
        match item.context()? {
            0 => GeneralName::read_all(item.value).map(Self::Full),
            1 => Some(Self::Relative(item.value)),
            _ => None,
        }
    }

    /// Whether this point and another are one, each with the name that a relative one goes on from.
    pub(crate) fn is_same(
        &self,
        base: &DistinguishedName<'_>,
        other: &PointName<'_>,
        other_base: &DistinguishedName<'_>,
    ) -> bool {
        match (self, other) {
            (Self::Full(ours), PointName::Full(theirs)) => {
                ours.iter().any(|name| theirs.iter().any(|other| name == other))
            }
            (Self::Relative(ours), PointName::Relative(theirs)) => {
                let ours = base.with_relative(ours);
                ours.is_some() && ours == other_base.with_relative(theirs)
            }
            (Self::Full(names), PointName::Relative(set)) => holds(names, other_base, set),
            (Self::Relative(set), PointName::Full(names)) => holds(names, base, set),
        }
    }
}

fn holds(names: &[GeneralName<'_>], base: &DistinguishedName<'_>, set: &[u8]) -> bool {
    base.with_relative(set).is_some_and(|whole| {
        names.iter().filter_map(GeneralName::directory).any(|name| name.canonical() == whole)
    })
}

impl<'a> DistributionPoint<'a> {
    pub(crate) fn read(item: &Item<'a>) -> Option<Self> {
        let mut found = Self { name: None, reasons: ALL_REASONS, list_issuer: None };
        for part in item.sequence()? {
            match part.context()? {
                0 => found.name = Some(PointName::read(part.value)?),
                1 => found.reasons = flags(part.value)? & ALL_REASONS,
                2 => found.list_issuer = Some(GeneralName::read_all(part.value)?),
                _ => return None,
            }
        }
        let has_issuer = found.list_issuer.as_ref().is_some_and(|names| !names.is_empty());
        (found.name.is_some() || has_issuer).then_some(found)
    }

    /// The name that a relative one goes on from: that of the list's issuer, if it has another than
    /// the certificate's.
    pub(crate) fn base<'b>(
        &'b self,
        issuer: &'b DistinguishedName<'a>,
    ) -> &'b DistinguishedName<'a> {
        let mut names = self.list_issuer.iter().flatten();
        names.find_map(GeneralName::directory).unwrap_or(issuer)
    }
}

impl<'a> Scope<'a> {
    /// Reads the contents of the extension.
    pub(crate) fn read(contents: &'a [u8]) -> Option<Self> {
        let [item] = items(contents)?.try_into().ok()?;
        let mut found = Self::default();
        for part in item.sequence()? {
            let is_set = || match part.value {
                [byte] => Some(*byte != 0),
                _ => None,
            };
            let kinds = match part.context()? {
                0 => {
                    found.name = Some(PointName::read(part.value)?);
                    continue;
                }
                1 => Kinds::Users,
                2 => Kinds::Authorities,
                3 => {
                    found.is_partial = true;
                    continue;
                }
                4 => {
                    found.is_partial |= is_set()?;
                    continue;
                }
                5 => Kinds::Attributes,
                _ => return None,
            };
            if is_set()? {
                // Two kinds at once are a contradiction: a list that is of no use.
                found.is_partial |= found.kinds != Kinds::All;
                found.kinds = kinds;
            }
        }
        Some(found)
    }
}
