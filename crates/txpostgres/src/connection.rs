//! What users hold: one connection, shared by any number of tasks, opened and closed as often as they like.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::timeout;
use txpostgres_session::config::IntoConfig;
use txpostgres_session::{
    CancelKey, Error, ErrorKind, FromRow, KeyCache, Request, Result, ServerError, Session,
    TransactionStatus,
};

use crate::batch::Batch;
use crate::call::Call;
use crate::caller::Caller;
use crate::cancel::{Cancelling, GRACE};
use crate::copy::{CopyIn, CopyInRows, CopyOut, CopyOutRows};
use crate::cursor::Cursor;
use crate::dial::{Dial, Sockets};
use crate::interaction::{self, IsolationLevel, Options};
use crate::link::Link;
use crate::many::execute_many;
use crate::name::Name;
use crate::notify::audience::Audience;
use crate::notify::{Cooperator, Hall, QueueBounds, Spawning};
use crate::opening::Recipe;
use crate::params::Params;
use crate::patience::{CancelHandle, Patience};
use crate::pending::{RunOperation, RunQuery, RunQueryAs, RunScript};
use crate::stream::QueryStream;
use crate::typed::Typed;
use crate::watcher::watch;

/// How long `close` waits for the server to hang up: 1 s. It has been told to; a dead network must not hold up the program.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection to PostgreSQL.
///
/// Clones share it, and any number of tasks may use it at once: their statements are pipelined in the order in which they
/// are made. No task stands between a call and the socket: whoever awaits an answer drives the connection. A future dropped
/// at any point leaves the connection usable.
///
/// It needs a Tokio runtime with I/O and time.
///
/// ```no_run
/// # async fn example() -> txpostgres::Result<()> {
/// use txpostgres::Connection;
///
/// let connection = Connection::open("host=localhost dbname=test").await?;
/// for row in &connection.run_query("select id, name from people where id > $1", (10_i64,)).await? {
///     let (id, name): (i64, &str) = (row.get("id")?, row.get("name")?);
///     println!("{id} {name}");
/// }
/// connection.close().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Connection {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    dial: Arc<dyn Dial>,
    keys: KeyCache,
    grace: Duration,
    state: Mutex<State>,
    /// Dropped after the state: what a session says at its end is heard.
    pub(crate) hall: Hall,
}

/// ```text
///   Closed ──connect──▶ Opening ──▶ Open ──close, last clone dropped──▶ Closed
///      ▲                   │          │
///      └──────failed───────┘          └── the server goes away: still Open, its link is dead; connect opens anew
/// ```
#[derive(Default)]
enum State {
    #[default]
    Closed,
    /// Whose attempt it is, and the task that makes it.
    Opening(Arc<()>, Option<Waker>),
    Open(Arc<Link>),
}

/// Chooses how a [`Connection`] works.
#[derive(Default)]
pub struct Builder {
    dial: Option<Arc<dyn Dial>>,
    grace: Option<Duration>,
    notify_queue: QueueBounds,
    cooperator: Option<Arc<dyn Cooperator>>,
}

impl Builder {
    /// How long the server may take to end what it was told to cancel; 5 s if not said otherwise. A time limit of a call that
    /// has passed, and the drop of one that cancels on drop, give up the connection then.
    #[must_use]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// How byte streams to the server are made; TCP and Unix sockets if not said otherwise.
    #[must_use]
    pub fn connection_factory(mut self, dial: impl Dial + 'static) -> Self {
        self.dial = Some(Arc::new(dial));
        self
    }

    /// How much each observer and each stream of notifications may leave waiting.
    #[must_use]
    pub fn notify_queue(mut self, bounds: QueueBounds) -> Self {
        self.notify_queue = bounds;
        self
    }

    /// Where the work of notify observers runs, and when it lets others have their turn; as tasks of the connection's runtime
    /// if not said otherwise.
    #[must_use]
    pub fn cooperator(mut self, cooperator: impl Cooperator) -> Self {
        self.cooperator = Some(Arc::new(cooperator));
        self
    }

