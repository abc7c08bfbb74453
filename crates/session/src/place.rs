//! Where in a row a value is, and as what it is to be read.

use postgres_types::FromSql;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::row::{Column, ColumnIndex, Refusal, no_such_column, refuse};

/// Where in a row a value of some type is: found and compared once, used for every row.
///
/// A place belongs to the columns and the type that it was made for. Used with others it finds another value, or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(crate) index: usize,
    /// Whether its type has values that announce something, which must not be believed.
    pub(crate) verifies: bool,
}

impl Place {
    /// The place of a column that is to be read as a `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] when there is no such column, or its type does not read as `T`.
    pub fn of<'a, T: FromSql<'a>>(columns: &[Column], column: impl ColumnIndex) -> Result<Self> {
        let found = column.find(columns).and_then(|index| Some((index, columns.get(index)?)));
        let Some((index, described)) = found else {
            return Err(no_such_column(columns, &column));
        };
        let ty = described.read_type();
        if !T::accepts(ty) {
            return Err(refuse::<T>(columns, index, None, Refusal::WrongType));
        }
        Ok(Self { index, verifies: !crate::value::announces_nothing(ty) })
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
        column.find(columns).map(|index| Self::of::<T>(columns, index)).transpose()
    }
}
