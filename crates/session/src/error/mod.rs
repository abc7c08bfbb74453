//! One error type: whose fault it was, what the server said, whether the server got the request.

pub(crate) mod attempts;
pub(crate) mod escaped;
mod no_binary;
mod printed;
mod retrying;
pub(crate) mod server_error;
pub(crate) mod sqlstate;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;

use crate::error::attempts::Attempts;
use crate::error::server_error::ServerError;
use crate::error::sqlstate::SqlState;
use crate::statement::placeholder::foreign_placeholder;
use crate::transaction_effect::TransactionEffect;

/// How the names of our prepared statements begin.
pub(crate) const NAME_PREFIX: &str = "txpg_";

type Cause = Box<dyn StdError + Send + Sync>;

/// What went wrong, in the terms of who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    // --- The server said no ---
    /// The server refused: see [`Error::server`] and [`Error::sqlstate`].
    Server,

    // --- The peer broke the rules ---
    /// The peer sent what PostgreSQL would not send here: it is another service, or something
    /// between changed the bytes.
    Protocol,
    /// The server could not prove that it knows the password, or asked for a method that we were
    /// told to refuse.
    Authentication,
    /// TLS could not be agreed on, or the server's certificate is not to be trusted.
    Tls,

    // --- The network ---
    /// No connection could be made.
    Connect,
    /// The connection broke while it was in use.
    Lost,

    // --- The caller ---
    /// A connection string, keyword or option cannot be used.
    Config,
    /// A parameter cannot be sent: its type does not fit, there are too many or too few, or it
    /// failed to serialise.
    Parameter,
    /// A statement, name or option cannot be sent, such as one with a NUL in it.
    Request,
    /// A value of the answer cannot be read as the type asked for, or there is another number of
    /// rows.
    Decode,
    /// `connect` was called while the connection is open.
    AlreadyConnected,
    /// The connection is closed, or was never opened.
    Closed,
    /// The cursor's interaction has ended.
    InteractionEnded,
    /// The connection broke before this call was made, and was not opened again since.
    ConnectionDead,
    /// A poll cycle is in progress.
    AlreadyPolling,
    /// Polling returned a state that is none of the three known ones.
    UnexpectedPollResult,

    // --- The end of a transaction ---
    /// COMMIT was answered with `ROLLBACK`: a statement of the transaction had failed, and nothing
    /// was committed. Or the same in a nested interaction, of which nothing was kept. The error of
    /// that statement is the [source](std::error::Error::source); the interaction may be
    /// [retried](Error::is_retryable) if that may.
    CommitRefused,
    /// The connection broke after COMMIT was sent: whether it took place is unknown. Or the server
    /// has committed, and said that it did not wait for a synchronous standby, since the wait was
    /// cancelled or timed out: after a failover what was committed may be gone
    /// ([`Error::is_of_replication`]). That concerns a statement outside of a transaction as well.
    CommitUnknown,
    /// ROLLBACK failed: see [`Error::original`] for the failure that asked for it.
    RollbackFailed,

    // --- Cancelled by the user ---
    /// We cancelled it, because we were asked to. [`Error::delivery`] tells whether the server had
    /// got it.
    Cancelled,

    // --- Time ---
    /// A time limit of ours passed; the message says which.
    Timeout,
}

/// Who or what ended a statement, or its session, before it was done: see [`Error::ended_by`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndedBy {
    /// We did, by a cancel or by a deadline of this library ([`ErrorKind::Cancelled`],
    /// [`ErrorKind::Timeout`]).
    Ours,
    /// The server's `statement_timeout` passed.
    StatementTimeout,
    /// The server's `lock_timeout` passed, or a lock was asked for with `NOWAIT` (SQLSTATE 55P03).
    LockTimeout,
    /// The server cancelled it, and we had not asked: `pg_cancel_backend`, a psql on another host.
    ByAnother,
    /// The session was ended: `pg_terminate_backend`, or the server shuts down (SQLSTATE 57P01).
    Terminated,
}

