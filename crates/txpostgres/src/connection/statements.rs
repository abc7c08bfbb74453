//! What can be asked of a connection: statements, cursors, streams, COPY, transactions, and their cancelling.

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
    /// Runs a statement and returns its rows; with [`one`](RunQuery::one) the only one, with [`optional`](RunQuery::optional) the
    /// only one if there is any.
    ///
    /// Each call is a transaction of its own, and any number may be made without waiting: they are pipelined. A statement
    /// seen before on this connection takes one round trip. While an interaction runs, calls wait until it has ended.
    ///
    /// The future sends nothing before it is polled. Dropped, it leaves the statement to the server and the connection
    /// usable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] with what the server said; [`ErrorKind::Parameter`] for values that do not fit, of which
    /// nothing was sent; [`ErrorKind::Lost`] when the connection breaks, with
    /// [`Error::delivery`] telling whether the server may have run the statement; [`ErrorKind::ConnectionDead`] if it
    /// broke before, and [`ErrorKind::Closed`] if it is not open.
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQuery<'a, P> {
        RunQuery(Call::new(Ok(self.scope()), sql, params))
    }

    /// Runs a statement and returns its rows, each as a `T`: a tuple, a struct, a map by name, a
    /// [`Scalar`](crate::Scalar). With [`one`](RunQueryAs::one) and [`optional`](RunQueryAs::optional) it is the only row.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let people: Vec<(i64, String)> =
    ///     connection.run_query_as("select id, name from people where id > $1", (10_i64,)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run_query`](Self::run_query); and [`ErrorKind::Decode`] for rows that do not fit. The statement has taken
    /// effect then.
    pub fn run_query_as<'a, T, P>(&self, sql: &'a str, params: P) -> RunQueryAs<'a, T, P>
    where
        T: for<'r> FromRow<'r>,
        P: Params,
    {
        self.run_query(sql, params).rows_as()
    }

    /// The same connection, with `T` as the shape of all rows.
    pub fn with_rows_as<T: for<'r> FromRow<'r>>(&self) -> Typed<Self, T> {
        Typed::new(self.clone())
    }

    /// Runs a statement and returns how many rows it affected; 0 for statements that affect none, such as `CREATE TABLE`.
    ///
    /// As [`run_query`](Self::run_query) in all else.
    pub fn run_operation<'a, P: Params>(&self, sql: &'a str, params: P) -> RunOperation<'a, P> {
        RunOperation(Call::new(Ok(self.scope()), sql, params))
    }

    /// Runs a statement and returns its rows as they come, in bounded memory.
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
    /// A text that is given away (a `String`) makes a stream that may be returned from where it was built.
    ///
    /// Nothing is sent before it is polled. Until its end it has the connection for itself: other calls are made and wait.
    /// So read it to its end or drop it before you await another call of the same connection, or run it in an
    /// interaction, where both go together. A call that the same task awaits meanwhile is refused with [`ErrorKind::Request`],
    /// once it has stood still for five seconds. When the reader is slow the server waits for him: see [`QueryStream`].
    ///
    /// # Errors
    ///
    /// Those of [`run_query`](Self::run_query) come as items.
    pub fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStream<'a, P> {
        QueryStream::of_connection(Ok(self.scope()), sql.into(), params)
    }

    /// Runs several statements without parameters, separated by semicolons, in one round trip. The results come in
    /// order, one for each statement; values come as text.
    ///
    /// The statements run in one transaction, unless they say otherwise. A script that leaves a transaction open leaves it
    /// open for every later call.
    ///
    /// # Errors
    ///
    /// As [`run_query`](Self::run_query). The first statement that fails ends the script.
    pub fn run_script<'a>(&self, sql: &'a str) -> RunScript<'a> {
        RunScript(Call::script(Ok(self.scope()), sql))
    }

    /// Cancels a call or an interaction, whose handle this is, and nothing else. Never blocks; may be called from anywhere.
    ///
    /// * What was not sent is not sent.
    /// * What is over stays as it is.
    /// * What the server works on is ended there, by a connection of its own: to the same address, with TLS if the session has
    ///   it. Nothing else is sent until the server has taken note, so the cancel cannot hit another statement.
    ///
    /// The call then ends with [`ErrorKind::Cancelled`], or with its answer if that was faster. An interaction is rolled
    /// back, and ends with the same; one whose COMMIT was sent ends as it would.
    ///
    /// It begins at once, and goes on whether the future is awaited, dropped or forgotten. Awaited, it tells when the call is over.
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
    /// [`ErrorKind::Request`] if the server gave no key to cancel with, as some poolers do, or the call has left together
    /// with others because its handle was asked for too late: it goes on. [`ErrorKind::Timeout`] if it is not over within the
    /// grace ([`ConnectionBuilder::cancel_grace`], 5 s): it goes on as well. Only if a cancel was sent and the server did not hang up on it,
    /// the connection is given up, since it could hit another statement later.
    pub fn cancel(&self, handle: &CancelHandle) -> CancelFuture {
        handle.cancel()
    }

    /// A cursor whose statements are each a transaction of their own; for those of one transaction, see
    /// [`run_interaction`](Self::run_interaction).
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

    /// Statements to be sent together, in one round trip; each has a result of its own.
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
    pub fn batch<'a>(&self) -> Batch<'a> {
        Batch::new(Ok(self.scope()))
    }

    /// Runs a statement once with each set of parameters, in few flights, until one fails. Returns how many rows were
    /// returned or changed.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let people = [(1_i64, "Ada"), (2, "Grace")];
    /// connection.execute_many("insert into people (id, name) values ($1, $2)", people).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A flight has at most a thousand sets and about 1 MiB, and is a transaction of its own: what was done before the one
    /// that failed stays done. In an interaction all is done, or nothing. Dropped before its end, the flight that was sent is
    /// left to the server, and none follows.
    ///
    /// # Errors
    ///
    /// As [`run_query`](Self::run_query); [`Error::item`] is the number of the set that failed, the first being 0. Nothing of
    /// its flight was done.
    // An `async fn` would not be `Send` for sets that borrow, when it is within another future: the compiler does not believe
    // that they are, whatever they borrow from.
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

    /// Begins a `COPY … FROM STDIN`: data of any size goes into a table, in constant memory.
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
    /// As [`run_script`](Self::run_script), and [`ErrorKind::Request`] if the statement is another one. The other statement has
    /// run then.
    pub fn copy_in<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyIn> {
        CopyIn::about_to(Ok(self.scope()), sql)
    }

    /// Begins a `COPY … TO STDOUT`: data of any size comes out of a table, in constant memory.
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
    /// As [`copy_in`](Self::copy_in).
    pub fn copy_out<'a>(&self, sql: &'a str) -> BeginCopy<'a, CopyOut> {
        CopyOut::about_to(Ok(self.scope()), sql)
    }

    /// Begins a COPY of rows into these columns of a table; if none is named, into all of them but generated ones. Names are
    /// quoted as they are. Values are those that a statement's parameters could be.
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
    /// The types of the columns are asked for first, which takes a round trip; if no column is named, their names before that.
    ///
    /// # Errors
    ///
    /// As [`run_query`](Self::run_query).
    pub fn copy_in_rows<'a>(
        &self,
        table: impl Into<Identifier<'a>>,
        columns: &'a [&'a str],
    ) -> BeginCopy<'a, CopyInRows> {
        CopyInRows::about_to(Ok(self.scope()), table.into(), columns)
    }

    /// Begins a COPY of a query's rows to us: for many rows somewhat cheaper than a stream of them.
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
    /// The query has no parameters: COPY takes none. Its columns are asked for first, which takes a round trip.
    ///
    /// # Errors
    ///
    /// As [`run_query`](Self::run_query).
    pub fn copy_out_rows<'a>(&self, query: &'a str) -> BeginCopy<'a, CopyOutRows> {
        CopyOutRows::about_to(Ok(self.scope()), query)
    }

    /// Forgets what was looked up of the database's own types: to be called after `ALTER TYPE` and its like, on every
    /// connection that uses them. They are looked up again when they are next met.
    ///
    /// A value that does not fit what was looked up has the same effect, after the error that says so.
    pub fn forget_types(&self) {
        self.handle.driver.lock().forget_types();
    }
}
