//! What a statement's text says before the server has parsed it.

use crate::limits;

/// Whether a statement will plausibly come again and gains by being prepared: those that the planner plans. The others
/// (DDL, SET, BEGIN …) are sent unnamed, and long texts are mostly made by a program.
pub(crate) fn is_worth_keeping(sql: &str) -> bool {
    if sql.len() > limits::CACHED_STATEMENT_BYTES {
        return false;
    }
    let word = first_word(sql);
    ["select", "insert", "update", "delete", "merge", "with", "values", "table"]
        .iter()
        .any(|planned| word.eq_ignore_ascii_case(planned))
}

/// Whether a statement is a COPY, whose data would be taken for other requests, or these for its data.
pub(crate) fn is_copy(sql: &str) -> bool {
    first_word(sql).eq_ignore_ascii_case("copy")
}

/// The word that a statement begins with, behind comments (manual, section 4.1.5) and parentheses.
fn first_word(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            sql = after_comment(comment);
        } else {
            return sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        }
    }
}

/// What follows a comment whose beginning was read; others may lie in it.
fn after_comment(mut sql: &str) -> &str {
    let mut open = 1_usize;
    while open > 0 {
        let Some(at) = sql.find(['*', '/']) else {
            return "";
        };
        let rest = sql.get(at..).unwrap_or_default();
        (open, sql) = match rest.get(..2) {
            Some("/*") => (open + 1, rest.get(2..).unwrap_or_default()),
            Some("*/") => (open - 1, rest.get(2..).unwrap_or_default()),
            _ => (open, rest.get(1..).unwrap_or_default()),
        };
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        for sql in [
            "COPY t from stdin",
            " \n\t copy t to stdout",
            "-- a comment\ncopy(select 1) to stdout",
            "--\r--\n-- x\n/* a /* nested */ one, 1 * 2 / 3 */copy t from stdin",
            "/**/copy",
            "/* ö *//*/**/*/ copy",
        ] {
            assert!(is_copy(sql), "{sql}");
        }
        for sql in [
            "",
            "copying",
            "select copy",
            "-- copy",
            "/* copy",
            "/* */",
            "/* /* */ copy",
            "\"copy\"",
            "/ copy",
            "ö",
        ] {
            assert!(!is_copy(sql), "{sql}");
        }
    }

    #[test]
    fn keeps_what_is_planned() {
        for sql in [
            "SELECT 1",
            " \n(select 1)",
            "with x as (select 1) table x",
            "Insert into t",
            "-- name: GetPerson\n((select 1))",
        ] {
            assert!(is_worth_keeping(sql), "{sql}");
        }
        for sql in [
            "",
            "begin",
            "create table selects ()",
            "selection",
            "-- select\nset a = 1",
            "set a = 1",
        ] {
            assert!(!is_worth_keeping(sql), "{sql}");
        }
        assert!(!is_worth_keeping(&format!("select '{}'", "x".repeat(20_000))));
    }
}
