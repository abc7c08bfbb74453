//! Ranges and multiranges (manual, section 8.17).

use std::error::Error;
use std::fmt;
use std::ops::{Bound, RangeBounds};

use bytes::{BufMut, BytesMut};
use postgres_types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::unread::Unread;

type Cause = Box<dyn Error + Sync + Send>;

// `RANGE_*` in `rangetypes.h`.
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// A range of values: `int4range`, `tstzrange`, or one that the database defines.
///
/// The server brings ranges of whole numbers and of dates into the form `[a,b)`: `[1,3]` comes back
/// as `[1,4)`.
///
/// ```
/// use std::ops::Bound;
/// use txpostgres_session::value::Range;
///
/// let range = Range::from(1..4);
/// assert_eq!(range.lower(), Some(Bound::Included(&1)));
/// assert!(range.contains(&3) && !range.contains(&4));
/// assert_eq!(Range::from(1..).to_string(), "[1,)");
/// assert!(Range::<i32>::Empty.is_empty());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Range<T> {
    /// No value at all.
    #[default]
    Empty,
    /// What lies between two bounds, the lower one first.
    Between(Bound<T>, Bound<T>),
}

impl<T> Range<T> {
    /// A range with these bounds.
    pub fn new(lower: Bound<T>, upper: Bound<T>) -> Self {
        Self::Between(lower, upper)
    }

    /// The range of all values.
    pub fn all() -> Self {
        Self::Between(Bound::Unbounded, Bound::Unbounded)
    }

    /// Whether it is the empty range. The server makes `[1,1)` empty, and what it sends is as it
    /// should be.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The lower bound, unless the range is empty.
    pub fn lower(&self) -> Option<Bound<&T>> {
        match self {
            Self::Empty => None,
            Self::Between(lower, _) => Some(lower.as_ref()),
        }
    }

    /// The upper bound, unless the range is empty.
    pub fn upper(&self) -> Option<Bound<&T>> {
        match self {
            Self::Empty => None,
            Self::Between(_, upper) => Some(upper.as_ref()),
        }
    }

    /// Whether the value lies in it.
    pub fn contains(&self, value: &T) -> bool
    where
        T: PartialOrd,
    {
        match self {
            Self::Empty => false,
            Self::Between(lower, upper) => (lower.as_ref(), upper.as_ref()).contains(value),
        }
    }

    fn read<'a>(ty: &Type, unread: &mut Unread<'a>) -> Result<Self, Cause>
    where
        T: FromSql<'a>,
    {
        let flags = unread.u8()?;
        if flags & EMPTY != 0 {
            return Ok(Self::Empty);
        }
        let mut bound = |infinite: u8, inclusive: u8| {
            if flags & infinite != 0 {
                return Ok(Bound::Unbounded);
            }
            let value = T::from_sql(ty, unread.sized("a bound")?)?;
            Ok::<_, Cause>(if flags & inclusive != 0 {
                Bound::Included(value)
            } else {
                Bound::Excluded(value)
            })
        };
        let lower = bound(LOWER_INFINITE, LOWER_INCLUSIVE)?;
        Ok(Self::Between(lower, bound(UPPER_INFINITE, UPPER_INCLUSIVE)?))
    }

    fn write(&self, ty: &Type, out: &mut BytesMut) -> Result<(), Cause>
    where
        T: ToSql,
    {
        let Self::Between(lower, upper) = self else {
            out.put_u8(EMPTY);
            return Ok(());
        };
        let flag = |bound: &Bound<T>, infinite, inclusive| match bound {
            Bound::Included(_) => inclusive,
            Bound::Excluded(_) => 0,
            Bound::Unbounded => infinite,
        };
        out.put_u8(
            flag(lower, LOWER_INFINITE, LOWER_INCLUSIVE)
                | flag(upper, UPPER_INFINITE, UPPER_INCLUSIVE),
        );
        for bound in [lower, upper] {
            if let Bound::Included(value) | Bound::Excluded(value) = bound {
                super::write_sized(out, |out| match value.to_sql(ty, out)? {
                    IsNull::No => Ok(()),
                    IsNull::Yes => Err("a bound of a range cannot be NULL: leave it open".into()),
                })?;
            }
        }
        Ok(())
    }
}

macro_rules! from_std {
    ($($range:ident<T>: $value:ident => $lower:expr, $upper:expr;)+) => {$(
        impl<T> From<std::ops::$range<T>> for Range<T> {
            fn from($value: std::ops::$range<T>) -> Self {
                Self::Between($lower, $upper)
            }
        }
    )+};
}

