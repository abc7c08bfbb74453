//! The position of the reader of a named cursor, and that of the server's cursor, which may be
//! ahead.
//!
//! A server's cursor need not be able to move backwards (`NO SCROLL`, or a plan that cannot). So
//! forward moves use the prefetched rows first, and the server goes on from where it is. Only a
//! backward move of the reader rewinds the server's cursor to the reader's position.
//!
//! ```text
//!   row    0   1   2   3   4   5   6   …   n   n + 1
//!              ▲   ╰─────────╯   ▲             ╰── after the last row: `AtEnd`
//!              │   prefetched    └ the server
//!              └ the reader (`at`); row 0 is before the first
//! ```

use std::sync::Arc;

use txpostgres_session::{OwnedRow, Rows};

use super::fetch::FetchDirection;
use crate::query::row_buffer::RowBuffer;

/// See the file's text.
#[derive(Default)]
pub(super) struct Position {
    /// Prefetched rows: the server is ahead of the reader by them.
    fetched: RowBuffer,
    end: AtEnd,
    /// The row that the reader is on.
    at: RowNumber,
    /// The contents of that row, if it was read and is not the row before the prefetched ones.
    here: Option<Arc<Rows>>,
}

/// The number of a row, if it is known: 0 before the first row, where a cursor begins; after the
/// last row, the number of that row plus one.
struct RowNumber(Option<u64>);

impl Default for RowNumber {
    fn default() -> Self {
        Self(Some(0))
    }
}

/// Which of the two positions is after the last row.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum AtEnd {
    #[default]
    Neither,
    /// The server's: the prefetched rows are the last ones.
    Server,
    /// The server's and the reader's.
    Both,
}

/// The effect of a FETCH or MOVE on the two positions.
#[derive(Clone, Copy)]
pub(super) enum FetchEffect {
    /// This many rows are prefetched, or all up to the end. The reader stays.
    Prefetch(u32),
    /// The server's cursor is rewound to the reader's row.
    Rewind,
    /// Both move by `to`, from the server's position, which is `ahead` rows after the reader's.
    Move { to: FetchDirection, ahead: u64 },
}

/// How the reader's position is moved.
pub(super) enum MovePlan {
    /// The reader is there already: on a row (`true`), or before the first or after the last row.
    Stay(bool),
    /// This many rows onwards, all of which are prefetched.
    Skip(u64),
    /// After the last row, and all rows before it are prefetched.
    PastEnd,
    /// By a FETCH or MOVE from the server's position.
    Ask(FetchDirection, FetchEffect),
    /// By rewinding the server's cursor to the reader's row, then a FETCH or MOVE.
    Rewind,
}

impl Position {
    fn left(&self) -> u64 {
        self.fetched.left() as u64
    }

    /// How many of `wanted` rows must be fetched: none if the server is after the last row.
    pub(super) fn missing(&self, wanted: u32) -> u32 {
        if self.end != AtEnd::Neither {
            return 0;
        }
        wanted.saturating_sub(u32::try_from(self.left()).unwrap_or(u32::MAX))
    }

    /// How many rows the server's cursor is ahead of the reader.
    pub(super) fn ahead(&self) -> i64 {
        let unread = i64::try_from(self.left()).unwrap_or(i64::MAX - 1);
        unread + i64::from(self.end == AtEnd::Server)
    }

    /// How the reader gets there. With `reads`, the row itself is needed as well.
    pub(super) fn plan(&self, to: FetchDirection, reads: bool) -> MovePlan {
        match to {
            FetchDirection::Forward(0)
            | FetchDirection::Backward(0)
            | FetchDirection::Relative(0) => self.stay(reads),
            FetchDirection::Next => self.onwards(1, to),
            FetchDirection::Forward(rows) => self.onwards(u64::from(rows), to),
            FetchDirection::ForwardAll => self.onwards(u64::MAX, to),
            FetchDirection::Relative(rows @ 1..) => self.onwards(rows.unsigned_abs(), to),
            FetchDirection::First => self.to_row(1, to, reads),
            FetchDirection::Absolute(row @ 1..) => self.to_row(row.unsigned_abs(), to, reads),
            FetchDirection::Last => self.to_row_from_end(1, to, reads),
            FetchDirection::Absolute(row @ ..0) => {
                self.to_row_from_end(row.unsigned_abs(), to, reads)
            }
            FetchDirection::Absolute(0) if self.at.0 == Some(0) => MovePlan::Stay(false),
            FetchDirection::Absolute(0) => MovePlan::Ask(to, FetchEffect::Move { to, ahead: 0 }),
            FetchDirection::Prior
            | FetchDirection::Relative(_)
            | FetchDirection::Backward(_)
            | FetchDirection::BackwardAll => MovePlan::Rewind,
        }
    }

    fn stay(&self, reads: bool) -> MovePlan {
        let is_read = self.fetched.has_last() || self.here.is_some();
        match (self.end, self.at.0) {
            (AtEnd::Both, _) | (_, Some(0)) => MovePlan::Stay(false),
            _ if is_read => MovePlan::Stay(true),
            (_, Some(_)) if !reads => MovePlan::Stay(true),
            _ => MovePlan::Rewind,
        }
    }

