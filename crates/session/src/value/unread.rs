//! The bytes of a value that have not been looked at yet.

use super::Malformed;

/// What is left of one value, and what to call that value in an error.
///
/// Every step either takes bytes that are there or says what is missing; nothing is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unread<'a> {
    of: &'static str,
    rest: &'a [u8],
}

impl<'a> Unread<'a> {
    pub(super) fn new(of: &'static str, rest: &'a [u8]) -> Self {
        Self { of, rest }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(Malformed::Ends { within: self.of })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// A count of things of at least `least` bytes each, if that many can follow.
    pub(super) fn count(&mut self, unit: &'static str, least: usize) -> Result<usize, Malformed> {
        let announced = self.i32()?;
        self.fits(announced.into(), unit, least)
    }

    /// The same for a count that was read (or computed) before.
    pub(super) fn fits(
        &self,
        announced: i64,
        unit: &'static str,
        least: usize,
    ) -> Result<usize, Malformed> {
        usize::try_from(announced)
            .ok()
            .filter(|&count| count <= self.rest.len() / least)
            .ok_or(Malformed::Count { of: self.of, announced, unit, follow: self.rest.len() })
    }

    /// So many bytes.
    pub(super) fn take(
        &mut self,
        announced: i64,
        part: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let (head, rest) = usize::try_from(announced)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(Malformed::Length { part, of: self.of, announced, follow: self.rest.len() })?;
        self.rest = rest;
        Ok(head)
    }

    /// A length and so many bytes, where NULL is not possible.
    pub(super) fn sized(&mut self, part: &'static str) -> Result<&'a [u8], Malformed> {
        let announced = self.i32()?;
        self.take(announced.into(), part)
    }

    /// A length and so many bytes, or −1 for NULL.
    pub(super) fn nullable(&mut self, part: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            announced => self.take(announced.into(), part).map(Some),
        }
    }

    /// A text and the NUL that ends it.
    pub(super) fn text(&mut self) -> Result<(), Malformed> {
        let mut split = self.rest.splitn(2, |&byte| byte == 0);
        split.next();
        self.rest = split.next().ok_or(Malformed::Ends { within: self.of })?;
        Ok(())
    }

    /// A count, and so many things of exactly `each` bytes, up to the end.
    pub(super) fn all(mut self, unit: &'static str, each: usize) -> Result<(), Malformed> {
        let announced = self.i32()?;
        self.all_of(announced.into(), unit, each)
    }

    /// The same for a count that was read before.
    pub(super) fn all_of(
        mut self,
        announced: i64,
        unit: &'static str,
        each: usize,
    ) -> Result<(), Malformed> {
        let count = self.fits(announced, unit, each)?;
        self.rest = self.rest.get(count * each..).unwrap_or_default();
        self.end()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::Trailing { of: self.of, left }),
        }
    }
}