    /// The connection, not open yet.
    pub fn build(self) -> Connection {
        let cooperator = self.cooperator.unwrap_or_else(|| Arc::new(Spawning));
        Connection {
            shared: Arc::new(Shared {
                dial: self.dial.unwrap_or_else(|| Arc::new(Sockets)),
                keys: KeyCache::default(),
                grace: self.grace.unwrap_or(GRACE),
                state: Mutex::default(),
                hall: Hall(Audience::new(self.notify_queue, cooperator)),
            }),
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    /// A connection that is not open yet.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A connection that is not open yet, with choices.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A new connection, opened.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn open(config: impl IntoConfig) -> Result<Self> {
        let this = Self::new();
        this.connect(config).await?;
        Ok(this)
    }

    /// Opens the connection: looks up the host, connects, encrypts, logs in. With several hosts the first that lets us in
    /// is taken.
    ///
    /// Takes a connection string (`host=… dbname=…`), a URI (`postgresql://…`) or a
    /// [`Config`](crate::config::Config). What it leaves open is taken from `PG*` variables, the service file and the
    /// password file, as libpq does. Files are read in the calling task.
    ///
    /// Ends within `connect_timeout` (30 s if not said otherwise) for each host. Dropped before its end, it leaves the
    /// connection closed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyConnected`] while the connection is open or being opened; after [`close`](Self::close), or
    /// after the server went away, it may be opened again. [`ErrorKind::Config`] for a string that cannot be used;
    /// [`ErrorKind::Server`] when the server refuses; [`ErrorKind::Connect`], [`ErrorKind::Tls`],
    /// [`ErrorKind::Authentication`], [`ErrorKind::Protocol`] and [`ErrorKind::Timeout`] for what their names say.
    pub async fn connect(&self, config: impl IntoConfig) -> Result<()> {
        let config = config.into_config()?;
        let attempt = {
            let mut state = self.state();
            if state.is_in_use() {
                return Err(already_connected());
            }
            let attempt = Attempt { shared: &self.shared, mark: Arc::default() };
            *state = State::Opening(Arc::clone(&attempt.mark), None);
            attempt
        };
        let (dial, keys) = (Arc::clone(&self.shared.dial), self.shared.keys.clone());
        let audience = Arc::clone(&self.shared.hall.0);
        let recipe = Recipe { config, dial, keys, grace: self.shared.grace, audience };
        let mut opening = pin!(recipe.open());
        let opened = poll_fn(|cx| {
            if !attempt.is_called_by(cx) {
                return Poll::Ready(Err(closed_meanwhile()));
            }
            opening.as_mut().poll(cx)
        });
        let link = opened.await?;
        let mut state = self.state();
        if !attempt.is_current(&state) {
            return Err(closed_meanwhile());
        }
        tokio::spawn(watch(Arc::clone(&link.board), Arc::downgrade(&link)));
        self.shared.hall.0.opened(&link);
        *state = State::Open(link);
        Ok(())
    }

    /// Closes the connection. Calls that wait for an answer end with [`ErrorKind::Closed`]; the server ends the session.
    ///
    /// May be called any number of times, and on a connection that was never opened; one that is being opened stops. Waits, for a second at most, until
    /// the server has hung up. Dropping the last clone closes as well, without waiting.
    ///
    /// Streams of notifications end, and what was listened to is forgotten; observers stay.
    pub async fn close(&self) {
        let state = std::mem::take(&mut *self.state());
        match state {
            State::Open(link) => {
                link.shut();
                self.shared.hall.0.close(false);
                // A server that does not hang up has been told all the same.
                let _ = timeout(FAREWELL, poll_fn(|cx| link.poll_shutdown(cx))).await;
            }
            State::Opening(_, opener) => {
                self.shared.hall.0.close(false);
                if let Some(opener) = opener {
                    opener.wake();
                }
            }
            State::Closed => self.shared.hall.0.close(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    pub(crate) fn link(&self) -> Result<Arc<Link>> {
        match &*self.state() {
            State::Open(link) => Ok(Arc::clone(link)),
            State::Opening(..) => {
                Err(Error::new(ErrorKind::Closed, "the connection is not open yet"))
            }
            State::Closed => Err(Error::new(ErrorKind::Closed, "the connection is closed")
                .with_hint("open it with connect")),
        }
    }

    pub(crate) fn caller(&self) -> Result<Caller> {
        self.link().map(Caller::Connection)
    }

    /// Asks for something whose answer nobody waits for, if the connection is open.
    pub(crate) fn tell(&self, request: Request<'_>) {
        let Ok(link) = self.link() else {
            return;
        };
        let mut desk = link.board.desk();
        if let Ok(ticket) = desk.session.submit(request) {
            desk.expect_nothing(ticket);
            drop(desk);
            link.drive(None, true);
        }
    }

    // --- Statements ---

    /// Runs a statement and returns its rows.
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
        RunQuery(Call::new(self.caller(), sql, params))
    }

    /// Runs a statement and returns its rows, each as a `T`: a tuple, a struct, a map by name, a
    /// [`Scalar`](crate::Scalar).
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
        RunOperation(Call::new(self.caller(), sql, params))
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
    /// Nothing is sent before it is polled. Until its end it has the connection for itself: other calls are made and wait.
    /// So read it to its end or drop it before you await another call of the same connection, or run it in an
    /// interaction, where both go together. A call that the same task awaits meanwhile is refused with [`ErrorKind::Request`],
    /// once it has stood still for five seconds. When the reader is slow the server waits for him: see [`QueryStream`].
    ///
    /// # Errors
    ///
    /// Those of [`run_query`](Self::run_query) come as items.
    pub fn query_stream<'a, P: Params>(&self, sql: &'a str, params: P) -> QueryStream<'a, P> {
        QueryStream::of_connection(self.caller(), sql, params)
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
        RunScript(Call::script(self.caller(), sql))
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
    /// grace ([`Builder::cancel_grace`], 5 s): it goes on as well. Only if a cancel was sent and the server did not hang up on it,
    /// the connection is given up, since it could hit another statement later.
    pub fn cancel(&self, handle: &CancelHandle) -> Cancelling {
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
        Cursor::of_connection(self.clone())
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
        Batch::new(self.caller())
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
    pub async fn execute_many<I>(&self, sql: &str, sets: I) -> Result<u64>
    where
        I: IntoIterator,
        I::IntoIter: Send,
        I::Item: Params,
    {
        Ok(execute_many(self.caller(), sql, sets.into_iter()).await?.row_count)
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
    pub async fn copy_in(&self, sql: &str) -> Result<CopyIn> {
        CopyIn::begin(self.caller(), sql).await
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
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOut> {
        CopyOut::begin(self.caller(), sql).await
    }

    /// Begins a COPY of rows into these columns of a table, or into all of them if none is named. Names are quoted as they
    /// are. Values are those that a statement's parameters could be.
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
    /// The types of the columns are asked for first, which takes a round trip.
    ///
    /// # Errors
    ///
    /// As [`run_query`](Self::run_query).
    pub async fn copy_in_rows(
        &self,
        table: impl Into<Name<'_>>,
        columns: &[&str],
    ) -> Result<CopyInRows> {
        CopyInRows::begin(self.caller(), table.into(), columns).await
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
    pub async fn copy_out_rows(&self, query: &str) -> Result<CopyOutRows> {
        CopyOutRows::begin(self.caller(), query).await
    }

    /// Runs a closure in a transaction: committed when it returns `Ok`, rolled back when it returns `Err`, panics, or is
    /// dropped.
    ///
    /// The transaction has the connection for itself: other calls on it wait. Call the cursor, not the connection, within
    /// the closure. BEGIN travels with the first statement.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let amount = 100_i64;
    /// let left: i64 = connection
    ///     .run_interaction(async |cursor| {
    ///         cursor.run_operation("update account set sum = sum - $1 where id = 1", (amount,)).await?;
    ///         cursor.run_operation("update account set sum = sum + $1 where id = 2", (amount,)).await?;
    ///         let rows = cursor.run_query("select sum from account where id = 1", ()).await?;
    ///         rows.first().expect("the account exists").get(0)
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The closure's own error, after the rollback; and, turned into the closure's error type:
    ///
    /// * what COMMIT was refused with, such as a deferred constraint, after which the transaction is over as well;
    /// * [`ErrorKind::CommitRefused`] when a statement had failed and the closure returned `Ok` all the same;
    /// * [`ErrorKind::CommitUnknown`] when the connection broke after COMMIT was sent;
    /// * [`ErrorKind::RollbackFailed`] when the rollback failed, with the closure's error in
    ///   [`Error::original`]; the connection is closed then.
    pub fn run_interaction<T, E, F, Fut>(
        &self,
        interaction: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F, Fut>
    where
        F: FnOnce(Cursor) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        self.interaction().run(interaction)
    }

    /// An interaction with choices: isolation level, read only, deferrable.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::IsolationLevel;
    ///
    /// let rows = connection
    ///     .interaction()
    ///     .isolation_level(IsolationLevel::Serializable)
    ///     .read_only(true)
    ///     .run(async |cursor| cursor.run_query("select sum(sum) from account", ()).await)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn interaction(&self) -> Interaction {
        Interaction { link: self.link(), options: Options::default(), patience: None }
    }

    /// Forgets what was looked up of the database's own types: to be called after `ALTER TYPE` and its like, on every
    /// connection that uses them. They are looked up again when they are next met.
    ///
    /// A value that does not fit what was looked up has the same effect, after the error that says so.
    pub fn forget_types(&self) {
        if let Ok(link) = self.link() {
            link.board.desk().session.forget_types();
        }
    }

    // --- What is known of the session ---

    /// Whether there is no session to talk to: never opened, closed, or the server went away.
    pub fn is_closed(&self) -> bool {
        self.link().map_or(true, |link| link.board.desk().session.is_closed())
    }

    /// The server's version as a number: 150018 for 15.18.
    pub fn server_version(&self) -> Option<u32> {
        version_number(&self.parameter("server_version")?)
    }

    /// The process that serves this session, if the server said.
    pub fn backend_pid(&self) -> Option<i32> {
        self.live(|session| session.cancel_key().map(CancelKey::process_id))
    }

    /// A parameter that the server reports by itself, such as `TimeZone`, `in_hot_standby` or `server_version`
    /// (manual, section 54.2.7).
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.live(|session| session.parameter(name).map(str::to_owned))
    }

    /// The encoding of text on the wire: always `UTF8`. `None` while the connection is not open.
    pub fn encoding(&self) -> Option<String> {
        self.parameter("client_encoding")
    }

    /// The transaction status that the server reported last; `None` while the connection is not open.
    pub fn transaction_status(&self) -> Option<TransactionStatus> {
        self.live(|session| Some(session.transaction_status()))
    }

    /// Whether the bytes are encrypted by TLS.
    pub fn is_encrypted(&self) -> bool {
        self.live(|session| Some(session.is_encrypted())).unwrap_or(false)
    }

    /// The last 50 notices and warnings of the session, the oldest first; also when the server has gone away.
    pub fn notices(&self) -> Vec<ServerError> {
        self.link().map_or_else(
            |_| Vec::new(),
            |link| link.board.desk().session.notices().cloned().collect(),
        )
    }

    /// What is known of a session that is alive.
    fn live<T>(&self, know: impl FnOnce(&Session) -> Option<T>) -> Option<T> {
        let link = self.link().ok()?;
        let desk = link.board.desk();
        if desk.session.is_closed() { None } else { know(&desk.session) }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_closed", &self.is_closed())
            .field("backend_pid", &self.backend_pid())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn is_in_use(&self) -> bool {
        match self {
            Self::Closed => false,
            Self::Opening(..) => true,
            Self::Open(link) => !link.board.desk().session.is_closed(),
        }
    }
}

fn closed_meanwhile() -> Error {
    Error::new(ErrorKind::Closed, "the connection was closed while it was being opened")
}

fn already_connected() -> Error {
    Error::new(ErrorKind::AlreadyConnected, "the connection is open already")
        .with_hint("close it first, or use another Connection")
}

/// One `connect` in progress; dropped before it succeeds, it leaves the connection closed.
struct Attempt<'a> {
    shared: &'a Shared,
    mark: Arc<()>,
}

impl Attempt<'_> {
    fn is_current(&self, state: &State) -> bool {
        matches!(state, State::Opening(mark, _) if Arc::ptr_eq(mark, &self.mark))
    }

    /// Whether this is still what the connection does; if so, whoever ends it will call this task.
    fn is_called_by(&self, cx: &Context<'_>) -> bool {
        match &mut *self.shared.state() {
            State::Opening(mark, opener) if Arc::ptr_eq(mark, &self.mark) => {
                *opener = Some(cx.waker().clone());
                true
            }
            _ => false,
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if self.is_current(&state) {
            *state = State::Closed;
        }
    }
}

/// A transaction about to be run: see [`Connection::interaction`].
#[must_use = "an interaction does nothing until it is run"]
pub struct Interaction {
    link: Result<Arc<Link>>,
    options: Options,
    patience: Option<Patience>,
}

impl Interaction {
    /// What the transaction may see of others.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.options.isolation = Some(level);
        self
    }

    /// Whether the transaction may only read.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.options.read_only = Some(read_only);
        self
    }

    /// Whether a serializable, read-only transaction waits until it cannot fail (manual, section 13.2.3).
    pub fn deferrable(mut self, deferrable: bool) -> Self {
        self.options.deferrable = Some(deferrable);
        self
    }

    /// A handle by which the interaction can be [cancelled](Connection::cancel), from any task: the statement that it is in
    /// ends, the closure's future is dropped, and the transaction is rolled back. Once COMMIT was sent it has no effect.
    ///
    /// Statements of an interaction that can be cancelled are not pipelined: each travels alone.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        self.patience.get_or_insert_default().handle()
    }

    /// Limits the time from the first poll to COMMIT. When it passes, the interaction is cancelled and ends with
    /// [`ErrorKind::Timeout`].
    ///
    /// A server that has not rolled back, or not answered COMMIT, within the grace ([`Builder::cancel_grace`], 5 s) after that is given
    /// up, with the connection.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.patience.get_or_insert_default().set_limit(limit);
        self
    }

