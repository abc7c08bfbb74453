//! Every decoder that is handed on, and the encoder that goes with it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::SystemTime;

use bit_vec::BitVec;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use cidr::{IpCidr, IpInet};
use eui48::MacAddress;
use geo_types::{LineString, Point, Rect};
use postgres_types::{Date, FromSql, Json, PgLsn, Timestamp, ToSql, Type};
use rust_decimal::Decimal;
use smol_str::SmolStr;
use txpostgres_session::value::{Array, Interval, Multirange, Numeric, Range, Raw, Record, Text};
use txpostgres_session::{CopyDecoder, CopyEncoder, Result, Rows, Scalar};
use uuid::Uuid;

use crate::opened;
use crate::probe::Probe;

/// Bytes that a decoder may take whatever the value is: a table for a map, an error and its text.
const ITSELF: usize = 64 * 1024;

/// As many times its size a value may take. An `[]` of JSON has three bytes in a list, and takes
/// 32; a list grows to twice of that, and an object is a tree of nodes for eleven.
const FACTOR: usize = 400;

/// Bytes of an error's text, with those of its causes.
const ERROR: usize = 4_096;

/// Tries the value as one type of Rust; returns whether it was decoded.
type Try = fn(&Type, &[u8], Option<&Rows>, &mut Probe) -> bool;

macro_rules! tries {
    ($function:ident: $($rust:ty),* $(,)?) => { &[$($function::<$rust>),*] };
}

/// Those that are encoded again.
const BACK: &[Try] = tries!(back:
    bool, i8, i16, i32, i64, u32, f32, f64, String, Box<str>, Vec<u8>, IpAddr, PgLsn, SystemTime,
    Timestamp<NaiveDateTime>, Timestamp<DateTime<Utc>>, Date<NaiveDate>,
    Json<serde_json::Value>, serde_json::Value,
    NaiveDate, NaiveTime, NaiveDateTime, DateTime<Utc>, DateTime<FixedOffset>,
    time::Date, time::Time, time::PrimitiveDateTime, time::OffsetDateTime,
    jiff::civil::Date, jiff::civil::Time, jiff::civil::DateTime, jiff::Timestamp,
    Uuid, BitVec, IpInet, IpCidr, MacAddress, Point<f64>, Rect<f64>, LineString<f64>, SmolStr,
    Decimal,
    Numeric, Interval, Raw<Vec<u8>>, Array<Option<i32>>, Array<Option<String>>,
    Array<Option<Raw<Vec<u8>>>>, Array<Numeric>,
    Range<i32>, Range<i64>, Range<Numeric>, Range<NaiveDate>, Range<NaiveDateTime>,
    Range<DateTime<Utc>>, Multirange<i32>, Multirange<i64>, Multirange<Numeric>,
    Record<(Option<i32>, Option<String>)>, Vec<Record<(i32, String)>>,
    Vec<bool>, Vec<i16>, Vec<Option<i32>>, Vec<i64>, Vec<f64>, Vec<Option<String>>,
    Vec<Option<Vec<u8>>>, Vec<Uuid>, Vec<serde_json::Value>, Vec<Option<Decimal>>,
    Vec<NaiveTime>, Vec<Option<DateTime<Utc>>>, Vec<time::OffsetDateTime>, Vec<SystemTime>,
    Vec<IpInet>, Vec<BitVec>, Vec<LineString<f64>>, Vec<Numeric>, Vec<Interval>,
    Vec<Range<i32>>, Vec<Multirange<i32>>, Box<[i32]>, Option<i32>,
    Option<Vec<Option<i32>>>,
);

/// Those that are not: no encoder, or none that gives the same order.
const ONLY: &[Try] = tries!(only:
    Text, Record<(Raw<Vec<u8>>, Raw<Vec<u8>>)>, Record<(i32, Record<(i32, String)>)>,
    HashMap<String, Option<String>>, Vec<HashMap<String, Option<String>>>,
    Vec<Option<Text>>,
);

/// Tries every one; returns whether any has decoded the value.
pub(super) fn all(ty: &Type, bytes: &[u8], probe: &mut Probe) -> bool {
    // Types that are not built in have no columns without a lookup; `Raw` reads them the same way.
    let is_built_in = Type::from_oid(ty.oid()).is_some_and(|known| known == *ty);
    let rows = is_built_in.then(|| row_of(ty, bytes));
    let mut decoded = false;
    for one in BACK.iter().chain(ONLY) {
        decoded |= one(ty, bytes, rows.as_ref(), probe);
    }
    if let Some(rows) = &rows {
        borrowed(ty, bytes, rows, probe);
        in_text(ty, bytes);
    }
    decoded
}

/// COPY data of one row, with one value.
fn copied(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).unwrap().to_be_bytes();
    [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01", &length[..], bytes, b"\xff\xff"].concat()
}

fn row_of(ty: &Type, bytes: &[u8]) -> Rows {
    let mut decoder = CopyDecoder::new(opened::columns(&[ty.oid()], 1));
    decoder.receive(copied(bytes)).unwrap().unwrap()
}

