//! A connection or a cursor whose rows all have one shape.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use txpostgres_multiplex::Params;
use txpostgres_session::FromRow;

use crate::connection::Connection;
use crate::cursor::Cursor;
use crate::query::{QueryStreamAs, RunQueryAs};

/// A [`Connection`] or a [`Cursor`] whose `run_query` and `query_stream` return each row as a `T`.
///
/// It is a light view of what it was made from, and stands for it in all else.
///
/// ```no_run
/// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
/// use std::collections::BTreeMap;
/// use txpostgres::value::Text;
///
/// let by_name = connection.with_rows_as::<BTreeMap<String, Option<Text>>>();
/// for row in by_name.run_query("select name, note from people", ()).await? {
///     println!("{:?}", row["name"]);
/// }
/// by_name.run_operation("delete from people", ()).await?;
/// # Ok(()) }
/// ```
pub struct Typed<H, T> {
    handle: H,
    shape: PhantomData<fn() -> T>,
}

impl<H, T> Typed<H, T> {
    pub(crate) fn new(handle: H) -> Self {
        Self { handle, shape: PhantomData }
    }

    /// What it was made from.
    pub fn into_handle(self) -> H {
        self.handle
    }
}

impl<T: for<'r> FromRow<'r>> Typed<Connection, T> {
    /// Runs a statement and returns its rows, each as a `T`: see [`Connection::run_query_as`].
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQueryAs<'a, T, P> {
        self.handle.run_query_as(sql, params)
    }

    /// Runs a statement and returns its rows as they come, each as a `T`: see [`Connection::query_stream`].
    pub fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStreamAs<'a, T, P> {
        self.handle.query_stream(sql, params).rows_as()
    }
}

impl<T: for<'r> FromRow<'r>> Typed<Cursor, T> {
    /// Runs a statement in the transaction and returns its rows, each as a `T`: see [`Connection::run_query_as`].
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQueryAs<'a, T, P> {
        self.handle.run_query_as(sql, params)
    }

    /// Runs a statement in the transaction and returns its rows as they come, each as a `T`: see [`Cursor::query_stream`].
    pub fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStreamAs<'a, T, P> {
        self.handle.query_stream(sql, params).rows_as()
    }
}

impl<H, T> Deref for Typed<H, T> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handle
    }
}

impl<H: Clone, T> Clone for Typed<H, T> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<H: fmt::Debug, T> fmt::Debug for Typed<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&self.handle).finish()
    }
}