    /// Moves onwards by `rows`.
    fn onwards(&self, rows: u64, to: FetchDirection) -> MovePlan {
        let ahead = self.left();
        if rows <= ahead {
            return MovePlan::Skip(rows);
        }
        if self.end != AtEnd::Neither {
            return MovePlan::PastEnd;
        }
        // The difference is not larger than what FETCH can count.
        let missing = rows - ahead;
        let rest = match to {
            FetchDirection::Forward(_) => {
                FetchDirection::Forward(u32::try_from(missing).unwrap_or(u32::MAX))
            }
            FetchDirection::Relative(_) => {
                FetchDirection::Relative(i64::try_from(missing).unwrap_or(i64::MAX))
            }
            other => other,
        };
        MovePlan::Ask(rest, FetchEffect::Move { to: rest, ahead })
    }

    /// Moves to the row of this number, for which the server's position does not matter.
    fn to_row(&self, row: u64, to: FetchDirection, reads: bool) -> MovePlan {
        let ask = MovePlan::Ask(to, FetchEffect::Move { to, ahead: 0 });
        let Some(on) = self.at.0.and_then(|at| row.checked_sub(at)) else {
            return ask;
        };
        let plan = if on == 0 { self.stay(reads) } else { self.onwards(on, to) };
        match plan {
            MovePlan::Ask(..) | MovePlan::Rewind => ask,
            plan => plan,
        }
    }

    /// Moves to the row of this number, counted from the end.
    fn to_row_from_end(&self, row: u64, to: FetchDirection, reads: bool) -> MovePlan {
        let ask = MovePlan::Ask(to, FetchEffect::Move { to, ahead: 0 });
        if self.end != AtEnd::Server {
            return ask;
        }
        let plan = match (self.left() + 1).checked_sub(row) {
            Some(0) => self.stay(reads),
            Some(on) => MovePlan::Skip(on),
            None => MovePlan::Rewind,
        };
        match plan {
            MovePlan::Rewind => ask,
            plan => plan,
        }
    }

    /// The next prefetched row; if there is none, the reader is after the last row.
    pub(super) fn row(&mut self) -> Option<OwnedRow> {
        let row = self.fetched.row();
        match &row {
            Some(_) => self.count(1),
            None => drop(self.pass_all()),
        }
        row
    }

    /// The next `count` prefetched rows; if there are fewer, the reader is after the last row.
    /// `None` if there are none.
    pub(super) fn take(&mut self, count: u32) -> Option<Rows> {
        let rows = self.fetched.rows(count as usize);
        self.count(rows.len() as u64);
        if rows.len() < count as usize {
            self.pass_all();
        } else if self.fetched.left() == 0 {
            // Keep only the row that the reader is on, not the whole group.
            self.keep_here();
            self.fetched = RowBuffer::default();
        }
        (!rows.is_empty()).then_some(rows)
    }

    /// Passes `count` prefetched rows.
    pub(super) fn pass(&mut self, count: u64) {
        self.fetched.skip(usize::try_from(count).unwrap_or(usize::MAX));
        self.count(count);
    }

    /// Passes all prefetched rows, which are the last ones, and returns their number.
    pub(super) fn pass_all(&mut self) -> u64 {
        let passed = self.left();
        if self.end != AtEnd::Both {
            self.count(passed.saturating_add(1));
        }
        self.end = AtEnd::Both;
        (self.fetched, self.here) = (RowBuffer::default(), None);
        passed
    }

    fn count(&mut self, rows: u64) {
        self.at = RowNumber(self.at.0.and_then(|at| at.checked_add(rows)));
    }

    /// The row that the reader is on, if it was read.
    pub(super) fn here(&self) -> Option<Rows> {
        self.fetched.last().or_else(|| self.here.as_deref().cloned())
    }

    /// Keeps the row that the reader is on while the prefetched rows are dropped.
    fn keep_here(&mut self) {
        if let Some(last) = self.fetched.last() {
            self.here = Some(Arc::new(last));
        }
    }

    /// Applies the server's answer: it fetched or passed `count` rows.
    pub(super) fn arrive(&mut self, effect: FetchEffect, count: u64, rows: &mut Rows) {
        match effect {
            FetchEffect::Prefetch(wanted) => {
                if rows.len() < wanted as usize && self.end == AtEnd::Neither {
                    self.end = AtEnd::Server;
                }
                self.keep_here();
                self.fetched.append(std::mem::take(rows));
            }
            FetchEffect::Rewind => {
                self.end = AtEnd::Neither;
                self.keep_here();
                self.fetched = RowBuffer::default();
            }
            FetchEffect::Move { to, ahead } => {
                let was_behind = self.end == AtEnd::Both;
                self.count(ahead);
                self.at = RowNumber(to.leads_to(self.at.0, count, was_behind));
                let is_behind = to.is_behind(count, was_behind);
                self.end = if is_behind { AtEnd::Both } else { AtEnd::Neither };
                let is_row = !is_behind && self.at.0 != Some(0);
                let last = rows.len().checked_sub(1).filter(|_| is_row);
                self.here = last.map(|last| Arc::new(rows.part(last, 1)));
                self.fetched = RowBuffer::default();
            }
        }
    }
}
