//! Whether rows are those that were asked for.

use txpostgres::{Row, Rows};

use super::op::Op;
use crate::token::Token;

/// Looks at rows one after another; they must be those of one execution, in order.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    op: &'a Op,
    token: String,
    shift: i64,
    next: u32,
    /// Bytes of the rows on the wire, about.
    pub(crate) bytes: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(op: &'a Op, token: Token, shift: i64) -> Self {
        Self { op, token: token.to_string(), shift, next: 0, bytes: 0 }
    }

    /// Begins at another row.
    pub(crate) fn at(mut self, row: u32) -> Self {
        self.next = row;
        self
    }

    pub(crate) fn row(&mut self, row: Row<'_>) -> Result<(), String> {
        let read = (row.get::<&str>(0), row.get::<i64>(1), row.get::<&str>(2));
        let (Ok(token), Ok(number), Ok(filler)) = read else {
            return Err(format!("row {} cannot be read: {read:?}", self.next));
        };
        self.values(token, number, filler)
    }

    pub(crate) fn values(&mut self, token: &str, number: i64, filler: &str) -> Result<(), String> {
        let expected = i64::from(self.next) + self.shift;
        if token != self.token || number != expected {
            return Err(format!("row {expected} of {} is row {number} of {token}", self.token));
        }
        if filler != self.op.work.filler(self.next) {
            return Err(format!("row {number} of {token} has a filler of {}", filler.len()));
        }
        self.next += 1;
        self.bytes += (27 + token.len() + filler.len()) as u64;
        Ok(())
    }

    pub(crate) fn rows(&mut self, rows: &Rows) -> Result<(), String> {
        rows.iter().try_for_each(|row| self.row(row))
    }

    /// How many rows were seen.
    pub(crate) fn count(&self) -> u32 {
        self.next
    }

    /// That was all of them.
    pub(crate) fn end(&self) -> Result<(), String> {
        if self.next == self.op.work.rows {
            return Ok(());
        }
        Err(format!("{} of {} rows came of {}", self.next, self.op.work.rows, self.token))
    }
}
