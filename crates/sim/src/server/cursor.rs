//! A cursor that a statement has declared.

use super::statement::Fetch;
use super::work::Work;
use crate::token::Token;

/// See the file's text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) work: Work,
    pub(crate) token: Option<Token>,
    pub(crate) shift: i64,
    scrolls: bool,
    holds: bool,
    /// Its transaction was committed.
    is_kept: bool,
    /// 0 is before the first row, and one more than there are rows is behind the last one.
    position: i64,
}

impl Cursor {
    pub(crate) fn new(
        work: Work,
        token: Option<Token>,
        shift: i64,
        scrolls: bool,
        holds: bool,
    ) -> Self {
        Self { work, token, shift, scrolls, holds, is_kept: false, position: 0 }
    }

    /// Whether it outlives the commit of a transaction, which makes it one that is kept.
    pub(crate) fn survives(&mut self) -> bool {
        self.is_kept |= self.holds;
        self.is_kept
    }

    /// Whether it outlives a rollback.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Moves; gives the rows passed, the first being 0, or `None` if it cannot go there.
    pub(crate) fn go(&mut self, how: Fetch) -> Option<Vec<u32>> {
        let (rows, at) = (i64::from(self.work.rows), self.position);
        let end = rows + 1;
        let (to, passed): (i64, Vec<i64>) = match how {
            Fetch::Forward(0) | Fetch::Relative(0) => (at, vec![at]),
            Fetch::Forward(count) => {
                let to = at.saturating_add(i64::try_from(count).unwrap_or(i64::MAX)).min(end);
                (to, (at + 1..=to).collect())
            }
            Fetch::ForwardAll => (end, (at + 1..=rows).collect()),
            Fetch::BackwardAll => (0, (1..at).rev().collect()),
            Fetch::Absolute(row) => {
                let to = if row < 0 { (end + row).max(0) } else { row.min(end) };
                (to, vec![to])
            }
            Fetch::Relative(by) => {
                let to = at.saturating_add(by).clamp(0, end);
                (to, vec![to])
            }
        };
        if to < at && !self.scrolls {
            return None;
        }
        self.position = to;
        let rows = passed.into_iter().filter(|row| (1..=rows).contains(row));
        Some(rows.filter_map(|row| u32::try_from(row - 1).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_as_postgresql_says() {
        let work = Work { rows: 3, ..Work::default() };
        let mut cursor = Cursor::new(work, None, 0, true, false);
        for (how, rows) in [
            (Fetch::Forward(2), vec![0, 1]),
            (Fetch::Relative(0), vec![1]),
            (Fetch::ForwardAll, vec![2]),
            (Fetch::Forward(1), vec![]),
            (Fetch::Relative(-1), vec![2]),
            (Fetch::BackwardAll, vec![1, 0]),
            (Fetch::Absolute(-1), vec![2]),
            (Fetch::Absolute(0), vec![]),
        ] {
            assert_eq!(cursor.go(how), Some(rows), "{how:?}");
        }
        let mut cursor = Cursor::new(Work { rows: 3, ..Work::default() }, None, 0, false, false);
        assert_eq!(cursor.go(Fetch::Forward(2)), Some(vec![0, 1]));
        assert_eq!(cursor.go(Fetch::Absolute(1)), None);
    }
}
