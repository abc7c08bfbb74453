//! The events of listeners.

use txpostgres_session::Notification;

/// An event of observers and streams, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyEvent {
    /// A NOTIFY arrived.
    Notification(Notification),
    /// This many notifications arrived faster than this listener took them, and were evicted from
    /// its queue ([`QueueBounds`](crate::QueueBounds)). They came before the next event.
    Missed(u64),
    /// The session ended, closed or lost. Notifications are not received from now on.
    Disconnected,
    /// The connection was opened again, and listens again to the same channels. Notifications
    /// between `Disconnected` and this event were not received: check the state that they were
    /// about.
    Gap {
        /// How many sessions the connection has had, the present one included.
        generation: u64,
    },
}

impl NotifyEvent {
    /// The notification, if it is one.
    pub fn notification(&self) -> Option<&Notification> {
        match self {
            Self::Notification(notification) => Some(notification),
            _ => None,
        }
    }
}
