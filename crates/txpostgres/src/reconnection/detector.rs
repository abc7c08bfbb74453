//! The detector of dead connections.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use txpostgres_policy::{LifeState, Lifeline, RunId, is_permanent};
use txpostgres_session::{Error, ErrorKind};

use super::handlers::{RecoveryHandler, RecoveryHandlerId};
use super::link::{Given, Link, Nothing, Reconnectable};
use super::overrides::{Base, Defaults, Overrides};
use super::state::{ConnectionState, ConnectionStates, StateCell};
use super::{default_death_checker, default_reconnection_iterator};

type Delays = Box<dyn Iterator<Item = Duration> + Send>;

/// Finds out that a connection is dead, and reconnects it.
///
/// A [`Connection`](crate::Connection) that is [built with a
/// detector](crate::ConnectionBuilder::detector) tells it when its session ends, and is reconnected
/// from then on. For anything else, give it to [`set_reconnectable`](Self::set_reconnectable), and
/// make calls through [`call_checking`](Self::call_checking).
///
/// A handle: clones are the same detector. One detector is for one connection.
///
/// ```no_run
/// # async fn example() -> txpostgres::Result<()> {
/// use txpostgres::Connection;
/// use txpostgres::reconnection::DeadConnectionDetector;
///
/// let detector = DeadConnectionDetector::new();
/// let connection = Connection::builder().detector(detector.clone()).build();
/// // A first attempt that fails may be the beginning of an outage as well.
/// if let Err(error) = connection.connect("host=localhost dbname=test").await {
///     if !detector.check_for_dead_connection(&error) {
///         return Err(error);
///     }
///     detector.recovered().await;
/// }
/// # Ok(()) }
/// ```
pub struct DeadConnectionDetector<E: 'static = Error> {
    core: Arc<Core<E>>,
}

impl<E> Clone for DeadConnectionDetector<E> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

/// What the clones of a detector share.
pub(super) struct Core<E: 'static> {
    pub(super) lifeline: Mutex<Lifeline>,
    pub(super) death_checker: Box<dyn Fn(&E) -> bool + Send + Sync>,
    pub(super) is_permanent: Box<dyn Fn(&E) -> bool + Send + Sync>,
    pub(super) reconnection_iterator: Box<dyn Fn() -> Delays + Send + Sync>,
    pub(super) overrides: Box<dyn Overrides<E>>,
    pub(super) handlers: Mutex<Vec<RecoveryHandler>>,
    pub(super) states: StateCell,
    /// Why the connection is dead, or the last attempt failed.
    pub(super) cause: Mutex<Arc<str>>,
    /// The run that goes on, and when it began.
    pub(super) outage: Mutex<Option<(RunId, Instant)>>,
    /// The task of the run.
    pub(super) task: Mutex<Option<AbortHandle>>,
    /// The lifeline has changed otherwise than by the run.
    pub(super) changed: Notify,
    link: Mutex<Arc<dyn Link<E>>>,
    runtime: Mutex<Option<Handle>>,
    /// How often it was opened, if the reconnectable does not count.
    generation: Mutex<u64>,
}

impl<E: 'static> Core<E> {
    pub(super) fn link(&self) -> Arc<dyn Link<E>> {
        Arc::clone(&self.link.lock())
    }

    /// The runtime that was set, or that of the calling task.
    pub(super) fn runtime(&self) -> Option<Handle> {
        self.runtime.lock().clone().or_else(|| Handle::try_current().ok())
    }

    pub(super) fn generation(&self) -> u64 {
        self.link().generation().unwrap_or_else(|| *self.generation.lock())
    }

    pub(super) fn next_generation(&self) -> u64 {
        *self.generation.lock() += 1;
        self.generation()
    }
}

impl DeadConnectionDetector {
    /// A detector for a [`Connection`](crate::Connection), with
    /// [`default_death_checker`] and [`default_reconnection_iterator`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A detector with other settings.
    pub fn builder() -> DetectorBuilder {
        DetectorBuilder::new(default_death_checker).permanent(is_permanent)
    }
}

