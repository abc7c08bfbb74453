//! What users hold: one session, polled when its descriptor is ready.

use std::fmt;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Instant;

use txpostgres_policy::{PollState, Pollable};
use txpostgres_session::config::IntoConfig;
use txpostgres_session::{
    CancelKey, CommandTag, Error, ErrorKind, Notification, Params, Result, ResultSet, Results,
    Rows, ServerError, Session, TransactionStatus,
};

use crate::cancel::Cancel;
use crate::connector::Connector;
use crate::open::{Open, closed};
use crate::opening::{Opening, Progress};

/// One connection to PostgreSQL, without threads and without waiting: see the [crate](crate).
///
/// ```text
///   connect_start ──▶ Opening ── poll: Ok ──▶ Open ── close, or lost ──▶ Ended
///                        └────── poll: an error, or close ─────────────────▶
/// ```
///
/// One statement at a time: it is begun by [`execute`](Self::execute) or
/// [`send_query`](Self::send_query), and has ended when [`poll`](Self::poll) returns
/// [`PollState::Ok`] or an error. Dropping the connection closes it.
pub struct Connection {
    state: State,
    connector: Connector,
}

enum State {
    Opening(Box<Opening>),
    Open(Box<Open>),
    /// What was known of the session remains known.
    Ended(Option<Box<Open>>),
}

impl Connection {
    /// Begins to connect; [`poll`](Self::poll) goes on with it.
    ///
    /// Files of certificates are read, and names looked up, before this returns, which may block:
    /// see [`Connector`], which does it apart and once for many connections. What is polled never
    /// blocks.
    ///
    /// Each host and each address of a name is tried in turn. If the caller heeds the
    /// [deadline](Self::deadline), the next one is tried as well after a quarter of a second;
    /// otherwise when the one before has failed.
    ///
    /// # Errors
    ///
    /// The configuration, or a file that it names, cannot be used.
    pub fn connect_start(config: impl IntoConfig) -> Result<Self> {
        Connector::new(config)?.connect_start()
    }

    pub(crate) fn begin(connector: &Connector) -> Result<Self> {
        let opening = Box::new(Opening::new(connector)?);
        Ok(Self { state: State::Opening(opening), connector: connector.clone() })
    }

    // --- Polling ---

    /// Goes on as far as is possible without waiting, and says what to wait for. `Ok`: the
    /// connection is open, and no statement is in progress.
    ///
    /// It may be called at any time and as often as one likes. On an idle connection it fetches
    /// notifications: wait until the descriptor is readable, and poll. It takes no more than about
    /// a millisecond: of much that has arrived it takes a part, and of SCRAM's key derivation
    /// 4,096 iterations, PostgreSQL's default; the descriptor is ready then, so that the event loop
    /// polls again.
    ///
    /// Nothing that has arrived is kept back: after `Ok` the descriptor announces whatever comes,
    /// over TLS as well. An event loop must be *level-triggered*, as `poll(2)`, `select` and
    /// `epoll` are by default; an edge-triggered one, such as mio's, renews its registration after
    /// each poll.
    ///
    /// # Errors
    ///
    /// The statement in progress has failed, and the connection is ready for the next one unless
    /// [`is_closed`](Self::is_closed); or it could not be opened, or was lost. Each error is
    /// reported once.
    pub fn poll(&mut self) -> Result<PollState> {
        match &mut self.state {
            State::Opening(opening) => match opening.poll(Instant::now()) {
                Ok(Progress::Waits(state)) => Ok(state),
                Ok(Progress::Opened(opened)) => {
                    self.state = State::Open(Box::new(Open::new(*opened)));
                    self.poll()
                }
                Err(error) => {
                    self.state = State::Ended(None);
                    Err(error.while_connecting())
                }
            },
            State::Open(open) => {
                let polled = open.poll();
                if polled.is_err() && open.is_over() {
                    self.end();
                }
                polled
            }
            State::Ended(_) => Err(closed()),
        }
    }

