//! As much of SQL's lexical structure as it takes to find words outside of literals, quoted names
//! and comments (manual, section 4.1).

/// Whether the text has an `AND CHAIN` outside of literals, quoted names and comments. Where it
/// depends on `standard_conforming_strings` what is a literal, both readings count.
pub(crate) fn has_and_chain(sql: &str) -> bool {
    let reads = |backslashes| {
        let mut words = Lexer { rest: sql.as_bytes(), backslashes };
        let mut after_and = false;
        while let Some(token) = words.next_token() {
            if after_and && token.eq_ignore_ascii_case(b"chain") {
                return true;
            }
            after_and = token.eq_ignore_ascii_case(b"and");
        }
        false
    };
    reads(false) || (sql.contains('\\') && reads(true))
}

/// Whether the text calls `set_config('client_encoding', …)` outside of literals, quoted names and
/// comments, with anything but the name of UTF-8. Where it depends on
/// `standard_conforming_strings` what is a literal, both readings count.
pub(crate) fn sets_encoding_by_call(sql: &str) -> bool {
    let reads = |backslashes| {
        let mut tokens = Lexer { rest: sql.as_bytes(), backslashes };
        let mut before: &[u8] = b"";
        while let Some(token) = tokens.next_token() {
            if token == b"("
                && before.eq_ignore_ascii_case(b"set_config")
                && tokens.next_literal().is_some_and(|name| name.eq_ignore_ascii_case(ENCODING))
            {
                let is_utf8 = tokens.next_token() == Some(b",")
                    && tokens.next_literal().is_some_and(names_utf8);
                if !is_utf8 {
                    return true;
                }
            }
            before = token;
        }
        false
    };
    let mentions = |(at, _): (usize, &str)| {
        let ends = |text: &[u8]| text.get(..6).is_some_and(|w| w.eq_ignore_ascii_case(b"config"));
        sql.as_bytes().get(at + 1..).is_some_and(ends)
    };
    // Most texts have no such word.
    sql.match_indices('_').any(mentions) && (reads(false) || (sql.contains('\\') && reads(true)))
}

/// The setting that says in which encoding text is exchanged.
const ENCODING: &[u8] = b"client_encoding";

/// Whether this is a name of UTF-8, of which the server ignores case and punctuation.
fn names_utf8(name: &[u8]) -> bool {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    letters == b"utf8" || letters == b"unicode"
}

/// A place for a parameter as other libraries write it, outside of literals, quoted names and
/// comments: `%s`, `%(name)s`, `?` or `:name`.
pub(crate) fn foreign_placeholder(sql: &str) -> Option<&'static str> {
    let mut tokens = Lexer { rest: sql.as_bytes(), backslashes: false };
    let mut before: &[u8] = b"";
    while let Some(token) = tokens.next_token() {
        let next = tokens.rest.first().copied();
        match token {
            b"?" => return Some("?"),
            b"%" if next == Some(b's') || next == Some(b'(') => return Some("%s"),
            // Not a cast.
            b":" if before != b":" && next.is_some_and(|next| next.is_ascii_alphabetic()) => {
                return Some(":name");
            }
            _ => before = token,
        }
    }
    None
}

/// Whether the byte may be part of a name that is not quoted.
pub(crate) fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

struct Lexer<'a> {
    rest: &'a [u8],
    /// A backslash escapes the next character in every literal, and not only behind an `E`.
    backslashes: bool,
}

impl<'a> Lexer<'a> {
    /// The next word, or something that is none.
    fn next_token(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest.trim_ascii_start();
            // A vertical tab is white space to PostgreSQL.
            let rest = rest.strip_prefix(b"\x0b").unwrap_or(rest);
            if let Some(comment) = rest.strip_prefix(b"--") {
                self.rest = behind(comment, |byte| matches!(byte, b'\n' | b'\r'));
            } else if let Some(comment) = rest.strip_prefix(b"/*") {
                self.rest = after_comment(comment);
            } else if rest.len() < self.rest.len() {
                self.rest = rest;
            } else {
                break;
            }
        }
        let first = *self.rest.first()?;
        let (token, rest) = match first {
            b'\'' => (first_of(self.rest), self.after_literal(self.backslashes)),
            b'"' => (first_of(self.rest), after_quotes(tail(self.rest), b'"', false)),
            b'$' => (first_of(self.rest), after_dollar_quote(self.rest)),
            _ if is_of_name(first) => {
                let end = self.rest.iter().position(|&byte| !is_of_name(byte));
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                if word.eq_ignore_ascii_case(b"e") && rest.first() == Some(&b'\'') {
                    self.rest = rest;
                    (word, self.after_literal(true))
                } else {
                    (word, rest)
                }
            }
            _ => (first_of(self.rest), tail(self.rest)),
        };
        self.rest = rest;
        Some(token)
    }

    /// The content of the literal in plain quotes that comes next, if one does.
    fn next_literal(&mut self) -> Option<&'a [u8]> {
        let from = self.rest;
        if self.next_token()? != b"'" {
            return None;
        }
        let written = from.get(..from.len() - self.rest.len())?.trim_ascii_start();
        // Behind a comment there is none: nothing of it is believed then.
        written.strip_prefix(b"'")?.strip_suffix(b"'")
    }

    fn after_literal(&self, backslashes: bool) -> &'a [u8] {
        after_quotes(tail(self.rest), b'\'', backslashes)
    }
}

fn first_of(bytes: &[u8]) -> &[u8] {
    bytes.get(..1).unwrap_or_default()
}

