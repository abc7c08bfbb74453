//! Rust source as the compiler sees it: without comments and the insides of strings, knowing what is only for tests.

/// One line of a file, blanked where there is no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from one.
    pub(crate) number: usize,
    pub(crate) code: String,
    /// In an item under `#[cfg(test)]`.
    pub(crate) for_tests: bool,
}

/// The lines of a file.
pub(crate) fn lines(source: &str) -> Vec<Line> {
    let code = blank(source);
    let mut lines = Vec::new();
    // The depth of braces outside the item, once `#[cfg(test)]` has been seen, and whether its body has begun.
    let mut item: Option<(usize, bool)> = None;
    let mut depth = 0_usize;
    for (index, code) in code.lines().enumerate() {
        if item.is_none() && code.contains("#[cfg(test)]") {
            item = Some((depth, false));
        }
        let for_tests = item.is_some();
        for c in code.chars() {
            match c {
                '{' => {
                    depth += 1;
                    item = item.map(|(outside, _)| (outside, true));
                }
                '}' => depth = depth.saturating_sub(1),
                // An item without a body, such as a `use`.
                ';' if item == Some((depth, false)) => item = None,
                _ => {}
            }
            if item == Some((depth, true)) {
                item = None;
            }
        }
        lines.push(Line { number: index + 1, code: code.to_owned(), for_tests });
    }
    lines
}

/// Whether these words, such as `std::net`, are somewhere in a line, and not as a part of longer ones.
pub(crate) fn mentions(code: &str, words: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(words).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + words.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Replaces comments and the insides of strings and characters by spaces; lines stay where they are.
fn blank(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !after_word) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        let (gone, left) = rest.split_at_checked(skipped).unwrap_or((rest, ""));
        code.extend(gone.chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = left;
        if skipped == 0 {
            code.push(first);
            after_word = first.is_alphanumeric() || first == '_';
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            after_word = false;
        }
    }
    code
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a raw string with its prefix, if this is one.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let hashes = text.get(prefix.len()..)?.chars().take_while(|c| *c == '#').count();
    let opening = prefix.len() + hashes + 1;
    let closing = format!("\"{}", "#".repeat(hashes));
    let body = text.get(opening..)?;
    Some(body.find(&closing).map_or(text.len(), |at| opening + at + closing.len()))
}

/// The length of a string or character with escapes, from its opening to its closing mark.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The length of a character, or nothing for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        for (source, wanted) in [
            ("a // tokio", "a"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"to\\\"kio\") g", "f(         ) g"),
            ("f(r#\"a\"b\"#) g", "f(        ) g"),
            ("bar\"x\" y", "bar    y"),
            ("&'a str '\"' x", "&'a str     x"),
            ("'\\'' x 'y", "     x 'y"),
        ] {
            assert_eq!(blank(source).trim_end(), wanted, "{source}");
        }
        assert_eq!(blank("a /*\n\n*/ b").lines().count(), 3);
    }

    #[test]
    fn items_for_tests_are_known() {
        let source =
            "a\n#[cfg(test)]\nuse b;\nc\n#[cfg(test)]\nmod tests {\n    fn d() {}\n    e\n}\nf";
        let for_tests: Vec<_> = lines(source).iter().map(|line| line.for_tests).collect();
        assert_eq!(for_tests, [false, true, true, false, true, true, true, true, true, false]);
    }

    #[test]
    fn words_are_whole() {
        assert!(mentions("use std::net::TcpStream;", "std::net"));
        assert!(!mentions("use std::network;", "std::net"));
        assert!(!mentions("mytokio", "tokio") && !mentions("tokio_postgres", "tokio"));
        assert!(mentions("sleep(x)", "sleep") && !mentions("pg_sleep(x)", "sleep"));
    }
}
