//! Names and texts within SQL: the one place where they are quoted.

use crate::error::{Error, ErrorKind, Result};

/// A name between double quotes, as SQL has it (manual, section 4.1.1), so that no byte of it can
/// mean anything else.
///
/// It is always quoted; the server's function of this name leaves quotes out where none are needed.
/// Case is kept: `quote_ident("News")` is not the name that an unquoted `News` is.
///
/// ```
/// assert_eq!(txpostgres_session::quote_ident("a \"b\"").unwrap(), "\"a \"\"b\"\"\"");
/// ```
///
/// # Errors
///
/// [`ErrorKind::Request`] for an empty name, and for one with a NUL, which no text of PostgreSQL
/// can hold.
pub fn quote_ident(name: &str) -> Result<String> {
    let mut quoted = String::with_capacity(name.len() + 2);
    push_ident(&mut quoted, name)?;
    Ok(quoted)
}

/// Appends the name, quoted as [`quote_ident`] does, or nothing if it cannot be.
///
/// # Errors
///
/// As [`quote_ident`].
pub fn push_ident(sql: &mut String, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Request, "a name is empty"));
    }
    if name.contains('\0') {
        return Err(Error::new(ErrorKind::Request, "a name holds a NUL character"));
    }
    sql.push('"');
    for (number, part) in name.split('"').enumerate() {
        if number > 0 {
            sql.push_str("\"\"");
        }
        sql.push_str(part);
    }
    sql.push('"');
    Ok(())
}

/// A text as a literal of SQL, for statements that take no parameters, such as `COPY … TO`.
///
/// As libpq's `PQescapeLiteral` has it: quotes are doubled; if there is a backslash it becomes
/// ` E'…'`, with a space before it, and backslashes are doubled as well. So it means the same
/// whatever `standard_conforming_strings` is.
///
/// ```
/// # fn main() -> txpostgres_session::Result<()> {
/// assert_eq!(txpostgres_session::quote_literal("it's")?, "'it''s'");
/// assert_eq!(txpostgres_session::quote_literal(r"C:\temp")?, r" E'C:\\temp'");
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`ErrorKind::Request`] for a text with a NUL, which no text of PostgreSQL can hold.
pub fn quote_literal(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::new(ErrorKind::Request, "a text holds a NUL character"));
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push_str(if text.contains('\\') { " E'" } else { "'" });
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.push(c);
        }
        quoted.push(c);
    }
    quoted.push('\'');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        for (name, quoted) in [
            ("news", "\"news\""),
            ("\"", "\"\"\"\""),
            ("a\"\"b", "\"a\"\"\"\"b\""),
            ("x; drop table y --", "\"x; drop table y --\""),
        ] {
            assert_eq!(quote_ident(name).unwrap(), quoted);
        }
    }

    #[test]
    fn literals_are_those_of_libpq() {
        for (text, quoted) in [
            ("", "''"),
            ("it's", "'it''s'"),
            ("\\", " E'\\\\'"),
            ("\\'; drop table y --", " E'\\\\''; drop table y --'"),
            ("grün\n", "'grün\n'"),
        ] {
            assert_eq!(quote_literal(text).unwrap(), quoted);
        }
        assert_eq!(quote_literal("a\0b").unwrap_err().kind(), ErrorKind::Request);
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for name in ["", "a\0", "\0"] {
            assert_eq!(quote_ident(name).unwrap_err().kind(), ErrorKind::Request);
        }
    }
}
