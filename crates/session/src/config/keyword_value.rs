//! `host=db user=me`: connection strings of keywords and values (manual, section 34.1.1.1).

use std::iter::Peekable;
use std::str::Chars;

use super::keywords::{self, Target};
use super::origin::Position;
use crate::error::{Error, ErrorKind, Result};

/// Reads the whole string into `target`.
pub(super) fn parse(text: &str, target: &mut Target<'_>) -> Result<()> {
    let mut rest = Reader { text: text.chars().peekable() };
    // What follows a password without a quote may be the rest of it.
    let mut secret: Option<&'static str> = None;
    for number in 1.. {
        rest.skip_blanks();
        if rest.text.peek().is_none() {
            break;
        }
        let start = rest.text.clone();
        let name = rest.name();
        if rest.text.next_if_eq(&'=').is_none() {
            let at = text.chars().count() - start.count() + 1;
            return Err(refused(missing_equals(&name, at, secret)));
        }
        let known = keywords::find(&name);
        let blanks = rest.skip_blanks();
        if let Some(keyword) = known.filter(|_| blanks && rest.at_keyword()) {
            // libpq takes `password= sslmode=require` as the password "sslmode=require".
            return Err(refused(format!(
                "the value of {} is missing; an empty one is written ''",
                keyword.name
            )));
        }
        let value = rest.value().ok_or_else(|| {
            refused(match known {
                Some(keyword) => {
                    format!("the quoted value of {} has no closing quote", keyword.name)
                }
                None => "a quoted value has no closing quote".to_owned(),
            })
        })?;
        target.set(&name, &value, Position::Keyword(number))?;
        secret = known.filter(|keyword| keyword.secret).map(|keyword| keyword.name);
    }
    Ok(())
}

const QUOTES: &str = "; a value with spaces or quotes is written 'like\\'this'";

/// The word is shown only if it is a keyword: after a slip it may be part of a password.
fn missing_equals(name: &str, at: usize, secret: Option<&str>) -> String {
    match (secret, keywords::find(name)) {
        (Some(before), _) => {
            format!("missing \"=\" after the word that follows the value of {before}{QUOTES}")
        }
        (None, Some(keyword)) => format!("missing \"=\" after \"{}\"", keyword.name),
        (None, None) => format!("missing \"=\" after the word at character {at}"),
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// What C's `isspace` says.
pub(super) fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

struct Reader<'a> {
    text: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    /// Whether there were any.
    fn skip_blanks(&mut self) -> bool {
        let mut any = false;
        while self.text.next_if(|c| is_blank(*c)).is_some() {
            any = true;
        }
        any
    }

    /// Whether the next thing is a keyword with its `=`.
    fn at_keyword(&self) -> bool {
        let mut ahead = Self { text: self.text.clone() };
        let word = ahead.name();
        ahead.text.peek() == Some(&'=') && keywords::find(&word).is_some()
    }

    /// Up to a blank or `=`; blanks after it are skipped too.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.text.next_if(|c| !is_blank(*c) && *c != '=') {
            name.push(c);
        }
        self.skip_blanks();
        name
    }

    /// Up to a blank, or between quotes; a backslash takes the next character as it is. `None`: no
    /// closing quote.
    fn value(&mut self) -> Option<String> {
        let quoted = self.text.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match self.text.next() {
                None => return (!quoted).then_some(value),
                Some('\'') if quoted => return Some(value),
                Some(c) if !quoted && is_blank(c) => return Some(value),
                Some('\\') => value.extend(self.text.next()),
                Some(c) => value.push(c),
            }
        }
    }
}
