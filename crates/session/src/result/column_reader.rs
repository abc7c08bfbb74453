//! Reads one column of each row as one type: found and compared once for a result.

use std::fmt;

use postgres_types::{FromSql, Kind, Type};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::result::refusal::{no_such_column, wrong_type};
use crate::result::row::{Column, ColumnIndex};

/// Reads the value of one column as one type: the column is found and the type compared once, for
/// every row.
///
/// A reader belongs to the columns and the type that it was made for. Used with others it finds
/// another value, or gives an error.
#[derive(Clone, Copy)]
pub struct ColumnReader {
    /// What it is to be read as: by who accepts its type.
    accepts: fn(&Type) -> bool,
    /// The type that was accepted, where it is asked for: 0 for one that is not known by its number
    /// alone, or whose values are believed.
    oid: u32,
    /// The column's number. The wire has no more than 16 bits for it.
    index: u16,
    /// Whether its type has values that must be looked at first: they announce something, which
    /// must not be believed, or the decoder would change them.
    verifies: bool,
}

impl ColumnReader {
    /// The reader of a column whose values are read as `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] when there is no such column, or its type does not read as `T`.
    pub fn new<'a, T: FromSql<'a>>(columns: &[Column], column: impl ColumnIndex) -> Result<Self> {
        let found = column
            .find(columns)
            .and_then(|index| Some((u16::try_from(index).ok()?, columns.get(index)?)));
        let Some((index, described)) = found else {
            return Err(no_such_column(columns, &column));
        };
        let ty = described.read_type();
        let reads_plain = || described.plain_type().is_some_and(T::accepts);
        if !T::accepts(ty) && !reads_plain() {
            return Err(wrong_type::<T>(columns, index.into(), None, ty));
        }
        let verifies = !crate::value::announces_nothing(ty) || crate::value::changes_some::<T>(ty);
        let oid = if verifies && is_known_by_number(ty) { ty.oid() } else { 0 };
        Ok(Self { accepts: accepts::<T>, oid, index, verifies })
    }

    /// The same, if there is such a column.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] when its type does not read as `T`.
    pub fn find<'a, T: FromSql<'a>>(
        columns: &[Column],
        column: impl ColumnIndex,
    ) -> Result<Option<Self>> {
        column.find(columns).map(|index| Self::new::<T>(columns, index)).transpose()
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.index.into()
    }

    /// Whether a `T` may believe what the value in it says. It may be wrong in saying no.
    // Two types that accept the same by the same instructions may have one function for it. That is
    // as good.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn is_plain<'a, T: FromSql<'a>>(self) -> bool {
        !self.verifies && std::ptr::fn_addr_eq(self.accepts, accepts::<T> as fn(&Type) -> bool)
    }

    /// Whether a value of this type reads as a `T`.
    pub(crate) fn fits<'a, T: FromSql<'a>>(self, ty: &Type) -> bool {
        let is_the_same = self.oid == ty.oid()
            && std::ptr::fn_addr_eq(self.accepts, accepts::<T> as fn(&Type) -> bool)
            && is_known_by_number(ty);
        is_the_same || T::accepts(ty)
    }
}

/// Whether a decoder that takes the type takes every type of this number. What is made of others,
/// such as an array, may be something else in another database or after an ALTER TYPE; an enum may
/// have other labels, which decoders refuse.
fn is_known_by_number(ty: &Type) -> bool {
    matches!(ty.kind(), Kind::Simple | Kind::Enum(_))
}

/// `T::accepts`, which itself may be there once for every part of a program that is compiled by
/// itself.
#[inline(never)]
fn accepts<'a, T: FromSql<'a>>(ty: &Type) -> bool {
    T::accepts(ty)
}

