//! The name of a table or a routine, quoted as SQL.

use txpostgres_session::{Error, Result, SqlState, push_ident};

/// The name of a table or routine, with or without its schema: `"people"`, `("public", "people")`.
///
/// The name is quoted as it is: case is significant, and a dot is part of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identifier<'a> {
    pub(crate) schema: Option<&'a str>,
    pub(crate) name: &'a str,
}

impl<'a> From<&'a str> for Identifier<'a> {
    fn from(name: &'a str) -> Self {
        Self { schema: None, name }
    }
}

impl<'a> From<&'a String> for Identifier<'a> {
    fn from(name: &'a String) -> Self {
        Self { schema: None, name }
    }
}

impl<'a> From<(&'a str, &'a str)> for Identifier<'a> {
    fn from((schema, name): (&'a str, &'a str)) -> Self {
        Self { schema: Some(schema), name }
    }
}

impl Identifier<'_> {
    /// Appends the quoted name.
    pub(crate) fn push_to(&self, sql: &mut String) -> Result<()> {
        if let Some(schema) = self.schema {
            push_ident(sql, schema)?;
            sql.push('.');
        }
        push_ident(sql, self.name)
    }

    /// Adds a hint to an error if the server knows no such name and the name has a dot: probably a
    /// schema was meant.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let is_unknown = matches!(
            error.sqlstate(),
            Some(SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_FUNCTION)
        );
        match self.name.split_once('.') {
            Some((schema, name)) if is_unknown && self.schema.is_none() => {
                error.with_hint(format!(
                    "the dot is part of this name; with a schema it is (\"{schema}\", \"{name}\")"
                ))
            }
            _ => error,
        }
    }
}

/// Appends quoted names of columns, separated by commas.
pub(crate) fn push_columns(sql: &mut String, columns: &[&str]) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            sql.push_str(", ");
        }
        push_ident(sql, column)?;
    }
    Ok(())
}
