//! The shape that a row is read in: a tuple, a struct, a map by name, a single value.
//!
//! Names are looked up and types compared once for a result. What comes of it, the
//! [`FromRow::Layout`], has a reader for each part of the shape; each row is read by these.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasher;
use std::iter::FusedIterator;
use std::marker::PhantomData;

use postgres_types::FromSql;

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::result::column_reader::ColumnReader;
use crate::result::refusal::names_of;
use crate::result::row::{Column, Row};
use crate::result::rows::{Iter, Rows};

/// A shape that rows can be read in.
///
/// | shape | takes |
/// |---|---|
/// | `(A, B, …)`, up to 16 | the columns in their order, as many as there are |
/// | [`Scalar<T>`] | the only column |
/// | `HashMap<String, V>`, `BTreeMap<String, V>` | all columns by their names, as one type |
/// | a struct with `#[derive(FromRow)]` | the columns named as its fields |
/// | `Option` of one of these | as that; `None` if all its columns are NULL, as in outer joins |
///
/// `'r` is how long the rows live: a shape may borrow from them.
///
/// ```
/// # fn show(rows: &txpostgres_session::Rows) -> txpostgres_session::Result<()> {
/// let owned: Vec<(i64, Option<String>)> = rows.decode()?;
/// for row in rows.iter_as::<(i64, Option<&str>)>()? {
///     let (id, name) = row?;
/// }
/// # Ok(()) }
/// ```
///
/// Written by hand, for a struct that takes its parts from columns of any name:
///
/// ```
/// use txpostgres_session::{Column, FromRow, ColumnReader, Result, Row};
///
/// struct Pair(i64, String);
///
/// impl<'r> FromRow<'r> for Pair {
///     type Layout = (ColumnReader, ColumnReader);
///
///     fn layout(columns: &[Column]) -> Result<Self::Layout> {
///         let id = ColumnReader::new::<i64>(columns, 0)?;
///         Ok((id, ColumnReader::new::<String>(columns, "name")?))
///     }
///
///     fn from_row(layout: &Self::Layout, row: Row<'r>) -> Result<Self> {
///         Ok(Self(row.read(&layout.0)?, row.read(&layout.1)?))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a row cannot be read as `{Self}`",
    note = "a row reads as a tuple `(A, B)`, as `(A,)` or `Scalar<A>` if it has one column, as a map by name, \
            or as a struct with `#[derive(FromRow)]`"
)]
pub trait FromRow<'r>: Sized {
    /// Where the parts are: found out once for all rows of a result.
    type Layout;

    /// Finds the parts among these columns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`]: a column is missing, or its type is not the one that the part is read
    /// as.
    fn layout(columns: &[Column]) -> Result<Self::Layout>;

    /// Reads a row of the result that the layout was made for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`]: a value is NULL where the shape has no room for it, or it is damaged.
    fn from_row(layout: &Self::Layout, row: Row<'r>) -> Result<Self>;

    /// Whether every column that the shape takes is NULL in this row, so that an `Option` of it is
    /// `None`. A shape that does not say is never so.
    fn is_null(layout: &Self::Layout, row: Row<'r>) -> bool {
        let _ = (layout, row);
        false
    }
}

impl<'r, T: FromRow<'r>> FromRow<'r> for Option<T> {
    type Layout = T::Layout;

    fn layout(columns: &[Column]) -> Result<Self::Layout> {
        T::layout(columns)
    }

    #[inline]
    fn from_row(layout: &Self::Layout, row: Row<'r>) -> Result<Self> {
        if T::is_null(layout, row) { Ok(None) } else { T::from_row(layout, row).map(Some) }
    }

    fn is_null(layout: &Self::Layout, row: Row<'r>) -> bool {
        T::is_null(layout, row)
    }
}

