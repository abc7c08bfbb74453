//! One row, its columns, and a value read as the type that was asked for.

use std::fmt;
use std::ops::Range;

use postgres_types::{FromSql, Kind, Type};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::protocol::wire::{Reader, violation};
use crate::result::column_reader::ColumnReader;
use crate::result::refusal::{Refusal, no_such_column, refuse, wrong_type};
use crate::result::stale_flag::StaleFlag;
use crate::value::fitting::with_room;
use crate::value::without_domains;

/// How values of a column travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// As PostgreSQL prints it.
    #[default]
    Text,
    /// In the type's own binary form.
    Binary,
}

/// A column of a result (manual, section 54.7, `RowDescription`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    name: String,
    table_oid: u32,
    number: i16,
    ty: Type,
    /// What its values are read as where its type's domains are in the way.
    plain_type: Option<Type>,
    type_size: i16,
    type_modifier: i32,
    format: Format,
    /// Of a type that was looked up.
    pub(super) stale_flag: Option<StaleFlag>,
}

impl Column {
    /// Its name or alias.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type. Types that PostgreSQL does not come with are looked up; where that was not
    /// possible, as in the answer to a script, they are known by their OID only.
    pub fn type_(&self) -> &Type {
        &self.ty
    }

    /// The table it was read from, if it is a plain column of one.
    pub fn table_oid(&self) -> Option<u32> {
        (self.table_oid != 0).then_some(self.table_oid)
    }

    /// Its number in that table, the first being 1.
    pub fn column_number(&self) -> Option<i16> {
        (self.number != 0).then_some(self.number)
    }

    /// The size of its type in bytes, negative for types of variable width.
    pub fn type_size(&self) -> i16 {
        self.type_size
    }

    /// The type's modifier, such as the limit of a `varchar(n)`; -1 for none.
    pub fn type_modifier(&self) -> i32 {
        self.type_modifier
    }

    /// How its values travel.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The type to read its values as. Text reads as text whatever the type: that is how several
    /// statements at once are answered.
    #[inline]
    pub(crate) fn read_type(&self) -> &Type {
        match self.format {
            Format::Binary => &self.ty,
            Format::Text => &Type::TEXT,
        }
    }

    /// The type to read its values as by decoders that do not take its domains.
    pub(crate) fn plain_type(&self) -> Option<&Type> {
        self.plain_type.as_ref().filter(|_| self.format == Format::Binary)
    }

    /// Whether the server describes both alike.
    pub(crate) fn is_the_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.ty.oid() == other.ty.oid()
            && self.format == other.format
            && (self.table_oid, self.number) == (other.table_oid, other.number)
            && (self.type_size, self.type_modifier) == (other.type_size, other.type_modifier)
    }

    /// The same column, its values in text, as a cast to `text` makes them.
    #[doc(hidden)]
    #[must_use]
    pub fn in_text(&self) -> Self {
        self.in_format(Format::Text)
    }

    /// The same column, its values in this format.
    pub(crate) fn in_format(&self, format: Format) -> Self {
        Self { format, ..self.clone() }
    }

    /// The same column, its type looked up.
    pub(crate) fn resolved(&self, ty: Type, stale_flag: StaleFlag) -> Self {
        let plain_type = without_domains(&ty);
        Self { ty, plain_type, stale_flag: Some(stale_flag), ..self.clone() }
    }

    #[cfg(test)]
    pub(crate) fn for_test(name: &str, ty: Type) -> Self {
        Self {
            name: name.into(),
            table_oid: 0,
            number: 0,
            plain_type: without_domains(&ty),
            ty,
            type_size: -1,
            type_modifier: -1,
            format: Format::Binary,
            stale_flag: None,
        }
    }
}

/// The type of this OID; one that does not come with PostgreSQL is named by its number.
pub(crate) fn type_of(oid: u32) -> Type {
    Type::from_oid(oid)
        .unwrap_or_else(|| Type::new(format!("oid {oid}"), oid, Kind::Simple, String::new()))
}

/// The format of this code.
pub(crate) fn format_of(code: i16) -> Result<Format> {
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(violation(format!("the server announced a column in format {other}"))),
    }
}

