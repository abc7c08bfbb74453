//! The requests of a connection: statements, cursors, streams, batches, COPY, and cancelling them.

use std::borrow::Cow;
use std::future::Future;

use txpostgres_multiplex::{Drive, Params};
#[cfg(doc)]
use txpostgres_session::Error;
use txpostgres_session::{FromRow, Result};

use super::Connection;
use crate::copy::{BeginCopy, CopyIn, CopyInRows, CopyOut, CopyOutRows};
use crate::cursor::Cursor;
use crate::driver::{Call, CancelFuture, CancelHandle};
use crate::query::{
    Batch, Identifier, QueryStream, RunOperation, RunQuery, RunQueryAs, RunScript, Typed,
    execute_many,
};
#[cfg(doc)]
use crate::{ConnectionBuilder, ErrorKind};

impl Connection {
    /// Runs a statement and returns its rows. For exactly one row see [`one`](RunQuery::one), for
    /// at most one [`optional`](RunQuery::optional).
    ///
    /// Each call is a transaction of its own, and any number may be in flight: they are pipelined.
    /// Statements are prepared automatically and cached, so a repeated one takes one round trip.
    /// While an interaction runs, calls wait until it has ended.
    ///
    /// Nothing is sent before the first poll. If the future is dropped, a statement that was sent
    /// runs on in the server, and the connection stays usable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] for an error of the server; [`ErrorKind::Parameter`] for values that
    /// do not match their types, in which case nothing was sent; [`ErrorKind::Lost`] if the
    /// connection breaks, where [`Error::delivery`] tells whether the server may have run the
    /// statement; [`ErrorKind::ConnectionDead`] if it broke before, and [`ErrorKind::Closed`] if it
    /// is not open.
    #[doc(alias = "query")]
    #[doc(alias = "fetch_all")]
    #[doc(alias = "prepare")]
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQuery<'a, P> {
        RunQuery(Call::new(Ok(self.scope()), sql, params))
    }

    /// Runs a statement and returns its rows, each as a `T`: a tuple, a struct, a map by name, a
    /// [`Scalar`](crate::Scalar). For exactly one row see [`one`](RunQueryAs::one), for at most one
    /// [`optional`](RunQueryAs::optional).
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let sql = "select id, name from people where id > $1";
    /// let people: Vec<(i64, String)> = connection.run_query_as(sql, (10_i64,)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`run_query`](Self::run_query), and [`ErrorKind::Decode`] for rows that cannot
    /// be decoded as `T`. The statement has taken effect by then.
    #[doc(alias = "query_as")]
    #[doc(alias = "query_scalar")]
    #[doc(alias = "query_typed")]
    pub fn run_query_as<'a, T, P>(&self, sql: &'a str, params: P) -> RunQueryAs<'a, T, P>
    where
        T: for<'r> FromRow<'r>,
        P: Params,
    {
        self.run_query(sql, params).rows_as()
    }

    /// This connection, with all rows decoded as `T`.
    pub fn with_rows_as<T: for<'r> FromRow<'r>>(&self) -> Typed<Self, T> {
        Typed::new(self.clone())
    }

    /// Runs a statement and returns the number of rows affected; 0 for statements without such a
    /// number, for example `CREATE TABLE`.
    ///
    /// In all else it behaves as [`run_query`](Self::run_query).
    #[doc(alias = "execute")]
    #[doc(alias = "rows_affected")]
    pub fn run_operation<'a, P: Params>(&self, sql: &'a str, params: P) -> RunOperation<'a, P> {
        RunOperation(Call::new(Ok(self.scope()), sql, params))
    }

    /// Runs a statement and returns its rows as they arrive, in bounded memory.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let mut people = connection.query_stream("select name from people", ());
    /// while let Some(row) = people.next().await {
    ///     println!("{}", row?.get::<&str>(0)?);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// With an owned text (a `String`) the stream may be returned from the function that created
    /// it.
    ///
    /// Nothing is sent before the first poll. Until its end, the stream has the connection for
    /// itself: other calls wait. So read it to its end or drop it before you await another call on
    /// the same connection, or run it in an interaction, where other statements may run between its
    /// portions. A task that awaits another call without reading on waits for itself: a `tracing`
    /// warning is logged after five seconds, and only a [`timeout`](RunQuery::timeout) ends the
    /// call. A slow reader makes the server wait: see [`QueryStream`].
    ///
    /// # Errors
    ///
    /// The errors of [`run_query`](Self::run_query), as items of the stream.
    #[doc(alias = "query_raw")]
    #[doc(alias = "fetch")]
    pub fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStream<'a, P> {
        QueryStream::of_connection(Ok(self.scope()), sql.into(), params)
    }

    /// Runs several statements without parameters, separated by semicolons, in one round trip
    /// (PostgreSQL's simple query protocol). Returns one result for each statement, in order;
    /// values are returned as text.
    ///
    /// The statements run in one transaction, unless the script itself contains BEGIN or COMMIT. A
    /// transaction that a script leaves open stays open for all later calls.
    ///
    /// # Errors
    ///
    /// The errors of [`run_query`](Self::run_query). The first statement that fails ends the
    /// script.
    #[doc(alias = "batch_execute")]
    #[doc(alias = "simple_query")]
    pub fn run_script<'a>(&self, sql: &'a str) -> RunScript<'a> {
        RunScript(Call::script(Ok(self.scope()), sql))
    }

    /// Cancels the call or interaction of this handle, and nothing else. Never blocks; may be
    /// called from any thread.
    ///
    /// * A call that was not sent yet is withdrawn.
    /// * A call that has ended is not affected.
    /// * A statement that the server executes is cancelled by a CancelRequest, on a second
    ///   connection to the same address, with TLS if the session uses it. No other request is sent
    ///   until the server has taken the CancelRequest, so it cannot hit another statement.
    ///
    /// The call then ends with [`ErrorKind::Cancelled`], or with its answer if that arrives before
    /// the cancel takes effect. An interaction is rolled back and ends with `Cancelled`, unless its
    /// COMMIT was sent already: a COMMIT or ROLLBACK is never cancelled.
    ///
    /// The cancel begins at once, and goes on whether the future is awaited or dropped. The future
    /// completes when the call has ended.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use std::time::Duration;
    /// use txpostgres::ErrorKind;
    ///
    /// let mut report = connection.run_query("select pg_sleep(60)", ());
    /// let handle = report.cancel_handle();
    /// let other = connection.clone();
    /// tokio::spawn(async move {
    ///     tokio::time::sleep(Duration::from_secs(1)).await;
    ///     other.cancel(&handle).await
    /// });
    /// assert_eq!(report.await.unwrap_err().kind(), ErrorKind::Cancelled);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] if the server gave no cancel key, as some poolers do, or if the call
    /// was sent together with others because its handle was taken too late: the call goes on.
    /// [`ErrorKind::Timeout`] if the call has not ended within the grace period
    /// ([`ConnectionBuilder::cancel_grace`], 5 s): the call goes on as well. Only if a
    /// CancelRequest was sent and the server did not confirm it by closing its connection, this
    /// connection is closed, since the CancelRequest could hit a later statement.
    #[doc(alias = "cancel_query")]
    pub fn cancel(&self, handle: &CancelHandle) -> CancelFuture {
        handle.cancel()
    }

    /// A cursor whose statements are each a transaction of their own. For statements of one
    /// transaction see [`run_interaction`](Self::run_interaction).
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let cursor = connection.cursor();
    /// cursor.execute("select id, name from people order by id", ()).await?;
    /// while let Some((id, name)) = cursor.fetch_one_as::<(i64, String)>()? {
    ///     println!("{id} {name}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.scope())
    }

    /// Statements that are sent together, in one round trip; each has a result of its own.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let results = connection
    ///     .batch()
    ///     .add("insert into people (id, name) values ($1, $2)", (1_i64, "Ada"))
    ///     .add("select count(*) from people", ())
    ///     .send()
    ///     .await?;
    /// for result in results {
    ///     println!("{}", result?.tag());
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "pipeline")]
    pub fn batch<'a>(&self) -> Batch<'a> {
        Batch::new(Ok(self.scope()))
    }

    /// Runs a statement once with each set of parameters, pipelined in a few flights, until one
    /// fails. Returns the number of rows returned or changed.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let people = [(1_i64, "Ada"), (2, "Grace")];
    /// connection.execute_many("insert into people (id, name) values ($1, $2)", people).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A flight has at most a thousand sets and about 1 MiB, and is a transaction of its own: the
    /// flights before one that fails stay done. In an interaction all is done, or nothing. If the
    /// future is dropped before its end, the flight that was sent runs on in the server, and no
    /// further one is sent.
    ///
    /// # Errors
    ///
    /// The errors of [`run_query`](Self::run_query); [`Error::item`] is the number of the set that
    /// failed, counted from 0. Nothing of its flight was done.
    // Not an `async fn`: within another future, it would not be `Send` for sets that borrow. The
    // compiler cannot prove that they are `Send` for every lifetime.
    #[doc(alias = "executemany")]
    pub fn execute_many<'a, I>(
        &self,
        sql: &'a str,
        sets: I,
    ) -> impl Future<Output = Result<u64>> + Send + use<'a, I>
    where
        I: IntoIterator,
        I::IntoIter: Send,
        I::Item: Params,
    {
        let executed = execute_many(Ok(self.scope()), sql, sets.into_iter());
        async move { Ok(executed.await?.row_count) }
    }

    // --- COPY ---

    /// Begins a `COPY … FROM STDIN`: data of any size into a table, in constant memory.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let mut copy = connection.copy_in("copy people (id, name) from stdin").await?;
    /// copy.send("1\tAda\n").await?;
    /// copy.send("2\tGrace\n").await?;
    /// assert_eq!(copy.finish().await?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`run_script`](Self::run_script), and [`ErrorKind::Request`] if the statement
    /// is not such a COPY. It has run by then
    /// ([`Delivery::CarriedOut`](crate::Delivery::CarriedOut)).
    pub fn copy_in<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyIn> {
        CopyIn::about_to(Ok(self.scope()), sql)
    }

    /// Begins a `COPY … TO STDOUT`: data of any size out of a table, in constant memory.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let mut copy = connection.copy_out("copy people to stdout (format csv)").await?;
    /// while let Some(data) = copy.next().await {
    ///     println!("{} bytes", data?.len());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`copy_in`](Self::copy_in).
    pub fn copy_out<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyOut> {
        CopyOut::about_to(Ok(self.scope()), sql)
    }

    /// Begins a COPY of rows into these columns of a table; if no column is named, into all except
    /// generated ones. Names are quoted as they are. A row is a tuple of values, as for the
    /// parameters of a statement.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let mut copy = connection.copy_in_rows("people", &["id", "name"]).await?;
    /// for (id, name) in [(1_i64, "Ada"), (2, "Grace")] {
    ///     copy.send((id, name)).await?;
    /// }
    /// assert_eq!(copy.finish().await?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// The types of the columns are looked up first, which takes a round trip; if no column is
    /// named, their names take another one.
    ///
    /// # Errors
    ///
    /// The errors of [`run_query`](Self::run_query).
    #[doc(alias = "BinaryCopyInWriter")]
    pub fn copy_in_rows<'a>(
        &self,
        table: impl Into<Identifier<'a>>,
        columns: &'a [&'a str],
    ) -> BeginCopy<'a, CopyInRows> {
        CopyInRows::about_to(Ok(self.scope()), table.into(), columns)
    }

    /// Begins a COPY of the rows of a query: for many rows somewhat cheaper than a stream.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let mut copy = connection.copy_out_rows("select id, name from people").await?;
    /// while let Some(row) = copy.next().await {
    ///     println!("{}", row?.get::<&str>("name")?);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// The query has no parameters, since COPY takes none. Its columns are looked up first, which
    /// takes a round trip.
    ///
    /// # Errors
    ///
    /// The errors of [`run_query`](Self::run_query).
    #[doc(alias = "BinaryCopyOutStream")]
    pub fn copy_out_rows<'a>(&self, query: &'a str) -> BeginCopy<'a, CopyOutRows> {
        CopyOutRows::about_to(Ok(self.scope()), query)
    }

    /// Clears the cache of types that were looked up in the database. Call it after `ALTER TYPE`
    /// and similar statements, on every connection that uses these types. A type is looked up again
    /// at its next use.
    ///
    /// A value that does not match its cached type clears the cache as well, after the error that
    /// it causes.
    pub fn forget_types(&self) {
        self.handle.driver.lock().forget_types();
    }
}
