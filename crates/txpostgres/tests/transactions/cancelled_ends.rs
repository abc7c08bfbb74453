//! Cancels that meet the end of a transaction: what ends it can be neither cancelled nor taken
//! back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;
use std::thread;

use tokio::sync::{Barrier, oneshot};
use txpostgres::{CancelHandle, Connection, Cursor, Error, ErrorKind};

use crate::support::polls::begin;
use crate::support::{assert_works, bounded, connected, count};

/// Rounds of what is a race.
const ROUNDS: usize = 1_500;

const LONG: &str = "select pg_sleep(60)";

/// What an interaction has on the server while it is given up.
#[derive(Debug, Clone, Copy)]
enum Running {
    /// Its first statement, with BEGIN in the same flight.
    First,
    Later,
    /// A statement behind a savepoint.
    Nested,
    /// A portion of a portal.
    Stream,
    /// One statement on the server, and one that waits behind it.
    Several,
}

const RUNNING: [Running; 5] =
    [Running::First, Running::Later, Running::Nested, Running::Stream, Running::Several];

impl Running {
    /// Says so in the poll in which the long statement is submitted.
    async fn run(self, cursor: Cursor, submitted: oneshot::Sender<()>) -> Result<(), Error> {
        if !matches!(self, Self::First) {
            cursor.run_query("select 1", ()).await?;
        }
        match self {
            Self::First | Self::Later => {
                submitted.send(()).unwrap();
                cursor.run_query(LONG, ()).await.map(drop)
            }
            Self::Nested => {
                cursor
                    .run_interaction(async move |nested| {
                        nested.run_query("select 2", ()).await?;
                        submitted.send(()).unwrap();
                        nested.run_query(LONG, ()).await.map(drop)
                    })
                    .await
            }
            Self::Stream => {
                submitted.send(()).unwrap();
                cursor.query_stream(LONG, ()).next_rows().await.map(drop)
            }
            Self::Several => {
                submitted.send(()).unwrap();
                let both =
                    tokio::join!(cursor.run_query(LONG, ()), cursor.run_query("select 2", ()));
                both.0.and(both.1).map(drop)
            }
        }
    }
}

/// An interaction in a task of its own, whose long statement is submitted; and its handle.
async fn started(
    connection: &Connection,
    running: Running,
) -> (tokio::task::JoinHandle<Result<(), Error>>, CancelHandle) {
    let (submitted, is_submitted) = oneshot::channel();
    let mut interaction = connection.interaction();
    let handle = interaction.cancel_handle();
    let task =
        tokio::spawn(interaction.run(async move |cursor| running.run(cursor, submitted).await));
    bounded(is_submitted).await.unwrap();
    (task, handle)
}

/// The task of an interaction is aborted, and the interaction cancelled by its handle then: the
/// statement ends, the ROLLBACK does its work, and the next call is answered. Every time.
#[tokio::test]
async fn a_handle_takes_back_no_rollback_of_an_aborted_interaction() {
    let (_database, connection) = connected().await;
    let pid = connection.backend_pid();
    for running in RUNNING {
        for round in 0..60 {
            let (task, handle) = started(&connection, running).await;
            task.abort();
            bounded(task).await.unwrap_err();
            let cancelled = bounded(handle.cancel()).await;
            let next = bounded(connection.run_query("select 1", ())).await;
            assert!(next.is_ok(), "{running:?}, round {round}: {next:?} after {cancelled:?}");
            assert_eq!(connection.backend_pid(), pid);
        }
        assert_works(&connection).await;
    }
}