/// Whether the server got the request: what decides if it may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Delivery {
    /// The server cannot have acted on it: what makes it act did not leave.
    #[default]
    NotSent,
    /// It left, and its answer did not come to an end: it may have been done.
    Unknown,
    /// The server has answered. If a call returns the error, the answer was an error too: what the
    /// statement did is undone, except for what it had committed by itself
    /// ([`Error::has_committed`]). If a value of a row cannot be read, the call that has returned
    /// the row tells what became of its statement.
    Answered,
    /// The server carried the statement out and answered without an error; what failed is the
    /// call, which cannot do with such an answer. Only a rollback of its transaction undoes it.
    CarriedOut,
}

/// What every fallible call returns.
///
/// * `Display` is one line: for an answer of the server its severity, SQLSTATE and message.
/// * The alternate form (`{:#}`) adds what helps to mend it: detail, hint, the statement with a
///   caret under the position.
///
/// Neither shows parameter values or secrets. What was said by others is escaped, and each field is
/// cut after [`limits::PRINTED_BYTES`](crate::limits::PRINTED_BYTES).
pub struct Error(Box<Report>);

struct Report {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    server: Option<ServerError>,
    delivery: Delivery,
    before_running: bool,
    effect: TransactionEffect,
    went_stale: bool,
    circumstance: Circumstance,
    statement: Option<Arc<str>>,
    item: Option<usize>,
    source: Option<Cause>,
    original: Option<Cause>,
    attempts: Option<Attempts>,
}

