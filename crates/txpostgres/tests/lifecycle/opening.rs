//! Opening, closing and opening again: in any order, any number of times, with calls outstanding, from one task or many.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use txpostgres::{Connection, Delivery, Error, ErrorKind};
use txpostgres_testkit::{Script, backend, shared};

use crate::support::{
    LATE, assert_works, bounded, connected, count, eventually, impatient, sessions, until_session,
    welcomed,
};

#[tokio::test]
async fn a_connection_that_is_not_open() {
    let connection = Connection::new();
    assert!(connection.is_closed());
    assert_eq!(connection.backend_pid(), None);
    assert_eq!(connection.transaction_status(), None);
    assert!(connection.notices().is_empty());
    for _ in 0..2 {
        let errors = [
            bounded(connection.run_query("select 1", ())).await.unwrap_err(),
            bounded(connection.run_operation("select 1", ())).await.unwrap_err(),
            bounded(connection.run_script("select 1")).await.unwrap_err(),
            bounded(connection.run_interaction(async |_| Ok::<_, Error>(()))).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Closed);
            assert_eq!(error.to_string(), "the connection is closed");
            assert_eq!(error.hint(), Some("open it with connect"));
            assert_eq!(error.delivery(), Delivery::NotSent);
        }
        bounded(connection.close()).await;
    }
    let database = shared().database().unwrap();
    bounded(connection.connect(database.dsn())).await.unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_open_connection_is_not_opened_again() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid();
    let error = bounded(connection.connect(database.dsn())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyConnected);
    assert_eq!(error.to_string(), "the connection is open already");
    assert_eq!(error.hint(), Some("close it first, or use another Connection"));
    let error = bounded(connection.clone().connect("host=/nowhere")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyConnected);
    assert_eq!(connection.backend_pid(), pid);
    assert_works(&connection).await;
    assert_eq!(sessions(&database), 1);
}

#[tokio::test]
async fn of_two_that_open_at_once_one_does() {
    let database = shared().database().unwrap();
    let connection = Connection::new();
    let (one, other) = bounded(async {
        tokio::join!(connection.connect(database.dsn()), connection.connect(database.dsn()))
    })
    .await;
    one.unwrap();
    assert_eq!(other.unwrap_err().kind(), ErrorKind::AlreadyConnected);
    assert_works(&connection).await;
    assert_eq!(sessions(&database), 1);
}

#[tokio::test]
async fn closing_ends_the_servers_session() {
    let (database, connection) = connected().await;
    assert_works(&connection).await;
    assert_eq!(sessions(&database), 1);
    bounded(connection.close()).await;
    // The server hung up before `close` returned.
    assert_eq!(sessions(&database), 0);
    for _ in 0..3 {
        bounded(connection.close()).await;
    }
    assert!(connection.is_closed());
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.to_string(), "the connection is closed");
}

#[tokio::test]
async fn everybody_may_close() {
    let (database, connection) = connected().await;
    let closing: Vec<_> = (0..20)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.close().await })
        })
        .collect();
    for closed in closing {
        bounded(closed).await.unwrap();
    }
    assert_eq!(sessions(&database), 0);
}

#[tokio::test]
async fn a_closed_connection_is_opened_again() {
    let (database, connection) = connected().await;
    let mut pids = vec![connection.backend_pid().unwrap()];
    for _ in 0..5 {
        connection.run_script("do $$ begin raise warning 'x'; end $$").await.unwrap();
        bounded(connection.run_query("select $1::int4", (1,))).await.unwrap();
        bounded(connection.close()).await;
        bounded(connection.connect(database.dsn())).await.unwrap();
        assert!(connection.notices().is_empty());
        // Nothing of the old session is taken for known in the new one.
        bounded(connection.run_query("select $1::int4", (1,))).await.unwrap();
        assert_works(&connection).await;
        pids.push(connection.backend_pid().unwrap());
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 6);
    assert_eq!(sessions(&database), 1);
}

#[tokio::test]
async fn calls_that_wait_when_the_connection_is_closed_are_told() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let calls: Vec<_> = (0..1000)
        .map(|_| {
            let (connection, made) = (connection.clone(), Arc::clone(&made));
            tokio::spawn(async move {
                made.fetch_add(1, Ordering::Relaxed);
                connection.run_query("select pg_sleep(60)", ()).await
            })
        })
        .collect();
    eventually("all calls are made", || made.load(Ordering::Relaxed) == 1000).await;
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    let before = Instant::now();
    bounded(connection.close()).await;
    assert!(before.elapsed() < Duration::from_secs(1) + LATE);
    for (n, call) in calls.into_iter().enumerate() {
        // What had gathered behind the first may not have left.
        let error = bounded(call).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.to_string(), "the connection was closed before the answer came");
        assert!(n > 0 || error.delivery() == Delivery::Unknown);
    }
    bounded(connection.connect(database.dsn())).await.unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn calls_that_wait_behind_an_interaction_are_told_as_well() {
    let (_database, connection) = connected().await;
    let outcome = bounded(connection.run_interaction(async |cursor| {
        cursor.run_query("select 1", ()).await?;
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let connection = connection.clone();
                tokio::spawn(async move {
                    let call = connection.run_query("select 1", ()).await.unwrap_err();
                    let interaction =
                        connection.run_interaction(async |_| Ok::<_, Error>(())).await;
                    (call, interaction.unwrap_err())
                })
            })
            .collect();
        tokio::task::yield_now().await;
        connection.close().await;
        for call in calls {
            let (call, interaction) = bounded(call).await.unwrap();
            assert_eq!(call.kind(), ErrorKind::Closed);
            assert_eq!(interaction.kind(), ErrorKind::Closed);
        }
        cursor.run_query("select 1", ()).await
    }))
    .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn the_last_clone_closes() {
    let (database, connection) = connected().await;
    let clone = connection.clone();
    drop(connection);
    assert_works(&clone).await;
    let call = clone.run_query("select 1", ());
    drop(clone);
    // A call that was made keeps what it needs.
    assert_eq!(bounded(call).await.unwrap().len(), 1);
    eventually("the session is over", || sessions(&database) == 0).await;
}

