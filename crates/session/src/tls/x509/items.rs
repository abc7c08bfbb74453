//! Values of DER side by side, and the few primitive types that certificates are made of (X.690).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber};

/// One value of DER, with the header that it had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) tag: Tag,
    pub(crate) value: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// The values that lie side by side in these bytes; `None` if they are not whole values.
pub(crate) fn items(mut bytes: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let mut reader = SliceReader::new(bytes).ok()?;
        let whole = reader.tlv_bytes().ok()?;
        let (_, rest) = bytes.split_at_checked(whole.len())?;
        bytes = rest;
        let any = AnyRef::from_der(whole).ok()?;
        items.push(Item { tag: der::Tagged::tag(&any), value: any.value(), whole });
    }
    Some(items)
}

impl<'a> Item<'a> {
    /// The values in a SEQUENCE.
    pub(crate) fn sequence(&self) -> Option<Vec<Item<'a>>> {
        if self.tag == Tag::Sequence { items(self.value) } else { None }
    }

    /// The number of a context-specific tag, constructed or not.
    pub(crate) fn context(&self) -> Option<u32> {
        match self.tag {
            Tag::ContextSpecific { number, .. } => Some(number.value()),
            _ => None,
        }
    }

    /// Whether the tag is `[number]` around other values.
    pub(crate) fn is_explicit(&self, number: u32) -> bool {
        self.tag == Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
    }

    /// The bytes of an OBJECT IDENTIFIER.
    pub(crate) fn oid(&self) -> Option<&'a [u8]> {
        (self.tag == Tag::ObjectIdentifier).then_some(self.value)
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match (self.tag, self.value) {
            (Tag::Boolean, [byte]) => Some(*byte != 0),
            _ => None,
        }
    }

    /// The bytes of an INTEGER, at least one.
    pub(crate) fn integer(&self) -> Option<&'a [u8]> {
        (self.tag == Tag::Integer && !self.value.is_empty()).then_some(self.value)
    }

    pub(crate) fn octets(&self) -> Option<&'a [u8]> {
        (self.tag == Tag::OctetString).then_some(self.value)
    }

    /// A BIT STRING of whole bytes, such as a key or a signature.
    pub(crate) fn whole_bits(&self) -> Option<&'a [u8]> {
        match self.value.split_first() {
            Some((0, bits)) if self.tag == Tag::BitString => Some(bits),
            _ => None,
        }
    }

    /// Seconds since 1970 of a UTCTime or GeneralizedTime, in the one form that RFC 5280, section
    /// 4.1.2.5, allows.
    pub(crate) fn time(&self) -> Option<i64> {
        let (digits, zulu) = self.value.split_last_chunk::<1>()?;
        if zulu != b"Z" || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = |digits: &[u8]| {
            digits.iter().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'))
        };
        let (year, rest) = match self.tag {
            Tag::UtcTime => {
                let (year, rest) = digits.split_first_chunk::<2>()?;
                let year = number(year);
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            Tag::GeneralizedTime => {
                let (year, rest) = digits.split_first_chunk::<4>()?;
                (number(year), rest)
            }
            _ => return None,
        };
        let [month, day, hour, minute, second] = rest
            .as_chunks::<2>()
            .0
            .iter()
            .map(|two| number(two))
            .collect::<Vec<_>>()
            .try_into()
            .ok()?;
        if rest.len() != 10 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second)
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // The year begins with March, so that a leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468)
}

/// The bits of a small BIT STRING such as keyUsage, as OpenSSL numbers them: the first byte's in
/// the low eight, the second's above them.
pub(crate) fn flags(bit_string: &[u8]) -> Option<u16> {
    let (unused, bits) = bit_string.split_first()?;
    if *unused > 7 || (bits.is_empty() && *unused != 0) {
        return None;
    }
    let mut bytes = bits.iter();
    let first = u16::from(*bytes.next().unwrap_or(&0));
    Some(first | u16::from(*bytes.next().unwrap_or(&0)) << 8)
}

/// An object identifier as people write it: `2.5.29.17`.
pub(crate) fn dotted(oid: &[u8]) -> String {
    ObjectIdentifier::from_bytes(oid)
        .map_or_else(|_| "an object identifier that cannot be read".into(), |oid| oid.to_string())
}

/// A value of DER: a tag, the length of the contents, the contents.
pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let significant: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut bytes = vec![tag];
    match (significant.as_slice(), u8::try_from(contents.len())) {
        (_, Ok(short)) if short < 0x80 => bytes.push(short),
        (long, _) => {
            bytes.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            bytes.extend_from_slice(long);
        }
    }
    bytes.extend_from_slice(contents);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tag: u8, text: &str) -> Option<i64> {
        items(&tlv(tag, text.as_bytes()))?.first()?.time()
    }

    #[test]
    fn times() {
        assert_eq!(time(0x17, "700101000000Z"), Some(0));
        assert_eq!(time(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(0x17, "500101000000Z"), Some(-631_152_000));
        assert_eq!(time(0x18, "20240229120000Z"), Some(1_709_208_000));
        assert_eq!(time(0x18, "99991231235959Z"), Some(253_402_300_799));
        assert_eq!(time(0x18, "00000101000000Z"), Some(-62_167_219_200));
        for (tag, text) in [
            (0x17, "20240229120000Z"),
            (0x17, "7001010000Z"),
            (0x18, "20230229120000Z"),
            (0x18, "20240001120000Z"),
            (0x18, "20241301120000Z"),
            (0x18, "20240101240000Z"),
            (0x18, "20240101000000+0100"),
            (0x18, "20240101000000.5Z"),
            (0x18, "Z"),
            (0x18, ""),
            (0x0c, "20240101000000Z"),
        ] {
            assert_eq!(time(tag, text), None, "{text}");
        }
    }

    #[test]
    fn lengths() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let bytes = tlv(0x04, &vec![7; length]);
            let found = items(&bytes).unwrap();
            assert_eq!((found.len(), found[0].octets().unwrap().len()), (1, length));
        }
    }
}
