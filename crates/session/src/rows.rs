//! The rows of one answer: batches that share a buffer, offsets instead of copies, decoded when asked.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use postgres_types::FromSql;
use smallvec::SmallVec;

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::row::{Column, ColumnIndex, Row};
use crate::wire::{HEADER, Message, Trust, split_message, violation};

/// Rows whose messages lay side by side: their bytes, and where each value begins.
#[derive(Clone, Default)]
pub(crate) struct Batch {
    /// `DataRow` messages as they came.
    bytes: SmallVec<[u8; 32]>,
    /// For each value of each row the offset of its length word in `bytes`.
    values: SmallVec<[u32; 4]>,
    rows: usize,
}

/// A batch is added to while it is below this: 32 KiB. Then many small reads do not make many small batches.
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

    /// Rows of COPY's binary format: the bodies of `DataRow` messages without their headers. The first begins at `from`, and
    /// they end at `ends`.
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
        let batches = std::iter::once(&self.first).chain(&self.more);
        batches.map(|batch| batch.bytes.len() + 4 * batch.values.len()).sum()
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
        } else {
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

    /// A copy of `count` rows from this one on, the first being 0; of fewer, if there are not as many.
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
                part.more.push(batch.part(skipped, taken, self.columns().len()));
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
        let mut iter = Iter {
            rows: self,
            batch: 0,
            bytes: &[],
            values: &[],
            left: 0,
            columns: self.columns(),
            number: 0,
        };
        iter.enter(&self.first);
        iter
    }

    /// The value of a column in the row of this number, the first being 0, together with the memory that it came in: for a
    /// large one, which to copy would need room for twice. `None` for NULL.
    ///
    /// ```no_run
    /// # fn show(rows: txpostgres_session::Rows) -> txpostgres_session::Result<()> {
    /// let picture = rows.into_value(0, "picture")?;
    /// # Ok(()) }
    /// ```
    ///
    /// A row of 64 KiB or more came in memory of its own, which lives as long as the value does; smaller ones share theirs with
    /// those beside them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when there is no such row, or no such column.
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

    /// Takes the `DataRow` messages at the beginning of `input`, as many as are complete, and gives back what follows them.
    /// The first is `message`, behind which is `rest`.
    pub(crate) fn take_run<'a>(
        &mut self,
        input: &'a [u8],
        mut message: Message<'a>,
        mut rest: &'a [u8],
    ) -> Result<&'a [u8]> {
        let columns = self.column_count()?;
        let last = self.more.last().unwrap_or(&self.first);
        if last.bytes.len() >= BATCH_BYTES {
            self.more.push(Batch::default());
        }
        let batch = self.more.last_mut().unwrap_or(&mut self.first);
        let (before, values) = (batch.rows, batch.values.len());
        let mut offset = batch.bytes.len();
        let mut index = || {
            batch.index(message.body, offset + HEADER, columns)?;
            if rest.first() == Some(&b'D') {
                // Rows that come together are mostly alike. This one is what it says, so each of its values takes four bytes at
                // least, and no more is reserved than has come.
                let alike = rest.len() / (HEADER + message.body.len());
                batch.values.reserve(alike * columns);
            }
            loop {
                offset += HEADER + message.body.len();
                if rest.first() != Some(&b'D') {
                    return Ok(());
                }
                match split_message(rest, Trust::Server)? {
                    Some(next) => (message, rest) = next,
                    None => return Ok(()),
                }
                batch.index(message.body, offset + HEADER, columns)?;
            }
        };
        if let Err(error) = index() {
            // Those that came before are told of yet, and those of this run have no bytes.
            batch.rows = before;
            batch.values.truncate(values);
            return Err(error);
        }
        let run = input.get(..input.len() - rest.len()).unwrap_or(&[]);
        if batch.bytes.is_empty() {
            // No more than there is: most answers have one run.
            batch.bytes = SmallVec::from_slice(run);
        } else {
            batch.bytes.extend_from_slice(run);
        }
        self.len += batch.rows - before;
        Ok(rest)
    }

    /// Takes one complete `DataRow` message together with its buffer.
    pub(crate) fn take_buffer(&mut self, bytes: Vec<u8>) -> Result<()> {
        let columns = self.column_count()?;
        let mut batch = Batch::default();
        if let Some((Message { body, .. }, _)) = split_message(&bytes, Trust::Server)? {
            batch.index(body, HEADER, columns)?;
        }
        self.len += batch.rows;
        batch.bytes = SmallVec::from_vec(bytes);
        if self.len == batch.rows {
            self.first = batch;
        } else {
            self.more.push(batch);
        }
        Ok(())
    }
}

