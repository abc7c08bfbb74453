//! The book: what the client has told of each row, and how that is compared with the table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::outcome::Outcome;
use crate::way::Way;

/// What the client has told of one row.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) way: Way,
    pub(crate) outcome: Outcome,
    /// When the call began and when it ended, since the beginning of the run.
    pub(crate) time: (Duration, Duration),
    /// The error, if there was one.
    pub(crate) error: Option<Box<str>>,
}

/// All rows. Each has a number that no other one has.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Mutex<BTreeMap<i64, Entry>>,
    next: AtomicI64,
    acknowledged: AtomicU64,
}

/// A row of which the table says something else than the client.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) id: i64,
    /// How often it is in the table.
    pub(crate) count: u64,
    /// `None`: it was never asked for.
    pub(crate) entry: Option<Entry>,
}

impl Book {
    /// The number of a row that is about to be written.
    pub(crate) fn id(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn note(&self, id: i64, entry: Entry) {
        if entry.outcome == Outcome::Acknowledged {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.entries.lock().insert(id, entry);
    }

    /// How many rows were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// How many rows there are of each way and outcome.
    pub(crate) fn counts(&self) -> BTreeMap<(Way, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for entry in self.entries.lock().values() {
            let outcome = match entry.outcome {
                Outcome::Acknowledged => "acknowledged",
                Outcome::Rejected => "rejected",
                Outcome::Unknown => "unknown",
            };
            *counts.entry((entry.way, outcome)).or_default() += 1;
        }
        counts
    }

    /// How many unknown rows there are, and how many of them are in the table.
    pub(crate) fn unknown(&self, table: &BTreeMap<i64, u64>) -> (usize, usize) {
        let entries = self.entries.lock();
        let unknown = entries.iter().filter(|(_, entry)| entry.outcome == Outcome::Unknown);
        let (there, gone): (Vec<_>, Vec<_>) =
            unknown.map(|(id, _)| *id).partition(|id| table.contains_key(id));
        (there.len() + gone.len(), there.len())
    }

    /// Whether any error said this.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        let entries = self.entries.lock();
        let mut errors = entries.values().filter_map(|entry| entry.error.as_deref());
        errors.any(|error| error.contains(words))
    }

    /// Compares with the table, which has each of these numbers so many times.
    pub(crate) fn compare(&self, table: &BTreeMap<i64, u64>) -> Vec<Finding> {
        let entries = self.entries.lock();
        let told = entries.iter().map(|(id, entry)| (*id, Some(entry)));
        let unheard = table.keys().filter(|id| !entries.contains_key(id)).map(|id| (*id, None));
        let wrong = told.chain(unheard).filter_map(|(id, entry)| {
            let count = table.get(&id).copied().unwrap_or(0);
            let is_right = match entry.map(|entry| entry.outcome) {
                Some(Outcome::Acknowledged) => count == 1,
                Some(Outcome::Rejected) | None => count == 0,
                Some(Outcome::Unknown) => count <= 1,
            };
            (!is_right).then(|| Finding { id, count, entry: entry.cloned() })
        });
        wrong.collect()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, count, entry } = self;
        let Some(Entry { way, outcome, time: (began, ended), error }) = entry else {
            return write!(f, "row {id}: never asked for, and {count} times in the table");
        };
        let (began, ended) = (began.as_secs_f64(), ended.as_secs_f64());
        write!(f, "row {id}: {outcome:?}, and {count} times in the table; {way}, ")?;
        write!(f, "from {began:.3} to {ended:.3} s")?;
        match error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(outcomes: &[Outcome]) -> Book {
        let book = Book::default();
        for outcome in outcomes {
            let time = (Duration::ZERO, Duration::ZERO);
            let entry = Entry { way: Way::Operation, outcome: *outcome, time, error: None };
            book.note(book.id(), entry);
        }
        book
    }

    /// The numbers of the rows that are wrong, with this many of each in the table.
    fn wrong(book: &Book, counts: &[u64]) -> Vec<i64> {
        let counts = (0..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0);
        book.compare(&counts.collect()).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn what_the_table_must_have_of_each_outcome() {
        use Outcome::{Acknowledged, Rejected, Unknown};

        let book = book(&[Acknowledged, Rejected, Unknown, Unknown]);
        assert!(wrong(&book, &[1, 0, 0, 1]).is_empty());
        assert_eq!(wrong(&book, &[0, 0, 0, 1]), [0], "what was acknowledged is gone");
        assert_eq!(wrong(&book, &[2, 0, 0, 1]), [0], "what was acknowledged was done twice");
        assert_eq!(wrong(&book, &[1, 1, 0, 1]), [1], "what was rejected is there");
        assert_eq!(wrong(&book, &[1, 0, 2, 1]), [2], "what is unknown was done twice");
        assert_eq!(wrong(&book, &[1, 0, 0, 1, 1]), [4], "what was never asked for is there");
    }
}
