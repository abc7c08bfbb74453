//! Distinguished names: compared as OpenSSL compares them, and printed for people.

use std::fmt::Write as _;

use der::Tag;

use super::items::{Item, dotted, items, tlv};

/// Bytes of a name that are printed; some are pages long.
const SHOWN_BYTES: usize = 200;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `pkcs-9-at-emailAddress`.
const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];

/// A distinguished name. Equal are those that differ only in case, spaces and the kinds of their
/// strings (RFC 5280, section 7.1, as OpenSSL has it).
#[derive(Debug, Clone)]
pub(crate) struct DistinguishedName<'a> {
    attributes: Vec<Attribute<'a>>,
    canonical: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Attribute<'a> {
    kind: &'a [u8],
    value: Item<'a>,
}

impl PartialEq for DistinguishedName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl<'a> DistinguishedName<'a> {
    /// Reads the contents of a `Name`: a sequence of sets of attributes.
    pub(crate) fn read(contents: &'a [u8]) -> Option<Self> {
        let (mut attributes, mut canonical) = (Vec::new(), Vec::new());
        for set in items(contents)? {
            if set.tag != Tag::Set {
                return None;
            }
            canonical.extend(canonical_set(set.value, &mut attributes)?);
        }
        Some(Self { attributes, canonical })
    }

    /// This name, and a `RelativeDistinguishedName` behind it: the canonical form.
    pub(crate) fn with_relative(&self, set: &[u8]) -> Option<Vec<u8>> {
        let mut canonical = self.canonical.clone();
        canonical.extend(canonical_set(set, &mut Vec::new())?);
        Some(canonical)
    }

    /// The form that is compared: a subtree of names is one that this begins with.
    pub(crate) fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    pub(crate) fn attribute_count(&self) -> usize {
        self.attributes.len()
    }

    /// The common names, in their order.
    pub(crate) fn common_names(&self) -> impl Iterator<Item = &Item<'a>> {
        self.of_kind(COMMON_NAME)
    }

    /// The addresses of mail that stand in the name.
    pub(crate) fn emails(&self) -> impl Iterator<Item = &Item<'a>> {
        self.of_kind(EMAIL)
    }

    fn of_kind(&self, kind: &[u8]) -> impl Iterator<Item = &Item<'a>> {
        self.attributes.iter().filter(move |found| found.kind == kind).map(|found| &found.value)
    }
}

impl std::fmt::Display for DistinguishedName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for Attribute { kind, value } in &self.attributes {
            if text.len() > SHOWN_BYTES {
                text.push('…');
                break;
            }
            if !text.is_empty() {
                text.push_str(", ");
            }
            let shown = utf8(value).unwrap_or_else(|| String::from_utf8_lossy(value.value).into());
            let shown: String = shown.chars().take(SHOWN_BYTES).collect();
            match short_name(kind) {
                Some(name) => write!(text, "{name}={shown}")?,
                None => write!(text, "{}={shown}", dotted(kind))?,
            }
        }
        f.write_str(if text.is_empty() { "without a name" } else { &text })
    }
}

fn short_name(kind: &[u8]) -> Option<&'static str> {
    Some(match kind {
        COMMON_NAME => "CN",
        EMAIL => "emailAddress",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        [0x55, 0x04, 0x05] => "serialNumber",
        _ => return None,
    })
}

/// A set of attributes with its strings made alike, and sorted as a SET OF is.
fn canonical_set<'a>(set: &'a [u8], attributes: &mut Vec<Attribute<'a>>) -> Option<Vec<u8>> {
    let mut pairs = Vec::new();
    for pair in items(set)? {
        let [kind, value] = pair.sequence()?.try_into().ok()?;
        let canonical = match utf8(&value) {
            Some(text) => tlv(0x0c, canonical_text(&text).as_bytes()),
            None if is_text(value.tag) => return None,
            None => value.whole.to_vec(),
        };
        pairs.push(tlv(0x30, &[kind.whole, &canonical].concat()));
        attributes.push(Attribute { kind: kind.oid()?, value });
    }
    pairs.sort();
    Some(tlv(0x31, &pairs.concat()))
}

fn is_text(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::Utf8String
            | Tag::BmpString
            | Tag::PrintableString
            | Tag::TeletexString
            | Tag::Ia5String
            | Tag::VisibleString
    )
}

/// The text of a string of any of the kinds that names are made of. The old kinds of one byte a
/// character are read as Latin-1.
pub(crate) fn utf8(item: &Item<'_>) -> Option<String> {
    match item.tag {
        Tag::Utf8String => std::str::from_utf8(item.value).ok().map(str::to_owned),
        Tag::BmpString => {
            let (pairs, []) = item.value.as_chunks::<2>() else { return None };
            pairs.iter().map(|&pair| char::from_u32(u16::from_be_bytes(pair).into())).collect()
        }
        tag if is_text(tag) => Some(item.value.iter().copied().map(char::from).collect()),
        _ => None,
    }
}

/// Lower case, and one space where there are several, none at the ends. ASCII only, as in OpenSSL.
fn canonical_text(text: &str) -> String {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let words: Vec<_> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let sets = parts.iter().map(|(tag, text)| {
            let pair = [tlv(6, COMMON_NAME), tlv(*tag, text)].concat();
            tlv(0x31, &tlv(0x30, &pair))
        });
        sets.collect::<Vec<_>>().concat()
    }

    #[test]
    fn names_are_compared_without_case_and_spaces() {
        let same = [
            name(&[(0x0c, b"Our  Authority")]),
            name(&[(0x13, b" our authority ")]),
            name(&[(0x16, b"OUR AUTHORITY\t")]),
            name(&[(0x1e, b"\0o\0u\0r\0 \0a\0u\0t\0h\0o\0r\0i\0t\0y")]),
        ];
        for one in &same {
            for other in &same {
                assert!(DistinguishedName::read(one) == DistinguishedName::read(other));
            }
        }
        let ours = DistinguishedName::read(&same[0]).unwrap();
        for other in [name(&[(0x0c, b"OurAuthority")]), name(&[]), name(&[(0x0c, &b"x"[..]); 2])] {
            assert!(ours != DistinguishedName::read(&other).unwrap());
        }
        assert_eq!(ours.to_string(), "CN=Our  Authority");
        assert_eq!(DistinguishedName::read(b"").unwrap().to_string(), "without a name");
    }

    #[test]
    fn broken_strings_are_no_names() {
        for (tag, text) in [(0x0c, &b"\xff"[..]), (0x1e, b"\0"), (0x1e, b"\xd8\0")] {
            assert!(DistinguishedName::read(&name(&[(tag, text)])).is_none());
        }
    }
}
