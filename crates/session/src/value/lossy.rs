//! Values that a decoder would change without a word, or panic on: refused before it sees them.
//!
//! The decoders are those of `postgres-types` 0.2.14 and `rust_decimal` 1.43, which other crates
//! implement for their types:
//!
//! | decoder | what it makes of |
//! |---|---|
//! | `chrono::NaiveTime`, `time::Time` | `24:00:00`: `00:00:00` |
//! | `SystemTime` | `infinity`: the year 294277; `-infinity`: 290,000 years BC |
//! | `IpAddr` | `10.1.2.3/8`: the address, without the mask |
//! | `geo_types::LineString` | a closed path: an open one |
//! | `rust_decimal::Decimal` | more than 28 digits: other digits, or a panic |
//!
//! A decoder is known by [`type_name`], which is the only thing that a type tells that may borrow.
//! Its text is not promised to be stable: the tests of the face hold each decoder to it. The name
//! is looked at only for a value that is in the table, so ordinary ones cost a comparison.

use std::any::type_name;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use postgres_types::{FromSql, Kind, Type};

use super::unread::Unread;
use super::{announces_nothing, base};

type Cause = Box<dyn Error + Sync + Send>;

/// Microseconds of a day, which is also `24:00:00`.
const DAY: i64 = 86_400_000_000;

/// Why a value was not handed to a decoder that accepts its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lossy {
    EndOfDay,
    Infinity,
    Mask,
    Closed,
    Digits,
}

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfDay => "24:00:00 would become 00:00:00; `Text` has it",
            Self::Infinity => {
                "an infinity would become a date; `types::Timestamp<SystemTime>` has it"
            }
            Self::Mask => "the mask would be lost; `cidr::IpInet` and `Text` have it",
            Self::Closed => "a closed path would become an open one; `Text` has it",
            Self::Digits => "the number has more digits than fit; `value::Numeric` has them",
        })
    }
}

impl Error for Lossy {}

impl Lossy {
    /// The crates and names of the types whose decoder would change it.
    fn is_of(self, krate: &str, name: &str, within: &str) -> bool {
        match self {
            Self::EndOfDay => matches!((krate, name), ("chrono", "NaiveTime") | ("time", "Time")),
            Self::Infinity => {
                matches!(krate, "std" | "core") && name == "SystemTime" && within != "Timestamp"
            }
            Self::Mask => matches!(krate, "std" | "core" | "alloc") && name == "IpAddr",
            Self::Closed => (krate, name) == ("geo_types", "LineString"),
            Self::Digits => (krate, name) == ("rust_decimal", "Decimal"),
        }
    }

    /// Whether a type of Rust of this name has a part whose decoder would change the value.
    fn is_in(self, rust: &str) -> bool {
        let mut within = "";
        rust.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).any(|path| {
            let krate = path.split_once("::").map_or("", |(krate, _)| krate);
            let name = path.rsplit_once("::").map_or(path, |(_, name)| name);
            let outer = std::mem::replace(&mut within, name);
            self.is_of(krate, name, outer)
        })
    }
}

/// Whether a value is one that every decoder of its type keeps: of one piece, and in none of the
/// rows of the table.
// One look at the type, for every value there is.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn is_kept(ty: &Type, value: &[u8]) -> bool {
    match *ty {
        Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => of_one_piece(ty, value).is_none(),
        _ => announces_nothing(ty),
    }
}

/// Whether a value of one piece may be changed.
fn of_one_piece(ty: &Type, value: &[u8]) -> Option<Lossy> {
    let micros = || value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
    match *ty {
        Type::TIME if micros() == Some(DAY) => Some(Lossy::EndOfDay),
        Type::TIMESTAMP | Type::TIMESTAMPTZ if matches!(micros(), Some(i64::MAX | i64::MIN)) => {
            Some(Lossy::Infinity)
        }
        _ => None,
    }
}

/// Whether the decoder of `T` changes some values of this type, which is of one piece.
#[inline]
pub(crate) fn changes_some<T>(ty: &Type) -> bool {
    match *ty {
        Type::TIME => Lossy::EndOfDay.is_in(type_name::<T>()),
        // Asked for each row of those that are decoded one by one: the size, which costs nothing,
        // says it of most types.
        Type::TIMESTAMP | Type::TIMESTAMPTZ if may_hold::<T, SystemTime>() => {
            Lossy::Infinity.is_in(type_name::<T>())
        }
        _ => false,
    }
}

