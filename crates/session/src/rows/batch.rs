//! Rows whose messages lay side by side: their bytes, and where each value begins.

use smallvec::SmallVec;

use crate::error::Result;
use crate::wire::{HEADER, violation};

/// Rows whose messages lay side by side: their bytes, and where each value begins.
#[derive(Clone, Default)]
pub(super) struct Batch {
    /// `DataRow` messages as they came.
    pub(super) bytes: SmallVec<[u8; 32]>,
    /// For each value of each row the offset of its length word in `bytes`.
    pub(super) values: SmallVec<[u32; 4]>,
    pub(super) rows: usize,
}

impl Batch {
    /// A copy of the `taken` rows behind the first `skipped` ones, which are there.
    pub(super) fn part(&self, skipped: usize, taken: usize, columns: usize) -> Self {
        let values = self.values.get(skipped * columns..).unwrap_or_default();
        // Before the first value of a row lie the number of its values and the message's header. Rows without columns have
        // nothing to find.
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

    /// Checks one row's body and notes where its values are; `base` is the body's place in `bytes`.
    pub(super) fn index(&mut self, body: &[u8], base: usize, columns: usize) -> Result<()> {
        let short = || violation("the server sent a DataRow that breaks off");
        let (count, _) = body.split_first_chunk::<2>().ok_or_else(short)?;
        let count = usize::from(u16::from_be_bytes(*count));
        if count != columns {
            return Err(violation(format!(
                "the server sent a row of {count} values for {columns} columns"
            )));
        }
        // Bounded by `limits::MESSAGE_BYTES` and the size of a batch.
        if u32::try_from(base + body.len()).is_err() {
            return Err(violation("the server sent more than fits into one batch"));
        }
        if self.values.is_empty() && count > self.values.inline_size() {
            self.values.reserve_exact(count);
        }
        let mut at = 2;
        for _ in 0..count {
            let word = body.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(short)?;
            let length = i32::from_be_bytes(*word);
            // Fits, as was seen above.
            self.values.push(u32::try_from(base + at).unwrap_or(u32::MAX));
            at += 4;
            match usize::try_from(length) {
                Ok(length) => at += length,
                Err(_) if length == -1 => {}
                Err(_) => {
                    return Err(violation(format!("the server sent a value of {length} bytes")));
                }
            }
        }
        if at != body.len() {
            return Err(violation(format!(
                "the server sent a DataRow of {} bytes whose values take {at}",
                body.len()
            )));
        }
        self.rows += 1;
        Ok(())
    }
}
