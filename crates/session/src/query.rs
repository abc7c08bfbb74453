//! One statement from its text to its answer: known, prepared or sent as it is, and tried once more when the server's plan
//! for it has gone stale.
//!
//! ```text
//!            known to the cache ───────▶ Running ──────▶ done
//!   New ─┬── no parameters ────────────▶ Fresh ────────▶ remembered, done     one round trip
//!        └── parameters of unknown types ▶ Preparing ──▶ remembered, Running  two, the first time
//!
//!   Running, Fresh ── the plan is stale, outside a transaction, first time ──▶ New
//! ```
//!
//! A stale plan is found out while the server binds the parameters, before it runs anything, so nothing is run twice. The
//! same error later on is the statement's own: a procedure that has committed half of its work, say.

use std::sync::Arc;

use crate::answer::Answer;
use crate::encode::parameter_count;
use crate::error::{Error, ErrorKind, Result};
use crate::request::{ParameterSets, Parameters, Request, Ticket};
use crate::session::Session;
use crate::sqlstate::SqlState;
use crate::statement::Statement;
use crate::transaction_status::TransactionStatus;

/// One statement on its way to its answer.
#[derive(Debug, Default)]
pub struct Query {
    stage: Stage,
    retried: bool,
    /// Nothing is run: the columns are what is asked for.
    describes: bool,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing is asked yet, or all over again.
    #[default]
    New,
    /// The server is to describe it under this name.
    Preparing { name: String },
    /// It is described and runs next.
    Described { statement: Arc<Statement> },
    /// It was sent without being described first, under this name.
    Fresh { name: String },
    /// It runs.
    Running,
}

