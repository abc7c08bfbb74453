//! The rows of one answer: batches that share a buffer, offsets instead of copies, decoded when
//! asked.

mod batch;
mod doubtful;
mod iter;
mod owned;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

pub use iter::Iter;
pub use owned::OwnedRow;

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::protocol::wire::{AuthState, HEADER, Message, split_message, violation};
use crate::result::row::{Column, ColumnIndex, Row};
use batch::Batch;

/// A batch is added to while it is below this: 32 KiB. Then many small reads do not make many small
/// batches.
const BATCH_BYTES: usize = 32 * 1024;

/// A row that arrives in its own buffer keeps it from here on (64 KiB) instead of being copied.
pub(crate) const OWN_BUFFER_BYTES: usize = 64 * 1024;

/// The rows of one result, in the order of the server.
///
/// ```no_run
/// # fn show(rows: &txpostgres_session::Rows) -> txpostgres_session::Result<()> {
/// for row in rows {
///     let id: i64 = row.get("id")?;
///     let name: Option<&str> = row.get(1)?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Rows {
    columns: Option<Arc<[Column]>>,
    /// Most answers fit into one batch.
    first: Batch,
    more: Vec<Batch>,
    /// Bytes of memory of all batches but the last.
    filled: usize,
    len: usize,
    /// Rows of the same result that came before these.
    before: usize,
}

impl Rows {
    pub(crate) fn new(columns: Option<Arc<[Column]>>) -> Self {
        Self { columns, ..Self::default() }
    }

    /// Says what the columns are going to be.
    #[inline]
    pub(crate) fn describe(&mut self, columns: Option<Arc<[Column]>>) {
        self.columns = columns;
    }

    /// The columns, to be kept.
    pub fn shared_columns(&self) -> Option<Arc<[Column]>> {
        self.columns.clone()
    }

    /// Rows of COPY's binary format: the bodies of `DataRow` messages without their headers. The
    /// first begins at `from`, and they end at `ends`.
    pub(crate) fn of_tuples(
        columns: &Arc<[Column]>,
        bytes: Vec<u8>,
        mut from: usize,
        ends: &[usize],
    ) -> Result<Self> {
        let mut batch = Batch::default();
        for &end in ends {
            batch.index(bytes.get(from..end).unwrap_or_default(), from, columns.len())?;
            from = end;
        }
        batch.bytes = SmallVec::from_vec(bytes);
        let len = batch.rows;
        Ok(Self { columns: Some(Arc::clone(columns)), first: batch, len, ..Self::default() })
    }

    /// Takes out the rows that have come so far; those that follow go on counting.
    #[inline]
    pub(crate) fn take_piece(&mut self) -> Option<Self> {
        if self.len == 0 {
            return None;
        }
        let rest = Self {
            columns: self.columns.clone(),
            before: self.before + self.len,
            ..Self::default()
        };
        Some(std::mem::replace(self, rest))
    }

    /// Bytes of memory that the rows take, roughly.
    pub fn size(&self) -> usize {
        self.filled + self.last().size()
    }

    #[inline]
    fn last(&self) -> &Batch {
        self.more.last().unwrap_or(&self.first)
    }

    /// Adds a batch behind the others.
    fn push(&mut self, batch: Batch) {
        self.filled = self.size();
        self.more.push(batch);
    }

    /// The same rows, as those of a result of which so many came before.
    #[must_use]
    pub fn after(mut self, before: usize) -> Self {
        self.before = before;
        self
    }

    /// How many rows of the same result came before these: those of a stream come in pieces.
    pub fn before(&self) -> usize {
        self.before
    }

    /// Adds rows behind these. The columns are those of the first that have any.
    pub fn append(&mut self, mut other: Self) {
        if self.columns.is_none() {
            self.columns = other.columns.take();
        }
        if self.len == 0 {
            self.first = other.first;
            self.more = other.more;
            self.filled = other.filled;
        } else {
            self.filled = self.size() + other.filled;
            self.more.push(other.first);
            self.more.append(&mut other.more);
        }
        self.len += other.len;
    }

    /// A copy of the rows from this one on, the first being 0.
    #[must_use]
    pub fn tail(&self, from: usize) -> Self {
        self.part(from, self.len)
    }

