//! The result that a cursor has executed, and how far it has been fetched.

use std::sync::Arc;

use parking_lot::Mutex;
use txpostgres_session::{
    Column, CommandTag, Error, ErrorKind, FromRow, OwnedRow, Result, ResultSet, Rows,
};

use crate::query::Executed;

/// The row that a cursor is moved from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scroll {
    /// From the row that is fetched next.
    Relative,
    /// From before the first row.
    Absolute,
}

/// ```text
///            ┌────────────────────────────────────────┐
///   Fresh ───┴─execute──▶ Executing ──answered──▶ Executed
///     ▲                       │                       │
///     └───failed, dropped─────┘        any ──close──▶ Closed
/// ```
#[derive(Default)]
pub(crate) enum Results {
    /// Nothing was executed, or the execution failed.
    #[default]
    Fresh,
    Executing,
    Executed {
        current: Fetched,
        /// Further results of the same script, in reverse order.
        further: Vec<Fetched>,
    },
    Closed,
}

/// One result, and its next row.
pub(crate) struct Fetched {
    rows: Arc<Rows>,
    tag: CommandTag,
    /// Rows returned or changed; after `execute_many`, by all sets.
    row_count: Option<u64>,
    next: usize,
}

impl Fetched {
    pub(crate) fn new(result: ResultSet) -> Self {
        let tag = *result.tag();
        let returns_rows = result.rows().shared_columns().is_some();
        let row_count = tag.rows().or(returns_rows.then(|| result.row_count()));
        Self { rows: Arc::new(result.into_rows()), tag, row_count, next: 0 }
    }

    pub(crate) fn of_many(Executed { rows, row_count, tag }: Executed) -> Self {
        Self { rows: Arc::new(rows), tag, row_count: Some(row_count), next: 0 }
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cursor is closed").with_hint("make another one")
}

fn executing() -> Error {
    Error::new(ErrorKind::Request, "the cursor is executing a statement; its end was not awaited")
        .with_hint("await it first, or use another cursor: they may run side by side")
}

fn nothing_executed() -> Error {
    Error::new(ErrorKind::Request, "there is nothing to fetch: nothing was executed, or it failed")
}

fn no_rows() -> Error {
    Error::new(ErrorKind::Request, "there is nothing to fetch: the statement returns no rows")
}

impl Results {
    /// The current result.
    pub(crate) fn executed(&mut self) -> Result<&mut Fetched> {
        match self {
            Self::Executed { current, .. } => Ok(current),
            Self::Fresh => Err(nothing_executed()),
            Self::Executing => Err(executing()),
            Self::Closed => Err(closed()),
        }
    }

    /// The current result, if it has rows to fetch.
    fn fetchable(&mut self) -> Result<&mut Fetched> {
        let current = self.executed()?;
        if current.rows.shared_columns().is_none() { Err(no_rows()) } else { Ok(current) }
    }

    pub(crate) fn fetch_one(&mut self) -> Result<Option<OwnedRow>> {
        let current = self.fetchable()?;
        let row = OwnedRow::new(&current.rows, current.next);
        current.next += usize::from(row.is_some());
        Ok(row)
    }

    pub(crate) fn fetch_many(&mut self, count: usize) -> Result<Vec<OwnedRow>> {
        let current = self.fetchable()?;
        let end = current.next.saturating_add(count).min(current.rows.len());
        let rows = (current.next..end).filter_map(|n| OwnedRow::new(&current.rows, n)).collect();
        current.next = end;
        Ok(rows)
    }

    pub(crate) fn fetch_all(&mut self) -> Result<Rows> {
        let current = self.fetchable()?;
        let from = std::mem::replace(&mut current.next, current.rows.len());
        Ok(if from == 0 { Rows::clone(&current.rows) } else { current.rows.tail(from) })
    }

    pub(crate) fn fetch_all_as<T: for<'r> FromRow<'r>>(&mut self) -> Result<Vec<T>> {
        let current = self.fetchable()?;
        let from = std::mem::replace(&mut current.next, current.rows.len());
        current.rows.iter_as::<T>()?.skip(from).collect()
    }

    pub(crate) fn scroll(&mut self, by: isize, from: Scroll) -> Result<()> {
        let current = self.fetchable()?;
        let start = match from {
            Scroll::Relative => current.next,
            Scroll::Absolute => 0,
        };
        let target = start.checked_add_signed(by).filter(|&row| row <= current.rows.len());
        current.next = target.ok_or_else(|| {
            Error::new(
                ErrorKind::Request,
                format!("the cursor cannot be moved there: it has {} rows", current.rows.len()),
            )
        })?;
        Ok(())
    }

    pub(crate) fn next_set(&mut self) -> Result<bool> {
        self.executed()?;
        if let Self::Executed { current, further } = self
            && let Some(next) = further.pop()
        {
            *current = next;
            return Ok(true);
        }
        Ok(false)
    }

    /// The current result, if there is one.
    fn known(&self) -> Option<&Fetched> {
        match self {
            Self::Executed { current, .. } => Some(current),
            _ => None,
        }
    }

    pub(crate) fn description(&self) -> Option<Arc<[Column]>> {
        self.known()?.rows.shared_columns()
    }

    pub(crate) fn row_count(&self) -> Option<u64> {
        self.known()?.row_count
    }

    pub(crate) fn row_number(&self) -> Option<usize> {
        let current = self.known()?;
        current.rows.shared_columns().map(|_| current.next)
    }

    pub(crate) fn status_message(&self) -> Option<String> {
        let tag = self.known()?.tag;
        (!tag.as_str().is_empty()).then(|| tag.to_string())
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// An execution in progress. If it is dropped before its end, the cursor has no result.
pub(crate) struct Execution<'a> {
    results: &'a Mutex<Results>,
}

impl<'a> Execution<'a> {
    /// Begins an execution, if none is in progress.
    pub(crate) fn begin(results: &'a Mutex<Results>) -> Result<Self> {
        let mut state = results.lock();
        match *state {
            Results::Fresh | Results::Executed { .. } => *state = Results::Executing,
            Results::Executing => return Err(executing()),
            Results::Closed => return Err(closed()),
        }
        Ok(Self { results })
    }

    /// Ends the execution with these results, in their order. Returns the row count of the first.
    pub(crate) fn end(self, results: impl IntoIterator<Item = Fetched>) -> u64 {
        let mut all: Vec<Fetched> = results.into_iter().collect();
        all.reverse();
        let current = all.pop().unwrap_or_else(|| Fetched::new(ResultSet::default()));
        let row_count = current.row_count.unwrap_or(0);
        let mut state = self.results.lock();
        if matches!(*state, Results::Executing) {
            *state = Results::Executed { current, further: all };
        }
        row_count
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        let mut state = self.results.lock();
        if matches!(*state, Results::Executing) {
            *state = Results::Fresh;
        }
    }
}
