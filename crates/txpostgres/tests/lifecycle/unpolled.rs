//! Futures that were begun and are not polled any more: they must not hold up anybody else.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::oneshot;
use txpostgres::{Connection, Error};

use crate::support::polls::{begin, touch};
use crate::support::{assert_works, bounded, connected, eventually};

async fn in_another_task(connection: &Connection) {
    let connection = connection.clone();
    bounded(tokio::spawn(async move { assert_works(&connection).await })).await.unwrap();
}

async fn a_call_that_is_not_polled_holds_up_nobody() {
    let (_database, connection) = connected().await;
    for _ in 0..5 {
        let mut touched = pin!(connection.run_query("select 1", ()));
        if touch(touched.as_mut()).is_ready() {
            // The server was faster.
            continue;
        }
        let mut begun = pin!(connection.run_query("select 2", ()));
        assert!(begin(begun.as_mut()).await.is_pending());
        in_another_task(&connection).await;
        assert_works(&connection).await;
        // Both are answered, whenever they are asked for.
        assert_eq!(bounded(touched).await.unwrap().len(), 1);
        in_another_task(&connection).await;
        assert_eq!(bounded(begun).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_call_that_is_not_polled_holds_up_nobody_on_one_thread() {
    a_call_that_is_not_polled_holds_up_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_polled_holds_up_nobody_on_two_threads() {
    a_call_that_is_not_polled_holds_up_nobody().await;
}

#[tokio::test]
async fn many_that_are_not_polled_hold_up_nobody() {
    let (_database, connection) = connected().await;
    let mut untouched: Vec<_> =
        (0..100).map(|_| Box::pin(connection.run_query("select 1", ()))).collect();
    let mut slow = pin!(connection.run_query("select pg_sleep(0.2)", ()));
    assert!(touch(slow.as_mut()).is_pending());
    for call in untouched.iter_mut().step_by(2) {
        assert!(touch(call.as_mut()).is_pending());
    }
    in_another_task(&connection).await;
    // Some are dropped, some are asked for after all.
    let asked = untouched.split_off(50);
    drop(untouched);
    in_another_task(&connection).await;
    for call in asked {
        assert_eq!(bounded(call).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn one_that_promised_to_send_and_is_not_polled() {
    let (_database, connection) = connected().await;
    let mut slow = pin!(connection.run_query("select pg_sleep(0.2)", ()));
    assert!(begin(slow.as_mut()).await.is_pending());
    // The second is to send what gathers, and does not.
    let mut promised = pin!(connection.run_query("select 2", ()));
    assert!(touch(promised.as_mut()).is_pending());
    in_another_task(&connection).await;
    assert_eq!(bounded(promised).await.unwrap().len(), 1);
    assert_eq!(bounded(slow).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_loss_is_noticed_although_nobody_polls() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let mut calls: Vec<_> =
        (0..2).map(|_| Box::pin(connection.run_query("select pg_sleep(60)", ()))).collect();
    for call in &mut calls {
        assert!(touch(call.as_mut()).is_pending());
    }
    database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
    eventually("the connection is closed", || connection.is_closed()).await;
    for call in calls {
        bounded(call).await.unwrap_err();
    }
}

/// An interaction that is inside until told to go on.
async fn inside(
    connection: &Connection,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), Error>>) {
    let (go, going) = oneshot::channel();
    let (entered, has_entered) = oneshot::channel();
    let connection = connection.clone();
    let task = tokio::spawn(async move {
        connection
            .run_interaction(async |cursor| {
                cursor.run_query("select 1", ()).await?;
                entered.send(()).ok();
                going.await.ok();
                Ok::<_, Error>(())
            })
            .await
    });
    bounded(has_entered).await.unwrap();
    (go, task)
}

#[tokio::test]
async fn a_call_in_the_queue_that_is_not_polled_holds_up_nobody() {
    let (_database, connection) = connected().await;
    let (go, first) = inside(&connection).await;
    let mut queued = pin!(connection.run_query("select 1", ()));
    assert!(touch(queued.as_mut()).is_pending());
    let shared = connection.clone();
    let interaction = tokio::spawn(async move {
        shared.run_interaction(async |cursor| cursor.run_query("select 1", ()).await).await
    });
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    bounded(first).await.unwrap().unwrap();
    bounded(interaction).await.unwrap().unwrap();
    in_another_task(&connection).await;
    assert_eq!(bounded(queued).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_queued_call_that_is_dropped_holds_up_nobody() {
    let (_database, connection) = connected().await;
    let (go, first) = inside(&connection).await;
    let waiting = tokio::time::timeout(Duration::from_millis(20), async {
        connection.run_interaction(async |_| Ok::<_, Error>(())).await
    });
    waiting.await.unwrap_err();
    let shared = connection.clone();
    let behind = tokio::spawn(async move { assert_works(&shared).await });
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    bounded(first).await.unwrap().unwrap();
    bounded(behind).await.unwrap();
}

#[tokio::test]
async fn a_first_statement_that_is_not_polled_holds_up_no_other_of_its_interaction() {
    let (_database, connection) = connected().await;
    for _ in 0..3 {
        bounded(connection.run_interaction(async |cursor| {
            let mut first = pin!(cursor.run_query("select pg_sleep(0.1)", ()));
            assert!(begin(first.as_mut()).await.is_pending());
            // In this task, which is called for the first one's answer.
            assert_eq!(cursor.run_query("select 2", ()).await?.len(), 1);
            first.await
        }))
        .await
        .unwrap();
        bounded(connection.run_interaction(async |cursor| {
            let mut first = pin!(cursor.run_query("select pg_sleep(0.1)", ()));
            assert!(touch(first.as_mut()).is_pending());
            let other = cursor.clone();
            let second = tokio::spawn(async move { other.run_query("select 2", ()).await });
            assert_eq!(second.await.unwrap()?.len(), 1);
            first.await
        }))
        .await
        .unwrap();
    }
}
