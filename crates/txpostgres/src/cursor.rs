//! What an interaction's closure works with: statements that run in its transaction.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use txpostgres_session::{Answer, Error, FromRow, Result, ResultSet};

use crate::call::{Call, Caller, RunOperation, RunQuery, RunQueryAs};
use crate::copy::{CopyIn, CopyInRows, CopyOut, CopyOutRows, Table};
use crate::interaction::{Transaction, run_nested};
use crate::params::Params;
use crate::stream::QueryStream;
use crate::typed::Typed;

/// The statements of one interaction.
///
/// It is a handle: clones belong to the same transaction, and several calls may wait at once; they are pipelined. After the
/// interaction's end every call fails with [`ErrorKind::InteractionEnded`](crate::ErrorKind::InteractionEnded).
#[derive(Clone)]
pub struct Cursor {
    transaction: Arc<Transaction>,
}

impl Cursor {
    pub(crate) fn new(transaction: Arc<Transaction>) -> Self {
        Self { transaction }
    }

    fn caller(&self) -> Caller {
        Caller::Transaction(Arc::clone(&self.transaction))
    }

    /// Runs a statement in the transaction and returns its rows.
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQuery<'a, P> {
        RunQuery(Call::new(Ok(self.caller()), sql, params))
    }

    /// Runs a statement in the transaction and returns its rows, each as a `T`: see
    /// [`Connection::run_query_as`](crate::Connection::run_query_as).
    pub fn run_query_as<'a, T, P>(&self, sql: &'a str, params: P) -> RunQueryAs<'a, T, P>
    where
        T: for<'r> FromRow<'r>,
        P: Params,
    {
        self.run_query(sql, params).rows_as()
    }

    /// The same cursor, with `T` as the shape of all rows.
    pub fn with_rows_as<T: for<'r> FromRow<'r>>(&self) -> Typed<Self, T> {
        Typed::new(self.clone())
    }

    /// Runs a statement in the transaction and returns how many rows it affected.
    pub fn run_operation<'a, P: Params>(&self, sql: &'a str, params: P) -> RunOperation<'a, P> {
        RunOperation(Call::new(Ok(self.caller()), sql, params))
    }

    /// Runs a statement in the transaction and returns its rows a portion at a time, in bounded memory.
    ///
    /// Other statements of the interaction may run while it is read. See [`QueryStream`].
    pub fn query_stream<'a, P: Params>(&self, sql: &'a str, params: P) -> QueryStream<'a, P> {
        QueryStream::of_transaction(&self.transaction, sql, params)
    }

    /// Runs a statement in the transaction; the DB-API's name for [`run_operation`](Self::run_operation).
    pub fn execute<'a, P: Params>(&self, sql: &'a str, params: P) -> RunOperation<'a, P> {
        self.run_operation(sql, params)
    }

    /// Runs several statements without parameters, separated by semicolons. Values come as text.
    ///
    /// Leave BEGIN, COMMIT and ROLLBACK to the interaction: after a statement that ends the transaction every further
    /// call fails.
    pub async fn run_script(&self, sql: &str) -> Result<Vec<ResultSet>> {
        self.transaction.begin_now().await?;
        Call::script(Ok(self.caller()), sql).answer(Answer::take_results).await
    }

    /// Begins a `COPY … FROM STDIN` in the transaction: see [`Connection::copy_in`](crate::Connection::copy_in).
    ///
    /// A COPY that fails fails the transaction; in a nested interaction only that one.
    pub async fn copy_in(&self, sql: &str) -> Result<CopyIn> {
        CopyIn::begin(Ok(self.caller()), sql).await
    }

    /// Begins a `COPY … TO STDOUT` in the transaction: see [`Connection::copy_out`](crate::Connection::copy_out).
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOut> {
        CopyOut::begin(Ok(self.caller()), sql).await
    }

    /// Begins a COPY of rows into a table: see [`Connection::copy_in_rows`](crate::Connection::copy_in_rows).
    pub async fn copy_in_rows(
        &self,
        table: impl Into<Table<'_>>,
        columns: &[&str],
    ) -> Result<CopyInRows> {
        CopyInRows::begin(Ok(self.caller()), table.into(), columns).await
    }

    /// Begins a COPY of a query's rows to us: see [`Connection::copy_out_rows`](crate::Connection::copy_out_rows).
    pub async fn copy_out_rows(&self, query: &str) -> Result<CopyOutRows> {
        CopyOutRows::begin(Ok(self.caller()), query).await
    }

    /// Runs a closure in a savepoint: when it fails, only what it did is undone, and the transaction goes on.
    ///
    /// Until it has ended this cursor is not to be used, nor another nested interaction begun: savepoints are a stack, and
    /// calls outside of the innermost one are refused with [`ErrorKind::Request`](crate::ErrorKind::Request).
    ///
    /// ```no_run
    /// # async fn example(cursor: txpostgres::Cursor) -> txpostgres::Result<()> {
    /// let inserted = cursor
    ///     .run_interaction(async |nested| {
    ///         nested.run_operation("insert into t values ($1)", (1_i32,)).await
    ///     })
    ///     .await
    ///     .is_ok();
    /// # Ok(()) }
    /// ```
    pub fn run_interaction<T, E, F, Fut>(
        &self,
        interaction: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<'_, T, E, F, Fut>
    where
        F: FnOnce(Self) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        run_nested(&self.transaction, interaction)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").finish_non_exhaustive()
    }
}
