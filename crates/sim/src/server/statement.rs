//! A statement of SQL, as far as the model server knows the language.

use super::work::Work;

/// What a text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    Work(Work),
    /// `select pg_notify($1, $2)`.
    Notify,
    /// `select "a", "b" from "t"`: so many columns.
    Columns(usize),
    Begin,
    Commit {
        chains: bool,
    },
    Rollback {
        chains: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    Listen(String),
    /// `None` is all of them.
    Unlisten(Option<String>),
    Declare {
        name: String,
        scrolls: bool,
        holds: bool,
        work: Work,
    },
    Fetch {
        name: String,
        how: Fetch,
        /// MOVE: the rows are passed and not returned.
        moves: bool,
    },
    Close(String),
    CopyIn {
        table: String,
        binary: bool,
    },
    CopyOut {
        work: Work,
        binary: bool,
    },
    DiscardAll,
    DeallocateAll,
    /// A table gets another shape.
    Alter(u32),
    Unknown(String),
}

/// Where a cursor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    Forward(u64),
    ForwardAll,
    Absolute(i64),
    Relative(i64),
    BackwardAll,
}

impl Statement {
    /// Reads the statements of a script.
    pub(crate) fn script(sql: &str) -> Vec<Self> {
        sql.split(';').map(str::trim).filter(|sql| !sql.is_empty()).map(Self::parse).collect()
    }

    /// Reads one statement.
    pub(crate) fn parse(sql: &str) -> Self {
        Self::read(sql).unwrap_or_else(|| Self::Unknown(sql.to_owned()))
    }

    fn read(sql: &str) -> Option<Self> {
        let mut words = sql.split_whitespace();
        let verb = words.next()?.to_ascii_lowercase();
        let rest: Vec<&str> = words.collect();
        let first = rest.first().map(|word| word.to_ascii_lowercase());
        let last = || rest.last().copied().map(name);
        Some(match verb.as_str() {
            "select" if sql.starts_with("select pg_notify(") => Self::Notify,
            "select" if first.as_deref().is_some_and(|word| word.starts_with('"')) => {
                Self::Columns(rest.iter().take_while(|word| **word != "from").count())
            }
            "select" | "insert" => Self::Work(Work::parse(verb == "insert", rest.into_iter())?),
            "begin" | "start" => Self::Begin,
            "commit" | "end" => Self::Commit { chains: is_chained(&rest) },
            "rollback" | "abort" if first.as_deref() == Some("to") => Self::RollbackTo(last()?),
            "rollback" | "abort" => Self::Rollback { chains: is_chained(&rest) },
            "savepoint" => Self::Savepoint(last()?),
            "release" => Self::Release(last()?),
            "listen" => Self::Listen(last()?),
            "unlisten" => Self::Unlisten(last().filter(|channel| channel != "*")),
            "declare" => declare(sql)?,
            "fetch" | "move" => fetch(&rest, verb == "move")?,
            "close" => Self::Close(last()?),
            "copy" => copy(sql)?,
            "discard" => Self::DiscardAll,
            "deallocate" => Self::DeallocateAll,
            "alter" => Self::Alter(rest.last()?.parse().ok()?),
            _ => return None,
        })
    }

    /// The tag of the statement's CommandComplete, where it is always the same.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            Self::Begin => "BEGIN",
            Self::Commit { .. } => "COMMIT",
            Self::Rollback { .. } | Self::RollbackTo(_) => "ROLLBACK",
            Self::Savepoint(_) => "SAVEPOINT",
            Self::Release(_) => "RELEASE",
            Self::Listen(_) => "LISTEN",
            Self::Unlisten(_) => "UNLISTEN",
            Self::Declare { .. } => "DECLARE CURSOR",
            Self::Close(_) => "CLOSE CURSOR",
            Self::DiscardAll => "DISCARD ALL",
            Self::DeallocateAll => "DEALLOCATE ALL",
            Self::Alter(_) => "ALTER TABLE",
            Self::Notify | Self::Columns(_) => "SELECT 1",
            _ => "",
        }
    }

    /// Whether a transaction that has failed takes it.
    pub(crate) fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit { .. } | Self::Rollback { .. } | Self::RollbackTo(_))
    }

    /// How many parameters it takes.
    pub(crate) fn parameters(&self) -> usize {
        match self {
            Self::Work(work) | Self::Declare { work, .. } => work.parameters(),
            Self::Notify => 2,
            _ => 0,
        }
    }
}

