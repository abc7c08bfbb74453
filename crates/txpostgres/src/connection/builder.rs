//! How a connection is to work, chosen before it is opened.

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

/// Chooses how a [`Connection`] works.
#[derive(Default)]
pub struct ConnectionBuilder {
    dial: Option<Arc<dyn Dial>>,
    grace: Option<Duration>,
    notify_queue: QueueBounds,
    cooperator: Option<Arc<dyn Cooperator>>,
}

impl ConnectionBuilder {
    /// How long the server may take to end what it was told to cancel; 5 s if not said otherwise, a year at most. A time limit of a call that
    /// has passed, and the drop of one that cancels on drop, give up the connection then.
    #[must_use]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace.min(LONGEST_GRACE));
        self
    }

    /// How byte streams to the server are made; TCP and Unix sockets if not said otherwise.
    #[must_use]
    pub fn connection_factory(mut self, dial: impl Dial + 'static) -> Self {
        self.dial = Some(Arc::new(dial));
        self
    }

    /// How much each observer and each stream of notifications may leave waiting.
    #[must_use]
    pub fn notify_queue(mut self, bounds: QueueBounds) -> Self {
        self.notify_queue = bounds;
        self
    }

    /// Where the work of notify observers runs, and when it lets others have their turn; as tasks of the connection's runtime
    /// if not said otherwise.
    #[must_use]
    pub fn cooperator(mut self, cooperator: impl Cooperator) -> Self {
        self.cooperator = Some(Arc::new(cooperator));
        self
    }

    /// The connection, not open yet.
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
