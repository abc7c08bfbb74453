//! Rows whose messages lay side by side: their bytes, and where each value begins.

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::protocol::wire::{AuthState, HEADER, body_length, violation};

/// Values that are found without memory of their own: those of most answers of one row.
const INLINE: usize = 4;

/// [`HEADER`], to count places with.
const HEADER_LENGTH: u32 = 5;

/// Rows whose messages lay side by side: their bytes, and where each value begins.
#[derive(Clone, Default)]
pub(super) struct Batch {
    /// `DataRow` messages as they came.
    pub(super) bytes: SmallVec<[u8; 32]>,
    /// For each value of each row the offset of its length word in `bytes`.
    pub(super) values: SmallVec<[u32; INLINE]>,
    pub(super) rows: usize,
}

impl Batch {
    /// Bytes of memory that it takes, roughly.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 4 * self.values.len()
    }

    /// A copy of the `taken` rows behind the first `skipped` ones, which are there.
    pub(super) fn part(&self, skipped: usize, taken: usize, columns: usize) -> Self {
        let values = self.values.get(skipped * columns..).unwrap_or_default();
        // Before the first value of a row lie the number of its values and the message's header.
        // Rows without columns have nothing to find.
        let begin = |value: &u32| (*value as usize).saturating_sub(2 + HEADER);
        let start = values.first().map_or(0, begin);
        let end = values.get(taken * columns).map_or(self.bytes.len(), begin);
        let shift = u32::try_from(start).unwrap_or(0);
        Self {
            bytes: SmallVec::from_slice(self.bytes.get(start..end).unwrap_or_default()),
            values: values.iter().take(taken * columns).map(|value| value - shift).collect(),
            rows: taken,
        }
    }

    /// Notes the rows at the beginning of `input`, as many as are complete, and gives back what
    /// follows them. The first is `first`, behind which is `rest`. After an error there is nothing
    /// more here than before.
    #[inline]
    pub(super) fn take_run<'a>(
        &mut self,
        input: &'a [u8],
        first: &[u8],
        rest: &'a [u8],
        columns: usize,
    ) -> Result<&'a [u8]> {
        let (rows, values) = (self.rows, self.values.len());
        let mut after = Ok(rest);
        if let Err(error) = self.index(first, self.bytes.len() + HEADER, columns) {
            after = Err(error);
        } else if rest.first() == Some(&b'D') {
            after = self.index_more(rest, HEADER + first.len(), columns);
        }
        let Ok(behind) = after else {
            // Those that came before are told of yet, and those of this run have no bytes.
            self.rows = rows;
            self.values.truncate(values);
            return after;
        };
        let run = input.get(..input.len() - behind.len()).unwrap_or_default();
        if self.bytes.is_empty() {
            // No more than there is: most answers have one run.
            self.bytes = SmallVec::from_slice(run);
        } else {
            self.bytes.extend_from_slice(run);
        }
        after
    }

    /// Notes the rows of a run behind its first one, whose `passed` bytes come next in the batch.
    fn index_more<'a>(
        &mut self,
        mut input: &'a [u8],
        passed: usize,
        columns: usize,
    ) -> Result<&'a [u8]> {
        fits(self.bytes.len() + passed + input.len())?;
        let mut base = fits(self.bytes.len() + passed + HEADER)?;
        let mut size = passed;
        while let Some((body, after)) = split_row(input)? {
            if columns == 0 {
                self.index(body, 0, 0)?;
                input = after;
                continue;
            }
            // Rows that come together are mostly alike. The last one was what it said, so each of
            // its values took four bytes at least, and no more is reserved than has come.
            let noted = self.values.len();
            self.values.resize(noted + (input.len() / size).max(1) * columns, 0);
            let blank = self.values.get_mut(noted..).unwrap_or_default();
            let mut taken = 0;
            for places in blank.chunks_exact_mut(columns) {
                let Some((body, after)) = split_row(input)? else {
                    break;
                };
                let Some(end) = walk(body, base, places) else {
                    return Err(malformed(body, columns));
                };
                base = end + HEADER_LENGTH;
                size = HEADER + body.len();
                input = after;
                taken += 1;
            }
            self.values.truncate(noted + taken * columns);
            self.rows += taken;
        }
        // Behind few rows, other results may have filled most of the input.
        if self.values.capacity() / 4 > self.values.len() {
            self.values.shrink_to_fit();
        }
        Ok(input)
    }

    /// Checks one row's body and notes where its values are; `base` is the body's place in `bytes`.
    // Most answers have one row.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn index(&mut self, body: &[u8], base: usize, columns: usize) -> Result<()> {
        fits(base + body.len())?;
        let base = fits(base)?;
        let noted = self.values.len();
        if noted > 0 || columns > INLINE {
            if noted == 0 {
                self.values.reserve_exact(columns);
            }
            self.values.resize(noted + columns, 0);
            let places = self.values.get_mut(noted..).unwrap_or_default();
            if walk(body, base, places).is_none() {
                self.values.truncate(noted);
                return Err(malformed(body, columns));
            }
        } else {
            let mut places = [0; INLINE];
            let places = places.get_mut(..columns).unwrap_or_default();
            if walk(body, base, places).is_none() {
                return Err(malformed(body, columns));
            }
            self.values = SmallVec::from_slice(places);
        }
        self.rows += 1;
        Ok(())
    }
}

