//! Values: those that `postgres-types` has no Rust type for, and whether a binary value holds as
//! much as it announces, asked before a decoder believes it.
//!
//! [`Array`], [`Range`], [`Multirange`], [`Interval`], [`Numeric`] and [`Record`] are types of
//! PostgreSQL. [`Text`] and [`Raw`] take any value, so that there is always a way.
//!
//! # What is verified
//!
//! A value from the server says in its first bytes how many elements, points or fields follow. A
//! decoder that reserves memory for that number, or computes with it, is at the mercy of its
//! author: a broken pooler, a corrupt page, an attacker in between. [`verify`] compares every count
//! and length with the bytes that are there. What passes makes a decoder reserve no more than a
//! fixed multiple of the value's size, and what does not is refused with one line saying why
//! ([`Malformed`]).
//!
//! # Which decoders need it
//!
//! In postgres-types 0.2.14 with postgres-protocol 0.6.12, read line by line:
//!
//! | decoder | what a lying value does |
//! |---|---|
//! | `Vec<T>`, `Box<[T]>`, `types::array_from_sql` | reserves the product of the dimensions |
//! | `HashMap<String, Option<String>>`, `types::hstore_from_sql` | reserves the number of pairs |
//! | `LineString` (geo-types), `types::path_from_sql` | reserves the number of points |
//!
//! Each reserves by way of `size_hint` and `Vec::with_capacity`: a `text[]` of 20 bytes asks for 51
//! GB, and the process aborts. A type is taken for an hstore by its *name*, whatever its kind is. A
//! negative number of points is never refused: it becomes a `size_hint` of 2⁶⁴, and counting it
//! down overflows.
//!
//! The others look at the length before they trust it and answer a lie with an error: numbers,
//! `bool`, `"char"`, texts, `bytea`, `json` and `jsonb`, `uuid`, `inet` and `cidr`, `macaddr`,
//! dates and times, `point`, `box`, `pg_lsn`, `ltree` and its queries, `bit` and `varbit` (the
//! count of bits against the bytes), ranges (each bound against the bytes), `[T; N]` (never more
//! than `N`), and what `#[derive(FromSql)]` of postgres-derive 0.4.9 makes. But wherever NULL is
//! possible, every negative length is taken for it, where the protocol knows only −1.
//!
//! Multiranges, records, `numeric`, `polygon`, `tsvector`, `tsquery` and snapshots have no decoder
//! there; they are verified for the ones that live elsewhere.
//!
//! Not to be cured here, because the value is not malformed: `Vec<T>`, `[T; N]` and derived
//! composites panic on a type that is none (ask `accepts` first); `SystemTime` adds and subtracts
//! unchecked, which Windows, counting from 1601, does not have room for; `Rect` of geo-types 0.6.0
//! (not of 0.6.2) panics on a `box` with a NaN in it. Values that a decoder would change are
//! refused in `lossy.rs`.
//!
//! # What it means to be verified
//!
//! A value is verified *as a type*, and has to be decoded as that type. The type of its elements
//! that an array announces is not compared, as the decoders do not look at it either; it counts
//! only where the type leaves it open (`anyarray`). Inside of `record` every field is verified as
//! the built-in type it announces; a field of any other type is only measured, and to be verified
//! again by who decodes it.

mod array;
#[doc(hidden)]
pub mod derive;
mod domain;
mod far_time;
pub(crate) mod fitting;
mod interval;
mod lossy;
mod malformed;
pub(crate) mod mismatch;
mod numeric;
mod range;
mod raw;
mod record;
mod text;
mod unread;

#[cfg(test)]
mod tests;

use std::error::Error;

use bytes::{BufMut, BytesMut};
use postgres_types::{Field, Kind, Type};

pub use array::{Array, Dimension, ShapeError};
#[doc(hidden)]
pub use domain::write;
pub(crate) use domain::{accepts, without_domains, write_plain};
#[doc(hidden)]
pub use far_time::is_looked_at;
pub(crate) use far_time::{holds_moments, to_sql_checked};
pub use interval::Interval;
pub(crate) use lossy::{changes_some, decode, is_kept};
pub use malformed::Malformed;
pub use numeric::{Numeric, ParseNumericError};
pub use range::{Multirange, Range};
pub use raw::Raw;
pub use record::Record;
pub use text::Text;
pub(crate) use text::{is_text, write_as_text};
use unread::Unread;

use crate::limits;

/// The least that an element or a field can take: its length.
const LENGTH: usize = 4;