impl Default for DeadConnectionDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Send + Sync + fmt::Display + 'static> DeadConnectionDetector<E> {
    /// Sets what is reconnected. Must be called before the detector is used; a connection that was
    /// built with the detector has done so.
    #[doc(alias = "setReconnectable")]
    pub fn set_reconnectable(&self, reconnectable: impl Reconnectable<Error = E>) {
        self.set_link(Arc::new(Given(Arc::new(reconnectable))));
    }

    /// What is reconnected, if it was given and is of this type: what
    /// [`set_reconnectable`](Self::set_reconnectable) got, or the
    /// [`Connection`](crate::Connection) that was built with the detector and is not dropped.
    pub fn reconnectable<R: Any + Send + Sync>(&self) -> Option<Arc<R>> {
        self.core.link().reconnectable()?.downcast().ok()
    }

    pub(crate) fn set_link(&self, link: Arc<dyn Link<E>>) {
        let before = std::mem::replace(&mut *self.core.link.lock(), link);
        drop(before);
    }

    /// Connects the reconnectable once more, whatever its state: as at each attempt, with a `close`
    /// before it. Programs have no need of it; it is there to be [overridden](Overrides).
    pub fn reconnect(&self) -> impl Future<Output = Result<(), E>> + Send + use<E> {
        self.core.overrides.reconnect(&Base(Arc::clone(&self.core)))
    }

    /// Makes a call if the connection is not dead, and looks at its error.
    ///
    /// # Errors
    ///
    /// [`ConnectionDead`] if the connection is dead, in which case nothing is called; and the error
    /// of the call, after [`check_for_dead_connection`](Self::check_for_dead_connection).
    #[doc(alias = "callChecking")]
    pub async fn call_checking<T, F>(&self, call: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: CheckedError,
    {
        if self.connection_is_dead() {
            let cause = Arc::clone(&self.core.cause.lock());
            return Err(E::connection_dead(ConnectionDead { cause }));
        }
        let outcome = call().await;
        if let Err(error) = &outcome {
            self.check_for_dead_connection(error);
        }
        outcome
    }

    /// Determines whether this error means that the connection is dead, and starts to reconnect it
    /// if so. Returns whether it does. May be called with the error of a first attempt to connect.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use txpostgres::reconnection::DeadConnectionDetector;
    /// use txpostgres::{Connection, Error, ErrorKind};
    ///
    /// let detector = DeadConnectionDetector::new();
    /// let connection = Connection::builder().detector(detector.clone()).build();
    /// let error = connection.connect("host=localhost port=1").await.unwrap_err();
    /// assert!(detector.check_for_dead_connection(&error));
    /// assert!(detector.connection_is_dead());
    /// connection.close().await;
    /// # }
    /// ```
    #[doc(alias = "checkForDeadConnection")]
    pub fn check_for_dead_connection(&self, error: &E) -> bool {
        self.core.overrides.check_for_dead_connection(&Base(Arc::clone(&self.core)), error)
    }

    /// Starts to reconnect, for this reason, whether or not it is a death for the death checker.
    /// Does nothing if the connection is known to be dead.
    #[doc(alias = "startReconnecting")]
    pub fn start_reconnecting(&self, error: &E) {
        self.core.overrides.start_reconnecting(&Base(Arc::clone(&self.core)), error);
    }

    /// Runs the recovery handlers and puts the connection in use. Programs have no need of it; it
    /// is there to be [overridden](Overrides).
    #[doc(alias = "connectionRecovered")]
    pub fn connection_recovered(&self) -> impl Future<Output = ()> + Send + use<E> {
        self.core.overrides.connection_recovered(&Base(Arc::clone(&self.core)))
    }

    /// Whether the connection is believed to be dead: it was lost, and is not up again.
    #[doc(alias = "connectionIsDead")]
    pub fn connection_is_dead(&self) -> bool {
        self.core.lifeline.lock().is_dead()
    }

    /// Adds a handler that is called whenever the connection is recovered: after each reconnection,
    /// but not after the first connect. A handler that is already there is not added again.
    ///
    /// Handlers run in parallel with each other, in no particular order. The connection is up when
    /// all of them have ended; until then, only they may use it: a call that is made in a handler
    /// passes, others find the connection dead. Errors and panics of a handler are logged and
    /// discarded.
    ///
    /// A handler that holds a clone of its connection keeps it open; use
    /// [`Connection::add_recovery_handler`](crate::Connection::add_recovery_handler), which gives
    /// it one at each call.
    #[doc(alias = "addRecoveryHandler")]
    pub fn add_recovery_handler(&self, handler: impl Into<RecoveryHandler>) -> RecoveryHandlerId {
        let handler = handler.into();
        let id = handler.id();
        let mut handlers = self.core.handlers.lock();
        if !handlers.contains(&handler) {
            handlers.push(handler);
        }
        id
    }

    /// Removes this handler, if it is there. A call that has begun runs to its end.
    #[doc(alias = "removeRecoveryHandler")]
    pub fn remove_recovery_handler(&self, id: RecoveryHandlerId) {
        let mut handlers = self.core.handlers.lock();
        let at = handlers.iter().position(|handler| handler.id() == id);
        let removed = at.map(|at| handlers.remove(at));
        drop(handlers);
        drop(removed);
    }

    /// The handlers, in the order in which they were added.
    #[doc(alias = "getRecoveryHandlers")]
    pub fn recovery_handlers(&self) -> Vec<RecoveryHandler> {
        self.core.handlers.lock().clone()
    }

    /// The present state.
    pub fn state(&self) -> ConnectionState {
        self.core.states.get()
    }

    /// The states from now on, the present one first.
    pub fn states(&self) -> ConnectionStates {
        self.core.states.watch()
    }

    /// Waits until the connection is not dead: until it is up again, was closed, or is given up.
    /// Returns whether it is up.
    pub async fn recovered(&self) -> bool {
        let mut states = self.states();
        while let Some(state) = states.next().await {
            match state {
                ConnectionState::Up { .. } | ConnectionState::Suspect { .. } => return true,
                ConnectionState::Closed | ConnectionState::GivenUp { .. } => return false,
                _ => {}
            }
        }
        false
    }

    // --- What a connection tells its detector ---

    /// The user has opened the connection.
    pub(crate) fn connected(&self) {
        let mut lifeline = self.core.lifeline.lock();
        lifeline.connected();
        drop(lifeline);
        let generation = self.core.next_generation();
        self.core.states.set(ConnectionState::Up { generation });
        self.end_run();
    }

    /// Whether the connection was opened, and not closed by the user.
    pub(crate) fn is_in_use(&self) -> bool {
        self.core.lifeline.lock().state() != LifeState::Closed
    }

    /// The user has closed the connection, or dropped its last handle.
    pub(crate) fn closed(&self) {
        self.core.lifeline.lock().closed();
        self.core.states.set(ConnectionState::Closed);
        self.end_run();
    }

    fn end_run(&self) {
        let task = self.core.task.lock().take();
        if let Some(task) = task {
            task.abort();
        }
        self.core.changed.notify_waiters();
    }

    /// The server owes an answer, and has sent nothing for this long; `None`: it has sent
    /// something, or still works.
    pub(crate) fn suspect(&self, silent_for: Option<Duration>) {
        let generation = self.core.generation();
        self.core.states.change(|present| match (present, silent_for) {
            (ConnectionState::Up { .. }, Some(silent_for)) => {
                Some(ConnectionState::Suspect { silent_for })
            }
            (ConnectionState::Suspect { .. }, None) => Some(ConnectionState::Up { generation }),
            _ => None,
        });
    }
}

