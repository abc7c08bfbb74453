//! Which hosts a certificate is for, as libpq sees it (manual, section 34.19.1).

use core::net::IpAddr;

use super::certificate::Certificate;
use super::general_name::GeneralName;

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Dns(String),
    Ip(IpAddr),
}

impl Certificate<'_> {
    fn alternative_names(&self) -> impl Iterator<Item = Name> {
        self.extensions.alternative_names.iter().filter_map(|name| match name {
            GeneralName::Dns(name) => Some(Name::Dns(String::from_utf8_lossy(name).into_owned())),
            GeneralName::Ip(bytes) => {
                let v4 = || <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                v4().or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).map(Name::Ip).ok()
            }
            _ => None,
        })
    }

    /// The first common name of the subject, as bytes.
    fn common_name(&self) -> Option<String> {
        let name = self.subject.common_names().next()?;
        Some(String::from_utf8_lossy(name.value).into_owned())
    }

    /// What it is for, as a person reads it.
    pub(crate) fn names(&self) -> Vec<String> {
        let names: Vec<_> = self
            .alternative_names()
            .map(|name| match name {
                Name::Dns(name) => name,
                Name::Ip(address) => address.to_string(),
            })
            .collect();
        if names.is_empty() { self.common_name().into_iter().collect() } else { names }
    }

    /// Whether it is for this host: the common name counts only if there is no alternative name of
    /// the host's own kind.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let mut same_kind = false;
        for name in self.alternative_names() {
            same_kind |= matches!(name, Name::Ip(_)) == address.is_some();
            let matches = match name {
                // A NUL is how other programs were made to read another name (CVE-2009-4034):
                // libpq ends there.
                Name::Dns(name) if name.contains('\0') => return false,
                Name::Dns(name) => name_matches(&name, host, address.is_some()),
                Name::Ip(ip) => Some(ip) == address,
            };
            if matches {
                return true;
            }
        }
        !same_kind
            && self.common_name().is_some_and(|name| name_matches(&name, host, address.is_some()))
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
}