/// Whether a `T` has room for a `Part`, or is a pointer to one.
#[inline]
fn may_hold<T, Part>() -> bool {
    size_of::<T>() >= size_of::<Part>() || size_of::<T>() == size_of::<usize>()
}

/// Decodes a value of this type, which was verified, as `accepted`, which `T` accepts: the type
/// itself, or without its domains.
///
/// # Errors
///
/// Those of the decoder; it panicked; or it would change the value.
#[inline]
pub(crate) fn decode<'a, T: FromSql<'a>>(
    ty: &Type,
    accepted: &Type,
    value: &'a [u8],
) -> Result<T, Cause> {
    if is_kept(ty, value) {
        return T::from_sql(accepted, value);
    }
    decode_carefully(ty, accepted, value)
}

#[inline(never)]
fn decode_carefully<'a, T: FromSql<'a>>(
    ty: &Type,
    accepted: &Type,
    value: &'a [u8],
) -> Result<T, Cause> {
    if let Some(lossy) = find(ty, value)
        && lossy.is_in(type_name::<T>())
    {
        return Err(lossy.into());
    }
    caught("its decoder", || T::from_sql(accepted, value))
}

/// Calls the code of another crate; if it panics, that is its error.
///
/// # Errors
///
/// Those of `call`.
pub(crate) fn caught<T>(what: &str, call: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    // What it has left half done is seen by no one: a decoder has no state, and what an encoder has
    // written is discarded after an error.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .map(|said| (*said).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Err(format!("{what} panicked: {}", said.as_deref().unwrap_or("no message")).into())
    })
}

/// The first part of a value that some decoder would change. Fields of composites are left to who
/// decodes them.
fn find(ty: &Type, value: &[u8]) -> Option<Lossy> {
    let ty = base(ty);
    match *ty {
        Type::INET => has_mask(value).then_some(Lossy::Mask),
        Type::PATH => (value.first() != Some(&0)).then_some(Lossy::Closed),
        Type::NUMERIC => exceeds_decimal(value).then_some(Lossy::Digits),
        _ => match ty.kind() {
            Kind::Array(member) if may_be_changed(member) => {
                in_array(member, value).unwrap_or_default()
            }
            Kind::Range(bound) if may_be_changed(bound) => {
                in_range(bound, value).unwrap_or_default()
            }
            Kind::Multirange(bound) if may_be_changed(bound) => {
                in_multirange(bound, value).unwrap_or_default()
            }
            _ => of_one_piece(ty, value),
        },
    }
}

fn may_be_changed(ty: &Type) -> bool {
    let ty = base(ty);
    match ty.kind() {
        Kind::Array(part) | Kind::Range(part) | Kind::Multirange(part) => may_be_changed(part),
        _ => matches!(
            *ty,
            Type::TIME
                | Type::TIMESTAMP
                | Type::TIMESTAMPTZ
                | Type::INET
                | Type::PATH
                | Type::NUMERIC
        ),
    }
}

// The forms are those that `verify` has checked.

fn in_array(member: &Type, value: &[u8]) -> Result<Option<Lossy>, super::Malformed> {
    let mut unread = Unread::new("an array", value);
    let (dimensions, _has_nulls, _member) = (unread.i32()?, unread.i32()?, unread.u32()?);
    let mut elements = i64::from(dimensions > 0);
    for _ in 0..dimensions {
        let (length, _lower_bound) = (unread.i32()?, unread.i32()?);
        elements = elements.saturating_mul(length.into());
    }
    for _ in 0..elements {
        if let Some(element) = unread.nullable("an element")?
            && let Some(lossy) = find(member, element)
        {
            return Ok(Some(lossy));
        }
    }
    Ok(None)
}

fn in_range(bound: &Type, value: &[u8]) -> Result<Option<Lossy>, super::Malformed> {
    // `RANGE_*` in `rangetypes.h`: empty, no lower bound, no upper bound.
    const WITHOUT: [u8; 2] = [0x01 | 0x08, 0x01 | 0x10];
    let mut unread = Unread::new("a range", value);
    let flags = unread.u8()?;
    for without in WITHOUT {
        if flags & without == 0
            && let Some(lossy) = find(bound, unread.sized("a bound")?)
        {
            return Ok(Some(lossy));
        }
    }
    Ok(None)
}

