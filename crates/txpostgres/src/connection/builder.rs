//! Settings of a connection, chosen before it is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use txpostgres_multiplex::{Drive, Listeners, QueueBounds};
use txpostgres_policy::LivenessSettings;
use txpostgres_session::KeyCache;

use super::reopening::{ConnectionLink, LastClone, Reconnection};
use super::{Connection, Handle, Hearing};
#[cfg(doc)]
use crate::ErrorKind;
use crate::driver::{Driver, GRACE, LONGEST_GRACE, OnHeard};
use crate::io::{Dial, Sockets};
use crate::notify::{Cooperator, Observers, SpawnObservers};
use crate::reconnection::{DeadConnectionDetector, brisk_reconnection_iterator};

/// The shortest bound of liveness: 1 s. A login through a slow network takes some hundred
/// milliseconds, and the question on another connection gets three eighths of the bound.
const SHORTEST_BOUND: Duration = Duration::from_secs(1);

/// The shortest pause of heartbeats: 100 ms.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);

/// Settings of a [`Connection`].
pub struct ConnectionBuilder {
    dial: Option<Arc<dyn Dial>>,
    grace: Option<Duration>,
    notify_queue: QueueBounds,
    cooperator: Option<Arc<dyn Cooperator>>,
    detector: Option<DeadConnectionDetector>,
    patience: Duration,
    liveness: Option<LivenessSettings>,
    keys: KeyCache,
    on_heard: Option<OnHeard>,
}

impl Default for ConnectionBuilder {
    fn default() -> Self {
        Self {
            dial: None,
            grace: None,
            notify_queue: QueueBounds::default(),
            cooperator: None,
            detector: None,
            patience: Duration::ZERO,
            liveness: Some(LivenessSettings::default()),
            keys: KeyCache::default(),
            on_heard: None,
        }
    }
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

    /// As [`cooperator`](Self::cooperator), of several connections.
    pub(crate) fn shared_cooperator(mut self, cooperator: Arc<dyn Cooperator>) -> Self {
        self.cooperator = Some(cooperator);
        self
    }

    /// Reconnects the connection when it is lost: at once, then after delays that grow to 200 ms,
    /// and later to 10 s. See [`reconnection`](crate::reconnection).
    ///
    /// It is [`detector`](Self::detector) with a detector whose delays are those of
    /// [`brisk_reconnection_iterator`].
    #[must_use]
    pub fn reconnecting(self) -> Self {
        let detector = DeadConnectionDetector::builder();
        self.detector(detector.reconnection_iterator(brisk_reconnection_iterator).build())
    }

    /// Has this detector reconnect the connection when it is lost. A detector is for one
    /// connection.
    #[must_use]
    pub fn detector(mut self, detector: DeadConnectionDetector) -> Self {
        self.detector = Some(detector);
        self
    }

    /// Makes calls wait for this long while the connection is dead and its detector opens it again,
    /// instead of failing at once. A call that has waited in vain fails with
    /// [`ErrorKind::ConnectionDead`]. By default calls do not wait.
    ///
    /// It concerns calls that were not sent. A call that was in flight when the connection was lost
    /// ends at once, and is never sent again.
    #[must_use]
    pub fn wait_for_recovery(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Sets within which time it is noticed that the server has gone in silence while it owes an
    /// answer: 5 s by default, 1 s at least. Needs a detector.
    ///
    /// When nothing has arrived for a part of that time, the server is asked on another connection
    /// whether it still works for this one. If it does, the call goes on, however long it takes: a
    /// query that is merely slow is not ended. If it does not, or does not answer, the connection
    /// is dead.
    #[must_use]
    pub fn liveness_bound(mut self, bound: Duration) -> Self {
        let bound = bound.max(SHORTEST_BOUND);
        self.liveness = Some(LivenessSettings { bound, ..self.liveness.unwrap_or_default() });
        self
    }

    /// Sets how long a connection may be idle before the server is asked for a sign of life: 10 s
    /// by default, 100 ms at least. With `None` nothing is sent on an idle connection, and a server
    /// that has gone in silence is noticed at the next call. Needs a detector.
    ///
    /// In a transaction nothing is sent, since that would put off the server's
    /// `idle_in_transaction_session_timeout`.
    #[must_use]
    pub fn heartbeat(mut self, pause: Option<Duration>) -> Self {
        let heartbeat = pause.map(|pause| pause.max(SHORTEST_HEARTBEAT));
        self.liveness = Some(LivenessSettings { heartbeat, ..self.liveness.unwrap_or_default() });
        self
    }

    /// Does not watch for a server that has gone in silence: neither on an idle connection nor
    /// while it owes an answer.
    #[must_use]
    pub fn without_liveness(mut self) -> Self {
        self.liveness = None;
        self
    }

    /// Shares the keys that were derived from passwords with other connections, and has a function
    /// called when a server has sent its first bytes in an attempt to connect.
    pub(crate) fn of_pool(mut self, keys: KeyCache, on_heard: OnHeard) -> Self {
        (self.keys, self.on_heard) = (keys, Some(on_heard));
        self
    }

    /// Whether it was given a detector.
    pub(crate) fn has_detector(&self) -> bool {
        self.detector.is_some()
    }

    /// Creates the connection, which is not open yet.
    pub fn build(self) -> Connection {
        let cooperator = self.cooperator.unwrap_or_else(|| Arc::new(SpawnObservers));
        let listeners = Listeners::new(self.notify_queue);
        let observers = Observers::new(Arc::clone(&listeners), cooperator);
        let driver = Driver::new(Arc::clone(&listeners));
        driver.lock().set_patience(self.patience);
        let liveness = self.liveness;
        let handle = Arc::new(Handle {
            dial: self.dial.unwrap_or_else(|| Arc::new(Sockets)),
            keys: self.keys,
            grace: self.grace.unwrap_or(GRACE),
            on_heard: self.on_heard,
            attempt: Mutex::default(),
            config: Mutex::default(),
            settings: Mutex::default(),
            driver,
            reconnection: self.detector.map(|detector| Reconnection { detector, liveness }),
            hearing: Hearing { listeners, observers },
        });
        let mut last = None;
        if let Some(reconnection) = &handle.reconnection {
            let guard = Arc::new(LastClone(reconnection.detector.clone()));
            let link = ConnectionLink(Arc::downgrade(&handle), Arc::downgrade(&guard));
            reconnection.detector.set_link(Arc::new(link));
            last = Some(guard);
            let weak = Arc::downgrade(&handle);
            handle.driver.on_end(move |generation| {
                if let Some(handle) = weak.upgrade() {
                    handle.session_ended(generation);
                }
            });
        }
        Connection { handle, last }
    }
}

impl fmt::Debug for ConnectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionBuilder").finish_non_exhaustive()
    }
}
