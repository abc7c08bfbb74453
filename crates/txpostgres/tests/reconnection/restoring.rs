//! What a new session is told before anything else uses it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use txpostgres::reconnection::{
    Base, ConnectionState, DeadConnectionDetector, Overrides, Overriding, RecoveryHandler,
};
use txpostgres::{Connection, Error, ErrorKind, NotifyEvent};
use txpostgres_testkit::{Database, shared};

use crate::support::{LATE, bounded, eventually};
use crate::{open, reconnecting, up};

/// Ends the present session.
async fn kill(connection: &Connection, database: &Database) {
    let pid = connection.backend_pid().unwrap();
    database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
    eventually("the end is noticed", || connection.backend_pid() != Some(pid)).await;
}

#[tokio::test]
async fn settings_are_made_in_each_session() {
    let database = shared().database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    connection.set("lock_timeout", "7s").await.unwrap();
    connection.set("app.tenant", "it's \\ me").await.unwrap();
    connection.set("work_mem", "5MB").await.unwrap();
    connection.set("WORK_MEM", "6MB").await.unwrap();
    connection.set("app.other", "x").await.unwrap();
    connection.reset("app.other").await.unwrap();
    let error = connection.set("no_such_parameter", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(connection.settings().len(), 3);
    let made = "select current_setting('lock_timeout'), current_setting('app.tenant'),
                current_setting('work_mem'), current_setting('app.other', true)";
    let expected = ("7s".to_owned(), "it's \\ me".to_owned(), "6MB".to_owned());
    for generation in 2..4 {
        kill(&connection, &database).await;
        up(&connection, generation).await;
        let row = bounded(connection.run_query(made, ()).one()).await.unwrap();
        let (lock, tenant, memory): (String, String, String) =
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        assert_eq!((lock, tenant, memory), expected);
        assert_eq!(row.get::<Option<String>>(3).unwrap().unwrap_or_default(), "");
    }
    // Opened again by hand as well.
    connection.close().await;
    bounded(connection.connect(database.dsn())).await.unwrap();
    let row = bounded(connection.run_query(made, ()).one()).await.unwrap();
    assert_eq!(row.get::<&str>(0).unwrap(), "7s");
}

/// Handlers run before the first call of anything else, and may use the connection.
#[tokio::test]
async fn handlers_run_before_anything_else() {
    let database = shared().database().unwrap();
    let patient = reconnecting().wait_for_recovery(Duration::from_secs(20));
    let connection = open(patient, database.dsn()).await;
    connection.set("app.step", "0").await.unwrap();
    let goes = Arc::new(Semaphore::new(0));
    let may_go = Arc::clone(&goes);
    connection.add_recovery_handler(move |connection| {
        let may_go = Arc::clone(&may_go);
        async move {
            let step = connection.run_query("select current_setting('app.step')", ()).one().await?;
            assert_eq!(step.get::<&str>(0)?, "0", "settings come first");
            may_go.acquire().await.unwrap().forget();
            // Everything of a connection may be used, an interaction too.
            connection
                .run_interaction(async |cursor| {
                    cursor.run_operation("set app.step = '1'", ()).await
                })
                .await?;
            Ok::<(), Error>(())
        }
    });
    // One that holds a clone of the connection, as the original's do, and one that fails.
    let holding = connection.clone();
    let queried = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&queried);
    let held = connection.detector().unwrap().add_recovery_handler(move || {
        let (connection, counted) = (holding.clone(), Arc::clone(&counted));
        async move {
            connection.run_query("select 1", ()).await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>("this is logged and discarded")
        }
    });
    connection.detector().unwrap().add_recovery_handler(|| async {
        let text: &str = "as is this";
        assert!(text.is_empty(), "{text}");
    });

    kill(&connection, &database).await;
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let row =
                    connection.run_query("select current_setting('app.step')", ()).one().await?;
                row.get::<String>(0)
            })
        })
        .collect();
    let detector = connection.detector().unwrap();
    eventually("handlers run", || queried.load(Ordering::Relaxed) == 1).await;
    assert_eq!(detector.state(), ConnectionState::Restoring { generation: 2 });
    assert!(detector.connection_is_dead());
    let at_once = connection.run_query("select 1", ()).wait_for_recovery(Duration::ZERO);
    assert_eq!(bounded(at_once).await.unwrap_err().kind(), ErrorKind::ConnectionDead);
    assert!(waiting.iter().all(|call| !call.is_finished()));
    goes.add_permits(1);
    for call in waiting {
        assert_eq!(bounded(call).await.unwrap().unwrap(), "1");
    }
    assert!(!detector.connection_is_dead());
    detector.remove_recovery_handler(held);
    assert_eq!(detector.recovery_handlers().len(), 2);
}

