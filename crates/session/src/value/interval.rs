//! A span of time in the three parts that PostgreSQL keeps apart.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::unread::Unread;

/// An `interval`: months, days and microseconds, which do not become each other. A month has no
/// certain number of days, and a day not always 24 hours.
///
/// ```
/// use txpostgres_session::value::Interval;
///
/// let interval = Interval { months: 1, days: -2, microseconds: 3_000_000 };
/// let sum = Interval::from_months(1) + Interval::from_days(-2) + Interval::from_seconds(3);
/// assert_eq!(interval, sum);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interval {
    /// Months; twelve of them are a year.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub microseconds: i64,
}

impl Interval {
    /// `infinity`, which PostgreSQL knows from version 17 on.
    pub const INFINITY: Self = Self { months: i32::MAX, days: i32::MAX, microseconds: i64::MAX };

    /// `-infinity`, which PostgreSQL knows from version 17 on.
    pub const NEGATIVE_INFINITY: Self =
        Self { months: i32::MIN, days: i32::MIN, microseconds: i64::MIN };

    /// So many months.
    pub fn from_months(months: i32) -> Self {
        Self { months, ..Self::default() }
    }

    /// So many days.
    pub fn from_days(days: i32) -> Self {
        Self { days, ..Self::default() }
    }

    /// So many seconds; as many as an interval can hold, if they are more.
    pub fn from_seconds(seconds: i64) -> Self {
        Self { microseconds: seconds.saturating_mul(1_000_000), ..Self::default() }
    }
}

impl std::ops::Add for Interval {
    type Output = Self;

    /// Each part by itself; past what it can hold it stays there.
    fn add(self, other: Self) -> Self {
        Self {
            months: self.months.saturating_add(other.months),
            days: self.days.saturating_add(other.days),
            microseconds: self.microseconds.saturating_add(other.microseconds),
        }
    }
}

impl FromSql<'_> for Interval {
    // `interval_send` in `timestamp.c`.
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let mut unread = Unread::new("an interval", raw);
        let microseconds = i64::from_be_bytes(unread.array()?);
        let (days, months) = (unread.i32()?, unread.i32()?);
        unread.end()?;
        Ok(Self { months, days, microseconds })
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INTERVAL
    }
}

impl ToSql for Interval {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.microseconds);
        out.put_i32(self.days);
        out.put_i32(self.months);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INTERVAL
    }

    to_sql_checked!();
}
