//! What listeners are told.

use txpostgres_session::Notification;

/// What observers and streams hear, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyEvent {
    /// A NOTIFY arrived.
    Notification(Notification),
    /// This many notifications came faster than this listener heard them, and gave way in its queue
    /// ([`QueueBounds`](crate::QueueBounds)). They came before what is heard next.
    Missed(u64),
    /// The session ended, closed or lost. What is notified from now on is not heard.
    Disconnected,
    /// The connection was opened again, and listens again to what it listened to when it was lost.
    /// What was notified between `Disconnected` and this was not heard: check the state that the
    /// notifications were about.
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
