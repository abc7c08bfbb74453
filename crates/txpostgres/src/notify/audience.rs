//! Everybody who hears what a connection is notified of: observers and streams of all channels, and those of one channel.
//!
//! It belongs to the connection and outlives its sessions. A session's desk hands each notification over in the order of
//! the wire, before the answer that follows it. Locks are taken in this order: a desk's, the audience's, a queue's. Under
//! none of them does anything of the user's run: whoever is to be called is put on a list.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use txpostgres_session::{Error, ErrorKind, Notification};

use super::NotifyEvent;
use super::channels::{Channels, Name, Replies, Reply, Round};
use super::observer::{Cooperator, NotifyObserver, ObserverId, Starter};
use super::queue::{Queue, QueueBounds};
use crate::desk::Calls;
use crate::link::Link;

/// Everybody who hears.
pub(crate) struct Audience {
    bounds: QueueBounds,
    cooperator: Arc<dyn Cooperator>,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    observers: Vec<(NotifyObserver, Arc<Queue>)>,
    streams: Vec<Arc<Queue>>,
    channels: Channels,
    /// How many sessions the connection has had.
    generation: u64,
    /// The last of them has not ended.
    is_live: bool,
    /// A session was followed by another one, and nobody was told yet.
    gap_is_due: bool,
    link: Weak<Link>,
    runtime: Option<Handle>,
    registrar_is_at_work: bool,
}

impl Audience {
    pub(crate) fn new(bounds: QueueBounds, cooperator: Arc<dyn Cooperator>) -> Arc<Self> {
        Arc::new(Self { bounds, cooperator, seats: Mutex::default() })
    }

    // --- What a session tells ---

    /// A session begins: its number.
    pub(crate) fn begin(&self) -> u64 {
        let mut seats = self.seats.lock();
        seats.gap_is_due = seats.generation > 0;
        seats.generation += 1;
        seats.is_live = true;
        seats.channels.restart();
        seats.generation
    }

    /// The session is the connection's: what is wanted can be listened to.
    pub(crate) fn opened(self: &Arc<Self>, link: &Arc<Link>) {
        let mut seats = self.seats.lock();
        seats.link = Arc::downgrade(link);
        seats.runtime = Handle::try_current().ok();
        drop(seats);
        self.call_registrar();
    }

    /// A notification, in the order of the wire.
    // Kept out of the way of answers.
    #[inline(never)]
    pub(crate) fn hear(&self, notification: &Notification, calls: &mut Calls) {
        let mut seats = self.seats.lock();
        if seats.gap_is_due {
            seats.tell_gap(calls);
        }
        let seats = &*seats;
        let event = || NotifyEvent::Notification(notification.clone());
        for (_, queue) in &seats.observers {
            queue.push(event(), calls);
        }
        for queue in &seats.streams {
            queue.push(event(), calls);
        }
        for queue in seats.channels.subscribers(notification.channel()) {
            queue.push(event(), calls);
        }
    }

    /// The session with this number ended: everybody is told, once, and nothing is listened to.
    pub(crate) fn ended(&self, generation: u64, calls: &mut Calls) {
        let mut seats = self.seats.lock();
        if seats.generation == generation && std::mem::take(&mut seats.is_live) {
            seats.channels.restart();
            for queue in seats.everybody() {
                queue.push(NotifyEvent::Disconnected, calls);
            }
        }
    }

    // --- Who comes and goes ---

    pub(crate) fn add_observer(self: &Arc<Self>, observer: NotifyObserver) -> ObserverId {
        let id = observer.id();
        let mut seats = self.seats.lock();
        if !seats.observers.iter().any(|(known, _)| known.id() == id) {
            let queue = Arc::new(Queue::new(self.bounds, seats.generation));
            queue.call(Starter::waker(&observer, &queue, self));
            seats.observers.push((observer, queue));
        }
        id
    }

    pub(crate) fn remove_observer(&self, id: ObserverId) {
        let mut seats = self.seats.lock();
        let place = seats.observers.iter().position(|(known, _)| known.id() == id);
        let removed = place.map(|place| seats.observers.remove(place));
        drop(seats);
        if let Some((observer, queue)) = removed {
            call_all(|calls| queue.discard(calls));
            drop(observer);
        }
    }

    pub(crate) fn observers(&self) -> Vec<NotifyObserver> {
        self.seats.lock().observers.iter().map(|(observer, _)| observer.clone()).collect()
    }

    pub(crate) fn add_stream(&self) -> Arc<Queue> {
        let mut seats = self.seats.lock();
        let queue = Arc::new(Queue::new(self.bounds, seats.generation));
        seats.streams.push(Arc::clone(&queue));
        queue
    }

    pub(crate) fn remove_stream(&self, queue: &Arc<Queue>) {
        let mut seats = self.seats.lock();
        if let Some(place) = seats.streams.iter().position(|known| Arc::ptr_eq(known, queue)) {
            seats.streams.swap_remove(place);
        }
    }

    pub(crate) fn add_subscriber(self: &Arc<Self>, name: &Name, reply: Reply) -> Arc<Queue> {
        let mut seats = self.seats.lock();
        let queue = Arc::new(Queue::new(self.bounds, seats.generation));
        seats.channels.subscribe(name, Arc::clone(&queue), reply);
        drop(seats);
        self.call_registrar();
        queue
    }

