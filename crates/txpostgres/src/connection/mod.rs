//! What users hold: one connection, shared by any number of tasks, opened and closed as often as they
//! like.

mod builder;
mod info;
mod notifications;
mod statements;
mod typed;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle as Runtime;
use tokio::time::timeout;
use txpostgres_multiplex::{Drive, Listeners};
use txpostgres_session::config::IntoConfig;
use txpostgres_session::{Error, ErrorKind, KeyCache, Result};

use crate::driver::{Connector, Driver, Scope};
use crate::io::Dial;
use crate::notify::Observers;

pub use builder::ConnectionBuilder;

/// How long `close` waits for the server to hang up: 1 s. It has been told to; a dead network must not
/// hold up the program.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to PostgreSQL.
///
/// Clones share it, and any number of tasks may use it at once: their statements are pipelined in the order in which they
/// are sent; one that has parameters and is new is described first, and others may go ahead of it meanwhile. No task stands
/// between a call and the socket: whoever awaits an answer drives the connection. A future dropped at any point leaves the
/// connection usable.
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
    pub(crate) handle: Arc<Handle>,
}

/// What the clones of a connection share.
///
/// ```text
///   Closed ──connect──▶ Opening ──▶ Open ──close, last clone dropped──▶ Closed
///      ▲                   │          │
///      └──────failed───────┘          └── the server goes away: Dead; connect opens it again
/// ```
pub(crate) struct Handle {
    dial: Arc<dyn Dial>,
    keys: KeyCache,
    grace: Duration,
    /// The present attempt to open it.
    attempt: Mutex<Option<Opener>>,
    pub(crate) driver: Arc<Driver>,
    /// Dropped after the driver: what a session says at its end is heard.
    hearing: Hearing,
}

/// An attempt to open a connection, known by its mark, and the task that makes it.
struct Opener {
    mark: Arc<()>,
    waker: Option<Waker>,
}

/// What hears notifications. It ends when the last clone of the connection is dropped.
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
    /// A connection that is not open yet.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A connection that is not open yet, with choices.
    pub fn builder() -> ConnectionBuilder {
        ConnectionBuilder::default()
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
        let handle = &*self.handle;
        let attempt = Attempt::begin(handle)?;
        let connector = Connector {
            config,
            dial: Arc::clone(&handle.dial),
            keys: handle.keys.clone(),
            grace: handle.grace,
        };
        let mut opening = pin!(connector.open());
        let opened = poll_fn(|cx| {
            if !attempt.register(cx) {
                return Poll::Ready(Err(closed_meanwhile()));
            }
            opening.as_mut().poll(cx)
        });
        let (session, stream, requester) = opened.await?;
        handle.hearing.observers.set_runtime(Runtime::current());
        if !attempt.succeed() {
            return Err(closed_meanwhile());
        }
        handle.driver.install(session, stream, requester);
        Ok(())
    }

    /// Closes the connection. Calls that wait for an answer end with [`ErrorKind::Closed`]; the server is told to stop what it is
    /// doing for them, and ends the session.
    ///
    /// May be called any number of times, and on a connection that was never opened; one that is being opened stops. Waits, for a second at most, until
    /// the server has hung up. Dropping the last clone closes as well, without waiting.
    ///
    /// Streams of notifications end, and what was listened to is forgotten; observers stay.
    pub async fn close(&self) {
        let handle = &*self.handle;
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
            // A server that does not hang up has been told all the same.
            let _ = timeout(CLOSE_TIMEOUT, closing.finished()).await;
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::Connection(Arc::clone(&self.handle.driver))
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

fn closed_meanwhile() -> Error {
    Error::new(ErrorKind::Closed, "the connection was closed while it was being opened")
}

fn already_connected() -> Error {
    Error::new(ErrorKind::AlreadyConnected, "the connection is open already")
        .with_hint("close it first, or use another Connection")
}

/// One `connect` in progress; dropped before it succeeds, it leaves the connection closed.
struct Attempt<'a> {
    handle: &'a Handle,
    mark: Arc<()>,
}

impl<'a> Attempt<'a> {
    fn begin(handle: &'a Handle) -> Result<Self> {
        let mark = Arc::default();
        let mut attempt = handle.attempt.lock();
        let mut multiplexer = handle.driver.lock();
        if attempt.is_some() || !multiplexer.is_closed() {
            return Err(already_connected());
        }
        multiplexer.opening();
        *attempt = Some(Opener { mark: Arc::clone(&mark), waker: None });
        Ok(Self { handle, mark })
    }

    /// Whether this is still what the connection does; if so, whoever ends it wakes this task.
    fn register(&self, cx: &Context<'_>) -> bool {
        // Cloned and dropped outside of the lock.
        let waker = cx.waker().clone();
        let mut attempt = self.handle.attempt.lock();
        let Some(opener) = attempt.as_mut().filter(|opener| Arc::ptr_eq(&opener.mark, &self.mark))
        else {
            return false;
        };
        let replaced = opener.waker.replace(waker);
        drop(attempt);
        drop(replaced);
        true
    }

    /// The attempt is over. `false`: the connection was closed meanwhile.
    fn succeed(&self) -> bool {
        self.take().is_some()
    }

    fn take(&self) -> Option<Opener> {
        self.handle.attempt.lock().take_if(|opener| Arc::ptr_eq(&opener.mark, &self.mark))
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.take().is_some() {
            self.handle.driver.lock().not_opened();
        }
    }
}
