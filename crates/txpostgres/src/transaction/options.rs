//! Options of an interaction, and its cancellation: chosen before it runs.

use std::error::Error as StdError;
use std::fmt;
use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use txpostgres_session::Error;

use crate::cursor::Cursor;
use crate::driver::{CancelHandle, Cancellation, Source};
#[cfg(doc)]
use crate::{Connection, ConnectionBuilder, ErrorKind};

/// What a transaction sees of others (manual, section 13.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// The same as `ReadCommitted` in PostgreSQL.
    ReadUncommitted,
    /// Each statement sees what was committed before it began. PostgreSQL's default.
    ReadCommitted,
    /// The transaction sees what was committed before its first statement.
    RepeatableRead,
    /// As if transactions ran one after another. A transaction may fail with `40001` and must then
    /// be retried.
    Serializable,
}

impl IsolationLevel {
    fn sql(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// Options of an interaction. Options that are not set are left to the server's settings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) isolation: Option<IsolationLevel>,
    pub(crate) read_only: Option<bool>,
    pub(crate) deferrable: Option<bool>,
    /// Cancel the running statement when the future is dropped.
    pub(crate) cancels_on_drop: bool,
    /// How long to wait for a connection that is opened anew; `None`: as the connection says.
    pub(crate) patience: Option<Duration>,
}

impl Options {
    pub(crate) fn begin(self) -> String {
        let mut sql = "BEGIN".to_owned();
        if let Some(level) = self.isolation {
            let _ = write!(sql, " ISOLATION LEVEL {}", level.sql());
        }
        match self.read_only {
            Some(true) => sql.push_str(" READ ONLY"),
            Some(false) => sql.push_str(" READ WRITE"),
            None => {}
        }
        match self.deferrable {
            Some(true) => sql.push_str(" DEFERRABLE"),
            Some(false) => sql.push_str(" NOT DEFERRABLE"),
            None => {}
        }
        sql
    }
}

/// A transaction that is about to be run: see [`Connection::interaction`].
#[must_use = "an interaction does nothing until it is run"]
pub struct Interaction {
    pub(super) source: Source,
    pub(super) options: Options,
    pub(super) cancellation: Option<Cancellation>,
}

impl Interaction {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, options: Options::default(), cancellation: None }
    }

    /// Sets what the transaction sees of others.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.options.isolation = Some(level);
        self
    }

    /// Sets whether the transaction may only read.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.options.read_only = Some(read_only);
        self
    }

    /// Sets whether a serializable, read-only transaction waits until it cannot fail (manual,
    /// section 13.2.3).
    pub fn deferrable(mut self, deferrable: bool) -> Self {
        self.options.deferrable = Some(deferrable);
        self
    }

    /// A handle that [cancels](Connection::cancel) the interaction from any task: the running
    /// statement is cancelled, the future of the closure is dropped, and the transaction is rolled
    /// back. Once COMMIT was sent, it has no effect.
    ///
    /// Statements of an interaction that can be cancelled are not pipelined.
    #[doc(alias = "cancel_token")]
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.cancellation.get_or_insert_default().handle())
    }

    /// Limits the time from the first poll to COMMIT. When the limit has passed, the interaction is
    /// cancelled and ends with [`ErrorKind::Timeout`].
    ///
    /// If the server has not rolled back, or not answered COMMIT, within the grace period
    /// ([`ConnectionBuilder::cancel_grace`], 5 s) after that, the connection is closed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.cancellation.get_or_insert_default().set_limit(limit);
        self
    }

    /// When the future of the interaction is dropped, its running statement is cancelled on the
    /// server, instead of running to its end before the rollback.
    pub fn cancel_on_drop(mut self) -> Self {
        self.options.cancels_on_drop = true;
        self
    }

    /// Makes the interaction wait for this long while the connection is dead and its detector opens
    /// it again, instead of as long as the connection says
    /// ([`ConnectionBuilder::wait_for_recovery`]).
    pub fn wait_for_recovery(mut self, limit: Duration) -> Self {
        self.options.patience = Some(limit);
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
        super::run_once(self, interaction)
    }
}

impl fmt::Debug for Interaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interaction").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_says_what_was_chosen() {
        assert_eq!(Options::default().begin(), "BEGIN");
        let options = Options {
            isolation: Some(IsolationLevel::Serializable),
            read_only: Some(true),
            deferrable: Some(true),
            ..Options::default()
        };
        assert_eq!(options.begin(), "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE");
    }
}
