//! A cursor whose rows are all decoded as one type.

use std::borrow::Cow;

use txpostgres_multiplex::Params;
use txpostgres_session::FromRow;

use super::Cursor;
use crate::query::{QueryStreamAs, RunQueryAs, Typed};

impl<T: for<'r> FromRow<'r>> Typed<Cursor, T> {
    /// Runs a statement in the transaction and returns its rows, each as a `T`: see
    /// [`Connection::run_query_as`](crate::Connection::run_query_as).
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQueryAs<'a, T, P> {
        self.handle.run_query_as(sql, params)
    }

    /// Runs a statement in the transaction and returns its rows as they come, each as a `T`: see
    /// [`Cursor::query_stream`].
    pub fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStreamAs<'a, T, P> {
        self.handle.query_stream(sql, params).rows_as()
    }
}
