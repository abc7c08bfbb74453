//! Which names an authority may give to others (RFC 5280, section 4.2.1.10), as OpenSSL 3.0 has it
//! (`NAME_CONSTRAINTS_check`), common names included.

use super::super::x509::{
    Certificate, DistinguishedName, GeneralName, NameConstraints, Subtree, utf8,
};
use super::path::Path;
use super::refusal::Refusal;

/// Comparisons that one certificate may cost: OpenSSL's `NAME_CHECK_MAX`.
const COMPARISONS: usize = 1 << 20;

/// `id-on-SmtpUTF8Mailbox`.
const SMTP_UTF8_MAILBOX: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x09];

/// Why a name is not allowed.
enum Fault {
    /// It is in no permitted subtree, or in an excluded one.
    Forbidden,
    /// The name, or the constraint, is of a kind or form that cannot be judged.
    Unclear,
}

/// Refuses a path with a certificate whose names an authority above it does not allow.
pub(super) fn check(path: &Path<'_, '_>) -> Result<(), Refusal> {
    for (place, certificate) in path.certificates.iter().enumerate() {
        if place > 0 && certificate.is_self_issued() {
            continue;
        }
        for above in path.certificates.iter().skip(place + 1) {
            let Some(constraints) = &above.extensions.constraints else { continue };
            check_one(certificate, place == 0, constraints).map_err(|(name, fault)| {
                let what = match fault {
                    Fault::Forbidden => format!(
                        "has the name {name}, which its authority ({}) may not give (nameConstraints)",
                        above.subject
                    ),
                    Fault::Unclear => format!(
                        "has the name {name}, which the nameConstraints of its authority ({}) cannot be \
                         compared with",
                        above.subject
                    ),
                };
                Refusal::of(certificate, place, what, "another authority must sign it")
            })?;
        }
    }
    Ok(())
}

fn check_one(
    certificate: &Certificate<'_>,
    is_server: bool,
    constraints: &NameConstraints<'_>,
) -> Result<(), (String, Fault)> {
    let subject = &certificate.subject;
    let alternatives = &certificate.extensions.alternative_names;
    let names = subject.attribute_count() + alternatives.len();
    let subtrees = constraints.permitted.len() + constraints.excluded.len();
    if names.saturating_mul(subtrees) > COMPARISONS {
        return Err(("of too many".into(), Fault::Unclear));
    }
    let shown = |name: &[u8]| format!("\"{}\"", String::from_utf8_lossy(name));
    if !subject.is_empty() {
        allows(constraints, &Asked::Directory(subject))
            .map_err(|fault| (format!("\"{subject}\""), fault))?;
        for email in subject.emails() {
            if email.tag != der::Tag::Ia5String {
                return Err((shown(email.value), Fault::Unclear));
            }
            allows(constraints, &Asked::General(&GeneralName::Email(email.value)))
                .map_err(|fault| (shown(email.value), fault))?;
        }
    }
    for name in alternatives {
        allows(constraints, &Asked::General(name)).map_err(|fault| (text(name), fault))?;
    }
    // Who checks the host takes the common name if there is no DNS name.
    if is_server && !alternatives.iter().any(|name| matches!(name, GeneralName::Dns(_))) {
        for common_name in subject.common_names() {
            let name = utf8(common_name).unwrap_or_default();
            let name = name.trim_end_matches('\0');
            if name.contains('\0') {
                return Err((shown(name.as_bytes()), Fault::Unclear));
            }
            if is_host(name) {
                allows(constraints, &Asked::General(&GeneralName::Dns(name.as_bytes())))
                    .map_err(|fault| (shown(name.as_bytes()), fault))?;
            }
        }
    }
    Ok(())
}

fn text(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::Dns(name) | GeneralName::Email(name) | GeneralName::Uri(name) => {
            format!("\"{}\"", String::from_utf8_lossy(name))
        }
        GeneralName::Directory(name) => format!("\"{name}\""),
        GeneralName::Ip(_) => "of an IP address".into(),
        GeneralName::Other(..) => "of another kind".into(),
    }
}

