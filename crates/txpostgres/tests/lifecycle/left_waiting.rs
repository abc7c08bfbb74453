//! A call that is dropped while it waits for others to end is never carried out, and those behind it go on.

// clippy.toml allows it in tests, but not in what tests share.
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use txpostgres::{Connection, Error, ErrorKind};

use crate::support::{assert_works, bounded, connected, count};

const INSERT: &str = "insert into t values ($1)";
const FILLED: &str = "select count(*) from t";

/// More than may wait for a reader.
const UNREAD: &str = "select repeat('x', 1000) from generate_series(1, 1000000)";

/// What is dropped here has long gone to wherever it waits.
const A_WHILE: Duration = Duration::from_millis(20);

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// All that can be asked for on the connection and would leave a trace.
fn calls(connection: &Connection) -> Vec<(&'static str, Call<'_>)> {
    let sets = vec![(1,), (2,)];
    vec![
        ("operation", Box::pin(async { connection.run_operation(INSERT, (1,)).await.map(drop) })),
        ("query", Box::pin(async { connection.run_query(INSERT, (1,)).await.map(drop) })),
        (
            "new",
            Box::pin(async {
                connection.run_query("insert into t values (1)", ()).await.map(drop)
            }),
        ),
        (
            "shape",
            Box::pin(async { connection.run_query_as::<(i32,), _>(INSERT, (1,)).await.map(drop) }),
        ),
        (
            "script",
            Box::pin(async { connection.run_script("insert into t values (1)").await.map(drop) }),
        ),
        (
            "limited",
            Box::pin(async {
                let limit = Duration::from_secs(60);
                connection.run_operation(INSERT, (1,)).timeout(limit).await.map(drop)
            }),
        ),
        ("many", Box::pin(async { connection.execute_many(INSERT, sets).await.map(drop) })),
        (
            "batch",
            Box::pin(async {
                let mut batch = connection.batch();
                batch.push(INSERT, (1,));
                batch.push("insert into t values (1)", ());
                batch.send().await.map(drop)
            }),
        ),
        ("cursor", Box::pin(async { connection.cursor().execute(INSERT, (1,)).await.map(drop) })),
        (
            "copy",
            Box::pin(async { connection.copy_in("insert into t values (1)").await.map(drop) }),
        ),
        (
            "interaction",
            Box::pin(async {
                connection
                    .run_interaction(async |cursor| cursor.run_operation(INSERT, (1,)).await)
                    .await
                    .map(drop)
            }),
        ),
    ]
}

async fn table() -> (txpostgres_testkit::Database, Connection) {
    let (database, connection) = connected().await;
    connection.run_script("create table t (n int)").await.unwrap();
    // From here on the statement is known, and goes in one step.
    connection.run_operation(INSERT, (0,)).await.unwrap();
    connection.run_script("truncate t").await.unwrap();
    (database, connection)
}

