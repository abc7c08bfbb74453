//! What users hold: one connection, shared by any number of tasks, opened and closed as often as they like.

mod builder;
mod known;
mod statements;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::timeout;
use txpostgres_session::config::IntoConfig;
use txpostgres_session::{Error, ErrorKind, KeyCache, Result};

use crate::caller::Caller;
use crate::dial::Dial;
use crate::link::Link;
use crate::notify::Hall;
use crate::opening::Recipe;
use crate::watcher::watch;

pub use builder::Builder;

/// How long `close` waits for the server to hang up: 1 s. It has been told to; a dead network must not hold up the program.
const FAREWELL: Duration = Duration::from_secs(1);

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

    /// Closes the connection. Calls that wait for an answer end with [`ErrorKind::Closed`]; the server is told to stop what it is
    /// doing for them, and ends the session.
    ///
    /// May be called any number of times, and on a connection that was never opened; one that is being opened stops. Waits, for a second at most, until
    /// the server has hung up. Dropping the last clone closes as well, without waiting.
    ///
    /// Streams of notifications end, and what was listened to is forgotten; observers stay.
    pub async fn close(&self) {
        let state = std::mem::take(&mut *self.state());
        match state {
            State::Open(link) => {
                let running = link.running();
                link.shut();
                if let Some(key) = running {
                    link.interrupt_closed(key, FAREWELL);
                }
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
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_closed", &self.is_closed())
            .field("backend_pid", &self.backend_pid())
            .finish_non_exhaustive()
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
