//! Rows in COPY's binary format, as they are written and read (manual, section "COPY", "Binary
//! Format").
//!
//! ```text
//!   PGCOPY\n\377\r\n\0   flags   length of an extension   the extension
//!   number of fields   { length   bytes }…       for each row; a length of -1 is NULL
//!   -1
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use postgres_types::{Format, ToSql, Type};

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::limits;
use crate::protocol::encode::{Draft, Written};
use crate::protocol::wire::{HEADER, violation};
use crate::request::Parameters;
use crate::result::row::Column;
use crate::result::rows::Rows;
use crate::value::to_sql_checked;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// No flags and no extension follow the signature.
const NO_EXTENSION: &[u8; 8] = &[0; 8];

/// Says whether the types of Rust that a row has fit these columns.
pub type Accepts = fn(&[Type]) -> bool;

/// Room that is made at the beginning: 8 KiB.
const USUAL_BYTES: usize = 8 * 1024;

/// How a `CopyData` begins, without its length.
const COPY_DATA: &[u8; HEADER] = b"d\0\0\0\0";

/// Writes rows of these types.
pub struct CopyEncoder {
    types: Vec<Type>,
    /// What said of the last rows' types that they fit all columns.
    accepts: Option<Accepts>,
    /// A `CopyData` whose length is yet to be said.
    out: BytesMut,
    /// How many bytes of it are complete. If there are fewer, a value has removed some.
    complete: usize,
    rows: usize,
}

impl fmt::Debug for CopyEncoder {
    /// Without the bytes: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyEncoder").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl CopyEncoder {
    /// Rows of these types, one for each column.
    ///
    /// # Errors
    ///
    /// There are more columns than a table can have.
    pub fn new(types: Vec<Type>) -> Result<Self> {
        if types.len() > limits::COPY_COLUMNS {
            return Err(Error::new(ErrorKind::Request, "a COPY of too many columns"));
        }
        let mut out = BytesMut::with_capacity(USUAL_BYTES);
        out.put_slice(COPY_DATA);
        out.put_slice(SIGNATURE);
        out.put_slice(NO_EXTENSION);
        let complete = out.len();
        Ok(Self { types, accepts: None, out, complete, rows: 0 })
    }

    /// Appends a row, or nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Parameter`] for values that do not fit the types; [`Error::item`] is the row's
    /// number.
    pub fn row(&mut self, values: Parameters<'_>) -> Result<()> {
        let mut row = self.begin(values.len(), None)?;
        for value in values {
            row.put(|ty| value.encode_format(ty), |ty, out| to_sql_checked(*value, ty, out))?;
        }
        row.keep();
        Ok(())
    }