/// Whether a common name looks like the name of a host: labels of letters, digits, `-` and `_`, at
/// least two of them. A single label is never judged by constraints.
fn is_host(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    labels.len() > 1
        && labels.iter().all(|label| {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty()
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// A name to be judged.
enum Asked<'n, 'a> {
    Directory(&'n DistinguishedName<'a>),
    General(&'n GeneralName<'a>),
}

fn allows(constraints: &NameConstraints<'_>, asked: &Asked<'_, '_>) -> Result<(), Fault> {
    let (mut is_limited, mut is_permitted) = (false, false);
    for subtree in constraints.permitted.iter().filter(|subtree| asked.is_of_kind(subtree)) {
        if !subtree.is_whole {
            return Err(Fault::Unclear);
        }
        is_limited = true;
        is_permitted = is_permitted || asked.is_in(&subtree.base)?;
    }
    if is_limited && !is_permitted {
        return Err(Fault::Forbidden);
    }
    for subtree in constraints.excluded.iter().filter(|subtree| asked.is_of_kind(subtree)) {
        if !subtree.is_whole {
            return Err(Fault::Unclear);
        }
        if asked.is_in(&subtree.base)? {
            return Err(Fault::Forbidden);
        }
    }
    Ok(())
}

impl Asked<'_, '_> {
    /// Whether the subtree is about names of this kind. An `otherName` with an address of mail (RFC
    /// 8398) is mail; else its own kinds are compared.
    fn is_of_kind(&self, subtree: &Subtree<'_>) -> bool {
        let wanted = subtree.base.number();
        match self {
            Self::Directory(_) => wanted == 4,
            Self::General(name @ GeneralName::Other(0, _)) => match name.other_kind() {
                Some(SMTP_UTF8_MAILBOX) => wanted == 1,
                kind => wanted == 0 && kind == subtree.base.other_kind(),
            },
            Self::General(name) => wanted == name.number(),
        }
    }

    fn is_in(&self, base: &GeneralName<'_>) -> Result<bool, Fault> {
        match (self, base) {
            (Self::Directory(name), GeneralName::Directory(base)) => {
                Ok(name.canonical().starts_with(base.canonical()))
            }
            (Self::General(GeneralName::Directory(name)), GeneralName::Directory(base)) => {
                Ok(name.canonical().starts_with(base.canonical()))
            }
            (Self::General(GeneralName::Dns(name)), GeneralName::Dns(base)) => {
                Ok(is_below(name, base))
            }
            (Self::General(GeneralName::Email(name)), GeneralName::Email(base)) => {
                is_mail_below(name, base)
            }
            (Self::General(GeneralName::Uri(name)), GeneralName::Uri(base)) => {
                let host = uri_host(name).ok_or(Fault::Unclear)?;
                Ok(is_host_below(host, base))
            }
            (Self::General(GeneralName::Ip(name)), GeneralName::Ip(base)) => {
                is_address_below(name, base)
            }
            _ => Err(Fault::Unclear),
        }
    }
}

/// The end of a name, or nothing at all: case does not matter.
fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len()
        .checked_sub(end.len())
        .and_then(|start| name.get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// `db.example` and all that ends with `.db.example`.
fn is_below(name: &[u8], base: &[u8]) -> bool {
    let before = name.len().checked_sub(base.len() + 1).and_then(|at| name.get(at));
    ends_with(name, base)
        && (base.is_empty()
            || name.len() == base.len()
            || base.first() == Some(&b'.')
            || before == Some(&b'.'))
}

/// A host of a URI or of mail: equal, or below what begins with a dot.
fn is_host_below(host: &[u8], base: &[u8]) -> bool {
    if base.first() == Some(&b'.') {
        return host.len() > base.len() && ends_with(host, base);
    }
    host.eq_ignore_ascii_case(base)
}

fn is_mail_below(name: &[u8], base: &[u8]) -> Result<bool, Fault> {
    let at = |text: &[u8]| text.iter().rposition(|byte| *byte == b'@');
    let (local, host) = at(name).and_then(|at| name.split_at_checked(at)).ok_or(Fault::Unclear)?;
    let host = host.get(1..).unwrap_or_default();
    let Some((base_local, base_host)) = at(base).and_then(|at| base.split_at_checked(at)) else {
        if base.first() == Some(&b'.') {
            return Ok(name.len() > base.len() && ends_with(name, base));
        }
        return Ok(host.eq_ignore_ascii_case(base));
    };
    if base_local.contains(&0) || local.contains(&0) {
        return Err(Fault::Unclear);
    }
    let base_host = base_host.get(1..).unwrap_or_default();
    Ok((base_local.is_empty() || base_local == local) && host.eq_ignore_ascii_case(base_host))
}

/// The host between `//` and what follows it.
fn uri_host(uri: &[u8]) -> Option<&[u8]> {
    let colon = uri.iter().position(|byte| *byte == b':')?;
    let rest = uri.get(colon + 1..)?.strip_prefix(b"//")?;
    let end = rest.iter().position(|byte| *byte == b':');
    let end = end.or_else(|| rest.iter().position(|byte| *byte == b'/')).unwrap_or(rest.len());
    rest.get(..end).filter(|host| !host.is_empty())
}

/// An address, and a network of the same family: address and mask.
fn is_address_below(address: &[u8], network: &[u8]) -> Result<bool, Fault> {
    if !matches!(address.len(), 4 | 16) || !matches!(network.len(), 8 | 32) {
        return Err(Fault::Unclear);
    }
    let Some((base, mask)) = network.split_at_checked(address.len()) else { return Ok(false) };
    if mask.len() != address.len() {
        return Ok(false);
    }
    let same = |((ours, base), mask): ((&u8, &u8), &u8)| (ours ^ base) & mask == 0;
    Ok(address.iter().zip(base).zip(mask).all(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_below_a_base() {
        for (name, base, below) in [
            ("db.example", "example", true),
            ("DB.EXAMPLE", "example", true),
            ("example", "example", true),
            ("dbexample", "example", false),
            ("example", ".example", false),
            ("db.example", ".example", true),
            ("example.evil", "example", false),
            ("x", "", true),
            ("", "example", false),
        ] {
            assert_eq!(is_below(name.as_bytes(), base.as_bytes()), below, "{name} {base}");
        }
    }

    #[test]
    fn common_names_that_look_like_hosts() {
        for (name, is) in [
            ("db.bank.test", true),
            ("my_db.test", true),
            ("localhost", false),
            ("db..test", false),
            ("-db.test", false),
            ("db-.test", false),
            ("db.test.", false),
            (".db.test", false),
            ("*.db.test", false),
            ("A person", false),
            ("", false),
        ] {
            assert_eq!(is_host(name), is, "{name}");
        }
    }

    #[test]
    fn mail_and_uris_and_addresses() {
        let mail = |name: &str, base: &str| is_mail_below(name.as_bytes(), base.as_bytes()).ok();
        assert_eq!(mail("me@db.example", "db.example"), Some(true));
        assert_eq!(mail("me@db.example", ".example"), Some(true));
        assert_eq!(mail("me@db.example", "me@DB.example"), Some(true));
        assert_eq!(mail("me@db.example", "Me@db.example"), Some(false));
        assert_eq!(mail("me@db.example", "example"), Some(false));
        assert_eq!(mail("me", "example"), None);
        assert_eq!(uri_host(b"https://db.example:1/x"), Some(&b"db.example"[..]));
        assert_eq!(uri_host(b"https://db.example"), Some(&b"db.example"[..]));
        assert_eq!(uri_host(b"mailto:x"), None);
        let within = |address: &[u8], network: &[u8]| is_address_below(address, network).ok();
        assert_eq!(within(&[127, 0, 0, 1], &[127, 0, 0, 0, 255, 0, 0, 0]), Some(true));
        assert_eq!(within(&[128, 0, 0, 1], &[127, 0, 0, 0, 255, 0, 0, 0]), Some(false));
        assert_eq!(within(&[127, 0, 0, 1], &[0; 32]), Some(false));
        assert_eq!(within(&[127, 0, 0], &[0; 8]), None);
    }
}
