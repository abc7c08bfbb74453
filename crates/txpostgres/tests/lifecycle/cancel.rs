//! CancelFuture calls and interactions: each in each of its states, by a handle, a time limit, and a drop.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use txpostgres::{
    Connection, Cursor, Delivery, EndedBy, Error, ErrorKind, SqlState, TransactionStatus,
};
use txpostgres_testkit::shared;

use crate::support::{
    assert_works, bounded, connected, count, eventually, occupied, sessions, until_session,
};

/// Takes longer than any test.
const LONG: &str = "select pg_sleep(60)";
/// Waits for its time, and no longer.
const SOON: Duration = Duration::from_millis(50);

/// Polls once, and has not ended.
async fn begin<F: Future + Unpin>(future: &mut F) {
    poll_fn(|cx| {
        assert!(std::pin::Pin::new(&mut *future).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn assert_cancelled(error: &Error, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, delivery), "{error:?}");
    assert_eq!(error.ended_by(), Some(EndedBy::Ours));
}

#[tokio::test]
async fn a_running_statement_is_cancelled() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let mut call = connection.run_query(LONG, ());
    let handle = call.cancel_handle();
    begin(&mut call).await;
    until_session(&database, pid, "state = 'active'").await;
    bounded(connection.cancel(&handle)).await.unwrap();
    let error = bounded(call).await.unwrap_err();
    assert_cancelled(&error, Delivery::Answered);
    assert_eq!(error.sqlstate(), Some(SqlState::QUERY_CANCELED));
    assert_eq!(error.statement(), Some(LONG));
    assert_works(&connection).await;
    assert_eq!(connection.backend_pid(), Some(pid));
}

#[tokio::test]
async fn operations_and_scripts_are_cancelled_as_well() {
    let (_database, connection) = connected().await;
    let mut operation = connection.run_operation(LONG, ());
    let handle = operation.cancel_handle();
    let (outcome, cancelled) =
        bounded(async { tokio::join!(operation, connection.cancel(&handle)) }).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    cancelled.unwrap();
    let mut script = connection.run_script("select 1; select pg_sleep(60)");
    let handle = script.cancel_handle();
    begin(&mut script).await;
    bounded(connection.cancel(&handle)).await.unwrap();
    assert_cancelled(&bounded(script).await.unwrap_err(), Delivery::Answered);
    assert_works(&connection).await;
}

/// What waits behind another statement is taken back, and the others get their answers.
#[tokio::test]
async fn what_was_not_sent_is_taken_back() {
    let (_database, connection) = connected().await;
    let mut before = connection.run_query("select pg_sleep(0.2), 'before'", ());
    let mut call = connection.run_query("select 1 / 0", ());
    let handle = call.cancel_handle();
    let mut behind = connection.run_query("select 'behind'", ());
    begin(&mut before).await;
    begin(&mut call).await;
    begin(&mut behind).await;
    let began = Instant::now();
    bounded(connection.cancel(&handle)).await.unwrap();
    assert_cancelled(&bounded(call).await.unwrap_err(), Delivery::NotSent);
    assert!(began.elapsed() < Duration::from_millis(150), "it waited for the others");
    assert_eq!(bounded(before).await.unwrap().first().unwrap().get::<&str>(1).unwrap(), "before");
    assert_eq!(bounded(behind).await.unwrap().first().unwrap().get::<&str>(0).unwrap(), "behind");
    assert_works(&connection).await;
}

#[tokio::test]
async fn what_was_not_polled_is_not_sent() {
    let (_database, connection) = connected().await;
    let mut call = connection.run_operation("create table never (id int)", ());
    let handle = call.cancel_handle();
    bounded(connection.cancel(&handle)).await.unwrap();
    assert_cancelled(&bounded(call).await.unwrap_err(), Delivery::NotSent);
    assert_eq!(
        count(&connection, "select count(*) from pg_class where relname = 'never'").await,
        0
    );
}

#[tokio::test]
async fn what_is_over_stays_as_it_is() {
    let (_database, connection) = connected().await;
    let mut call = connection.run_query("select 1", ());
    let handle = call.cancel_handle();
    bounded(call).await.unwrap();
    bounded(connection.cancel(&handle)).await.unwrap();
    bounded(handle.cancel()).await.unwrap();
    assert_works(&connection).await;
    bounded(connection.close()).await;
    bounded(handle.cancel()).await.unwrap();
}

/// A statement with parameters takes two round trips the first time: a cancel hits in both.
#[tokio::test]
async fn a_statement_in_two_steps_is_cancelled_in_each() {
    let (database, connection) = connected().await;
    let observer = Connection::open(database.dsn()).await.unwrap();
    connection.run_script("create table slow (id int)").await.unwrap();
    // The server cannot describe it before it has the lock.
    let describes = "select $1::int from slow";
    bounded(observer.run_interaction(async |cursor| {
        cursor.run_script("lock table slow").await?;
        let mut call = connection.run_query(describes, (1,));
        let handle = call.cancel_handle();
        begin(&mut call).await;
        let pid = connection.backend_pid().unwrap();
        until_session(&database, pid, "wait_event_type = 'Lock'").await;
        connection.cancel(&handle).await.unwrap();
        assert_cancelled(&call.await.unwrap_err(), Delivery::Answered);
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    // It is described, and sleeps.
    let mut call = connection.run_query("select pg_sleep($1)", (60.0,));
    let handle = call.cancel_handle();
    let cancel = async {
        let pid = connection.backend_pid().unwrap();
        until_session(&database, pid, "wait_event = 'PgSleep'").await;
        handle.cancel().await.unwrap();
    };
    let (outcome, ()) = bounded(async { tokio::join!(call, cancel) }).await;
    assert_cancelled(&outcome.unwrap_err(), Delivery::Answered);
    assert_eq!(bounded(connection.run_query(describes, (1,))).await.unwrap().len(), 0);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_time_limit_ends_a_statement() {
    let (database, connection) = connected().await;
    let began = Instant::now();
    let error = bounded(connection.run_query(LONG, ()).timeout(SOON)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Answered));
    assert_eq!(error.ended_by(), Some(EndedBy::Ours));
    assert!(began.elapsed() >= SOON && began.elapsed() < Duration::from_secs(5));
    let text = "the statement was cancelled after its time limit of 50ms \
                (the server said: ERROR 57014: canceling statement due to user request)";
    assert_eq!(error.to_string(), text);
    assert_works(&connection).await;
    let pid = connection.backend_pid().unwrap();
    until_session(&database, pid, "state = 'idle'").await;
    // In time.
    let rows = bounded(connection.run_query("select 1", ()).timeout(Duration::from_secs(60))).await;
    assert_eq!(rows.unwrap().len(), 1);
}

#[tokio::test]
async fn a_time_limit_that_passes_in_the_queue_sends_nothing() {
    let (_database, connection) = connected().await;
    let mut before = connection.run_query("select pg_sleep(0.3)", ());
    begin(&mut before).await;
    let late = connection.run_query("select 1 / 0", ()).timeout(SOON);
    let error = bounded(late).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    assert!(error.is_retryable());
    bounded(before).await.unwrap();
    // Behind an interaction.
    let occupied = occupied(&connection).await;
    let late = connection.run_query("select 1 / 0", ()).timeout(SOON);
    let error = bounded(late).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    occupied.leave().await;
    assert_works(&connection).await;
}

/// As a deadline comes out that has passed.
#[tokio::test]
async fn a_time_limit_of_nothing_sends_nothing() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    for _ in 0..20 {
        let insert = connection.run_operation("insert into t values ($1)", (1,));
        let error = bounded(insert.timeout(Duration::ZERO)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
        let within = connection
            .interaction()
            .timeout(Duration::ZERO)
            .run(async |cursor| cursor.run_operation("insert into t values ($1)", (1,)).await);
        assert_eq!(bounded(within).await.unwrap_err().kind(), ErrorKind::Timeout);
        let mut stream = connection.query_stream("insert into t values (1)", ());
        stream = stream.timeout(Duration::ZERO);
        let error = bounded(stream.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    }
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_grace_may_be_as_long_as_it_likes() {
    let database = shared().database().unwrap();
    let connection = Connection::builder().cancel_grace(Duration::MAX).build();
    bounded(connection.connect(database.dsn())).await.unwrap();
    let slow = connection.run_query("select pg_sleep(60)", ());
    let error = bounded(slow.timeout(Duration::from_millis(20))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let within = connection
        .interaction()
        .timeout(Duration::from_millis(20))
        .run(async |cursor| cursor.run_query("select pg_sleep(60)", ()).await.map(drop));
    assert_eq!(bounded(within).await.unwrap_err().kind(), ErrorKind::Timeout);
    let fast = connection.run_query("select 1", ()).timeout(Duration::MAX);
    assert_eq!(bounded(fast).await.unwrap().len(), 1);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_drop_cancels_if_asked_to() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let mut call = connection.run_query(LONG, ()).cancel_on_drop();
    begin(&mut call).await;
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    drop(call);
    assert_works(&connection).await;
    assert_eq!(connection.backend_pid(), Some(pid));
}

#[tokio::test]
async fn an_interaction_is_cancelled_and_rolled_back() {
    let (database, connection) = connected().await;
    connection.run_script("create table t (id int)").await.unwrap();
    let pid = connection.backend_pid().unwrap();
    let mut interaction = connection.interaction();
    let handle = interaction.cancel_handle();
    let interaction = interaction.run(async |cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        cursor.run_query(LONG, ()).await
    });
    let cancel = async {
        until_session(&database, pid, "wait_event = 'PgSleep'").await;
        connection.cancel(&handle).await.unwrap();
    };
    let (outcome, ()) = bounded(async { tokio::join!(interaction, cancel) }).await;
    assert_cancelled(&outcome.unwrap_err(), Delivery::Answered);
    assert_works(&connection).await;
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
    assert_eq!(connection.backend_pid(), Some(pid));
}

/// The closure awaits something else, or has sent several statements.
#[tokio::test]
async fn an_interaction_is_cancelled_wherever_it_is() {
    let (_database, connection) = connected().await;
    connection.run_script("create table t (id int)").await.unwrap();
    let elsewhere = async |cursor: Cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        std::future::pending::<Result<(), Error>>().await
    };
    let untouched = async |_: Cursor| std::future::pending::<Result<(), Error>>().await;
    let several = async |cursor: Cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        let (one, two) = tokio::join!(cursor.run_query(LONG, ()), cursor.run_query(LONG, ()));
        one.and(two).map(drop)
    };
    let nested = async |cursor: Cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        cursor.run_interaction(async |nested| nested.run_query(LONG, ()).await).await.map(drop)
    };
    let limited = || connection.interaction().timeout(SOON);
    let outcomes = [
        bounded(limited().run(elsewhere)).await,
        bounded(limited().run(untouched)).await,
        bounded(limited().run(several)).await,
        bounded(limited().run(nested)).await,
    ];
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    }
    assert_works(&connection).await;
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
}

/// Calls that other tasks make with its cursor are taken back with it, and told so.
#[tokio::test]
async fn calls_of_other_tasks_end_with_the_interaction_that_is_cancelled() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let (hand_out, handed_out) = tokio::sync::oneshot::channel();
    let mut interaction = connection.interaction();
    let handle = interaction.cancel_handle();
    let running = tokio::spawn(interaction.run(async |cursor| {
        cursor.run_query("select 1", ()).await?;
        let _ = hand_out.send(cursor.clone());
        cursor.run_query(LONG, ()).await.map(drop)
    }));
    let cursor: Cursor = bounded(handed_out).await.unwrap();
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    let behind = tokio::spawn(async move { cursor.run_query("select 2", ()).await });
    tokio::time::sleep(SOON).await;
    bounded(connection.cancel(&handle)).await.unwrap();
    assert_eq!(bounded(running).await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_cancelled(&bounded(behind).await.unwrap().unwrap_err(), Delivery::NotSent);
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_interaction_that_waits_for_its_turn_is_cancelled() {
    let (_database, connection) = connected().await;
    let occupied = occupied(&connection).await;
    let waiting = connection.interaction().timeout(SOON);
    let error = bounded(waiting.run(async |_| Ok::<_, Error>(()))).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    occupied.leave().await;
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_dropped_interaction_cancels_if_asked_to() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let mut interaction = Box::pin(
        connection
            .interaction()
            .cancel_on_drop()
            .run(async |cursor| cursor.run_query(LONG, ()).await),
    );
    begin(&mut interaction).await;
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    drop(interaction);
    assert_works(&connection).await;
    assert_eq!(connection.backend_pid(), Some(pid));
}

/// One call of an interaction is cancelled; the interaction goes on, in the way of any whose statement failed.
#[tokio::test]
async fn a_call_of_an_interaction_is_cancelled_alone() {
    let (_database, connection) = connected().await;
    let interaction = connection.run_interaction(async |cursor| {
        cursor
            .run_interaction(async |nested| nested.run_query(LONG, ()).timeout(SOON).await)
            .await
            .unwrap_err();
        let rows = cursor.run_query("select 'goes on'", ()).await?;
        rows.first().unwrap().get::<String>(0)
    });
    assert_eq!(bounded(interaction).await.unwrap(), "goes on");
    assert_works(&connection).await;
}

/// The first call of an interaction takes BEGIN along; taken back, the next one does.
#[tokio::test]
async fn begin_is_taken_back_with_its_statement() {
    let (_database, connection) = connected().await;
    connection.run_script("create table t (id int)").await.unwrap();
    let mut before = connection.run_query("select pg_sleep(0.2)", ());
    begin(&mut before).await;
    let interaction = connection.run_interaction(async |cursor| {
        let late = cursor.run_query("select 1 / 0", ()).timeout(SOON);
        assert_eq!(late.await.unwrap_err().delivery(), Delivery::NotSent);
        cursor.run_operation("insert into t values (1)", ()).await?;
        assert_eq!(connection.transaction_status(), Some(TransactionStatus::InTransaction));
        Err::<(), _>(Error::new(ErrorKind::Request, "on purpose"))
    });
    let (error, before) = bounded(async { tokio::join!(interaction, before) }).await;
    assert_eq!(error.unwrap_err().to_string(), "on purpose");
    before.unwrap();
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
    assert!(connection.notices().is_empty(), "there was a transaction to roll back");
}

/// What a `statement_timeout`, a `lock_timeout`, an administrator and we did are told apart.
#[tokio::test]
async fn interruptions_are_told_apart() {
    let (database, connection) = connected().await;
    let other = Connection::open(database.dsn()).await.unwrap();
    let pid = connection.backend_pid().unwrap();
    connection.run_script("create table t (id int); set statement_timeout = 50").await.unwrap();
    let error = bounded(connection.run_query(LONG, ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(error.ended_by(), Some(EndedBy::StatementTimeout));

    connection.run_script("set statement_timeout = 0; set lock_timeout = 50").await.unwrap();
    bounded(other.run_interaction(async |cursor| {
        cursor.run_script("lock table t").await?;
        let error = connection.run_query("table t", ()).await.unwrap_err();
        assert_eq!(error.ended_by(), Some(EndedBy::LockTimeout));
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();

    for (sql, interruption) in [
        ("select pg_cancel_backend($1)", EndedBy::ByAnother),
        ("select pg_terminate_backend($1)", EndedBy::Terminated),
    ] {
        let mut call = connection.run_query(LONG, ());
        // Even with a handle that was not used.
        let _ = call.cancel_handle();
        let interrupt = async {
            until_session(&database, pid, "wait_event = 'PgSleep'").await;
            other.run_query(sql, (pid,)).await.unwrap();
        };
        let (outcome, ()) = bounded(async { tokio::join!(call, interrupt) }).await;
        assert_eq!(outcome.unwrap_err().ended_by(), Some(interruption));
    }
}

/// A cancel that comes before the statement does is made again.
#[tokio::test]
async fn a_statement_that_catches_the_cancel_is_cancelled_again() {
    let (_database, connection) = connected().await;
    let stubborn = "do $$ begin
        for n in 1..3 loop
            begin perform pg_sleep(60); exception when query_canceled then null; end;
        end loop;
    end $$";
    let outcome = bounded(connection.run_script(stubborn).timeout(SOON)).await;
    assert!(outcome.is_ok(), "it ended well: {outcome:?}");
    assert_works(&connection).await;
}

#[tokio::test]
async fn the_last_clone_may_be_dropped_during_a_cancel() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let mut call = connection.run_query(LONG, ()).cancel_on_drop();
    begin(&mut call).await;
    until_session(&database, pid, "wait_event = 'PgSleep'").await;
    drop(call);
    drop(connection);
    eventually("the session ends", || sessions(&database) == 0).await;
}