impl fmt::Debug for ColumnReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnReader").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::result::row::Row;

    /// An `int4` that is 7, an array of it, and a NULL.
    const BYTES: &[u8] = b"\0\0\0\x04\0\0\0\x07\
        \0\0\0\x1c\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x07\
        \xff\xff\xff\xff";

    fn columns(types: [Type; 3]) -> Vec<Column> {
        types.into_iter().map(|ty| Column::for_test("n", ty)).collect()
    }

    fn said<T>(result: Result<T>) -> String {
        result.err().map_or_else(String::new, |error| error.to_string())
    }

    /// `Vec::from_sql` panics on a type that is no array.
    #[test]
    fn a_reader_that_was_made_for_another_type_panics_nowhere() {
        let columns = columns([Type::INT4, Type::INT4_ARRAY, Type::INT4]);
        let row = Row::new(&columns, BYTES, &[0, 8, 40], 4);
        let number = ColumnReader::new::<i32>(&columns, 0).unwrap();
        assert_eq!(row.read::<i32>(&number).unwrap(), 7);
        assert_eq!(
            said(row.read::<Vec<i32>>(&number)),
            "column 0 \"n\" (int4) of row 4 does not read as alloc::vec::Vec<i32>"
        );
        // One that fits all the same is another value.
        assert_eq!(row.read::<Option<i32>>(&number).unwrap(), Some(7));
        assert_eq!(row.read::<crate::value::Raw>(&number).unwrap().bytes(), 7_i32.to_be_bytes());

        let array = ColumnReader::new::<Vec<i32>>(&columns, 1).unwrap();
        assert_eq!(row.read::<Vec<i32>>(&array).unwrap(), [7]);
        assert_eq!(row.read::<Option<Box<[i32]>>>(&array).unwrap().as_deref(), Some(&[7][..]));
        assert!(said(row.read::<i32>(&array)).contains("does not read as i32"));
        assert!(said(row.read::<Vec<String>>(&array)).contains("does not read as"));

        let null = ColumnReader::new::<Option<i32>>(&columns, 2).unwrap();
        assert_eq!(row.read::<Option<i32>>(&null).unwrap(), None);
        assert!(said(row.read::<i32>(&null)).contains("is NULL"));
    }

    #[test]
    fn a_reader_that_was_made_for_other_columns_panics_nowhere() {
        let made_for = columns([Type::INT4_ARRAY, Type::INT4, Type::INT4_ARRAY]);
        let columns = columns([Type::INT4, Type::INT4_ARRAY, Type::INT4]);
        let row = Row::new(&columns, BYTES, &[0, 8, 40], 4);
        let array = ColumnReader::new::<Vec<i32>>(&made_for, 0).unwrap();
        assert!(said(row.read::<Vec<i32>>(&array)).contains("(int4) of row 4 does not read as"));
        let null = ColumnReader::new::<Option<Vec<i32>>>(&made_for, 2).unwrap();
        assert_eq!(row.read::<Option<Vec<i32>>>(&null).unwrap(), None);
        let number = ColumnReader::new::<i32>(&made_for, 1).unwrap();
        // Its own bytes are what it looks at.
        assert!(row.read::<i32>(&number).is_err());
        let few = columns.get(..1).unwrap();
        let row = Row::new(few, BYTES, &[0], 4);
        assert_eq!(said(row.read::<i32>(&number)), "the row has no column 1; its columns are: n");
    }

    /// A type of this name is an array in one database, and something else in another.
    #[test]
    fn a_reader_knows_types_by_their_numbers() {
        let ty = |oid, kind| Type::new("numbers".to_owned(), oid, kind, "public".to_owned());
        let array = columns([ty(70_000, Kind::Array(Type::INT4)), Type::INT4, Type::INT4]);
        let simple = columns([ty(70_001, Kind::Simple), Type::INT4, Type::INT4]);
        let reader = ColumnReader::new::<Vec<i32>>(&array, 0).unwrap();
        let row = Row::new(&simple, BYTES, &[8, 0, 40], 4);
        assert!(said(row.read::<Vec<i32>>(&reader)).contains("does not read as"));
        assert_eq!(Row::new(&array, BYTES, &[8, 0, 40], 4).read::<Vec<i32>>(&reader).unwrap(), [7]);
    }

    /// Says how often it was asked.
    #[derive(Debug)]
    struct Asked;

    static QUESTIONS: AtomicUsize = AtomicUsize::new(0);

    impl<'a> FromSql<'a> for Asked {
        fn from_sql(
            _: &Type,
            _: &'a [u8],
        ) -> std::result::Result<Self, crate::value::derive::Cause> {
            Ok(Self)
        }

        fn accepts(ty: &Type) -> bool {
            QUESTIONS.fetch_add(1, Ordering::Relaxed);
            matches!(*ty, Type::INT4 | Type::NUMERIC)
        }
    }

    #[test]
    fn whether_a_type_is_accepted_is_asked_once() {
        let columns = columns([Type::INT4, Type::NUMERIC, Type::INT4]);
        let bytes = b"\0\0\0\x04\0\0\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0";
        let row = Row::new(&columns, bytes, &[0, 8, 8], 4);
        let readers = [0, 1].map(|index| ColumnReader::new::<Asked>(&columns, index).unwrap());
        let asked = QUESTIONS.load(Ordering::Relaxed);
        for _ in 0..10 {
            for reader in &readers {
                row.read::<Asked>(reader).unwrap();
            }
        }
        assert_eq!(QUESTIONS.load(Ordering::Relaxed), asked);
    }
}
