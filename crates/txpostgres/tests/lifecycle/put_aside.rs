//! Calls that are begun and put aside while their task does something else: listeners hear, the end
//! of the session is seen, and what is queued behind them goes on.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use txpostgres::{Connection, Error, NotifyEvent, NotifyObserver};

use crate::support::polls::{begin, touch};
use crate::support::{assert_works, bounded, connected, count, eventually, occupied};

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// Calls after which the session is idle, each answered a while after it was sent.
fn calls(connection: &Connection) -> Vec<(&'static str, Call<'_>)> {
    let sql = "select pg_sleep(0.02)";
    vec![
        ("query", Box::pin(async move { connection.run_query(sql, ()).await.map(drop) })),
        ("query with a parameter", {
            let sql = "select pg_sleep($1)";
            Box::pin(async move { connection.run_query(sql, (0.02_f64,)).await.map(drop) })
        }),
        ("operation", Box::pin(async move { connection.run_operation(sql, ()).await.map(drop) })),
        ("script", Box::pin(async move { connection.run_script(sql).await.map(drop) })),
        ("cursor", Box::pin(async move { connection.cursor().execute(sql, ()).await.map(drop) })),
        ("many", {
            let sets = [(), ()];
            Box::pin(async move { connection.execute_many(sql, sets).await.map(drop) })
        }),
        ("batch", {
            let batch = connection.batch().add(sql, ()).add(sql, ());
            Box::pin(async move { batch.send().await.map(drop) })
        }),
        ("stream", {
            let mut stream = connection.query_stream(sql, ());
            Box::pin(async move { stream.next_rows().await.map(drop) })
        }),
        ("copy out", {
            let sql = "copy (select pg_sleep(0.02)) to stdout";
            Box::pin(async move { connection.copy_out(sql).await.map(drop) })
        }),
    ]
}

/// A notification comes while a call is put aside: a listener in another task hears it, before the
/// call is polled again.
async fn listeners_hear() {
    let (database, connection) = connected().await;
    let observed = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&observed);
    connection.add_notify_observer(NotifyObserver::immediate(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
    }));
    for polled_by_a_task in [true, false] {
        for (what, mut call) in calls(&connection) {
            let mut subscription = bounded(connection.subscribe("x")).await.unwrap();
            let hearing = tokio::spawn(async move { subscription.next().await });
            tokio::task::yield_now().await;
            let before = observed.load(Ordering::SeqCst);
            let first =
                if polled_by_a_task { begin(call.as_mut()).await } else { touch(call.as_mut()) };
            assert!(first.is_pending());
            database.sql(&format!("notify x, '{what}'")).unwrap();
            let heard = bounded(hearing).await.unwrap();
            let Some(NotifyEvent::Notification(heard)) = heard else { panic!("{what}: {heard:?}") };
            assert_eq!(heard.payload(), what);
            eventually("the observer is called", || observed.load(Ordering::SeqCst) > before).await;
            bounded(call).await.unwrap();
        }
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn listeners_hear_while_a_call_is_put_aside_on_one_thread() {
    listeners_hear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_hear_while_a_call_is_put_aside_on_two_threads() {
    listeners_hear().await;
}

/// The ordinary form: a `select!` whose other branch waits for what a listener does.
#[tokio::test]
async fn a_select_whose_other_branch_waits_for_a_listener_goes_on() {
    let (database, connection) = connected().await;
    let mut subscription = bounded(connection.subscribe("x")).await.unwrap();
    let hearing = tokio::spawn(async move { subscription.next().await });
    let mut call = pin!(connection.run_query("select pg_sleep(0.05)", ()));
    tokio::select! {
        biased;
        outcome = call.as_mut() => panic!("before it was sent: {outcome:?}"),
        () = tokio::task::yield_now() => {
            database.sql("notify x").unwrap();
            bounded(hearing).await.unwrap().unwrap();
        }
    }
    bounded(call).await.unwrap();
}

/// The session is ended while a call is put aside: it is seen, and listeners are told, before the
/// call is polled again.
async fn the_end_is_seen() {
    let (database, _) = connected().await;
    let reference = bounded(Connection::open(database.dsn())).await.unwrap();
    for number in 0..calls(&reference).len() {
        let connection = bounded(Connection::open(database.dsn())).await.unwrap();
        let (what, mut call) = calls(&connection).swap_remove(number);
        let mut events = connection.notifications();
        let hearing = tokio::spawn(async move { events.next().await });
        tokio::task::yield_now().await;
        let pid = connection.backend_pid().unwrap();
        assert!(begin(call.as_mut()).await.is_pending());
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
        eventually(&format!("the end is seen behind a {what}"), || connection.is_closed()).await;
        assert_eq!(bounded(hearing).await.unwrap(), Some(NotifyEvent::Disconnected), "{what}");
        // It may have been answered before.
        bounded(call).await.ok();
    }
}

#[tokio::test]
async fn the_end_of_the_session_is_seen_while_a_call_is_put_aside_on_one_thread() {
    the_end_is_seen().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_session_is_seen_while_a_call_is_put_aside_on_two_threads() {
    the_end_is_seen().await;
}

/// The same in the middle of an interaction and of a COPY, which stay open.
#[tokio::test]
async fn the_end_of_the_session_is_seen_while_an_interaction_or_a_copy_is_put_aside() {
    let (database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    for copies in [false, true] {
        let connection = bounded(Connection::open(database.dsn())).await.unwrap();
        let pid = connection.backend_pid().unwrap();
        let mut call: Call<'_> = if copies {
            Box::pin(async { connection.copy_in("copy t from stdin").await.map(drop) })
        } else {
            Box::pin(connection.run_interaction(async |cursor| {
                cursor.run_query("select pg_sleep(0.02)", ()).await.map(drop)
            }))
        };
        assert!(begin(call.as_mut()).await.is_pending());
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
        eventually("the end is seen", || connection.is_closed()).await;
        bounded(call).await.ok();
    }
}

/// Calls wait behind an interaction that waits itself and is not polled: when the connection is
/// free, they go on without it.
#[tokio::test]
async fn what_is_queued_behind_an_interaction_that_is_put_aside_goes_on() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let inside = occupied(&connection).await;
    let insert = async |cursor: txpostgres::Cursor| {
        cursor.run_operation("insert into t values (1)", ()).await
    };
    let mut aside = pin!(connection.run_interaction(insert));
    assert!(begin(aside.as_mut()).await.is_pending());
    let mut also_aside = pin!(connection.run_interaction(insert));
    assert!(touch(also_aside.as_mut()).is_pending());
    let behind: Vec<_> = (0..calls(&connection).len())
        .map(|number| {
            let connection = connection.clone();
            tokio::spawn(async move { calls(&connection).swap_remove(number).1.await })
        })
        .collect();
    // Each is in the queue.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    inside.leave().await;
    for call in behind {
        bounded(call).await.unwrap().unwrap();
    }
    assert_eq!(bounded(also_aside).await.unwrap(), 1);
    assert_eq!(bounded(aside).await.unwrap(), 1);
    assert_eq!(count(&connection, "select count(*) from t").await, 2);
    assert_works(&connection).await;
}