/// A row that is kept by itself: it shares the memory of those that came with it.
#[derive(Clone)]
pub struct OwnedRow {
    rows: Arc<Rows>,
    number: usize,
}

impl OwnedRow {
    /// The row of this number among `rows`, the first being 0.
    pub fn of(rows: &Arc<Rows>, number: usize) -> Option<Self> {
        (number < rows.len()).then(|| Self { rows: Arc::clone(rows), number })
    }

    /// The row.
    pub fn as_row(&self) -> Row<'_> {
        self.rows.get(self.number).unwrap_or_else(|| Row::new(&[], &[], &[], self.number))
    }

    /// The value of a column: see [`Row::get`].
    #[inline]
    pub fn get<'a, T: FromSql<'a>>(&'a self, column: impl ColumnIndex) -> Result<T> {
        self.as_row().get(column)
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        self.rows.columns()
    }
}

impl fmt::Debug for OwnedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_row().fmt(f)
    }
}

/// Passes over the `DataRow` messages at the beginning of `input`, as many as are complete.
pub(crate) fn skip_rows(mut input: &[u8]) -> Result<&[u8]> {
    while input.first() == Some(&b'D') {
        let Some((_, after)) = split_message(input, Trust::Server)? else {
            break;
        };
        input = after;
    }
    Ok(input)
}