fn is_chained(words: &[&str]) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case("chain"))
}

/// A name, perhaps quoted.
fn name(word: &str) -> String {
    word.trim_matches('"').to_owned()
}

/// `declare "name" [no scroll | scroll] cursor with|without hold for …`.
fn declare(sql: &str) -> Option<Statement> {
    let (head, query) = sql.split_once(" hold for ")?;
    let head: Vec<&str> = head.split_whitespace().collect();
    let Statement::Work(work) = Statement::parse(query) else {
        return None;
    };
    Some(Statement::Declare {
        name: name(head.get(1)?),
        scrolls: head.contains(&"scroll") && !head.contains(&"no"),
        holds: head.last() == Some(&"with"),
        work,
    })
}

/// `fetch forward 3 from "name"` and its kin.
fn fetch(words: &[&str], moves: bool) -> Option<Statement> {
    let (name_word, words) = words.split_last()?;
    let (_from, words) = words.split_last()?;
    let number = |at: usize| words.get(at)?.parse::<i64>().ok();
    let how = match *words.first()? {
        "next" => Fetch::Forward(1),
        "prior" => Fetch::Relative(-1),
        "first" => Fetch::Absolute(1),
        "last" => Fetch::Absolute(-1),
        "absolute" => Fetch::Absolute(number(1)?),
        "relative" => Fetch::Relative(number(1)?),
        "forward" if words.get(1) == Some(&"all") => Fetch::ForwardAll,
        "forward" => Fetch::Forward(u64::try_from(number(1)?).ok()?),
        "backward" if words.get(1) == Some(&"all") => Fetch::BackwardAll,
        _ => return None,
    };
    Some(Statement::Fetch { name: name(name_word), how, moves })
}

/// `copy "t" ("a", "b") from stdin (format binary)`, or `copy (select …) to stdout`.
fn copy(sql: &str) -> Option<Statement> {
    let binary = sql.ends_with("(format binary)");
    if let Some(query) = sql.strip_prefix("copy (") {
        let (query, _) = query.split_once(") to stdout")?;
        return match Statement::parse(query) {
            Statement::Work(work) => Some(Statement::CopyOut { work, binary }),
            _ => None,
        };
    }
    let table = sql.split_whitespace().nth(1).map(name)?;
    sql.contains(" from stdin").then_some(Statement::CopyIn { table, binary })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_client_are_known() {
        for sql in [
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
            "COMMIT",
            "ROLLBACK TO SAVEPOINT txpostgres_1; RELEASE SAVEPOINT txpostgres_1",
            "UNLISTEN *; LISTEN \"c1\"",
            "declare \"n\" no scroll cursor without hold for select $1 rows 3",
            "fetch forward 100 from \"n\"; move absolute -3 from \"n\"; close \"n\"",
            "copy \"t5\" (\"a\", \"b\") from stdin (format binary); copy t5 from stdin",
            "copy (select t5 rows 3) to stdout (format binary)",
            "select \"a\", \"b\" from \"t5\"; select pg_notify($1, $2); discard all; alter table 3",
        ] {
            for statement in Statement::script(sql) {
                assert!(!matches!(statement, Statement::Unknown(_)), "{statement:?}");
            }
        }
    }

    #[test]
    fn a_cursor_is_read() {
        let sql = "declare \"n\" scroll cursor with hold for select t1 rows 3";
        let Statement::Declare { name, scrolls, holds, work } = Statement::parse(sql) else {
            panic!("{sql}");
        };
        assert_eq!((name.as_str(), scrolls, holds, work.rows), ("n", true, true, 3));
        assert_eq!(Statement::parse("select \"a\", \"b\" from \"t\""), Statement::Columns(2));
    }
}
