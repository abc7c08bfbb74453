//! The requests that a connection, a pool and a cursor have in common: each is defined here, once.

/// The methods, for an `impl` or a trait: of something with a method `source`, which says where
/// their statements are sent.
macro_rules! statements {
    ($($vis:tt)?) => {
        /// Runs a statement and returns its rows. For exactly one row see
        /// [`one`](crate::RunQuery::one), for at most one [`optional`](crate::RunQuery::optional).
        ///
        /// Outside of an interaction each call is a transaction of its own. Any number may be in
        /// flight: they are pipelined. Statements are prepared automatically and cached, so a
        /// repeated one takes one round trip. While an interaction runs, other calls on its
        /// connection wait until it has ended.
        ///
        /// Nothing is sent before the first poll. If the future is dropped, a statement that was
        /// sent runs on in the server, and the connection stays usable.
        ///
        /// # Errors
        ///
        /// [`ErrorKind::Server`](crate::ErrorKind::Server) for an error of the server;
        /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for values that do not match their
        /// types, in which case nothing was sent; [`ErrorKind::Lost`](crate::ErrorKind::Lost) if
        /// the connection breaks, where [`Error::delivery`](crate::Error::delivery) tells whether
        /// the server may have run the statement;
        /// [`ErrorKind::ConnectionDead`](crate::ErrorKind::ConnectionDead) if it broke before, and
        /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if it is not open. In an interaction
        /// that has ended, [`ErrorKind::InteractionEnded`](crate::ErrorKind::InteractionEnded). In
        /// a transaction, statements after a failed one fail as well, until the rollback.
        #[doc(alias = "query")]
        #[doc(alias = "fetch_all")]
        #[doc(alias = "prepare")]
        $($vis)? fn run_query<'a, P: txpostgres_session::Params>(&self, sql: &'a str, params: P) -> crate::query::RunQuery<'a, P> {
            crate::query::RunQuery(crate::driver::Call::new(self.source(), sql, params))
        }

        /// Runs a statement and returns its rows, each as a `T`: a tuple, a struct, a map by name,
        /// a [`Scalar`](crate::Scalar). For exactly one row see [`one`](crate::RunQueryAs::one),
        /// for at most one [`optional`](crate::RunQueryAs::optional).
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
        /// The errors of [`run_query`](Self::run_query), and
        /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) for rows that cannot be decoded as `T`.
        /// The statement has taken effect by then.
        #[doc(alias = "query_as")]
        #[doc(alias = "query_scalar")]
        #[doc(alias = "query_typed")]
        $($vis)? fn run_query_as<'a, T, P>(&self, sql: &'a str, params: P) -> crate::query::RunQueryAs<'a, T, P>
        where
            T: for<'r> txpostgres_session::FromRow<'r>,
            P: txpostgres_session::Params,
        {
            self.run_query(sql, params).rows_as()
        }

        /// Runs a statement and returns the number of rows affected; 0 for statements without such
        /// a number, for example `CREATE TABLE`.
        ///
        /// In all else it behaves as [`run_query`](Self::run_query).
        #[doc(alias = "execute")]
        #[doc(alias = "rows_affected")]
        $($vis)? fn run_operation<'a, P: txpostgres_session::Params>(&self, sql: &'a str, params: P) -> crate::query::RunOperation<'a, P> {
            crate::query::RunOperation(crate::driver::Call::new(self.source(), sql, params))
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
        /// With an owned text (a `String`) the stream may be returned from the function that
        /// created it.
        ///
        /// Nothing is sent before the first poll. Until its end, the stream has its connection for
        /// itself: other calls on it wait. So read it to its end or drop it before you await
        /// another call on the same connection, or run it in an interaction, where rows are fetched
        /// a portion at a time, and other statements may run between the portions. A task that
        /// awaits another call without reading on waits for itself: a `tracing` warning is logged
        /// after five seconds, and only a [`timeout`](crate::RunQuery::timeout) ends the call. A
        /// slow reader makes the server wait: see [`QueryStream`](crate::QueryStream).
        ///
        /// # Errors
        ///
        /// The errors of [`run_query`](Self::run_query), as items of the stream.
        #[doc(alias = "query_raw")]
        #[doc(alias = "fetch")]
        $($vis)? fn query_stream<'a, P: txpostgres_session::Params>(
            &self,
            sql: impl Into<std::borrow::Cow<'a, str>>,
            params: P,
        ) -> crate::query::QueryStream<'a, P> {
            crate::query::QueryStream::new(self.source(), sql.into(), params)
        }

        /// Runs several statements without parameters, separated by semicolons, in one round trip
        /// (PostgreSQL's simple query protocol). Returns one result for each statement, in order;
        /// values are returned as text.
        ///
        /// The statements run in one transaction, unless the script itself contains BEGIN or
        /// COMMIT. A transaction that a script leaves open stays open for all later calls on a
        /// connection; a pool rolls it back. In an interaction leave BEGIN, COMMIT and ROLLBACK to
        /// the interaction: after a statement that ends the transaction every further call fails.
        ///
        /// # Errors
        ///
        /// The errors of [`run_query`](Self::run_query). The first statement that fails ends the
        /// script.
        #[doc(alias = "batch_execute")]
        #[doc(alias = "simple_query")]
        $($vis)? fn run_script<'a>(&self, sql: &'a str) -> crate::query::RunScript<'a> {
            crate::query::RunScript(crate::driver::Call::script(self.source(), sql))
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
        $($vis)? fn batch<'a>(&self) -> crate::query::Batch<'a> {
            crate::query::Batch::new(self.source())
        }

        /// Begins a `COPY … FROM STDIN`: data of any size into a table, in constant memory. In a
        /// transaction, a COPY that fails also fails the transaction, or only the nested
        /// interaction that it is in.
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
        /// The errors of [`run_script`](Self::run_script), and
        /// [`ErrorKind::Request`](crate::ErrorKind::Request) if the statement is not such a COPY.
        /// It has run by then ([`Delivery::CarriedOut`](crate::Delivery::CarriedOut)).
        $($vis)? fn copy_in<'a>(&self, sql: &'a str) -> crate::copy::BeginCopy<'a, crate::copy::CopyIn> {
            crate::copy::CopyIn::about_to(self.source(), sql)
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
        $($vis)? fn copy_out<'a>(&self, sql: &'a str) -> crate::copy::BeginCopy<'a, crate::copy::CopyOut> {
            crate::copy::CopyOut::about_to(self.source(), sql)
        }

        /// Begins a COPY of rows into these columns of a table; if no column is named, into all
        /// except generated ones. Names are quoted as they are. A row is a tuple of values, as for
        /// the parameters of a statement.
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
        $($vis)? fn copy_in_rows<'a>(
            &self,
            table: impl Into<crate::query::Identifier<'a>>,
            columns: &'a [&'a str],
        ) -> crate::copy::BeginCopy<'a, crate::copy::CopyInRows> {
            crate::copy::CopyInRows::about_to(self.source(), table.into(), columns)
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
        /// The query has no parameters, since COPY takes none. Its columns are looked up first,
        /// which takes a round trip.
        ///
        /// # Errors
        ///
        /// The errors of [`run_query`](Self::run_query).
        #[doc(alias = "BinaryCopyOutStream")]
        $($vis)? fn copy_out_rows<'a>(&self, query: &'a str) -> crate::copy::BeginCopy<'a, crate::copy::CopyOutRows> {
            crate::copy::CopyOutRows::about_to(self.source(), query)
        }

        /// Notifies all listeners of the channel in this database; in a transaction, when it
        /// commits.
        ///
        /// Notifications of one transaction arrive in the order in which they were sent; identical
        /// ones arrive once (manual, NOTIFY).
        ///
        /// # Errors
        ///
        /// [`ErrorKind::Request`](crate::ErrorKind::Request) for a name that
        /// [`listen`](crate::Connection::listen) refuses;
        /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for a payload of 8,000 bytes or
        /// more, or with a NUL; and the errors of [`run_query`](Self::run_query).
        $($vis)? fn notify(
            &self,
            channel: &str,
            payload: &str,
        ) -> impl std::future::Future<Output = txpostgres_session::Result<()>> + Send {
            crate::notify::notify(self.source(), channel, payload)
        }
    };

    // Apart, since a cursor keeps the rows of these.
    ($vis:vis execute_many) => {
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
        /// A flight has at most a thousand sets and about 1 MiB, and is a transaction of its own:
        /// the flights before one that fails stay done. In an interaction all is done, or nothing.
        /// If the future is dropped before its end, the flight that was sent runs on in the server,
        /// and no further one is sent.
        ///
        /// # Errors
        ///
        /// The errors of [`run_query`](Self::run_query); [`Error::item`](crate::Error::item) is the
        /// number of the set that failed, counted from 0. Nothing of its flight was done.
        // Not an `async fn`: within another future, it would not be `Send` for sets that borrow.
        // The compiler cannot prove that they are `Send` for every lifetime.
        #[doc(alias = "executemany")]
        $vis fn execute_many<'a, I>(
            &self,
            sql: &'a str,
            sets: I,
        ) -> impl std::future::Future<Output = txpostgres_session::Result<u64>> + Send + use<'a, I>
        where
            I: IntoIterator,
            I::IntoIter: Send,
            I::Item: txpostgres_session::Params,
        {
            let executed = crate::query::execute_many(self.source(), sql, sets.into_iter());
            async move { Ok(executed.await?.row_count) }
        }
    };
}

pub(crate) use statements;
