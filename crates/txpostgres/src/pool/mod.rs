//! Several connections to one server, for any number of tasks.
//!
//! `policy/slots.rs` says who uses which connection, `policy/openings.rs` when one is opened,
//! `policy/pace.rs` which statements may be in flight together. This folder carries that out:
//!
//! ```text
//!   call ─▶ loan ─▶ borrowing ─▶ permit ─── given back ──▶ cleaning, if its state is unclear
//!                      │ none free: waiter                    └─ not clean: closed
//!                      ▼
//!                   opening ◀── keeper: what is lacking, too old, not needed
//! ```

mod added;
mod borrowing;
mod builder;
mod cleaning;
mod exhausted;
mod keeper;
mod listening;
mod loan;
mod member;
mod meters;
mod opening;
mod permit;
mod pooled;
mod settings;
mod shared;
mod statistics;
mod waiter;
mod wish;

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use txpostgres_session::config::IntoConfig;
use txpostgres_session::{Error, ErrorKind, FromRow, Result};

#[cfg(doc)]
use crate::Config;
use crate::connection::Connection;
use crate::cursor::Cursor;
use crate::driver::Source;
use crate::query::Typed;
use crate::statements::statements;
use crate::transaction::Interaction;
use borrowing::Borrowing;
use listening::Listening;
use loan::PoolLoan;
use member::Member;
use shared::{Phase, Shared};
use wish::{Purpose, Wish};

pub use builder::ConnectionPoolBuilder;
pub use pooled::PooledConnection;
pub use statistics::PoolStatistics;

/// A pool of connections to one server.
///
/// A handle: clones share the pool, and any number of tasks may use it at once. It has the calls of
/// a [`Connection`], by the same names.
///
/// ```no_run
/// # async fn example() -> txpostgres::Result<()> {
/// use txpostgres::ConnectionPool;
///
/// let pool = ConnectionPool::builder("host=localhost dbname=test").max(20).build()?;
/// pool.start().await?;
/// let names: Vec<(String,)> = pool.run_query_as("select name from people", ()).await?;
/// pool.run_interaction(async |cursor| {
///     cursor.run_operation("insert into people (name) values ($1)", ("Ada",)).await
/// })
/// .await?;
/// pool.close().await;
/// # Ok(()) }
/// ```
///
/// # What uses a connection how
///
/// * A statement of [`run_query`](Self::run_query) and its like takes an idle connection. If there
///   is none, and the statement's text is known to be quick, it is sent on one that others of its
///   kind use already: they are pipelined. What is not known to be quick, or cannot be pipelined,
///   waits for a connection of its own.
/// * Interactions, streams, batches, scripts, COPY and [`get`](Self::get) have a connection for
///   themselves.
///
/// Callers that wait are served in the order in which they came, for at most
/// [`acquire_timeout`](ConnectionPoolBuilder::acquire_timeout).
///
/// # Connections
///
/// A connection that is lost is replaced in the background, and is not handed out. One that was
/// idle for a second is asked for a sign of life before it is handed out. When the server of the
/// pool has lost the role that was asked for (`target_session_attrs=read-write`), all connections
/// to it retire. See [The pool](crate::guide::pool).
///
/// When the last clone is dropped, the connections are closed.
#[doc(alias = "PgPool")]
#[doc(alias = "Pool")]
#[derive(Clone)]
pub struct ConnectionPool {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    listening: Listening,
    read: Option<ConnectionPool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Each is closed when it is dropped, without waiting.
        drop(self.shared.shut());
    }
}

/// What is done with the state of a session, such as settings, temporary tables, advisory locks and
/// channels, when a connection comes back to its pool from a caller who had it alone for more than
/// one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SessionState {
    /// It is kept: the next caller finds it as it was left. Costs nothing. A transaction that was
    /// left open is rolled back all the same.
    #[default]
    Keep,
    /// It is reset, except for prepared statements: settings, roles, channels, cursors, temporary
    /// tables, sequences, advisory locks. Eight round trips in the background.
    Reset,
    /// `DISCARD ALL`: as `Reset`, and prepared statements are dropped as well, so that each must be
    /// prepared again. One round trip in the background.
    Discard,
}

impl ConnectionPool {
    /// Creates a pool with default settings: at least 3 connections and at most 10. None is open
    /// yet: [`start`](Self::start) opens them, or else the first call does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for an invalid configuration.
    pub fn new(config: impl IntoConfig) -> Result<Self> {
        Self::builder(config).build()
    }

    /// Creates a pool with other settings.
    pub fn builder(config: impl IntoConfig) -> ConnectionPoolBuilder {
        ConnectionPoolBuilder::new(config.into_config())
    }

