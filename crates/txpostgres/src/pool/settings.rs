//! The settings of a pool, and what a program is called back for.

use std::sync::Arc;
use std::time::Duration;

use txpostgres_session::config::Config;
use txpostgres_session::{Error, Result};

use super::SessionState;
use crate::connection::{Connection, ConnectionBuilder};
use crate::reconnection::BoxFuture;

/// A callback for a connection.
pub(super) type ConnectionHook =
    Arc<dyn Fn(Connection) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A callback for the configuration of a connection that is about to be opened.
pub(super) type ConfigHook =
    Arc<dyn Fn(Config) -> BoxFuture<'static, Result<Config>> + Send + Sync>;

/// What makes the connections of a pool, before they are opened.
pub(super) type ConnectionFactory = Arc<dyn Fn() -> ConnectionBuilder + Send + Sync>;

/// See the module's text.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) name: String,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) min_idle: usize,
    pub(super) max_waiting: Option<usize>,
    pub(super) acquire_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) proof_after: Duration,
    pub(super) close_timeout: Duration,
    pub(super) session_state: SessionState,
    pub(super) connection_factory: ConnectionFactory,
    pub(super) before_connect: Option<ConfigHook>,
    pub(super) after_connect: Option<ConnectionHook>,
    pub(super) before_acquire: Option<ConnectionHook>,
    pub(super) after_release: Option<ConnectionHook>,
    pub(super) runtime: Option<tokio::runtime::Handle>,
}

impl Settings {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            name: "txpostgres".to_owned(),
            min: 3,
            max: 10,
            min_idle: 0,
            max_waiting: None,
            acquire_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(10 * 60)),
            max_lifetime: Some(Duration::from_secs(30 * 60)),
            proof_after: Duration::from_secs(1),
            close_timeout: Duration::from_secs(5),
            session_state: SessionState::Keep,
            connection_factory: Arc::new(Connection::builder),
            before_connect: None,
            after_connect: None,
            before_acquire: None,
            after_release: None,
            runtime: None,
        }
    }
}

/// Runs a callback of the program; a panic in it is an error.
pub(super) async fn call_back<T>(
    what: &'static str,
    callback: impl FnOnce() -> BoxFuture<'static, Result<T>>,
) -> Result<T> {
    crate::panics::caught(callback).await.unwrap_or_else(|message| {
        Err(Error::new(
            txpostgres_session::ErrorKind::Request,
            format!("{what} of the pool panicked: {message}"),
        ))
    })
}