/// The value as an encoder writes it, by the way that rows of a COPY take.
pub(super) fn encoded<T: ToSql + Sync>(ty: &Type, value: &T) -> Result<Vec<u8>> {
    let mut encoder = CopyEncoder::new(vec![ty.clone()])?;
    let header = encoder.len();
    encoder.row(&[value])?;
    // The number of values and the value's length are before it.
    Ok(encoder.bytes()[header + 6..].to_vec())
}

fn only<T>(ty: &Type, bytes: &[u8], rows: Option<&Rows>, probe: &mut Probe) -> bool
where
    T: for<'a> FromSql<'a> + Debug,
{
    decode::<T>(ty, bytes, rows, probe).is_some()
}

fn back<T>(ty: &Type, bytes: &[u8], rows: Option<&Rows>, probe: &mut Probe) -> bool
where
    T: for<'a> FromSql<'a> + ToSql + Sync + Debug + PartialEq,
{
    let Some(value) = decode::<T>(ty, bytes, rows, probe) else { return false };
    if matches!(*ty, Type::RECORD | Type::RECORD_ARRAY) {
        // The server takes no anonymous record, and so none is sent.
        return true;
    }
    let rust = std::any::type_name::<T>();
    let again = match encoded(ty, &value) {
        Ok(again) => again,
        // A moment that no server has is decoded, and refused on its way back.
        Err(error)
            if ["beyond what", "too large to transmit"]
                .iter()
                .any(|part| error.to_string().contains(part)) =>
        {
            return true;
        }
        Err(error) => panic!("{rust} decodes {value:?}, and does not encode it: {error:?}"),
    };
    let raw = Raw::new(ty.clone(), &again[..]);
    let second = raw.get::<T>().unwrap_or_else(|error| {
        panic!("{rust} encodes {value:?} as {again:02x?}, and does not decode that: {error}")
    });
    // Equal, or of one text: a NaN is not equal to itself.
    let is_same = value == second || format!("{value:?}") == format!("{second:?}");
    // `serde_json` is off by a bit for numbers of many digits, unless its user wants otherwise.
    let is_json = ty.name().contains("json");
    assert!(is_same || is_json, "{rust}: {value:?} comes back as {second:?}");
    probe.coverage.count_name("encoded: ", ty.name());
    true
}

/// Decodes by `Raw`, and by a row in both of its ways, if there is one: all say the same.
fn decode<T>(ty: &Type, bytes: &[u8], rows: Option<&Rows>, probe: &mut Probe) -> Option<T>
where
    T: for<'a> FromSql<'a> + Debug,
{
    let rust = std::any::type_name::<T>();
    let raw = Raw::new(ty.clone(), bytes);
    let most = ITSELF + FACTOR * bytes.len();
    let value = probe.within(rust, most, || raw.get::<T>());
    if let Err(error) = &value {
        let said = error.to_string();
        assert!(said.len() <= ERROR, "an error of {} bytes", said.len());
        if said.contains("panicked") {
            probe.coverage.count_name("caught: ", &format!("{rust} of {}", ty.name()));
        }
    }
    if let Some(rows) = rows {
        let row = rows.first().unwrap();
        let by_row = probe.within(rust, most, || row.get::<T>(0));
        let by_reader = probe.within(rust, most, || rows.decode::<Scalar<T>>());
        let said = [
            format!("{:?}", value.as_ref().ok()),
            format!("{:?}", by_row.as_ref().ok()),
            format!("{:?}", by_reader.as_ref().ok().map(|all: &Vec<_>| &all[0].0)),
        ];
        assert!(said.iter().all(|one| *one == said[0]), "{rust}: {said:?}");
        for error in [by_row.err(), by_reader.err()].into_iter().flatten() {
            let said = format!("{error:#}");
            assert!(said.len() <= ERROR, "an error of {} bytes", said.len());
        }
    }
    value.ok()
}

/// Those that borrow from the row.
fn borrowed(ty: &Type, bytes: &[u8], rows: &Rows, probe: &Probe) {
    let row = rows.first().unwrap();
    let most = ITSELF + FACTOR * bytes.len();
    let is_read = probe.within("borrowed", most, || {
        let _ = row.get::<Vec<&str>>(0);
        let _ = row.get::<Option<&[u8]>>(0);
        let _ = row.get::<Vec<Option<&[u8]>>>(0);
        let _ = row.get::<Record<(Option<i32>, &str)>>(0);
        let _ = row.get::<Range<&str>>(0);
        row.get::<&str>(0).is_ok() == row.get::<String>(0).is_ok()
    });
    assert!(is_read, "a text of {ty} that is borrowed or owned, and not both");
}

/// The same bytes as text: values in text are read as texts alone, or refused.
fn in_text(ty: &Type, bytes: &[u8]) {
    let mut decoder = CopyDecoder::new(opened::columns(&[ty.oid()], 0));
    let rows = decoder.receive(copied(bytes)).unwrap().unwrap();
    let row = rows.first().unwrap();
    let text = row.get::<Text>(0);
    assert_eq!(text.is_ok(), std::str::from_utf8(bytes).is_ok(), "{text:?}");
    let _ = (row.get::<String>(0), row.get::<i32>(0), row.get::<Numeric>(0));
    let _ = (row.get::<Vec<Option<i32>>>(0), row.get::<serde_json::Value>(0));
}