    /// Opens the least number of connections, and returns when all are open.
    ///
    /// It is not necessary to start a pool: the first call opens a connection. But this tells at
    /// once what a wrong address or password is. If the future is dropped before its end, the pool
    /// is not started, and no connection is left.
    ///
    /// # Errors
    ///
    /// The first error of [`Connection::connect`]. No connection is left open then.
    pub async fn start(&self) -> Result<()> {
        let shared = &self.handle.shared;
        let lacking = {
            let mut state = shared.state.lock();
            if state.phase == Phase::Closed {
                state.phase = Phase::New;
            }
            state.min.saturating_sub(state.slots.size())
        };
        let mut opening = JoinSet::new();
        for _ in 0..lacking {
            let shared = Arc::clone(shared);
            opening.spawn(async move { shared.open(None).await });
        }
        let mut opened = Vec::new();
        while let Some(outcome) = opening.join_next().await {
            let outcome = outcome.map_err(|error| {
                let message = if error.is_panic() {
                    "what the program gave to the pool panicked"
                } else {
                    "the runtime has ended"
                };
                Error::new(ErrorKind::Closed, message).with_source(error)
            });
            match outcome.and_then(|opened| opened) {
                Ok(member) => opened.push(member),
                Err(error) => {
                    opening.shutdown().await;
                    close_all(opened).await;
                    return Err(error);
                }
            }
        }
        for member in opened {
            shared.put(member);
        }
        shared.begin()
    }

    /// Closes the pool: waits until no connection is in use, for at most
    /// [`close_timeout`](ConnectionPoolBuilder::close_timeout), and closes all of them. New calls,
    /// and those that wait for a connection, end with [`ErrorKind::Closed`] at once.
    ///
    /// May be called any number of times. A pool that was closed may be [started](Self::start)
    /// again.
    pub async fn close(&self) {
        self.handle.listening.close().await;
        if let Some(read) = &self.handle.read {
            Box::pin(read.close()).await;
        }
        let shared = &self.handle.shared;
        let until = Instant::now() + shared.settings.close_timeout;
        shared.refuse();
        self.rest(Some(until)).await;
        close_all(shared.shut()).await;
    }

    /// Has nothing handed out from now on, and waits until no connection is in use. Callers wait
    /// until [`resume`](Self::resume), for as long as their own time allows. For a planned
    /// switch-over.
    ///
    /// ```no_run
    /// # async fn example(pool: txpostgres::ConnectionPool) {
    /// pool.suspend().await;
    /// // … the other server is promoted …
    /// pool.retire();
    /// pool.resume();
    /// # }
    /// ```
    ///
    /// If the future is dropped, the pool stays suspended.
    pub async fn suspend(&self) {
        let handed = self.handle.shared.state.lock().slots.suspend(shared::now(), true);
        self.handle.shared.hand(handed);
        self.rest(None).await;
    }

    /// Ends [`suspend`](Self::suspend).
    pub fn resume(&self) {
        let handed = self.handle.shared.state.lock().slots.suspend(shared::now(), false);
        self.handle.shared.hand(handed);
        self.handle.shared.pump();
    }

    /// Retires all connections that the pool has opened: those that are idle are closed now, the
    /// others when they are given back. New ones are opened in their place.
    pub fn retire(&self) {
        let retired = {
            let mut state = self.handle.shared.state.lock();
            state.generation += 1;
            state.slots.retire(|member| member.is_own)
        };
        self.handle.shared.retired(retired);
    }

    /// Sets the least and the greatest number of connections. What is idle beyond the new greatest
    /// number is closed, the rest when it is given back.
    pub fn resize(&self, min: usize, max: usize) {
        let max = max.max(min).max(1);
        let retired = {
            let mut state = self.handle.shared.state.lock();
            (state.min, state.max) = (min, max);
            let mut spare = state.slots.size().saturating_sub(max);
            state.slots.retire(|member| {
                let goes = spare > 0 && member.is_own;
                spare -= usize::from(goes);
                goes
            })
        };
        self.handle.shared.retired(retired);
    }

    /// Waits until no connection is in use.
    async fn rest(&self, until: Option<Instant>) {
        let shared = &self.handle.shared;
        loop {
            let mut at_rest = std::pin::pin!(shared.at_rest.notified());
            at_rest.as_mut().enable();
            {
                let mut state = shared.state.lock();
                state.is_watched = true;
                if state.slots.is_at_rest() {
                    return;
                }
            }
            match until {
                Some(until) => {
                    if timeout_at(until, at_rest).await.is_err() {
                        return;
                    }
                }
                None => at_rest.await,
            }
        }
    }