/// Reads a `RowDescription`.
pub(crate) fn read_columns(body: &[u8]) -> Result<Vec<Column>> {
    let mut reader = Reader::new(body, "RowDescription");
    let count = reader.u16()?;
    // Nothing is reserved for the count: each column takes 19 bytes at least, which have to be
    // there.
    let mut columns = Vec::new();
    for _ in 0..count {
        let (name, table_oid) = (reader.text()?.into_owned(), reader.u32()?);
        let (number, ty) = (reader.i16()?, type_of(reader.u32()?));
        columns.push(Column {
            name,
            table_oid,
            number,
            plain_type: without_domains(&ty),
            ty,
            type_size: reader.i16()?,
            type_modifier: reader.i32()?,
            format: format_of(reader.i16()?)?,
            stale_flag: None,
        });
    }
    reader.end()?;
    Ok(columns)
}

/// What names a column: its number, the first being 0, or its name.
pub trait ColumnIndex: fmt::Display {
    /// The number of the column meant, if there is one. The first of several columns with the same
    /// name.
    fn find(&self, columns: &[Column]) -> Option<usize>;
}

impl ColumnIndex for usize {
    fn find(&self, columns: &[Column]) -> Option<usize> {
        (*self < columns.len()).then_some(*self)
    }
}

impl ColumnIndex for str {
    fn find(&self, columns: &[Column]) -> Option<usize> {
        columns.iter().position(|column| column.name == self)
    }
}

impl ColumnIndex for String {
    fn find(&self, columns: &[Column]) -> Option<usize> {
        ColumnIndex::find(self.as_str(), columns)
    }
}

impl<I: ColumnIndex + ?Sized> ColumnIndex for &I {
    fn find(&self, columns: &[Column]) -> Option<usize> {
        (**self).find(columns)
    }
}

/// One row. It borrows from its [`Rows`](crate::Rows); a value is read when asked for.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [Column],
    bytes: &'a [u8],
    values: &'a [u32],
    number: usize,
}

impl<'a> Row<'a> {
    pub(crate) fn new(
        columns: &'a [Column],
        bytes: &'a [u8],
        values: &'a [u32],
        number: usize,
    ) -> Self {
        Self { columns, bytes, values, number }
    }