/// In which circumstance an error came, where its kind leaves that open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Circumstance {
    #[default]
    Other,
    /// An attempt to connect.
    Connecting,
    /// What was committed was not waited for to be on a standby.
    Replicating,
    /// The server has lost the role that was asked for.
    ChangingRole,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind; the message says in one line what happened.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Report {
            kind,
            message: message.into(),
            hint: None,
            server: None,
            delivery: Delivery::NotSent,
            before_running: false,
            effect: TransactionEffect::default(),
            went_stale: false,
            circumstance: Circumstance::default(),
            statement: None,
            item: None,
            source: None,
            original: None,
            attempts: None,
        }))
    }

    /// The server's own words.
    pub fn from_server(error: ServerError) -> Self {
        let mut this = Self::new(ErrorKind::Server, "");
        if is_of_another_session(&error) {
            this.0.hint = Some(Cow::Borrowed(
                "behind a pooler in transaction mode set statement_cache_size=0, or have the pooler keep \
                 prepared statements (max_prepared_statements of PgBouncer 1.21 and later)",
            ));
        }
        this.0.server = Some(error);
        this.0.delivery = Delivery::Answered;
        this
    }

    /// The same error, with what to change.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error, with what the server got.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    /// The server has committed, and did not wait for its synchronous standby, as this warning
    /// says.
    pub(crate) fn not_replicated(warning: ServerError) -> Self {
        let message = "committed on this server, which did not wait for its standby: whether that \
                       outlasts a failover is unknown";
        let mut this = Self::new(ErrorKind::CommitUnknown, message).with_server(warning);
        this.0.delivery = Delivery::Unknown;
        this.0.circumstance = Circumstance::Replicating;
        this
    }

    /// The same error, of an attempt to connect.
    #[must_use]
    pub fn while_connecting(mut self) -> Self {
        self.0.circumstance = Circumstance::Connecting;
        self
    }

    /// Whether it is the error of an attempt to connect.
    pub fn is_of_connecting(&self) -> bool {
        self.0.circumstance == Circumstance::Connecting
    }

    /// Whether it says that what was committed may be on one server only: see
    /// [`ErrorKind::CommitUnknown`]. The connection goes on, and
    /// [`has_committed`](Self::has_committed) is true.
    pub fn is_of_replication(&self) -> bool {
        self.0.circumstance == Circumstance::Replicating
    }

    /// The same error, of a server that has lost the role that was asked for.
    #[must_use]
    pub fn of_changed_role(mut self) -> Self {
        self.0.circumstance = Circumstance::ChangingRole;
        self
    }

    /// Whether it says that the server has lost the role that was asked for
    /// (`target_session_attrs`): it was demoted, or promoted.
    pub fn is_of_changed_role(&self) -> bool {
        self.0.circumstance == Circumstance::ChangingRole
    }

    /// The same error, which came before the server began to run the statement.
    #[must_use]
    pub(crate) fn before_running(mut self) -> Self {
        self.0.before_running = true;
        self
    }

    /// The same error, after which the connection broke: nothing can be made of it.
    #[must_use]
    pub(crate) fn without_retry(mut self) -> Self {
        self.0.before_running = false;
        self
    }

    /// Whether the server certainly ran nothing of the statement, and is ready for another one.
    pub(crate) fn is_before_running(&self) -> bool {
        self.0.before_running
    }

    /// The same error, of a statement that was refused for what was known of it, and is not any
    /// more.
    #[must_use]
    pub(crate) fn went_stale(mut self) -> Self {
        self.0.went_stale = true;
        self
    }

    /// The same error, of a request that had this effect on the transaction before it failed.
    #[must_use]
    pub(crate) fn with_transaction_effect(mut self, effect: TransactionEffect) -> Self {
        self.0.effect = effect;
        self
    }

    /// What the statements of the same request did to the transaction before this one failed.
    pub fn transaction_effect(&self) -> TransactionEffect {
        self.0.effect
    }

    /// Whether a part of what was asked for was committed before this failure: by a COMMIT of the
    /// same script or interaction, or with an earlier flight of `execute_many`. No rollback undoes
    /// it.
    pub fn has_committed(&self) -> bool {
        self.0.effect.committed()
    }

    /// The same error, of a call of which a part was committed before.
    #[must_use]
    pub fn after_commit(mut self) -> Self {
        self.0.effect = self.0.effect.and_committed();
        self
    }

    /// The same error, with the statement it belongs to.
    #[must_use]
    pub fn with_statement(mut self, statement: impl Into<Arc<str>>) -> Self {
        let statement = statement.into();
        if self.0.hint.is_none()
            && let Some(server) = &self.0.server
            && let Some(found) = foreign_placeholder(&statement, server)
        {
            let hint = format!("parameters are written $1, $2, … and not {found}");
            self.0.hint = Some(hint.into());
        }
        self.0.statement = Some(statement);
        self
    }

    /// The same error, with the number of the item that failed, the first being 0.
    #[must_use]
    pub fn with_item(mut self, item: usize) -> Self {
        self.0.item = Some(item);
        self
    }

    /// The same error, with what the server said last.
    #[must_use]
    pub fn with_server(mut self, server: ServerError) -> Self {
        self.0.server = Some(server);
        self
    }

    /// The same error, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What was not run because of this error. That one is its source, but for what caused it in
    /// turn; it may be tried again if that may.
    #[must_use]
    pub fn not_run(&self, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Request, message).with_source(self.without_causes())
    }

    /// A copy of this error, but for what caused it in turn.
    #[must_use]
    pub fn without_causes(&self) -> Self {
        let Report { kind, hint, server, delivery, before_running, effect, went_stale, .. } =
            &*self.0;
        let circumstance = self.0.circumstance;
        Self(Box::new(Report {
            circumstance,
            kind: *kind,
            message: self.0.message.clone(),
            hint: hint.clone(),
            server: server.clone(),
            delivery: *delivery,
            before_running: *before_running,
            effect: *effect,
            went_stale: *went_stale,
            statement: self.0.statement.clone(),
            item: self.0.item,
            source: None,
            original: None,
            attempts: None,
        }))
    }

    /// A rollback that failed: the failure that asked for it, and the one of the rollback.
    pub fn rollback_failed(original: impl Into<Cause>, rollback: Error) -> Self {
        let mut this = Self::new(
            ErrorKind::RollbackFailed,
            "the transaction could not be rolled back; the connection is not used again",
        );
        this.0.delivery = rollback.delivery();
        this.0.original = Some(original.into());
        this.0.source = Some(Box::new(rollback));
        this
    }

    /// What a call is told that is made after the connection broke for this reason: what the server
    /// said last is said again.
    pub fn connection_dead(reason: &Self) -> Self {
        let why = match (reason.server(), reason.kind()) {
            (None, _) => reason.to_string(),
            (Some(_), ErrorKind::Server) => "the server ended the session".to_owned(),
            (Some(_), _) => reason.0.message.to_string(),
        };
        let mut this =
            Self::new(ErrorKind::ConnectionDead, format!("the connection is dead: {why}"));
        this.0.server.clone_from(&reason.0.server);
        this.with_hint("connect again")
    }

    /// A cancel, if it is one that we had asked for.
    #[must_use]
    pub(crate) fn cancelled_by_us(mut self) -> Self {
        // Its CopyFail may have been faster than the CancelRequest.
        if self.sqlstate() == Some(SqlState::QUERY_CANCELED)
            && self.ended_by() != Some(EndedBy::StatementTimeout)
        {
            self.0.kind = ErrorKind::Cancelled;
            self.0.message = Cow::Borrowed("the statement was cancelled, as asked");
        }
        self
    }

    /// Who or what ended the statement before it was done, if anything did.
    ///
    /// A cancel and `statement_timeout` have the same SQLSTATE (57014). What we asked for we know;
    /// the others are told apart by the server's English message, so that with another
    /// `lc_messages` a `statement_timeout` that struck counts as [`EndedBy::ByAnother`], or as ours
    /// if we had asked for a cancel at the same time.
    pub fn ended_by(&self) -> Option<EndedBy> {
        match (self.kind(), self.sqlstate()) {
            (ErrorKind::Cancelled | ErrorKind::Timeout, _) => Some(EndedBy::Ours),
            (_, Some(SqlState::QUERY_CANCELED)) => {
                let message = self.server()?.message();
                if message == "canceling statement due to statement timeout" {
                    Some(EndedBy::StatementTimeout)
                } else {
                    // A COPY that we end by CopyFail has the same code, and was not cancelled.
                    (!message.starts_with("COPY from stdin failed")).then_some(EndedBy::ByAnother)
                }
            }
            (_, Some(SqlState::LOCK_NOT_AVAILABLE)) => Some(EndedBy::LockTimeout),
            (_, Some(SqlState::ADMIN_SHUTDOWN)) => Some(EndedBy::Terminated),
            _ => None,
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the server said, if it said anything.
    #[doc(alias = "as_db_error")]
    #[doc(alias = "as_database_error")]
    pub fn server(&self) -> Option<&ServerError> {
        self.0.server.as_ref()
    }

    /// The server's SQLSTATE, if it said anything. Of [`ErrorKind::CommitRefused`] it is that of
    /// the statement that failed, whose error is the source.
    #[doc(alias = "code")]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match (self.server(), self.kind()) {
            (None, ErrorKind::CommitRefused) => self.cause()?.sqlstate(),
            (server, _) => server.map(ServerError::code),
        }
    }

    /// The source, if it is an error of ours.
    fn cause(&self) -> Option<&Self> {
        self.0.source.as_ref()?.downcast_ref()
    }

    /// Whether the server got the request.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The statement that failed, if the error belongs to one.
    pub fn statement(&self) -> Option<&str> {
        self.0.statement.as_deref()
    }

    /// Which of many items failed, the first being 0: an execution of `execute_many`, a row of a
    /// COPY.
    pub fn item(&self) -> Option<usize> {
        self.0.item
    }

    /// What to change, if we know.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The failure that asked for the rollback, when the rollback failed too
    /// ([`ErrorKind::RollbackFailed`]). The rollback's own error is this error's `source`.
    pub fn original(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.original.as_deref()
    }
}

