//! Cursors: statements of a connection or an interaction, and what they returned, to be fetched.

mod named;
mod results;
mod routine;
mod typed;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use parking_lot::Mutex;
use txpostgres_multiplex::Params;
use txpostgres_session::{Answer, Column, FromRow, OwnedRow, Result, Rows};

use crate::copy::{BeginCopy, CopyIn, CopyInRows, CopyOut, CopyOutRows};
use crate::driver::{Call, Scope, TransactionScope};
use crate::notify::{NOTIFY, notification};
use crate::query::row_buffer::RowBuffer;
use crate::query::{
    Batch, Identifier, QueryStream, RunOperation, RunQuery, RunQueryAs, RunScript, Typed,
    execute_many,
};

pub use named::{FetchDirection, NamedCursor, NamedCursorBuilder};
pub use results::Scroll;
use results::{Execution, Fetched, Results};

/// Statements of an interaction, or of a connection, and the results to fetch.
///
/// [`run_interaction`](crate::Connection::run_interaction) gives its closure the cursor of the transaction;
/// [`Connection::cursor`](crate::Connection::cursor) makes one whose statements are each a transaction of their own.
///
/// # Two ways of asking
///
/// [`run_query`](Self::run_query) and its kin return what they found; several may wait at once and are pipelined.
///
/// [`execute`](Self::execute) keeps the result in the cursor, as DB-API has it: [`fetch_one`](Self::fetch_one),
/// [`fetch_many`](Self::fetch_many), [`fetch_all`](Self::fetch_all), [`scroll`](Self::scroll) and
/// [`description`](Self::description) work on it. One at a time: a second `execute` while the first is awaited is an error, which
/// harms neither.
///
/// # Clones
///
/// A clone belongs to the same transaction or connection, and has no result: it is another cursor. After the interaction's end
/// every call fails with [`ErrorKind::InteractionEnded`](crate::ErrorKind::InteractionEnded); what was executed before can still be
/// fetched.
///
/// # Errors
///
/// Calls fail as those of the connection of the same name, with `InteractionEnded`, and with
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after [`close`](Self::close). In a transaction a statement that fails spoils
/// those after it, up to the rollback; see [`run_interaction`](Self::run_interaction).
pub struct Cursor {
    /// What its statements belong to.
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

    /// In which scope its statements are sent.
    pub(crate) fn own_scope(&self) -> &Scope {
        &self.scope
    }

    fn scope(&self) -> Result<Scope> {
        if self.results.lock().is_closed() {
            return Err(results::closed());
        }
        Ok(self.scope.clone())
    }

    // --- What returns its result ---

