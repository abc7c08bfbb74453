//! `ToSql` of the user's own: it may ask the connection that it is written for, and it may take its
//! time, while everything else goes on.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use txpostgres::types::{IsNull, ToSql, Type, to_sql_checked};
use txpostgres::{Connection, Cursor, Error, ErrorKind};
use txpostgres_testkit::{Database, shared};

use crate::support::patience::{runtime, without_hanging};
use crate::support::polls::touch;
use crate::support::{assert_works, bounded};

type Written = Result<IsNull, Box<dyn StdError + Sync + Send>>;

/// What a value does while it is written; then it is the number 1.
#[derive(Clone)]
struct Doing(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doing")
    }
}

impl ToSql for Doing {
    fn to_sql(&self, ty: &Type, out: &mut bytes::BytesMut) -> Written {
        (self.0)();
        1_i32.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <i32 as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

/// Every way of sending a value.
const WAYS: [&str; 12] = [
    "query",
    "shapes",
    "operation",
    "limited",
    "cursor",
    "many",
    "batch",
    "stream",
    "copy",
    "named",
    "interaction",
    "nested",
];

const SQL: &str = "select $1::int4";

async fn send(connection: &Connection, way: &str, value: Doing) -> Result<(), Error> {
    match way {
        "query" => connection.run_query(SQL, (value,)).await.map(drop),
        "shapes" => connection.run_query_as::<(i32,), _>(SQL, (value,)).await.map(drop),
        "operation" => connection.run_operation(SQL, (value,)).await.map(drop),
        "limited" => {
            let limit = Duration::from_secs(60);
            connection.run_query(SQL, (value,)).timeout(limit).await.map(drop)
        }
        "cursor" => connection.cursor().execute(SQL, (value,)).await.map(drop),
        "many" => connection.execute_many(SQL, [(value.clone(),), (value,)]).await.map(drop),
        "batch" => {
            let batch = connection.batch().add("select 1", ()).add(SQL, (value,));
            batch.send().await?.into_iter().try_for_each(|outcome| outcome.map(drop))
        }
        "stream" => {
            let mut stream = connection.query_stream(SQL, (value,));
            while stream.next_rows().await?.is_some() {}
            Ok(())
        }
        "copy" => {
            let mut copy = connection.copy_in_rows("t", &["n"]).await?;
            copy.send((value,)).await?;
            copy.finish().await.map(drop)
        }
        "named" => {
            let cursor = connection.cursor();
            let named = cursor.named("c").with_hold(true).open(SQL, (value,)).await?;
            named.close().await
        }
        _ => {
            let ask = async |cursor: Cursor| cursor.run_query(SQL, (value,)).await.map(drop);
            if way == "interaction" {
                connection.run_interaction(ask).await
            } else {
                connection.run_interaction(async |cursor| cursor.run_interaction(ask).await).await
            }
        }
    }
}

type Question = fn(&Connection);

/// What a value may ask its connection.
fn questions() -> Vec<(&'static str, Question)> {
    vec![
        ("is_closed", |connection| assert!(!connection.is_closed())),
        ("transaction_status", |connection| assert!(connection.transaction_status().is_some())),
        ("backend_pid", |connection| assert!(connection.backend_pid().is_some())),
        ("parameter", |connection| assert!(connection.parameter("server_version").is_some())),
        ("notices", |connection| drop(connection.notices())),
        ("is_encrypted", |connection| assert!(!connection.is_encrypted())),
        ("forget_types", Connection::forget_types),
        ("notifications", |connection| drop(connection.notifications())),
        ("cancel", |connection| drop(connection.run_query(SQL, (1,)).cancel_handle().cancel())),
        ("a query", |connection| {
            let mut query = Box::pin(connection.run_query("select 1", ()));
            drop(touch(query.as_mut()));
        }),
        ("a clone", |connection| drop(connection.clone())),
    ]
}

async fn opened() -> (Database, Connection) {
    let database = shared().database().unwrap();
    let connection = bounded(Connection::open(database.dsn())).await.unwrap();
    connection.run_operation("create table t (n int4)", ()).await.unwrap();
    (database, connection)
}

/// A value that cannot be written, and whose error asks the connection something when it is
/// dropped.
#[derive(Debug)]
struct Refusing(Connection);

#[derive(Debug)]
struct Refusal(Connection);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such value")
    }
}

impl StdError for Refusal {}

impl Drop for Refusal {
    fn drop(&mut self) {
        assert!(!self.0.is_closed());
    }
}

impl ToSql for Refusing {
    fn to_sql(&self, _: &Type, _: &mut bytes::BytesMut) -> Written {
        Err(Box::new(Refusal(self.0.clone())))
    }

