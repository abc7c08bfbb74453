//! The statement that does something: what it takes, returns, changes, and how it fails. Its text
//! is SQL to the client and a list of words to the server; both sides are here, so that they agree.

use std::fmt;

use crate::token::Token;

/// What one statement does. `select` returns rows; `insert` leaves its token behind if its
/// transaction is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Work {
    pub(crate) inserts: bool,
    /// The name of this execution, of which there is one. `None`: it is the first parameter.
    pub(crate) token: Option<Token>,
    /// Whether the second parameter, an `int8`, is added to the numbers of the rows.
    pub(crate) shifts: bool,
    pub(crate) rows: u32,
    /// Bytes of the filler of a row.
    pub(crate) width: u32,
    /// The last quarter of the rows is 20 times as wide.
    pub(crate) swells: bool,
    /// Milliseconds before the first row.
    pub(crate) ms: u32,
    pub(crate) fail: Fail,
    /// Does not heed a cancel.
    pub(crate) stubborn: bool,
    /// Milliseconds that a COMMIT of its transaction takes.
    pub(crate) commit_ms: u32,
    /// Milliseconds that a ROLLBACK of its transaction takes.
    pub(crate) rollback_ms: u32,
    /// Sends a notice before its rows.
    pub(crate) notices: bool,
    /// The table it reads: its shape is part of the result's.
    pub(crate) table: Option<u32>,
}

/// Where a statement fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fail {
    #[default]
    Never,
    Parse,
    Bind,
    Run,
    /// After this many rows.
    Row(u32),
    /// When its transaction is to be committed, as a deferred constraint does.
    Commit,
}

impl Fail {
    /// The SQLSTATE it fails with.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Never => "",
            Self::Parse => "42601",
            Self::Bind => "22P02",
            Self::Run | Self::Row(_) => "22012",
            Self::Commit => "23503",
        }
    }
}

impl Work {
    /// Reads the words behind `select` or `insert`.
    pub(crate) fn parse<'a>(inserts: bool, words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut words = words;
        let token = words.next()?;
        let token = if token == "$1" { None } else { Some(token.parse().ok()?) };
        let mut work = Self { inserts, token, ..Self::default() };
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse().ok();
            match word {
                "rows" => work.rows = number()?,
                "width" => work.width = number()?,
                "ms" => work.ms = number()?,
                "commit_ms" => work.commit_ms = number()?,
                "rollback_ms" => work.rollback_ms = number()?,
                "table" => work.table = Some(number()?),
                "row" => work.fail = Fail::Row(number()?),
                "swells" => work.swells = true,
                "stubborn" => work.stubborn = true,
                "notices" => work.notices = true,
                "shift" => work.shifts = words.next()? == "$2",
                "fail" => {
                    work.fail = match words.next()? {
                        "parse" => Fail::Parse,
                        "bind" => Fail::Bind,
                        "run" => Fail::Run,
                        "commit" => Fail::Commit,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        Some(work)
    }

    /// How many parameters it takes.
    pub(crate) fn parameters(&self) -> usize {
        usize::from(self.token.is_none()) + usize::from(self.shifts)
    }

    /// The filler of this row: one letter, as often as the row is wide.
    pub(crate) fn filler(&self, row: u32) -> String {
        let width = if self.swells && row >= self.rows - self.rows / 4 {
            self.width.saturating_mul(20)
        } else {
            self.width
        };
        let letter = char::from(b'a' + u8::try_from(row % 26).unwrap_or(0));
        std::iter::repeat_n(letter, usize::try_from(width).unwrap_or(0)).collect()
    }

    /// The words with which a plan writes it, behind the verb and the token.
    pub(crate) fn options(&self) -> Options<'_> {
        Options(self)
    }
}

impl fmt::Display for Work {
    /// As SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.inserts { "insert" } else { "select" };
        match self.token {
            Some(token) => write!(f, "{verb} {token}{}", self.options()),
            None => write!(f, "{verb} $1{}", self.options()),
        }
    }
}

/// The options of a [`Work`], as words.
pub(crate) struct Options<'a>(&'a Work);

impl fmt::Display for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = self.0;
        for (name, value) in [
            ("rows", work.rows),
            ("width", work.width),
            ("ms", work.ms),
            ("commit_ms", work.commit_ms),
            ("rollback_ms", work.rollback_ms),
        ] {
            if value > 0 {
                write!(f, " {name} {value}")?;
            }
        }
        if let Some(table) = work.table {
            write!(f, " table {table}")?;
        }
        for (name, is_set) in [
            ("swells", work.swells),
            ("stubborn", work.stubborn),
            ("notices", work.notices),
            ("shift $2", work.shifts),
        ] {
            if is_set {
                write!(f, " {name}")?;
            }
        }
        match work.fail {
            Fail::Never => Ok(()),
            Fail::Parse => f.write_str(" fail parse"),
            Fail::Bind => f.write_str(" fail bind"),
            Fail::Run => f.write_str(" fail run"),
            Fail::Row(row) => write!(f, " row {row}"),
            Fail::Commit => f.write_str(" fail commit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "select t1",
            "insert $1 ms 20 commit_ms 3 rollback_ms 4 fail commit",
            "select $1 rows 3 width 10 table 2 swells stubborn notices shift $2 row 2",
        ] {
            let mut words = text.split(' ');
            let inserts = words.next() == Some("insert");
            assert_eq!(Work::parse(inserts, words).unwrap().to_string(), text);
        }
        assert_eq!(Work::parse(false, "t1 nonsense".split(' ')), None);
    }
}
