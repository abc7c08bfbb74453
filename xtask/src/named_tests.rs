//! Tests that a document names: each must exist.

use std::collections::BTreeSet;

/// Names of functions in a source, among them those of its tests.
#[derive(Debug, Default)]
pub(crate) struct Functions(BTreeSet<String>);

impl Functions {
    pub(crate) fn look_for(&mut self, source: &str) {
        let names = source.split("fn ").skip(1).filter_map(|rest| rest.split_once(is_no_name));
        self.0.extend(names.map(|(name, _)| name.to_owned()));
    }

    /// What a document names in its tables as a test and is none: names in backticks of more than
    /// one word.
    pub(crate) fn missing(&self, shown: &str, document: &str) -> Vec<String> {
        let rows =
            document.lines().filter(|line| line.starts_with("| R") || line.starts_with("| S"));
        let names = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
        names
            .filter(|name| name.contains('_') && !name.contains(is_no_name))
            .filter(|name| !self.0.contains(*name))
            .map(|name| format!("{shown} names the test {name}, which does not exist"))
            .collect()
    }
}

fn is_no_name(c: char) -> bool {
    !c.is_ascii_alphanumeric() && c != '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_its_test_is_found() {
        let mut functions = Functions::default();
        functions.look_for("#[test]\nfn one_is_there() {}\nasync fn another_is_there<T>() {}");
        let document = "`not_in_a_row`\n| R1 | x | `one_is_there`, `another_is_there`, `value/x_y.rs`, `one` |";
        assert_eq!(functions.missing("doc", document), Vec::<String>::new());
        let missing = functions.missing("doc", "| S1 | x | `one_is_gone` |");
        assert_eq!(missing, ["doc names the test one_is_gone, which does not exist"]);
    }
}
