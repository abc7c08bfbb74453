//! NOTIFY: sending it, listening to channels, and everybody who hears.
//!
//! What arrives goes from the session's desk to the audience (`notify/audience.rs`), into the queue of each listener
//! (`queue.rs`), and from there to a stream (`stream.rs`) or to an observer (`observer.rs`). What is to be listened to is
//! written down in one place (`channels.rs`), and one task tells the server (`registrar.rs`).

pub(crate) mod audience;
mod channels;
mod observer;
mod queue;
mod registrar;
mod stream;

use std::sync::Arc;

use tokio::sync::oneshot;
use txpostgres_session::limits::{NAME_BYTES, NOTIFY_PAYLOAD_BYTES};
use txpostgres_session::{Error, ErrorKind, Notification, Result};

use crate::connection::Connection;
use crate::cursor::Cursor;
use audience::Audience;
use channels::Name;

pub use observer::{Cooperator, NotifyObserver, Observed, ObserverId, ObserverWork, Spawning};
pub use queue::QueueBounds;
pub use stream::{Notifications, Subscription};

/// What observers and streams hear, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyEvent {
    /// A NOTIFY arrived.
    Notification(Notification),
    /// So many notifications came faster than this listener heard them, and gave way in its queue ([`QueueBounds`]). They
    /// came before what is heard next.
    Missed(u64),
    /// The session ended, closed or lost. What is notified from now on is not heard.
    Disconnected,
    /// The connection was opened again, and listens again to what it listened to when it was lost. What was notified between
    /// `Disconnected` and this was not heard: look yourself at what the notifications were about.
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

/// The audience of a connection, from the users' side: it ends when the last clone of the connection is dropped.
pub(crate) struct Hall(pub(crate) Arc<Audience>);

impl Drop for Hall {
    fn drop(&mut self) {
        self.0.close(true);
    }
}

/// A connection's notifications.
///
/// The [guide](crate::guide::notifications) tells the whole story.
impl Connection {
    fn audience(&self) -> &Arc<Audience> {
        &self.shared.hall.0
    }

    /// Calls this observer with every [`NotifyEvent`] of the connection, from now on. An observer that was added already is
    /// not added again.
    ///
    /// Takes a [`NotifyObserver`], a reference to one, or an asynchronous function. The observer is called with one event after
    /// the other, in the order of their arrival, and awaited before the next; observers do not wait for each other. An observer
    /// that fails or panics is logged, and is called again with the next event. Observers belong to the connection: they may be
    /// added before it is opened, and stay when it is closed and opened again.
    ///
    /// An observer may use the connection. One that *holds* a clone of it keeps it open until the observer is removed or
    /// [`close`](Self::close) is called.
    ///
    /// What the connection listens to is chosen by [`listen`](Self::listen).
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::NotifyEvent;
    ///
    /// let id = connection.add_notify_observer(|event: NotifyEvent| async move {
    ///     println!("{event:?}");
    /// });
    /// connection.listen("news").await?;
    /// connection.notify("news", "it works").await?;
    /// # connection.remove_notify_observer(id);
    /// # Ok(()) }
    /// ```
    pub fn add_notify_observer(&self, observer: impl Into<NotifyObserver>) -> ObserverId {
        self.audience().add_observer(observer.into())
    }

    /// Calls this observer no more; one that was never added is ignored. A call that has begun goes on to its end. What waits
    /// for the observer is thrown away.
    pub fn remove_notify_observer(&self, id: ObserverId) {
        self.audience().remove_observer(id);
    }

    /// The observers that are called, in the order in which they were added.
    pub fn notify_observers(&self) -> Vec<NotifyObserver> {
        self.audience().observers()
    }

    /// Reads what has arrived and hands it out, without waiting. That is done all the time; no program needs to call this.
    pub fn check_for_notifies(&self) {
        if let Ok(link) = self.link() {
            link.board.disarm();
            link.drive(None, false);
        }
    }

    /// Everything that the connection is notified of from now on, as a stream.
    ///
    /// Any number may be had, also before the connection is opened. Each has a queue of its own ([`QueueBounds`]): a stream
    /// that is not read loses its oldest notifications, is told how many, and slows down nobody.
    pub fn notifications(&self) -> Notifications {
        Notifications::new(self.audience())
    }

    /// Listens to a channel: from the moment this returns, what is notified there is heard.
    ///
    /// The name is taken as it is: `listen("News")` is `LISTEN "News"`. While an interaction runs, it waits until that has
    /// ended. Calls made at the same time share a round trip. Listening twice is listening once. Dropped before its end, the
    /// channel may be listened to nevertheless.
    ///
    /// When the server goes away and the connection is opened again, it listens again; after [`close`](Self::close) it does not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] for a name that is empty, holds a NUL, or is longer than 63 bytes, which the server would cut
    /// off; [`ErrorKind::Server`] when the server refuses, such as a standby; and what calls of a connection end with.
    pub async fn listen(&self, channel: &str) -> Result<()> {
        let name = name(channel)?;
        self.link()?;
        let (reply, answer) = oneshot::channel();
        let before = self.audience().want(|channels| channels.listen(&name, reply));
        let outcome = answered(answer).await;
        if outcome.is_err() && !before {
            self.audience().want(|channels| channels.forget(&name));
        }
        outcome
    }