impl Batch {
    /// A copy of the `taken` rows behind the first `skipped` ones, which are there.
    fn part(&self, skipped: usize, taken: usize, columns: usize) -> Self {
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
    fn index(&mut self, body: &[u8], base: usize, columns: usize) -> Result<()> {
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

/// Iterates over [`Rows`].
#[derive(Clone)]
pub struct Iter<'a> {
    rows: &'a Rows,
    columns: &'a [Column],
    /// The bytes of the batch it is in, the values of the rows that are left there, and their number.
    bytes: &'a [u8],
    values: &'a [u32],
    left: usize,
    /// The place in `rows.more` of the batch that comes after it.
    batch: usize,
    number: usize,
}

impl<'a> Iter<'a> {
    fn enter(&mut self, batch: &'a Batch) {
        (self.bytes, self.values, self.left) = (&batch.bytes, &batch.values, batch.rows);
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Row<'a>;

    #[inline]
    fn next(&mut self) -> Option<Row<'a>> {
        while self.left == 0 {
            let next = self.rows.more.get(self.batch)?;
            self.batch += 1;
            self.enter(next);
        }
        let (values, rest) = self.values.split_at_checked(self.columns.len())?;
        let row = Row::new(self.columns, self.bytes, values, self.rows.before + self.number);
        self.values = rest;
        self.left -= 1;
        self.number += 1;
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rows.len - self.number;
        (left, Some(left))
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the bytes: values may be secrets.
        f.debug_struct("Iter").field("rows", &self.rows).field("number", &self.number).finish()
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use postgres_types::Type;

    use super::*;

    fn rows(columns: usize) -> Rows {
        let columns: Vec<Column> =
            (0..columns).map(|n| Column::for_test(&format!("c{n}"), Type::BYTEA)).collect();
        Rows::new(Some(columns.into()))
    }

    #[test]
    fn a_value_is_taken_out_with_its_memory() {
        let large = vec![7; OWN_BUFFER_BYTES];
        let mut rows = rows(2);
        let small = data_row(&[Some(b"a"), None]);
        let (message, rest) = split_message(&small, Trust::Server).unwrap().unwrap();
        rows.take_run(&small, message, rest).unwrap();
        let own = data_row(&[Some(b"b"), Some(&large)]);
        let address = own[own.len() - large.len()..].as_ptr();
        rows.take_buffer(own).unwrap();
        let taken = rows.clone().into_value(0, 0).unwrap().unwrap();
        assert_eq!(taken, &b"a"[..]);
        assert_eq!(rows.clone().into_value(0, "c1").unwrap(), None);
        assert_eq!(rows.clone().into_value(2, 0).unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(rows.clone().into_value(0, "c2").unwrap_err().kind(), ErrorKind::Decode);
        let taken = rows.into_value(1, 1).unwrap().unwrap();
        assert_eq!(taken, large);
        assert_eq!(taken.as_ptr(), address);
    }

    fn data_row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    body.extend_from_slice(&i32::try_from(value.len()).unwrap().to_be_bytes());
                    body.extend_from_slice(value);
                }
            }
        }
        message(&body)
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![b'D'];
        bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn take_run<'a>(rows: &mut Rows, input: &'a [u8]) -> Result<&'a [u8]> {
        let (message, rest) = split_message(input, Trust::Server)?.unwrap();
        rows.take_run(input, message, rest)
    }

    type Values<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

    #[test]
    fn takes_runs_and_buffers() {
        let mut rows = rows(2);
        let mut input = data_row(&[Some(b"a"), None]);
        input.extend(data_row(&[Some(b""), Some(b"bc")]));
        input.extend(b"C\0");
        assert_eq!(take_run(&mut rows, &input).unwrap(), b"C\0");
        rows.take_buffer(data_row(&[None, Some(b"own")])).unwrap();
        assert_eq!(take_run(&mut rows, &data_row(&[None, None])).unwrap(), b"");
        assert_eq!(rows.len(), 4);
        let seen: Vec<Values<'_>> =
            rows.iter().map(|row| (row.get(0).unwrap(), row.get("c1").unwrap())).collect();
        assert_eq!(
            seen,
            [
                (Some(&b"a"[..]), None),
                (Some(b""), Some(&b"bc"[..])),
                (None, Some(b"own")),
                (None, None)
            ]
        );
        assert!(rows.get(3).is_some() && rows.get(4).is_none());
    }

    #[test]
    fn what_breaks_off_in_the_middle_of_a_run_leaves_the_rows_before_it() {
        let mut rows = rows(1);
        take_run(&mut rows, &data_row(&[Some(b"a")])).unwrap();
        let input = [data_row(&[Some(b"b")]), data_row(&[])].concat();
        take_run(&mut rows, &input).unwrap_err();
        let piece = rows.take_piece().unwrap();
        let seen: Vec<_> = piece.iter().map(|row| row.get::<&[u8]>(0).unwrap()).collect();
        assert_eq!(seen, [b"a"]);
    }

    #[test]
    fn rows_that_lie_reserve_nothing() {
        let mut rows = rows(10_000);
        let input = message(b"\x27\x10").repeat(10_000);
        take_run(&mut rows, &input).unwrap_err();
        assert!(rows.first.values.capacity() <= 10_000);
    }

    #[test]
    fn refuses_rows_that_lie() {
        // pgproto3's CVE-2026-4427: lengths below -1; RUSTSEC-2026-0178: more or fewer values than columns.
        let bodies: &[&[u8]] = &[
            b"",
            b"\0",
            b"\0\x01",
            b"\0\x02\0\0\0\0\0\0\0\0",
            b"\0\0",
            b"\0\x01\0\0\0\x02x",
            b"\0\x01\0\0\0\x01xy",
            b"\0\x01\xff\xff\xff\xfe",
            b"\0\x01\x80\0\0\0",
            b"\0\x01\x7f\xff\xff\xff",
            b"\xff\xff",
        ];
        for body in bodies {
            let error = take_run(&mut rows(1), &message(body)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{body:?}");
            assert!(rows(1).take_buffer(message(body)).is_err());
        }
    }

    #[test]
    fn a_tail_has_what_was_not_skipped() {
        let mut all = rows(1);
        for (own_buffer, text) in [(false, b"a"), (false, b"b"), (true, b"c"), (false, b"d")] {
            let row = data_row(&[Some(text)]);
            if own_buffer {
                all.take_buffer(row).unwrap();
            } else {
                take_run(&mut all, &row).unwrap();
            }
        }
        for from in 0..6 {
            let tail = all.tail(from);
            let texts: Vec<&[u8]> = tail.iter().map(|row| row.get(0).unwrap()).collect();
            assert_eq!(texts.concat(), &b"abcd"[from.min(4)..]);
            assert_eq!(tail.len(), texts.len());
            assert!(tail.first().is_none_or(|row| row.number() == from));
            let mut again = all.part(0, from);
            again.append(tail);
            assert_eq!(again.iter().count(), 4);
            assert_eq!(again.get(3).unwrap().get::<&[u8]>(0).unwrap(), b"d");
            for count in 0..5 {
                let part = all.part(from, count);
                let texts: Vec<&[u8]> = part.iter().map(|row| row.get(0).unwrap()).collect();
                let to = (from + count).min(4);
                assert_eq!(texts.concat(), &b"abcd"[from.min(to)..to]);
            }
        }
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let mut rows = rows(0);
        let mut input = message(b"\0\0");
        input.extend(message(b"\0\0"));
        take_run(&mut rows, &input).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.iter().count(), 2);
    }
}