fn tail(bytes: &[u8]) -> &[u8] {
    bytes.get(1..).unwrap_or_default()
}

/// What follows the first byte of which this is so.
fn behind(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> &[u8] {
    let at = bytes.iter().position(|&byte| is_end(byte)).unwrap_or(bytes.len());
    bytes.get(at + 1..).unwrap_or_default()
}

/// What follows the quote that ends a literal or a name. A doubled quote, which stands for itself,
/// ends one and begins another.
fn after_quotes(mut rest: &[u8], quote: u8, backslashes: bool) -> &[u8] {
    loop {
        match rest.split_first() {
            None => return rest,
            Some((&b'\\', behind)) if backslashes => rest = tail(behind),
            Some((&byte, behind)) if byte == quote => return behind,
            Some((_, behind)) => rest = behind,
        }
    }
}

/// What follows a literal between two `$tag$`; or a dollar that begins none.
fn after_dollar_quote(text: &[u8]) -> &[u8] {
    let is_of_tag = |byte: u8| is_of_name(byte) && byte != b'$';
    let end = tail(text).iter().position(|&byte| !is_of_tag(byte)).map_or(text.len(), |at| at + 1);
    let (tag, rest) = text.split_at(end);
    let begins = rest.first() == Some(&b'$') && !tag.get(1).is_some_and(u8::is_ascii_digit);
    if !begins {
        return rest;
    }
    let mark = text.get(..=end).unwrap_or_default();
    let body = tail(rest);
    let at = body.windows(mark.len()).position(|window| window == mark);
    at.and_then(|at| body.get(at + mark.len()..)).unwrap_or_default()
}

/// What follows a comment whose beginning was read; others may lie in it.
pub(crate) fn after_comment(mut rest: &[u8]) -> &[u8] {
    let mut open = 1_usize;
    while open > 0 {
        (open, rest) = match rest {
            [] => return rest,
            [b'/', b'*', behind @ ..] => (open + 1, behind),
            [b'*', b'/', behind @ ..] => (open - 1, behind),
            [_, behind @ ..] => (open, behind),
        };
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_parameters_of_other_libraries_are_found() {
        for (sql, found) in [
            ("select * from t where id = %s", Some("%s")),
            ("select %(id)s", Some("%s")),
            ("select ?", Some("?")),
            ("insert into t values (?,?)", Some("?")),
            ("select 'x' where id=:id", Some(":name")),
            ("select :id::int", Some(":name")),
            ("select 1::int, $1", None),
            ("select '%s ? :name', \"?\", $$ ? $$ -- ?", None),
            ("select 5 % 3", None),
            ("", None),
        ] {
            assert_eq!(foreign_placeholder(sql), found, "{sql}");
        }
    }

    #[test]
    fn another_encoding_is_found_where_it_is_set_by_a_call() {
        for sql in [
            "select set_config('client_encoding', 'LATIN1', true), 'x'",
            "SELECT pg_catalog.SET_CONFIG ( 'Client_Encoding' , 'sjis', false)",
            "select set_config('client_encoding', $1, true)",
            "select set_config('client_encoding', 'utf' || $1, true)",
            "select 'it''s', set_config('client_encoding', lower('LATIN1'), true)",
            r"select '\'', set_config('client_encoding', 'LATIN1', true), '",
        ] {
            assert!(sets_encoding_by_call(sql), "{sql}");
        }
        for sql in [
            "",
            "select set_config('client_encoding', 'UTF8', true)",
            "select set_config('client_encoding', 'utf-8', true)",
            "select set_config('app.user', $1, true)",
            "select set_config($1, $2, true)",
            "select 'set_config(''client_encoding'', ''LATIN1'', true)'",
            "select $$ set_config('client_encoding', 'LATIN1', true) $$",
            "-- set_config('client_encoding', 'LATIN1', true)",
            "select my_config('client_encoding', 'LATIN1', true)",
            "select set_config",
            "select set_config(",
            "select set_config('client_encoding",
        ] {
            assert!(!sets_encoding_by_call(sql), "{sql}");
        }
    }

    #[test]
    fn and_chain_is_found_outside_of_quotes_only() {
        for sql in [
            "rollback and chain",
            "ROLLBACK AND CHAIN;",
            "abort and/* a /* nested */ comment */chain",
            "commit; rollback\tand -- really\n\x0b chain",
            "select 'it''s'; rollback and chain",
            r"select E'\''; rollback and chain",
            "select $$it's$$, $a$ $b$ $$ $a$; rollback and chain",
            "select $1; rollback and chain",
            "select a$b$c; rollback and chain; select $b$",
            r#"select "it's"; rollback and chain"#,
            // A literal that ends here with standard_conforming_strings, and the other way round.
            r"select '\'; rollback and chain; --'",
            r"select '\''; rollback and chain",
        ] {
            assert!(has_and_chain(sql), "{sql}");
        }
        for sql in [
            "",
            "rollback",
            "rollback and no chain",
            "rollback to and_chain",
            "select 'rollback and chain'",
            "select ' and chain",
            "select 'and', chain",
            r"select E'\' and chain'",
            "select $$ and chain $$",
            "select $a$ $$ and chain $$ $a$",
            "/* rollback and chain */ rollback to a",
            "-- and chain",
            r#"select "x and chain""#,
            "select x'and' chain",
            "$",
            "$a",
            "'",
            "/*",
        ] {
            assert!(!has_and_chain(sql), "{sql}");
        }
    }
}
