//! Words in the wrong place: what was probably meant.

use super::keywords::KEYWORDS;
use super::origin::Origin;
use crate::error::{Error, ErrorKind};

/// The error for a keyword that is none.
pub(super) fn unknown(name: &str, origin: &Origin<'_>) -> Error {
    if name.is_empty() {
        return Error::new(ErrorKind::Config, format!("{origin}a keyword is missing before \"=\""));
    }
    let suggestion = nearest(name).map(|near| format!(" (did you mean \"{near}\"?)"));
    let suggestion = suggestion.unwrap_or_default();
    if origin.shows(name) {
        let message = format!("{origin}unknown keyword \"{name}\"{suggestion}");
        return Error::new(ErrorKind::Config, message);
    }
    let position = origin.position;
    Error::new(ErrorKind::Config, format!("{origin}{position} is unknown{suggestion}"))
        .with_hint(HINT)
}

const HINT: &str = "it is not shown, because it may be part of a password; a value with spaces or \
                    quotes is written 'like\\'this'";

/// What other programs call the same thing.
const SYNONYMS: [(&str, &str); 14] = [
    ("database", "dbname"),
    ("db", "dbname"),
    ("username", "user"),
    ("pass", "password"),
    ("passwd", "password"),
    ("pwd", "password"),
    ("hostname", "host"),
    ("server", "host"),
    ("ssl", "sslmode"),
    ("sslca", "sslrootcert"),
    ("timeout", "connect_timeout"),
    ("encoding", "client_encoding"),
    ("app_name", "application_name"),
    ("unix_socket", "host"),
];

/// The keyword that was probably meant.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    if name.len() > 40 {
        return None;
    }
    if let Some((_, keyword)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == name) {
        return Some(keyword);
    }
    let (distance, nearest) = KEYWORDS
        .iter()
        .map(|keyword| (distance(&name, keyword.name), keyword.name))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.len() / 3).clamp(1, 3) || (distance == 2 && transposed(&name, nearest)))
        .then_some(nearest)
}

/// How many letters must be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Whether the two differ by neighbours that changed places.
fn transposed(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.sort_unstable();
        bytes
    };
    sorted(a) == sorted(b)
}