impl<E> fmt::Debug for DeadConnectionDetector<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadConnectionDetector")
            .field("state", &self.core.states.get())
            .finish_non_exhaustive()
    }
}

/// Settings of a [`DeadConnectionDetector`].
#[must_use = "a builder does nothing until it builds"]
pub struct DetectorBuilder<E: 'static = Error> {
    death_checker: Box<dyn Fn(&E) -> bool + Send + Sync>,
    is_permanent: Box<dyn Fn(&E) -> bool + Send + Sync>,
    reconnection_iterator: Box<dyn Fn() -> Delays + Send + Sync>,
    overrides: Box<dyn Overrides<E>>,
    runtime: Option<Handle>,
}

impl<E: Send + Sync + fmt::Display + 'static> DetectorBuilder<E> {
    /// For a [`Reconnectable`] with errors of its own, of which these are deaths.
    pub fn new(death_checker: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        Self {
            death_checker: Box::new(death_checker),
            is_permanent: Box::new(|_| false),
            reconnection_iterator: Box::new(|| Box::new(default_reconnection_iterator())),
            overrides: Box::new(Defaults),
            runtime: None,
        }
    }

    /// Sets which errors are a death. The default is [`default_death_checker`].
    #[doc(alias = "deathChecker")]
    pub fn death_checker(mut self, is_death: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.death_checker = Box::new(is_death);
        self
    }

    /// Sets the delays between attempts: a function that returns them anew for each outage. The
    /// default is [`default_reconnection_iterator`]. When they come to an end, the connection is
    /// given up; no delay at all is one attempt, at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use txpostgres::reconnection::DeadConnectionDetector;
    ///
    /// let detector = DeadConnectionDetector::builder()
    ///     .reconnection_iterator(|| std::iter::repeat_n(Duration::from_millis(50), 100))
    ///     .build();
    /// # drop(detector);
    /// ```
    #[doc(alias = "reconnectionIterator")]
    pub fn reconnection_iterator<I>(
        mut self,
        delays: impl Fn() -> I + Send + Sync + 'static,
    ) -> Self
    where
        I: IntoIterator<Item = Duration>,
        I::IntoIter: Send + 'static,
    {
        self.reconnection_iterator = Box::new(move || Box::new(delays().into_iter()));
        self
    }

    /// Sets which errors of an attempt do not pass by themselves, such as a wrong password: the
    /// next attempt comes 10 s later at the earliest, and calls that wait for the connection are
    /// told. For a [`Connection`](crate::Connection) the default is what `connect` tells without
    /// asking another host.
    pub fn permanent(mut self, is_permanent: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.is_permanent = Box::new(is_permanent);
        self
    }

    /// Overrides steps of the detector.
    pub fn overrides(mut self, overrides: impl Overrides<E>) -> Self {
        self.overrides = Box::new(overrides);
        self
    }

    /// Sets the runtime that attempts are made on. The default is that of the task that finds the
    /// connection dead; for a [`Connection`](crate::Connection), that of the connection.
    #[doc(alias = "reactor")]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Creates the detector.
    pub fn build(self) -> DeadConnectionDetector<E> {
        let core = Core {
            lifeline: Mutex::default(),
            death_checker: self.death_checker,
            is_permanent: self.is_permanent,
            reconnection_iterator: self.reconnection_iterator,
            overrides: self.overrides,
            handlers: Mutex::default(),
            states: StateCell::new(),
            cause: Mutex::new("".into()),
            outage: Mutex::default(),
            task: Mutex::default(),
            changed: Notify::new(),
            link: Mutex::new(Arc::new(Nothing)),
            runtime: Mutex::new(self.runtime),
            generation: Mutex::new(0),
        };
        DeadConnectionDetector { core: Arc::new(core) }
    }
}