/// The only column of a row, as a shape.
///
/// ```
/// # fn show(rows: &txpostgres_session::Rows) -> txpostgres_session::Result<()> {
/// use txpostgres_session::Scalar;
///
/// for row in rows.iter_as::<Scalar<&str>>()? {
///     let Scalar(name) = row?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[doc(alias = "query_scalar")]
pub struct Scalar<T>(pub T);

impl<'r, T: FromSql<'r>> FromRow<'r> for Scalar<T> {
    type Layout = ColumnReader;

    fn layout(columns: &[Column]) -> Result<ColumnReader> {
        expect_columns(columns, 1, "a single value")?;
        ColumnReader::new::<T>(columns, 0)
    }

    #[inline]
    fn from_row(layout: &ColumnReader, row: Row<'r>) -> Result<Self> {
        row.read(layout).map(Self)
    }

    fn is_null(layout: &ColumnReader, row: Row<'r>) -> bool {
        row.is_null(layout)
    }
}

/// A shape without names takes as many columns as there are: one more in the table would shift the
/// others unseen.
fn expect_columns(columns: &[Column], takes: usize, shape: &str) -> Result<()> {
    if columns.len() == takes {
        return Ok(());
    }
    Err(decode_error(format!(
        "a row has {} columns ({}) and is to be read as {shape}, which takes {takes}",
        columns.len(),
        names_of(columns)
    )))
}

#[cold]
fn decode_error(message: String) -> Error {
    Error::new(ErrorKind::Decode, message).with_delivery(Delivery::Answered)
}

macro_rules! tuples {
    ($($count:literal $($name:ident $index:tt)+;)+) => {$(
        impl<'r, $($name: FromSql<'r>),+> FromRow<'r> for ($($name,)+) {
            type Layout = [ColumnReader; $count];

            fn layout(columns: &[Column]) -> Result<Self::Layout> {
                expect_columns(columns, $count, concat!("a tuple of ", $count))?;
                Ok([$(ColumnReader::new::<$name>(columns, $index)?),+])
            }

            #[inline]
            fn from_row(layout: &Self::Layout, row: Row<'r>) -> Result<Self> {
                #[allow(non_snake_case)]
                let [$($name),+] = layout;
                Ok(($(row.read($name)?,)+))
            }

            fn is_null(layout: &Self::Layout, row: Row<'r>) -> bool {
                layout.iter().all(|reader| row.is_null(reader))
            }
        }
    )+};
}

tuples! {
    1 A 0;
    2 A 0 B 1;
    3 A 0 B 1 C 2;
    4 A 0 B 1 C 2 D 3;
    5 A 0 B 1 C 2 D 3 E 4;
    6 A 0 B 1 C 2 D 3 E 4 F 5;
    7 A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    8 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
    9 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8;
    10 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9;
    11 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10;
    12 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11;
    13 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12;
    14 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13;
    15 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13 O 14;
    16 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13 O 14 P 15;
}

/// Where the values of a map are, and under which name.
type Named = Vec<(String, ColumnReader)>;

fn named<'r, V: FromSql<'r>>(columns: &[Column]) -> Result<Named> {
    let mut named = Named::with_capacity(columns.len());
    let mut seen = HashMap::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        if let Some(first) = seen.insert(column.name(), index) {
            return Err(decode_error(format!(
                "the columns {first} and {index} are both named \"{}\": a map has room for one of them",
                column.name()
            ))
            .with_hint("give one of them another name with AS, or read the row as a tuple"));
        }
        named.push((column.name().to_owned(), ColumnReader::new::<V>(columns, index)?));
    }
    Ok(named)
}

impl<'r, V: FromSql<'r>, S: BuildHasher + Default> FromRow<'r> for HashMap<String, V, S> {
    type Layout = Named;

    fn layout(columns: &[Column]) -> Result<Self::Layout> {
        named::<V>(columns)
    }

    fn from_row(layout: &Self::Layout, row: Row<'r>) -> Result<Self> {
        layout.iter().map(|(name, reader)| Ok((name.clone(), row.read(reader)?))).collect()
    }

    fn is_null(layout: &Self::Layout, row: Row<'r>) -> bool {
        layout.iter().all(|(_, reader)| row.is_null(reader))
    }
}

