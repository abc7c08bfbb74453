//! The directions of FETCH and MOVE, and the position that each leads to.

use std::fmt;

use txpostgres_session::{Error, ErrorKind, Result};

/// The largest count of FETCH and MOVE: their grammar takes an `int4`.
pub(super) const MOST: i64 = i32::MAX as i64;

/// Which rows to fetch, or where to move to (manual, `FETCH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchDirection {
    /// The next row.
    Next,
    /// The row before.
    Prior,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The row of this number, counted from 1, or from the end if negative.
    Absolute(i64),
    /// The row `n` rows after the current one, or before it if negative.
    Relative(i64),
    /// The next `n` rows.
    Forward(u32),
    /// All rows that are left.
    ForwardAll,
    /// The `n` rows before the current one, backwards.
    Backward(u32),
    /// All rows before the current one, backwards.
    BackwardAll,
}

impl FetchDirection {
    /// Refuses counts that FETCH and MOVE cannot express.
    pub(super) fn check(self) -> Result<()> {
        let fits = match self {
            Self::Absolute(row) => (-MOST..=MOST).contains(&row),
            Self::Relative(rows) => (-MOST..=MOST).contains(&rows),
            Self::Forward(rows) | Self::Backward(rows) => i64::from(rows) <= MOST,
            _ => true,
        };
        if fits { Ok(()) } else { Err(too_far(self)) }
    }

    /// Whether it covers a range of rows, not a single row.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Forward(_) | Self::ForwardAll | Self::Backward(_) | Self::BackwardAll)
    }

    /// Whether the cursor is after the last row then, if the server fetched or passed `count` rows.
    /// `was_behind`: it was after the last row before.
    pub(super) fn is_behind(self, count: u64, was_behind: bool) -> bool {
        match self {
            Self::ForwardAll => true,
            Self::Forward(0) | Self::Backward(0) | Self::Relative(0) => was_behind,
            Self::Forward(rows) => count < u64::from(rows),
            Self::Next | Self::First | Self::Absolute(1..) | Self::Relative(1..) => count == 0,
            _ => false,
        }
    }

    /// The number of the row that the cursor is on then, if it was on row `from` and the server
    /// fetched or passed `count` rows. 0 is before the first row; after the last row it is the
    /// number of that row plus one (`was_behind`: it was there before).
    pub(super) fn leads_to(self, from: Option<u64>, count: u64, was_behind: bool) -> Option<u64> {
        match self {
            Self::Forward(0) | Self::Backward(0) | Self::Relative(0) => from,
            Self::Next | Self::Relative(1..) | Self::Forward(_) | Self::ForwardAll
                if was_behind =>
            {
                from
            }
            Self::Next => from.filter(|_| count == 1)?.checked_add(1),
            Self::Relative(rows @ 1..) => from.filter(|_| count == 1)?.checked_add_signed(rows),
            Self::Forward(_) | Self::ForwardAll => {
                let behind = self.is_behind(count, false);
                from?.checked_add(count)?.checked_add(u64::from(behind))
            }
            Self::First => Some(1),
            Self::Absolute(0) | Self::BackwardAll => Some(0),
            Self::Absolute(row @ 1..) => u64::try_from(row).ok().filter(|_| count == 1),
            Self::Absolute(_) | Self::Last => (count == 0).then_some(0),
            Self::Prior | Self::Relative(_) if count == 0 => Some(0),
            Self::Prior => from?.checked_sub(1),
            Self::Relative(rows) => from?.checked_sub(rows.unsigned_abs()),
            Self::Backward(rows) if count < u64::from(rows) => Some(0),
            Self::Backward(rows) => from?.checked_sub(u64::from(rows)),
        }
    }
}

/// The error for a count that FETCH cannot express.
#[cold]
fn too_far(what: FetchDirection) -> Error {
    Error::new(
        ErrorKind::Request,
        format!("FETCH and MOVE count to {MOST} at most, and this is {what}"),
    )
    .with_hint("go there in several steps, or take ForwardAll, BackwardAll or Last")
}

impl fmt::Display for FetchDirection {
    /// As SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("next"),
            Self::Prior => f.write_str("prior"),
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Absolute(row) => write!(f, "absolute {row}"),
            Self::Relative(rows) => write!(f, "relative {rows}"),
            Self::Forward(rows) => write!(f, "forward {rows}"),
            Self::ForwardAll => f.write_str("forward all"),
            Self::Backward(rows) => write!(f, "backward {rows}"),
            Self::BackwardAll => f.write_str("backward all"),
        }
    }
}