/// What is to be done with a statement.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// It is run with these parameters.
    Run(Parameters<'a>),
    /// It is run into a portal, of which the first rows come.
    Open {
        /// The portal's name.
        portal: &'a str,
        /// Rows at most; 0 for all.
        rows: u32,
        /// The statement's parameters.
        parameters: Parameters<'a>,
    },
    /// It is run once with each set of parameters, until one fails.
    Many(&'a dyn ParameterSets),
}

/// What to do after an answer.
#[derive(Debug)]
pub enum Turn {
    /// Submit again: the answer was only a step.
    Again,
    /// This is the answer.
    Done(Result<Box<Answer>>),
}

impl Query {
    /// A statement that nothing has been asked about.
    pub fn new() -> Self {
        Self::default()
    }

    /// A statement that is described and not run: its answer has columns and no rows.
    pub fn describing() -> Self {
        Self { describes: true, ..Self::default() }
    }

    /// Asks the next thing. `begin` opens a transaction in the same flight; when it fails nothing else is run.
    ///
    /// # Errors
    ///
    /// The parameters cannot be sent, or the session is not open. Nothing was sent.
    #[inline]
    pub fn submit(
        &mut self,
        session: &mut Session,
        sql: &str,
        work: Work<'_>,
        begin: Option<&str>,
    ) -> Result<Ticket> {
        if let Stage::New = self.stage
            && !self.describes
            && let Some(statement) = session.statements().lend(sql)
        {
            let ticket = Self::run(session, &statement, work, begin);
            session.statements().give_back(statement);
            if ticket.is_ok() {
                self.stage = Stage::Running;
            }
            return ticket.map_err(|error| error.with_statement(sql));
        }
        let (ticket, stage) = match (&self.stage, work) {
            (Stage::Described { statement }, _) => {
                (Self::run(session, statement, work, begin), Stage::Running)
            }
            (_, Work::Run(parameters)) if parameters.is_empty() && !self.describes => {
                let name = session.statements().name_for(sql);
                let request = Request::PrepareAndRun { name: &name, sql, types: &[], parameters };
                (session.submit_after(begin, request), Stage::Fresh { name })
            }
            _ => {
                if let Work::Run(parameters) | Work::Open { parameters, .. } = work {
                    parameter_count(parameters.len())?;
                }
                let name = session.statements().name_for(sql);
                let request = Request::Prepare { name: &name, sql };
                (session.submit_after(begin, request), Stage::Preparing { name })
            }
        };
        let ticket = ticket.map_err(|error| error.with_statement(sql))?;
        self.stage = stage;
        Ok(ticket)
    }

    fn run(
        session: &mut Session,
        statement: &Statement,
        work: Work<'_>,
        begin: Option<&str>,
    ) -> Result<Ticket> {
        let request = match work {
            // The server keeps nothing of it: its types are what we know.
            Work::Run(parameters) if statement.name().is_empty() => Request::PrepareAndRun {
                name: "",
                sql: statement.sql(),
                types: statement.parameters(),
                parameters,
            },
            Work::Run(parameters) => Request::Run { statement, parameters },
            Work::Open { portal, rows, parameters } => {
                Request::Open { statement, parameters, portal, rows }
            }
            Work::Many(sets) => Request::Many { statement, sets },
        };
        session.submit_after(begin, request)
    }

    /// Nobody waits for the answer any more: what the server was asked to keep is not remembered, so it is to be closed.
    pub fn abandon(&mut self, session: &mut Session) {
        if let Stage::Preparing { name } | Stage::Fresh { name } = std::mem::take(&mut self.stage) {
            session.statements().discard(&name);
        }
    }

    /// Whether the answer to come is the statement's own, and not a step on the way to it.
    pub fn is_last(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Fresh { .. })
    }

    /// Takes the answer to what was submitted, and the transaction status that came with it.
    #[inline]
    pub fn settled(
        &mut self,
        session: &mut Session,
        sql: &str,
        outcome: Result<Box<Answer>>,
        status: TransactionStatus,
    ) -> Turn {
        if matches!(self.stage, Stage::Running) && outcome.is_ok() {
            return Turn::Done(outcome);
        }
        match (std::mem::take(&mut self.stage), outcome) {
            (Stage::Preparing { name }, Ok(mut answer)) => {
                let statement = Arc::new(Statement::new(
                    name,
                    sql.into(),
                    answer.parameters.take().unwrap_or_default(),
                    answer.columns(),
                ));
                session.statements().insert(Arc::clone(&statement));
                if self.describes {
                    return Turn::Done(Ok(answer));
                }
                self.stage = Stage::Described { statement };
                Turn::Again
            }
            (Stage::Fresh { name }, Ok(answer)) => {
                if !name.is_empty() {
                    let columns = answer.columns();
                    let statement = Statement::new(name, sql.into(), Vec::new(), columns);
                    session.statements().insert(Arc::new(statement));
                }
                Turn::Done(Ok(answer))
            }
            (_, Ok(answer)) => Turn::Done(Ok(answer)),
            (stage, Err(error)) => {
                if let Stage::Fresh { name } | Stage::Preparing { name } = &stage {
                    // It may have been parsed before it failed, or was cancelled.
                    session.statements().discard(name);
                }
                if matches!(stage, Stage::Running)
                    && error.sqlstate() == Some(SqlState::DATATYPE_MISMATCH)
                {
                    // Its parameters may have other types now: it is described anew the next time.
                    session.statements().forget(sql);
                }
                if is_stale(&error) {
                    session.statements().forget(sql);
                    if status == TransactionStatus::Idle && !self.retried {
                        self.retried = true;
                        return Turn::Again;
                    }
                }
                Turn::Done(Err(match error.kind() {
                    ErrorKind::Server | ErrorKind::Request | ErrorKind::Cancelled => {
                        error.with_statement(sql)
                    }
                    _ => error,
                }))
            }
        }
    }
}

/// Whether the server and we no longer mean the same by a prepared statement: its result has other columns now, it is
/// gone (`DISCARD ALL`, `DEALLOCATE`, another server behind a pooler), or its name is taken.
fn is_stale(error: &Error) -> bool {
    let Some(server) = error.server().filter(|_| error.is_before_running()) else {
        return false;
    };
    match server.code() {
        // "cached plan must not change result type" shares its code with everything that is not supported.
        SqlState::FEATURE_NOT_SUPPORTED => {
            server.routine().is_some_and(|routine| routine == "RevalidateCachedQuery")
        }
        SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => true,
        _ => false,
    }
}
