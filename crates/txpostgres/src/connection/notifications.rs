//! LISTEN and NOTIFY for users of a connection: channels, observers, streams.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use txpostgres_multiplex::{Drive, Listeners, LockId, Reply, ReplyReceiver, Usable};
use txpostgres_session::{Result, quote_ident};

use super::Connection;
use crate::driver::{Call, Scope, is_within};
use crate::notify::{Notifications, NotifyObserver, ObserverId, Subscription, channel_name};
#[cfg(doc)]
use crate::{Cursor, ErrorKind, NotifyEvent, QueueBounds};

/// Notifications.
///
/// The [guide](crate::guide::notifications) has a page on them.
impl Connection {
    fn listeners(&self) -> &Arc<Listeners> {
        &self.handle.hearing.listeners
    }

    /// Calls this observer with every [`NotifyEvent`] of the connection from now on. An observer
    /// that is already there is not added again.
    ///
    /// Takes a [`NotifyObserver`], a reference to one, or an asynchronous function. The observer is
    /// called with one event after the other, in the order of arrival, and awaited before the next;
    /// observers do not wait for each other. An error or panic of an observer is logged, and the
    /// observer is called again with the next event. Observers belong to the connection: they may
    /// be added before it is opened, and stay when it is closed and opened again.
    ///
    /// An observer may use the connection. An observer that *holds* a clone of it keeps it open
    /// until the observer is removed or [`close`](Self::close) is called.
    ///
    /// Channels are chosen by [`listen`](Self::listen).
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

    /// Removes this observer, if it is there. A call that has begun runs to its end. Events in the
    /// observer's queue are discarded.
    pub fn remove_notify_observer(&self, id: ObserverId) {
        self.handle.hearing.observers.remove(id);
    }

    /// The observers of the connection, in the order in which they were added.
    pub fn notify_observers(&self) -> Vec<NotifyObserver> {
        self.handle.hearing.observers.list()
    }

    /// Reads what has arrived from the server and dispatches it, without waiting. The connection
    /// does that by itself; no program needs to call this.
    pub fn check_for_notifies(&self) {
        self.handle.driver.look();
    }

    /// All notifications of the connection from now on, as a stream.
    ///
    /// There may be any number of streams, also before the connection is opened. Each has a queue
    /// of its own ([`QueueBounds`]): a stream that is not read loses its oldest notifications, is
    /// told how many, and slows down nothing else.
    pub fn notifications(&self) -> Notifications {
        let notifications = Notifications::new(self.listeners());
        // The stream depends on the socket being read, whichever task was woken for that.
        self.handle.driver.read_if_ready();
        notifications
    }

    /// Listens to a channel: notifications are received from the moment this returns.
    ///
    /// The name is quoted as it is: `listen("News")` is `LISTEN "News"`. Calls made at the same
    /// time share a round trip. Listening twice is the same as listening once. If the future is
    /// dropped after the first poll, the LISTEN is sent nevertheless.
    ///
    /// While an interaction runs, this waits until it has ended. Within the closure of that
    /// interaction it is sent at once, and counts from the commit on. Behind a stream or COPY that
    /// the same task has not read to its end, it is refused, since it would wait for itself.
    ///
    /// When the server goes away and the connection is opened again, it listens to its channels
    /// again; after [`close`](Self::close) it does not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] for a name that is empty, contains a NUL, or is longer than 63 bytes,
    /// which the server would truncate, and behind a stream or COPY of the same task;
    /// [`ErrorKind::Server`] if the server refuses, for example a standby; and the errors of
    /// [`run_query`](Self::run_query).
    pub async fn listen(&self, channel: &str) -> Result<()> {
        let name = channel_name(channel)?;
        let asking = self.asking().await?;
        let (reply, answer) = asking.reply();
        let call = self.listeners().listen(&name, reply);
        let outcome = asking.answered(answer, "LISTEN", &name).await;
        if outcome.is_err() {
            self.listeners().forget(&name, call);
            self.handle.driver.reconcile();
        }
        outcome
    }

