//! Whether a text may have the server speak another encoding than UTF-8: which values it makes
//! doubtful is decided here, what becomes of them in `exchange.rs`.
//!
//! The encoding is the setting `client_encoding`. A text changes it by SET at the beginning of a
//! statement, by a call of `set_config`, by an UPDATE of `pg_settings`, or by code that it has run
//! (DO) or makes (CREATE FUNCTION). What code does that the database has already no text tells.

use super::lexer::{Lexer, Quoted, Quotes, Token, either_reading, is_of_name};

/// What the text of a request does to `client_encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum EncodingHint {
    /// Nothing.
    #[default]
    Keeps,
    /// It sets what a parameter names.
    SetsNamed,
    /// It sets the encoding, or its text does not tell what it sets.
    Sets,
}

/// The setting that says in which encoding text is exchanged.
const SETTING: &[u8] = b"client_encoding";

/// What a text with any number of statements does to the encoding.
pub(crate) fn encoding_hint(sql: &str) -> EncodingHint {
    if !is_suspicious(sql) {
        return EncodingHint::Keeps;
    }
    let at_least = |hint| move |tokens: Lexer<'_>| hint_of(tokens, Code::OfTheClient) >= hint;
    [EncodingHint::Sets, EncodingHint::SetsNamed]
        .into_iter()
        .find(|&hint| either_reading(sql, at_least(hint)))
        .unwrap_or_default()
}

/// Whether one of the words occurs without which no text sets the encoding. Most texts have none.
fn is_suspicious(sql: &str) -> bool {
    let sql = sql.as_bytes();
    sql.iter().enumerate().any(|(at, byte)| {
        let goes_on = |word: &[u8]| starts_with(sql.get(at + 1..).unwrap_or_default(), word);
        match byte {
            // set_config, pg_settings, client_encoding
            b'_' => goes_on(b"config") || goes_on(b"settings") || goes_on(b"encoding"),
            // SET NAMES
            b'n' | b'N' => goes_on(b"ames"),
            // A name by the numbers of its characters, or one in code.
            b'&' => goes_on(b"\"") || goes_on(b"'"),
            b'e' | b'E' => goes_on(b"'"),
            _ => false,
        }
    })
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    /// It is the request's own: statements with semicolons between them.
    OfTheClient,
    /// It is the body of a DO or of a function, in any language: any word may begin a statement.
    OfABody,
}

fn hint_of(mut tokens: Lexer<'_>, code: Code) -> EncodingHint {
    let mut hint = EncodingHint::default();
    let (mut begins, mut has_bodies) = (true, false);
    while let Some(token) = tokens.next() {
        if token == Token::Symbol(b';') {
            (begins, has_bodies) = (true, false);
            continue;
        }
        let ahead = tokens.clone();
        let found = match token {
            Token::Literal(body) if has_bodies => of_body(body),
            _ if calls_set_config(token, &ahead) => of_set_config(ahead),
            _ if token.is_word("update") => of_update(ahead),
            _ if token.is_word("set") && (begins || code == Code::OfABody) => of_set(ahead),
            _ => EncodingHint::Keeps,
        };
        if found == EncodingHint::Sets {
            return found;
        }
        hint = hint.max(found);
        if begins {
            has_bodies = token.is_word("do") || (token.is_word("create") && makes_code(&tokens));
            begins = false;
        }
    }
    hint
}

/// Whether FUNCTION or PROCEDURE follows a CREATE.
fn makes_code(behind_create: &Lexer<'_>) -> bool {
    let mut words = behind_create.clone();
    let first = words.next().filter(|token| token.is_word("or"));
    let kind = if first.is_some() { words.nth(1) } else { behind_create.clone().next() };
    kind.is_some_and(|token| token.is_word("function") || token.is_word("procedure"))
}

/// What stands behind SET (manual, `SET`): `[SESSION | LOCAL] name {= | TO} value`, or `NAMES`.
fn of_set(mut tokens: Lexer<'_>) -> EncodingHint {
    let scope = |token: &Token<'_>| token.is_word("session") || token.is_word("local");
    let Some(name) = tokens.next().and_then(|t| if scope(&t) { tokens.next() } else { Some(t) })
    else {
        return EncodingHint::Keeps;
    };
    let next = tokens.next();
    let assigns = next.is_some_and(|t| t == Token::Symbol(b'=') || t.is_word("to"));
    let value = match name {
        Token::Name(Quoted { style: Quotes::Unicode, .. }) => return EncodingHint::Sets,
        _ if name.is_word("names") && !assigns => next,
        _ if name.as_name().is_some_and(is_the_setting) && assigns => tokens.next(),
        _ => return EncodingHint::Keeps,
    };
    let (is_utf8, end) = match value {
        // The default of the session, which is UTF-8 since it began.
        None | Some(Token::Symbol(b';')) => (true, None),
        Some(value) if value.is_word("default") => (true, tokens.next()),
        Some(value) => {
            let encoding = value.as_literal().or_else(|| value.as_name());
            (encoding.is_some_and(names_utf8), tokens.next())
        }
    };
    if is_utf8 && end.is_none_or(|token| token == Token::Symbol(b';')) {
        EncodingHint::Keeps
    } else {
        EncodingHint::Sets
    }
}

