//! What the server answered to one request.

use std::fmt;
use std::sync::Arc;

use postgres_types::Type;

use crate::limits;
use crate::result::row::Column;
use crate::result::rows::Rows;
use crate::transaction_effect::TransactionEffect;
use crate::transaction_status::TransactionStatus;

/// The end of one statement in the server's words, such as `INSERT 0 3`.
#[derive(Clone, Copy)]
pub struct CommandTag {
    text: [u8; limits::COMMAND_TAG_BYTES],
    len: u8,
}

impl Default for CommandTag {
    fn default() -> Self {
        Self { text: [0; limits::COMMAND_TAG_BYTES], len: 0 }
    }
}

impl CommandTag {
    /// Keeps the text; what is too long, which PostgreSQL never sends, is cut.
    #[inline]
    pub(crate) fn set(&mut self, text: &[u8]) {
        let kept = text.get(..limits::COMMAND_TAG_BYTES).unwrap_or(text);
        if let Some(place) = self.text.get_mut(..kept.len()) {
            place.copy_from_slice(kept);
        }
        // At most `COMMAND_TAG_BYTES`.
        self.len = u8::try_from(kept.len()).unwrap_or(0);
    }

    /// The tag as it came; empty for an empty statement.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.len)).unwrap_or(&[]);
        // Tags are ASCII; of anything else, as much as reads as text.
        match text.utf8_chunks().next() {
            Some(chunk) => chunk.valid(),
            None => "",
        }
    }

    /// How many rows the statement returned or changed, if its tag says so.
    pub fn rows(&self) -> Option<u64> {
        self.as_str().rsplit(' ').next()?.parse().ok()
    }
}

impl PartialEq for CommandTag {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for CommandTag {}

impl fmt::Display for CommandTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CommandTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The rows of one statement and how it ended.
#[derive(Debug, Clone, Default)]
pub struct ResultSet {
    pub(crate) rows: Rows,
    pub(crate) tag: CommandTag,
    /// How many rows were taken out before.
    taken: u64,
}

impl ResultSet {
    /// The rows; none for a statement that returns none.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The rows.
    pub fn into_rows(self) -> Rows {
        self.rows
    }

    /// How the statement ended, in the server's words.
    pub fn tag(&self) -> &CommandTag {
        &self.tag
    }

    /// How many rows it returned or changed: what its tag says; of a statement whose tag has no
    /// number, such as SHOW, EXPLAIN or CALL, how many came.
    pub fn row_count(&self) -> u64 {
        self.tag.rows().unwrap_or_else(|| self.came())
    }

    /// How many rows came.
    fn came(&self) -> u64 {
        self.taken + self.rows.len() as u64
    }

    /// Takes out rows, which count all the same.
    fn take(&mut self, take: impl FnOnce(&mut Rows) -> Option<Rows>) -> Option<Rows> {
        let taken = take(&mut self.rows)?;
        self.taken += taken.len() as u64;
        Some(taken)
    }
}

/// What the server said to one request.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The result of the statement that is being answered, or was answered last.
    result: ResultSet,
    /// Those before it.
    earlier: Vec<ResultSet>,
    /// How many results are complete.
    results: usize,
    /// Those among them that rules have added to a statement.
    by_rules: usize,
    /// Of a request of many items: how many are done, the rows that they returned or changed, and
    /// those of them that came.
    items: usize,
    item_rows: u64,
    items_came: u64,
    /// There are more rows to be had from the portal.
    pub(crate) suspended: bool,
    /// The types of the parameters of a statement that was prepared.
    pub(crate) parameters: Option<Vec<Type>>,
    /// The transaction status afterwards.
    pub(crate) status: TransactionStatus,
    /// What its statements did to the transaction.
    pub(crate) effect: TransactionEffect,
}

impl Answer {
    /// Makes it as new, for another request.
    pub(crate) fn reset(&mut self) {
        let is_plain = self.earlier.is_empty() && self.parameters.is_none() && self.items == 0;
        if is_plain && self.result.rows.is_empty() {
            self.result.tag.set(b"");
            self.result.taken = 0;
            self.results = 0;
            self.suspended = false;
        } else {
            *self = Self::default();
        }
    }

    /// Lets go of what came. What became of the transaction remains true.
    pub(crate) fn let_go(&mut self) {
        *self = Self { status: self.status, effect: self.effect, ..Self::default() };
    }

    /// The rows of the statement that is being answered.
    #[inline]
    pub(crate) fn rows(&mut self) -> &mut Rows {
        if self.items > 0 { &mut self.result.rows } else { &mut self.current().rows }
    }

    /// Bytes of memory that all of its rows take, roughly.
    pub(crate) fn size(&self) -> usize {
        let results = self.earlier.iter().chain([&self.result]);
        results.map(|result| result.rows.size()).fold(0, usize::saturating_add)
    }

