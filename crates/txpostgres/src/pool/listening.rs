//! Notifications of a pool: on one connection of its own, which is opened again when it is lost.

use std::sync::OnceLock;

use tokio::sync::Mutex;
use txpostgres_session::config::Config;
use txpostgres_session::{ErrorKind, Result};

use super::ConnectionPool;
use super::settings::{ConfigHook, ConnectionFactory, Settings, call_back};
use crate::connection::Connection;
use crate::notify::{Notifications, NotifyObserver, ObserverId, Subscription};
#[cfg(doc)]
use crate::{Error, NotifyEvent};

/// See the module's text.
pub(super) struct Listening {
    config: Config,
    before_connect: Option<ConfigHook>,
    factory: ConnectionFactory,
    patience: std::time::Duration,
    connection: OnceLock<Connection>,
    /// Held while it is opened.
    opening: Mutex<()>,
}

impl Listening {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            config: settings.config.clone(),
            before_connect: settings.before_connect.clone(),
            factory: settings.connection_factory.clone(),
            patience: settings.acquire_timeout,
            connection: OnceLock::new(),
            opening: Mutex::default(),
        }
    }

    /// The connection, open or not.
    fn connection(&self) -> &Connection {
        self.connection.get_or_init(|| {
            (self.factory)().reconnecting().wait_for_recovery(self.patience).build()
        })
    }

    /// The connection, which was opened.
    async fn open(&self) -> Result<&Connection> {
        let connection = self.connection();
        let _opening = self.opening.lock().await;
        if !connection.is_closed() {
            return Ok(connection);
        }
        let mut config = self.config.clone();
        if let Some(hook) = &self.before_connect {
            config = call_back("before_connect", || hook(config)).await?;
        }
        match connection.connect(config).await {
            // Its detector is about to open it.
            Err(error) if error.kind() == ErrorKind::AlreadyConnected => Ok(connection),
            outcome => outcome.map(|()| connection),
        }
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.get() {
            connection.close().await;
        }
    }
}

/// Notifications, on one connection besides those of the pool. It is opened when it is needed, and
/// again whenever it is lost: see [`Connection::subscribe`] and the
/// [guide](crate::guide::notifications).
impl ConnectionPool {
    /// The notifications of one channel as a stream: see [`Connection::subscribe`].
    ///
    /// # Errors
    ///
    /// Those of [`Connection::connect`] and [`Connection::subscribe`].
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription> {
        self.handle.listening.open().await?.subscribe(channel).await
    }

    /// Listens to a channel: see [`Connection::listen`].
    ///
    /// # Errors
    ///
    /// Those of [`Connection::connect`] and [`Connection::listen`].
    pub async fn listen(&self, channel: &str) -> Result<()> {
        self.handle.listening.open().await?.listen(channel).await
    }

    /// Stops listening to a channel: see [`Connection::unlisten`].
    ///
    /// # Errors
    ///
    /// Those of [`Connection::unlisten`].
    pub async fn unlisten(&self, channel: &str) -> Result<()> {
        self.handle.listening.open().await?.unlisten(channel).await
    }

    /// All notifications of the channels that the pool [listens](Self::listen) to, as a stream: see
    /// [`Connection::notifications`].
    pub fn notifications(&self) -> Notifications {
        self.handle.listening.connection().notifications()
    }

    /// Calls this observer with every [`NotifyEvent`] of the channels that the pool
    /// [listens](Self::listen) to: see [`Connection::add_notify_observer`].
    pub fn add_notify_observer(&self, observer: impl Into<NotifyObserver>) -> ObserverId {
        self.handle.listening.connection().add_notify_observer(observer)
    }

    /// Removes this observer, if it is there.
    pub fn remove_notify_observer(&self, id: ObserverId) {
        self.handle.listening.connection().remove_notify_observer(id);
    }

    /// The observers, in the order in which they were added.
    pub fn notify_observers(&self) -> Vec<NotifyObserver> {
        self.handle.listening.connection().notify_observers()
    }
}