fn in_multirange(bound: &Type, value: &[u8]) -> Result<Option<Lossy>, super::Malformed> {
    let mut unread = Unread::new("a multirange", value);
    for _ in 0..unread.i32()? {
        if let Some(lossy) = in_range(bound, unread.sized("a range")?)? {
            return Ok(Some(lossy));
        }
    }
    Ok(None)
}

/// Family, bits of the mask, whether it is a cidr, the length of the address (`network_send`).
fn has_mask(value: &[u8]) -> bool {
    !matches!(*value, [_, mask, _, length, ..] if u16::from(mask) == u16::from(length) * 8)
}

/// Whether a number is none that `rust_decimal` holds: less than 2⁹⁶, over 10 to the power of 28 at
/// most. NaN and the infinities are left to its decoder, which refuses them.
fn exceeds_decimal(value: &[u8]) -> bool {
    const NOT_A_NUMBER: u16 = 0xc000;
    const MOST: u128 = 1 << 96;
    const SCALE: i32 = 28;
    let mut words =
        value.chunks_exact(2).map(|word| word.iter().fold(0, |n, &b| n << 8 | u16::from(b)));
    let (Some(count), Some(weight), Some(sign), Some(_shown)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    if sign >= NOT_A_NUMBER || count == 0 {
        return false;
    }
    // Decimal digits after the point, of the groups that are there.
    let mut scale = (i32::from(count) - 1 - i32::from(weight.cast_signed())) * 4;
    let Some(mut number) = words
        .try_fold(0_u128, |number, group| number.checked_mul(10_000)?.checked_add(group.into()))
    else {
        return true;
    };
    while scale > 0 && number > 0 && number % 10 == 0 {
        number /= 10;
        scale -= 1;
    }
    while scale < 0 && number < MOST {
        number *= 10;
        scale += 1;
    }
    number >= MOST || scale > SCALE
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use bytes::BytesMut;
    use postgres_types::{Timestamp, ToSql};

    use super::*;
    use crate::value::Numeric;

    #[test]
    fn decoders_are_known_by_their_names() {
        assert!(Lossy::Infinity.is_in(type_name::<Vec<Option<SystemTime>>>()));
        assert!(!Lossy::Infinity.is_in(type_name::<Timestamp<SystemTime>>()));
        assert!(!Lossy::Infinity.is_in(type_name::<Option<Timestamp<SystemTime>>>()));
        assert!(Lossy::Infinity.is_in(type_name::<(Timestamp<SystemTime>, SystemTime)>()));
        assert!(Lossy::Mask.is_in(type_name::<IpAddr>()));
        assert!(!Lossy::Mask.is_in("cidr::IpInet"));
        assert!(Lossy::EndOfDay.is_in("time::time::Time"));
        assert!(!Lossy::EndOfDay.is_in("jiff::civil::time::Time"));
    }

    #[test]
    fn numbers_that_a_decimal_holds() {
        let exceeds = |text: &str| {
            let mut out = BytesMut::new();
            text.parse::<Numeric>().unwrap().to_sql(&Type::NUMERIC, &mut out).unwrap();
            exceeds_decimal(&out)
        };
        for text in [
            "0",
            "0.000",
            "-1.5",
            "79228162514264337593543950335",
            "7.9228162514264337593543950335",
            "0.0000000000000000000000000001",
            "10000000000000000000000000000",
            "1.00000000000000000000000000000000000",
            "NaN",
        ] {
            assert!(!exceeds(text), "{text}");
        }
        for text in [
            "79228162514264337593543950336",
            "79228162514264337593543950335.1",
            "0.00000000000000000000000000001",
            "1e29",
            "9999e36",
            "1e1000",
            "1e-1000",
            "12345678901234567890123456789.5",
        ] {
            assert!(exceeds(text), "{text}");
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let error = caught::<()>("it", || panic!("of {}", 7)).unwrap_err();
        assert_eq!(error.to_string(), "it panicked: of 7");
    }
}
