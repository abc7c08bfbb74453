//! SASLprep (RFC 4013) as PostgreSQL does it, when a password is set and when libpq logs in
//! (`src/common/saslprep.c`).
//!
//! PostgreSQL looks for characters that are prohibited or unassigned in the mapped input, *before*
//! it normalises: U+1F202 is unassigned in Unicode 3.2 though its normal form is not, so the
//! password is taken as it is. RFC 3454 looks in the normal form, as `stringprep::saslprep` does;
//! a password with such a character would be hashed otherwise than on the server.

use stringprep::tables;
use unicode_normalization::UnicodeNormalization as _;

/// The prepared password; `None` if it must be taken as it is.
pub(super) fn saslprep(password: &str) -> Option<String> {
    // Control characters stay: PostgreSQL does not look at a password that is all ASCII.
    if password.is_ascii() {
        return None;
    }
    // U+200B is in both tables; that of spaces comes first.
    let mapped: Vec<char> = password
        .chars()
        .filter_map(|c| match c {
            c if tables::non_ascii_space_character(c) => Some(' '),
            c if tables::commonly_mapped_to_nothing(c) => None,
            c => Some(c),
        })
        .collect();
    let (first, last) = (mapped.first()?, mapped.last()?);
    if mapped.iter().any(|&c| is_prohibited(c) || tables::unassigned_code_point(c)) {
        return None;
    }
    let is_right_to_left = |c: &char| tables::bidi_r_or_al(*c);
    if mapped.iter().any(is_right_to_left)
        && (mapped.iter().any(|&c| is_left_to_right(c))
            || !is_right_to_left(first)
            || !is_right_to_left(last))
    {
        return None;
    }
    Some(mapped.into_iter().nfkc().collect())
}

/// RFC 4013, section 2.3.
fn is_prohibited(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
}

/// Table D.2 of RFC 3454. The crate asks today's Unicode, which has changed its mind about some
/// characters that Unicode 3.2 knew, the Braille patterns among them.
fn is_left_to_right(c: char) -> bool {
    match c {
        '\u{17B4}'..='\u{17B5}'
        | '\u{1885}'..='\u{1886}'
        | '\u{1D6C1}'
        | '\u{1D6DB}'
        | '\u{1D6FB}'
        | '\u{1D715}'
        | '\u{1D735}'
        | '\u{1D74F}'
        | '\u{1D76F}'
        | '\u{1D789}'
        | '\u{1D7A9}'
        | '\u{1D7C3}' => true,
        '\u{0CBF}'
        | '\u{0CC6}'
        | '\u{1734}'
        | '\u{2132}'
        | '\u{2800}'..='\u{28FF}'
        | '\u{302E}'..='\u{302F}' => false,
        c => tables::bidi_l(c),
    }
}

#[cfg(test)]
mod tests {
    use super::saslprep;

    /// Each was set as a password on PostgreSQL 18 and compared with what the server kept.
    #[test]
    fn prepares_as_the_server_does() {
        for (password, prepared) in [
            ("plain", None),
            ("a\u{7}", None),
            ("I\u{ad}X", Some("IX")),
            ("\u{2168}", Some("IX")),
            ("a\u{a0}b", Some("a b")),
            ("a\u{200b}b", Some("a b")),
            // Nothing is left.
            ("\u{ad}", None),
            ("\u{ad}\u{200d}", None),
            // A control character counts where there is more than ASCII.
            ("ä\u{7}\u{ad}", None),
            // Unassigned in Unicode 3.2, prohibited; their normal forms are neither.
            ("pass\u{1f202}word", None),
            ("a\u{2c7c}", None),
            ("a\u{340}\u{ad}", None),
            // Mixed directions.
            ("\u{627}1", None),
            ("\u{627}\u{ad}a\u{627}", None),
            ("\u{627}\u{ad}1\u{627}", Some("\u{627}1\u{627}")),
            // Today left to right or not, and the other way round in Unicode 3.2.
            ("\u{627}\u{ad}\u{2801}\u{627}", Some("\u{627}\u{2801}\u{627}")),
            ("\u{627}\u{ad}\u{1d6c1}\u{627}", None),
        ] {
            assert_eq!(saslprep(password).as_deref(), prepared, "{password:?}");
        }
    }
}