/// Checks that a binary value of type `ty` holds what it announces, so that a decoder may believe
/// it.
///
/// It reads what is announced, skips what it is announced for, and allocates nothing. For types of
/// a fixed size and for texts there is nothing to do: their decoders have no count to believe.
///
/// # Examples
///
/// ```
/// use postgres_types::Type;
/// use txpostgres_session::value;
///
/// // One dimension, no NULLs, text; 2,147,483,647 elements from 1 on. And then nothing.
/// let bytes = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1];
/// let malformed = value::verify(&Type::TEXT_ARRAY, &bytes).unwrap_err();
/// assert_eq!(
///     malformed.to_string(),
///     "an array announces 2147483647 elements and 0 bytes follow"
/// );
/// ```
#[inline]
pub fn verify(ty: &Type, bytes: &[u8]) -> Result<(), Malformed> {
    if announces_nothing(ty) {
        return Ok(());
    }
    announced(ty, bytes, limits::VALUE_DEPTH)
}

/// Types whose values are one piece: nothing in them says how much follows.
#[inline]
pub(crate) fn announces_nothing(ty: &Type) -> bool {
    matches!(
        *ty,
        Type::BOOL
            | Type::CHAR
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::MONEY
            | Type::OID
            | Type::REGPROC
            | Type::REGPROCEDURE
            | Type::REGOPER
            | Type::REGOPERATOR
            | Type::REGCLASS
            | Type::REGTYPE
            | Type::REGROLE
            | Type::REGNAMESPACE
            | Type::REGCONFIG
            | Type::REGDICTIONARY
            | Type::REGCOLLATION
            | Type::XID
            | Type::XID8
            | Type::CID
            | Type::TID
            | Type::PG_LSN
            | Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
            | Type::UNKNOWN
            | Type::CSTRING
            | Type::REFCURSOR
            | Type::XML
            | Type::JSON
            | Type::JSONB
            | Type::JSONPATH
            | Type::BYTEA
            | Type::UUID
            | Type::DATE
            | Type::TIME
            | Type::TIMETZ
            | Type::TIMESTAMP
            | Type::TIMESTAMPTZ
            | Type::INTERVAL
            | Type::MACADDR
            | Type::MACADDR8
            | Type::POINT
            | Type::LINE
            | Type::LSEG
            | Type::BOX
            | Type::CIRCLE
            | Type::VOID
    )
}

/// A value that may announce something, with so many levels of nesting left.
///
/// A type is as deep as it was built, but a `record` brings its types along in the value and may
/// hold records without end: hence the count.
fn announced(ty: &Type, bytes: &[u8], levels: usize) -> Result<(), Malformed> {
    if announces_nothing(ty) {
        return Ok(());
    }
    let levels = levels.checked_sub(1).ok_or(Malformed::Depth)?;
    match *ty {
        Type::NUMERIC => numeric(bytes),
        Type::BIT | Type::VARBIT => bits(bytes),
        Type::INET | Type::CIDR => address(bytes),
        Type::PATH => path(bytes),
        Type::POLYGON => Unread::new("a polygon", bytes).all("points", POINT),
        Type::TS_VECTOR => tsvector(bytes),
        Type::TSQUERY => tsquery(bytes),
        Type::PG_SNAPSHOT | Type::TXID_SNAPSHOT => snapshot(bytes),
        Type::RECORD => composite(None, bytes, levels),
        Type::ANYARRAY => array(None, bytes, levels),
        Type::RECORD_ARRAY => array(Some(&Type::RECORD), bytes, levels),
        _ => of_its_kind(ty, bytes, levels),
    }
}

/// A value of a type that is known by what it is made of, or by its name alone.
fn of_its_kind(ty: &Type, bytes: &[u8], levels: usize) -> Result<(), Malformed> {
    if ty.name() == "hstore" {
        if *ty.kind() == Kind::Simple {
            return hstore(bytes);
        }
        // Every table and every domain may be called `hstore`, and the decoder goes by the name:
        // whatever this is, it must not be able to reserve more than it brings along.
        Unread::new("an hstore", bytes).count("pairs", PAIR)?;
    }
    match ty.kind() {
        Kind::Array(member) => array(Some(member), bytes, levels),
        Kind::Range(bound) => range(bound, bytes, levels),
        Kind::Multirange(bound) => multirange(bound, bytes, levels),
        Kind::Domain(base) => announced(base, bytes, levels),
        Kind::Composite(fields) => composite(Some(fields), bytes, levels),
        _ => Ok(()),
    }
}

/// What a domain is of; any other type itself.
pub(crate) fn base(mut ty: &Type) -> &Type {
    // No deeper than it was built.
    while let Kind::Domain(base) = ty.kind() {
        ty = base;
    }
    ty
}