    fn accepts(ty: &Type) -> bool {
        <i32 as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

#[test]
fn the_error_of_a_value_may_ask_its_connection_when_it_is_dropped() {
    without_hanging(Duration::from_secs(15), |progress| {
        runtime(2).block_on(async {
            let (_database, connection) = opened().await;
            for round in ["described first", "known", "known again"] {
                progress.now(format_args!("a statement that is {round}"));
                let value = Refusing(connection.clone());
                let error = bounded(connection.run_query(SQL, (value,))).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Parameter);
                drop(error);
                bounded(connection.run_query(SQL, (1_i32,))).await.unwrap();
            }
            assert_works(&connection).await;
        });
    });
}

#[test]
fn a_value_may_ask_its_connection_while_it_is_written() {
    without_hanging(Duration::from_secs(15), |progress| {
        runtime(2).block_on(async {
            let (_database, connection) = opened().await;
            for (what, question) in questions() {
                for way in WAYS {
                    progress.now(format_args!("a value asks for {what}, sent by {way}"));
                    let asked = Arc::new(AtomicBool::new(false));
                    let (own, done) = (connection.clone(), Arc::clone(&asked));
                    let value = Doing(Arc::new(move || {
                        question(&own);
                        done.store(true, Ordering::SeqCst);
                    }));
                    let sent = bounded(send(&connection, way, value)).await;
                    assert!(sent.is_ok(), "{what} by {way}: {sent:?}");
                    assert!(asked.load(Ordering::SeqCst), "{what} by {way}");
                    assert_works(&connection).await;
                }
            }
        });
    });
}

/// What has nothing to do with the connection: two ends of a socket, and a timer.
struct Unrelated {
    rounds: Arc<AtomicU64>,
    ticks: Arc<AtomicU64>,
}

impl Unrelated {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut byte = [0];
            while far.read_exact(&mut byte).await.is_ok() {
                far.write_all(&byte).await.unwrap();
            }
        });
        let unrelated = Self { rounds: Arc::default(), ticks: Arc::default() };
        let rounds = Arc::clone(&unrelated.rounds);
        tokio::spawn(async move {
            let mut byte = [7];
            loop {
                near.write_all(&byte).await.unwrap();
                near.read_exact(&mut byte).await.unwrap();
                rounds.fetch_add(1, Ordering::SeqCst);
            }
        });
        let ticks = Arc::clone(&unrelated.ticks);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks.fetch_add(1, Ordering::SeqCst);
            }
        });
        unrelated
    }

    fn so_far(&self) -> (u64, u64) {
        (self.rounds.load(Ordering::SeqCst), self.ticks.load(Ordering::SeqCst))
    }

    /// Waits, with the thread blocked, until both have gone on by this much; whether they have.
    fn goes_on(&self, by: u64) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        let before = self.so_far();
        loop {
            let now = self.so_far();
            if now.0 >= before.0 + by && now.1 >= before.1 + by {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// An answer arrives on the connection while a value is written, which blocks its thread: I/O and
/// timers of the runtime go on in other threads, and so does what asks the connection.
#[test]
fn a_value_that_takes_its_time_stalls_no_unrelated_task() {
    without_hanging(Duration::from_secs(60), |progress| {
        runtime(4).block_on(async {
            let (database, connection) = opened().await;
            let database = Arc::new(database);
            let unrelated = Arc::new(Unrelated::start().await);
            let pid = connection.backend_pid().unwrap();
            for way in WAYS {
                progress.now(format_args!("a value that takes its time, sent by {way}"));
                // Known, so that it is sent as soon as it is asked for.
                bounded(send(&connection, way, Doing(Arc::new(|| {})))).await.unwrap();
                let alone = ["copy", "named", "interaction", "nested"].contains(&way);
                let slow = connection.clone();
                let answered = tokio::spawn(async move {
                    // What waits for its turn is written when there is nothing before it.
                    let sql = if alone { "select 1" } else { "select pg_sleep(0.1)" };
                    slow.run_query(sql, ()).await.unwrap().len()
                });
                tokio::task::yield_now().await;
                let went_on = Arc::new(AtomicBool::new(true));
                let value = {
                    let (database, unrelated) = (Arc::clone(&database), Arc::clone(&unrelated));
                    let (connection, went_on) = (connection.clone(), Arc::clone(&went_on));
                    Doing(Arc::new(move || {
                        let asking = connection.clone();
                        let asked = std::thread::spawn(move || asking.is_closed());
                        // The answer of the other call has left the server.
                        let sql = format!(
                            "select count(*) from pg_stat_activity
                             where pid = {pid} and state = 'active' and query like '%pg_sleep(0.1)%'"
                        );
                        while database.server().sql(&sql).unwrap() != "0" {}
                        let moves = unrelated.goes_on(20);
                        if !(moves && asked.is_finished()) {
                            went_on.store(false, Ordering::SeqCst);
                        }
                    }))
                };
                let sending = connection.clone();
                let sent = tokio::spawn(async move { send(&sending, way, value).await });
                let sent = tokio::time::timeout(Duration::from_secs(50), sent).await.unwrap();
                sent.unwrap().unwrap();
                assert!(went_on.load(Ordering::SeqCst), "something stood still beside {way}");
                assert_eq!(bounded(answered).await.unwrap(), 1);
            }
            assert_works(&connection).await;
        });
    });
}
