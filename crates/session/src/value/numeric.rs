//! Exact decimal numbers as PostgreSQL has them (manual, section 8.1.2).

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use bytes::{BufMut, BytesMut};
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::unread::Unread;

/// Digits before the point, at most (manual, table 8.2).
const WHOLE_DIGITS: i64 = 131_072;

/// Digits after the point, at most.
const SCALE: i64 = 16_383;

/// Decimal digits in one of PostgreSQL's, which are to the base of 10,000.
const GROUP: usize = 4;

/// A `numeric`: every value that PostgreSQL has, exactly, with its trailing zeros, NaN and the
/// infinities.
///
/// It is for carrying numbers, not for computing. To compute, take a crate such as `rust_decimal`,
/// which brings its own `ToSql` and `FromSql` with its feature `db-tokio-postgres`. Two are equal
/// if they print the same: `1.0` is not `1.00`.
///
/// ```
/// use txpostgres_session::value::Numeric;
///
/// let price: Numeric = "-1234567.8900".parse()?;
/// assert_eq!(price.to_string(), "-1234567.8900");
/// assert_eq!(price.to_f64(), -1234567.89);
/// assert_eq!("1.5e3".parse::<Numeric>()?, Numeric::from(1500));
/// # Ok::<(), txpostgres_session::value::ParseNumericError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Numeric {
    sign: Sign,
    /// The first of `digits` counts 10,000 to this power.
    weight: i16,
    /// Decimal digits after the point that are shown.
    scale: u16,
    /// To the base of 10,000, neither the first nor the last of them zero.
    digits: Box<[u16]>,
}

/// `NUMERIC_POS` and its like in `numeric.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
enum Sign {
    Positive = 0x0000,
    Negative = 0x4000,
    NotANumber = 0xc000,
    Infinity = 0xd000,
    NegativeInfinity = 0xf000,
}

/// A text that is not a number, or one that PostgreSQL has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseNumericError {
    /// It is not a number.
    Malformed,
    /// It has more than 131,072 digits before the point or more than 16,383 after it.
    OutOfRange,
}

impl fmt::Display for ParseNumericError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "this is not a number",
            Self::OutOfRange => "this number has more digits than a numeric has room for",
        })
    }
}

impl Error for ParseNumericError {}

impl Numeric {
    /// Not a number. PostgreSQL takes it for equal to itself and greater than any number.
    pub fn nan() -> Self {
        Self::special(Sign::NotANumber)
    }

    /// Infinity.
    pub fn infinity() -> Self {
        Self::special(Sign::Infinity)
    }

    /// Negative infinity.
    pub fn negative_infinity() -> Self {
        Self::special(Sign::NegativeInfinity)
    }

    fn special(sign: Sign) -> Self {
        Self { sign, weight: 0, scale: 0, digits: Box::default() }
    }

    /// Whether it is not a number.
    pub fn is_nan(&self) -> bool {
        self.sign == Sign::NotANumber
    }

    /// Whether it is a number that is not infinite.
    pub fn is_finite(&self) -> bool {
        matches!(self.sign, Sign::Positive | Sign::Negative)
    }

    /// Decimal digits after the point.
    pub fn scale(&self) -> u16 {
        self.scale
    }

    /// The nearest `f64`; infinite if none is near.
    pub fn to_f64(&self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The number whose decimal digits are these, the first `point` of them before the point.
    fn from_digits(negative: bool, digits: &[u8], point: i64, scale: u16) -> Option<Self> {
        let leading = digits.iter().take_while(|&&digit| digit == 0).count();
        let digits = digits.get(leading..)?;
        let point = point - i64::try_from(leading).ok()?;
        if digits.is_empty() {
            return Some(Self { scale, ..Self::special(Sign::Positive) });
        }
        let weight = (point - 1).div_euclid(4);
        // Zeros in front, so that the point is between two groups.
        let pad = usize::try_from((weight + 1) * 4 - point).ok()?;
        let padded: Vec<u8> = std::iter::repeat_n(0, pad).chain(digits.iter().copied()).collect();
        let mut groups: Vec<u16> = padded
            .chunks(GROUP)
            .map(|group| {
                let value = group.iter().fold(0, |value, &digit| value * 10 + u16::from(digit));
                value * [1, 1000, 100, 10, 1].get(group.len()).copied().unwrap_or(1)
            })
            .collect();
        while groups.last() == Some(&0) {
            groups.pop();
        }
        Some(Self {
            sign: if negative { Sign::Negative } else { Sign::Positive },
            weight: i16::try_from(weight).ok()?,
            scale,
            digits: groups.into(),
        })
    }

    /// The digit that counts 10,000 to this power.
    fn digit(&self, power: i32) -> u16 {
        usize::try_from(i32::from(self.weight) - power)
            .ok()
            .and_then(|index| self.digits.get(index))
            .copied()
            .unwrap_or(0)
    }
}

impl FromStr for Numeric {
    type Err = ParseNumericError;

