//! What a call costs does not depend on how many others there are: answers that are not fetched,
//! and calls that wait.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use txpostgres::Connection;

use crate::support::polls::begin;
use crate::support::{assert_works, connected, occupied};

/// What takes longer than this hangs: much slower than any machine.
const PATIENCE: Duration = Duration::from_secs(120);

async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this hangs, or is as good as that")
}

/// The time of one call, which one in ten of `count` calls was within: what the machine does besides
/// counts for little.
async fn quick(connection: &Connection, count: usize) -> Duration {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        connection.run_query("select 1", ()).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[count / 10]
}

/// Answers that have come and are not fetched: calls that are put aside in several ways.
#[tokio::test]
async fn an_answer_that_is_not_fetched_makes_no_later_call_slower() {
    let (_database, connection) = connected().await;
    let query = connection.run_query("select pg_sleep(0.01)", ());
    let script = connection.run_script("select pg_sleep(0.01)");
    let batch = connection.batch().add("select pg_sleep(0.01)", ()).add("select 2", ());
    let mut aside: [Pin<Box<dyn Future<Output = usize>>>; 3] = [
        Box::pin(async move { query.await.unwrap().len() }),
        Box::pin(async move { script.await.unwrap().len() }),
        Box::pin(async move { batch.send().await.unwrap().len() }),
    ];
    for call in &mut aside {
        assert!(begin(call.as_mut()).await.is_pending());
    }
    patient(quick(&connection, 100)).await;
    let early = patient(quick(&connection, 2_000)).await;
    patient(quick(&connection, 16_000)).await;
    let late = patient(quick(&connection, 2_000)).await;
    assert!(late < early * 3, "{late:?} after 20,000 calls, and {early:?} before them");
    for (call, items) in aside.into_iter().zip([1, 1, 2]) {
        assert_eq!(patient(call).await, items);
    }
    assert_works(&connection).await;
}

/// From the moment that an interaction leaves until all of `count` calls behind it are answered.
async fn passing(connection: &Connection, count: usize) -> Duration {
    let inside = occupied(connection).await;
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let connection = connection.clone();
        calls.spawn(async move { connection.run_query("select 1", ()).await.unwrap().len() });
    }
    // Spawned before it, they are polled before it.
    tokio::spawn(async {}).await.unwrap();
    let began = Instant::now();
    inside.leave().await;
    let answered = patient(calls.join_all()).await;
    assert_eq!(answered.into_iter().sum::<usize>(), count);
    began.elapsed()
}

/// Eight times as many calls in the queue take some eight times as long, and not sixty-four.
#[tokio::test]
async fn a_long_queue_takes_no_quadratic_time() {
    let (_database, connection) = connected().await;
    passing(&connection, 500).await;
    let few = passing(&connection, 2_000).await.min(passing(&connection, 2_000).await);
    let many = passing(&connection, 16_000).await;
    assert!(many < few * 24, "{many:?} for 16,000 calls, and {few:?} for 2,000");
    assert_works(&connection).await;
}
