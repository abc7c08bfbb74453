//! The row of workloads d and f, as a struct and as bytes; and the sum by which it is seen that
//! every row came.

use std::hint::black_box;

use chrono::{DateTime, Utc};

use crate::frames::Body;

/// The columns of [`Item`], and their types.
pub(crate) const COLUMNS: &str = "id int8, name text, value float8, at timestamptz";

/// Rows as [`Item::number`] makes them, of the numbers from 1 to what stands for `$1`.
pub(crate) const GENERATED: &str = "select n::int8 as id, 'name ' || n as name, n / 2.0::float8 as value, \
     timestamptz '2020-01-01 00:00:00+00' + n * interval '1 s' as at from generate_series(1, $1) n";

/// Seconds from 1970 to the first row's time, 2020-01-01.
const FIRST_AT: i64 = 1_577_836_800;

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH: i64 = 946_684_800_000_000;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) at: DateTime<Utc>,
}

impl Item {
    /// The row of this number, the first being 1.
    pub(crate) fn number(n: u32) -> Item {
        Item {
            id: n.into(),
            name: format!("name {n}"),
            value: f64::from(n) / 2.0,
            at: DateTime::from_timestamp(FIRST_AT + i64::from(n), 0).unwrap_or_default(),
        }
    }

    /// The same with this id, as a row on the wire: the number of its fields, and each behind its
    /// length.
    pub(crate) fn write(&self, id: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\0\x04\0\0\0\x08");
        out.extend_from_slice(&id.to_be_bytes());
        let length = u32::try_from(self.name.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"\0\0\0\x08");
        out.extend_from_slice(&self.value.to_be_bytes());
        out.extend_from_slice(b"\0\0\0\x08");
        out.extend_from_slice(&(self.at.timestamp_micros() - EPOCH).to_be_bytes());
    }
}

/// The fields of a row on the wire, borrowed; `None` if it is not one of ours.
pub(crate) fn read(row: &[u8]) -> Option<(i64, &str, f64, DateTime<Utc>)> {
    let mut row = Body(row);
    if row.int16()? != 4 {
        return None;
    }
    let id = i64::from_be_bytes(row.value()??.try_into().ok()?);
    let name = std::str::from_utf8(row.value()??).ok()?;
    let value = f64::from_be_bytes(row.value()??.try_into().ok()?);
    let at = i64::from_be_bytes(row.value()??.try_into().ok()?);
    Some((id, name, value, DateTime::from_timestamp_micros(at.checked_add(EPOCH)?)?))
}

/// Rows counted and summed up: cheap, and a row that is missing or damaged shows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    rows: u32,
    sum: u64,
    last: Option<DateTime<Utc>>,
}

impl Tally {
    #[inline]
    pub(crate) fn add(&mut self, id: i64, name: &str, value: f64, at: DateTime<Utc>) {
        self.rows += 1;
        let words = id.cast_unsigned() ^ value.to_bits();
        self.sum = self.sum.wrapping_add(words).wrapping_add(name.len() as u64);
        self.last = Some(black_box(at));
    }

    pub(crate) fn of(items: &[Item]) -> Tally {
        let mut tally = Tally::default();
        for item in items {
            tally.add(item.id, &item.name, item.value, item.at);
        }
        tally
    }

    /// That of the rows up to this one.
    pub(crate) fn expected(rows: u32) -> Tally {
        let mut tally = Tally::default();
        for n in 1..=rows {
            let length = "name ".len() + n.ilog10() as usize + 1;
            let words = u64::from(n) ^ (f64::from(n) / 2.0).to_bits();
            tally.sum = tally.sum.wrapping_add(words).wrapping_add(length as u64);
        }
        Tally { rows, last: Some(Item::number(rows).at), ..tally }
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, Tally, read};

    #[test]
    fn a_row_on_the_wire_reads_as_it_was() {
        let item = Item::number(1_234);
        let mut bytes = Vec::new();
        item.write(item.id, &mut bytes);
        let (id, name, value, at) = read(&bytes).unwrap();
        assert_eq!(Item { id, name: name.to_owned(), value, at }, item);
        assert_eq!(read(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_missing_row_shows_in_the_tally() {
        let items: Vec<Item> = (1..=1_000).map(Item::number).collect();
        assert_eq!(Tally::of(&items), Tally::expected(1_000));
        assert_ne!(Tally::of(&items[1..]), Tally::expected(1_000));
    }
}
