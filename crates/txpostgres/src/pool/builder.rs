//! The settings of a pool, chosen before it is created.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use txpostgres_session::Result;
use txpostgres_session::config::{Config, IntoConfig, TargetSessionAttrs};

use super::listening::Listening;
use super::settings::Settings;
use super::shared::Shared;
use super::{ConnectionPool, Handle, SessionState};
use crate::connection::{Connection, ConnectionBuilder};
use crate::notify::Cooperator;
#[cfg(doc)]
use crate::{ErrorKind, Interaction};

/// Settings of a [`ConnectionPool`].
#[must_use = "a builder does nothing until it builds"]
pub struct ConnectionPoolBuilder {
    settings: Result<Settings>,
    cooperator: Option<Arc<dyn Cooperator>>,
    read: Option<Result<Config>>,
}

impl ConnectionPoolBuilder {
    pub(super) fn new(config: Result<Config>) -> Self {
        Self { settings: config.map(Settings::new), cooperator: None, read: None }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        if let Ok(settings) = &mut self.settings {
            set(settings);
        }
        self
    }

    /// Sets the name of the pool in its `tracing` spans and in the numbers of the feature
    /// `metrics`: `txpostgres` by default, and with `.read` behind it for the pool of
    /// [`read`](ConnectionPool::read).
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set(|settings| settings.name = name.into())
    }

    /// Sets the least number of connections, 3 by default. [`start`](ConnectionPool::start) opens
    /// them, and they are kept open.
    pub fn min(self, min: usize) -> Self {
        self.set(|settings| settings.min = min)
    }

    /// Sets the greatest number of connections, 10 by default. It is never less than
    /// [`min`](Self::min), nor than 1.
    #[doc(alias = "max_connections")]
    #[doc(alias = "max_size")]
    pub fn max(self, max: usize) -> Self {
        self.set(|settings| settings.max = max)
    }

    /// Sets how many connections are idle at least, as far as [`max`](Self::max) allows: 0 by
    /// default. When fewer are, others are opened before they are needed.
    pub fn min_idle(self, min_idle: usize) -> Self {
        self.set(|settings| settings.min_idle = min_idle)
    }

    /// Sets how long a call waits for a connection, 30 s by default: the opening of one, and a sign
    /// of life, are part of it. A single call can wait for another time:
    /// [`wait_for_recovery`](crate::RunQuery::wait_for_recovery).
    pub fn acquire_timeout(self, limit: Duration) -> Self {
        self.set(|settings| settings.acquire_timeout = limit)
    }

    /// Sets how many calls may wait for a connection at a time; the next ones fail at once. By
    /// default there is no limit.
    pub fn max_waiting(self, most: impl Into<Option<usize>>) -> Self {
        self.set(|settings| settings.max_waiting = most.into())
    }

    /// Sets how long a connection may be idle before it is closed, if there are more than
    /// [`min`](Self::min): 10 minutes by default; `None` for ever.
    pub fn idle_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.set(|settings| settings.idle_timeout = limit.into())
    }

    /// Sets after which time a connection is closed, and replaced, when nothing uses it: 30 minutes
    /// by default; `None` for never. Each connection has up to a tenth less, by chance, and no more
    /// than a tenth of the pool is closed in one second.
    pub fn max_lifetime(self, limit: impl Into<Option<Duration>>) -> Self {
        self.set(|settings| settings.max_lifetime = limit.into())
    }

    /// Sets after how much time of idleness a connection must prove that it is alive before it is
    /// handed out: 1 s by default. The proof is an empty round trip, within the time that the
    /// caller waits; a connection without it is closed, and another tried.
    pub fn proof_after(self, idle: Duration) -> Self {
        self.set(|settings| settings.proof_after = idle)
    }

    /// Sets how long [`close`](ConnectionPool::close) waits for connections in use: 5 s by default.
    pub fn close_timeout(self, limit: Duration) -> Self {
        self.set(|settings| settings.close_timeout = limit)
    }

    /// Sets what is done with the state of a session between two callers:
    /// [`SessionState::Keep`] by default.
    pub fn session_state(self, state: SessionState) -> Self {
        self.set(|settings| settings.session_state = state)
    }

    /// Sets what makes the connections: their settings, such as how they dial and their time
    /// limits. The pool opens them. They may have no detector, since the pool has its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use txpostgres::{Connection, ConnectionPool};
    ///
    /// let pool = ConnectionPool::builder("host=localhost")
    ///     .connection_factory(|| Connection::builder().liveness_bound(Duration::from_secs(2)))
    ///     .build();
    /// # drop(pool);
    /// ```
    #[doc(alias = "connectionFactory")]
    pub fn connection_factory(
        self,
        factory: impl Fn() -> ConnectionBuilder + Send + Sync + 'static,
    ) -> Self {
        self.set(|settings| settings.connection_factory = Arc::new(factory))
    }

    /// Sets the runtime on which the pool opens and closes connections. The default is that of the
    /// first call.
    #[doc(alias = "reactor")]
    pub fn runtime(self, runtime: Runtime) -> Self {
        self.set(|settings| settings.runtime = Some(runtime))
    }

    /// Sets where the work of notify observers runs: see [`ConnectionBuilder::cooperator`].
    pub fn cooperator(mut self, cooperator: impl Cooperator) -> Self {
        self.cooperator = Some(Arc::new(cooperator));
        self
    }

    /// Sets what is called with the configuration before each connection is opened, and may change
    /// it: for a password that changes.
    ///
    /// ```
    /// use txpostgres::{Config, ConnectionPool};
    ///
    /// async fn token() -> String {
    ///     "…".to_owned()
    /// }
    ///
    /// let pool = ConnectionPool::builder("host=localhost")
    ///     .before_connect(|mut config: Config| async move {
    ///         config.password(token().await);
    ///         Ok(config)
    ///     })
    ///     .build();
    /// # drop(pool);
    /// ```
    pub fn before_connect<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Config) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Config>> + Send + 'static,
    {
        let hook = Arc::new(move |config| Box::pin(hook(config)) as _);
        self.set(|settings| settings.before_connect = Some(hook))
    }

    /// Sets what is called with each connection when it was opened, before anything else uses it.
    /// If it fails, the connection is closed, and the attempt has failed with this error.
    ///
    /// ```
    /// use txpostgres::{Connection, ConnectionPool};
    ///
    /// let pool = ConnectionPool::builder("host=localhost")
    ///     .after_connect(|connection: Connection| async move {
    ///         connection.set("search_path", "app").await
    ///     })
    ///     .build();
    /// # drop(pool);
    /// ```
    pub fn after_connect<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let hook = Arc::new(move |connection| Box::pin(hook(connection)) as _);
        self.set(|settings| settings.after_connect = Some(hook))
    }

    /// Sets what is called with an idle connection before it is handed out, within the time that
    /// the caller waits. If it fails, the connection is closed, and another one is tried.
    pub fn before_acquire<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let hook = Arc::new(move |connection| Box::pin(hook(connection)) as _);
        self.set(|settings| settings.before_acquire = Some(hook))
    }

    /// Sets what is called with a connection that comes back from a caller who had it alone for
    /// more than one query, before it is handed out again. If it fails, the connection is closed.
    pub fn after_release<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let hook = Arc::new(move |connection| Box::pin(hook(connection)) as _);
        self.set(|settings| settings.after_release = Some(hook))
    }

    /// Adds a pool of connections to standbys, for [`read`](ConnectionPool::read), with the same
    /// settings. If no host of this configuration is a standby, its connections are to any that
    /// answers (`target_session_attrs=prefer-standby`), unless the configuration says otherwise.
    pub fn read(mut self, config: impl IntoConfig) -> Self {
        self.read = Some(config.into_config());
        self
    }

    /// Creates the pool. No connection is opened yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for an invalid configuration.
    pub fn build(self) -> Result<ConnectionPool> {
        let Self { settings, cooperator, read } = self;
        let mut settings = settings?;
        if let Some(cooperator) = &cooperator {
            let (factory, cooperator) =
                (Arc::clone(&settings.connection_factory), Arc::clone(cooperator));
            settings.connection_factory =
                Arc::new(move || factory().shared_cooperator(Arc::clone(&cooperator)));
        }
        let read = match read {
            None => None,
            Some(config) => {
                let mut config = config?;
                if config.get_target_session_attrs() == TargetSessionAttrs::Any {
                    config.target_session_attrs(TargetSessionAttrs::PreferStandby);
                }
                let name = format!("{}.read", settings.name);
                Some(Self::pool(Settings { config, name, ..settings.clone() }, None)?)
            }
        };
        Self::pool(settings, read)
    }

    fn pool(settings: Settings, read: Option<ConnectionPool>) -> Result<ConnectionPool> {
        let listening = Listening::new(&settings);
        let shared = Shared::new(settings)?;
        Ok(ConnectionPool { handle: Arc::new(Handle { shared, listening, read }) })
    }
}

impl fmt::Debug for ConnectionPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPoolBuilder").finish_non_exhaustive()
    }
}
