//! Where the reader of a named cursor stands, and the server's cursor, which may be ahead of him.
//!
//! A server's cursor need not be able to go back (`NO SCROLL`, or a plan that cannot). So a reader who goes onwards gets what was fetched in
//! advance, and the server goes on from where it is; it is taken back only when the reader goes back.

use std::sync::Arc;

use txpostgres_session::{OwnedRow, Rows};

use super::fetch::FetchDirection;
use crate::query::row_buffer::RowBuffer;

/// See the file's text.
#[derive(Default)]
pub(super) struct Position {
    /// Rows fetched in advance: so far is the server ahead of the reader.
    fetched: RowBuffer,
    end: End,
    /// The reader's row, if that is known: 0 before the first one; behind the last one, its number and one.
    at: At,
    /// What is on that row, if it was read and is not the one before those that were fetched.
    here: Option<Arc<Rows>>,
}

/// The number of a row, if it is known. A cursor begins before the first one.
struct At(Option<u64>);

impl Default for At {
    fn default() -> Self {
        Self(Some(0))
    }
}

/// Who stands behind the last row.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum End {
    #[default]
    Nobody,
    /// The server, as far as that is known, when the reader comes to the end of what was fetched.
    Server,
    /// The server, and the reader has been told so.
    Both,
}

/// Where something leads that the server was asked for.
#[derive(Clone, Copy)]
pub(super) enum Leads {
    /// So many rows on, or to the end: they come behind those that were fetched in advance.
    On(u32),
    /// Back to where the reader is.
    Back,
    /// Elsewhere, with the reader; from where the server is, which is so many rows ahead of him.
    Away { to: FetchDirection, ahead: u64 },
}

/// How the reader gets somewhere.
pub(super) enum Step {
    /// He is there: on a row, or not.
    Stay(bool),
    /// So many rows on, all of which are here.
    On(u64),
    /// Behind the last row, and what is before it is here.
    Behind,
    /// The server is asked, from where it is.
    Ask(FetchDirection, Leads),
    /// The server is taken back to the reader, and asked then.
    Back,
}

impl Position {
    fn left(&self) -> u64 {
        self.fetched.left() as u64
    }

    /// How many of so many rows are to be asked for: none if there are no more.
    pub(super) fn missing(&self, wanted: u32) -> u32 {
        if self.end != End::Nobody {
            return 0;
        }
        wanted.saturating_sub(u32::try_from(self.left()).unwrap_or(u32::MAX))
    }

    /// How many steps the server is ahead of the reader.
    pub(super) fn ahead(&self) -> i64 {
        let unread = i64::try_from(self.left()).unwrap_or(i64::MAX - 1);
        unread + i64::from(self.end == End::Server)
    }

