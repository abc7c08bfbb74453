//! Arrays of any number of dimensions (manual, section 8.15).

use std::error::Error;
use std::fmt;

use bytes::{BufMut, BytesMut};
use postgres_types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::derive::Cause;
use super::unread::Unread;
use crate::limits;

/// An array with its dimensions and lower bounds, as PostgreSQL has it.
///
/// A `Vec<T>` is an array of one dimension, and it has no lower bound. This is for arrays of two to
/// six dimensions, and for those that do not count from 1. NULLs need a `T` that has room for them:
/// `Array<Option<i32>>`.
///
/// ```
/// use txpostgres_session::value::Array;
///
/// let board = Array::from_rows(vec![vec![1, 2, 3], vec![4, 5, 6]])?;
/// assert_eq!(board.dimensions().len(), 2);
/// assert_eq!(board.get(&[2, 1]), Some(&4)); // `board[2][1]` in SQL
/// assert_eq!(board.into_rows()?, [[1, 2, 3], [4, 5, 6]]);
/// # Ok::<(), txpostgres_session::value::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Array<T> {
    /// None for an array without elements.
    dimensions: Vec<Dimension>,
    /// The last subscript counts fastest.
    values: Vec<T>,
}

/// One dimension of an [`Array`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dimension {
    /// How many elements there are along it.
    pub len: usize,
    /// The subscript of the first of them; 1 unless something else was asked for.
    pub lower_bound: i32,
}

/// Dimensions that do not go with the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// The rows have different lengths.
    Ragged,
    /// The lengths of the dimensions make another number of elements than there are.
    Elements,
    /// PostgreSQL has six dimensions at most.
    TooManyDimensions,
    /// The array does not have two dimensions.
    NotTwoDimensions,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ragged => "the rows of the array have different lengths",
            Self::Elements => "the dimensions of the array make another number of elements",
            Self::TooManyDimensions => "an array has six dimensions at most",
            Self::NotTwoDimensions => "the array does not have two dimensions",
        })
    }
}

impl Error for ShapeError {}

impl<T> Array<T> {
    /// An array of these dimensions, with its elements in their order, the last subscript counting
    /// fastest. Without elements there are no dimensions either.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Elements`] and [`ShapeError::TooManyDimensions`].
    pub fn new(dimensions: Vec<Dimension>, values: Vec<T>) -> Result<Self, ShapeError> {
        let elements =
            dimensions.iter().try_fold(1_usize, |n, dimension| n.checked_mul(dimension.len));
        let elements = if dimensions.is_empty() { Some(0) } else { elements };
        if elements != Some(values.len()) {
            return Err(ShapeError::Elements);
        }
        if dimensions.len() > limits::ARRAY_DIMENSIONS {
            return Err(ShapeError::TooManyDimensions);
        }
        let dimensions = if values.is_empty() { Vec::new() } else { dimensions };
        Ok(Self { dimensions, values })
    }

    /// An array of two dimensions, which count from 1.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Ragged`].
    pub fn from_rows(rows: Vec<Vec<T>>) -> Result<Self, ShapeError> {
        let (len, width) = (rows.len(), rows.first().map_or(0, Vec::len));
        if rows.iter().any(|row| row.len() != width) {
            return Err(ShapeError::Ragged);
        }
        let dimensions = [len, width].map(|len| Dimension { len, lower_bound: 1 });
        Self::new(dimensions.to_vec(), rows.into_iter().flatten().collect())
    }

    /// The dimensions; none for an array without elements.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The elements in their order, the last subscript counting fastest.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The elements in their order.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// The element at these subscripts, as many as there are dimensions, as SQL has them: counted
    /// from the lower bounds.
    pub fn get(&self, subscripts: &[i32]) -> Option<&T> {
        if subscripts.len() != self.dimensions.len() {
            return None;
        }
        let mut at = 0_usize;
        for (&subscript, dimension) in subscripts.iter().zip(&self.dimensions) {
            let offset = i64::from(subscript) - i64::from(dimension.lower_bound);
            let offset = usize::try_from(offset).ok().filter(|&offset| offset < dimension.len)?;
            at = at * dimension.len + offset;
        }
        self.values.get(at)
    }

    /// The rows of an array of two dimensions; none of an array without elements.
    ///
    /// # Errors
    ///
    /// [`ShapeError::NotTwoDimensions`].
    pub fn into_rows(self) -> Result<Vec<Vec<T>>, ShapeError> {
        match *self.dimensions {
            [] => Ok(Vec::new()),
            [rows, Dimension { len: width, .. }] => {
                let mut values = self.values.into_iter();
                Ok((0..rows.len).map(|_| values.by_ref().take(width).collect()).collect())
            }
            _ => Err(ShapeError::NotTwoDimensions),
        }
    }
}

impl<T> Default for Array<T> {
    /// An array without elements.
    fn default() -> Self {
        Self { dimensions: Vec::new(), values: Vec::new() }
    }
}