    /// Stops listening to a channel, unless there are [subscriptions](Self::subscribe) to it.
    /// Notifications that have arrived are still dispatched.
    ///
    /// It is no error if the connection does not listen to the channel. If the future is dropped
    /// after the first poll, the UNLISTEN is sent nevertheless.
    ///
    /// # Errors
    ///
    /// The errors of [`listen`](Self::listen).
    pub async fn unlisten(&self, channel: &str) -> Result<()> {
        let name = channel_name(channel)?;
        let asking = self.asking().await?;
        let (reply, answer) = asking.reply();
        self.listeners().unlisten(&name, reply);
        asking.answered(answer, "UNLISTEN", &name).await
    }

    /// Stops listening to all channels without [subscriptions](Self::subscribe), including those of
    /// LISTEN statements in SQL text.
    ///
    /// # Errors
    ///
    /// The errors of [`listen`](Self::listen).
    pub async fn unlisten_all(&self) -> Result<()> {
        let asking = self.asking().await?;
        let (reply, answer) = asking.reply();
        self.listeners().unlisten_all(reply);
        asking.answered(answer, "UNLISTEN", "*").await
    }

    /// The notifications of one channel as a stream. The connection listens to the channel as long
    /// as there is a subscription.
    ///
    /// Any number of subscriptions, to any number of channels, share the connection: the first
    /// subscription to a channel sends LISTEN, and when the last is dropped, UNLISTEN is sent. The
    /// cost of a notification does not depend on the number of channels. If the future is dropped
    /// before its end, there is no subscription.
    ///
    /// # Errors
    ///
    /// The errors of [`listen`](Self::listen).
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::NotifyEvent;
    ///
    /// let mut jobs = connection.subscribe("jobs").await?;
    /// while let Some(event) = jobs.next().await {
    ///     match event {
    ///         NotifyEvent::Notification(job) => println!("do {}", job.payload()),
    ///         // Notifications may have been missed: look at the table itself.
    ///         _ => println!("look at all jobs"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "PgListener")]
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription> {
        let name = channel_name(channel)?;
        let asking = self.asking().await?;
        let (reply, answer) = asking.reply();
        let queue = self.listeners().add_subscriber(&name, reply);
        // From here on, dropping the subscription removes it.
        let driver = &self.handle.driver;
        let subscription = Subscription::new(self.listeners(), driver, queue, Arc::clone(&name));
        asking.answered(answer, "LISTEN", &name).await?;
        Ok(subscription)
    }

    /// Chooses how a LISTEN or UNLISTEN of this task is sent.
    ///
    /// # Errors
    ///
    /// It cannot be sent. Nothing has changed then.
    async fn asking(&self) -> Result<Asking<'_>> {
        let driver = &self.handle.driver;
        Usable::new(driver, self.scope().access()).await?;
        poll_fn(|cx| {
            let multiplexer = driver.lock();
            multiplexer.check_open()?;
            let lease = multiplexer.lease().filter(|lease| is_within(driver, *lease));
            if lease.is_none() {
                multiplexer.check_stalled(cx.waker())?;
            }
            Poll::Ready(Ok(Asking { connection: self, lease }))
        })
        .await
    }
}

/// How a LISTEN or UNLISTEN of a task is sent.
struct Asking<'a> {
    connection: &'a Connection,
    /// The task is in the closure of the transaction with this lease: the statement is sent in the
    /// transaction, and counts when it commits. After the end of the transaction it is sent once
    /// more, however the transaction ended.
    lease: Option<LockId>,
}

impl Asking<'_> {
    /// The two ends of the channel for the outcome of a round; none for a statement in the
    /// transaction.
    fn reply(&self) -> (Option<Reply>, Option<ReplyReceiver>) {
        if self.lease.is_some() {
            return (None, None);
        }
        let (reply, receiver) = Reply::new();
        (Some(reply), Some(receiver))
    }

    async fn answered(
        &self,
        receiver: Option<ReplyReceiver>,
        verb: &str,
        channel: &str,
    ) -> Result<()> {
        let driver = &self.connection.handle.driver;
        if let Some(lease) = self.lease {
            // The round is sent when the transaction is over.
            driver.reconcile();
            let channel = if channel == "*" { channel.to_owned() } else { quote_ident(channel)? };
            let scope = Scope::Lease(Arc::clone(driver), lease);
            let call = Call::script(Ok(scope), format!("{verb} {channel}"));
            return call.answer(|_| ()).await;
        }
        let Some(receiver) = receiver else {
            return Ok(());
        };
        driver.reconcile();
        poll_fn(|cx| receiver.poll(cx.waker())).await
    }
}
