//! Conversion of names to another case.

/// The case of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
    Train,
}

/// The cases by their names in serde and postgres-derive.
const CASES: [(&str, Case); 9] = [
    ("lowercase", Case::Lower),
    ("UPPERCASE", Case::Upper),
    ("PascalCase", Case::Pascal),
    ("camelCase", Case::Camel),
    ("snake_case", Case::Snake),
    ("SCREAMING_SNAKE_CASE", Case::ScreamingSnake),
    ("kebab-case", Case::Kebab),
    ("SCREAMING-KEBAB-CASE", Case::ScreamingKebab),
    ("Train-Case", Case::Train),
];

impl Case {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        CASES.iter().find(|(name, _)| *name == text).map(|(_, case)| *case).ok_or_else(|| {
            let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
            format!("unknown case; expected one of: {}", names.join(", "))
        })
    }

    /// The name of a field or a variant in this case.
    pub(crate) fn apply(self, name: &str) -> String {
        let words = words(name);
        let capitalised = || words.iter().map(|word| capitalise(word)).collect::<Vec<_>>();
        match self {
            Self::Lower => words.concat(),
            Self::Upper => words.concat().to_uppercase(),
            Self::Pascal => capitalised().concat(),
            Self::Camel => {
                let mut words = capitalised();
                if let Some(first) = words.first_mut() {
                    *first = first.to_lowercase();
                }
                words.concat()
            }
            Self::Snake => words.join("_"),
            Self::ScreamingSnake => words.join("_").to_uppercase(),
            Self::Kebab => words.join("-"),
            Self::ScreamingKebab => words.join("-").to_uppercase(),
            Self::Train => capitalised().join("-"),
        }
    }
}

/// The words of a name in lowercase. A word begins at an uppercase letter after a lowercase one,
/// and at the last of several uppercase letters before a lowercase one.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for part in name.split(['_', '-']).filter(|part| !part.is_empty()) {
        let mut word = String::new();
        let mut letters = part.chars().peekable();
        let mut before: Option<char> = None;
        while let Some(letter) = letters.next() {
            let after_small = before.is_some_and(|c| !c.is_uppercase());
            let before_small = before.is_some() && letters.peek().is_some_and(|c| c.is_lowercase());
            if letter.is_uppercase() && (after_small || before_small) {
                words.push(std::mem::take(&mut word));
            }
            word.extend(letter.to_lowercase());
            before = Some(letter);
        }
        words.push(word);
    }
    words
}

fn capitalise(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_and_joined() {
        for (case, field, variant) in [
            ("lowercase", "firstname", "veryhappy"),
            ("UPPERCASE", "FIRSTNAME", "VERYHAPPY"),
            ("PascalCase", "FirstName", "VeryHappy"),
            ("camelCase", "firstName", "veryHappy"),
            ("snake_case", "first_name", "very_happy"),
            ("SCREAMING_SNAKE_CASE", "FIRST_NAME", "VERY_HAPPY"),
            ("kebab-case", "first-name", "very-happy"),
            ("SCREAMING-KEBAB-CASE", "FIRST-NAME", "VERY-HAPPY"),
            ("Train-Case", "First-Name", "Very-Happy"),
        ] {
            let case = Case::parse(case).unwrap();
            assert_eq!(case.apply("first_name"), field);
            assert_eq!(case.apply("VeryHappy"), variant);
        }
        assert_eq!(words("HTTPServer2Go_x"), ["http", "server2", "go", "x"]);
        assert!(Case::parse("Mixed").unwrap_err().contains("snake_case"));
    }
}
