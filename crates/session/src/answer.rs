//! What the server answered to one request.

use std::fmt;
use std::sync::Arc;

use postgres_types::Type;

use crate::limits;
use crate::row::Column;
use crate::rows::Rows;
use crate::transaction_status::TransactionStatus;

/// The end of one statement in the server's words, such as `INSERT 0 3`.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    /// Keeps the text; what is too long or not ASCII, which PostgreSQL never sends, is cut there.
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut this = Self::default();
        for (place, &byte) in this.text.iter_mut().zip(text).take_while(|(_, b)| b.is_ascii()) {
            *place = byte;
            this.len += 1;
        }
        this
    }

    /// The tag as it came; empty for an empty statement.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.len)).unwrap_or(&[]);
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// How many rows the statement returned or changed, if its tag says so.
    pub fn rows(&self) -> Option<u64> {
        self.as_str().rsplit(' ').next()?.parse().ok()
    }
}

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

    /// How many rows it returned or changed; 0 when its tag does not say.
    pub fn row_count(&self) -> u64 {
        self.tag.rows().unwrap_or(0)
    }
}

/// What the server said to one request.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The result of the statement; of the last one, if the request held several.
    pub(crate) result: ResultSet,
    /// Those before it.
    pub(crate) earlier: Vec<ResultSet>,
    /// How many results there were: 0 for a mere preparation.
    pub(crate) results: usize,
    /// The types of the parameters of a statement that was prepared.
    pub(crate) parameters: Option<Vec<Type>>,
    /// The columns of the rows.
    pub(crate) columns: Option<Arc<[Column]>>,
    /// The transaction status afterwards.
    pub(crate) status: TransactionStatus,
}

impl Answer {
    pub(crate) fn push(&mut self, result: ResultSet) {
        if self.results > 0 {
            self.earlier.push(std::mem::take(&mut self.result));
        }
        self.result = result;
        self.results += 1;
    }

    /// The result of the only statement, or of the last one.
    pub fn into_result(self) -> ResultSet {
        self.result
    }

    /// The results of all statements, in order.
    pub fn into_results(self) -> Vec<ResultSet> {
        let mut all = self.earlier;
        if self.results > 0 {
            all.push(self.result);
        }
        all
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

    #[test]
    fn tags_tell_their_rows() {
        for (text, rows) in [
            ("INSERT 0 5", Some(5)),
            ("SELECT 18446744073709551615", Some(u64::MAX)),
            ("CREATE TABLE", None),
            ("", None),
            ("UPDATE -1", None),
        ] {
            let tag = CommandTag::new(text.as_bytes());
            assert_eq!((tag.as_str(), tag.rows()), (text, rows));
        }
        assert_eq!(CommandTag::new(&[b'x'; 1000]).as_str().len(), 63);
        assert_eq!(CommandTag::new("SÉLECT".as_bytes()).as_str(), "S");
    }
}