    /// What has come of the rows of the only statement, if there are so many bytes.
    pub(crate) fn take_piece(&mut self, least: u32) -> Option<Rows> {
        if least > 0 && self.result.rows.size() < least as usize {
            return None;
        }
        self.result.take(Rows::take_piece)
    }

    /// The statement that is being answered is complete.
    #[inline]
    pub(crate) fn finish(&mut self, tag: &[u8]) {
        self.current().tag.set(tag);
        self.results += 1;
    }

    /// A query that a rule has added to the statement is complete. It has no tag of its own.
    #[cold]
    pub(crate) fn finish_by_rule(&mut self) {
        self.finish(b"");
        self.by_rules += 1;
    }

    /// One of many items is complete; the rows of all of them are in one result.
    #[inline(never)]
    pub(crate) fn finish_item(&mut self, tag: &[u8]) {
        self.result.tag.set(tag);
        self.results = 1;
        self.items += 1;
        let came = self.result.came();
        let of_item = came - std::mem::replace(&mut self.items_came, came);
        // A tag may lie.
        let rows = self.result.tag.rows().unwrap_or(of_item);
        self.item_rows = self.item_rows.saturating_add(rows);
    }

    /// How many results are complete.
    pub(crate) fn results(&self) -> usize {
        self.results
    }

    /// Whether there is text in any of them that depends on its encoding.
    pub(crate) fn has_doubtful_text(&self) -> bool {
        self.earlier.iter().chain([&self.result]).any(|result| result.rows.have_doubtful_text())
    }

    /// How many of these rules have added.
    pub(crate) fn results_by_rules(&self) -> usize {
        self.by_rules
    }

    /// How many items are done, of a request of many.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Whether the portal has more rows.
    pub fn is_suspended(&self) -> bool {
        self.suspended
    }

    #[inline]
    fn current(&mut self) -> &mut ResultSet {
        if self.results > self.earlier.len() {
            self.begin_another();
        }
        &mut self.result
    }

    /// The result that is complete makes room for the next one.
    #[cold]
    #[inline(never)]
    fn begin_another(&mut self) {
        self.earlier.push(std::mem::take(&mut self.result));
    }

    /// The columns of the rows, if the server described any.
    pub fn columns(&self) -> Option<Arc<[Column]>> {
        self.result.rows.shared_columns()
    }

    /// The same, to look at.
    pub(crate) fn described(&self) -> &[Column] {
        self.result.rows.columns()
    }

    /// The same rows with these columns.
    pub(crate) fn describe(&mut self, columns: Option<Arc<[Column]>>) {
        self.result.rows.describe(columns);
    }

    /// Takes out the rows of the only statement, or of the last one.
    pub fn take_rows(&mut self) -> Rows {
        // Moved once: they are large, and on the path of every query.
        self.result.taken += self.result.rows.len() as u64;
        std::mem::take(&mut self.result.rows)
    }

    /// How many rows the only statement, or the last one, returned or changed; of one whose tag has
    /// no number, how many came.
    pub fn row_count(&self) -> u64 {
        if self.items > 0 { self.item_rows } else { self.result.row_count() }
    }

    /// The result of the only statement, or of the last one.
    pub fn into_result(self) -> ResultSet {
        self.result
    }

    /// The results of all statements, in order.
    pub fn take_results(&mut self) -> Vec<ResultSet> {
        let mut all = std::mem::take(&mut self.earlier);
        if self.results > 0 {
            all.push(std::mem::take(&mut self.result));
        }
        (self.results, self.by_rules) = (0, 0);
        all
    }

    /// Whether one of its statements was a COMMIT.
    pub fn has_committed(&self) -> bool {
        self.effect.committed()
    }

    /// What its statements did to the transaction.
    pub fn transaction_effect(&self) -> TransactionEffect {
        self.effect
    }

    /// How the last statement ended.
    pub fn tag(&self) -> &CommandTag {
        &self.result.tag
    }

    /// The transaction status after it.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &[u8]) -> CommandTag {
        let mut tag = CommandTag::default();
        tag.set(b"left over from another answer");
        tag.set(text);
        tag
    }

    #[test]
    fn counts_that_lie_do_not_overflow() {
        let mut answer = Answer::default();
        for _ in 0..2 {
            answer.finish_item(b"INSERT 0 18446744073709551615");
        }
        assert_eq!((answer.items(), answer.row_count()), (2, u64::MAX));
    }

    #[test]
    fn tags_tell_their_rows() {
        for (text, rows) in [
            ("INSERT 0 5", Some(5)),
            ("SELECT 18446744073709551615", Some(u64::MAX)),
            ("CREATE TABLE", None),
            ("", None),
            ("UPDATE -1", None),
        ] {
            let tag = tag(text.as_bytes());
            assert_eq!((tag.as_str(), tag.rows()), (text, rows));
        }
        assert_eq!(tag(&[b'x'; 1000]).as_str().len(), 63);
        assert_eq!(tag(b"S\xffLECT").as_str(), "S");
    }
}