    /// Reads what PostgreSQL prints, and exponents.
    fn from_str(text: &str) -> Result<Self, ParseNumericError> {
        use ParseNumericError::{Malformed, OutOfRange};
        let (negative, unsigned) = match text.trim().as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] | rest => (false, rest),
        };
        let is = |name: &str| unsigned.eq_ignore_ascii_case(name.as_bytes());
        if is("NaN") {
            return Ok(Self::nan());
        }
        if is("Infinity") || is("inf") {
            return Ok(if negative { Self::negative_infinity() } else { Self::infinity() });
        }
        let mut halves = unsigned.splitn(2, |byte| byte.eq_ignore_ascii_case(&b'e'));
        let mantissa = halves.next().unwrap_or_default();
        let exponent: i64 = match halves.next() {
            None => 0,
            Some(exponent) => {
                let exponent = std::str::from_utf8(exponent).map_err(|_| Malformed)?;
                exponent.parse::<i32>().map_err(|_| Malformed)?.into()
            }
        };
        let mut parts = mantissa.splitn(2, |&byte| byte == b'.');
        let (whole, fraction) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if whole.is_empty() && fraction.is_empty() {
            return Err(Malformed);
        }
        let length = |digits: &[u8]| i64::try_from(digits.len()).map_err(|_| OutOfRange);
        let point = length(whole)? + exponent;
        let scale = (length(fraction)? - exponent).max(0);
        let digits = whole.iter().chain(fraction).map(|byte| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            _ => Err(Malformed),
        });
        let digits: Vec<u8> = digits.collect::<Result<_, _>>()?;
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        let is_zero = zeros == digits.len();
        let leading = i64::try_from(zeros).map_err(|_| OutOfRange)?;
        if scale > SCALE || !is_zero && point - leading > WHOLE_DIGITS {
            return Err(OutOfRange);
        }
        let scale = u16::try_from(scale).map_err(|_| OutOfRange)?;
        Self::from_digits(negative, &digits, point, scale).ok_or(OutOfRange)
    }
}

macro_rules! from_integers {
    ($($integer:ty),+) => {$(
        impl From<$integer> for Numeric {
            fn from(value: $integer) -> Self {
                // No integer has too many digits.
                value.to_string().parse().unwrap_or_else(|_| Self::nan())
            }
        }
    )+};
}

from_integers!(i16, i32, i64, i128, u16, u32, u64, u128);

impl fmt::Display for Numeric {
    /// As PostgreSQL prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sign {
            Sign::NotANumber => return f.write_str("NaN"),
            Sign::Infinity => return f.write_str("Infinity"),
            Sign::NegativeInfinity => return f.write_str("-Infinity"),
            Sign::Negative => f.write_str("-")?,
            Sign::Positive => {}
        }
        let weight = i32::from(self.weight).max(0);
        write!(f, "{}", self.digit(weight))?;
        for power in (0..weight).rev() {
            write!(f, "{:04}", self.digit(power))?;
        }
        if self.scale == 0 {
            return Ok(());
        }
        f.write_str(".")?;
        let mut left = usize::from(self.scale);
        for power in 1.. {
            let group = format!("{:04}", self.digit(-power));
            f.write_str(group.get(..left.min(GROUP)).unwrap_or(&group))?;
            left = left.saturating_sub(GROUP);
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromSql<'_> for Numeric {
    // `numeric_send` in `numeric.c`.
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let mut unread = Unread::new("a numeric", raw);
        let count = unread.u16()?;
        let weight = i16::from_be_bytes(unread.array()?);
        let sign = match unread.u16()? {
            0x0000 => Sign::Positive,
            0x4000 => Sign::Negative,
            // What is no finite number has no digits, and a scale that means nothing.
            0xc000 => return Ok(Self::nan()),
            0xd000 => return Ok(Self::infinity()),
            0xf000 => return Ok(Self::negative_infinity()),
            _ => return Err("a numeric has an unknown sign".into()),
        };
        let scale = unread.u16()?;
        let mut digits = Vec::with_capacity(unread.fits(count.into(), "digits", 2)?);
        for _ in 0..count {
            digits.push(unread.u16()?);
        }
        unread.end()?;
        if digits.iter().any(|&digit| digit > 9_999) {
            return Err("a numeric has a digit above 9999".into());
        }
        Ok(Self { sign, weight, scale, digits: digits.into() })
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }
}

impl ToSql for Numeric {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u16(u16::try_from(self.digits.len())?);
        out.put_i16(self.weight);
        out.put_u16(self.sign as u16);
        out.put_u16(self.scale);
        for &digit in &self.digits {
            out.put_u16(digit);
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_read() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "10000",
            "9999",
            "12345678",
            "0.1",
            "0.0001",
            "0.00001",
            "-0.000012345",
            "123456.7890",
            "100000000.00000001",
            "NaN",
            "Infinity",
            "-Infinity",
            "99999999999999999999.9",
        ] {
            assert_eq!(text.parse::<Numeric>().unwrap().to_string(), text);
        }
        for (text, printed) in [
            ("+5", "5"),
            ("-0", "0"),
            ("007.50", "7.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.25e1", "12.5"),
            ("1E-5", "0.00001"),
            ("12e-1", "1.2"),
            ("-inf", "-Infinity"),
            ("0e5", "0"),
        ] {
            assert_eq!(text.parse::<Numeric>().unwrap().to_string(), printed, "{text}");
        }
        assert_eq!(Numeric::from(i64::MIN).to_string(), i64::MIN.to_string());
    }

    #[test]
    fn says_what_is_no_number() {
        for text in ["", "-", ".", "1.2.3", "1e", "e5", "0x10", "1 2", "--1", "1e99999999999"] {
            assert_eq!(text.parse::<Numeric>(), Err(ParseNumericError::Malformed), "{text}");
        }
        for text in ["1e131072", "1e-16384", "1e2147483647", "1e-2147483648"] {
            assert_eq!(text.parse::<Numeric>(), Err(ParseNumericError::OutOfRange), "{text}");
        }
        for text in ["1e131071", "1e-16383"] {
            let number: Numeric = text.parse().unwrap();
            assert_eq!(number.to_string().parse::<Numeric>().unwrap(), number);
        }
    }
}