    /// Begins a row of so many values. If all rows of its kind have values of the same types of
    /// Rust, `accepts` can say so once for all of them; else each value is asked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Parameter`]: that is not how many columns there are, or a value has removed
    /// rows that came before it.
    #[inline]
    pub fn begin(&mut self, count: usize, accepts: Option<Accepts>) -> Result<CopyRow<'_>> {
        self.is_whole()?;
        let columns = i16::try_from(self.types.len()).ok().filter(|_| self.types.len() == count);
        let Some(columns) = columns else {
            return Err(other_count(self.types.len(), count).with_item(self.rows));
        };
        let accepted = accepts.is_some_and(|accepts| self.are_accepted(accepts));
        let mut draft = Draft::new(&mut self.out);
        draft.tuple(columns);
        let (complete, rows) = (&mut self.complete, &mut self.rows);
        Ok(CopyRow { draft, types: &self.types, accepted, written: 0, complete, rows })
    }

    /// Nothing was removed of what is complete. What was is lost, and where the rest belongs is not
    /// known any more.
    #[inline]
    pub(crate) fn is_whole(&self) -> Result<()> {
        if self.out.len() < self.complete { Err(removed()) } else { Ok(()) }
    }

    #[inline]
    fn are_accepted(&mut self, accepts: Accepts) -> bool {
        // One and the same function says one and the same, whatever it was made for; and one that
        // is there twice is asked twice.
        if self.accepts.is_some_and(|last| std::ptr::fn_addr_eq(last, accepts)) {
            return true;
        }
        let accepted = accepts(&self.types);
        self.accepts = accepted.then_some(accepts);
        accepted
    }

    /// Appends the end.
    pub fn finish(&mut self) {
        if self.is_whole().is_ok() {
            self.out.put_i16(-1);
            self.complete = self.out.len();
        }
    }

    /// Rows written so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that were not taken.
    pub fn len(&self) -> usize {
        self.out.len().saturating_sub(COPY_DATA.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written and not taken.
    pub fn bytes(&self) -> &[u8] {
        self.out.get(COPY_DATA.len()..).unwrap_or_default()
    }

    /// Throws away what was written and not taken.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.out.put_slice(COPY_DATA);
        self.complete = self.out.len();
    }

    /// Moves what was written behind `to`, as one message. It must not be longer than a message can
    /// be.
    pub(crate) fn take(&mut self, to: &mut BytesMut) {
        if self.is_empty() {
            return;
        }
        // It counts itself, but not the kind before it.
        let length = u32::try_from(self.out.len() - 1).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(1..COPY_DATA.len()) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        if to.is_empty() {
            std::mem::swap(to, &mut self.out);
            // As much will be written again, and need not be grown into step by step.
            self.out.reserve(to.len());
        } else {
            to.extend_from_slice(&self.out);
        }
        self.clear();
    }
}

/// A row as it is written, value by value. Dropped before [`keep`](Self::keep), it leaves nothing
/// behind.
pub struct CopyRow<'a> {
    draft: Draft<'a>,
    types: &'a [Type],
    /// Each value is known to fit its column's type.
    accepted: bool,
    written: usize,
    complete: &'a mut usize,
    rows: &'a mut usize,
}

impl fmt::Debug for CopyRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyRow").field("written", &self.written).finish_non_exhaustive()
    }
}

impl CopyRow<'_> {
    /// Appends the next value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Parameter`]: it does not fit the column's type, or there is no column left;
    /// [`Error::item`] is the row's number.
    // Once for each value there is.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn value<T: ToSql>(&mut self, value: &T) -> Result<()> {
        let accepted = self.accepted;
        self.put(
            |ty| value.encode_format(ty),
            |ty, out| {
                // By its contract the checked form asks whether the type is accepted, and no more.
                if accepted { value.to_sql(ty, out) } else { to_sql_checked(value, ty, out) }
            },
        )
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn put(
        &mut self,
        format: impl FnOnce(&Type) -> Format,
        write: impl Fn(&Type, &mut BytesMut) -> Written,
    ) -> Result<()> {
        let written = match self.types.get(self.written) {
            Some(ty) => self.draft.field(self.written, format(ty), ty, write),
            None => Err(other_count(self.types.len(), self.written + 1)),
        };
        self.written += 1;
        written.map_err(|error| error.with_item(*self.rows))
    }

    /// The row is complete. One that lacks values is not kept.
    #[inline]
    pub fn keep(self) {
        if self.written == self.types.len() {
            *self.complete = self.draft.keep();
            *self.rows += 1;
        }
    }
}

#[cold]
fn removed() -> Error {
    Error::new(ErrorKind::Parameter, "a value has removed rows that were to be sent before it")
        .with_hint("its ToSql may append to the buffer only; begin the COPY anew")
}

#[cold]
fn other_count(columns: usize, values: usize) -> Error {
    Error::new(
        ErrorKind::Parameter,
        format!("a row has {columns} columns, and {values} values were given"),
    )
}

