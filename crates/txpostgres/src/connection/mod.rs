//! The handle that users hold: one connection, shared by any number of tasks, which can be opened
//! and closed repeatedly.

mod builder;
mod info;
mod notifications;
mod opening;
mod reopening;
mod settings;
mod statements;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use txpostgres_multiplex::{Drive, Listeners};
use txpostgres_session::config::{Config, IntoConfig};
#[cfg(doc)]
use txpostgres_session::{Error, ErrorKind};
use txpostgres_session::{KeyCache, Result};

use crate::driver::{Driver, Occasion, OnHeard, Scope, in_recovery};
use crate::io::Dial;
use crate::notify::Observers;
use opening::{Opener, closed_meanwhile};
use reopening::{LastClone, Reconnection};

pub use builder::ConnectionBuilder;

/// How long `close` waits for the server to close the connection: 1 s. Terminate was sent by then;
/// a dead network must not hold up the program.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to PostgreSQL.
///
/// Clones share the connection, and any number of tasks may use it at once: their statements are
/// pipelined in the order in which they are sent. A new statement with parameters is described
/// first, and other statements may be sent meanwhile. No task stands between a call and the socket:
/// a task that awaits an answer drives the connection. A future that is dropped at any point leaves
/// the connection usable.
///
/// It needs a Tokio runtime with I/O and time.
///
/// ```no_run
/// # async fn example() -> txpostgres::Result<()> {
/// use txpostgres::Connection;
///
/// let connection = Connection::open("host=localhost dbname=test").await?;
/// let sql = "select id, name from people where id > $1";
/// for row in &connection.run_query(sql, (10_i64,)).await? {
///     let (id, name): (i64, &str) = (row.get("id")?, row.get("name")?);
///     println!("{id} {name}");
/// }
/// connection.close().await;
/// # Ok(()) }
/// ```
#[doc(alias = "Client")]
#[doc(alias = "PgConnection")]
#[derive(Clone)]
pub struct Connection {
    pub(crate) handle: Arc<Handle>,
    /// Ends its detector's attempts with the last clone: an attempt itself holds the handle.
    last: Option<Arc<LastClone>>,
}

/// State that the clones of a connection share.
///
/// ```text
///   Closed ──connect──▶ Opening ──▶ Open ──close, last clone dropped──▶ Closed
///      ▲                   │          │
///      └──────failed───────┘          └── the server goes away: Dead; connect opens it again, or
///                                         its detector does
/// ```
pub(crate) struct Handle {
    dial: Arc<dyn Dial>,
    keys: KeyCache,
    grace: Duration,
    on_heard: Option<OnHeard>,
    /// The current attempt to open it.
    attempt: Mutex<Option<Opener>>,
    /// What it was opened with the last time.
    config: Mutex<Option<Config>>,
    /// Settings of its sessions, made by [`Connection::set`].
    settings: Mutex<Vec<(String, String)>>,
    pub(crate) driver: Arc<Driver>,
    reconnection: Option<Reconnection>,
    /// Dropped after the driver, so that listeners receive the last events of a session.
    hearing: Hearing,
}

/// Listeners and observers. They end when the last clone of the connection is dropped.
struct Hearing {
    listeners: Arc<Listeners>,
    observers: Arc<Observers>,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.observers.clear();
        self.listeners.close(true);
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    /// Creates a connection that is not open yet.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a connection that is not open yet, with settings.
    pub fn builder() -> ConnectionBuilder {
        ConnectionBuilder::default()
    }

    /// Creates a connection and opens it.
    ///
    /// # Errors
    ///
    /// The errors of [`connect`](Self::connect).
    #[doc(alias = "establish")]
    #[doc(alias = "connect")]
    pub async fn open(config: impl IntoConfig) -> Result<Self> {
        let this = Self::new();
        this.connect(config).await?;
        Ok(this)
    }

    /// Opens the connection: resolves the host, connects, encrypts, authenticates. With several
    /// hosts, or several addresses of a name, the first that accepts the login and has the role of
    /// `target_session_attrs` is used; one that has no TCP connection after 250 ms is not waited
    /// for alone (see [Connecting](crate::guide::connecting#several-hosts)).
    ///
    /// Takes a connection string (`host=… dbname=…`), a URI (`postgresql://…`) or a
    /// [`Config`](crate::config::Config). Settings that it does not specify are taken from `PG*`
    /// variables, the service file and the password file, as in libpq. Files are read in the
    /// calling task.
    ///
    /// Ends within `connect_timeout` (30 s by default) for each name that is looked up and for each
    /// host or address. If the future is dropped before its end, the connection stays closed, and
    /// no socket is left.
    ///
    /// This time limit uses Tokio's clock. With a paused clock (`tokio::time::pause`,
    /// `start_paused`) and a real socket it expires at once: see
    /// [Connecting](crate::guide::connecting).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyConnected`] while the connection is open or being opened; after
    /// [`close`](Self::close), or after the server went away, it may be opened again.
    /// [`ErrorKind::Config`] for an invalid configuration; [`ErrorKind::Server`] if the server
    /// refuses the login; [`ErrorKind::Connect`], [`ErrorKind::Tls`],
    /// [`ErrorKind::Authentication`], [`ErrorKind::Protocol`] and [`ErrorKind::Timeout`] as their
    /// names say. A server without the wanted role is an [`ErrorKind::Connect`]. With several hosts
    /// or addresses [`Error::attempts`] has what each of them said.
    pub async fn connect(&self, config: impl IntoConfig) -> Result<()> {
        // In a box: a configuration is large, and would be in every future around this one.
        Box::pin(self.connect_for(config.into_config()?, Occasion::User)).await
    }

    /// Opens the connection, on this occasion.
    pub(crate) async fn connect_for(&self, config: Config, occasion: Occasion) -> Result<()> {
        let handle = &self.handle;
        let generation = handle.open(config, occasion).await?;
        if handle.begin(generation) { Ok(()) } else { Err(closed_meanwhile()) }
    }

    /// Closes the connection. Calls that wait for an answer end with [`ErrorKind::Closed`]; a
    /// running statement is cancelled, and the server ends the session.
    ///
    /// May be called any number of times, also on a connection that was never opened; an attempt to
    /// open it is stopped. Waits for at most a second until the server has closed the connection.
    /// Dropping the last clone closes it as well, without waiting.
    ///
    /// Streams of notifications end, and the connection listens to no channel any more; observers
    /// stay.
    pub async fn close(&self) {
        let handle = &*self.handle;
        if let Some(reconnection) = &handle.reconnection {
            reconnection.detector.closed();
        }
        let opener = handle.attempt.lock().take();
        if let Some(waker) = opener.and_then(|opener| opener.waker) {
            waker.wake();
        }
        let running = handle.driver.lock().running();
        let closing = handle.driver.shut();
        if let Some(key) = running {
            handle.driver.cancel_closed(key, CLOSE_TIMEOUT);
        }
        handle.hearing.listeners.close(false);
        if let Some(closing) = closing {
            // A server that does not close the connection in time has Terminate all the same.
            let _ = timeout(CLOSE_TIMEOUT, closing.finished()).await;
        }
    }

    /// Whether the other is a clone of this.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }

    /// On whose behalf its requests are sent: in a recovery handler, that of the handler.
    #[inline]
    pub(crate) fn scope(&self) -> Scope {
        let driver = Arc::clone(&self.handle.driver);
        match &self.handle.reconnection {
            Some(_) => in_recovery(driver),
            None => Scope::Connection(driver),
        }
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
