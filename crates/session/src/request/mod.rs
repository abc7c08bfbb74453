//! Everything one can ask of a server, as plain data.

pub(crate) mod encoded;

use std::fmt;
use std::sync::Arc;

use postgres_types::{ToSql, Type};

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::protocol::encode::{
    ALL_BINARY, ALL_TEXT, Binding, Draft, bind_head, bind_head_of_portal,
};
use crate::protocol::expect::{Step, Steps};
use crate::result::row::Column;
use crate::statement::Statement;
use crate::statement::text::{Hints, is_copy};
use crate::value::holds_moments;

/// Parameter values: what `postgres-types` can write.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// One question, which gets one answer. Each ends in its own `Sync` (or is a simple query), so a
/// failure ends with it.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// One or several statements without parameters; values come as text. In one implicit
    /// transaction unless the text says otherwise.
    Script {
        /// The statements, separated by semicolons.
        sql: &'a str,
    },
    /// Asks the server to parse a statement and to describe it.
    Prepare {
        /// The name it gets; empty for the unnamed statement.
        name: &'a str,
        /// Its text.
        sql: &'a str,
    },
    /// Runs a statement that the server knows: one round trip, no description.
    Run {
        /// The statement.
        statement: &'a Statement,
        /// Its parameters.
        parameters: Parameters<'a>,
        /// The formats of its columns: those of the statement, or text.
        results: Results,
    },
    /// Parses, describes and runs in one round trip: for parameters whose types are known.
    PrepareAndRun {
        /// The name it gets; empty for the unnamed statement.
        name: &'a str,
        /// Its text.
        sql: &'a str,
        /// The types of its parameters.
        types: &'a [Type],
        /// Its parameters.
        parameters: Parameters<'a>,
        /// The formats of its columns, as `Bind` ends with them.
        results: ResultFormats<'a>,
    },
    /// Runs a statement up to so many rows; the portal keeps the others until the transaction ends.
    Open {
        /// The statement.
        statement: &'a Statement,
        /// Its parameters.
        parameters: Parameters<'a>,
        /// The portal's name.
        portal: &'a str,
        /// Rows at most; 0 for all.
        rows: u32,
    },
    /// The next rows of a portal.
    Fetch {
        /// The portal's name.
        portal: &'a str,
        /// The columns of its rows.
        columns: Option<&'a Arc<[Column]>>,
        /// Rows at most; 0 for all.
        rows: u32,
    },
    /// Closes a portal. One that does not exist is no error.
    ClosePortal {
        /// Its name.
        portal: &'a str,
    },
    /// Runs a statement once with each set of parameters, in one implicit transaction: the first
    /// that fails ends them all. No more sets are taken than fill [`limits::FLIGHT_BYTES`];
    /// [`Answer::items`](crate::Answer::items) tells how many.
    Many {
        /// The statement.
        statement: &'a Statement,
        /// The sets of parameters.
        sets: &'a dyn ParameterSets,
    },
    /// A COPY FROM STDIN; its data goes by [`Session::copy_data`](crate::Session::copy_data).
    CopyIn {
        /// The statement.
        sql: &'a str,
    },
    /// A COPY TO STDOUT; its data comes as [`Event::CopyData`](crate::Event::CopyData).
    CopyOut {
        /// The statement.
        sql: &'a str,
    },
}

/// The formats in which a statement that the server knows is to return its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Results {
    /// Each as its type is best had: binary, or text if it has no binary form.
    #[default]
    Best,
    /// All of them in text.
    Text,
}

/// The formats in which a statement that the server does not know is to return its columns.
#[derive(Debug, Clone, Copy, Default)]
pub enum ResultFormats<'a> {
    /// All of them in binary. The server refuses if a type has no binary form.
    #[default]
    Binary,
    /// All of them in text.
    Text,
    /// Those of a statement with the same text, described before.
    Statement(&'a Statement),
}

impl ResultFormats<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Binary => ALL_BINARY,
            Self::Text => ALL_TEXT,
            Self::Statement(statement) => statement.result_formats(),
        }
    }
}