impl<E> fmt::Debug for DetectorBuilder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetectorBuilder").finish_non_exhaustive()
    }
}

/// The connection is dead: what a call through
/// [`call_checking`](DeadConnectionDetector::call_checking) is told. It becomes an
/// [`ErrorKind::ConnectionDead`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionDead {
    cause: Arc<str>,
}

impl ConnectionDead {
    /// Why it is dead, or why the last attempt to reconnect it failed, as one line.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl fmt::Display for ConnectionDead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection is dead: {}", self.cause)
    }
}

impl std::error::Error for ConnectionDead {}

/// An error that can say that the connection is dead: of calls through
/// [`call_checking`](DeadConnectionDetector::call_checking).
// Not `From<ConnectionDead>`: with a second `From` for `Error`, programs would have to name the
// type of errors that `?` infers today.
pub trait CheckedError {
    /// The error of a call that was not made, since the connection is dead.
    fn connection_dead(dead: ConnectionDead) -> Self;
}

impl CheckedError for Error {
    fn connection_dead(dead: ConnectionDead) -> Self {
        Self::new(ErrorKind::ConnectionDead, dead.to_string())
    }
}

impl CheckedError for std::io::Error {
    fn connection_dead(dead: ConnectionDead) -> Self {
        Self::new(std::io::ErrorKind::NotConnected, dead)
    }
}
