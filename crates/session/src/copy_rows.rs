//! Rows in COPY's binary format, as they are written and read (manual, section "COPY", "Binary Format").
//!
//! ```text
//!   PGCOPY\n\377\r\n\0   flags   length of an extension   the extension
//!   number of fields   { length   bytes }…                                 for each row; a length of -1 is NULL
//!   -1
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use postgres_types::Type;

use crate::encode::Draft;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::limits;
use crate::request::Parameters;
use crate::row::Column;
use crate::rows::Rows;
use crate::wire::violation;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// No flags and no extension follow the signature.
const NO_EXTENSION: &[u8; 8] = &[0; 8];

/// Writes rows of these types.
pub struct CopyEncoder {
    types: Vec<Type>,
    out: BytesMut,
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
        let mut out = BytesMut::new();
        out.put_slice(SIGNATURE);
        out.put_slice(NO_EXTENSION);
        Ok(Self { types, out, rows: 0 })
    }

    /// Appends a row, or nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Parameter`] for values that do not fit the types; [`Error::item`] is the row's number.
    pub fn row(&mut self, values: Parameters<'_>) -> Result<()> {
        let row = self.rows;
        let mut draft = Draft::new(&mut self.out);
        let written = draft.tuple(&self.types, values);
        written.map_err(|error| error.with_item(row))?;
        draft.keep();
        self.rows += 1;
        Ok(())
    }

    /// Appends the end.
    pub fn finish(&mut self) {
        self.out.put_i16(-1);
    }

    /// Rows written so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that were not taken.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What was written since the last time; say with [`taken`](Self::taken) that it has been used.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// What [`bytes`](Self::bytes) gave has been used.
    pub fn taken(&mut self) {
        self.out.clear();
    }
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
        Err(violation("COPY data breaks off").with_delivery(Delivery::Answered))
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
    // The upper half says what a reader must not ignore; the one flag that was ever used, OIDs, went with PostgreSQL 12.
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