    /// No longer listens to a channel, unless there are [subscriptions](Self::subscribe) to it. What has arrived is heard still.
    ///
    /// A channel that is not listened to is not an error. Dropped before its end, UNLISTEN is sent nevertheless.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub async fn unlisten(&self, channel: &str) -> Result<()> {
        let name = name(channel)?;
        self.link()?;
        let (reply, answer) = oneshot::channel();
        self.audience().want(|channels| channels.unlisten(&name, reply));
        answered(answer).await
    }

    /// Listens only to what there are [subscriptions](Self::subscribe) to. LISTENs that were sent as statements end as well.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub async fn unlisten_all(&self) -> Result<()> {
        self.link()?;
        let (reply, answer) = oneshot::channel();
        self.audience().want(|channels| channels.unlisten_all(reply));
        answered(answer).await
    }

    /// What is notified on this channel, as a stream; listens to it as long as there is a subscription.
    ///
    /// Any number of subscriptions, to any number of channels, share the connection: the first to a channel sends LISTEN, and
    /// when the last is dropped UNLISTEN is sent. What a notification costs does not depend on how many channels there
    /// are. Dropped before its end, it leaves nothing behind.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::NotifyEvent;
    ///
    /// let mut jobs = connection.subscribe("jobs").await?;
    /// while let Some(event) = jobs.next().await {
    ///     match event {
    ///         NotifyEvent::Notification(job) => println!("do {}", job.payload()),
    ///         // Some were missed: look at the table that they were about.
    ///         _ => println!("look at all jobs"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription> {
        let name = name(channel)?;
        self.link()?;
        let (reply, answer) = oneshot::channel();
        let audience = self.audience();
        let queue = audience.add_subscriber(&name, reply);
        // From here on it leaves when it is dropped.
        let subscription = Subscription::new(audience, queue, name);
        answered(answer).await?;
        Ok(subscription)
    }

    /// Notifies everybody who listens to the channel, in this database, of this payload.
    ///
    /// Within a transaction use [`Cursor::notify`]: it is sent when the transaction commits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] for a name that [`listen`](Self::listen) would not take; [`ErrorKind::Parameter`] for a payload of
    /// 8,000 bytes or more, or with a NUL; and as [`run_query`](Self::run_query).
    pub async fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        let channel = sendable(channel, payload)?;
        self.run_query(NOTIFY, (&*channel, payload)).await.map(drop)
    }
}

impl Cursor {
    /// Notifies everybody who listens to the channel when the transaction commits, and nobody if it does not.
    ///
    /// Notifications of one transaction arrive in the order in which they were made; two that are the same arrive once
    /// (manual, NOTIFY).
    ///
    /// # Errors
    ///
    /// As [`Connection::notify`].
    pub async fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        let channel = sendable(channel, payload)?;
        self.run_query(NOTIFY, (&*channel, payload)).await.map(drop)
    }
}

/// Its parameters are texts, so that nothing has to be quoted.
const NOTIFY: &str = "select pg_notify($1, $2)";

fn name(channel: &str) -> Result<Name> {
    let refused = |message| Err(Error::new(ErrorKind::Request, message));
    if channel.is_empty() {
        return refused("the name of a channel is empty".into());
    }
    if channel.contains('\0') {
        return refused("the name of a channel holds a NUL character".into());
    }
    if channel.len() > NAME_BYTES {
        let bytes = channel.len();
        return refused(format!(
            "the name of a channel has {bytes} bytes; {NAME_BYTES} are possible"
        ));
    }
    Ok(channel.into())
}

fn sendable(channel: &str, payload: &str) -> Result<Name> {
    let name = name(channel)?;
    if payload.len() > NOTIFY_PAYLOAD_BYTES {
        let bytes = payload.len();
        let message = format!(
            "the payload of a NOTIFY has {bytes} bytes; {NOTIFY_PAYLOAD_BYTES} are possible"
        );
        return Err(Error::new(ErrorKind::Parameter, message)
            .with_hint("put it into a table, and notify of its key"));
    }
    if payload.contains('\0') {
        return Err(Error::new(
            ErrorKind::Parameter,
            "the payload of a NOTIFY holds a NUL character",
        ));
    }
    Ok(name)
}

async fn answered(answer: oneshot::Receiver<Result<()>>) -> Result<()> {
    answer.await.unwrap_or_else(|_| Err(registrar::unanswered()))
}