#[tokio::test]
async fn behind_a_statement_that_has_the_line_for_itself() {
    let (_database, connection) = table().await;
    for (what, call) in calls(&connection) {
        let other = connection.clone();
        let slow = tokio::spawn(async move {
            other.run_query("select pg_sleep(0.1)", ()).timeout(Duration::from_secs(60)).await
        });
        tokio::task::yield_now().await;
        timeout(A_WHILE, call).await.expect_err("it waits");
        let behind = connection.run_query("select $1::int4", (7,));
        assert_eq!(bounded(behind).await.unwrap().len(), 1, "{what}");
        bounded(slow).await.unwrap().unwrap();
        assert_eq!(count(&connection, FILLED).await, 0, "{what}");
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn behind_a_stream() {
    let (_database, connection) = table().await;
    for (what, call) in calls(&connection) {
        let mut stream = connection.query_stream(UNREAD, ());
        bounded(stream.next()).await.unwrap().unwrap();
        timeout(A_WHILE, call).await.expect_err("it waits");
        drop(stream);
        assert_eq!(count(&connection, FILLED).await, 0, "{what}");
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn behind_a_copy() {
    let (_database, connection) = table().await;
    for (what, call) in calls(&connection) {
        let mut copy = bounded(connection.copy_in("copy t from stdin")).await.unwrap();
        timeout(A_WHILE, call).await.expect_err("it waits");
        bounded(copy.send(Bytes::from_static(b"5\n"))).await.unwrap();
        assert_eq!(bounded(copy.finish()).await.unwrap(), 1, "{what}");
        assert_eq!(count(&connection, FILLED).await, 1, "{what}");
        connection.run_script("truncate t").await.unwrap();
    }
}

/// Written by nobody yet: it was to go together with what else is asked for in this turn of the executor.
#[tokio::test]
async fn before_it_is_written() {
    let (_database, connection) = table().await;
    for (what, mut call) in calls(&connection) {
        let mut slow = Box::pin(connection.run_query("select pg_sleep(0.05)", ()));
        assert!(poll_once(slow.as_mut()).await.is_none());
        assert!(poll_once(call.as_mut()).await.is_none(), "{what}");
        drop(call);
        bounded(slow).await.unwrap();
        if !["batch", "many", "cursor"].contains(&what) {
            assert_eq!(count(&connection, FILLED).await, 0, "{what}");
        }
        assert_works(&connection).await;
        connection.run_script("truncate t").await.unwrap();
    }
}

/// One poll of a future.
async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// What is dropped behind a COPY leaves its transaction as it was; dropped before BEGIN has left, it takes BEGIN back.
#[tokio::test]
async fn within_an_interaction() {
    let (_database, connection) = table().await;
    bounded(connection.run_interaction(async |cursor| {
        let mut copy = cursor.copy_in("copy t from stdin").await?;
        timeout(A_WHILE, cursor.run_operation("wat", ())).await.expect_err("it waits");
        timeout(A_WHILE, cursor.copy_in("copy t from stdin")).await.expect_err("it waits");
        timeout(A_WHILE, cursor.execute(INSERT, (1,))).await.expect_err("it waits");
        copy.send(Bytes::from_static(b"5\n")).await?;
        assert_eq!(copy.finish().await?, 1);
        cursor.run_operation(INSERT, (6,)).await
    }))
    .await
    .unwrap();
    assert_eq!(count(&connection, "select sum(n) from t").await, 11);

    let mut stream = connection.query_stream(UNREAD, ());
    bounded(stream.next()).await.unwrap().unwrap();
    let within = connection.run_interaction(async |cursor| {
        timeout(A_WHILE, cursor.run_operation(INSERT, (1,))).await.expect_err("it waits");
        drop(stream);
        cursor.run_operation(INSERT, (100,)).await?;
        Err::<(), _>(Error::new(ErrorKind::Request, "undo this"))
    });
    assert_eq!(bounded(within).await.unwrap_err().to_string(), "undo this");
    assert_eq!(count(&connection, "select sum(n) from t").await, 11);
    assert_works(&connection).await;
}

/// However much room there is for the answers of those behind it, a reader who does not read stalls the server.
#[tokio::test]
async fn others_that_wait_do_not_read_for_a_stream() {
    let (database, connection) = table().await;
    let witness = bounded(Connection::open(database.dsn())).await.unwrap();
    connection.run_script("create sequence sent").await.unwrap();
    let sql = "select nextval('sent'), repeat('x', 1000) from generate_series(1, 200000)";
    let mut stream = connection.query_stream(sql, ());
    bounded(stream.next()).await.unwrap().unwrap();
    for way_in in [true, false] {
        let other = connection.clone();
        let waiting = tokio::spawn(async move {
            if way_in {
                other.copy_in("copy t from stdin").await.map(drop)
            } else {
                other.copy_out("copy t to stdout").await.map(drop)
            }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        waiting.abort();
        waiting.await.unwrap_err();
        // Nor do those that give up read a little more each.
        for _ in 0..500 {
            timeout(Duration::ZERO, connection.run_query("select 1", ())).await.unwrap_err();
        }
    }
    // 256 KiB wait here, and the sockets hold up to ten megabytes.
    let sent = count(&witness, "select last_value from sent").await;
    assert!(sent < 20_000, "{sent} rows were sent");
    drop(stream);
    assert_works(&connection).await;
}

/// What undoes a savepoint is carried out all the same: else what it undoes would be committed.
#[tokio::test]
async fn the_end_of_a_nested_interaction_is_not_taken_back() {
    let (_database, connection) = table().await;
    bounded(connection.run_interaction(async |cursor| {
        let (mut slow, has_failed) = (None, AtomicBool::new(false));
        {
            let mut nested = Box::pin(cursor.run_interaction(async |inner| {
                inner.run_operation(INSERT, (1,)).await?;
                let mut before = Box::pin(inner.run_query("select pg_sleep(0.05)", ()));
                assert!(poll_once(before.as_mut()).await.is_none());
                slow = Some(before);
                has_failed.store(true, Ordering::Relaxed);
                Err::<(), _>(Error::new(ErrorKind::Request, "undo this"))
            }));
            // Its ROLLBACK waits for a turn of the executor, to go together with others.
            std::future::poll_fn(|cx| match nested.as_mut().poll(cx) {
                Poll::Pending if has_failed.load(Ordering::Relaxed) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
                Poll::Ready(_) => panic!("it has ended"),
            })
            .await;
        }
        slow.unwrap().await?;
        cursor.run_operation(INSERT, (10,)).await
    }))
    .await
    .unwrap();
    assert_eq!(count(&connection, "select sum(n) from t").await, 10);
    assert_works(&connection).await;
}