/// Writes what `write` writes, with its length in front.
fn write_sized(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), Box<dyn Error + Sync + Send>>,
) -> Result<(), Box<dyn Error + Sync + Send>> {
    let at = out.len();
    out.put_i32(0);
    write(out)?;
    let length = i32::try_from(out.len().saturating_sub(at + 4))?;
    match out.get_mut(at..at + 4) {
        Some(place) => place.copy_from_slice(&length.to_be_bytes()),
        None => return Err("a part of the value removed bytes that are not its own".into()),
    }
    Ok(())
}

/// `array_send` in the server's `arrayfuncs.c`; `int2vector` and `oidvector` are sent alike.
fn array(member: Option<&Type>, bytes: &[u8], levels: usize) -> Result<(), Malformed> {
    let mut unread = Unread::new("an array", bytes);
    let announced_dimensions = unread.i32()?;
    let dimensions = usize::try_from(announced_dimensions)
        .ok()
        .filter(|&dimensions| dimensions <= limits::ARRAY_DIMENSIONS)
        .ok_or(Malformed::Dimensions { announced: announced_dimensions })?;
    let _has_nulls = unread.i32()?;
    let announced_member = unread.u32()?;

    let mut elements = i64::from(dimensions > 0);
    for _ in 0..dimensions {
        let length = unread.i32()?;
        let _lower_bound = unread.i32()?;
        if length < 0 {
            // Said here and not of the product, which two negative lengths would make positive.
            unread.fits(length.into(), "elements", LENGTH)?;
        }
        if length == 0 && dimensions > 1 {
            return Err(Malformed::EmptyDimension);
        }
        // Six lengths need more than 64 bits; a product that does not fit is still larger than any
        // value.
        elements = elements.saturating_mul(length.into());
    }
    let elements = unread.fits(elements, "elements", LENGTH)?;

    let built_in = built_in_unless(member, announced_member);
    let member = member.or(built_in.as_ref()).filter(|member| !announces_nothing(member));
    for _ in 0..elements {
        let element = unread.nullable("an element")?;
        if let (Some(member), Some(element)) = (member, element) {
            announced(member, element, levels)?;
        }
    }
    unread.end()
}

/// The built-in type of this OID, unless the type is known.
fn built_in_unless(known: Option<&Type>, oid: u32) -> Option<Type> {
    match known {
        Some(_) => None,
        None => Type::from_oid(oid),
    }
}

/// `record_send` in `rowtypes.c`: the number of fields, and each as its type and a value or NULL.
///
/// Without declared fields it is a `record`, where every field is what it says.
fn composite(declared: Option<&[Field]>, bytes: &[u8], levels: usize) -> Result<(), Malformed> {
    /// A type and a length.
    const LEAST: usize = 8;
    let of = declared.map_or("a record", |_| "a composite");
    let mut unread = Unread::new(of, bytes);
    let count = unread.count("fields", LEAST)?;
    if let Some(declared) = declared.map(<[Field]>::len).filter(|&len| len != count) {
        return Err(Malformed::Fields { announced: count, declared });
    }
    let mut declared = declared.map(<[Field]>::iter);
    for _ in 0..count {
        let announced_type = unread.u32()?;
        let field = unread.nullable("a field")?;
        let declared = declared.as_mut().and_then(Iterator::next).map(Field::type_);
        if let Some(declared) = declared.filter(|ty| ty.oid() != announced_type) {
            return Err(Malformed::FieldType {
                announced: announced_type,
                declared: declared.oid(),
            });
        }
        let Some(field) = field else { continue };
        let built_in = built_in_unless(declared, announced_type);
        if let Some(ty) = declared.or(built_in.as_ref()) {
            announced(ty, field, levels)?;
        }
    }
    unread.end()
}

/// `range_send` in `rangetypes.c`: flags, and the bounds that the flags do not deny.
fn range(bound: &Type, bytes: &[u8], levels: usize) -> Result<(), Malformed> {
    // `RANGE_*` in `rangetypes.h`; the two that say whether a bound is inclusive do not change what
    // follows.
    const EMPTY: u8 = 0x01;
    const LOWER_INFINITE: u8 = 0x08;
    const UPPER_INFINITE: u8 = 0x10;
    const WITH_BOUNDS: u8 = 0x1e;

    let mut unread = Unread::new("a range", bytes);
    let flags = unread.u8()?;
    if flags & EMPTY != 0 {
        // The server asks for this bit, postgres-protocol for this byte: with other flags beside it
        // they would not read the same value.
        if flags & WITH_BOUNDS != 0 {
            return Err(Malformed::RangeFlags { flags });
        }
        return unread.end();
    }
    for infinite in [LOWER_INFINITE, UPPER_INFINITE] {
        if flags & infinite == 0 {
            let value = unread.sized("a bound")?;
            announced(bound, value, levels)?;
        }
    }
    unread.end()
}

