//! Where a keyword and its value stand: how an error about them begins, and what it may show.

use std::fmt;
use std::path::Path;

use super::keywords::KEYWORDS;

/// Where a keyword and its value stand.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// A variable, or a line of a file. Nothing for what the caller passed.
    pub(super) place: &'a str,
    pub(super) position: Position,
    /// All of the text that they stand in.
    pub(super) text: &'a str,
}

/// Which of a text's keywords it is, counted from 1.
#[derive(Clone, Copy)]
pub(super) enum Position {
    /// There is no other.
    Only,
    /// One of keywords and values.
    Keyword(usize),
    /// One of a URI's parameters.
    Parameter(usize),
}

impl<'a> Origin<'a> {
    /// Of the only keyword of a variable, or of a line of a file.
    pub(super) fn only(place: &'a str, text: &'a str) -> Self {
        Self { place, position: Position::Only, text }
    }

    /// Whether a word of the text may be shown. After a lost quote or separator, a secret or a part
    /// of it stands where a keyword or a value is expected; so where there may be a secret, no word
    /// is shown but those of the table.
    pub(super) fn shows(&self, word: &str) -> bool {
        // A URI has its password before an "@".
        is_plain(word) && !self.text.contains('@') && !names_secret(self.text)
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place, self.position) {
            ("", Position::Parameter(_)) => f.write_str("in the connection URI: "),
            ("", _) => Ok(()),
            (place, _) => write!(f, "{place}: "),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Only => f.write_str("the keyword"),
            Self::Parameter(number) => write!(f, "parameter {number}"),
            Self::Keyword(number) => {
                let ending = match (number % 10, number % 100) {
                    (_, 11..=13) => "th",
                    (1, _) => "st",
                    (2, _) => "nd",
                    (3, _) => "rd",
                    _ => "th",
                };
                write!(f, "the {number}{ending} keyword")
            }
        }
    }
}

/// Whether a text looks like one word.
fn is_plain(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-,!".contains(&byte))
}

/// What the names of secrets have in them.
const PARTS: [&str; 3] = ["pass", "pwd", "secret"];

/// The longest text, in bytes, that is searched for names: misspelt ones take some hundred steps
/// for each byte. A longer one is taken to name a secret.
const SEARCHED_BYTES: usize = 64 * 1024;

/// Whether the name of a secret is in a text, misspelt or not, in whatever case, percent-encoded or
/// among quotes.
pub(super) fn names_secret(text: &str) -> bool {
    if text.len() > SEARCHED_BYTES {
        return true;
    }
    let names = |text: &str| {
        let text: String = text.chars().filter(|c| !matches!(c, '\\' | '\'' | '"')).collect();
        let text = text.to_lowercase();
        PARTS.iter().any(|part| text.contains(part)) || has_name(&text)
    };
    names(text) || text.contains('%') && names(&decoded(text))
}

/// Whether one of the table's secrets is named in a text of lower case, with a slip in each fourth
/// letter at most.
fn has_name(text: &str) -> bool {
    let text = text.replace('-', "_");
    KEYWORDS
        .iter()
        .filter(|keyword| keyword.secret)
        .any(|keyword| slips(&text, keyword.name) <= keyword.name.len() / 4)
}

/// The distance of a name to the part of the text that is nearest to it: Levenshtein's, where what
/// is before and behind that part counts nothing (Sellers' algorithm).
fn slips(text: &str, name: &str) -> usize {
    // The distance of each beginning of the name to what ends here.
    let mut column: Vec<usize> = (0..=name.len()).collect();
    let mut least = name.len();
    for x in text.bytes() {
        let (mut diagonal, mut above) = (0, 0);
        for (cell, y) in column.iter_mut().skip(1).zip(name.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(above + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            above = here;
        }
        least = least.min(column.last().copied().unwrap_or(0));
    }
    least
}

/// A text without its percent-encoding, where it has one.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, part.get(2..)) {
            (Some(byte), Some(rest)) => {
                decoded.extend([char::from(byte).to_string().as_str(), rest]);
            }
            _ => decoded.push_str(part),
        }
    }
    decoded
}

/// What stands in an error for what it does not show.
pub(super) const NOT_SHOWN: &str = "(not shown: it has a secret's name in it)";

/// Whether a value that was taken may be shown later. One with a secret's name in it may have the
/// secret, too: a separator was lost before the name. The names of password files are known.
pub(super) fn is_shown(value: &str) -> bool {
    let known = [".pgpass", "pgpass.conf"].iter().find_map(|name| value.strip_suffix(name));
    !names_secret(known.unwrap_or(value))
}

/// A path as an error shows it.
pub(crate) fn shown_path(path: &Path) -> String {
    let text = path.display().to_string();
    if is_shown(&text) { text } else { NOT_SHOWN.to_owned() }
}

/// A host's name as an error shows it: a whole name of a secret is needed to hide it, which
/// `compass` is not.
pub(super) fn shown_host(name: &str) -> &str {
    let text = name.to_ascii_lowercase();
    if text.contains("passw") || has_name(&text) { NOT_SHOWN } else { name }
}
