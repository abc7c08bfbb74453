//! What a call asks: a statement, step by step, or something without parameters.

use std::sync::Arc;

use txpostgres_session::{
    Answer, Column, Execute, NextStep as Step, Query, Request, Result, Ticket,
};

use crate::desk::{Desk, Settled};
use crate::params::Params;

/// How the text is asked.
pub(crate) enum Question {
    /// As one statement with parameters.
    Statement(Query),
    /// As something that has no parameters. `opening`: a BEGIN was sent first, since it cannot travel along.
    Plain { plain: Plain, opening: bool },
}

/// What is asked without parameters.
pub(crate) enum Plain {
    /// Any number of statements.
    Script,
    /// A COPY whose data we send.
    CopyIn,
    /// A COPY whose data we get.
    CopyOut,
    /// The next rows of a portal.
    Fetch { portal: String, columns: Option<Arc<[Column]>>, rows: u32 },
}

/// What is done with a statement, and with which values.
pub(crate) trait Task: Send {
    /// Asks for it, once.
    fn ask(&self, ask: impl FnOnce(Execute<'_>) -> Result<Ticket>) -> Result<Ticket>;
}

impl<P: Params> Task for P {
    #[inline]
    fn ask(&self, ask: impl FnOnce(Execute<'_>) -> Result<Ticket>) -> Result<Ticket> {
        self.with(|parameters| ask(Execute::Run(parameters)))
    }
}

impl Question {
    /// Asks; `begin` opens a transaction in the same flight.
    pub(crate) fn submit(
        &mut self,
        desk: &mut Desk,
        sql: &str,
        work: &impl Task,
        begin: Option<&str>,
    ) -> Result<Ticket> {
        let session = &mut desk.session;
        let plain = match self {
            Self::Statement(query) => {
                return work.ask(|work| query.submit(session, sql, work, begin));
            }
            Self::Plain { plain, opening } => {
                *opening = begin.is_some();
                plain
            }
        };
        if let Some(sql) = begin {
            return session.submit(Request::Script { sql });
        }
        session.submit(match plain {
            Plain::Script => Request::Script { sql },
            Plain::CopyIn => Request::CopyIn { sql },
            Plain::CopyOut => Request::CopyOut { sql },
            Plain::Fetch { portal, columns, rows } => {
                Request::Fetch { portal, columns: columns.as_ref(), rows: *rows }
            }
        })
    }

    /// Whether the next thing to be asked is the statement itself.
    pub(crate) fn runs_next(&self, desk: &mut Desk, sql: &str, bare: bool) -> bool {
        match self {
            Self::Statement(query) => query.runs_next(&mut desk.session, sql, bare),
            Self::Plain { .. } => true,
        }
    }

    /// Whether anything was asked that still counts.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Self::Statement(query) => query.has_begun(),
            Self::Plain { opening, .. } => *opening,
        }
    }

    /// Whether the answer to come is the last one.
    pub(crate) fn is_last(&self) -> bool {
        match self {
            Self::Statement(query) => query.is_last(),
            Self::Plain { opening, .. } => !opening,
        }
    }

    /// Whether the answer to come is the last one, and its columns are known already.
    pub(crate) fn is_foreseen(&self) -> bool {
        matches!(self, Self::Statement(query) if query.is_foreseen())
    }

    /// The answer, if all that is left to do is to look its types up.
    pub(crate) fn take_held(&mut self) -> Option<Box<Answer>> {
        match self {
            Self::Statement(query) => query.take_held(),
            Self::Plain { .. } => None,
        }
    }

    pub(crate) fn settled(
        &mut self,
        desk: &mut Desk,
        sql: &str,
        (outcome, status): Settled,
    ) -> Step {
        match self {
            Self::Statement(query) => query.settled(&mut desk.session, sql, outcome, status),
            Self::Plain { opening: true, .. } => match outcome {
                Ok(_) => Step::Again,
                Err(error) => Step::Done(Err(error)),
            },
            Self::Plain { opening: false, .. } => {
                Step::Done(outcome.map_err(|error| error.with_statement(sql)))
            }
        }
    }
}