/// `multirange_send` in `multirangetypes.c`: the number of ranges, and each with its length.
fn multirange(bound: &Type, bytes: &[u8], levels: usize) -> Result<(), Malformed> {
    /// A length and flags.
    const LEAST: usize = 5;
    let mut unread = Unread::new("a multirange", bytes);
    for _ in 0..unread.count("ranges", LEAST)? {
        range(bound, unread.sized("a range")?, levels)?;
    }
    unread.end()
}

/// The least that a pair of an hstore takes: the length of its key and that of its value.
const PAIR: usize = 8;

/// `hstore_send` in `contrib/hstore/hstore_io.c`: the number of pairs, and each as a key and a
/// value or NULL.
fn hstore(bytes: &[u8]) -> Result<(), Malformed> {
    let mut unread = Unread::new("an hstore", bytes);
    for _ in 0..unread.count("pairs", PAIR)? {
        unread.sized("a key")?;
        unread.nullable("a value")?;
    }
    unread.end()
}

/// Two `float8`.
const POINT: usize = 16;

/// `path_send` in `geo_ops.c`: closed or open, the number of points, the points.
fn path(bytes: &[u8]) -> Result<(), Malformed> {
    let mut unread = Unread::new("a path", bytes);
    let _closed = unread.u8()?;
    unread.all("points", POINT)
}

/// `numeric_send` in `numeric.c`: the number of digits to the base of 10,000; weight, sign and
/// scale; the digits.
fn numeric(bytes: &[u8]) -> Result<(), Malformed> {
    let mut unread = Unread::new("a numeric", bytes);
    let digits = unread.u16()?;
    let _weight_sign_scale = unread.array::<6>()?;
    unread.all_of(digits.into(), "digits", 2)
}

/// `varbit_send` in `varbit.c`: the number of bits, and as many bytes as they take.
fn bits(bytes: &[u8]) -> Result<(), Malformed> {
    let mut unread = Unread::new("a bit string", bytes);
    let bits = i64::from(unread.i32()?);
    let whole = bits.saturating_add(7) / 8;
    // Rounding takes −7 … −1 for no bytes at all.
    unread.take(if bits < 0 { bits } else { whole }, "the bits")?;
    unread.end()
}

/// `network_send` in `network.c`: family, bits of the mask, whether it is a cidr, the length of the
/// address, the address.
fn address(bytes: &[u8]) -> Result<(), Malformed> {
    let mut unread = Unread::new("a network address", bytes);
    let [_family, _mask, _is_cidr, length] = unread.array()?;
    unread.take(length.into(), "the address")?;
    unread.end()
}

/// `tsvectorsend` in `tsvector.c`: the number of lexemes, and each as a text, the number of its
/// positions, the positions.
fn tsvector(bytes: &[u8]) -> Result<(), Malformed> {
    /// The NUL of a text and a number of positions.
    const LEAST: usize = 3;
    let mut unread = Unread::new("a tsvector", bytes);
    for _ in 0..unread.count("lexemes", LEAST)? {
        unread.text()?;
        let positions = i64::from(unread.u16()?);
        unread.take(positions * 2, "the positions of a lexeme")?;
    }
    unread.end()
}

/// `tsquerysend` in `tsquery.c`: the number of items; a word as weight, prefix and text, an
/// operator as its number, and its distance if it is `<N>`.
fn tsquery(bytes: &[u8]) -> Result<(), Malformed> {
    // `QI_VAL` and `OP_PHRASE` in `ts_type.h`.
    const WORD: u8 = 1;
    const PHRASE: u8 = 4;
    /// The kind of the item and the number of an operator.
    const LEAST: usize = 2;
    let mut unread = Unread::new("a tsquery", bytes);
    for _ in 0..unread.count("items", LEAST)? {
        if unread.u8()? == WORD {
            let [_weight, _prefix] = unread.array()?;
            unread.text()?;
        } else if unread.u8()? == PHRASE {
            let _distance = unread.u16()?;
        }
    }
    unread.end()
}

/// `pg_snapshot_send` in `xid8funcs.c`: the number of transactions in progress, the lowest, the
/// next, all of them.
fn snapshot(bytes: &[u8]) -> Result<(), Malformed> {
    let mut unread = Unread::new("a snapshot", bytes);
    let transactions = unread.i32()?;
    let _lowest_and_next = unread.array::<16>()?;
    unread.all_of(transactions.into(), "transactions", 8)
}
