//! A connection as what its detector reconnects.

use std::any::Any;
use std::sync::{Arc, Weak};

use txpostgres_multiplex::Drive;
use txpostgres_policy::LivenessSettings;
use txpostgres_session::{Error, ErrorKind, Result};

use super::{Connection, Handle};
use crate::driver::Occasion;
use crate::driver::{Call, Scope, recovering, watch_liveness};
use crate::notify::ObserverOutput;
use crate::reconnection::{
    BoxFuture, ConnectionState, DeadConnectionDetector, Link, RecoveryHandler, RecoveryHandlerId,
};

/// How a connection is reconnected.
pub(super) struct Reconnection {
    pub(super) detector: DeadConnectionDetector,
    pub(super) liveness: Option<LivenessSettings>,
}

impl Reconnection {
    /// Whether the detector is about to open the connection again.
    pub(super) fn is_reconnecting(&self) -> bool {
        self.detector.connection_is_dead()
            && !matches!(self.detector.state(), ConnectionState::GivenUp { .. })
    }
}

/// What the clones of a connection share: when the last of them is dropped, the detector makes no
/// further attempt, and drops the one that it makes.
pub(super) struct LastClone(pub(super) DeadConnectionDetector);

impl Drop for LastClone {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Reconnection.
impl Connection {
    /// The detector that the connection was built with.
    pub fn detector(&self) -> Option<&DeadConnectionDetector> {
        self.handle.reconnection.as_ref().map(|reconnection| &reconnection.detector)
    }

    /// Adds a handler that is called with this connection whenever it was opened again, before
    /// anything else uses it: see
    /// [`add_recovery_handler`](DeadConnectionDetector::add_recovery_handler) of its detector,
    /// which has the handlers. `None` without a detector: nothing would call it.
    ///
    /// Calls that the handler makes pass; those of tasks that it spawns wait like others.
    ///
    /// ```no_run
    /// # async fn example() -> txpostgres::Result<()> {
    /// use txpostgres::Connection;
    ///
    /// let connection = Connection::builder().reconnecting().build();
    /// connection.add_recovery_handler(|connection| async move {
    ///     let jobs = connection.run_query("select id from job where done is null", ()).await?;
    ///     println!("{} jobs are left", jobs.len());
    ///     Ok::<(), txpostgres::Error>(())
    /// });
    /// # Ok(()) }
    /// ```
    pub fn add_recovery_handler<F, Fut>(&self, handler: F) -> Option<RecoveryHandlerId>
    where
        F: Fn(Self) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: ObserverOutput> + Send + 'static,
    {
        let detector = self.detector()?;
        let last = self.last.as_ref().map(Arc::downgrade)?;
        let link = ConnectionLink(Arc::downgrade(&self.handle), last);
        let handler = Arc::new(handler);
        let handler = RecoveryHandler::new(move || {
            let connection = link.connection();
            let handler = Arc::clone(&handler);
            async move {
                match connection {
                    Some(connection) => handler(connection).await.failure(),
                    None => Ok(()),
                }
            }
        });
        Some(detector.add_recovery_handler(handler))
    }
}

impl Handle {
    /// A session is ready for use: calls may use it, or are told how it has ended since. `false`:
    /// the user has closed the connection.
    pub(super) fn begin(self: &Arc<Self>, generation: u64) -> bool {
        if self.reconnection.is_some() {
            self.driver.set_reopened(true);
        }
        let is_up = self.driver.restored(generation);
        if !is_up && self.driver.lock().end_of(generation).is_none() {
            return false;
        }
        if let Some(reconnection) = &self.reconnection {
            reconnection.detector.connected();
            if is_up {
                self.watch_liveness(reconnection, generation);
            }
            // It may have ended before the detector knew of it.
            self.session_ended(generation);
        }
        true
    }

    fn watch_liveness(&self, reconnection: &Reconnection, generation: u64) {
        if let Some(settings) = reconnection.liveness {
            let detector = reconnection.detector.clone();
            let suspect = move |silent_for| detector.suspect(silent_for);
            watch_liveness(&self.driver, generation, settings, suspect);
        }
    }

    /// The session of this number may be over. One that was never used is none of the detector's: a
    /// connect has failed, which its caller is told.
    pub(super) fn session_ended(&self, generation: u64) {
        let Some(reconnection) = self.reconnection.as_ref().filter(|it| it.detector.is_in_use())
        else {
            return;
        };
        let Some(reason) = self.driver.lock().end_of(generation) else { return };
        if !reconnection.detector.check_for_dead_connection(&reason) {
            self.driver.set_reopened(false);
        }
    }
}

/// The connection, for its detector.
pub(super) struct ConnectionLink(pub(super) Weak<Handle>, pub(super) Weak<LastClone>);

impl ConnectionLink {
    fn handle(&self) -> Result<Arc<Handle>> {
        let gone = || Error::new(ErrorKind::Closed, "the connection was dropped");
        self.0.upgrade().ok_or_else(gone)
    }

    fn connection(&self) -> Option<Connection> {
        let (handle, last) = self.0.upgrade().zip(self.1.upgrade())?;
        Some(Connection { handle, last: Some(last) })
    }
}

impl Link<Error> for ConnectionLink {
    fn connect(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let handle = self.handle()?;
            let Some(config) = handle.config.lock().clone() else {
                return Err(Error::new(ErrorKind::Closed, "the connection was never opened"));
            };
            let generation = handle.open(config, Occasion::Detector).await?;
            // What was asked before is answered before: with the answer to this, the first round of
            // LISTEN is answered as well. One that was refused is tried in parts.
            loop {
                let is_listening = handle.driver.lock().is_listening();
                let scope = Scope::Recovery(Arc::clone(&handle.driver), generation);
                let answered = Call::script(Ok(scope), "").answer(|_| ()).await;
                if let Err(error) = answered {
                    handle.driver.give_up(generation, error.without_causes());
                    return Err(error.while_connecting());
                }
                if is_listening {
                    return Ok(());
                }
            }
        })
    }

    /// A session that is over needs nothing, and one that is not was given up when it was found
    /// dead.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn died(&self, error: &Error) {
        if let Ok(handle) = self.handle() {
            handle.driver.die(error);
        }
    }

    fn failed_permanently(&self, error: &Error) {
        if let Ok(handle) = self.handle() {
            handle.driver.lock().set_last_end(error.without_causes());
            handle.driver.set_reopened(false);
        }
    }

    fn given_up(&self) {
        if let Ok(handle) = self.handle() {
            handle.driver.set_reopened(false);
        }
    }

    fn recover<'a>(&'a self, handlers: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        match self.handle() {
            Ok(handle) => recovering(Arc::clone(&handle.driver), handlers),
            Err(_) => handlers,
        }
    }

    fn recovered(&self) -> bool {
        let Ok(handle) = self.handle() else { return false };
        let generation = handle.driver.lock().generation();
        handle.driver.set_reopened(true);
        let is_up = handle.driver.restored(generation);
        if is_up && let Some(reconnection) = &handle.reconnection {
            handle.watch_liveness(reconnection, generation);
        }
        is_up
    }

    fn reconnectable(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(self.connection()?) as Arc<dyn Any + Send + Sync>)
    }

    fn generation(&self) -> Option<u64> {
        self.handle().ok().map(|handle| handle.driver.lock().generation())
    }
}
