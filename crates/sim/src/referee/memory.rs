//! What the library keeps: rows that were read and not handed out, and growth by calls that are
//! over.

use super::Referee;
use super::book::Stage;
use crate::callers::Kind;
use crate::finding::{Finding, Rule, found};
use crate::net::Net;

/// Bytes that may wait for a reader, unless its stream sets another limit.
const DEFAULT_LIMIT: u64 = 256 * 1024;
/// Bytes beside the limit: two reads of the line.
const READS: u64 = 2 * 64 * 1024;
/// Bytes by which the library may grow with each call: less than anything it could keep of one.
const GROWTH: i64 = 6;
/// Bytes by which it may grow all in all: a buffer that was not needed before.
const GROWTH_AT_ALL: i64 = 8 * 1024;

impl Referee {
    pub(super) fn handed(&mut self, op: u32, bytes: u64) {
        if let Some(entry) = self.book.get_mut(op) {
            entry.handed += bytes;
        }
    }

    /// Whether a stream keeps more rows than it may.
    pub(crate) fn check_memory(&mut self, net: &Net) -> Result<(), Finding> {
        for entry in self.book.entries() {
            let gives = matches!(entry.op.kind, Kind::Stream | Kind::CopyOut | Kind::CopyOutRows);
            if !gives || entry.stage != Stage::Begun {
                continue;
            }
            // What comes after a cancel is read and discarded.
            let ends = entry.op.limit.map_or(u64::MAX, |ms| entry.begun_at + u64::from(ms));
            if self.book.is_cancelled(entry.op.id) || ends <= self.now {
                continue;
            }
            let limit = entry.op.bytes.map_or(DEFAULT_LIMIT, u64::from);
            let row =
                64 + u64::from(entry.op.work.width) * if entry.op.work.swells { 20 } else { 1 };
            let taken = net.taken_for(entry.op.id);
            let most = entry.handed + limit + READS + 2 * row;
            if taken > most {
                return found(
                    Rule::Memory,
                    format!(
                        "{} has taken {taken} bytes and handed out {}; {most} are the most",
                        entry.op, entry.handed
                    ),
                );
            }
        }
        Ok(())
    }

    pub(super) fn grown(&mut self, bytes: i64, times: u32) -> Result<(), Finding> {
        self.coverage.count("told: growth");
        if bytes > GROWTH_AT_ALL + GROWTH * i64::from(times) {
            return found(Rule::Memory, format!("{times} calls left {bytes} bytes behind"));
        }
        Ok(())
    }
}
