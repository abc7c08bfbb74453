//! Everything one can ask of a server, as plain data.

use postgres_types::{ToSql, Type};

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

/// Numbers a request of a session; answers come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// How many requests of the session came before this one.
    pub fn number(self) -> u64 {
        self.0
    }
}