/// Several sets of parameters for one statement.
pub trait ParameterSets {
    /// How many sets there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with the values of this set.
    ///
    /// # Errors
    ///
    /// What `f` returned.
    fn with(&self, index: usize, f: &mut dyn FnMut(Parameters<'_>) -> Result<()>) -> Result<()>;
}

impl fmt::Debug for dyn ParameterSets + '_ {
    /// How many; values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParameterSets").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The steps of a statement that the server keeps.
const RUN: &[Step] = &[Step::Bind, Step::Execute];

impl Request<'_> {
    /// Writes the request's messages, but for its `Sync`; gives back the steps in which it will be
    /// answered.
    pub(crate) fn write(&self, draft: &mut Draft<'_>) -> Result<Steps> {
        let mut hints = Hints::default();
        let steps: &[Step] = match *self {
            Request::Script { sql } => {
                hints = Hints::of_script(sql);
                draft.query(sql)?;
                &[Step::SimpleQuery]
            }
            Request::Prepare { name, sql } => {
                draft.parse(name, sql, &[])?;
                draft.describe(b'S', name)?;
                &[Step::Parse, Step::Statement]
            }
            Request::Run { statement, parameters, results } => {
                write_run(draft, statement, parameters, results)?;
                RUN
            }
            Request::PrepareAndRun { name, sql, types, parameters, results } => {
                hints = Hints::of_statement(sql);
                draft.parse_for(name, sql, types, parameters)?;
                let head = bind_head(name, types.len())?;
                let text_only = match results {
                    ResultFormats::Statement(statement) => statement.binding().text_only,
                    _ => &[],
                };
                let results = results.as_bytes();
                let has_moments = types.iter().any(holds_moments);
                let binding = Binding { head: &head, types, text_only, has_moments, results };
                draft.bind(&binding, parameters)?;
                draft.describe(b'P', "")?;
                draft.execute();
                &[Step::Parse, Step::Bind, Step::Portal, Step::Execute]
            }
            Request::Open { statement, parameters, portal, rows } => {
                let parses = parse_if_unnamed(draft, statement)?;
                let count = statement.parameters().len();
                let head = bind_head_of_portal(portal, statement.name(), count)?;
                draft.bind(&Binding { head: &head, ..statement.binding() }, parameters)?;
                let steps: &[Step] = if parses {
                    hints = Hints::of_statement(statement.sql());
                    draft.describe(b'P', portal)?;
                    &[Step::Parse, Step::Bind, Step::Portal, Step::ExecuteLimited]
                } else {
                    &[Step::Bind, Step::ExecuteLimited]
                };
                draft.execute_portal(portal, rows)?;
                steps
            }
            Request::Fetch { portal, rows, .. } => {
                draft.execute_portal(portal, rows)?;
                &[Step::ExecuteLimited]
            }
            Request::ClosePortal { portal } => {
                draft.close(b'P', portal)?;
                &[Step::Close]
            }
            Request::Many { statement, sets } => return write_many(draft, statement, sets),
            Request::CopyIn { sql } => {
                hints = Hints::of_copy(sql);
                draft.query(sql)?;
                &[Step::CopyIn]
            }
            Request::CopyOut { sql } => {
                hints = Hints::of_copy(sql);
                draft.query(sql)?;
                &[Step::CopyOut]
            }
        };
        Ok(Steps::new(steps).with_hints(hints.with_values(draft.written())))
    }

    /// Whether it goes as a `Query`, which needs no `Sync` and takes nothing along.
    #[inline]
    pub(crate) fn is_simple(&self) -> bool {
        matches!(self, Self::Script { .. } | Self::CopyIn { .. } | Self::CopyOut { .. })
    }

    /// The columns of its rows, where they are known beforehand.
    #[inline]
    pub(crate) fn columns(&self) -> Option<Arc<[Column]>> {
        match self {
            Self::Run { statement, results: Results::Text, .. } => statement.text_columns(),
            // Where the server describes them all the same, what we know of their types is more.
            Self::PrepareAndRun { results: ResultFormats::Statement(statement), .. }
            | Self::Run { statement, .. }
            | Self::Open { statement, .. }
            | Self::Many { statement, .. } => statement.shared_columns(),
            Self::Fetch { columns, .. } => columns.cloned(),
            _ => None,
        }
    }
}

/// `Bind` and `Execute` of a statement that the server keeps.
#[allow(clippy::inline_always)]
#[inline(always)]
fn write_run(
    draft: &mut Draft<'_>,
    statement: &Statement,
    parameters: Parameters<'_>,
    results: Results,
) -> Result<()> {
    let mut binding = statement.binding();
    if results == Results::Text {
        binding.results = ALL_TEXT;
    }
    draft.bind_here(&binding, parameters)?;
    draft.execute();
    Ok(())
}

/// A statement that the server does not keep is parsed anew, with the types that we know. Its
/// portal is described as well: it may have other columns than the last time.
fn parse_if_unnamed(draft: &mut Draft<'_>, statement: &Statement) -> Result<bool> {
    let unnamed = statement.name().is_empty();
    if unnamed {
        draft.parse("", statement.sql(), statement.parameters())?;
    }
    Ok(unnamed)
}

/// As many sets as fit into one flight, one at least.
fn write_many(
    draft: &mut Draft<'_>,
    statement: &Statement,
    sets: &dyn ParameterSets,
) -> Result<Steps> {
    if sets.is_empty() {
        return Err(Error::new(ErrorKind::Request, "no set of parameters was given"));
    }
    if is_copy(statement.sql()) {
        let what = "a COPY cannot be run with many sets of parameters";
        return Err(Error::new(ErrorKind::Request, what).with_hint("take `copy_in_rows`"));
    }
    let parses = parse_if_unnamed(draft, statement)?;
    let mut items: u32 = 0;
    for index in 0..sets.len() {
        if index > 0 && (draft.len() >= limits::FLIGHT_BYTES || items == u32::MAX) {
            break;
        }
        items += 1;
        let written =
            sets.with(index, &mut |parameters| draft.bind(&statement.binding(), parameters));
        written.map_err(|error| error.with_item(index))?;
        if parses && index == 0 {
            draft.describe(b'P', "")?;
        }
        draft.execute();
        // A procedure may commit what the first set does before the others have come.
        draft.acts();
    }
    Ok(if parses {
        let first = &[Step::Parse, Step::Bind, Step::Portal, Step::Execute];
        let hints = Hints::of_values(statement.sql()).with_values(draft.written());
        Steps::new(first).with_hints(hints).and_items(items - 1)
    } else {
        Steps::new(&[]).and_items(items)
    })
}

/// Numbers a request of a session; answers come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The ticket of this number.
    pub fn numbered(number: u64) -> Self {
        Self(number)
    }

    /// How many requests of the session came before this one.
    pub fn number(self) -> u64 {
        self.0
    }
}