/// Reads rows of these columns, however their bytes are cut.
///
/// ```text
///   Header ──signature, extension──▶ Tuples ──-1──▶ Over
/// ```
pub struct CopyDecoder {
    columns: Arc<[Column]>,
    stage: Stage,
    /// The beginning of something that is not complete.
    partial: Vec<u8>,
    rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Tuples,
    Over,
}

impl fmt::Debug for CopyDecoder {
    /// Without the bytes: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyDecoder").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl CopyDecoder {
    /// Rows of these columns.
    pub fn new(columns: Arc<[Column]>) -> Self {
        Self { columns, stage: Stage::Header, partial: Vec::new(), rows: 0 }
    }

    /// Rows read so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes data and gives the rows that are complete with it, if there are any.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] for data that is not in this format, or has other columns.
    pub fn receive(&mut self, data: Vec<u8>) -> Result<Option<Rows>> {
        let mut bytes = std::mem::take(&mut self.partial);
        if bytes.is_empty() {
            bytes = data;
        } else {
            bytes.extend_from_slice(&data);
        }
        let mut at = 0;
        if self.stage == Stage::Header {
            match header(&bytes)? {
                None => {
                    self.partial = bytes;
                    return Ok(None);
                }
                Some(length) => at = length,
            }
            self.stage = Stage::Tuples;
        }
        let mut ends = Vec::new();
        let first = at;
        while self.stage == Stage::Tuples {
            let rest = bytes.get(at..).unwrap_or_default();
            match tuple(rest, self.columns.len()).map_err(|error| error.with_item(self.rows))? {
                Tuple::Partial => break,
                Tuple::End => {
                    self.stage = Stage::Over;
                    at += 2;
                }
                Tuple::Whole(length) => {
                    at += length;
                    ends.push(at);
                    self.rows += 1;
                }
            }
        }
        let rest = bytes.get(at..).unwrap_or_default();
        if self.stage == Stage::Over && !rest.is_empty() {
            return Err(violation("COPY data goes on after its end"));
        }
        self.partial = rest.to_vec();
        if ends.is_empty() {
            return Ok(None);
        }
        let before = self.rows - ends.len();
        bytes.truncate(ends.last().copied().unwrap_or(0));
        Rows::of_tuples(&self.columns, bytes, first, &ends).map(|rows| Some(rows.after(before)))
    }

    /// No more data comes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the data breaks off.
    pub fn receive_end(&self) -> Result<()> {
        if self.stage == Stage::Over {
            return Ok(());
        }
        Err(violation("COPY data breaks off").with_delivery(Delivery::CarriedOut))
    }
}

