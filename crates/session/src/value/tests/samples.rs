//! Types of every kind, and bytes that are almost values of them.
//!
//! Shared with `crates/fuzz`, which tries the same for longer.

use postgres_types::{Field, Kind, Type};
use proptest::prelude::*;

use super::recorded::from_the_server;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(super) fn made(name: &str, kind: Kind) -> Type {
    Type::new(name.into(), 50_000, kind, "public".into())
}

pub(super) fn hstore() -> Type {
    made("hstore", Kind::Simple)
}

/// A composite of an `int4` and a `text[]`.
pub(super) fn pair() -> Type {
    let fields = vec![Field::new("a".into(), Type::INT4), Field::new("b".into(), Type::TEXT_ARRAY)];
    made("pair", Kind::Composite(fields))
}

pub(super) fn positive() -> Type {
    made("positive", Kind::Domain(Type::INT4))
}

/// Types of every kind, the nested among them.
pub(super) fn any_type() -> impl Strategy<Value = Type> {
    let fields =
        vec![Field::new("a".into(), Type::TEXT_ARRAY), Field::new("b".into(), Type::RECORD)];
    let mut types: Vec<Type> = from_the_server().into_iter().map(|(ty, _)| ty).collect();
    types.extend([
        Type::BOOL,
        Type::INT4,
        Type::INT8,
        Type::TEXT,
        Type::JSONB,
        Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY,
        Type::BYTEA_ARRAY,
        Type::PATH_ARRAY,
        Type::RECORD_ARRAY,
        Type::INT4_RANGE_ARRAY,
        Type::TXID_SNAPSHOT,
        made("_hstore", Kind::Array(hstore())),
        made("hstore", Kind::Range(Type::INT4)),
        made("hstore", Kind::Array(Type::TEXT)),
        made("nested", Kind::Composite(fields)),
        made("domain", Kind::Domain(hstore())),
    ]);
    proptest::sample::select(types)
}

/// Words as they stand in lengths, counts and OIDs: a value made of them gets further than one of
/// random bytes.
pub(super) fn any_word() -> impl Strategy<Value = i32> {
    prop_oneof![
        4 => 0..6_i32,
        1 => Just(-1),
        1 => proptest::sample::select(vec![i32::MIN, i32::MAX, i32::MAX - 1, -2, 0x1000_0000, 0x1_0000]),
        1 => proptest::sample::select(vec![16, 17, 23, 25, 602, 1009, 1700, 2249, 3614, 3904]),
    ]
}

pub(super) fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..64),
        2 => (
            proptest::collection::vec(any_word(), 0..24),
            proptest::collection::vec(any::<u8>(), 0..5),
        )
            .prop_map(|(words, tail)| {
                let words = words.into_iter().flat_map(i32::to_be_bytes);
                words.chain(tail).collect()
            }),
    ]
}
