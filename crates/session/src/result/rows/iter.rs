//! Rows one after another.

use std::fmt;

use super::Rows;
use super::batch::Batch;
use crate::result::row::{Column, Row};

/// Iterates over [`Rows`].
#[derive(Clone)]
pub struct Iter<'a> {
    rows: &'a Rows,
    columns: &'a [Column],
    /// The bytes of the batch it is in, the values of the rows that are left there, and their
    /// number.
    bytes: &'a [u8],
    values: &'a [u32],
    left: usize,
    /// The place in `rows.more` of the batch that comes after it.
    batch: usize,
    number: usize,
}

impl<'a> Iter<'a> {
    #[inline]
    pub(super) fn new(rows: &'a Rows) -> Self {
        let mut iter = Self {
            rows,
            columns: rows.columns(),
            bytes: &[],
            values: &[],
            left: 0,
            batch: 0,
            number: 0,
        };
        iter.enter(&rows.first);
        iter
    }

    fn enter(&mut self, batch: &'a Batch) {
        (self.bytes, self.values, self.left) = (&batch.bytes, &batch.values, batch.rows);
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Row<'a>;

    #[inline]
    fn next(&mut self) -> Option<Row<'a>> {
        while self.left == 0 {
            let next = self.rows.more.get(self.batch)?;
            self.batch += 1;
            self.enter(next);
        }
        let (values, rest) = self.values.split_at_checked(self.columns.len())?;
        let row = Row::new(self.columns, self.bytes, values, self.rows.before + self.number);
        self.values = rest;
        self.left -= 1;
        self.number += 1;
        Some(row)
    }

    fn nth(&mut self, mut n: usize) -> Option<Row<'a>> {
        while n >= self.left {
            n -= self.left;
            self.number += self.left;
            let Some(next) = self.rows.more.get(self.batch) else {
                self.left = 0;
                return None;
            };
            self.batch += 1;
            self.enter(next);
        }
        self.values = self.values.get(n * self.columns.len()..)?;
        self.left -= n;
        self.number += n;
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rows.len - self.number;
        (left, Some(left))
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the bytes: values may be secrets.
        f.debug_struct("Iter").field("rows", &self.rows).field("number", &self.number).finish()
    }
}

impl ExactSizeIterator for Iter<'_> {}
