//! DER as the certificates and lists of the table are written in: any shape, right or wrong.

/// A value: a tag, the length of the contents, the contents.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = contents.len().to_be_bytes();
    let mut bytes = vec![tag];
    if contents.len() < 0x80 {
        bytes.push(u8::try_from(contents.len()).unwrap());
    } else {
        let long: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
        bytes.push(0x80 | u8::try_from(long.len()).unwrap());
        bytes.extend(long);
    }
    bytes.extend(contents);
    bytes
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

pub(super) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u32> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut contents = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
    for arc in &arcs[2..] {
        let mut groups = vec![u8::try_from(arc & 0x7f).unwrap()];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        groups.reverse();
        contents.extend(groups);
    }
    tlv(6, &[&contents])
}

pub(super) fn integer(value: u8) -> Vec<u8> {
    if value < 0x80 { tlv(2, &[&[value]]) } else { tlv(2, &[&[0, value]]) }
}

pub(super) fn boolean(value: bool) -> Vec<u8> {
    tlv(1, &[&[if value { 0xff } else { 0 }]])
}

pub(super) fn octets(contents: &[u8]) -> Vec<u8> {
    tlv(4, &[contents])
}

/// A BIT STRING of whole bytes.
pub(super) fn bits(contents: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], contents])
}

/// A BIT STRING with these bits set, 0 the first.
pub(super) fn named_bits(set: &[u8]) -> Vec<u8> {
    let Some(last) = set.iter().max() else { return tlv(3, &[&[0]]) };
    let mut bytes = vec![0_u8; usize::from(last / 8) + 1];
    for bit in set {
        bytes[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    tlv(3, &[&[7 - last % 8], &bytes])
}

/// UTCTime, or GeneralizedTime if it is long enough.
pub(super) fn time(text: &str) -> Vec<u8> {
    tlv(if text.len() > 13 { 0x18 } else { 0x17 }, &[text.as_bytes()])
}

/// `CN=…`, or several parts such as `O=x/CN=y`; a value that begins with `~` is a PrintableString.
pub(super) fn name(text: &str) -> Vec<u8> {
    let sets: Vec<_> = text.split('/').filter(|part| !part.is_empty()).map(attribute).collect();
    sequence(&sets.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// One `RelativeDistinguishedName`.
pub(super) fn attribute(text: &str) -> Vec<u8> {
    let (kind, value) = text.split_once('=').unwrap_or(("CN", text));
    let kind = match kind {
        "CN" => "2.5.4.3",
        "O" => "2.5.4.10",
        "mail" => "1.2.840.113549.1.9.1",
        other => panic!("{other}"),
    };
    let value = match (kind, value.strip_prefix('~')) {
        ("1.2.840.113549.1.9.1", _) => tlv(0x16, &[value.as_bytes()]),
        (_, Some(printable)) => tlv(0x13, &[printable.as_bytes()]),
        (_, None) => tlv(0x0c, &[value.as_bytes()]),
    };
    tlv(0x31, &[&sequence(&[&oid(kind), &value])])
}

/// A `GeneralName`: `DNS:`, `IP:` with bytes in decimal, `mail:`, `URI:`, `dir:`.
pub(super) fn general_name(text: &str) -> Vec<u8> {
    let (kind, value) = text.split_once(':').unwrap();
    match kind {
        "DNS" => tlv(0x82, &[value.as_bytes()]),
        "mail" => tlv(0x81, &[value.as_bytes()]),
        "URI" => tlv(0x86, &[value.as_bytes()]),
        "IP" => {
            let bytes: Vec<u8> = value.split('.').map(|byte| byte.parse().unwrap()).collect();
            tlv(0x87, &[&bytes])
        }
        "dir" => tlv(0xa4, &[&name(value)]),
        other => panic!("{other}"),
    }
}

/// Several of them, one after the other.
pub(super) fn general_names(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| general_name(text)).collect()
}

/// The bytes as PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in der.chunks(3) {
        let number = group.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