    /// Runs a statement and returns its rows; with [`one`](RunQuery::one) the only one, with [`optional`](RunQuery::optional) the
    /// only one if there is any.
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQuery<'a, P> {
        RunQuery(Call::new(self.scope(), sql, params))
    }

    /// Runs a statement and returns its rows, each as a `T`: see
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

    /// Runs a statement and returns how many rows it affected.
    pub fn run_operation<'a, P: Params>(&self, sql: &'a str, params: P) -> RunOperation<'a, P> {
        RunOperation(Call::new(self.scope(), sql, params))
    }

    /// Runs a statement and returns its rows as they come, in bounded memory.
    ///
    /// In an interaction they come a portion at a time, and other statements may run meanwhile. See [`QueryStream`], and
    /// [`Connection::query_stream`](crate::Connection::query_stream) for a stream outside of one.
    pub fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStream<'a, P> {
        match self.scope() {
            Ok(Scope::Transaction(transaction)) => {
                QueryStream::of_transaction(&transaction, sql.into(), params)
            }
            scope => QueryStream::of_connection(scope, sql.into(), params),
        }
    }

    /// Runs several statements without parameters, separated by semicolons. Values come as text.
    ///
    /// Leave BEGIN, COMMIT and ROLLBACK to the interaction: after a statement that ends the transaction every further
    /// call fails.
    pub fn run_script<'a>(&self, sql: &'a str) -> RunScript<'a> {
        RunScript(Call::script(self.scope(), sql))
    }

    /// Begins a `COPY … FROM STDIN` in the transaction: see [`Connection::copy_in`](crate::Connection::copy_in).
    ///
    /// A COPY that fails fails the transaction; in a nested interaction only that one.
    pub fn copy_in<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyIn> {
        CopyIn::about_to(self.scope(), sql)
    }

    /// Begins a `COPY … TO STDOUT` in the transaction: see [`Connection::copy_out`](crate::Connection::copy_out).
    pub fn copy_out<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyOut> {
        CopyOut::about_to(self.scope(), sql)
    }

    /// Begins a COPY of rows into a table: see [`Connection::copy_in_rows`](crate::Connection::copy_in_rows).
    pub fn copy_in_rows<'a>(
        &self,
        table: impl Into<Identifier<'a>>,
        columns: &'a [&'a str],
    ) -> BeginCopy<'a, CopyInRows> {
        CopyInRows::about_to(self.scope(), table.into(), columns)
    }

    /// Begins a COPY of a query's rows to us: see [`Connection::copy_out_rows`](crate::Connection::copy_out_rows).
    pub fn copy_out_rows<'a>(&self, query: &'a str) -> BeginCopy<'a, CopyOutRows> {
        CopyOutRows::about_to(self.scope(), query)
    }

    /// Notifies the listeners of a channel when the transaction commits, and none if it does not.
    ///
    /// Notifications of one transaction arrive in the order in which they were made; two that are the
    /// same arrive once (manual, NOTIFY).
    ///
    /// # Errors
    ///
    /// As [`Connection::notify`](crate::Connection::notify).
    pub async fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        let channel = notification(channel, payload)?;
        self.run_query(NOTIFY, (&*channel, payload)).await.map(drop)
    }

    /// Statements to be sent together: see [`Connection::batch`](crate::Connection::batch).
    pub fn batch<'a>(&self) -> Batch<'a> {
        Batch::new(self.scope())
    }

    /// A cursor of this name in the server, about to be declared.
    ///
    /// It keeps the rows of a query there, gives them in portions, and moves both ways; it lives as long as the transaction, or
    /// longer if it is [held](NamedCursorBuilder::with_hold). To read rows once and in order,
    /// [`query_stream`](Self::query_stream) does without a name.
    ///
    /// ```no_run
    /// # async fn example(cursor: txpostgres::Cursor) -> txpostgres::Result<()> {
    /// use txpostgres::FetchDirection;
    ///
    /// let mut people = cursor.named("people").scroll(true).open("select name from people", ()).await?;
    /// let last = people.fetch(FetchDirection::Last).await?;
    /// let the_five_before = people.fetch(FetchDirection::Backward(5)).await?;
    /// people.close().await?;
    /// # Ok(()) }
    /// ```
    pub fn named(&self, name: &str) -> NamedCursorBuilder {
        NamedCursorBuilder::new(self.clone(), name)
    }

    // --- What keeps its result here ---

    /// Runs a statement and keeps its rows, to be fetched. Returns how many it returned or changed.
    ///
    /// Dropped before its end, it leaves the cursor without a result, and the statement to the server.
    ///
    /// # Errors
    ///
    /// As [`Connection::run_query`](crate::Connection::run_query); [`ErrorKind::Request`](crate::ErrorKind::Request) while
    /// another `execute` of this cursor is in progress, and [`ErrorKind::Closed`](crate::ErrorKind::Closed) after
    /// [`close`](Self::close).
    pub async fn execute<P: Params>(&self, sql: &str, params: P) -> Result<u64> {
        let execution = Execution::begin(&self.results)?;
        let call = Call::new(self.scope(), sql, params);
        let results = call.answer(Answer::take_results).await?;
        Ok(execution.end(results.into_iter().map(Fetched::new)))
    }

    /// Runs several statements without parameters, separated by semicolons, and keeps the results of all of them:
    /// [`next_set`](Self::next_set) goes from one to the next. Values come as text.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub async fn execute_script(&self, sql: &str) -> Result<u64> {
        let execution = Execution::begin(&self.results)?;
        let results = self.run_script(sql).await?;
        Ok(execution.end(results.into_iter().map(Fetched::new)))
    }

    /// Runs a statement once with each set of parameters, in few flights, until one fails; keeps the rows of all of them.
    /// Returns how many rows were returned or changed.
    ///
    /// A flight has at most a thousand sets and about 1 MiB, and is a transaction of its own outside of an interaction: what
    /// was done before the one that failed stays done.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute); [`Error::item`] is the number of the set that failed, the first being 0. Nothing of its
    /// flight was done.
    // Not an `async fn`: see the one of the connection.
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
            let executed = execute_many(self.scope(), sql, sets).await?;
            Ok(execution.end([Fetched::of_many(executed)]))
        }
    }

    /// Calls a function or a procedure and keeps what it returns: the rows of a function, the `OUT` and `INOUT` arguments of a
    /// procedure as one row. `params` are the arguments that go in, in their order.
    ///
    /// ```no_run
    /// # async fn example(cursor: txpostgres::Cursor) -> txpostgres::Result<()> {
    /// cursor.callproc("repeat", ("ab", 3_i32)).await?;
    /// assert_eq!(cursor.fetch_one_as::<(String,)>()?, Some(("ababab".to_owned(),)));
    /// # Ok(()) }
    /// ```
    ///
    /// The name is quoted as it is, so case counts. The server is asked first what it stands for. Of several routines of the name, the
    /// one is called that takes so many values and to whose types they can be sent, which may need another round trip for the types;
    /// if several are left, the server prefers one or cannot (`42725`).
    ///
    /// A routine whose arguments stand for many types (`anyelement`, `"any"`), such as `concat`, mostly cannot tell by the values
    /// which are meant: write the call with casts and [`execute`](Self::execute) it.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), and [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) if none of several takes the values;
    /// the hint lists the routines of the name.
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
    /// [`ErrorKind::Request`](crate::ErrorKind::Request) if nothing was executed, it is not awaited yet, or it returns no rows;
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after [`close`](Self::close).
    pub fn fetch_one(&self) -> Result<Option<OwnedRow>> {
        self.results.lock().fetch_one()
    }

    /// The next row, as a `T`.
    ///
    /// # Errors
    ///
    /// As [`fetch_one`](Self::fetch_one), and [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    pub fn fetch_one_as<T: for<'r> FromRow<'r>>(&self) -> Result<Option<T>> {
        self.fetch_one()?.map(|row| row.as_row().decode()).transpose()
    }

    /// The next rows, `count` of them or as many as are left.
    ///
    /// # Errors
    ///
    /// As [`fetch_one`](Self::fetch_one).
    pub fn fetch_many(&self, count: usize) -> Result<Vec<OwnedRow>> {
        self.results.lock().fetch_many(count)
    }

    /// All rows that are left.
    ///
    /// # Errors
    ///
    /// As [`fetch_one`](Self::fetch_one).
    pub fn fetch_all(&self) -> Result<Rows> {
        self.results.lock().fetch_all()
    }

    /// All rows that are left, each as a `T`.
    ///
    /// # Errors
    ///
    /// As [`fetch_one`](Self::fetch_one), and [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    pub fn fetch_all_as<T: for<'r> FromRow<'r>>(&self) -> Result<Vec<T>> {
        self.results.lock().fetch_all_as()
    }

    /// All rows that are left, as a [`Stream`] and an iterator.
    ///
    /// # Errors
    ///
    /// As [`fetch_one`](Self::fetch_one).
    pub fn rows(&self) -> Result<CursorRows> {
        let mut buffer = RowBuffer::default();
        buffer.put(self.fetch_all()?);
        Ok(CursorRows(buffer))
    }

    /// Moves to another row of the result, which is fetched next.
    ///
    /// # Errors
    ///
    /// As [`fetch_one`](Self::fetch_one), and [`ErrorKind::Request`](crate::ErrorKind::Request) if there is no such row; the
    /// cursor stays where it was.
    pub fn scroll(&self, by: isize, from: Scroll) -> Result<()> {
        self.results.lock().scroll(by, from)
    }

    /// Goes to the next result of [`execute_script`](Self::execute_script). Says whether there was one.
    ///
    /// # Errors
    ///
    /// As [`fetch_one`](Self::fetch_one).
    pub fn next_set(&self) -> Result<bool> {
        self.results.lock().next_set()
    }

    /// The columns of the result: their names, types, tables, modifiers; `None` if it has no rows to fetch.
    pub fn description(&self) -> Option<Arc<[Column]>> {
        self.results.lock().description()
    }

    /// How many rows the statement returned or changed; `None` if nothing was executed, or the statement returns no rows and does
    /// not say.
    ///
    /// It is the number of the server's command tag. Where that has none, as of SHOW, EXPLAIN or CALL, it is how many rows came.
    pub fn row_count(&self) -> Option<u64> {
        self.results.lock().row_count()
    }

    /// The number of the row that is fetched next, the first being 0; `None` if there are none to fetch.
    pub fn row_number(&self) -> Option<usize> {
        self.results.lock().row_number()
    }

    /// How the statement ended, in the server's words, such as `SELECT 3`; of [`execute_many`](Self::execute_many), how the last
    /// set did.
    pub fn status_message(&self) -> Option<String> {
        self.results.lock().status_message()
    }

    /// Closes the cursor: its result is gone, and every further call fails. The transaction or connection goes on.
    pub fn close(&self) {
        *self.results.lock() = Results::Closed;
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.results.lock().is_closed()
    }
}

/// Rows that a cursor had kept: see [`Cursor::rows`].
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
