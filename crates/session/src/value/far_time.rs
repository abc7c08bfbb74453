//! A `SystemTime` that PostgreSQL has no room for: refused before it is encoded.
//!
//! The encoder of postgres-types 0.2.14 counts microseconds in 64 bits and does not look whether
//! they fit: the year 300,000 is sent as one before Christ, and with overflow checks the year
//! 600,000 panics. A parameter is known by its trait only, which has no other way to tell what it
//! is than `Debug`; what the standard library prints for a `SystemTime` on Unix are the seconds
//! since 1970. (That of Windows ends in the year 30828.)

use std::error::Error;
use std::fmt::{self, Write};

use bytes::BytesMut;
use postgres_types::{IsNull, Kind, ToSql, Type};

use super::lossy::caught;

type Cause = Box<dyn Error + Sync + Send>;

/// What PostgreSQL has timestamps for, in seconds since 1970: from 4714-11-24 BC up to the end of
/// 294276 (manual, table 8.9).
const SECONDS: std::ops::RangeInclusive<i64> = -210_866_803_200..=9_224_318_015_999;

/// How much is looked at before a value is taken for something else: 64 bytes, which an array of
/// NULLs may begin with.
const LOOKED_AT: usize = 64;

/// `ToSql::to_sql_checked`, of a value that may be a moment.
///
/// # Errors
///
/// Those of the value's `ToSql`.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn to_sql_checked<T: ToSql + ?Sized>(
    value: &T,
    ty: &Type,
    out: &mut BytesMut,
) -> Result<IsNull, Cause> {
    if holds_moments(ty) {
        return moment(&value, ty, out, &|out| value.to_sql_checked(ty, out));
    }
    value.to_sql_checked(ty, out)
}

/// Whether values of a `T` must be looked at before they are encoded, by the name of `T`. Asked
/// where its encoder is called without `to_sql_checked`.
pub fn is_looked_at<T>() -> bool {
    let rust = std::any::type_name::<T>();
    ["::SystemTime", "::OffsetDateTime"].iter().any(|name| rust.contains(name))
}

/// Whether values of the type are moments, or made of moments, domains over them included. A
/// composite writes its fields by itself.
pub(crate) fn holds_moments(ty: &Type) -> bool {
    match ty.kind() {
        Kind::Simple => matches!(*ty, Type::TIMESTAMP | Type::TIMESTAMPTZ),
        Kind::Domain(of) | Kind::Array(of) | Kind::Range(of) | Kind::Multirange(of) => {
            holds_moments(of)
        }
        _ => false,
    }
}

#[inline(never)]
fn moment(
    value: &dyn fmt::Debug,
    ty: &Type,
    out: &mut BytesMut,
    write: &dyn Fn(&mut BytesMut) -> Result<IsNull, Cause>,
) -> Result<IsNull, Cause> {
    let mut seconds = Seconds::default();
    // It fails where there is nothing to look for any more.
    let _ = write!(seconds, "{value:?}");
    if seconds.is_far() {
        return Err(format!("the time is beyond what {} has room for", ty.name()).into());
    }
    // `OffsetDateTime` of the crate time panics if it has no such moment in UTC.
    caught("its encoder", || write(out))
}

/// Looks for the seconds of `SystemTime`s in what is printed.
#[derive(Default)]
struct Seconds {
    printed: String,
    /// Seconds out of range were there.
    found: bool,
}

impl Seconds {
    const BEFORE: &str = "tv_sec: ";

    fn is_far(&mut self) -> bool {
        self.look();
        self.found
    }

    /// Looks at all numbers that are complete.
    fn look(&mut self) {
        while let Some((_, rest)) = self.printed.split_once(Self::BEFORE)
            && let Some(end) = rest.find([',', ' ', '}'])
        {
            let seconds = rest.get(..end).map(str::parse::<i64>);
            self.found |= matches!(seconds, Some(Ok(seconds)) if !SECONDS.contains(&seconds));
            self.printed = rest.get(end..).unwrap_or_default().to_owned();
        }
    }
}

impl Write for Seconds {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.printed.push_str(text);
        let is_other = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
                || text.len() > LOOKED_AT && !text.contains("SystemTime")
        };
        if self.found || is_other(&self.printed) {
            return Err(fmt::Error);
        }
        if self.printed.len() > LOOKED_AT * 4 {
            self.look();
            // What lies between two of them is short, and may name the next.
            let from = self.printed.len().saturating_sub(LOOKED_AT);
            let from = (from..=self.printed.len())
                .find(|&at| self.printed.is_char_boundary(at))
                .unwrap_or(0);
            self.printed = format!("SystemTime{}", self.printed.get(from..).unwrap_or_default());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::value::Range;

    fn is_far(value: &dyn fmt::Debug) -> bool {
        let mut seconds = Seconds::default();
        let _ = write!(seconds, "{value:?}");
        seconds.is_far()
    }

    #[cfg(unix)]
    #[test]
    fn times_that_do_not_fit_are_found_wherever_they_are() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let last = at(9_224_318_015_999);
        let far = last + Duration::from_secs(1);
        let first = UNIX_EPOCH - Duration::from_secs(210_866_803_200);
        assert!(!is_far(&last) && !is_far(&first) && !is_far(&None::<SystemTime>));
        for far in
            [far, at(1 << 62), first - Duration::from_secs(1), first - Duration::from_nanos(1)]
        {
            assert!(is_far(&far) && is_far(&Some(far)) && is_far(&&[last, far][..]), "{far:?}");
            assert!(is_far(&vec![None, Some(far)]) && is_far(&Range::from(first..far)));
            let mut many = vec![last; 100];
            assert!(!is_far(&many));
            many.push(far);
            assert!(is_far(&many));
        }
        assert!(!is_far(&"2026-11-29T00:00:00Z") && !is_far(&vec!["x"; 1000]));
    }
}
