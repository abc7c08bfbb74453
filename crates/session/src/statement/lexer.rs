//! As much of SQL's lexical structure as it takes to find words outside of literals, quoted names
//! and comments (manual, section 4.1).

/// Whether a predicate holds of the text's tokens. Where it depends on
/// `standard_conforming_strings` what is a literal, both readings count.
pub(crate) fn either_reading(sql: &str, holds: impl Fn(Lexer<'_>) -> bool) -> bool {
    holds(Lexer::new(sql.as_bytes()))
        || (sql.contains('\\') && holds(Lexer { backslashes: true, ..Lexer::new(sql.as_bytes()) }))
}

/// Whether the text has an `AND CHAIN` outside of literals, quoted names and comments.
pub(crate) fn has_and_chain(sql: &str) -> bool {
    either_reading(sql, |tokens| {
        let mut after_and = false;
        for token in tokens {
            if after_and && token.is_word("chain") {
                return true;
            }
            after_and = token.is_word("and");
        }
        false
    })
}

/// Whether the byte may be part of a name that is not quoted.
pub(crate) fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// What lies between white space and comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword, a name that is not quoted, a number, or a parameter with its dollar.
    Word(&'a [u8]),
    /// A name in double quotes.
    Name(Quoted<'a>),
    /// A literal in quotes or between two `$tag$`.
    Literal(Quoted<'a>),
    /// One character of an operator or a bracket.
    Symbol(u8),
}

/// What stands between quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quoted<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) style: Quotes,
}

/// How a text within quotes is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// `'…'` and `"…"`: a doubled quote stands for itself.
    Plain,
    /// `E'…'`: a backslash escapes as well.
    Backslashes,
    /// `U&'…'` and `U&"…"`: any character may escape, as UESCAPE says.
    Unicode,
    /// `$tag$…$tag$`: nothing escapes.
    Dollars,
}

impl<'a> Token<'a> {
    pub(crate) fn is_word(self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// What it names, unless that takes more than the token itself to tell.
    pub(crate) fn as_name(self) -> Option<&'a [u8]> {
        match self {
            Self::Word(word) => Some(word),
            Self::Name(name) => name.content(),
            _ => None,
        }
    }

    /// The value of a literal, unless it takes more than the token itself to tell.
    pub(crate) fn as_literal(self) -> Option<&'a [u8]> {
        if let Self::Literal(literal) = self { literal.content() } else { None }
    }
}

impl<'a> Quoted<'a> {
    /// The text, unless something in it may be escaped.
    fn content(self) -> Option<&'a [u8]> {
        let is_plain = match self.style {
            Quotes::Dollars => true,
            Quotes::Unicode => false,
            Quotes::Plain | Quotes::Backslashes => {
                !self.text.iter().any(|byte| matches!(byte, b'\\' | b'\'' | b'"'))
            }
        };
        is_plain.then_some(self.text)
    }
}

#[derive(Clone)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
    /// A backslash escapes the next character in every literal, and not only behind an `E`.
    backslashes: bool,
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let first = *self.rest.first()?;
        Some(match first {
            b'\'' => {
                let style = if self.backslashes { Quotes::Backslashes } else { Quotes::Plain };
                Token::Literal(self.take_quoted(style))
            }
            b'"' => Token::Name(self.take_quoted(Quotes::Plain)),
            b'$' => self.take_behind_dollar(),
            _ if is_of_name(first) => {
                let end = self.rest.iter().position(|&byte| !is_of_name(byte));
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                match (word, rest) {
                    (b"e" | b"E", [b'\'', ..]) => {
                        Token::Literal(self.take_quoted(Quotes::Backslashes))
                    }
                    (b"u" | b"U", [b'&', b'\'', ..]) => {
                        self.rest = tail(rest);
                        Token::Literal(self.take_quoted(Quotes::Unicode))
                    }
                    (b"u" | b"U", [b'&', b'"', ..]) => {
                        self.rest = tail(rest);
                        Token::Name(self.take_quoted(Quotes::Unicode))
                    }
                    _ => Token::Word(word),
                }
            }
            _ => {
                self.rest = tail(self.rest);
                Token::Symbol(first)
            }
        })
    }
}

impl<'a> Lexer<'a> {
    /// With `standard_conforming_strings`, as is usual.
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest, backslashes: false }
    }

    /// What no token was made of yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// To where the next token begins.
    pub(crate) fn skip_blanks(&mut self) {
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
                return;
            }
        }
    }

    /// What begins with the quote that comes next.
    fn take_quoted(&mut self, style: Quotes) -> Quoted<'a> {
        let quote = self.rest.first().copied().unwrap_or_default();
        let text = tail(self.rest);
        // With backslashes in all literals `U&` is not taken by the server.
        let escapes = style == Quotes::Backslashes || (self.backslashes && quote == b'\'');
        let end = end_of_quotes(text, quote, escapes);
        self.rest = text.get(end + 1..).unwrap_or_default();
        Quoted { text: text.get(..end).unwrap_or_default(), style }
    }

    /// A literal between two `$tag$`; or a parameter, or a dollar that begins neither.
    fn take_behind_dollar(&mut self) -> Token<'a> {
        let text = self.rest;
        let is_of_tag = |byte: u8| is_of_name(byte) && byte != b'$';
        let end = tail(text).iter().position(|&byte| !is_of_tag(byte));
        let (tag, rest) = text.split_at(end.map_or(text.len(), |at| at + 1));
        let begins = rest.first() == Some(&b'$') && !tag.get(1).is_some_and(u8::is_ascii_digit);
        if !begins {
            self.rest = rest;
            return Token::Word(tag);
        }
        let mark = text.get(..=tag.len()).unwrap_or_default();
        let body = tail(rest);
        let end = body.windows(mark.len()).position(|window| window == mark);
        let (text, rest) = body.split_at(end.unwrap_or(body.len()));
        self.rest = rest.get(mark.len()..).unwrap_or_default();
        Token::Literal(Quoted { text, style: Quotes::Dollars })
    }
}

fn tail(bytes: &[u8]) -> &[u8] {
    bytes.get(1..).unwrap_or_default()
}

/// What follows the first byte of which this is so.
fn behind(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> &[u8] {
    let at = bytes.iter().position(|&byte| is_end(byte)).unwrap_or(bytes.len());
    bytes.get(at + 1..).unwrap_or_default()
}

/// Where the quote stands that ends a literal or a name: at the end, if none does.
fn end_of_quotes(text: &[u8], quote: u8, backslashes: bool) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'\\' && backslashes {
            at += 1;
        } else if byte == quote {
            // A doubled quote stands for itself.
            if text.get(at + 1) != Some(&quote) {
                return at;
            }
            at += 1;
        }
        at += 1;
    }
    text.len()
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
            // The doubled quote does not begin another literal, in which nothing escapes.
            r"select E'a''\' and chain'",
            "select land chain",
            "select a and keychain",
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