/// The same handler is added once.
#[tokio::test]
async fn a_handler_is_added_once() {
    let database = shared().database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let handler = RecoveryHandler::new(move || {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let detector = connection.detector().unwrap();
    let id = detector.add_recovery_handler(&handler);
    assert_eq!(detector.add_recovery_handler(&handler), id);
    assert_eq!(detector.recovery_handlers(), [handler]);
    kill(&connection, &database).await;
    up(&connection, 2).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    detector.remove_recovery_handler(id);
    detector.remove_recovery_handler(id);
    kill(&connection, &database).await;
    up(&connection, 3).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// A session that is lost while it is restored is followed by another.
#[tokio::test]
async fn a_session_lost_while_it_is_restored() {
    let database = shared().database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    connection.add_recovery_handler(move |connection| {
        let counted = Arc::clone(&counted);
        async move {
            if counted.fetch_add(1, Ordering::Relaxed) < 3 {
                let kill = "select pg_terminate_backend(pg_backend_pid())";
                connection.run_query(kill, ()).await.unwrap_err();
            }
        }
    });
    kill(&connection, &database).await;
    up(&connection, 5).await;
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    let state = connection.detector().unwrap().state();
    assert_eq!(state, ConnectionState::Up { generation: 5 });
}

/// Listeners are told of one gap for each loss, when the connection may be used: what they ask it
/// then is answered.
#[tokio::test]
async fn a_listener_is_told_of_one_gap() {
    let database = shared().database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    let mut news = bounded(connection.subscribe("news")).await.unwrap();
    connection.add_recovery_handler(|connection| async move {
        // Within the recovery: before the gap, which covers it.
        connection.notify("news", "early").await.unwrap();
    });
    for generation in 2..6 {
        kill(&connection, &database).await;
        assert_eq!(bounded(news.next()).await, Some(NotifyEvent::Disconnected));
        assert_eq!(bounded(news.next()).await, Some(NotifyEvent::Gap { generation }));
        assert!(bounded(connection.run_query("select 1", ())).await.is_ok());
        database.sql("notify news, 'later'").unwrap();
        let event = bounded(news.next()).await.unwrap();
        assert_eq!(event.notification().unwrap().payload(), "later");
    }
}

/// The last clone of a connection that is being reconnected ends the attempts.
#[tokio::test]
async fn a_connection_that_is_dropped_is_not_reconnected() {
    let database = shared().database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    let detector = connection.detector().unwrap().clone();
    let running = Arc::new(Semaphore::new(0));
    let entered = Arc::clone(&running);
    connection.add_recovery_handler(move |_| {
        entered.add_permits(1);
        std::future::pending::<()>()
    });
    kill(&connection, &database).await;
    bounded(running.acquire()).await.unwrap().forget();
    drop(connection);
    eventually("it is closed", || detector.state() == ConnectionState::Closed).await;
    let sessions = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and pid <> pg_backend_pid()",
        database.name()
    );
    eventually("no session is left", || database.sql(&sessions).unwrap() == "0").await;
}

/// Ends the first session that a detector has opened, before the detector knows that it is open.
struct EndsTheFirst {
    connection: Arc<OnceLock<Connection>>,
    database: Arc<Database>,
    is_done: Arc<AtomicBool>,
}

impl Overrides for EndsTheFirst {
    fn reconnect(&self, base: &Base) -> Overriding<Result<(), Error>> {
        let reconnected = base.reconnect();
        let connection = self.connection.get().unwrap().clone();
        let (database, is_done) = (Arc::clone(&self.database), Arc::clone(&self.is_done));
        Box::pin(async move {
            reconnected.await?;
            if !is_done.swap(true, Ordering::Relaxed) {
                kill(&connection, &database).await;
            }
            Ok(())
        })
    }
}

/// A session that ends between its opening and its restoring is no reason to wait for ever.
#[tokio::test]
async fn a_session_that_ends_before_it_is_restored_is_followed_by_another() {
    let database = Arc::new(shared().database().unwrap());
    let slot = Arc::new(OnceLock::new());
    let ends = EndsTheFirst {
        connection: Arc::clone(&slot),
        database: Arc::clone(&database),
        is_done: Arc::default(),
    };
    let detector = DeadConnectionDetector::builder().overrides(ends).build();
    let connection = open(Connection::builder().detector(detector), database.dsn()).await;
    assert!(slot.set(connection.clone()).is_ok());
    kill(&connection, &database).await;
    assert!(bounded(connection.detector().unwrap().recovered()).await);
    bounded(connection.run_query("select 1", ())).await.unwrap();
    // Neither keeps the other.
    connection.close().await;
}

/// A recovery handler whose session ends is told so at once: it cannot wait for the next session,
/// which is opened when it has ended.
#[tokio::test]
async fn a_handler_does_not_wait_for_the_session_after_its_own() {
    let database = Arc::new(shared().database().unwrap());
    let patience = Duration::from_secs(15);
    let connection = open(reconnecting().wait_for_recovery(patience), database.dsn()).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let (tells, server) = (Arc::clone(&told), Arc::clone(&database));
    connection.add_recovery_handler(move |connection| {
        let (tells, server) = (Arc::clone(&tells), Arc::clone(&server));
        async move {
            if tells.lock().is_empty() {
                kill(&connection, &server).await;
            }
            let began = Instant::now();
            let is_answered = connection.run_query("select 1", ()).await.is_ok();
            tells.lock().push((is_answered, began.elapsed()));
        }
    });
    kill(&connection, &database).await;
    bounded(connection.run_query("select 1", ())).await.unwrap();
    let told = told.lock().clone();
    let [(false, first), (true, _)] = told[..] else { panic!("{told:?}") };
    assert!(first < LATE, "{first:?}");
}
