//! Observers of notifications: added and removed, slow, failing, panicking, and using the connection they observe.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use txpostgres::{
    Connection, Cooperator, Error, NotifyEvent, NotifyObserver, ObserverWork, QueueBounds,
};

use crate::support::{assert_works, bounded, connected, eventually};

/// An observer that passes on what it hears, in short.
fn ear() -> (NotifyObserver, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let observer = NotifyObserver::immediate(move |event| {
        sender.send(said(&event)).ok();
    });
    (observer, receiver)
}

fn said(event: &NotifyEvent) -> String {
    match event {
        NotifyEvent::Notification(notification) => notification.payload().to_owned(),
        other => format!("{other:?}"),
    }
}

async fn hears(receiver: &mut mpsc::UnboundedReceiver<String>, expected: &str) {
    assert_eq!(bounded(receiver.recv()).await.as_deref(), Some(expected));
}

/// A connection that listens to the channel `a`.
async fn listening() -> (txpostgres_testkit::Database, Connection) {
    let (database, connection) = connected().await;
    bounded(connection.listen("a")).await.unwrap();
    (database, connection)
}

#[tokio::test]
async fn an_observer_added_twice_is_called_once_and_removed_twice_is_nothing() {
    let (_database, connection) = listening().await;
    let (observer, mut heard) = ear();
    let id = connection.add_notify_observer(&observer);
    assert_eq!(connection.add_notify_observer(observer.clone()), id);
    assert_eq!(observer.id(), id);
    let (other, mut heard_by_other) = ear();
    let other_id = connection.add_notify_observer(&other);
    assert_eq!(connection.notify_observers(), [observer, other]);
    for payload in ["1", "2"] {
        bounded(connection.notify("a", payload)).await.unwrap();
    }
    for payload in ["1", "2"] {
        hears(&mut heard, payload).await;
        hears(&mut heard_by_other, payload).await;
    }
    connection.remove_notify_observer(id);
    connection.remove_notify_observer(id);
    assert_eq!(connection.notify_observers().len(), 1);
    bounded(connection.notify("a", "3")).await.unwrap();
    hears(&mut heard_by_other, "3").await;
    assert!(heard.try_recv().is_err());
    connection.remove_notify_observer(other_id);
    assert!(connection.notify_observers().is_empty());
}

#[tokio::test]
async fn an_observer_is_awaited_before_it_is_called_again_and_others_do_not_wait() {
    let (_database, connection) = listening().await;
    let gate = Arc::new(Semaphore::new(0));
    let (sender, mut steps) = mpsc::unbounded_channel();
    let shut = Arc::clone(&gate);
    connection.add_notify_observer(move |event| {
        let (gate, sender) = (Arc::clone(&shut), sender.clone());
        async move {
            sender.send(format!("begins {}", said(&event))).ok();
            gate.acquire().await.unwrap().forget();
            sender.send(format!("ends {}", said(&event))).ok();
        }
    });
    let (observer, mut heard) = ear();
    connection.add_notify_observer(observer);
    for payload in ["1", "2", "3"] {
        bounded(connection.notify("a", payload)).await.unwrap();
    }
    for payload in ["1", "2", "3"] {
        hears(&mut heard, payload).await;
    }
    hears(&mut steps, "begins 1").await;
    assert!(steps.try_recv().is_err());
    gate.add_permits(2);
    for step in ["ends 1", "begins 2", "ends 2", "begins 3"] {
        hears(&mut steps, step).await;
    }
    assert!(steps.try_recv().is_err());
    assert_works(&connection).await;
}

