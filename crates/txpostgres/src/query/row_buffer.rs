//! Rows that arrived together, handed out one by one.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use txpostgres_session::{OwnedRow, Result, Rows};

/// Rows that arrived together, and which of them is next.
#[derive(Default)]
pub(crate) struct RowBuffer {
    rows: Option<Arc<Rows>>,
    next: usize,
}

impl RowBuffer {
    /// Replaces the rows. All rows before must have been handed out.
    pub(crate) fn put(&mut self, rows: Rows) {
        *self = Self { rows: Some(Arc::new(rows)), next: 0 };
    }

    /// Appends rows to those that are left.
    pub(crate) fn append(&mut self, rows: Rows) {
        let mut all = self.rest().unwrap_or_default();
        all.append(rows);
        self.put(all);
    }

    /// The next row.
    pub(crate) fn row(&mut self) -> Option<OwnedRow> {
        let row = OwnedRow::new(self.rows.as_ref()?, self.next);
        match row {
            Some(_) => self.next += 1,
            None => self.rows = None,
        }
        row
    }

    /// Skips `count` of the rows that are left.
    pub(crate) fn skip(&mut self, count: usize) {
        self.next += count.min(self.left());
    }

    /// Whether the row that was handed out last is still in the buffer.
    pub(crate) fn has_last(&self) -> bool {
        self.rows.is_some() && self.next > 0
    }

    /// The row that was handed out last.
    pub(crate) fn last(&self) -> Option<Rows> {
        let rows = self.rows.as_ref()?;
        Some(rows.part(self.next.checked_sub(1)?, 1))
    }

    /// How many rows are left.
    pub(crate) fn left(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.len() - self.next)
    }

    /// At most `count` of the rows that are left.
    pub(crate) fn rows(&mut self, count: usize) -> Rows {
        let Some(rows) = &self.rows else {
            return Rows::default();
        };
        let part = rows.part(self.next, count);
        self.next += part.len();
        part
    }

    /// All rows that are left.
    pub(crate) fn rest(&mut self) -> Option<Rows> {
        let rows = self.rows.take()?;
        (self.next < rows.len()).then(|| rows.tail(self.next))
    }
}

/// A source of rows that arrive in groups.
pub(crate) trait BufferedRows {
    /// The rows that have arrived and were not handed out.
    fn buffer(&mut self) -> &mut RowBuffer;

    /// The next rows to arrive; `None` after the last.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Rows>>>;

    /// The next row.
    fn poll_row(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<OwnedRow>>> {
        loop {
            if let Some(row) = self.buffer().row() {
                return Poll::Ready(Some(Ok(row)));
            }
            match ready!(self.poll_arrival(cx)) {
                Ok(Some(rows)) => self.buffer().put(rows),
                Ok(None) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// The next rows, as many as have arrived.
    fn poll_rows(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Rows>>> {
        match self.buffer().rest() {
            Some(rest) => Poll::Ready(Ok(Some(rest))),
            None => self.poll_arrival(cx),
        }
    }
}