/// Whether a prepared statement of ours is unknown, or known already: the session on the server is
/// not the one that it was prepared in.
fn is_of_another_session(error: &ServerError) -> bool {
    matches!(error.code(), SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT)
        && error.message().contains(NAME_PREFIX)
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        if let Some(attempts) = &self.0.attempts {
            return attempts.decisive().map(|error| error as &(dyn StdError + 'static));
        }
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax_error() -> Error {
        Error::from_server(ServerError::parse(b"VERROR\0C42601\0Msyntax error\0P8\0\0"))
    }

    #[test]
    fn what_helps_is_said() {
        let hint = |sql: &str| syntax_error().with_statement(sql).hint().map(str::to_owned);
        assert_eq!(hint("select %s").unwrap(), "parameters are written $1, $2, … and not %s");
        assert_eq!(hint("select 1 +"), None);
        let division = ServerError::parse(b"VERROR\0C22012\0Mdivision by zero\0\0");
        assert_eq!(Error::from_server(division).with_statement("select ?").hint(), None);
        for (text, is_ours) in [("txpg_1_2", true), ("mine", false)] {
            let body = format!("VERROR\0C26000\0Mprepared statement \"{text}\" does not exist\0\0");
            let error = Error::from_server(ServerError::parse(body.as_bytes()));
            assert_eq!(error.hint().is_some_and(|hint| hint.contains("=0")), is_ours);
        }
    }
}
