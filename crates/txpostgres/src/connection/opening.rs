//! One attempt to open a connection, which `close` ends and which may be dropped.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle as Runtime;
use txpostgres_multiplex::Drive;
use txpostgres_session::config::Config;
use txpostgres_session::{Error, ErrorKind, Result};

use super::Handle;
use crate::driver::Connector;
use crate::driver::Occasion;

/// An attempt to open a connection, identified by its mark, and the waker of its task.
pub(super) struct Opener {
    mark: Arc<()>,
    pub(super) waker: Option<Waker>,
}

impl Handle {
    /// Opens a session and makes the settings of the connection in it. Returns its number. Calls
    /// may not use it yet: see [`begin`](Self::begin).
    pub(super) async fn open(&self, config: Config, occasion: Occasion) -> Result<u64> {
        let attempt = Attempt::begin(self, occasion)?;
        let before = self.config.lock().replace(config.clone());
        drop(before);
        let connector = Connector {
            config: Arc::new(config),
            dial: Arc::clone(&self.dial),
            keys: self.keys.clone(),
            grace: self.grace,
            on_heard: self.on_heard.clone(),
        };
        let mut opening = pin!(connector.open(occasion));
        let opened = poll_fn(|cx| {
            if !attempt.register(cx) {
                return Poll::Ready(Err(closed_meanwhile()));
            }
            opening.as_mut().poll(cx).map_err(Error::while_connecting)
        });
        let (session, stream, requester) = *opened.await?;
        self.hearing.observers.set_runtime(Runtime::current());
        if !attempt.succeed() {
            return Err(closed_meanwhile());
        }
        let installed = self.driver.install(session, stream, requester);
        let generation = installed.ok_or_else(closed_meanwhile)?;
        let unfinished = Unfinished { handle: self, generation };
        self.make_settings(generation).await.map_err(Error::while_connecting)?;
        std::mem::forget(unfinished);
        Ok(generation)
    }
}

/// A session that was not given to anybody: it is given up if the attempt ends without it.
struct Unfinished<'a> {
    handle: &'a Handle,
    generation: u64,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let reason = Error::new(ErrorKind::Lost, "the session could not be prepared for use");
        self.handle.driver.give_up(self.generation, reason);
    }
}

pub(super) fn closed_meanwhile() -> Error {
    Error::new(ErrorKind::Closed, "the connection was closed while it was being opened")
}

fn already_connected(message: &'static str) -> Error {
    Error::new(ErrorKind::AlreadyConnected, message)
        .with_hint("close it first, or use another Connection")
}

/// A `connect` in progress. If it is dropped before it succeeds, the connection stays closed.
struct Attempt<'a> {
    handle: &'a Handle,
    mark: Arc<()>,
}

impl<'a> Attempt<'a> {
    fn begin(handle: &'a Handle, occasion: Occasion) -> Result<Self> {
        if occasion == Occasion::User
            && let Some(reconnection) = &handle.reconnection
            && reconnection.is_reconnecting()
        {
            return Err(already_connected("the connection is being opened again by its detector"));
        }
        // A call that was put aside may have left the end of the last session unread.
        handle.driver.read_if_ready();
        let mark = Arc::default();
        let mut attempt = handle.attempt.lock();
        let mut multiplexer = handle.driver.lock();
        if attempt.is_some() || multiplexer.is_in_use() {
            return Err(already_connected("the connection is open already"));
        }
        multiplexer.opening();
        *attempt = Some(Opener { mark: Arc::clone(&mark), waker: None });
        Ok(Self { handle, mark })
    }

    /// Whether this is still the current attempt; if so, `close` wakes this task when it ends the
    /// attempt.
    fn register(&self, cx: &Context<'_>) -> bool {
        // Wakers are cloned and dropped outside of the lock.
        let waker = cx.waker().clone();
        let mut attempt = self.handle.attempt.lock();
        let Some(opener) = attempt.as_mut().filter(|opener| Arc::ptr_eq(&opener.mark, &self.mark))
        else {
            return false;
        };
        let replaced = opener.waker.replace(waker);
        drop(attempt);
        drop(replaced);
        true
    }

    /// Ends the attempt. `false`: the connection was closed meanwhile.
    fn succeed(&self) -> bool {
        self.take().is_some()
    }

    fn take(&self) -> Option<Opener> {
        self.handle.attempt.lock().take_if(|opener| Arc::ptr_eq(&opener.mark, &self.mark))
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.take().is_some() {
            self.handle.driver.lock().not_opened();
        }
    }
}