/// Batches are bounded by `limits::MESSAGE_BYTES` and their own size.
#[inline]
fn fits(place: usize) -> Result<u32> {
    u32::try_from(place).map_err(|_| violation("the server sent more than fits into one batch"))
}

/// The body of the row at the beginning of `input`, and what follows it; `None` if there is no
/// complete one.
#[inline]
fn split_row(input: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
    let Some((&[b'D', ref length @ ..], rest)) = input.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = body_length(b'D', u32::from_be_bytes(*length), AuthState::Authenticated)?;
    Ok(rest.split_at_checked(length))
}

/// Notes where the values of a row are, if the row is what it says: so many values, and nothing
/// behind them. Its body begins at `base`; gives where it ends.
// Once for each row there is.
#[allow(clippy::inline_always)]
#[inline(always)]
fn walk(body: &[u8], base: u32, places: &mut [u32]) -> Option<u32> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    if usize::from(u16::from_be_bytes(*count)) != places.len() {
        return None;
    }
    let mut at = base + 2;
    for place in places {
        *place = at;
        let (word, after) = rest.split_first_chunk::<4>()?;
        // Of the lengths below 0 only that of NULL is one; the others are more than there is.
        let length = u32::from_be_bytes(*word);
        let length = if length == u32::MAX { 0 } else { length };
        rest = after.get(length as usize..)?;
        // No further than the body goes, which was seen to fit.
        at += 4 + length;
    }
    rest.is_empty().then_some(at)
}

/// What is wrong with this row.
#[cold]
fn malformed(body: &[u8], columns: usize) -> Error {
    let short = || violation("the server sent a DataRow that breaks off");
    let Some((count, mut rest)) = body.split_first_chunk::<2>() else {
        return short();
    };
    let count = usize::from(u16::from_be_bytes(*count));
    if count != columns {
        return violation(format!("the server sent a row of {count} values for {columns} columns"));
    }
    let mut taken: usize = 2;
    for _ in 0..count {
        let Some((word, after)) = rest.split_first_chunk::<4>() else {
            return short();
        };
        let length = match i32::from_be_bytes(*word) {
            -1 => 0,
            length => match usize::try_from(length) {
                Ok(length) => length,
                Err(_) => {
                    return violation(format!("the server sent a value of {length} bytes"));
                }
            },
        };
        taken += 4 + length;
        rest = after.get(length..).unwrap_or_default();
    }
    violation(format!(
        "the server sent a DataRow of {} bytes whose values take {taken}",
        body.len()
    ))
}
