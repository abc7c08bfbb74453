//! Everything one can ask of a server, as plain data.

use std::sync::Arc;

use postgres_types::{ToSql, Type};

use crate::encode::{Draft, bind_head};
use crate::error::Result;
use crate::exchange::Step;
use crate::row::Column;
use crate::statement::Statement;

/// Parameter values: what `postgres-types` can write.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// One question, which gets one answer. Each ends in its own `Sync` (or is a simple query), so a failure ends with it.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// One or several statements without parameters; values come as text. In one implicit transaction unless the text
    /// says otherwise.
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
    },
}

impl Request<'_> {
    /// Writes the request's messages, but for its `Sync`; gives back the steps in which it will be answered.
    #[inline]
    pub(crate) fn write(&self, draft: &mut Draft<'_>) -> Result<&'static [Step]> {
        Ok(match *self {
            Request::Script { sql } => {
                draft.query(sql)?;
                &[Step::Script]
            }
            Request::Prepare { name, sql } => {
                draft.parse(name, sql, &[])?;
                draft.describe(b'S', name)?;
                &[Step::Parse, Step::Statement]
            }
            Request::Run { statement, parameters } => {
                draft.bind(statement.bind_head(), statement.parameters(), parameters)?;
                draft.execute();
                &[Step::Bind, Step::Execute]
            }
            Request::PrepareAndRun { name, sql, types, parameters } => {
                draft.parse(name, sql, types)?;
                draft.bind(&bind_head(name, types.len())?, types, parameters)?;
                draft.describe(b'P', "")?;
                draft.execute();
                &[Step::Parse, Step::Bind, Step::Portal, Step::Execute]
            }
        })
    }

    /// The columns of its rows, where they are known beforehand.
    #[inline]
    pub(crate) fn columns(&self) -> Option<Arc<[Column]>> {
        match self {
            Self::Run { statement, .. } => statement.shared_columns(),
            _ => None,
        }
    }
}

/// Numbers a request of a session; answers come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// How many requests of the session came before this one.
    pub fn number(self) -> u64 {
        self.0
    }
}
