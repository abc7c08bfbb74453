//! What is known about the session of a connection.

use txpostgres_multiplex::Drive;
use txpostgres_session::{CancelKey, ServerError, Session, TransactionStatus};

use super::Connection;

impl Connection {
    /// Whether the connection is not open: never opened, closed, or the server went away.
    pub fn is_closed(&self) -> bool {
        let driver = &self.handle.driver;
        driver.read_if_ready();
        driver.lock().is_closed()
    }

    /// The server's version as a number: 150018 for 15.18.
    pub fn server_version(&self) -> Option<u32> {
        self.live(Session::server_version)
    }

    /// The process ID of the server's backend for this session, if the server sent it.
    #[doc(alias = "pid")]
    pub fn backend_pid(&self) -> Option<i32> {
        self.live(|session| session.cancel_key().map(CancelKey::process_id))
    }

    /// A parameter that the server reports (ParameterStatus), such as `TimeZone`, `in_hot_standby`
    /// or `server_version` (manual, section 54.2.7).
    #[doc(alias = "parameter_status")]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.live(|session| session.parameter(name).map(str::to_owned))
    }

    /// The encoding of text on the wire: always `UTF8`. `None` while the connection is not open.
    pub fn encoding(&self) -> Option<String> {
        self.parameter("client_encoding")
    }

    /// The transaction status that the server reported last; `None` while the connection is not
    /// open.
    pub fn transaction_status(&self) -> Option<TransactionStatus> {
        self.live(|session| Some(session.transaction_status()))
    }

    /// Whether the session is encrypted by TLS.
    pub fn is_encrypted(&self) -> bool {
        self.live(|session| Some(session.is_encrypted())).unwrap_or(false)
    }

    /// The last 50 notices and warnings of the session, the oldest first. They are kept after the
    /// end of the session.
    pub fn notices(&self) -> Vec<ServerError> {
        self.handle.driver.lock().notices()
    }

    /// Reads from the session, if it is open.
    fn live<T>(&self, read: impl FnOnce(&Session) -> Option<T>) -> Option<T> {
        let multiplexer = self.handle.driver.lock();
        multiplexer.session().filter(|_| !multiplexer.is_closed()).and_then(read)
    }
}
