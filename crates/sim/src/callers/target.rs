//! On whose behalf a caller asks: the connection, or the cursor of an interaction. They have the
//! same calls.

use std::borrow::Cow;

use txpostgres::{
    Batch, BeginCopy, Connection, CopyIn, CopyInRows, CopyOut, CopyOutRows, Cursor, Params,
    QueryStream, RunOperation, RunQuery, RunScript,
};

/// See the file's text.
#[derive(Clone)]
pub(crate) enum Target {
    Connection(Connection),
    Cursor(Cursor),
}

/// Passes a call on to whichever it is.
macro_rules! either {
    ($this:expr, $target:ident => $call:expr) => {
        match $this {
            Target::Connection($target) => $call,
            Target::Cursor($target) => $call,
        }
    };
}

impl Target {
    pub(crate) fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQuery<'a, P> {
        either!(self, target => target.run_query(sql, params))
    }

    pub(crate) fn run_operation<'a, P: Params>(
        &self,
        sql: &'a str,
        params: P,
    ) -> RunOperation<'a, P> {
        either!(self, target => target.run_operation(sql, params))
    }

    pub(crate) fn run_script<'a>(&self, sql: &'a str) -> RunScript<'a> {
        either!(self, target => target.run_script(sql))
    }

    pub(crate) fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStream<'a, P> {
        either!(self, target => target.query_stream(sql, params))
    }

    pub(crate) fn copy_in<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyIn> {
        either!(self, target => target.copy_in(sql))
    }

    pub(crate) fn copy_out<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyOut> {
        either!(self, target => target.copy_out(sql))
    }

    pub(crate) fn copy_in_rows<'a>(
        &self,
        table: &'a str,
        columns: &'a [&'a str],
    ) -> BeginCopy<'a, CopyInRows> {
        either!(self, target => target.copy_in_rows(table, columns))
    }

    pub(crate) fn copy_out_rows<'a>(&self, query: &'a str) -> BeginCopy<'a, CopyOutRows> {
        either!(self, target => target.copy_out_rows(query))
    }

    pub(crate) fn batch<'a>(&self) -> Batch<'a> {
        either!(self, target => target.batch())
    }

    /// A cursor on the same behalf.
    pub(crate) fn cursor(&self) -> Cursor {
        match self {
            Self::Connection(connection) => connection.cursor(),
            Self::Cursor(cursor) => cursor.clone(),
        }
    }
}
