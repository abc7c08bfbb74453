//! Streams of notifications: of all channels that a connection listens to, or of one.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_core::Stream;

use txpostgres_multiplex::{ChannelName, Listeners, NotifyEvent, Queue};

use crate::driver::Driver;

/// All notifications of a connection from now on: see
/// [`Connection::notifications`](crate::Connection::notifications).
///
/// It implements `Stream`, and has a [`next`](Self::next) of its own, which needs no extension
/// trait. It does not keep the connection open: when the connection is closed or its last clone
/// dropped, the stream ends after the events in its queue. When the server goes away,
/// [`NotifyEvent::Disconnected`] follows, and the stream goes on if the connection is opened again.
#[doc(alias = "PgListener")]
#[doc(alias = "AsyncMessage")]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Notifications {
    queue: Arc<Queue>,
    listeners: Weak<Listeners>,
}

/// The notifications of one channel: see [`Connection::subscribe`](crate::Connection::subscribe).
///
/// When the last subscription to a channel is dropped, UNLISTEN is sent, unless
/// [`listen`](crate::Connection::listen) was called for the channel. In all else it behaves as
/// [`Notifications`].
#[must_use = "a subscription that is dropped ends"]
pub struct Subscription {
    queue: Arc<Queue>,
    listeners: Arc<Listeners>,
    driver: Weak<Driver>,
    channel: ChannelName,
}

impl Notifications {
    pub(crate) fn new(listeners: &Arc<Listeners>) -> Self {
        Self { queue: listeners.add_stream(), listeners: Arc::downgrade(listeners) }
    }

    /// The next event; `None` after the last one. Cancel-safe: if the future is dropped, no event
    /// is lost.
    #[doc(alias = "recv")]
    pub async fn next(&mut self) -> Option<NotifyEvent> {
        poll_fn(|cx| self.queue.poll(cx.waker())).await
    }
}

impl Subscription {
    pub(crate) fn new(
        listeners: &Arc<Listeners>,
        driver: &Arc<Driver>,
        queue: Arc<Queue>,
        channel: ChannelName,
    ) -> Self {
        let (listeners, driver) = (Arc::clone(listeners), Arc::downgrade(driver));
        Self { queue, listeners, driver, channel }
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The next event; `None` after the last one. Cancel-safe: if the future is dropped, no event
    /// is lost.
    #[doc(alias = "recv")]
    pub async fn next(&mut self) -> Option<NotifyEvent> {
        poll_fn(|cx| self.queue.poll(cx.waker())).await
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.remove_stream(&self.queue);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.listeners.remove_subscriber(&self.channel, &self.queue);
        if let Some(driver) = self.driver.upgrade() {
            driver.reconcile();
        }
    }
}

impl Stream for Notifications {
    type Item = NotifyEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NotifyEvent>> {
        self.queue.poll(cx.waker())
    }
}

impl Stream for Subscription {
    type Item = NotifyEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NotifyEvent>> {
        self.queue.poll(cx.waker())
    }
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}