    /// Adds a connection to the pool, which hands it out like its own from now on, and has room for
    /// one more. It may be in use. The pool closes it when it is closed itself, and removes it when
    /// its session is over; one with a detector is given out again once it is back.
    ///
    /// Adding a connection that is there already has no effect.
    pub fn add(&self, connection: Connection) {
        self.handle.shared.add(connection);
    }

    /// Removes a connection from the pool, which has room for one less from now on. It stays open,
    /// and calls on it go on. Returns whether it was there.
    ///
    /// The connection is one that was [added](Self::add), or one that [`get`](Self::get) has
    /// returned.
    pub fn remove(&self, connection: &Connection) -> bool {
        self.handle.shared.remove_connection(connection)
    }

    /// A connection for exclusive use, until it is dropped.
    ///
    /// ```no_run
    /// # async fn example(pool: txpostgres::ConnectionPool) -> txpostgres::Result<()> {
    /// let connection = pool.get().await?;
    /// connection.run_operation("create temporary table seen (id bigint)", ()).await?;
    /// connection.run_operation("insert into seen values ($1)", (1_i64,)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// If the future is dropped, the caller leaves the queue, and a connection that was handed to
    /// it goes to the next one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if none was free within
    /// [`acquire_timeout`](ConnectionPoolBuilder::acquire_timeout), or too many callers wait
    /// already. The message says how many connections are in use, idle and being opened, and for
    /// how long one is held; the source, why the last attempt to open one has failed. If none is
    /// open and none can be opened, for a reason that does not pass by itself, such as a wrong
    /// password: that error, at once. [`ErrorKind::Closed`] if the pool is closed.
    #[doc(alias = "acquire")]
    #[track_caller]
    pub fn get(&self) -> impl Future<Output = Result<PooledConnection>> + Send + use<> {
        let place = Some(Location::caller());
        let wish = Wish { purpose: Purpose::Anything, shares: false, limit: None, place };
        let mut borrowing = Borrowing::new(&self.handle.shared);
        async move {
            let permit = poll_fn(|cx| borrowing.poll(&wish, cx)).await?;
            Ok(PooledConnection::new(permit))
        }
    }

    /// The pool for statements that only read: of standbys, if
    /// [it was built so](ConnectionPoolBuilder::read), or else this one.
    ///
    /// ```no_run
    /// # async fn example() -> txpostgres::Result<()> {
    /// use txpostgres::ConnectionPool;
    ///
    /// let hosts = "host=db1,db2,db3 dbname=test";
    /// let pool = ConnectionPool::builder(format!("{hosts} target_session_attrs=read-write"))
    ///     .read(hosts)
    ///     .build()?;
    /// pool.run_operation("insert into people (name) values ($1)", ("Ada",)).await?;
    /// let sql = "select count(*) from people";
    /// let count: i64 = pool.read().run_query(sql, ()).one().await?.get(0)?;
    /// # Ok(()) }
    /// ```
    ///
    /// A standby may lag behind: what was just written need not be there yet.
    pub fn read(&self) -> &Self {
        self.handle.read.as_ref().unwrap_or(self)
    }

    /// The present numbers of the pool.
    #[doc(alias = "status")]
    #[doc(alias = "stat")]
    pub fn statistics(&self) -> PoolStatistics {
        self.handle.shared.statistics()
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.handle.shared.state.lock().phase == Phase::Closed
    }

    statements!(pub);
    statements!(pub execute_many);

    /// Where statements of the pool are sent: on a connection that each borrows.
    #[inline]
    pub(crate) fn source(&self) -> Source {
        Source::Loan(Box::new(PoolLoan::new(&self.handle.shared)))
    }

    /// This pool, with all rows decoded as `T`.
    pub fn with_rows_as<T: for<'r> FromRow<'r>>(&self) -> Typed<Self, T> {
        Typed::new(self.clone())
    }

    /// Runs a closure in a transaction on a connection of the pool: see
    /// [`Connection::run_interaction`].
    ///
    /// # Errors
    ///
    /// Those of [`Connection::run_interaction`], and of [`get`](Self::get).
    #[doc(alias = "transaction")]
    #[doc(alias = "begin")]
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

    /// An interaction with options: see [`Connection::interaction`]. With
    /// [`retries`](Interaction::retries) each attempt has a connection of its own, so that one that
    /// was lost is not waited for.
    #[doc(alias = "build_transaction")]
    pub fn interaction(&self) -> Interaction {
        Interaction::new(self.source())
    }
}

/// Closes connections, all at a time.
async fn close_all(members: Vec<Arc<Member>>) {
    let mut closing = JoinSet::new();
    for member in members {
        closing.spawn(async move { member.connection.close().await });
    }
    while closing.join_next().await.is_some() {}
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
