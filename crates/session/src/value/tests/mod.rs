//! Lies that are refused, values from a real server that are not, and decoders that survive
//! whatever passes.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::HashMap;
use std::time::SystemTime;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::types;
use postgres_types::{Field, FromSql, Kind, PgLsn, ToSql, Type};
use proptest::prelude::*;

use super::{Malformed, verify};
use crate::limits;

mod lies;
mod recorded;
mod samples;

use recorded::from_the_server;
use samples::{any_bytes, any_type, any_word, hex, hstore, made, pair};

#[test]
fn what_the_server_sends_is_accepted() {
    for (ty, bytes) in from_the_server() {
        assert_eq!(verify(&ty, &bytes), Ok(()), "{ty} {bytes:02x?}");
        decode(&ty, &bytes);
    }
}

/// All the values above say at their beginning how long they are, so neither less nor more will do.
#[test]
fn a_value_cut_short_or_drawn_out_is_refused() {
    for (ty, bytes) in from_the_server() {
        for end in 0..bytes.len() {
            assert!(verify(&ty, &bytes[..end]).is_err(), "{ty} cut at {end}");
            decode(&ty, &bytes[..end]);
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(verify(&ty, &longer).is_err(), "{ty} drawn out");
    }
}

#[test]
fn what_to_sql_writes_is_accepted() {
    let texts = vec![Some("a".to_owned()), None, Some(String::new())];
    let pairs: HashMap<String, Option<String>> =
        HashMap::from([("a".into(), Some("1".into())), ("b".into(), None)]);
    let values: [(Type, &dyn ToSql); 15] = [
        (Type::BOOL, &true),
        (Type::INT4, &7_i32),
        (Type::INT8, &-7_i64),
        (Type::FLOAT8, &0.5_f64),
        (Type::TEXT, &"text"),
        (Type::BYTEA, &vec![0_u8, 255]),
        (Type::INET, &IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (Type::TIMESTAMPTZ, &SystemTime::UNIX_EPOCH),
        (Type::PG_LSN, &PgLsn::from(1)),
        (Type::INT4_ARRAY, &vec![1_i32, 2, 3]),
        (Type::INT4_ARRAY, &Vec::<i32>::new()),
        (Type::TEXT_ARRAY, &texts),
        (Type::BYTEA_ARRAY, &vec![vec![1_u8], vec![]]),
        (hstore(), &pairs),
        (made("_hstore", Kind::Array(hstore())), &vec![pairs.clone()]),
    ];
    for (ty, value) in values {
        let mut bytes = BytesMut::new();
        value.to_sql_checked(&ty, &mut bytes).unwrap();
        assert_eq!(verify(&ty, &bytes), Ok(()), "{ty}");
        decode(&ty, &bytes);
    }
}

/// Records within records need no type that says so: the depth is in the value alone.
#[test]
fn records_without_end_are_refused() {
    let nested = |levels: usize| {
        let mut bytes = hex("00000000");
        for _ in 1..levels {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes = [hex("00000001 000008c9").as_slice(), &length, &bytes].concat();
        }
        bytes
    };
    assert_eq!(verify(&Type::RECORD, &nested(limits::VALUE_DEPTH)), Ok(()));
    for levels in [limits::VALUE_DEPTH + 1, 5_000] {
        assert_eq!(verify(&Type::RECORD, &nested(levels)), Err(Malformed::Depth));
    }
}

#[test]
fn types_without_end_are_refused() {
    let mut ty = Type::TEXT_ARRAY;
    for _ in 0..limits::VALUE_DEPTH {
        ty = made("deeper", Kind::Domain(ty));
    }
    let empty = hex("00000000 00000000 00000019");
    assert_eq!(verify(&ty, &empty), Err(Malformed::Depth));
}

/// A table may be called `hstore`; its rows are composites as any other's.
#[test]
fn a_table_called_hstore_is_a_composite() {
    let fields = vec![Field::new("a".into(), Type::INT4)];
    let ty = made("hstore", Kind::Composite(fields));
    let row = hex("00000001 00000017 00000004 00000001");
    assert_eq!(verify(&ty, &row), Ok(()));
}

/// Fields of types that are not built in are measured, and left to who knows their type.
#[test]
fn a_record_may_hold_what_nobody_knows() {
    let row = hex("00000001 0000c350 00000003 010203");
    assert_eq!(verify(&Type::RECORD, &row), Ok(()));
}

/// Bytes that may be reserved for each byte of the value, at the most.
///
/// An element takes four bytes of the value, a pair of an hstore eight; `Option<String>` takes 24
/// and a pair of them 48 and a byte in a table that is full to 7/8 and a power of two.
const MOST: usize = 48;

/// Decodes with every decoder of postgres-types that accepts the type, if [`verify`] lets the value
/// through: none may panic, and none reserve more than the value is worth.
fn decode(ty: &Type, bytes: &[u8]) {
    fn one<'a, T: FromSql<'a>>(ty: &Type, bytes: &'a [u8]) -> Option<T> {
        T::accepts(ty).then(|| T::from_sql(ty, bytes).ok()).flatten()
    }
    fn list<'a, T: FromSql<'a>>(ty: &Type, bytes: &'a [u8]) {
        if let Some(list) = one::<Vec<T>>(ty, bytes) {
            assert!(list.capacity() * size_of::<T>() <= MOST * bytes.len());
        }
    }
    if verify(ty, bytes).is_err() {
        return;
    }
    one::<bool>(ty, bytes);
    one::<i8>(ty, bytes);
    one::<i16>(ty, bytes);
    one::<i32>(ty, bytes);
    one::<i64>(ty, bytes);
    one::<u32>(ty, bytes);
    one::<f32>(ty, bytes);
    one::<f64>(ty, bytes);
    one::<&str>(ty, bytes);
    one::<&[u8]>(ty, bytes);
    one::<IpAddr>(ty, bytes);
    one::<PgLsn>(ty, bytes);
    #[cfg(unix)]
    one::<SystemTime>(ty, bytes);
    list::<i16>(ty, bytes);
    list::<Option<i32>>(ty, bytes);
    list::<u32>(ty, bytes);
    list::<i32>(ty, bytes);
    list::<String>(ty, bytes);
    list::<Option<String>>(ty, bytes);
    list::<Option<Vec<u8>>>(ty, bytes);
    list::<Option<HashMap<String, Option<String>>>>(ty, bytes);
    if let Some(pairs) = one::<HashMap<String, Option<String>>>(ty, bytes) {
        assert!(pairs.capacity() * 2 * size_of::<String>() <= MOST * bytes.len());
    }
    match ty.kind() {
        Kind::Array(_) => {
            if let Ok(array) = types::array_from_sql(bytes) {
                array.dimensions().count().unwrap();
                let values: Vec<_> = array.values().collect().unwrap();
                assert!(values.capacity() * size_of::<Option<&[u8]>>() <= MOST * bytes.len());
            }
        }
        Kind::Range(_) => drop(types::range_from_sql(bytes)),
        _ => {}
    }
    match *ty {
        Type::PATH => {
            let points: Vec<_> = types::path_from_sql(bytes).unwrap().points().collect().unwrap();
            assert!(points.capacity() * size_of::<types::Point>() <= MOST * bytes.len());
        }
        Type::BIT | Type::VARBIT => drop(types::varbit_from_sql(bytes).unwrap().bytes()),
        Type::INET | Type::CIDR => drop(types::inet_from_sql(bytes)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoders_survive_what_passes(ty in any_type(), bytes in any_bytes()) {
        decode(&ty, &bytes);
    }

    /// One word or one byte of a good value replaced; for every type, as a type may be lied about
    /// as well.
    #[test]
    fn decoders_survive_a_good_value_gone_bad(
        ty in any_type(),
        own in any::<bool>(),
        value in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        word in any_word(),
        wide in any::<bool>(),
    ) {
        let values = from_the_server();
        let (its, mut bytes) = values[value.index(values.len())].clone();
        let word = word.to_be_bytes();
        let new = if wide { &word[..] } else { &word[3..] };
        let place = place.index(bytes.len());
        for (old, new) in bytes[place..].iter_mut().zip(new) {
            *old = *new;
        }
        decode(if own { &its } else { &ty }, &bytes);
    }
}