    pub(crate) fn remove_subscriber(self: &Arc<Self>, name: &Name, queue: &Arc<Queue>) {
        self.seats.lock().channels.unsubscribe(name, queue);
        self.call_registrar();
    }

    /// Something about what is wanted changes.
    pub(crate) fn want<T>(self: &Arc<Self>, change: impl FnOnce(&mut Channels) -> T) -> T {
        let outcome = change(&mut self.seats.lock().channels);
        self.call_registrar();
        outcome
    }

    /// The user closed the connection, or holds it no more: streams end, and nothing is wanted. `for_good`: so do observers.
    pub(crate) fn close(&self, for_good: bool) {
        let mut calls = Calls::new();
        let mut seats = self.seats.lock();
        let (subscribers, replies) = seats.channels.clear();
        let streams = std::mem::take(&mut seats.streams);
        let observers = if for_good { std::mem::take(&mut seats.observers) } else { Vec::new() };
        drop(seats);
        let queues = streams.iter().chain(&subscribers);
        for queue in queues.chain(observers.iter().map(|(_, queue)| queue)) {
            queue.end(&mut calls);
        }
        for waker in calls {
            waker.wake();
        }
        for reply in replies {
            reply.send(Err(closed())).ok();
        }
    }

    // --- The registrar ---

    /// Has the registrar come, if there is something to do and a session to do it with.
    fn call_registrar(self: &Arc<Self>) {
        let mut seats = self.seats.lock();
        let is_idle = !seats.channels.has_work() && !seats.gap_is_due;
        if seats.registrar_is_at_work || is_idle {
            return;
        }
        if seats.link.strong_count() > 0
            && let Some(runtime) = seats.runtime.clone()
        {
            seats.registrar_is_at_work = true;
            drop(seats);
            runtime.spawn(super::registrar::work(Arc::downgrade(self)));
            return;
        }
        let replies = seats.channels.take_replies();
        drop(seats);
        for reply in replies {
            reply.send(Err(closed())).ok();
        }
    }

    /// What the registrar is to do next, and with which session; else it goes home.
    pub(crate) fn next_round(&self, replies: &mut Replies) -> Option<(Round, Arc<Link>, u64)> {
        let mut calls = Calls::new();
        let mut seats = self.seats.lock();
        let generation = seats.generation;
        let link = seats.link.upgrade();
        let round = link.as_ref().and_then(|_| seats.channels.round(replies));
        if round.is_none() {
            seats.registrar_is_at_work = false;
            if seats.gap_is_due {
                seats.tell_gap(&mut calls);
            }
        }
        // Before the link, which may be the last: its end is told here.
        drop(seats);
        for waker in calls {
            waker.wake();
        }
        Some((round?, link?, generation))
    }

    /// A round has its answer.
    pub(crate) fn finish(
        &self,
        round: Round,
        generation: u64,
        outcome: Result<(), &Error>,
        replies: &mut Replies,
    ) {
        let mut seats = self.seats.lock();
        let is_current = seats.generation == generation;
        match outcome {
            Ok(()) if is_current => seats.channels.confirmed(round, replies),
            // Heard in a session that is over by now; the next one is told anew.
            Ok(()) => replies.extend(round.into_replies().map(|reply| (reply, Ok(())))),
            Err(error) if is_current && error.kind() == ErrorKind::Server => {
                seats.channels.refused(round, error, replies);
            }
            Err(error) => {
                if is_current {
                    seats.channels.restart();
                }
                let waiting = round.into_replies();
                replies.extend(waiting.map(|reply| (reply, Err(super::channels::copy(error)))));
            }
        }
    }

    /// The registrar goes home early, since this session is over, or without one its runtime: whoever waits is told. `false`
    /// if there is another session meanwhile, to go on with.
    pub(crate) fn give_up(&self, session: Option<&Weak<Link>>, error: &Error) -> bool {
        let mut seats = self.seats.lock();
        if session.is_some_and(|session| !Weak::ptr_eq(session, &seats.link)) {
            return false;
        }
        seats.registrar_is_at_work = false;
        let replies = seats.channels.take_replies();
        seats.channels.restart();
        drop(seats);
        for reply in replies {
            reply.send(Err(super::channels::copy(error))).ok();
        }
        true
    }

    pub(crate) fn cooperator(&self) -> Arc<dyn Cooperator> {
        Arc::clone(&self.cooperator)
    }

    pub(crate) fn runtime(&self) -> Option<Handle> {
        self.seats.lock().runtime.clone()
    }
}

impl Seats {
    fn everybody(&self) -> impl Iterator<Item = &Arc<Queue>> {
        let observing = self.observers.iter().map(|(_, queue)| queue);
        observing.chain(&self.streams).chain(self.channels.all_subscribers())
    }

    #[cold]
    fn tell_gap(&mut self, calls: &mut Calls) {
        self.gap_is_due = false;
        let generation = self.generation;
        for queue in self.everybody().filter(|queue| queue.generation < generation) {
            queue.push(NotifyEvent::Gap { generation }, calls);
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection is closed")
}

/// Calls whoever is put on the list.
pub(crate) fn call_all(list: impl FnOnce(&mut Calls)) {
    let mut calls = Calls::new();
    list(&mut calls);
    for waker in calls {
        waker.wake();
    }
}
