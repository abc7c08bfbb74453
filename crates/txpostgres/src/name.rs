//! A table or a routine by its name.

use txpostgres_session::{Result, push_ident};

/// The name of a table or routine, with or without its schema: `"people"`, `("public", "people")`.
///
/// It is taken as it is and quoted: case counts, and a dot is part of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name<'a> {
    pub(crate) schema: Option<&'a str>,
    pub(crate) name: &'a str,
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(name: &'a str) -> Self {
        Self { schema: None, name }
    }
}

impl<'a> From<&'a String> for Name<'a> {
    fn from(name: &'a String) -> Self {
        Self { schema: None, name }
    }
}

impl<'a> From<(&'a str, &'a str)> for Name<'a> {
    fn from((schema, name): (&'a str, &'a str)) -> Self {
        Self { schema: Some(schema), name }
    }
}

impl Name<'_> {
    /// Appends it as SQL.
    pub(crate) fn push_to(&self, sql: &mut String) -> Result<()> {
        if let Some(schema) = self.schema {
            push_ident(sql, schema)?;
            sql.push('.');
        }
        push_ident(sql, self.name)
    }
}

/// Appends names of columns as SQL, separated by commas.
pub(crate) fn push_columns(sql: &mut String, columns: &[&str]) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            sql.push_str(", ");
        }
        push_ident(sql, column)?;
    }
    Ok(())
}
