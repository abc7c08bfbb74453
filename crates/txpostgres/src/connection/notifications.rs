//! NOTIFY for users of a connection: listening, observing, notifying.

use std::future::poll_fn;
use std::sync::Arc;

use txpostgres_multiplex::{ChannelName, Drive, Listeners, LockId, Reply, ReplyReceiver};
use txpostgres_session::{Error, ErrorKind, Result, quote_ident};

use super::Connection;
use crate::driver::{Call, Scope, is_within};
use crate::notify::{
    NOTIFY, Notifications, NotifyObserver, ObserverId, Subscription, channel_name, notification,
};
#[cfg(doc)]
use crate::{NotifyEvent, QueueBounds};

/// A connection's notifications.
///
/// The [guide](crate::guide::notifications) tells the whole story.
impl Connection {
    fn listeners(&self) -> &Arc<Listeners> {
        &self.handle.hearing.listeners
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
        let id = self.handle.hearing.observers.add(observer.into());
        self.handle.driver.read_if_ready();
        id
    }

    /// Calls this observer no more; one that was never added is ignored. A call that has begun goes on to its end. What waits
    /// for the observer is thrown away.
    pub fn remove_notify_observer(&self, id: ObserverId) {
        self.handle.hearing.observers.remove(id);
    }

    /// The observers that are called, in the order in which they were added.
    pub fn notify_observers(&self) -> Vec<NotifyObserver> {
        self.handle.hearing.observers.list()
    }

    /// Reads what has arrived and hands it out, without waiting. That is done all the time; no program needs to call this.
    pub fn check_for_notifies(&self) {
        self.handle.driver.look();
    }

    /// Everything that the connection is notified of from now on, as a stream.
    ///
    /// Any number may be had, also before the connection is opened. Each has a queue of its own ([`QueueBounds`]): a stream
    /// that is not read loses its oldest notifications, is told how many, and slows down nobody.
    pub fn notifications(&self) -> Notifications {
        let notifications = Notifications::new(self.listeners());
        // It depends on the socket being read, whoever was woken to do so.
        self.handle.driver.read_if_ready();
        notifications
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
        let name = channel_name(channel)?;
        let asking = self.asking()?;
        let (reply, answer) = asking.reply();
        let before = self.listeners().listen(&name, reply);
        let outcome = asking.answered(answer, "LISTEN", &name).await;
        if outcome.is_err() && !before {
            self.listeners().forget(&name);
            self.handle.driver.reconcile();
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
        let name = channel_name(channel)?;
        let asking = self.asking()?;
        let (reply, answer) = asking.reply();
        self.listeners().unlisten(&name, reply);
        asking.answered(answer, "UNLISTEN", &name).await
    }

    /// Listens only to what there are [subscriptions](Self::subscribe) to. LISTENs that were sent as statements end as well.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub async fn unlisten_all(&self) -> Result<()> {
        let asking = self.asking()?;
        let (reply, answer) = asking.reply();
        self.listeners().unlisten_all(reply);
        asking.answered(answer, "UNLISTEN", "*").await
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
        let name = channel_name(channel)?;
        let asking = self.asking()?;
        let (reply, answer) = asking.reply();
        let queue = self.listeners().add_subscriber(&name, reply);
        // From here on it leaves when it is dropped.
        let driver = &self.handle.driver;
        let subscription = Subscription::new(self.listeners(), driver, queue, Arc::clone(&name));
        asking.answered(answer, "LISTEN", &name).await?;
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
        let channel = notification(channel, payload)?;
        self.run_query(NOTIFY, (&*channel, payload)).await.map(drop)
    }

    /// How a LISTEN or UNLISTEN of this task is sent.
    fn asking(&self) -> Result<Asking<'_>> {
        let driver = &self.handle.driver;
        let multiplexer = driver.lock();
        if multiplexer.is_closed() {
            return Err(multiplexer.why_closed());
        }
        let lease = multiplexer.lease().filter(|lease| is_within(driver, *lease));
        Ok(Asking { connection: self, lease })
    }
}

/// How a LISTEN or UNLISTEN of a task is sent.
struct Asking<'a> {
    connection: &'a Connection,
    /// The task is in the closure of this transaction: the statement is sent in it, and counts when
    /// it commits. After the end of the transaction it is said once more, whatever became of it.
    lease: Option<LockId>,
}

impl Asking<'_> {
    /// Where the outcome of a round is put and awaited; none for a statement of the transaction.
    fn reply(&self) -> (Option<Reply>, Option<ReplyReceiver>) {
        match self.lease {
            Some(_) => (None, None),
            None => {
                let (reply, receiver) = Reply::new();
                (Some(reply), Some(receiver))
            }
        }
    }

    async fn answered(
        &self,
        receiver: Option<ReplyReceiver>,
        verb: &str,
        channel: &str,
    ) -> Result<()> {
        let driver = &self.connection.handle.driver;
        if let Some(lease) = self.lease {
            // Sent when the transaction is over.
            driver.reconcile();
            let channel = if channel == "*" { channel.to_owned() } else { quote_ident(channel)? };
            let scope = Scope::Lease(Arc::clone(driver), lease);
            let call = Call::script(Ok(scope), format!("{verb} {channel}"));
            return call.answer(|_| ()).await;
        }
        let Some(receiver) = receiver else {
            return Ok(());
        };
        let mut is_first = true;
        poll_fn(|cx| {
            if std::mem::take(&mut is_first) {
                driver.lock().check_stalled(cx.waker())?;
                driver.reconcile();
            }
            receiver.poll(cx.waker())
        })
        .await
    }
}
