//! Cursors: statements of a connection or an interaction, and results to fetch from.

mod named;
mod results;
mod routine;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use parking_lot::Mutex;
#[cfg(doc)]
use txpostgres_session::Error;
use txpostgres_session::{Answer, Column, FromRow, OwnedRow, Params, Result, Rows};

use crate::driver::{Call, Scope, Source, TransactionScope};
use crate::query::row_buffer::RowBuffer;
use crate::query::{Identifier, Typed, execute_many};
use crate::statements::statements;

pub use named::{FetchDirection, NamedCursor, NamedCursorBuilder};
pub use results::Scroll;
use results::{Execution, Fetched, Results};

/// Runs statements in an interaction or on a connection, and keeps a result to fetch from.
///
/// [`run_interaction`](crate::Connection::run_interaction) passes the cursor of the transaction to
/// its closure; [`Connection::cursor`](crate::Connection::cursor) returns a cursor whose statements
/// are each a transaction of their own. A function that takes a `&Cursor` therefore works in a
/// transaction and outside of one.
///
/// # Two ways to run a statement
///
/// [`run_query`](Self::run_query), [`run_operation`](Self::run_operation) and
/// [`run_script`](Self::run_script) return their results; several may be in flight at once and are
/// pipelined.
///
/// [`execute`](Self::execute) keeps the result in the cursor, as in DB-API:
/// [`fetch_one`](Self::fetch_one), [`fetch_many`](Self::fetch_many),
/// [`fetch_all`](Self::fetch_all), [`scroll`](Self::scroll) and [`description`](Self::description)
/// read it. Only one `execute` may be in progress: a second one is refused and does not affect the
/// first.
///
/// # Clones
///
/// A clone belongs to the same transaction or connection, and starts without a result. After the
/// end of the interaction every call fails with
/// [`ErrorKind::InteractionEnded`](crate::ErrorKind::InteractionEnded); a result that was executed
/// before can still be fetched.
///
/// # Errors
///
/// Calls have the errors of the connection's methods of the same name, `InteractionEnded`, and
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after [`close`](Self::close). In a transaction,
/// statements after a failed one fail as well, until the rollback; see
/// [`run_interaction`](Self::run_interaction).
#[doc(alias = "GenericClient")]
#[doc(alias = "Executor")]
#[doc(alias = "Transaction")]
pub struct Cursor {
    /// The scope in which its statements are sent.
    scope: Scope,
    results: Mutex<Results>,
}

impl Clone for Cursor {
    fn clone(&self) -> Self {
        Self::new(self.scope.clone())
    }
}