/// Whether this is, or may be, the name of `set_config` in a call.
fn calls_set_config(token: Token<'_>, ahead: &Lexer<'_>) -> bool {
    let is_name = match token {
        Token::Word(word) => word.eq_ignore_ascii_case(b"set_config"),
        Token::Name(Quoted { text, style: Quotes::Plain }) => text == b"set_config",
        Token::Name(_) => true,
        _ => false,
    };
    is_name
        && ahead.clone().next().is_some_and(|next| {
            let is_escaped = token.as_name().is_none();
            next == Token::Symbol(b'(') || (is_escaped && next.is_word("uescape"))
        })
}

/// What a call of `set_config` sets, of which the name was read.
fn of_set_config(mut tokens: Lexer<'_>) -> EncodingHint {
    if tokens.next() != Some(Token::Symbol(b'(')) {
        return EncodingHint::Sets;
    }
    match sole_argument(&mut tokens) {
        Some(Token::Word(parameter)) if parameter.first() == Some(&b'$') => EncodingHint::SetsNamed,
        Some(name @ Token::Literal(_)) => match name.as_literal() {
            Some(name) if !is_the_setting(name) => EncodingHint::Keeps,
            Some(_) => {
                let value = sole_argument(&mut tokens).and_then(Token::as_literal);
                if value.is_some_and(names_utf8) { EncodingHint::Keeps } else { EncodingHint::Sets }
            }
            None => EncodingHint::Sets,
        },
        _ => EncodingHint::Sets,
    }
}

/// An argument that is one token, with or without casts, if a comma follows it.
fn sole_argument<'a>(tokens: &mut Lexer<'a>) -> Option<Token<'a>> {
    let argument = tokens.next()?;
    loop {
        match tokens.next()? {
            Token::Symbol(b',') => return Some(argument),
            Token::Symbol(b':' | b'.') | Token::Word(_) => {}
            _ => return None,
        }
    }
}

/// What an UPDATE does: one of `pg_settings` sets what its condition selects.
fn of_update(mut tokens: Lexer<'_>) -> EncodingHint {
    let is_symbol = |token: Option<Token<'_>>, byte| token == Some(Token::Symbol(byte));
    let mut table = tokens.next();
    if table.is_some_and(|token| token.is_word("only")) {
        table = tokens.next();
    }
    let mut ahead = tokens.clone();
    if is_symbol(ahead.next(), b'.') {
        table = ahead.next();
        tokens = ahead;
    }
    let may_be_settings = match table {
        Some(Token::Name(Quoted { style: Quotes::Unicode, .. })) => true,
        Some(token) => {
            token.as_name().is_some_and(|name| name.eq_ignore_ascii_case(b"pg_settings"))
        }
        None => false,
    };
    if !may_be_settings {
        return EncodingHint::Keeps;
    }
    // `set setting = … where name = '…'` and nothing else is understood.
    let is_understood = tokens.next().is_some_and(|token| token.is_word("set"))
        && tokens.next().is_some_and(|token| token.is_word("setting"))
        && is_symbol(tokens.next(), b'=')
        && tokens.next().is_some_and(|token| matches!(token, Token::Literal(_)))
        && tokens.next().is_some_and(|token| token.is_word("where"))
        && tokens.next().is_some_and(|token| token.is_word("name"))
        && is_symbol(tokens.next(), b'=')
        && tokens.next().and_then(Token::as_literal).is_some_and(|name| !is_the_setting(name))
        && matches!(tokens.next(), None | Some(Token::Symbol(b';')));
    if is_understood { EncodingHint::Keeps } else { EncodingHint::Sets }
}

/// What code does, of which little is known: its text may be that of other code, in quotes within
/// quotes. So the setting must not occur in it at all.
fn of_body(body: Quoted<'_>) -> EncodingHint {
    let may_escape = match body.style {
        Quotes::Unicode => true,
        Quotes::Backslashes => body.text.contains(&b'\\'),
        Quotes::Plain | Quotes::Dollars => false,
    };
    if may_escape || mentions_setting(body.text) || sets_names(body.text) {
        return EncodingHint::Sets;
    }
    if body.style == Quotes::Dollars {
        return hint_of(Lexer::new(body.text), Code::OfABody);
    }
    let text = String::from_utf8_lossy(body.text).replace("''", "'");
    hint_of(Lexer::new(text.as_bytes()), Code::OfABody)
}