    /// How the reader gets there; if he `reads`, with the row.
    pub(super) fn step(&self, to: FetchDirection, reads: bool) -> Step {
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
            FetchDirection::Absolute(0) if self.at.0 == Some(0) => Step::Stay(false),
            FetchDirection::Absolute(0) => Step::Ask(to, Leads::Away { to, ahead: 0 }),
            FetchDirection::Prior
            | FetchDirection::Relative(_)
            | FetchDirection::Backward(_)
            | FetchDirection::BackwardAll => Step::Back,
        }
    }

    fn stay(&self, reads: bool) -> Step {
        let is_read = self.fetched.has_last() || self.here.is_some();
        match (self.end, self.at.0) {
            (End::Both, _) | (_, Some(0)) => Step::Stay(false),
            _ if is_read => Step::Stay(true),
            (_, Some(_)) if !reads => Step::Stay(true),
            _ => Step::Back,
        }
    }

    /// So many rows on.
    fn onwards(&self, rows: u64, to: FetchDirection) -> Step {
        let ahead = self.left();
        if rows <= ahead {
            return Step::On(rows);
        }
        if self.end != End::Nobody {
            return Step::Behind;
        }
        // What FETCH can count fits.
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
        Step::Ask(rest, Leads::Away { to: rest, ahead })
    }

    /// To the row of this number: the server need not be where the reader is for that.
    fn to_row(&self, row: u64, to: FetchDirection, reads: bool) -> Step {
        let ask = Step::Ask(to, Leads::Away { to, ahead: 0 });
        let Some(on) = self.at.0.and_then(|at| row.checked_sub(at)) else {
            return ask;
        };
        let step = if on == 0 { self.stay(reads) } else { self.onwards(on, to) };
        match step {
            Step::Ask(..) | Step::Back => ask,
            step => step,
        }
    }

    /// The same, counted from the end.
    fn to_row_from_end(&self, row: u64, to: FetchDirection, reads: bool) -> Step {
        let ask = Step::Ask(to, Leads::Away { to, ahead: 0 });
        if self.end != End::Server {
            return ask;
        }
        let step = match (self.left() + 1).checked_sub(row) {
            Some(0) => self.stay(reads),
            Some(on) => Step::On(on),
            None => Step::Back,
        };
        match step {
            Step::Back => ask,
            step => step,
        }
    }

    /// The next row of those that are here; without one the reader is behind the last one.
    pub(super) fn row(&mut self) -> Option<OwnedRow> {
        let row = self.fetched.row();
        match &row {
            Some(_) => self.count(1),
            None => drop(self.pass_all()),
        }
        row
    }

    /// The next rows of those that are here; if they are fewer, the reader is behind the last one. `None` if there are none.
    pub(super) fn take(&mut self, count: u32) -> Option<Rows> {
        let rows = self.fetched.rows(count as usize);
        self.count(rows.len() as u64);
        if rows.len() < count as usize {
            self.pass_all();
        } else if self.fetched.left() == 0 {
            // Many rows are not kept for the one that the reader is on.
            self.keep_here();
            self.fetched = RowBuffer::default();
        }
        (!rows.is_empty()).then_some(rows)
    }

    /// Passes so many rows of those that are here.
    pub(super) fn pass(&mut self, count: u64) {
        self.fetched.skip(usize::try_from(count).unwrap_or(usize::MAX));
        self.count(count);
    }

    /// Passes all rows that are here, of which the last is the last one, and says how many.
    pub(super) fn pass_all(&mut self) -> u64 {
        let passed = self.left();
        if self.end != End::Both {
            self.count(passed.saturating_add(1));
        }
        self.end = End::Both;
        (self.fetched, self.here) = (RowBuffer::default(), None);
        passed
    }

    fn count(&mut self, rows: u64) {
        self.at = At(self.at.0.and_then(|at| at.checked_add(rows)));
    }

    /// The row that the reader is on, if it was read.
    pub(super) fn here(&self) -> Option<Rows> {
        self.fetched.last().or_else(|| self.here.as_deref().cloned())
    }

    /// Keeps that row when those that were fetched go.
    fn keep_here(&mut self) {
        if let Some(last) = self.fetched.last() {
            self.here = Some(Arc::new(last));
        }
    }

    /// The server has answered: so many rows were fetched or passed.
    pub(super) fn arrive(&mut self, leads: Leads, count: u64, rows: &mut Rows) {
        match leads {
            Leads::On(wanted) => {
                if rows.len() < wanted as usize && self.end == End::Nobody {
                    self.end = End::Server;
                }
                self.keep_here();
                self.fetched.append(std::mem::take(rows));
            }
            Leads::Back => {
                self.end = End::Nobody;
                self.keep_here();
                self.fetched = RowBuffer::default();
            }
            Leads::Away { to, ahead } => {
                let was_behind = self.end == End::Both;
                self.count(ahead);
                self.at = At(to.leads_to(self.at.0, count, was_behind));
                let is_behind = to.is_behind(count, was_behind);
                self.end = if is_behind { End::Both } else { End::Nobody };
                let is_row = !is_behind && self.at.0 != Some(0);
                let last = rows.len().checked_sub(1).filter(|_| is_row);
                self.here = last.map(|last| Arc::new(rows.part(last, 1)));
                self.fetched = RowBuffer::default();
            }
        }
    }
}
