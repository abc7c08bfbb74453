//! How comments are written: no wider than code is, and without persons where code is meant.

use crate::code;

/// The width that rustfmt holds code to.
const WIDTH: usize = 100;

/// Words for persons. Code is no person: "a call that waits", not "somebody who waits".
const PERSONS: [&str; 7] = ["nobody", "somebody", "everybody", "whoever", "he", "him", "his"];

/// As many may stay: prose about users, who are persons.
const FEW: usize = 9;

/// Files that name such a word for another reason: it is the name of a system's user, or one of the
/// words above.
const ALLOWED: [&str; 2] = ["crates/testkit/src/account.rs", "xtask/src/prose.rs"];

/// The comments that are too wide. What cannot be broken may be: a row of a table, an address.
pub(crate) fn wide_comments(path: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, text) in code::lines(source).into_iter().zip(source.lines()) {
        let width = text.chars().count();
        let comment = line.comment.trim();
        if width <= WIDTH || comment.is_empty() {
            continue;
        }
        let words = comment.trim_start_matches(['/', '!']).trim();
        if !words.starts_with('|') && !words.contains("://") {
            wrong.push(format!("{path}:{}: the comment ends in column {width}", line.number));
        }
    }
    wrong
}

/// The words for persons that were found.
#[derive(Debug, Default)]
pub(crate) struct Persons {
    found: Vec<String>,
}

impl Persons {
    /// Looks at all of a file: comments, texts and names.
    pub(crate) fn look_for(&mut self, path: &str, source: &str) {
        if ALLOWED.contains(&path) {
            return;
        }
        for (index, text) in source.lines().enumerate() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let words = text.split(|c| !is_word(c)).map(str::to_lowercase);
            for word in words.filter(|word| PERSONS.contains(&word.as_str())) {
                self.found.push(format!("{path}:{}: {word}", index + 1));
            }
        }
    }

    /// All of them, if they are more than a few.
    pub(crate) fn wrong(self) -> Vec<String> {
        if self.found.len() <= FEW {
            return Vec::new();
        }
        let mut wrong = self.found;
        let sum = format!("{} words for persons, {FEW} may be; code is no person", wrong.len());
        wrong.push(sum);
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_comments_are_told_with_their_line() {
        let wide = "word ".repeat(20);
        let source = format!("//! a\n/// {wide}end\nfn f() {{}} // {wide}\n");
        let wrong = wide_comments("src/a.rs", &source);
        let second = "src/a.rs:2: the comment ends in column 107";
        let third = "src/a.rs:3: the comment ends in column 113";
        assert_eq!(wrong, [second, third]);
    }

    #[test]
    fn code_tables_and_addresses_may_be_wide() {
        let wide = "x".repeat(100);
        for source in [
            format!("let a = \"// {wide}\";"),
            format!("//! | {wide} | b |"),
            format!("/// See <https://example.org/{wide}>."),
            format!("/// {}", "x".repeat(96)),
            // Characters are counted, not bytes.
            format!("/// {}", "é".repeat(96)),
        ] {
            assert!(wide_comments("src/a.rs", &source).is_empty(), "{source}");
        }
    }

    #[test]
    fn a_few_words_for_persons_may_be() {
        let mut persons = Persons::default();
        persons.look_for("src/a.rs", &"// Nobody waits.\n".repeat(FEW));
        persons.look_for("src/b.rs", "// this, the, her, nobody_waits\n");
        assert_eq!(persons.found.len(), FEW);
        persons.look_for("src/b.rs", "a\n/// He waits.\n");
        let wrong = persons.wrong();
        assert_eq!(wrong.get(FEW).unwrap(), "src/b.rs:2: he");
        assert_eq!(wrong.len(), FEW + 2);
        let mut persons = Persons::default();
        persons.look_for("crates/testkit/src/account.rs", &"\"nobody\"\n".repeat(FEW + 1));
        assert!(persons.wrong().is_empty());
    }
}
