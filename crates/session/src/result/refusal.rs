//! Why a value was not read: the error that names the column, its type and the row, and says what
//! to change.

use std::fmt::Write as _;

use postgres_types::{FromSql, Type};

use crate::error::{Delivery, Error, ErrorKind};
use crate::result::row::{Column, ColumnIndex, Format};
use crate::value::mismatch::{self, Note};
use crate::value::{Malformed, fitting};

/// Names of columns in a message: 10, as many as one reads.
const NAMES: usize = 10;

/// Why a value is not what it was to be read as.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    WrongType,
    Null,
    /// A part of it is NULL.
    NullWithin,
    Damaged(Malformed),
    Unreadable,
}

#[cold]
pub(crate) fn no_such_column(columns: &[Column], column: &impl ColumnIndex) -> Error {
    let names = if columns.is_empty() { "none".to_owned() } else { names_of(columns) };
    let message = format!("the row has no column {column}; its columns are: {names}");
    Error::new(ErrorKind::Decode, message).with_delivery(Delivery::Answered)
}

/// The names of columns for a message: the first of them, and how many more there are.
pub(crate) fn names_of(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().take(NAMES).map(Column::name).collect();
    let mut names = names.join(", ");
    if let Some(more @ 1..) = columns.len().checked_sub(NAMES) {
        let _ = write!(names, " and {more} more");
    }
    names
}

/// The column's type does not read as `T`; if it is known which part of it does not, the error says
/// so.
#[cold]
pub(crate) fn wrong_type<'a, T: FromSql<'a>>(
    columns: &[Column],
    index: usize,
    row: Option<usize>,
    ty: &Type,
) -> Error {
    let error = refuse::<T>(columns, index, row, Refusal::WrongType);
    if columns.get(index).is_some_and(|column| column.format() == Format::Text) {
        return error.with_hint("the values came as text; they read as &str, String or Text");
    }
    match mismatch::explain::<T>(ty) {
        Some(Note::Why(why)) => error.with_source(why),
        Some(Note::Advice(advice)) => error.with_hint(advice),
        None => error.with_hint(fitting::advice(ty, true)),
    }
}

/// `row` is `None` where every row is refused.
#[cold]
pub(crate) fn refuse<T>(
    columns: &[Column],
    index: usize,
    row: Option<usize>,
    why: Refusal,
) -> Error {
    let rust = std::any::type_name::<T>();
    let column = columns.get(index);
    let (name, ty) = column.map_or(("?", "?"), |column| (column.name(), column.type_().name()));
    let row = row.map_or_else(|| "every row".to_owned(), |number| format!("row {number}"));
    let is_null = matches!(why, Refusal::Null | Refusal::NullWithin);
    // The value has other fields than the type that was looked up: that was altered.
    let is_altered =
        matches!(why, Refusal::Damaged(Malformed::Fields { .. } | Malformed::FieldType { .. }));
    let why = match why {
        Refusal::WrongType | Refusal::Unreadable | Refusal::NullWithin => {
            format!("does not read as {rust}")
        }
        Refusal::Null => format!("is NULL; read it as Option<{rust}>"),
        Refusal::Damaged(malformed) => format!("is damaged: {malformed}"),
    };
    let error =
        Error::new(ErrorKind::Decode, format!("column {index} \"{name}\" ({ty}) of {row} {why}"))
            .with_delivery(Delivery::Answered);
    match column {
        _ if is_null => error,
        Some(Column { stale_flag: Some(stale_flag), .. }) => {
            stale_flag.mark_stale();
            if is_altered {
                return error.with_hint("the type was altered; ask again: it is looked up anew");
            }
            error
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use postgres_types::{Field, Kind};

    use super::*;
    use crate::error::Result;
    use crate::result::row::Row;
    use crate::result::stale_flag::StaleFlag;
    use crate::value::Record;

    #[test]
    fn says_what_is_wrong_with_a_value() {
        let columns = [Column::for_test("n", Type::INT4), Column::for_test("t", Type::TEXT)];
        let bytes = b"\0\0\0\x03abc\xff\xff\xff\xff";
        let row = Row::new(&columns, bytes, &[0, 7], 4);
        let text = |result: Result<()>| result.unwrap_err().to_string();
        assert_eq!(
            text(row.get::<&str>("n").map(drop)),
            "column 0 \"n\" (int4) of row 4 does not read as &str"
        );
        assert_eq!(
            text(row.get::<i32>("n").map(drop)),
            "column 0 \"n\" (int4) of row 4 does not read as i32: failed to fill whole buffer"
        );
        assert_eq!(
            text(row.get::<String>(1).map(drop)),
            "column 1 \"t\" (text) of row 4 is NULL; read it as Option<alloc::string::String>"
        );
        assert_eq!(row.get::<Option<&str>>(1).unwrap(), None);
        assert_eq!(
            text(row.get::<i32>("x").map(drop)),
            "the row has no column x; its columns are: n, t"
        );
        assert_eq!(
            text(Row::new(&[], &[], &[], 0).get::<i32>("x").map(drop)),
            "the row has no column x; its columns are: none"
        );
    }

    #[test]
    fn says_which_columns_there_are_but_not_all_of_a_thousand() {
        let column = |number| Column::for_test(&format!("c{number}"), Type::INT4);
        let ten: Vec<Column> = (0..10).map(column).collect();
        assert_eq!(names_of(&ten), "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9");
        let many: Vec<Column> = (0..1_000).map(column).collect();
        assert_eq!(names_of(&many), "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 990 more");
        let error = Row::new(&many, &[], &[], 0).get::<i32>("C1").unwrap_err().to_string();
        assert!(error.starts_with("the row has no column C1; its columns are: c0,"), "{error}");
        assert!(error.len() < 200);
    }

    /// Types that are marked as stale are looked up anew, which takes a request.
    #[test]
    fn a_null_within_a_value_does_not_mark_its_type_as_stale() {
        let fields = vec![Field::new("ns".to_owned(), Type::INT4_ARRAY)];
        let ty = Type::new("item".to_owned(), 70_000, Kind::Composite(fields), "public".to_owned());
        let marks = |value: &[&[u8]], read: fn(Row<'_>) -> Result<()>| {
            let stale_flag = StaleFlag::default();
            let columns =
                [Column::for_test("item", ty.clone()).resolved(ty.clone(), stale_flag.clone())];
            let value = value.concat();
            let length = i32::try_from(value.len()).unwrap().to_be_bytes();
            let bytes = [&length[..], &value].concat();
            assert!(read(Row::new(&columns, &bytes, &[0], 0)).is_err());
            stale_flag.is_stale()
        };
        let numbers = |row: Row<'_>| row.get::<Record<(Vec<i32>,)>>(0).map(drop);
        let (count, oid) = ([0, 0, 0, 1], 1_007_u32.to_be_bytes());
        let null = [0xff; 4];
        // `row(null)`, and `row('{null}')`.
        assert!(!marks(&[&count, &oid, &null], numbers));
        let array = [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 23], [0, 0, 0, 1], [0, 0, 0, 1], null];
        assert!(!marks(&[&count, &oid, &[0, 0, 0, 24], array.as_flattened()], numbers));
        // A field of another type, and another type of Rust.
        assert!(marks(&[&count, &[0, 0, 0, 23], &null], numbers));
        assert!(marks(&[&count, &oid, &null], |row| row.get::<i32>(0).map(drop)));
    }
}
