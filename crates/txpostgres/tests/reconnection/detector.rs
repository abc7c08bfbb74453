//! Every method and attribute of the original's detector, for connections and for other things.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use txpostgres::reconnection::{
    Base, CheckedError, ConnectionDead, ConnectionState, DeadConnectionDetector, DetectorBuilder,
    Overrides, Overriding, Reconnectable, RecoveryHandler, default_death_checker,
    default_reconnection_iterator,
};
use txpostgres::{Connection, Error, ErrorKind};
use txpostgres_testkit::shared;

use crate::support::bounded;

/// A thing that is no connection of ours.
#[derive(Default)]
struct Feed {
    calls: Mutex<Vec<&'static str>>,
    is_down: AtomicBool,
}

impl Reconnectable for Feed {
    type Error = io::Error;

    async fn connect(&self) -> io::Result<()> {
        self.calls.lock().push("connect");
        if self.is_down.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(())
    }

    async fn close(&self) {
        self.calls.lock().push("close");
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

fn detector(feed: &Arc<Feed>) -> DeadConnectionDetector<io::Error> {
    let detector = DetectorBuilder::new(|error: &io::Error| error.kind() == reset().kind())
        .reconnection_iterator(|| std::iter::repeat_n(Duration::from_millis(1), 1_000))
        .build();
    detector.set_reconnectable(Arc::clone(feed));
    detector
}

#[tokio::test]
async fn set_reconnectable() {
    let feed = Arc::new(Feed::default());
    let detector = detector(&feed);
    assert!(detector.check_for_dead_connection(&reset()));
    assert!(bounded(detector.recovered()).await);
    assert_eq!(*feed.calls.lock(), ["close", "connect"]);
}

#[tokio::test]
async fn reconnectable() {
    let feed = Arc::new(Feed::default());
    let given = detector(&feed).reconnectable::<Arc<Feed>>().unwrap();
    assert!(Arc::ptr_eq(&*given, &feed));
    let none = DeadConnectionDetector::new();
    assert!(none.reconnectable::<Connection>().is_none());
    let connection = Connection::builder().detector(none.clone()).build();
    assert!(none.reconnectable::<Feed>().is_none());
    assert!(none.reconnectable::<Connection>().is_some());
    drop(connection);
    assert!(none.reconnectable::<Connection>().is_none(), "it is not kept for it");
}

#[tokio::test]
async fn check_for_dead_connection() {
    let feed = Arc::new(Feed::default());
    feed.is_down.store(true, Ordering::Relaxed);
    let detector = detector(&feed);
    assert!(!detector.check_for_dead_connection(&io::ErrorKind::InvalidData.into()));
    assert!(feed.calls.lock().is_empty());
    assert!(detector.check_for_dead_connection(&reset()));
    assert!(detector.check_for_dead_connection(&reset()), "it is a death, known already");
    feed.is_down.store(false, Ordering::Relaxed);
    assert!(bounded(detector.recovered()).await);
}

#[tokio::test]
async fn connection_is_dead() {
    let feed = Arc::new(Feed::default());
    let detector = detector(&feed);
    assert!(!detector.connection_is_dead());
    let (seen, asking) = (Arc::new(AtomicBool::new(false)), detector.clone());
    let noted = Arc::clone(&seen);
    detector.add_recovery_handler(move || {
        noted.store(asking.connection_is_dead(), Ordering::Relaxed);
        std::future::ready(())
    });
    detector.check_for_dead_connection(&reset());
    assert!(detector.connection_is_dead());
    assert!(bounded(detector.recovered()).await);
    assert!(seen.load(Ordering::Relaxed), "it is dead until its handlers have ended");
    assert!(!detector.connection_is_dead());
}

#[tokio::test]
async fn add_recovery_handler_remove_recovery_handler_recovery_handlers() {
    let feed = Arc::new(Feed::default());
    let detector = detector(&feed);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let handler = RecoveryHandler::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    });
    let id = detector.add_recovery_handler(&handler);
    assert_eq!(detector.add_recovery_handler(&handler), id, "added twice is once");
    assert_eq!(detector.recovery_handlers(), [handler]);
    for expected in [1, 2] {
        detector.check_for_dead_connection(&reset());
        assert!(bounded(detector.recovered()).await);
        assert_eq!(calls.load(Ordering::Relaxed), expected);
    }
    detector.remove_recovery_handler(id);
    detector.remove_recovery_handler(id);
    assert!(detector.recovery_handlers().is_empty());
    detector.check_for_dead_connection(&reset());
    assert!(bounded(detector.recovered()).await);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// Two handlers that each wait for the other: they run in parallel.
#[tokio::test]
async fn recovery_handlers_run_in_parallel() {
    let feed = Arc::new(Feed::default());
    let detector = detector(&feed);
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    for _ in 0..2 {
        let barrier = Arc::clone(&barrier);
        detector.add_recovery_handler(move || {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
            }
        });
    }
    detector.check_for_dead_connection(&reset());
    assert!(bounded(detector.recovered()).await);
}

