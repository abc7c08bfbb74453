//! A connection of a pool, and what the pool knows of it.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use txpostgres_multiplex::Drive as _;
use txpostgres_session::{Result, TransactionStatus};

use crate::connection::Connection;
use crate::driver::{Call, Scope};

/// How often an idle connection is read, at most, before it is handed out: an idle one has received
/// a few messages.
const LOOKS: u32 = 4;

/// Numbers the connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemberId(pub(super) u64);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) connection: Connection,
    /// How often the pool had moved on to another server when it was opened.
    pub(super) generation: u64,
    /// The pool has opened it, and closes it.
    pub(super) is_own: bool,
    /// What has it alone.
    pub(super) holder: Mutex<Option<Holder>>,
}

/// What has a connection alone: the task, if it is one, and the place in the program.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) task: Option<tokio::task::Id>,
    pub(super) place: Option<&'static Location<'static>>,
    pub(super) since: Instant,
    /// Of its use, which ends with it.
    pub(super) _span: tracing::Span,
}

impl Member {
    /// Whether its session is over.
    pub(super) fn is_dead(&self) -> bool {
        self.connection.handle.driver.lock().is_closed()
    }

    /// Whether something has arrived that was not read: perhaps the end of the session. `None` if
    /// that cannot be told.
    pub(super) fn has_input(&self) -> Option<bool> {
        self.connection.handle.driver.has_input()
    }

    /// Reads what has arrived, though the runtime may not have noticed yet.
    pub(super) async fn look(&self) {
        for _ in 0..LOOKS {
            // In this turn the runtime looks at its sockets.
            tokio::task::yield_now().await;
            self.connection.handle.driver.look();
            if self.is_dead() || self.has_input() != Some(true) {
                return;
            }
        }
    }

    /// Whether it owes nothing, and is in no transaction, as the server has said.
    pub(super) fn is_clean(&self) -> bool {
        let multiplexer = self.connection.handle.driver.lock();
        multiplexer.is_open()
            && multiplexer.outstanding() == 0
            && multiplexer.lease().is_none()
            && multiplexer.transaction_status() == TransactionStatus::Idle
    }

    pub(super) fn scope(&self) -> Scope {
        Scope::Connection(Arc::clone(&self.connection.handle.driver))
    }

    /// A round trip in which the server does nothing: everything that was sent before is answered.
    pub(super) async fn round_trip(&self) -> Result<()> {
        self.run("").await
    }

    /// Runs a script whose results are not wanted.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        Call::script(self.scope(), sql).answer(|_| ()).await
    }
}