#[tokio::test]
async fn a_connection_may_be_dropped_without_a_runtime() {
    let (database, connection) = connected().await;
    std::thread::spawn(move || drop(connection)).join().unwrap();
    eventually("the session is over", || sessions(&database) == 0).await;
}

/// Polls this future at most so many times and drops it; whether it ended.
async fn poll_times(times: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn opening_may_be_given_up_at_any_point() {
    let database = shared().database().unwrap();
    let connection = Connection::new();
    let mut times = 0;
    while !bounded(poll_times(times, connection.connect(database.dsn()))).await {
        assert!(connection.is_closed());
        let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
        assert_eq!(error.to_string(), "the connection is closed");
        bounded(connection.connect(database.dsn())).await.unwrap();
        assert_works(&connection).await;
        bounded(connection.close()).await;
        times += 1;
    }
    assert!(times > 2, "{times}");
    assert_works(&connection).await;
    eventually("the others are gone", || sessions(&database) == 1).await;
}

#[tokio::test]
async fn closing_stops_an_opening() {
    let server = Script::new().expect_startup().silence(Duration::from_secs(9)).play().unwrap();
    let connection = Connection::new();
    let opening = connection.clone();
    let config = impatient(&server.dsn(), Duration::from_secs(2));
    let opening = tokio::spawn(async move { opening.connect(config).await });
    tokio::task::yield_now().await;
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.to_string(), "the connection is not open yet");
    bounded(connection.close()).await;
    // The name is free at once.
    bounded(connection.connect(shared().dsn())).await.unwrap();
    let before = Instant::now();
    let error = bounded(opening).await.unwrap().unwrap_err();
    assert!(before.elapsed() < LATE, "the opening went on for {:?}", before.elapsed());
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.to_string(), "the connection was closed while it was being opened");
    assert_works(&connection).await;
}

#[tokio::test]
async fn one_task_and_a_thousand() {
    let (_database, connection) = connected().await;
    connection.run_script("create table t (id int)").await.unwrap();
    for tasks in [1, 1000] {
        let calls: Vec<_> = (0..tasks)
            .map(|n| {
                let connection = connection.clone();
                tokio::spawn(async move {
                    connection
                        .run_interaction(async |cursor| {
                            cursor.run_operation("insert into t values ($1)", (n,)).await
                        })
                        .await
                })
            })
            .collect();
        for call in calls {
            assert_eq!(bounded(call).await.unwrap().unwrap(), 1);
        }
    }
    assert_eq!(count(&connection, "select count(*) from t").await, 1001);
}

#[tokio::test]
async fn the_server_is_told_goodbye() {
    let server = Script::new().welcome().expect(b"X\0\0\0\x04").expect_end().play().unwrap();
    bounded(welcomed(&server).await.close()).await;
    server.finish().unwrap();
    let server = Script::new().welcome().expect(b"X\0\0\0\x04").expect_end().play().unwrap();
    drop(welcomed(&server).await);
    server.finish().unwrap();
}

#[tokio::test]
async fn a_server_that_ignores_the_goodbye_is_left() {
    let server = Script::new().welcome().silence(Duration::from_secs(9)).play().unwrap();
    let connection = welcomed(&server).await;
    let before = Instant::now();
    bounded(connection.close()).await;
    assert!(before.elapsed() < Duration::from_secs(1) + LATE);
    let server = Script::new()
        .welcome()
        .expect_message(b'X')
        .send(backend::notice("already?"))
        .silence(Duration::from_secs(9))
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    bounded(connection.close()).await;
    assert!(connection.notices().is_empty());
}

/// Closing tells the server to stop: what it was doing for us does not run on.
#[tokio::test]
async fn closing_ends_what_the_server_is_doing() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let sleeping = tokio::spawn({
        let connection = connection.clone();
        async move { connection.run_query("select pg_sleep(600)", ()).await }
    });
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    bounded(connection.close()).await;
    assert_eq!(bounded(sleeping).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    let gone = format!("select count(*) from pg_stat_activity where pid = {pid}");
    eventually("the session is gone", || database.server().sql(&gone).unwrap() == "0").await;
}