    /// The columns.
    pub fn columns(&self) -> &'a [Column] {
        self.columns
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Its number in the result, the first being 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The value of a column, as a `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] when there is no such column, its type does not fit `T`, it is NULL
    /// and `T` is not an `Option`, or its bytes are not a value of its type. The message names the
    /// column, its type and the row.
    #[inline]
    #[doc(alias = "try_get")]
    pub fn get<T: FromSql<'a>>(&self, column: impl ColumnIndex) -> Result<T> {
        let Some(index) = column.find(self.columns) else {
            return Err(no_such_column(self.columns, &column));
        };
        let (Some(described), Some(value)) = (self.columns.get(index), self.raw_at(index)) else {
            return Err(no_such_column(self.columns, &column));
        };
        let ty = described.read_type();
        if !T::accepts(ty) {
            return self.read_plain(index, ty, value);
        }
        self.read_as(index, ty, ty, value)
    }

    /// The value of this column, as the `T` that the reader was made for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] when it is NULL and `T` is not an `Option`, or its bytes are not a
    /// value of its type; and when the reader was made for another type, or other columns, and the
    /// value does not read as `T`.
    // Once for each value there is.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn read<T: FromSql<'a>>(&self, reader: &ColumnReader) -> Result<T> {
        let index = reader.index();
        match (self.columns.get(index), self.raw_at(index)) {
            (Some(described), Some(Some(value))) if reader.is_plain::<T>() => {
                T::from_sql(described.read_type(), value)
                    .map_err(|source| self.unreadable::<T>(index, source))
            }
            _ => self.read_carefully(*reader),
        }
    }

    /// The same for a value that may be NULL, must not be believed, or may be another one than the
    /// reader was made for.
    // It takes a copy of the row, so that those who do not come here need not put theirs into
    // memory.
    #[inline(never)]
    fn read_carefully<T: FromSql<'a>>(self, reader: ColumnReader) -> Result<T> {
        let index = reader.index();
        let (Some(described), Some(value)) = (self.columns.get(index), self.raw_at(index)) else {
            return Err(no_such_column(self.columns, &index));
        };
        let ty = described.read_type();
        if value.is_some() && !reader.fits::<T>(ty) {
            return self.read_plain(index, ty, value);
        }
        self.read_as(index, ty, ty, value)
    }

    /// Reads a value whose type is not accepted: perhaps what the type's domains are of is.
    #[cold]
    fn read_plain<T: FromSql<'a>>(
        self,
        index: usize,
        ty: &Type,
        value: Option<&'a [u8]>,
    ) -> Result<T> {
        match self.columns.get(index).and_then(Column::plain_type) {
            Some(plain) if T::accepts(plain) => self.read_as(index, ty, plain, value),
            _ => Err(wrong_type::<T>(self.columns, index, Some(self.number), ty)),
        }
    }

    /// Reads a value of this type, whatever it announces, as `accepted`, which `T` accepts.
    // For every value that no reader was made for.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn read_as<T: FromSql<'a>>(
        &self,
        index: usize,
        ty: &Type,
        accepted: &Type,
        value: Option<&'a [u8]>,
    ) -> Result<T> {
        let Some(value) = value else {
            return T::from_sql_null(accepted).map_err(|_| self.refuse::<T>(index, Refusal::Null));
        };
        if crate::value::is_kept(ty, value) {
            return T::from_sql(accepted, value)
                .map_err(|source| self.unreadable::<T>(index, source));
        }
        self.read_verified(index, ty, accepted, value)
    }

    /// The same for a value that announces something, or that a decoder may change.
    // It takes a copy of the row, so that those who do not come here need not put theirs into
    // memory.
    #[inline(never)]
    fn read_verified<T: FromSql<'a>>(
        self,
        index: usize,
        ty: &Type,
        accepted: &Type,
        value: &'a [u8],
    ) -> Result<T> {
        crate::value::verify(ty, value)
            .map_err(|e| self.refuse::<T>(index, Refusal::Damaged(e)))?;
        crate::value::decode(ty, accepted, value)
            .map_err(|source| self.unreadable::<T>(index, source))
    }

    #[cold]
    fn unreadable<T>(
        self,
        index: usize,
        source: Box<dyn std::error::Error + Sync + Send>,
    ) -> Error {
        let within = crate::value::mismatch::is_null(&*source);
        let why = if within { Refusal::NullWithin } else { Refusal::Unreadable };
        let error = self.refuse::<T>(index, why);
        // A field that is NULL is named by the source.
        let value = self.raw_at(index).flatten().unwrap_or_default();
        let ty = self.columns.get(index).map(Column::read_type);
        let hint = ty.and_then(|ty| with_room::<T>(ty, value, &*source));
        let error = error.with_source(source);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// The bytes of a column's value as the server sent them, `None` for NULL.
    pub fn raw(&self, column: impl ColumnIndex) -> Result<Option<&'a [u8]>> {
        column
            .find(self.columns)
            .and_then(|index| self.raw_at(index))
            .ok_or_else(|| no_such_column(self.columns, &column))
    }

    /// Whether the value of this column is NULL.
    #[inline]
    pub fn is_null(&self, reader: &ColumnReader) -> bool {
        matches!(self.raw_at(reader.index()), Some(None))
    }

    /// Where in the bytes a column's value is, `None` for NULL.
    pub(crate) fn place_of(&self, column: &impl ColumnIndex) -> Result<Option<Range<usize>>> {
        let found = column.find(self.columns).and_then(|index| {
            let value = self.raw_at(index)?;
            let start = *self.values.get(index)? as usize + 4;
            Some(value.map(|value| start..start + value.len()))
        });
        found.ok_or_else(|| no_such_column(self.columns, column))
    }

    /// `None` if there is no such value; within it, `None` for NULL.
    #[inline]
    #[allow(clippy::option_option)]
    fn raw_at(&self, index: usize) -> Option<Option<&'a [u8]>> {
        let start = *self.values.get(index)? as usize;
        let (length, rest) = self.bytes.get(start..)?.split_first_chunk::<4>()?;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => rest.get(..length).map(Some),
            Err(_) => Some(None),
        }
    }

    #[cold]
    fn refuse<T>(&self, index: usize, why: Refusal) -> Error {
        refuse::<T>(self.columns, index, Some(self.number), why)
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("number", &self.number)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses_descriptions() {
        let mut body = b"\0\x01id\0".to_vec();
        body.extend_from_slice(&16384_u32.to_be_bytes());
        body.extend_from_slice(&3_i16.to_be_bytes());
        body.extend_from_slice(&23_u32.to_be_bytes());
        body.extend_from_slice(&4_i16.to_be_bytes());
        body.extend_from_slice(&(-1_i32).to_be_bytes());
        body.extend_from_slice(&1_i16.to_be_bytes());
        let columns = read_columns(&body).unwrap();
        let column = columns.first().unwrap();
        assert_eq!((column.name(), column.type_()), ("id", &Type::INT4));
        assert_eq!((column.table_oid(), column.column_number()), (Some(16384), Some(3)));
        for cut in 0..body.len() {
            assert!(read_columns(&body[..cut]).is_err());
        }
        *body.last_mut().unwrap() = 7;
        assert!(read_columns(&body).unwrap_err().to_string().contains("format 7"));
    }
}
