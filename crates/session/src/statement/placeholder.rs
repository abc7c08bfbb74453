//! Places for parameters as other libraries write them, where the server failed on one.
//!
//! `?`, `%` and `:` are operators and slices, too. So the text alone tells nothing: the error must
//! point to the place, or directly behind it.

use super::lexer::{Lexer, Token, is_of_name};
use crate::error::server_error::ServerError;
use crate::error::sqlstate::SqlState;

/// What the statement has where a parameter belongs (`%s`, `?`, `:name` …), if that is what the
/// error is about.
pub(crate) fn foreign_placeholder(sql: &str, error: &ServerError) -> Option<&'static str> {
    let code = error.code();
    if !matches!(
        code,
        SqlState::SYNTAX_ERROR | SqlState::UNDEFINED_FUNCTION | SqlState::UNDEFINED_COLUMN
    ) {
        return None;
    }
    let characters = usize::try_from(error.position()?.checked_sub(1)?).ok()?;
    let failed_at = sql.char_indices().nth(characters).map_or(sql.len(), |(at, _)| at);
    let mut tokens = Lexer::new(sql.as_bytes());
    let mut before = Before::Nothing;
    loop {
        tokens.skip_blanks();
        let start = sql.len() - tokens.rest().len();
        if start > failed_at {
            return None;
        }
        let token = tokens.next()?;
        let Token::Symbol(first) = token else {
            let end = sql.len() - tokens.rest().len();
            before = Before::of(token, end);
            continue;
        };
        let place = if is_of_operator(first) {
            // One operator up to its end, even if comments could begin in it.
            while tokens.rest().first().is_some_and(|&byte| is_of_operator(byte))
                && !tokens.rest().starts_with(b"--")
                && !tokens.rest().starts_with(b"/*")
            {
                tokens.next();
            }
            let operator = sql.get(start..sql.len() - tokens.rest().len())?;
            operator_place(operator, tokens.rest())
        } else if first == b':' {
            colon_place(&mut tokens, before, start)
        } else {
            None
        };
        if let Some(place) = place
            && place.is_blamed(start, failed_at, sql, error)
        {
            return Some(place.shown);
        }
        before = Before::of(token, start + 1);
    }
}

/// What stands in front of a token.
#[derive(Clone, Copy)]
enum Before {
    /// Nothing that a colon could go on with.
    Nothing,
    /// A word, which ends here.
    Word(usize),
    /// A literal, a number or a closing bracket.
    Value,
}

impl Before {
    fn of(token: Token<'_>, end: usize) -> Self {
        match token {
            Token::Word(word) if word.first().is_some_and(u8::is_ascii_digit) => Self::Value,
            Token::Word(_) => Self::Word(end),
            Token::Name(_) | Token::Literal(_) | Token::Symbol(b')' | b']') => Self::Value,
            Token::Symbol(_) => Self::Nothing,
        }
    }
}

/// Something that may be a place for a parameter.
struct Place {
    shown: &'static str,
    /// Where it ends, counted from the beginning of its operator.
    length: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `?` alone, or as in `?+1`.
    Question,
    /// `%s` alone.
    Percent,
    /// `=?` or `=%s`, which the server reads as one operator.
    Joined,
    /// `:name`.
    Colon,
}

impl Place {
    /// Whether the error at `failed_at` comes of this place, which begins at `start`.
    fn is_blamed(&self, start: usize, failed_at: usize, sql: &str, error: &ServerError) -> bool {
        let end = start + self.length;
        let code = error.code();
        let is_syntax = code == SqlState::SYNTAX_ERROR;
        match self.kind {
            // None of these begins an expression.
            Kind::Percent | Kind::Colon => is_syntax && failed_at == start,
            // It is an operator without one of its sides; as one with both it belongs to JSON.
            Kind::Question => {
                (is_syntax && (failed_at == start || failed_at == behind(sql, end)))
                    || (code == SqlState::UNDEFINED_FUNCTION
                        && failed_at == start
                        && names_in_front(error, sql.get(start..end).unwrap_or_default()))
            }
            Kind::Joined => {
                (start..end).contains(&failed_at) || (is_syntax && failed_at == behind(sql, end))
            }
        }
    }
}

/// Whether the message names the operator in front of a type, without a left side:
/// `operator does not exist: ? integer`.
fn names_in_front(error: &ServerError, operator: &str) -> bool {
    let message = error.message();
    let named = message.rsplit(": ").next().and_then(|named| named.strip_prefix(operator));
    named.is_some_and(|types| types.starts_with(' '))
}

/// Where the next token begins behind `at`.
fn behind(sql: &str, at: usize) -> usize {
    let mut tokens = Lexer::new(sql.as_bytes().get(at..).unwrap_or_default());
    tokens.skip_blanks();
    sql.len() - tokens.rest().len()
}

/// Characters of operators (manual, section 4.1.3).
fn is_of_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(&byte)
}

/// Operators that are written directly in front of a parameter.
#[rustfmt::skip]
const ORDINARY: &[&str] = &[
    "=", "<", ">", "<=", ">=", "<>", "!=", "+", "-", "*", "/", "||", "~", "!~", "~*", "!~*", "~~",
    "!~~", "->", "->>", "#>", "#>>", "@>", "<@", "&&",
];

/// A place within or at the end of an operator.
fn operator_place(operator: &str, behind: &[u8]) -> Option<Place> {
    let length = operator.len();
    let is_ordinary = |text: &str| ORDINARY.contains(&text);
    // `?-` is an operator of lines, in front of them.
    if operator
        .strip_prefix('?')
        .is_some_and(|rest| rest.is_empty() || (rest != "-" && is_ordinary(rest)))
    {
        return Some(Place { shown: "?", length, kind: Kind::Question });
    }
    if operator.strip_suffix('?').is_some_and(is_ordinary) {
        return Some(Place { shown: "?", length, kind: Kind::Joined });
    }
    let kind = match operator.strip_suffix('%')? {
        "" => Kind::Percent,
        front if is_ordinary(front) => Kind::Joined,
        _ => return None,
    };
    let (shown, letters) = match behind {
        [b'(', name @ ..] => {
            let end = name.iter().position(|&byte| byte == b')')?;
            (name.get(end + 1) == Some(&b's')).then_some(("%s", end + 3))?
        }
        [b's', ..] => ("%s", 1),
        [b'd', ..] => ("%d", 1),
        [b'b', ..] => ("%b", 1),
        [b't', ..] => ("%t", 1),
        _ => return None,
    };
    let ends = !behind.get(letters).copied().is_some_and(is_of_name);
    ends.then_some(Place { shown, length: length + letters, kind })
}

/// A colon in front of a name or a number: not a cast, a slice or a path into JSON.
fn colon_place(tokens: &mut Lexer<'_>, before: Before, start: usize) -> Option<Place> {
    let mut is_cast = false;
    while tokens.rest().first() == Some(&b':') {
        is_cast = true;
        tokens.next();
    }
    let goes_on = match before {
        Before::Nothing => false,
        Before::Word(end) => end == start,
        Before::Value => true,
    };
    let first = tokens.rest().first().copied().filter(|&byte| is_of_name(byte) && byte != b'$')?;
    let shown = if first.is_ascii_digit() { ":1" } else { ":name" };
    (!is_cast && !goes_on).then_some(Place { shown, length: 1, kind: Kind::Colon })
}