    /// A copy of `count` rows from this one on, the first being 0; of fewer, if there are not as
    /// many.
    #[must_use]
    pub fn part(&self, from: usize, count: usize) -> Self {
        let mut part = Self {
            columns: self.columns.clone(),
            before: self.before + from.min(self.len),
            ..Self::default()
        };
        let mut passed = 0;
        for batch in std::iter::once(&self.first).chain(&self.more) {
            let skipped = from.saturating_sub(passed).min(batch.rows);
            let taken = (batch.rows - skipped).min(count - part.len);
            passed += batch.rows;
            if taken > 0 {
                part.len += taken;
                part.push(batch.part(skipped, taken, self.columns().len()));
            }
        }
        part
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns; empty when the statement returns no rows at all.
    pub fn columns(&self) -> &[Column] {
        self.columns.as_deref().unwrap_or(&[])
    }

    /// Whether the statement returns rows, be it none this time.
    pub(crate) fn has_columns(&self) -> bool {
        self.columns.is_some()
    }

    /// The row of this number, the first being 0.
    #[inline]
    pub fn get(&self, number: usize) -> Option<Row<'_>> {
        let mut before = 0;
        for batch in std::iter::once(&self.first).chain(&self.more) {
            if number < before + batch.rows {
                return self.row(batch, number - before, number);
            }
            before += batch.rows;
        }
        None
    }

    /// The first row.
    #[inline]
    pub fn first(&self) -> Option<Row<'_>> {
        self.get(0)
    }

    /// The rows in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self)
    }

    /// The value of a column in the row of this number, the first being 0, together with the memory
    /// that it came in: for a large one, which to copy would need room for twice. `None` for NULL.
    ///
    /// ```no_run
    /// # fn show(rows: txpostgres_session::Rows) -> txpostgres_session::Result<()> {
    /// let picture = rows.into_value(0, "picture")?;
    /// # Ok(()) }
    /// ```
    ///
    /// A row of 64 KiB or more came in memory of its own, which lives as long as the value does;
    /// smaller ones share theirs with those beside them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when there is no such row, or no such
    /// column.
    pub fn into_value(self, row: usize, column: impl ColumnIndex) -> Result<Option<Bytes>> {
        let mut within = row;
        let batches = std::iter::once(self.first).chain(self.more);
        for batch in batches {
            if within >= batch.rows {
                within -= batch.rows;
                continue;
            }
            let columns = self.columns.as_deref().unwrap_or(&[]);
            let start = within * columns.len();
            let values = batch.values.get(start..start + columns.len()).unwrap_or_default();
            let row = Row::new(columns, &batch.bytes, values, self.before + row);
            let Some(range) = row.place_of(&column)? else {
                return Ok(None);
            };
            return Ok(Some(Bytes::from(batch.bytes.into_vec()).slice(range)));
        }
        Err(no_such_row(row, self.len))
    }

    fn row<'a>(&'a self, batch: &'a Batch, within: usize, number: usize) -> Option<Row<'a>> {
        let columns = self.columns();
        let start = within * columns.len();
        let values = batch.values.get(start..start + columns.len())?;
        Some(Row::new(columns, &batch.bytes, values, self.before + number))
    }

    fn column_count(&self) -> Result<usize> {
        match &self.columns {
            Some(columns) => Ok(columns.len()),
            None => Err(violation("the server sent a row and described no columns")),
        }
    }

    /// Takes the `DataRow` messages at the beginning of `input`, as many as are complete, and gives
    /// back what follows them. The first is `message`, behind which is `rest`.
    pub(crate) fn take_run<'a>(
        &mut self,
        input: &'a [u8],
        first: Message<'a>,
        rest: &'a [u8],
    ) -> Result<&'a [u8]> {
        let columns = self.column_count()?;
        if self.last().bytes.len() >= BATCH_BYTES {
            self.push(Batch::default());
        }
        let batch = self.more.last_mut().unwrap_or(&mut self.first);
        let before = batch.rows;
        let rest = batch.take_run(input, first.body, rest, columns)?;
        self.len += batch.rows - before;
        Ok(rest)
    }

    /// Takes one complete `DataRow` message together with its buffer.
    pub(crate) fn take_buffer(&mut self, bytes: Vec<u8>) -> Result<()> {
        let columns = self.column_count()?;
        let mut batch = Batch::default();
        if let Some((Message { body, .. }, _)) = split_message(&bytes, AuthState::Authenticated)? {
            batch.index(body, HEADER, columns)?;
        }
        self.len += batch.rows;
        batch.bytes = SmallVec::from_vec(bytes);
        if self.len == batch.rows {
            self.first = batch;
        } else {
            self.push(batch);
        }
        Ok(())
    }
}

/// Passes over the `DataRow` messages at the beginning of `input`, as many as are complete.
pub(crate) fn skip_rows(mut input: &[u8]) -> Result<&[u8]> {
    while input.first() == Some(&b'D') {
        let Some((_, after)) = split_message(input, AuthState::Authenticated)? else {
            break;
        };
        input = after;
    }
    Ok(input)
}

#[cold]
fn no_such_row(row: usize, len: usize) -> Error {
    Error::new(ErrorKind::Decode, format!("there is no row {row}; there are {len}"))
        .with_delivery(Delivery::Answered)
}

impl<'a> IntoIterator for &'a Rows {
    type Item = Row<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets: say only how many there are.
        f.debug_struct("Rows")
            .field("len", &self.len)
            .field("columns", &self.columns())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
