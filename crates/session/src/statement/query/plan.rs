//! What a query asks next: decided with the session at hand, and written without it.
//!
//! ```text
//!   Query::plan(session) ─▶ Plan ─encode(values, buffer)─▶ EncodedQuery ─▶ Query::submit(session)
//!        ▲            a user's ToSql runs here; no session is borrowed                  │
//!        └──────────────── the statement was evicted meanwhile: plan again ─────────────┘
//! ```

use std::sync::Arc;

use postgres_types::Type;

use super::Execute;
use crate::error::{Error, Result};
use crate::protocol::encode::parameter_count;
use crate::request::encoded::EncodeBuffer;
use crate::request::{Request, ResultFormats, Results};
use crate::statement::Statement;
use crate::statement::catalog::LOOKUP;

/// What a query asks next. It holds nothing of the session; the session may have changed when it is
/// submitted.
#[derive(Debug)]
#[must_use = "nothing is asked before it is submitted"]
pub struct Plan {
    pub(super) ask: Ask,
    pub(super) results: Results,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// A statement that is known is run.
    Run(Arc<Statement>),
    /// A statement that is known is run, and parsed anew for it. Where its columns must be known
    /// beforehand it is described.
    RunAnew(Arc<Statement>),
    /// A statement that is not known: it is described under this name, or run at once if it has no
    /// parameters and that `may_run`.
    New { name: String, may_run: bool },
    /// These types are looked up.
    LookUp(Vec<u32>),
}

/// What a query asks next, as bytes; or why it cannot be encoded.
#[derive(Debug)]
#[must_use = "nothing is asked before it is submitted"]
pub struct EncodedQuery<'b> {
    pub(super) ask: Ask,
    pub(super) columns: Columns,
    /// A BEGIN was sent along.
    pub(super) begins: bool,
    pub(super) buffer: &'b mut EncodeBuffer,
    pub(super) error: Option<Error>,
}

/// What is known beforehand of the columns that the answer will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// They are those of the statement.
    Known,
    /// They are those of the statement, all in text.
    InText,
    /// The server will describe them, and runs the statement in the same flight.
    Coming,
    /// The server will describe them, and runs nothing yet.
    Asked,
}

impl Plan {
    /// Writes it into `buffer`, in place of what that held. `begin` opens a transaction in the same
    /// flight; when it fails nothing else is run. An error is kept, and told when the query is
    /// submitted.
    // On the way of every query; as a call it would hand over its result in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn encode<'b>(
        self,
        sql: &str,
        execute: Execute<'_>,
        begin: Option<&str>,
        buffer: &'b mut EncodeBuffer,
    ) -> EncodedQuery<'b> {
        let Self { ask, results } = self;
        let written = match (&ask, execute) {
            (Ask::Run(statement), Execute::Run(parameters)) if !statement.name().is_empty() => {
                let in_text = results == Results::Text;
                let columns = if in_text { Columns::InText } else { Columns::Known };
                buffer.write_run(begin, statement, parameters, results).map(|()| columns)
            }
            (ask, execute) => write_step(buffer, ask, sql, execute, begin, results),
        };
        let (columns, error) = match written {
            Ok(columns) => (columns, None),
            Err(error) => (Columns::Known, Some(error)),
        };
        EncodedQuery { ask, columns, begins: begin.is_some(), buffer, error }
    }
}

/// Writes what is not simply a statement that the server keeps.
#[inline(never)]
fn write_step(
    buffer: &mut EncodeBuffer,
    ask: &Ask,
    sql: &str,
    execute: Execute<'_>,
    begin: Option<&str>,
    results: Results,
) -> Result<Columns> {
    let (request, columns) = match (ask, execute) {
        // The server keeps nothing of it: its types are what we know.
        (Ask::Run(statement) | Ask::RunAnew(statement), Execute::Run(parameters)) => {
            let (results, columns) = match results {
                Results::Best => (ResultFormats::Statement(statement), Columns::Known),
                Results::Text => (ResultFormats::Text, Columns::Coming),
            };
            let (sql, types) = (statement.sql(), statement.parameters());
            (Request::PrepareAndRun { name: "", sql, types, parameters, results }, columns)
        }
        (Ask::Run(statement), Execute::Open { portal, rows, parameters }) => {
            (Request::Open { statement, parameters, portal, rows }, Columns::Known)
        }
        (Ask::Run(statement), Execute::Many(sets)) => {
            (Request::Many { statement, sets }, Columns::Known)
        }
        (Ask::New { name, may_run: true }, Execute::Run(parameters @ [])) => {
            let results = match results {
                Results::Best => ResultFormats::Binary,
                Results::Text => ResultFormats::Text,
            };
            (Request::PrepareAndRun { name, sql, types: &[], parameters, results }, Columns::Coming)
        }
        (Ask::RunAnew(_), Execute::Open { .. } | Execute::Many(_)) => {
            (Request::Prepare { name: "", sql }, Columns::Asked)
        }
        (Ask::New { name, .. }, execute) => {
            if let Execute::Run(parameters) | Execute::Open { parameters, .. } = execute {
                parameter_count(parameters.len())?;
            }
            (Request::Prepare { name, sql }, Columns::Asked)
        }
        (Ask::LookUp(asked), _) => {
            let request = Request::PrepareAndRun {
                name: "",
                sql: LOOKUP,
                types: &[Type::OID_ARRAY],
                parameters: &[asked],
                results: ResultFormats::Binary,
            };
            return buffer.write(begin, request).map(|()| Columns::Coming);
        }
    };
    buffer.write(begin, request).map(|()| columns)
}
