//! The operation of a call: a statement, step by step, or something without parameters.

use std::cell::Cell;
use std::sync::Arc;

use txpostgres_session::{
    Answer, Column, EncodeBuffer, Execute, NextStep, Params, Query, Request, Result, Session,
    Ticket,
};

use crate::slots::Settled;

/// The operation of a call.
#[derive(Debug)]
pub(crate) enum Operation {
    /// One statement with parameters.
    Statement(Query),
    /// Something without parameters. `begins`: BEGIN was sent first, since it cannot be in the same
    /// flight.
    Simple { operation: SimpleOperation, begins: bool },
}

/// An operation without parameters.
#[derive(Debug)]
pub enum SimpleOperation {
    /// Any number of statements.
    Script,
    /// A COPY whose data we send.
    CopyIn,
    /// A COPY whose data we get.
    CopyOut,
    /// The next rows of a portal.
    Fetch {
        /// Its name.
        portal: String,
        /// Its columns, once known.
        columns: Option<Arc<[Column]>>,
        /// How many rows at most.
        rows: u32,
    },
}

/// How a statement is executed, and the values of its parameters.
pub trait BindParams: Send {
    /// Calls `f` once with the execution and its values.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    fn bind<R>(&self, f: impl FnOnce(Execute<'_>) -> Result<R>) -> Result<R>;

    /// Whether there are no values, so that none of the user's code runs.
    fn is_bare(&self) -> bool {
        false
    }
}

impl<P: Params> BindParams for P {
    #[inline]
    fn bind<R>(&self, f: impl FnOnce(Execute<'_>) -> Result<R>) -> Result<R> {
        self.with(|parameters| f(Execute::Run(parameters)))
    }

    #[inline]
    fn is_bare(&self) -> bool {
        self.with(|parameters| parameters.is_empty())
    }
}

thread_local! {
    /// The buffer in which values are encoded. Taken out while it is in use, since a value may use
    /// a connection itself.
    static BUFFER: Cell<Option<Box<EncodeBuffer>>> = const { Cell::new(None) };
}

/// Takes the buffer of this thread, or a new one.
#[inline]
#[allow(clippy::unnecessary_box_returns, reason = "it goes back into its box")]
pub(crate) fn take_buffer() -> Box<EncodeBuffer> {
    BUFFER.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Puts the buffer back for the next statement.
#[inline]
pub(crate) fn put_buffer(buffer: Box<EncodeBuffer>) {
    // There is no next statement if the thread ends.
    let _ = BUFFER.try_with(|cell| cell.set(Some(buffer)));
}

impl SimpleOperation {
    fn submit(&self, session: &mut Session, sql: &str, begin: Option<&str>) -> Result<Ticket> {
        if let Some(sql) = begin {
            return session.submit(Request::Script { sql });
        }
        session.submit(match self {
            SimpleOperation::Script => Request::Script { sql },
            SimpleOperation::CopyIn => Request::CopyIn { sql },
            SimpleOperation::CopyOut => Request::CopyOut { sql },
            SimpleOperation::Fetch { portal, columns, rows } => {
                Request::Fetch { portal, columns: columns.as_ref(), rows: *rows }
            }
        })
    }
}

impl Operation {
    /// Whether it is one statement, with or without parameters.
    pub(crate) fn is_statement(&self) -> bool {
        matches!(self, Self::Statement(_))
    }

    /// Submits an operation without parameters; `None` for a statement. `begin` opens a
    /// transaction: it is sent first, and the operation is submitted again after its answer.
    pub(crate) fn submit_simple(
        &mut self,
        session: &mut Session,
        sql: &str,
        begin: Option<&str>,
    ) -> Option<Result<Ticket>> {
        let Self::Simple { operation, begins } = self else {
            return None;
        };
        *begins = begin.is_some();
        Some(operation.submit(session, sql, begin))
    }

    /// Whether the next step is the statement itself.
    pub(crate) fn runs_next(&self, session: &mut Session, sql: &str, bare: bool) -> bool {
        match self {
            Self::Statement(query) => query.runs_next(session, sql, bare),
            Self::Simple { .. } => true,
        }
    }

    /// Whether a step was taken that still counts.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Self::Statement(query) => query.has_begun(),
            Self::Simple { begins, .. } => *begins,
        }
    }

    /// Whether the answer to come is the last one.
    pub(crate) fn is_last(&self) -> bool {
        match self {
            Self::Statement(query) => query.is_last(),
            Self::Simple { begins, .. } => !begins,
        }
    }

    /// Whether the answer to come is the last one, and its columns are known already.
    pub(crate) fn is_foreseen(&self) -> bool {
        matches!(self, Self::Statement(query) if query.is_foreseen())
    }

    /// The answer, if only the lookup of its types is left to do.
    pub(crate) fn take_held(&mut self) -> Option<Box<Answer>> {
        match self {
            Self::Statement(query) => query.take_held(),
            Self::Simple { .. } => None,
        }
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn settled(
        &mut self,
        session: &mut Session,
        sql: &str,
        (outcome, status): Settled,
    ) -> NextStep {
        match self {
            Self::Statement(query) => query.settled(session, sql, outcome, status),
            Self::Simple { begins: true, .. } => match outcome {
                Ok(_) => NextStep::Again,
                Err(error) => NextStep::Done(Err(error)),
            },
            Self::Simple { begins: false, .. } => {
                NextStep::Done(outcome.map_err(|error| error.with_statement(sql)))
            }
        }
    }
}