#[tokio::test]
async fn one_that_fails_or_panics_is_called_again_and_the_others_are_called() {
    let (_database, connection) = listening().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = || {
        let calls = Arc::clone(&calls);
        move || calls.fetch_add(1, Ordering::SeqCst)
    };
    let count = counted();
    connection.add_notify_observer(move |_: NotifyEvent| {
        count();
        async { Err::<(), _>("failed") }
    });
    let count = counted();
    connection.add_notify_observer(move |_: NotifyEvent| {
        count();
        async { assert!(std::hint::black_box(false), "panicked when it was awaited") }
    });
    let count = counted();
    connection.add_notify_observer(NotifyObserver::immediate(move |_| {
        assert!(count() > usize::MAX - 1, "panicked when it was called");
    }));
    let count = counted();
    connection.add_notify_observer(NotifyObserver::immediate(move |_| {
        count();
        Err::<(), _>(Error::new(txpostgres::ErrorKind::Request, "failed"))
    }));
    let (observer, mut heard) = ear();
    connection.add_notify_observer(observer);
    for payload in ["1", "2", "3"] {
        bounded(connection.notify("a", payload)).await.unwrap();
        hears(&mut heard, payload).await;
    }
    eventually("all four were called three times", || calls.load(Ordering::SeqCst) == 12).await;
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_observer_may_query_the_connection_it_observes() {
    let (_database, connection) = listening().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let shared = connection.clone();
    let id = connection.add_notify_observer(move |event| {
        let (connection, sender) = (shared.clone(), sender.clone());
        async move {
            let rows = connection.run_query("select $1 || ' was heard'", (said(&event),)).await?;
            sender.send(rows.first().unwrap().get(0)?).ok();
            Ok::<_, Error>(())
        }
    });
    for payload in ["1", "2"] {
        bounded(connection.notify("a", payload)).await.unwrap();
        hears(&mut heard, &format!("{payload} was heard")).await;
    }
    connection.remove_notify_observer(id);
}

#[tokio::test]
async fn an_observer_may_remove_itself_and_others_while_it_is_called() {
    let (_database, connection) = listening().await;
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (victim, mut heard) = ear();
    ids.lock().unwrap().push(connection.add_notify_observer(&victim));
    let (sender, mut removed) = mpsc::unbounded_channel();
    let (shared, all) = (connection.clone(), Arc::clone(&ids));
    let purge = NotifyObserver::new(move |event| {
        let (connection, all, sender) = (shared.clone(), Arc::clone(&all), sender.clone());
        async move {
            for id in all.lock().unwrap().drain(..) {
                connection.remove_notify_observer(id);
            }
            tokio::task::yield_now().await;
            // The call that has begun goes on to its end.
            sender.send(said(&event)).ok();
        }
    });
    ids.lock().unwrap().push(connection.add_notify_observer(&purge));
    let (last, mut heard_by_last) = ear();
    connection.add_notify_observer(last);
    bounded(connection.notify("a", "1")).await.unwrap();
    hears(&mut removed, "1").await;
    bounded(connection.notify("a", "2")).await.unwrap();
    hears(&mut heard_by_last, "1").await;
    hears(&mut heard_by_last, "2").await;
    assert!(removed.try_recv().is_err());
    let before: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    assert!(!before.contains(&"2".to_owned()), "{before:?}");
    assert_eq!(connection.notify_observers().len(), 1);
}

#[tokio::test]
async fn observers_stay_when_the_connection_is_closed_and_opened_again() {
    let (database, connection) = connected().await;
    let later = Connection::new();
    let (observer, mut heard) = ear();
    later.add_notify_observer(&observer);
    for generation in 1..4 {
        bounded(later.connect(database.dsn())).await.unwrap();
        if generation > 1 {
            hears(&mut heard, &format!("Gap {{ generation: {generation} }}")).await;
        }
        bounded(later.listen("a")).await.unwrap();
        bounded(connection.notify("a", "heard")).await.unwrap();
        hears(&mut heard, "heard").await;
        bounded(later.close()).await;
        hears(&mut heard, "Disconnected").await;
    }
    assert_eq!(later.notify_observers(), [observer]);
}

#[tokio::test]
async fn a_stuck_observer_holds_no_more_than_its_bound_and_holds_up_nobody() {
    let (database, sender) = connected().await;
    let bounds = QueueBounds { notifications: 1_000_000, bytes: 64 * 1024 };
    let connection = Connection::builder().notify_queue(bounds).build();
    bounded(connection.connect(database.dsn())).await.unwrap();
    bounded(connection.listen("a")).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let (told, mut stuck) = mpsc::unbounded_channel();
    let shut = Arc::clone(&gate);
    connection.add_notify_observer(move |event: NotifyEvent| {
        let (gate, told) = (Arc::clone(&shut), told.clone());
        async move {
            told.send(event).ok();
            gate.acquire().await.unwrap().forget();
        }
    });
    let (observer, mut heard) = ear();
    connection.add_notify_observer(observer);
    let payload = "x".repeat(1_000);
    for _ in 0..500 {
        bounded(sender.notify("a", &payload)).await.unwrap();
        hears(&mut heard, &payload).await;
        assert_works(&connection).await;
    }
    assert!(bounded(stuck.recv()).await.unwrap().notification().is_some());
    gate.add_permits(Semaphore::MAX_PERMITS);
    // 500 were sent, one was heard, 61 of some 1,070 bytes fit into 64 KiB.
    let Some(NotifyEvent::Missed(missed)) = bounded(stuck.recv()).await else {
        panic!("nothing was missed");
    };
    assert!((430..445).contains(&missed), "{missed} were missed");
    for _ in 0..499 - missed {
        assert!(bounded(stuck.recv()).await.unwrap().notification().is_some());
    }
    bounded(sender.notify("a", "again")).await.unwrap();
    assert_eq!(said(&bounded(stuck.recv()).await.unwrap()), "again");
}

/// Runs observers where it likes, yields after every event, and counts.
#[derive(Clone)]
struct Counting {
    elsewhere: Handle,
    begun: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Cooperator for Counting {
    fn cooperate(&self, work: ObserverWork, _: &Handle) {
        // The first piece of work gets lost: the observer must be begun anew.
        if self.begun.fetch_add(1, Ordering::SeqCst) > 0 {
            self.elsewhere.spawn(work);
        }
    }

    fn is_time_to_yield(&self, _: usize, _: Duration) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[tokio::test]
async fn where_observers_run_can_be_chosen() {
    let (database, sender) = connected().await;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("elsewhere")
        .build()
        .unwrap();
    let counting = Counting {
        elsewhere: runtime.handle().clone(),
        begun: Arc::default(),
        asked: Arc::default(),
    };
    let connection = Connection::builder().cooperator(counting.clone()).build();
    bounded(connection.connect(database.dsn())).await.unwrap();
    bounded(connection.listen("a")).await.unwrap();
    let (told, mut heard) = mpsc::unbounded_channel();
    connection.add_notify_observer(NotifyObserver::immediate(move |event| {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        told.send(format!("{} {thread}", said(&event))).ok();
    }));
    bounded(sender.notify("a", "1")).await.unwrap();
    eventually("the first work was given away", || counting.begun.load(Ordering::SeqCst) == 1)
        .await;
    bounded(sender.notify("a", "2")).await.unwrap();
    hears(&mut heard, "1 elsewhere").await;
    hears(&mut heard, "2 elsewhere").await;
    eventually("it was asked after each", || counting.asked.load(Ordering::SeqCst) == 2).await;
    bounded(sender.notify("a", "3")).await.unwrap();
    hears(&mut heard, "3 elsewhere").await;
    assert_eq!(counting.begun.load(Ordering::SeqCst), 2);
    runtime.shutdown_background();
}

/// Panics instead of running anything.
struct Broken;

impl Cooperator for Broken {
    fn cooperate(&self, _: ObserverWork, _: &Handle) {
        panic!("a cooperator that is broken");
    }
}

#[tokio::test]
async fn a_cooperator_that_panics_hurts_nobody_else() {
    let (database, _other) = connected().await;
    let connection = Connection::builder().cooperator(Broken).build();
    bounded(connection.connect(database.dsn())).await.unwrap();
    let (observer, mut heard) = ear();
    connection.add_notify_observer(observer);
    let mut stream = connection.notifications();
    bounded(connection.listen("a")).await.unwrap();
    bounded(connection.notify("a", "1")).await.unwrap();
    assert!(bounded(stream.next()).await.unwrap().notification().is_some());
    assert!(heard.try_recv().is_err());
    assert_works(&connection).await;
}