    /// When the interaction's future is dropped, the statement that it is in is cancelled on the server, instead of run to
    /// its end before the rollback.
    pub fn cancel_on_drop(mut self) -> Self {
        self.options.cancels_on_drop = true;
        self
    }

    /// Runs the closure in the transaction: see [`Connection::run_interaction`].
    pub fn run<T, E, F, Fut>(
        self,
        interaction: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F, Fut>
    where
        F: FnOnce(Cursor) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        interaction::run(self.link, self.options, self.patience, interaction)
    }
}

impl fmt::Debug for Interaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interaction").field("options", &self.options).finish_non_exhaustive()
    }
}

/// `15.18 (Debian 15.18-0+deb12u1)` is 150018; `9.6.24` is 90624, as libpq's `PQserverVersion` has it.
fn version_number(text: &str) -> Option<u32> {
    let digits: String =
        text.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts = digits.split('.').map(|part| part.parse::<u32>().ok());
    let major = parts.next()??;
    let minor = parts.next().flatten().unwrap_or(0);
    let patch = parts.next().flatten().unwrap_or(0);
    let number = if major >= 10 {
        major.checked_mul(10_000)?.checked_add(minor)?
    } else {
        (major * 10_000).checked_add(minor.checked_mul(100)?.checked_add(patch)?)?
    };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", Some(150_018)),
            ("18.6", Some(180_006)),
            ("19devel", Some(190_000)),
            ("19beta1", Some(190_000)),
            ("9.6.24", Some(90_624)),
            ("99999999999.1", None),
            ("9.42949672.0", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
