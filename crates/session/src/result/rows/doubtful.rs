//! Which text depends on its encoding: what is beyond ASCII, which is all that PostgreSQL's
//! encodings have in common (manual, section 24.3).

use postgres_types::Type;

use super::Rows;
use crate::result::row::{Column, Format};

impl Rows {
    /// Whether there is a row, and a value or a column's name that another encoding than UTF-8
    /// would make another text.
    pub(crate) fn have_doubtful_text(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let columns = self.columns();
        let is_doubtful = |index: usize| {
            let has_text = columns.get(index).is_some_and(may_hold_text);
            has_text
                && self.iter().any(|row| matches!(row.raw(index), Ok(Some(v)) if !v.is_ascii()))
        };
        columns.iter().any(|column| !column.name().is_ascii())
            || (0..columns.len()).any(is_doubtful)
    }
}

/// Whether bytes beyond ASCII in the column's values may be those of a text: in binary also those
/// of arrays and composites.
fn may_hold_text(column: &Column) -> bool {
    column.format() == Format::Text
        || !matches!(
            *column.type_(),
            Type::BOOL
                | Type::BYTEA
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::UUID
                | Type::DATE
                | Type::TIME
                | Type::TIMETZ
                | Type::TIMESTAMP
                | Type::TIMESTAMPTZ
                | Type::INTERVAL
        )
}