#[tokio::test]
async fn call_checking_connection_dead() {
    let feed = Arc::new(Feed::default());
    feed.is_down.store(true, Ordering::Relaxed);
    let detector = detector(&feed);
    assert_eq!(detector.call_checking(async || Ok(7)).await.unwrap(), 7);
    let harmless = async || Err::<(), _>(io::Error::from(io::ErrorKind::InvalidData));
    detector.call_checking(harmless).await.unwrap_err();
    assert!(!detector.connection_is_dead());
    detector.call_checking(async || Err::<(), _>(reset())).await.unwrap_err();
    assert!(detector.connection_is_dead());
    let called = AtomicBool::new(false);
    let error = detector
        .call_checking(async || {
            called.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert!(!called.load(Ordering::Relaxed), "nothing is called on a dead connection");
    let dead = error.get_ref().unwrap().downcast_ref::<ConnectionDead>().unwrap();
    assert!(!dead.cause().is_empty());
    let ours = <Error as CheckedError>::connection_dead(dead.clone());
    assert_eq!(ours.kind(), ErrorKind::ConnectionDead);
    feed.is_down.store(false, Ordering::Relaxed);
    assert!(bounded(detector.recovered()).await);
}

/// Each step is called, and may be replaced.
#[tokio::test]
async fn every_step_can_be_overridden() {
    #[derive(Clone, Default)]
    struct Logging(Arc<Mutex<Vec<String>>>);

    impl Overrides<io::Error> for Logging {
        fn check_for_dead_connection(&self, base: &Base<io::Error>, error: &io::Error) -> bool {
            self.0.lock().push("check".to_owned());
            base.check_for_dead_connection(error)
        }

        fn start_reconnecting(&self, base: &Base<io::Error>, error: &io::Error) {
            self.0.lock().push(format!("start: {error}"));
            base.start_reconnecting(error);
        }

        fn reconnect(&self, base: &Base<io::Error>) -> Overriding<io::Result<()>> {
            self.0.lock().push("reconnect".to_owned());
            base.reconnect()
        }

        fn connection_recovered(&self, base: &Base<io::Error>) -> Overriding<()> {
            let (log, recovered) = (Arc::clone(&self.0), base.connection_recovered());
            Box::pin(async move {
                recovered.await;
                log.lock().push("recovered".to_owned());
            })
        }
    }

    let logging = Logging::default();
    let feed = Arc::new(Feed::default());
    let detector = DetectorBuilder::new(|_: &io::Error| true).overrides(logging.clone()).build();
    detector.set_reconnectable(feed);
    let handled = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&handled);
    detector.add_recovery_handler(move || {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    });
    detector.check_for_dead_connection(&reset());
    assert!(bounded(detector.recovered()).await);
    tokio::task::yield_now().await;
    let start = format!("start: {}", reset());
    assert_eq!(*logging.0.lock(), ["check", &start, "reconnect", "recovered"]);
    assert_eq!(handled.load(Ordering::Relaxed), 1);
}

/// What the original documents for a first connect that fails.
#[tokio::test]
async fn a_first_connect_that_fails() {
    let database = shared().database().unwrap();
    let detector = DeadConnectionDetector::new();
    let connection = Connection::builder().detector(detector.clone()).build();
    let proxy = txpostgres_testkit::Proxy::to_port(database.server().port()).unwrap();
    proxy.refuse();
    let dsn = crate::support::through(&proxy, &database);
    let error = bounded(connection.connect(&dsn)).await.unwrap_err();
    assert!(error.is_of_connecting());
    assert!(!detector.connection_is_dead(), "nothing is checked by itself");
    proxy.accept_again().unwrap();
    assert!(detector.check_for_dead_connection(&error));
    assert!(detector.connection_is_dead());
    assert!(bounded(detector.recovered()).await);
    crate::support::assert_works(&connection).await;
}

#[tokio::test]
async fn start_reconnecting() {
    let database = shared().database().unwrap();
    let connection = crate::open(crate::reconnecting(), database.dsn()).await;
    let pid = connection.backend_pid();
    let detector = connection.detector().unwrap();
    // For a reason that is no death, and with a session that works.
    detector.start_reconnecting(&Error::new(ErrorKind::Cancelled, "a whim"));
    assert!(detector.connection_is_dead());
    let error = connection.run_query("select 1", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    assert!(bounded(detector.recovered()).await);
    assert_ne!(connection.backend_pid(), pid);
}

#[tokio::test]
async fn reconnect_connection_recovered() {
    let feed = Arc::new(Feed::default());
    let detector = detector(&feed);
    bounded(detector.reconnect()).await.unwrap();
    assert_eq!(*feed.calls.lock(), ["close", "connect"]);
    let handled = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&handled);
    detector.add_recovery_handler(move || {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    });
    bounded(detector.connection_recovered()).await;
    assert_eq!(handled.load(Ordering::Relaxed), 1);
    assert_eq!(detector.state(), ConnectionState::Closed, "it was never dead");
}

#[test]
fn default_death_checker_default_reconnection_iterator() {
    for (kind, is_death) in [
        (ErrorKind::Lost, true),
        (ErrorKind::Connect, true),
        (ErrorKind::Protocol, true),
        (ErrorKind::Cancelled, false),
        (ErrorKind::Timeout, false),
        (ErrorKind::Closed, false),
    ] {
        assert_eq!(default_death_checker(&Error::new(kind, "x")), is_death, "{kind:?}");
    }
    let delays: Vec<_> = default_reconnection_iterator().jitter(0.0).take(8).collect();
    let seconds: Vec<_> = delays.iter().map(Duration::as_secs_f64).collect();
    for (delay, wanted) in seconds.iter().zip([0.0, 1.7, 2.89, 4.913, 8.3521, 10.0, 10.0, 10.0]) {
        assert!((delay - wanted).abs() < 1e-6, "{seconds:?}");
    }
}

/// Delays that end are the end of the attempts, with the last failure as the cause.
#[tokio::test]
async fn delays_that_end() {
    let feed = Arc::new(Feed::default());
    feed.is_down.store(true, Ordering::Relaxed);
    let detector = DetectorBuilder::new(|_: &io::Error| true)
        .reconnection_iterator(|| [Duration::ZERO, Duration::from_millis(1)])
        .build();
    detector.set_reconnectable(Arc::clone(&feed));
    let mut states = detector.states();
    detector.check_for_dead_connection(&reset());
    assert!(!bounded(detector.recovered()).await);
    let mut seen = Vec::new();
    while let Some(state) = bounded(states.next()).await {
        seen.push(state.clone());
        if matches!(state, ConnectionState::GivenUp { .. }) {
            break;
        }
    }
    let (lost, refused) = (reset().to_string(), io::Error::from(io::ErrorKind::ConnectionRefused));
    let (lost, refused) = (Arc::<str>::from(lost), Arc::<str>::from(refused.to_string()));
    let next = |attempt, millis, cause: &Arc<str>| ConnectionState::Reconnecting {
        attempt,
        delay: Duration::from_millis(millis),
        cause: Arc::clone(cause),
    };
    assert_eq!(
        seen,
        [
            ConnectionState::Closed,
            ConnectionState::Down { cause: Arc::clone(&lost) },
            next(1, 0, &lost),
            next(2, 1, &refused),
            ConnectionState::GivenUp { cause: refused },
        ]
    );
}