from_std! {
    Range<T>: range => Bound::Included(range.start), Bound::Excluded(range.end);
    RangeFrom<T>: range => Bound::Included(range.start), Bound::Unbounded;
    RangeTo<T>: range => Bound::Unbounded, Bound::Excluded(range.end);
    RangeToInclusive<T>: range => Bound::Unbounded, Bound::Included(range.end);
}

impl<T> From<std::ops::RangeInclusive<T>> for Range<T> {
    fn from(range: std::ops::RangeInclusive<T>) -> Self {
        let (start, end) = range.into_inner();
        Self::Between(Bound::Included(start), Bound::Included(end))
    }
}

impl<T> From<std::ops::RangeFull> for Range<T> {
    fn from(_: std::ops::RangeFull) -> Self {
        Self::all()
    }
}

/// As PostgreSQL writes it, but for quotes around bounds.
impl<T: fmt::Display> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Between(lower, upper) = self else {
            return f.write_str("empty");
        };
        match lower {
            Bound::Included(value) => write!(f, "[{value},")?,
            Bound::Excluded(value) => write!(f, "({value},")?,
            Bound::Unbounded => f.write_str("(,")?,
        }
        match upper {
            Bound::Included(value) => write!(f, "{value}]"),
            Bound::Excluded(value) => write!(f, "{value})"),
            Bound::Unbounded => f.write_str(")"),
        }
    }
}

impl<'a, T: FromSql<'a>> FromSql<'a> for Range<T> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Cause> {
        let Kind::Range(bound) = super::base(ty).kind() else {
            return Err(not_a("range", ty));
        };
        let mut unread = Unread::new("a range", raw);
        let range = Self::read(bound, &mut unread)?;
        unread.end()?;
        Ok(range)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(super::base(ty).kind(), Kind::Range(bound) if T::accepts(bound))
    }
}

impl<T: ToSql> ToSql for Range<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Cause> {
        let Kind::Range(bound) = super::base(ty).kind() else {
            return Err(not_a("range", ty));
        };
        self.write(bound, out)?;
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(super::base(ty).kind(), Kind::Range(bound) if T::accepts(bound))
    }

    to_sql_checked!();
}

/// Several ranges that do not touch each other, in order: `int4multirange` and its like.
///
/// The server puts them in order and joins those that touch, so a value may come back in another
/// form.
///
/// ```
/// use txpostgres_session::value::{Multirange, Range};
///
/// let opening_hours: Multirange<i32> = [9..12, 13..18].into_iter().map(Range::from).collect();
/// assert_eq!(opening_hours.to_string(), "{[9,12),[13,18)}");
/// assert!(opening_hours.contains(&14) && !opening_hours.contains(&12));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Multirange<T>(pub Vec<Range<T>>);

impl<T> Multirange<T> {
    /// Whether the value lies in one of the ranges.
    pub fn contains(&self, value: &T) -> bool
    where
        T: PartialOrd,
    {
        self.0.iter().any(|range| range.contains(value))
    }
}

impl<T> Default for Multirange<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> FromIterator<Range<T>> for Multirange<T> {
    fn from_iter<I: IntoIterator<Item = Range<T>>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl<T: fmt::Display> fmt::Display for Multirange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, range) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{range}")?;
        }
        f.write_str("}")
    }
}

impl<'a, T: FromSql<'a>> FromSql<'a> for Multirange<T> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Cause> {
        let Kind::Multirange(bound) = super::base(ty).kind() else {
            return Err(not_a("multirange", ty));
        };
        let mut unread = Unread::new("a multirange", raw);
        // A length and flags take five bytes.
        let count = unread.count("ranges", 5)?;
        let mut ranges = Vec::new();
        for _ in 0..count {
            let mut range = Unread::new("a range", unread.sized("a range")?);
            ranges.push(Range::read(bound, &mut range)?);
            range.end()?;
        }
        unread.end()?;
        Ok(Self(ranges))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(super::base(ty).kind(), Kind::Multirange(bound) if T::accepts(bound))
    }
}

impl<T: ToSql> ToSql for Multirange<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Cause> {
        let Kind::Multirange(bound) = super::base(ty).kind() else {
            return Err(not_a("multirange", ty));
        };
        out.put_i32(i32::try_from(self.0.len())?);
        for range in &self.0 {
            super::write_sized(out, |out| range.write(bound, out))?;
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(super::base(ty).kind(), Kind::Multirange(bound) if T::accepts(bound))
    }

    to_sql_checked!();
}

fn not_a(what: &str, ty: &Type) -> Cause {
    format!("{} is not a {what}", ty.name()).into()
}
