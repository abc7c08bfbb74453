//! Text of other people in a log or on a terminal: escaped, and cut.
//!
//! A server quotes user input in its messages, and a message may have a gigabyte. What is printed
//! of a text is bounded, and says how much was left out.

use std::fmt::{self, Write as _};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::limits;

/// Whether a terminal or a log takes the character for more than text, or shows nothing of it:
/// controls (Cc), formats such as changes of direction (Cf), and what ends a line or a paragraph
/// (Zl, Zp).
pub(crate) fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Writes the beginning of a text on one line, and how much of it was left out.
pub(crate) fn one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let (shown, rest) = cut(text);
    escape(f, shown)?;
    left_out(f, rest)
}

/// Writes the beginning of a text of several lines, with the name of the field before each line.
pub(crate) fn lines(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    let (shown, rest) = cut(text);
    for line in shown.lines() {
        write!(f, "\n{name}: ")?;
        escape(f, line)?;
    }
    left_out(f, rest)
}

/// What is shown of a text, and what is not.
pub(crate) fn cut(text: &str) -> (&str, &str) {
    let mut end = limits::PRINTED_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end)
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default())?,
            c if is_hidden(c) => write!(f, "{}", c.escape_unicode())?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

fn left_out(f: &mut fmt::Formatter<'_>, rest: &str) -> fmt::Result {
    if rest.is_empty() { Ok(()) } else { write!(f, "… ({} bytes more)", rest.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints as an error does.
    struct Shown<'a>(&'a str);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            one_line(f, self.0)
        }
    }

    #[test]
    fn what_is_not_seen_is_escaped() {
        for (text, shown) in [
            ("plain ö 日本 🈂", "plain ö 日本 🈂"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{85}", "\\u{85}"),
            // Bidirectional overrides and isolates, joiners, tags, separators.
            ("\u{202e}x\u{2066}", "\\u{202e}x\\u{2066}"),
            ("\u{200b}\u{200d}\u{feff}\u{ad}", "\\u{200b}\\u{200d}\\u{feff}\\u{ad}"),
            ("\u{e0041}", "\\u{e0041}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
        ] {
            assert_eq!(Shown(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        let whole = "x".repeat(limits::PRINTED_BYTES);
        assert_eq!(Shown(&whole).to_string(), whole);
        let long = format!("{}ö{}", "x".repeat(limits::PRINTED_BYTES - 1), "y".repeat(1000));
        let shown = Shown(&long).to_string();
        assert!(shown.ends_with("xx… (1002 bytes more)"), "{}", &shown[shown.len() - 40..]);
        assert!(Shown(&"\u{1b}".repeat(1_000_000)).to_string().len() < 7 * limits::PRINTED_BYTES);
    }
}