impl<'r, V: FromSql<'r>> FromRow<'r> for BTreeMap<String, V> {
    type Layout = Named;

    fn layout(columns: &[Column]) -> Result<Self::Layout> {
        named::<V>(columns)
    }

    fn from_row(layout: &Self::Layout, row: Row<'r>) -> Result<Self> {
        layout.iter().map(|(name, reader)| Ok((name.clone(), row.read(reader)?))).collect()
    }

    fn is_null(layout: &Self::Layout, row: Row<'r>) -> bool {
        layout.iter().all(|(_, reader)| row.is_null(reader))
    }
}

impl Rows {
    /// Reads all rows, each as a `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`], with the column, its type, the Rust type and the row that did not
    /// fit. Columns and types that do not fit are an error also when there are no rows.
    pub fn decode<'r, T: FromRow<'r>>(&'r self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.decode_onto(&mut all)?;
        Ok(all)
    }

    /// Reads all rows, each as a `T`, and adds them to `all`.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode). Those before the row that did not fit were added.
    pub fn decode_onto<'r, T: FromRow<'r>>(&'r self, all: &mut Vec<T>) -> Result<()> {
        let rows = self.iter_as::<T>()?;
        all.reserve(rows.len());
        for row in rows {
            all.push(row?);
        }
        Ok(())
    }

    /// Reads the rows one after another, each as a `T`, which may borrow from them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] when a column is missing or has a type that does not fit. The items
    /// fail on their own.
    pub fn iter_as<'r, T: FromRow<'r>>(&'r self) -> Result<IterAs<'r, T>> {
        let layout = if self.has_columns() { Some(T::layout(self.columns())?) } else { None };
        Ok(IterAs { rows: self.iter(), layout, shape: PhantomData })
    }
}

impl<'r> Row<'r> {
    /// The row as a `T`. To read many, [`Rows::decode`] and [`Rows::iter_as`] look for the columns
    /// only once.
    ///
    /// # Errors
    ///
    /// As [`Rows::decode`].
    pub fn decode<T: FromRow<'r>>(&self) -> Result<T> {
        T::from_row(&T::layout(self.columns())?, *self)
    }
}

/// Reads rows as a `T` each: see [`Rows::iter_as`].
///
/// `L` is the [`FromRow::Layout`] of `T`.
// If it were written as that, a future that has one of these across an await would be `Send` only
// if a `T` that borrows were a shape for every lifetime, which none is.
pub struct IterAs<'r, T, L = <T as FromRow<'r>>::Layout> {
    rows: Iter<'r>,
    /// `None` for a statement that returns no rows at all.
    layout: Option<L>,
    shape: PhantomData<fn() -> T>,
}

impl<'r, T: FromRow<'r, Layout = L>, L> Iterator for IterAs<'r, T, L> {
    type Item = Result<T>;

    #[inline]
    fn next(&mut self) -> Option<Result<T>> {
        let layout = self.layout.as_ref()?;
        self.rows.next().map(|row| T::from_row(layout, row))
    }

    // Rows that are passed over are not read.
    #[inline]
    fn nth(&mut self, n: usize) -> Option<Result<T>> {
        let layout = self.layout.as_ref()?;
        self.rows.nth(n).map(|row| T::from_row(layout, row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
}

impl<'r, T: FromRow<'r, Layout = L>, L> ExactSizeIterator for IterAs<'r, T, L> {}

impl<'r, T: FromRow<'r, Layout = L>, L> FusedIterator for IterAs<'r, T, L> {}

impl<T, L> fmt::Debug for IterAs<'_, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterAs").field("rows", &self.rows).finish_non_exhaustive()
    }
}