/// The same at one time, from two tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handle_and_a_drop_at_one_time_leave_the_connection_usable() {
    let (database, _) = connected().await;
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let dsn = database.dsn();
            tokio::spawn(async move {
                let connection = Connection::open(dsn).await.unwrap();
                for round in 0..60 {
                    let running = RUNNING[(number + round) % RUNNING.len()];
                    let (task, handle) = started(&connection, running).await;
                    let together = Arc::new(Barrier::new(2));
                    let other = Arc::clone(&together);
                    let cancelling = tokio::spawn(async move {
                        other.wait().await;
                        handle.cancel().await
                    });
                    together.wait().await;
                    task.abort();
                    let outcome = bounded(task).await;
                    let cancelled = bounded(cancelling).await.unwrap();
                    let next = bounded(connection.run_query("select 1", ())).await;
                    assert!(
                        next.is_ok(),
                        "{running:?}, round {round}: {next:?} after {outcome:?} and {cancelled:?}"
                    );
                }
                assert_works(&connection).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// A cancel that comes before a statement, in the same poll: the statement is not sent, and so holds
/// up nothing when the interaction is dropped before it hears of the cancel.
#[tokio::test]
async fn nothing_is_sent_in_an_interaction_behind_its_cancel() {
    let (_database, connection) = connected().await;
    for begins in [false, true] {
        let is_cancelled = AtomicBool::new(false);
        let mut interaction = connection.interaction();
        let handle = interaction.cancel_handle();
        let mut running = Box::pin(interaction.run(async |cursor| {
            if begins {
                cursor.run_query("select 1", ()).await?;
            }
            drop(handle.cancel());
            is_cancelled.store(true, Ordering::Release);
            cursor.run_query(LONG, ()).await.map(drop)
        }));
        // Until the poll that cancels, and no further.
        poll_fn(|cx| {
            let polled = running.as_mut().poll(cx);
            if is_cancelled.load(Ordering::Acquire) { Poll::Ready(()) } else { polled.map(drop) }
        })
        .await;
        drop(running);
        bounded(connection.run_query("select 1", ())).await.unwrap();
    }
    assert_works(&connection).await;
}

/// Cancels, from a thread of its own, at the very moment that it is told to.
struct Canceller(Sender<(CancelHandle, Arc<AtomicBool>)>);

impl Canceller {
    fn start() -> Self {
        let (sender, receiver) = channel::<(CancelHandle, Arc<AtomicBool>)>();
        thread::spawn(move || {
            for (handle, go) in receiver {
                while !go.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                drop(handle.cancel());
            }
        });
        Self(sender)
    }
}

/// An interaction that gives up a running statement and fails, cancelled at that moment: it ends
/// with its own error or as cancelled, and never in a ROLLBACK that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rollback_fails_because_its_interaction_is_cancelled() {
    let (_database, connection) = connected().await;
    let canceller = Canceller::start();
    for round in 0..ROUNDS {
        let go = Arc::new(AtomicBool::new(false));
        let mut interaction = connection.interaction();
        canceller.0.send((interaction.cancel_handle(), Arc::clone(&go))).unwrap();
        let outcome = bounded(interaction.run(async |cursor| {
            cursor.run_query("select 1", ()).await?;
            let mut given_up = Box::pin(cursor.run_query("select pg_sleep(0.002)", ()));
            // Mostly pending; on a busy machine the answer may be there.
            drop(begin(given_up.as_mut()).await);
            drop(given_up);
            go.store(true, Ordering::Release);
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            Err::<(), _>(Error::new(ErrorKind::Decode, "as it pleases"))
        }))
        .await;
        let error = outcome.unwrap_err();
        assert!(
            [ErrorKind::Decode, ErrorKind::Cancelled].contains(&error.kind()),
            "round {round}: {error:?}"
        );
        let next = bounded(connection.run_query("select 1", ())).await;
        assert!(next.is_ok(), "round {round}: {next:?} after {error:?}");
    }
    assert_works(&connection).await;
}

/// The closure has returned `Ok`, and COMMIT waits behind a statement that was given up: a cancel
/// may spoil the transaction, but what is said is what was done.
#[tokio::test]
async fn a_commit_that_was_submitted_is_not_taken_back() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    for round in 0..100_i32 {
        let mut interaction = connection.interaction();
        let handle = interaction.cancel_handle();
        let (leaving, mut leaves) = oneshot::channel();
        let mut committing = pin!(interaction.run(async move |cursor| {
            cursor.run_operation("insert into t values ($1)", (round,)).await?;
            let mut given_up = Box::pin(cursor.run_query("select pg_sleep(0.02)", ()));
            assert!(begin(given_up.as_mut()).await.is_pending());
            leaving.send(()).unwrap();
            Ok::<_, Error>(())
        }));
        let outcome = tokio::select! {
            biased;
            outcome = committing.as_mut() => Some(outcome),
            _ = &mut leaves => None,
        };
        assert!(outcome.is_none(), "the COMMIT waits behind the statement");
        bounded(handle.cancel()).await.ok();
        let outcome = bounded(committing).await;
        let next = bounded(connection.run_query("select 1", ())).await;
        assert!(next.is_ok(), "round {round}: {next:?} after {outcome:?}");
        let kept = count(&connection, &format!("select count(*) from t where n = {round}")).await;
        match outcome {
            Ok(()) => assert_eq!(kept, 1),
            Err(error) => {
                assert!(
                    [ErrorKind::Cancelled, ErrorKind::CommitRefused].contains(&error.kind()),
                    "round {round}: {error:?}"
                );
                assert_eq!(kept, 0);
            }
        }
    }
    assert_works(&connection).await;
}