/// Whether SET NAMES stands anywhere, also within quotes.
fn sets_names(text: &[u8]) -> bool {
    let (mut before, mut at): (&[u8], usize) = (b"", 0);
    for word in text.split(|&byte| !is_of_name(byte)) {
        let end = at + word.len();
        let is_set = ["set", "session", "local"];
        if word.eq_ignore_ascii_case(b"names")
            && is_set.iter().any(|set| before.eq_ignore_ascii_case(set.as_bytes()))
        {
            // It is a column of an UPDATE otherwise.
            let behind = text.get(end..).unwrap_or_default().trim_ascii_start();
            if !behind.starts_with(b"=") {
                return true;
            }
        }
        if !word.is_empty() {
            before = word;
        }
        at = end + 1;
    }
    false
}

/// Whether the setting's name occurs in these bytes.
pub(crate) fn mentions_setting(bytes: &[u8]) -> bool {
    bytes.windows(SETTING.len()).any(is_the_setting)
}

fn is_the_setting(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(SETTING)
}

/// Whether this is a name of UTF-8, of which the server ignores case and punctuation.
fn names_utf8(name: &[u8]) -> bool {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    letters == b"utf8" || letters == b"unicode"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_encoding_is_found_wherever_it_is_set() {
        for sql in [
            "set client_encoding = latin1",
            "begin; SET LOCAL client_encoding='LATIN1'; select 1; commit",
            "set session client_encoding to 'latin1'",
            "set \"client_encoding\" to sql_ascii",
            "set names 'latin1'",
            "set local names 'win1252'",
            "set client_encoding to E'utf8\\040x'",
            "set client_encoding to utf8, latin1",
            "set client_encoding = utf8; set client_encoding = latin1",
            "do $$ begin set local client_encoding = latin1; end $$",
            "select set_config('client_encoding', 'LATIN1', true)",
            "select 'it''s', set_config('client_encoding', lower('LATIN1'), true)",
            "select set_config('client_encoding', $1, true)",
            "select set_config('client_encoding', 'utf8' || $1, true)",
            "SELECT pg_catalog.SET_CONFIG ( 'Client_Encoding' , 'sjis', false)",
            "select set_config($1 || $2, 'LATIN1', true)",
            "select set_config('client_encoding",
            "select set_config(",
            // A literal that ends here with standard_conforming_strings, and the other way round.
            r"select '\'', set_config('client_encoding', 'LATIN1', true), '",
            r"select '\'; set names latin1; --'",
        ] {
            assert_eq!(encoding_hint(sql), EncodingHint::Sets, "{sql}");
        }
        for sql in ["select set_config($1, $2, true)", "select set_config( $12::text,$2,true)"] {
            assert_eq!(encoding_hint(sql), EncodingHint::SetsNamed, "{sql}");
        }
    }

    #[test]
    fn what_only_mentions_an_encoding_sets_none() {
        for sql in [
            "",
            "set client_encoding = 'UTF8'; select 1",
            "SET client_encoding TO 'utf-8'",
            "set names 'UTF8'; select 1",
            "set names default",
            "set local client_encoding to default",
            "show client_encoding; reset client_encoding",
            "select names from people; select current_setting('client_encoding')",
            "update people set names = 'b'; update people set names='b'",
            "select set_config('client_encoding', 'utf-8', true)",
            "select set_config('app.user', $1, true)",
            "select 'set_config(''client_encoding'', ''LATIN1'', true)'",
            "select $$ set_config('client_encoding', 'LATIN1', true) $$",
            "-- set_config('client_encoding', 'LATIN1', true)",
            "select my_config('client_encoding', 'LATIN1', true)",
            "select set_config, e'', names, U&\"x\" from t",
        ] {
            assert_eq!(encoding_hint(sql), EncodingHint::Keeps, "{sql}");
        }
    }

    /// Quotes within quotes, and words that are begun over and over: neither deep nor slow.
    #[test]
    fn long_texts_are_read_once() {
        for part in
            ["$a$ $b$ ", "do $$ set names ", "update pg_settings ", "set_config(", "'", "U&\""]
        {
            let _ = encoding_hint(&part.repeat(100_000));
            let _ = encoding_hint(&format!("do {}", part.repeat(100_000)));
        }
    }
}
