//! How often each kind of thing happened, so that one sees that a run does something.

use std::collections::BTreeMap;
use std::fmt;

/// See the file's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    pub(crate) fn count(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(what.to_owned(), 1);
            }
        }
    }

    pub(crate) fn count_name(&mut self, kind: &str, name: &str) {
        self.count(&format!("{kind}{name}"));
    }

    /// Adds the counts of another run.
    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Coverage {
    /// One line for each kind of thing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for (what, count) in &self.0 {
            let (kind, name) = what.split_once(": ").unwrap_or(("", what));
            if kind == last {
                write!(f, ", {name} {count}")?;
            } else {
                let end = if last.is_empty() { "" } else { "\n" };
                write!(f, "{end}{kind:>8}: {name} {count}")?;
                last = kind;
            }
        }
        Ok(())
    }
}