impl<T> From<Vec<T>> for Array<T> {
    /// One dimension, which counts from 1.
    fn from(values: Vec<T>) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        Self { dimensions: vec![Dimension { len: values.len(), lower_bound: 1 }], values }
    }
}

impl<T> TryFrom<Vec<Vec<T>>> for Array<T> {
    type Error = ShapeError;

    fn try_from(rows: Vec<Vec<T>>) -> Result<Self, ShapeError> {
        Self::from_rows(rows)
    }
}

impl<T> TryFrom<Array<T>> for Vec<Vec<T>> {
    type Error = ShapeError;

    fn try_from(array: Array<T>) -> Result<Self, ShapeError> {
        array.into_rows()
    }
}

/// The type of an array's elements.
fn member(ty: &Type) -> Result<&Type, Cause> {
    match super::base(ty).kind() {
        Kind::Array(member) => Ok(member),
        _ => Err(format!("{} is not an array", ty.name()).into()),
    }
}

fn accepts(ty: &Type, accepts: fn(&Type) -> bool) -> bool {
    matches!(ty.kind(), Kind::Array(member) if accepts(member))
}

impl<'a, T: FromSql<'a>> FromSql<'a> for Array<T> {
    // `array_send` in `arrayfuncs.c`.
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Cause> {
        let member = member(ty)?;
        let mut unread = Unread::new("an array", raw);
        let announced = unread.i32()?;
        let _has_nulls = unread.i32()?;
        let _member = unread.u32()?;
        let mut dimensions = Vec::new();
        let mut elements = i64::from(announced > 0);
        for _ in 0..announced {
            if dimensions.len() == limits::ARRAY_DIMENSIONS {
                return Err(ShapeError::TooManyDimensions.into());
            }
            let (len, lower_bound) = (unread.i32()?, unread.i32()?);
            elements = elements.saturating_mul(len.into());
            dimensions.push(Dimension { len: usize::try_from(len)?, lower_bound });
        }
        // The length of an element.
        let elements = unread.fits(elements, "elements", super::LENGTH)?;
        let mut values = Vec::with_capacity(elements);
        for _ in 0..elements {
            values.push(T::from_sql_nullable(member, unread.nullable("an element")?)?);
        }
        unread.end()?;
        Ok(Self::new(dimensions, values)?)
    }

    fn accepts(ty: &Type) -> bool {
        accepts(ty, T::accepts)
    }
}

impl<T: ToSql> ToSql for Array<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Cause> {
        let member = member(ty)?;
        out.put_i32(i32::try_from(self.dimensions.len())?);
        let has_nulls = out.len();
        out.put_i32(0);
        out.put_u32(member.oid());
        for dimension in &self.dimensions {
            out.put_i32(i32::try_from(dimension.len)?);
            out.put_i32(dimension.lower_bound);
        }
        for value in &self.values {
            let at = out.len();
            let mut is_null = IsNull::No;
            super::write_sized(out, |out| {
                is_null = value.to_sql(member, out)?;
                Ok(())
            })?;
            if matches!(is_null, IsNull::Yes) {
                out.truncate(at);
                out.put_i32(-1);
                if let Some(flag) = out.get_mut(has_nulls + 3) {
                    *flag = 1;
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        accepts(ty, T::accepts)
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_are_none_are_refused() {
        let lengths = |lengths: &[usize]| {
            lengths.iter().map(|&len| Dimension { len, lower_bound: 1 }).collect::<Vec<_>>()
        };
        assert_eq!(Array::from_rows(vec![vec![1], vec![]]), Err(ShapeError::Ragged));
        assert_eq!(Array::new(lengths(&[2, 2]), vec![1, 2, 3]), Err(ShapeError::Elements));
        assert_eq!(Array::new(lengths(&[]), vec![1]), Err(ShapeError::Elements));
        let (seven, huge) = (lengths(&[1; 7]), lengths(&[usize::MAX, 2]));
        assert_eq!(Array::new(seven, vec![1]), Err(ShapeError::TooManyDimensions));
        assert_eq!(Array::new(huge, vec![1]), Err(ShapeError::Elements));
        assert_eq!(Array::new(lengths(&[0, 5]), Vec::<i32>::new()), Ok(Array::default()));
        assert_eq!(Array::from(vec![1]).into_rows(), Err(ShapeError::NotTwoDimensions));
    }

    #[test]
    fn what_announces_more_than_it_has_reserves_nothing() {
        let most = [0x7f, 0xff, 0xff, 0xff];
        let head = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 23];
        let bytes = [&head[..], &most, &[0, 0, 0, 1], &most, &[0, 0, 0, 1]].concat();
        for cut in 0..=bytes.len() {
            assert!(Array::<i32>::from_sql(&Type::INT4_ARRAY, &bytes[..cut]).is_err());
        }
    }
}
