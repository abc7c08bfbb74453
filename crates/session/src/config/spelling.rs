//! Words in the wrong place: what was probably meant, and what may be shown of them.

use super::keywords::{KEYWORDS, Origin};
use crate::error::{Error, ErrorKind};

/// Whether a text may appear in an error: only if it looks like one word, and not like
/// `passwordhunter2`. In a string with a misplaced quote or separator, anything else may hold a
/// password.
pub(super) fn is_word(text: &str) -> bool {
    is_plain(text) && !names_secret(text) && !holds_secret(text, usize::MAX)
}

fn is_plain(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-,!".contains(&byte))
}

/// Whether a text has the beginning of a secret's name in it, as it is mostly written.
fn names_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["pass", "pwd", "secret"].iter().any(|word| text.contains(word))
}

/// Whether the name of a secret is somewhere in a text, misspelt or not, with fewer slips than
/// these: a separator was lost, and the secret stands beside its name (`paswordhunter2`).
fn holds_secret(text: &str, slips: usize) -> bool {
    let text = text.to_ascii_lowercase().replace('-', "_");
    KEYWORDS.iter().filter(|keyword| keyword.secret).any(|keyword| {
        let most = keyword.name.len() / 4;
        let lengths = keyword.name.len().saturating_sub(most)..=keyword.name.len() + most;
        (0..text.len())
            .flat_map(|start| lengths.clone().map(move |length| (start, start + length)))
            .filter_map(|(start, end)| text.get(start..end))
            .map(|part| distance(part, keyword.name))
            .any(|found| found <= most && found < slips)
    })
}

/// The error for a keyword that is none. The word is shown only if `safe`: it may be the rest of an
/// unquoted password.
pub(super) fn unknown(name: &str, safe: bool, origin: &Origin<'_>) -> Error {
    if name.is_empty() {
        return Error::new(ErrorKind::Config, format!("{origin}a keyword is missing before \"=\""));
    }
    let suggestion = nearest(name).map(|near| format!(" (did you mean \"{near}\"?)"));
    let suggestion = suggestion.unwrap_or_default();
    let is_shown = safe && is_plain(name) && (is_synonym(name) || !runs_on(name));
    let shown = if is_shown { format!(" \"{name}\"") } else { String::new() };
    Error::new(ErrorKind::Config, format!("{origin}unknown keyword{shown}{suggestion}"))
}

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

fn is_synonym(name: &str) -> bool {
    SYNONYMS.iter().any(|(synonym, _)| synonym.eq_ignore_ascii_case(name))
}

/// Whether an unknown keyword is more than the misspelt name of a secret.
fn runs_on(name: &str) -> bool {
    let whole = KEYWORDS
        .iter()
        .filter(|keyword| keyword.secret)
        .map(|keyword| distance(&name.to_ascii_lowercase(), keyword.name))
        .min();
    names_secret(name) || holds_secret(name, whole.unwrap_or(usize::MAX))
}

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