/// The length of the header, if it is complete.
fn header(bytes: &[u8]) -> Result<Option<usize>> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes.get(..known) != SIGNATURE.get(..known) {
        return Err(violation("COPY data does not begin as its binary format does"));
    }
    let Some((flags, rest)) =
        bytes.get(SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    // The upper half says what a reader must not ignore; the one flag that was ever used, OIDs,
    // went with PostgreSQL 12.
    if u32::from_be_bytes(*flags) >> 16 != 0 {
        return Err(violation("COPY data has flags that are not known"));
    }
    let Some((length, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > limits::SHORT_MESSAGE_BYTES {
        return Err(violation(format!("COPY data has a header of {length} bytes")));
    }
    Ok((rest.len() >= length).then_some(SIGNATURE.len() + 8 + length))
}

enum Tuple {
    Partial,
    /// With its length.
    Whole(usize),
    End,
}

fn tuple(bytes: &[u8], columns: usize) -> Result<Tuple> {
    let Some((count, _)) = bytes.split_first_chunk::<2>() else {
        return Ok(Tuple::Partial);
    };
    match i16::from_be_bytes(*count) {
        -1 => return Ok(Tuple::End),
        count if usize::try_from(count).is_ok_and(|count| count == columns) => {}
        count => {
            return Err(violation(format!(
                "COPY data has a row of {count} values for {columns} columns"
            )));
        }
    }
    let mut at: usize = 2;
    for _ in 0..columns {
        let Some((length, _)) = bytes.get(at..).and_then(|rest| rest.split_first_chunk::<4>())
        else {
            return Ok(Tuple::Partial);
        };
        at += 4;
        match i32::from_be_bytes(*length) {
            -1 => {}
            length => match usize::try_from(length) {
                Ok(length) if length <= limits::MESSAGE_BYTES => at += length,
                _ => return Err(violation(format!("COPY data has a value of {length} bytes"))),
            },
        }
    }
    Ok(if at <= bytes.len() { Tuple::Whole(at) } else { Tuple::Partial })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rows: &[(i32, Option<&str>)]) -> Vec<u8> {
        let mut encoder = CopyEncoder::new(vec![Type::INT4, Type::TEXT]).unwrap();
        for (number, text) in rows {
            encoder.row(&[number, text]).unwrap();
        }
        encoder.finish();
        assert_eq!(encoder.rows(), rows.len());
        encoder.bytes().to_vec()
    }

    fn decoder() -> CopyDecoder {
        let columns = [Column::for_test("n", Type::INT4), Column::for_test("t", Type::TEXT)];
        CopyDecoder::new(columns.into())
    }

    #[test]
    fn rows_are_read_however_they_are_cut() {
        let rows = [(1, Some("one")), (2, None), (3, Some("")), (-4, Some("a longer text"))];
        let bytes = written(&rows);
        for size in 1..=bytes.len() {
            let mut decoder = decoder();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(size) {
                if let Some(rows) = decoder.receive(chunk.to_vec()).unwrap() {
                    assert_eq!(rows.before(), seen.len());
                    seen.extend(rows.iter().map(|row| {
                        (
                            row.get(0).unwrap(),
                            row.get::<Option<&str>>(1).unwrap().map(str::to_owned),
                        )
                    }));
                }
            }
            decoder.receive_end().unwrap();
            let expected: Vec<(i32, Option<String>)> =
                rows.iter().map(|&(n, text)| (n, text.map(str::to_owned))).collect();
            assert_eq!(seen, expected);
        }
        for end in 0..bytes.len() {
            let mut decoder = decoder();
            decoder.receive(bytes[..end].to_vec()).unwrap();
            assert_eq!(decoder.receive_end().unwrap_err().kind(), ErrorKind::Protocol);
        }
    }

    #[test]
    fn a_row_that_cannot_be_written_leaves_nothing() {
        let mut encoder = CopyEncoder::new(vec![Type::INT4, Type::TEXT]).unwrap();
        encoder.row(&[&1_i32, &"one"]).unwrap();
        let before = encoder.len();
        let error = encoder.row(&[&2_i32, &3_i32]).unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::Parameter, Some(1)));
        encoder.row(&[&2_i32]).unwrap_err();
        assert_eq!((encoder.len(), encoder.rows()), (before, 1));
    }

    #[test]
    fn damaged_data_is_refused() {
        let good = written(&[(1, Some("one"))]);
        let changed = |at: usize, to: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            decoder().receive(bytes).err().map(|error| error.kind())
        };
        assert_eq!(changed(0, b"X"), Some(ErrorKind::Protocol));
        assert_eq!(changed(11, b"\0\x01"), Some(ErrorKind::Protocol));
        assert_eq!(changed(15, b"\xff\xff\xff\xff"), Some(ErrorKind::Protocol));
        assert_eq!(changed(19, b"\0\x03"), Some(ErrorKind::Protocol));
        assert_eq!(changed(19, b"\xff\xfe"), Some(ErrorKind::Protocol));
        assert_eq!(changed(21, b"\xff\xff\xff\xfe"), Some(ErrorKind::Protocol));
        assert_eq!(changed(21, b"\x7f\xff\xff\xff"), Some(ErrorKind::Protocol));
        let mut more = good.clone();
        more.push(0);
        assert_eq!(decoder().receive(more).unwrap_err().kind(), ErrorKind::Protocol);
    }
}
