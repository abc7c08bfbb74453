//! Settings of a connection, chosen before it is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use txpostgres_multiplex::{Listeners, QueueBounds};
use txpostgres_session::KeyCache;

use super::{Connection, Handle, Hearing};
use crate::driver::{Driver, GRACE, LONGEST_GRACE};
use crate::io::{Dial, Sockets};
use crate::notify::{Cooperator, Observers, SpawnObservers};

/// Settings of a [`Connection`].
#[derive(Default)]
pub struct ConnectionBuilder {
    dial: Option<Arc<dyn Dial>>,
    grace: Option<Duration>,
    notify_queue: QueueBounds,
    cooperator: Option<Arc<dyn Cooperator>>,
}

impl ConnectionBuilder {
    /// Sets the grace period: how long the server may take to end a statement after a cancel. The
    /// default is 5 s, the maximum a year. When it has passed after a time limit of a call, or
    /// after the drop of a call that cancels on drop, the connection is closed.
    #[must_use]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace.min(LONGEST_GRACE));
        self
    }

    /// Sets how byte streams to the server are opened. The default is TCP and Unix sockets.
    #[must_use]
    pub fn connection_factory(mut self, dial: impl Dial + 'static) -> Self {
        self.dial = Some(Arc::new(dial));
        self
    }

    /// Sets the bounds of the queue of each observer and each stream of notifications.
    #[must_use]
    pub fn notify_queue(mut self, bounds: QueueBounds) -> Self {
        self.notify_queue = bounds;
        self
    }

    /// Sets where the work of notify observers runs, and when it yields to other tasks. The default
    /// is a task of the connection's runtime for each observer.
    #[must_use]
    pub fn cooperator(mut self, cooperator: impl Cooperator) -> Self {
        self.cooperator = Some(Arc::new(cooperator));
        self
    }

    /// Creates the connection, which is not open yet.
    pub fn build(self) -> Connection {
        let cooperator = self.cooperator.unwrap_or_else(|| Arc::new(SpawnObservers));
        let listeners = Listeners::new(self.notify_queue);
        let observers = Observers::new(Arc::clone(&listeners), cooperator);
        Connection {
            handle: Arc::new(Handle {
                dial: self.dial.unwrap_or_else(|| Arc::new(Sockets)),
                keys: KeyCache::default(),
                grace: self.grace.unwrap_or(GRACE),
                attempt: Mutex::default(),
                driver: Driver::new(Arc::clone(&listeners)),
                hearing: Hearing { listeners, observers },
            }),
        }
    }
}

impl fmt::Debug for ConnectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionBuilder").finish_non_exhaustive()
    }
}
