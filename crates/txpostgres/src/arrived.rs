//! Rows that came together, handed out one by one.

use std::sync::Arc;

use txpostgres_session::{OwnedRow, Rows};

/// Rows that came together, and which of them is next.
#[derive(Default)]
pub(crate) struct Arrived {
    rows: Option<Arc<Rows>>,
    next: usize,
}

impl Arrived {
    /// Takes rows, when all before them are handed out.
    pub(crate) fn put(&mut self, rows: Rows) {
        *self = Self { rows: Some(Arc::new(rows)), next: 0 };
    }

    /// The next row.
    pub(crate) fn row(&mut self) -> Option<OwnedRow> {
        let row = OwnedRow::of(self.rows.as_ref()?, self.next);
        match row {
            Some(_) => self.next += 1,
            None => self.rows = None,
        }
        row
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.len() - self.next)
    }

    /// So many of those that are left, or fewer.
    pub(crate) fn rows(&mut self, count: usize) -> Rows {
        let Some(rows) = &self.rows else {
            return Rows::default();
        };
        let part = rows.part(self.next, count);
        self.next += part.len();
        part
    }

    /// All that are left.
    pub(crate) fn rest(&mut self) -> Option<Rows> {
        let rows = self.rows.take()?;
        (self.next < rows.len()).then(|| rows.tail(self.next))
    }
}
