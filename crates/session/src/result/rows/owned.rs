//! A row that is kept by itself.

use std::fmt;
use std::sync::Arc;

use postgres_types::FromSql;

use super::Rows;
use crate::error::Result;
use crate::result::row::{Column, ColumnIndex, Row};
use crate::result::shape::FromRow;

/// A row that is kept by itself: it shares the memory of those that came with it.
#[derive(Clone)]
pub struct OwnedRow {
    rows: Arc<Rows>,
    number: usize,
}

impl OwnedRow {
    /// The row of this number among `rows`, the first being 0.
    pub fn new(rows: &Arc<Rows>, number: usize) -> Option<Self> {
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

    /// The row as a `T`, which may borrow from it: see [`Row::decode`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when a column is missing, or does not fit.
    pub fn decode<'a, T: FromRow<'a>>(&'a self) -> Result<T> {
        self.as_row().decode()
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