    /// The descriptor to wait for; `None` once the connection is closed. While the connection is
    /// being opened it may be another one after each poll, even if its number is the same.
    #[doc(alias = "PQsocket")]
    #[doc(alias = "socket")]
    pub fn fileno(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Opening(opening) => opening.fileno(),
            State::Open(open) => Some(open.transport.fileno()),
            State::Ended(_) => None,
        }
    }

    /// When to poll at the latest, though the descriptor is not ready: only while the connection is
    /// being opened. It keeps `connect_timeout`, and has the next host tried beside one that does
    /// not answer. Who does not heed it waits as long as the descriptor lasts, as with libpq.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Opening(opening) => opening.deadline(),
            _ => None,
        }
    }

    // --- Statements ---

    /// Begins one statement with parameters, `$1` being the first, and sends it. Returns what to
    /// wait for before [`poll`](Self::poll) is called; to poll at once does no harm.
    ///
    /// The statement is prepared when its text is new, and kept prepared for the next time
    /// (`statement_cache_size`). Its values are encoded when the types of its parameters are known,
    /// within this call or within a poll.
    ///
    /// # Errors
    ///
    /// A statement is in progress, or a [cancel](Self::cancel_start); the connection is not open;
    /// or the parameters cannot be sent. Nothing is sent then.
    ///
    /// That the connection broke is reported by the next poll.
    #[doc(alias = "PQsendQueryParams")]
    pub fn execute(&mut self, sql: &str, params: impl Params + 'static) -> Result<PollState> {
        self.open()?.execute(sql, params, Results::Best)
    }

    /// The same with all columns in text, as the server writes them.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub fn execute_in_text(
        &mut self,
        sql: &str,
        params: impl Params + 'static,
    ) -> Result<PollState> {
        self.open()?.execute(sql, params, Results::Text)
    }

    /// Begins any number of statements without parameters, separated by semicolons, and sends them:
    /// in one transaction unless they say otherwise, all columns in text. Returns what to wait for,
    /// as [`execute`](Self::execute) does.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    #[doc(alias = "PQsendQuery")]
    pub fn send_query(&mut self, sql: &str) -> Result<PollState> {
        self.open()?.send_query(sql)
    }

    /// Whether a statement is in progress: libpq's `PQTRANS_ACTIVE`.
    #[doc(alias = "PQisBusy")]
    pub fn is_executing(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.is_executing())
    }

    /// Takes the rows of the last statement, or of the last one of a script; none while it is in
    /// progress.
    pub fn take_rows(&mut self) -> Rows {
        let answer = self.last_mut().and_then(|open| open.answer.as_mut());
        answer.map(|answer| answer.take_rows()).unwrap_or_default()
    }

    /// Takes the results of the last statement: one for each statement of a script, each with its
    /// columns, its rows and its command tag. Empty while it is in progress, and if it has failed.
    #[doc(alias = "PQgetResult")]
    pub fn take_results(&mut self) -> Vec<ResultSet> {
        let answer = self.last_mut().and_then(|open| open.answer.as_mut());
        answer.map(|answer| answer.take_results()).unwrap_or_default()
    }

    /// How many rows the last statement returned or changed; of a script its last statement. `None`
    /// while it is in progress, and if it has failed.
    #[doc(alias = "PQcmdTuples")]
    pub fn row_count(&self) -> Option<u64> {
        Some(self.last()?.answer.as_ref()?.row_count())
    }

    /// How the last statement ended, in the server's words.
    #[doc(alias = "PQcmdStatus")]
    pub fn command_tag(&self) -> Option<&CommandTag> {
        Some(self.last()?.answer.as_ref()?.tag())
    }

    /// Begins to cancel the statement in progress, on a socket of its own to the same address, with
    /// TLS if this connection uses it. Poll both: the cancel to its end, and the connection, whose
    /// statement ends with [`ErrorKind::Cancelled`], or with its answer if that was faster.
    ///
    /// The server heeds no cancel that comes before it has begun with the statement (manual,
    /// section 34.7): if the statement goes on, begin another cancel.
    ///
    /// Nothing else is ever hit: until the cancel is [`Ok`](PollState::Ok), no statement can be
    /// begun on this connection. If it is dropped before, or fails, after its request has left, the
    /// connection is of no more use once its statement has ended: the next one closes it.
    ///
    /// With no statement in progress, for one that was not sent yet, and while another cancel of it
    /// is not over, nothing is to be done: the cancel is `Ok` at once.
    ///
    /// # Errors
    ///
    /// The server gave no key to cancel with, or cannot be reached. The statement goes on.
    #[doc(alias = "PQcancelStart")]
    pub fn cancel_start(&mut self) -> Result<Cancel> {
        let config = std::sync::Arc::clone(&self.connector.settings.config);
        self.open()?.cancel_start(&config)
    }

    // --- What the server sends by itself ---

    /// Takes the notifications that have arrived, in their order.
    #[doc(alias = "PQnotifies")]
    pub fn notifies(&mut self) -> impl Iterator<Item = Notification> {
        self.last_mut().into_iter().flat_map(|open| open.notifications.drain(..))
    }

    /// The last 50 notices and warnings of the session, the oldest first.
    pub fn notices(&self) -> impl Iterator<Item = &ServerError> {
        self.last().into_iter().flat_map(|open| open.session.notices())
    }

    // --- What is known of the session ---

    /// The transaction status that the server reported last; `None` while the connection is not
    /// open.
    #[doc(alias = "PQtransactionStatus")]
    pub fn transaction_status(&self) -> Option<TransactionStatus> {
        self.session().map(Session::transaction_status)
    }

    /// A parameter that the server reports (ParameterStatus), such as `TimeZone` (manual, section
    /// 54.2.7); `None` while the connection is not open.
    #[doc(alias = "PQparameterStatus")]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.session()?.parameter(name)
    }

    /// The server's version as a number: 150018 for 15.18.
    #[doc(alias = "PQserverVersion")]
    pub fn server_version(&self) -> Option<u32> {
        self.session()?.server_version()
    }

    /// The process ID of the server's backend for this session, if the server sent it.
    #[doc(alias = "PQbackendPID")]
    pub fn backend_pid(&self) -> Option<i32> {
        self.session()?.cancel_key().map(CancelKey::process_id)
    }

    /// Whether the session is encrypted by TLS.
    #[doc(alias = "PQsslInUse")]
    pub fn is_encrypted(&self) -> bool {
        self.session().is_some_and(Session::is_encrypted)
    }

    /// Whether the connection is closed: by [`close`](Self::close), or because it was lost or could
    /// not be opened, which a poll has told.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Closes the connection, at once and without waiting: the server is told if the socket has
    /// room for that. A statement in progress may be carried out; [cancel](Self::cancel_start) it
    /// first if it should not. May be called any number of times.
    #[doc(alias = "PQfinish")]
    pub fn close(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Opening(opening) => {
                opening.close();
                State::Ended(None)
            }
            State::Open(mut open) => {
                open.close();
                State::Ended(Some(open))
            }
            State::Ended(open) => State::Ended(open),
        };
    }

    fn open(&mut self) -> Result<&mut Open> {
        match &mut self.state {
            State::Open(open) => Ok(open),
            State::Opening(_) => {
                let error = Error::new(ErrorKind::Request, "the connection is being opened");
                Err(error.with_hint("poll it until PollState::Ok"))
            }
            State::Ended(_) => Err(closed()),
        }
    }

    /// The session, if it is in use.
    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Open(open) => Some(&open.session),
            _ => None,
        }
    }

    /// The session that there is or was.
    fn last(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) | State::Ended(Some(open)) => Some(open),
            _ => None,
        }
    }

    fn last_mut(&mut self) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) | State::Ended(Some(open)) => Some(open),
            _ => None,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

impl Pollable for Connection {
    fn fileno(&self) -> Option<BorrowedFd<'_>> {
        Connection::fileno(self)
    }

    fn poll(&mut self) -> Result<PollState> {
        Connection::poll(self)
    }

    fn deadline(&self) -> Option<Instant> {
        Connection::deadline(self)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Opening(_) => "opening",
            State::Open(open) if open.is_executing() => "executing",
            State::Open(_) => "idle",
            State::Ended(_) => "closed",
        };
        let fileno = self.fileno().map(|fileno| fileno.as_raw_fd());
        f.debug_struct("Connection")
            .field("state", &state)
            .field("fileno", &fileno)
            .finish_non_exhaustive()
    }
}
