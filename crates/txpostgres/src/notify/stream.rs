//! Streams of notifications: of all channels that a connection listens to, or of one.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_core::Stream;

use super::NotifyEvent;
use super::audience::{Audience, call_all};
use super::channels::Name;
use super::queue::Queue;

/// Everything that a connection is notified of from now on: see [`Connection::notifications`](crate::Connection::notifications).
///
/// A `Stream`, and [`next`](Self::next) does without a crate for streams. It does not keep the connection open: it ends when the
/// connection is closed or its last clone dropped, after what was waiting. When the server goes away it tells
/// [`NotifyEvent::Disconnected`] and goes on, should the connection be opened again.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Notifications {
    seat: Seat,
}

/// What comes on one channel: see [`Connection::subscribe`](crate::Connection::subscribe).
///
/// Dropped, it leaves; when the last one of a channel goes and nobody called [`listen`](crate::Connection::listen) for it,
/// UNLISTEN is sent. In all else as [`Notifications`].
#[must_use = "a subscription that is dropped ends"]
pub struct Subscription {
    seat: Seat,
    channel: Name,
}

/// A place in the audience, left when it is dropped.
struct Seat {
    queue: Arc<Queue>,
    audience: Weak<Audience>,
    channel: Option<Name>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(audience) = self.audience.upgrade() {
            match &self.channel {
                Some(channel) => audience.remove_subscriber(channel, &self.queue),
                None => audience.remove_stream(&self.queue),
            }
        }
        call_all(|calls| self.queue.discard(calls));
    }
}

impl Notifications {
    pub(crate) fn new(audience: &Arc<Audience>) -> Self {
        let queue = audience.add_stream();
        Self { seat: Seat { queue, audience: Arc::downgrade(audience), channel: None } }
    }

    /// The next event; `None` when nothing comes any more. Dropped before its end, it has taken nothing.
    pub async fn next(&mut self) -> Option<NotifyEvent> {
        poll_fn(|cx| self.seat.queue.poll(cx)).await
    }
}

impl Subscription {
    pub(crate) fn new(audience: &Arc<Audience>, queue: Arc<Queue>, channel: Name) -> Self {
        let seat =
            Seat { queue, audience: Arc::downgrade(audience), channel: Some(Arc::clone(&channel)) };
        Self { seat, channel }
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The next event; `None` when nothing comes any more. Dropped before its end, it has taken nothing.
    pub async fn next(&mut self) -> Option<NotifyEvent> {
        poll_fn(|cx| self.seat.queue.poll(cx)).await
    }
}

impl Stream for Notifications {
    type Item = NotifyEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NotifyEvent>> {
        self.seat.queue.poll(cx)
    }
}

impl Stream for Subscription {
    type Item = NotifyEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NotifyEvent>> {
        self.seat.queue.poll(cx)
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
