//! What a statement's text says before the server has parsed it.

use super::encoding::{EncodingHint, encoding_hint, mentions_setting};
use super::lexer::{after_comment, has_and_chain, is_of_name};
use crate::limits;

/// Whether a statement will plausibly come again and gains by being prepared: those that the
/// planner plans. The others (DDL, SET, BEGIN …) are sent unnamed, and long texts are mostly made
/// by a program. One that changes the encoding gives a [hint](Hints) each time it is sent.
pub(crate) fn is_worth_keeping(sql: &str) -> bool {
    if sql.len() > limits::CACHED_STATEMENT_BYTES {
        return false;
    }
    is_planned(first_word(sql)) && encoding_hint(sql) == EncodingHint::Keeps
}

/// Whether a statement is one that the planner plans: a query, or a change of rows. All else may
/// change the state of the session, such as SET and BEGIN. So may functions that a query calls.
pub fn is_query_or_change(sql: &str) -> bool {
    // Most begin with one of these words, and nothing before it.
    let begins = sql.as_bytes().split_first_chunk::<6>();
    if let Some((word, rest)) = begins
        && matches!(&word.map(|byte| byte | 0x20), b"select" | b"insert" | b"update" | b"delete")
        && rest.first().is_some_and(u8::is_ascii_whitespace)
    {
        return true;
    }
    is_planned(first_word(sql))
}

/// Whether a statement that begins with this word is one that the planner plans.
fn is_planned(word: &str) -> bool {
    ["select", "insert", "update", "delete", "merge", "with", "values", "table"]
        .iter()
        .any(|planned| word.eq_ignore_ascii_case(planned))
}

/// Whether a statement is a COPY, whose data would be taken for other requests, or these for its
/// data.
pub(crate) fn is_copy(sql: &str) -> bool {
    first_word(sql).eq_ignore_ascii_case("copy")
}

/// The word that a statement begins with, behind comments (manual, section 4.1.5), parentheses and
/// empty statements.
fn first_word(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ';'));
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            // It ends behind ASCII, or with the text.
            sql = str::from_utf8(after_comment(comment.as_bytes())).unwrap_or_default();
        } else {
            return sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        }
    }
}

/// What the answer to a text may bring that its command tags do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // Each is independent of the others.
pub(crate) struct Hints {
    /// It may be a COPY, or have one among its statements: what is sent behind it could be taken
    /// for the COPY's data.
    pub(crate) may_copy: bool,
    /// A COMMIT or ROLLBACK of it may begin another transaction.
    pub(crate) may_chain: bool,
    /// A SET or RESET of it may have names mean something else: of `search_path`, of the role.
    pub(crate) sets_names: bool,
    /// It may have the server speak another encoding than UTF-8 for some of its statements.
    pub(crate) encoding: EncodingHint,
    /// How many statements it has at most, besides the first one.
    pub(crate) more_statements: usize,
}

impl Hints {
    /// Of any number of statements.
    pub(crate) fn of_script(sql: &str) -> Self {
        let mut hints = Self::default();
        let mut mentions_chain = false;
        for word in sql.as_bytes().split(|&byte| !is_of_name(byte)) {
            let is = |keyword: &[u8]| word.eq_ignore_ascii_case(keyword);
            match word.len() {
                3 if is(b"all") => hints.sets_names = true,
                4 if is(b"copy") => hints.may_copy = true,
                4 if is(b"role") => hints.sets_names = true,
                5 if is(b"chain") => mentions_chain = true,
                6 if is(b"schema") => hints.sets_names = true,
                11 if is(b"search_path") => hints.sets_names = true,
                13 if is(b"authorization") => hints.sets_names = true,
                21 if is(b"session_authorization") => hints.sets_names = true,
                _ => {}
            }
        }
        // A quoted name may be written by the numbers of its characters.
        hints.sets_names |= sql.contains('\\');
        hints.may_chain = mentions_chain && has_and_chain(sql);
        hints.encoding = encoding_hint(sql);
        hints.more_statements = sql.bytes().filter(|&byte| byte == b';').count();
        hints
    }

    /// Of a COPY whose data has a way of its own.
    pub(crate) fn of_copy(sql: &str) -> Self {
        Self { may_copy: false, ..Self::of_script(sql) }
    }

    /// Of one statement.
    pub(crate) fn of_statement(sql: &str) -> Self {
        if is_planned(first_word(sql)) { Self::of_values(sql) } else { Self::of_script(sql) }
    }

    /// Of one statement that is planned, or whose only effect are its values.
    pub(crate) fn of_values(sql: &str) -> Self {
        Self { encoding: encoding_hint(sql), ..Self::default() }
    }

    /// With what the values say, among the bytes of the whole request: whether one of them is the
    /// name of the encoding's setting.
    pub(crate) fn with_values(mut self, request: &[u8]) -> Self {
        if self.encoding == EncodingHint::SetsNamed && mentions_setting(request) {
            self.encoding = EncodingHint::Sets;
        }
        self
    }

    /// Whether values beyond ASCII are not to be believed, once the request is written whole.
    pub(crate) fn sets_encoding(self) -> bool {
        self.encoding == EncodingHint::Sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        for sql in [
            "COPY t from stdin",
            " \n\t copy t to stdout",
            ";;copy t to stdout",
            "-- a comment\ncopy(select 1) to stdout",
            "--\r--\n-- x\n/* a /* nested */ one, 1 * 2 / 3 */copy t from stdin",
            "/**/copy",
            "/* ö *//*/**/*/ copy",
            "-- a comment\rcopy t from stdin",
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

    #[test]
    fn words_anywhere_give_hints() {
        let hint = |sql: &str| {
            let Hints { may_copy, may_chain, sets_names, .. } = Hints::of_script(sql);
            (may_copy, may_chain, sets_names)
        };
        for sql in [
            "select 1; copy t from stdin",
            "select 1;COPY t from stdin",
            "/**/copy",
            "select 1; /**/copy\"t\"",
        ] {
            assert_eq!(hint(sql), (true, false, false), "{sql}");
        }
        for sql in [
            "set local search_path = a",
            "SET \"search_path\" = a",
            "set role x",
            "set session authorization x",
            "set session_authorization = x",
            "select 1; reset all",
            "set schema 'x'",
            r#"set U&"search\005fpath" = a"#,
        ] {
            assert_eq!(hint(sql), (false, false, true), "{sql}");
        }
        for sql in
            ["", "set statement_timeout = 1", "select copying, copy_1, ácopy", "rollback to chain"]
        {
            assert_eq!(hint(sql), (false, false, false), "{sql}");
        }
        assert_eq!(hint("rollback and chain"), (false, true, false));
        assert_eq!(Hints::of_statement("select copy, role"), Hints::default());
        let sql = "select set_config('client_encoding', 'LATIN1', true)";
        assert!(Hints::of_statement(sql).sets_encoding() && !is_worth_keeping(sql));
        assert!(Hints::of_statement("; copy t from stdin").may_copy);
    }
}