impl Cursor {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, results: Mutex::default() }
    }

    pub(crate) fn of_transaction(transaction: Arc<TransactionScope>) -> Self {
        Self::new(Scope::Transaction(transaction))
    }

    /// The scope in which its statements are sent.
    pub(crate) fn own_scope(&self) -> &Scope {
        &self.scope
    }

    fn scope(&self) -> Result<Scope> {
        if self.results.lock().is_closed() {
            return Err(results::closed());
        }
        Ok(self.scope.clone())
    }

    /// Where its statements are sent.
    pub(crate) fn source(&self) -> Source {
        self.scope().into()
    }

    // --- Statements that return their result ---

    statements!(pub);

    /// This cursor, with all rows decoded as `T`.
    pub fn with_rows_as<T: for<'r> FromRow<'r>>(&self) -> Typed<Self, T> {
        Typed::new(self.clone())
    }

    /// Prepares the declaration of a server-side cursor of this name.
    ///
    /// It keeps the rows of a query in the server, returns them in portions, and moves both ways.
    /// It lives as long as the transaction, or longer if it is declared
    /// [`WITH HOLD`](NamedCursorBuilder::with_hold). To read rows once and in order, use
    /// [`query_stream`](Self::query_stream).
    ///
    /// ```no_run
    /// # async fn example(cursor: txpostgres::Cursor) -> txpostgres::Result<()> {
    /// use txpostgres::FetchDirection;
    ///
    /// let sql = "select name from people";
    /// let mut people = cursor.named("people").scroll(true).open(sql, ()).await?;
    /// let last = people.fetch(FetchDirection::Last).await?;
    /// let the_five_before = people.fetch(FetchDirection::Backward(5)).await?;
    /// people.close().await?;
    /// # Ok(()) }
    /// ```
    pub fn named(&self, name: &str) -> NamedCursorBuilder {
        NamedCursorBuilder::new(self.clone(), name)
    }

    // --- Statements whose result is kept ---

    /// Runs a statement and keeps its rows to fetch from. Returns the number of rows returned or
    /// changed.
    ///
    /// If the future is dropped before its end, the cursor has no result, and a statement that was
    /// sent runs on in the server.
    ///
    /// # Errors
    ///
    /// The errors of [`Connection::run_query`](crate::Connection::run_query);
    /// [`ErrorKind::Request`](crate::ErrorKind::Request) while another `execute` of this cursor is
    /// in progress; [`ErrorKind::Closed`](crate::ErrorKind::Closed) after [`close`](Self::close).
    pub async fn execute<P: Params>(&self, sql: &str, params: P) -> Result<u64> {
        let execution = Execution::begin(&self.results)?;
        let call = Call::new(self.scope(), sql, params);
        let results = call.answer(Answer::take_results).await?;
        Ok(execution.end(results.into_iter().map(Fetched::new)))
    }

    /// Runs several statements without parameters, separated by semicolons, and keeps all results:
    /// [`next_set`](Self::next_set) moves from one to the next. Values are returned as text.
    ///
    /// # Errors
    ///
    /// The errors of [`execute`](Self::execute).
    pub async fn execute_script(&self, sql: &str) -> Result<u64> {
        let execution = Execution::begin(&self.results)?;
        let results = self.run_script(sql).await?;
        Ok(execution.end(results.into_iter().map(Fetched::new)))
    }

    /// Runs a statement once with each set of parameters, pipelined in a few flights, until one
    /// fails; keeps the rows of all of them. Returns the number of rows returned or changed.
    ///
    /// A flight has at most a thousand sets and about 1 MiB. Outside of an interaction each flight
    /// is a transaction of its own: the flights before one that fails stay done.
    ///
    /// # Errors
    ///
    /// The errors of [`execute`](Self::execute); [`Error::item`] is the number of the set that
    /// failed, counted from 0. Nothing of its flight was done.
    // Not an `async fn`: see `Connection::execute_many`.
    pub fn execute_many<'a, I>(
        &'a self,
        sql: &'a str,
        sets: I,
    ) -> impl Future<Output = Result<u64>> + Send + use<'a, I>
    where
        I: IntoIterator,
        I::IntoIter: Send,
        I::Item: Params,
    {
        let sets = sets.into_iter();
        async move {
            let execution = Execution::begin(&self.results)?;
            let executed = execute_many(self.source(), sql, sets).await?;
            Ok(execution.end([Fetched::of_many(executed)]))
        }
    }

    /// Calls a function or a procedure and keeps its result: the rows of a function, or the `OUT`
    /// and `INOUT` arguments of a procedure as one row. `params` are the input arguments in their
    /// order.
    ///
    /// ```no_run
    /// # async fn example(cursor: txpostgres::Cursor) -> txpostgres::Result<()> {
    /// cursor.callproc("repeat", ("ab", 3_i32)).await?;
    /// assert_eq!(cursor.fetch_one_as::<(String,)>()?, Some(("ababab".to_owned(),)));
    /// # Ok(()) }
    /// ```
    ///
    /// The name is quoted as it is, so case is significant. It is first looked up in the server.
    /// Among overloaded routines, the one is chosen that takes this number of values and whose
    /// argument types the values can be encoded as, which may need another round trip for the
    /// types. If several are left, the server decides or reports an ambiguity (`42725`).
    ///
    /// For a routine with polymorphic arguments (`anyelement`, `"any"`), such as `concat`, the
    /// types can mostly not be inferred from the values: write the call with casts and
    /// [`execute`](Self::execute) it.
    ///
    /// # Errors
    ///
    /// The errors of [`execute`](Self::execute), and
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) if no overloaded routine takes the
    /// values; the hint lists the routines of the name.
    pub async fn callproc<P: Params>(
        &self,
        name: impl Into<Identifier<'_>>,
        params: P,
    ) -> Result<u64> {
        let execution = Execution::begin(&self.results)?;
        let calling = routine::calling(self.scope()?, name.into(), &params).await?;
        let call = Call::new(self.scope(), calling.sql.as_str(), params);
        let results = call.answer(Answer::take_results).await;
        let results = results.map_err(|error| calling.explain(error))?;
        Ok(execution.end(results.into_iter().map(Fetched::new)))
    }

    /// The next row of the result; `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`](crate::ErrorKind::Request) if nothing was executed, the execution is
    /// not awaited yet, or the statement returns no rows;
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after [`close`](Self::close).
    pub fn fetch_one(&self) -> Result<Option<OwnedRow>> {
        self.results.lock().fetch_one()
    }

    /// The next row, as a `T`.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch_one`](Self::fetch_one), and
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    pub fn fetch_one_as<T: for<'r> FromRow<'r>>(&self) -> Result<Option<T>> {
        self.fetch_one()?.map(|row| row.as_row().decode()).transpose()
    }

    /// The next `count` rows, or as many as are left.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch_one`](Self::fetch_one).
    pub fn fetch_many(&self, count: usize) -> Result<Vec<OwnedRow>> {
        self.results.lock().fetch_many(count)
    }

    /// All rows that are left.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch_one`](Self::fetch_one).
    pub fn fetch_all(&self) -> Result<Rows> {
        self.results.lock().fetch_all()
    }

    /// All rows that are left, each as a `T`.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch_one`](Self::fetch_one), and
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    pub fn fetch_all_as<T: for<'r> FromRow<'r>>(&self) -> Result<Vec<T>> {
        self.results.lock().fetch_all_as()
    }

    /// All rows that are left, as an iterator that is also a [`Stream`].
    ///
    /// # Errors
    ///
    /// The errors of [`fetch_one`](Self::fetch_one).
    pub fn rows(&self) -> Result<CursorRows> {
        let mut buffer = RowBuffer::default();
        buffer.put(self.fetch_all()?);
        Ok(CursorRows(buffer))
    }

    /// Moves to another row of the result, which then is fetched next.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch_one`](Self::fetch_one), and
    /// [`ErrorKind::Request`](crate::ErrorKind::Request) if there is no such row; the position then
    /// does not change.
    pub fn scroll(&self, by: isize, from: Scroll) -> Result<()> {
        self.results.lock().scroll(by, from)
    }

    /// Moves to the next result of [`execute_script`](Self::execute_script). Returns whether there
    /// was one.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch_one`](Self::fetch_one).
    pub fn next_set(&self) -> Result<bool> {
        self.results.lock().next_set()
    }

    /// The columns of the result, with names, types, tables and modifiers; `None` if there are no
    /// rows to fetch.
    pub fn description(&self) -> Option<Arc<[Column]>> {
        self.results.lock().description()
    }

    /// The number of rows that the statement returned or changed; `None` if nothing was executed,
    /// or the number is not known.
    ///
    /// It is the number in the server's command tag. If the tag has none, as for SHOW, EXPLAIN or
    /// CALL, it is the number of rows that arrived.
    pub fn row_count(&self) -> Option<u64> {
        self.results.lock().row_count()
    }

    /// The number of the row that is fetched next, counted from 0; `None` if there are no rows to
    /// fetch.
    pub fn row_number(&self) -> Option<usize> {
        self.results.lock().row_number()
    }

    /// The server's command tag, such as `SELECT 3`; after [`execute_many`](Self::execute_many)
    /// that of the last set.
    pub fn status_message(&self) -> Option<String> {
        self.results.lock().status_message()
    }

    /// Closes the cursor: its result is dropped, and every further call fails. The transaction or
    /// connection goes on.
    pub fn close(&self) {
        *self.results.lock() = Results::Closed;
    }

    /// Whether the cursor was closed.
    pub fn is_closed(&self) -> bool {
        self.results.lock().is_closed()
    }
}

/// Rows taken out of a cursor: see [`Cursor::rows`].
pub struct CursorRows(RowBuffer);

impl Iterator for CursorRows {
    type Item = OwnedRow;

    fn next(&mut self) -> Option<OwnedRow> {
        self.0.row()
    }
}

impl Stream for CursorRows {
    type Item = OwnedRow;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<OwnedRow>> {
        Poll::Ready(self.get_mut().0.row())
    }
}

impl fmt::Debug for CursorRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorRows").field("left", &self.0.left()).finish()
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
