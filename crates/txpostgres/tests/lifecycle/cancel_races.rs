//! Cancels that race the end of their statement, with another statement following at once: no innocent one is hit, and the
//! connections are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use txpostgres::{Connection, ErrorKind, Rows};
use txpostgres_testkit::{Pooler, Pooling, shared};

use crate::support::dice::{Dice, Seed};
use crate::support::patience::{Progress, runtime, without_hanging};
use crate::support::polls::GiveUp;

const TASKS: u64 = 8;

/// What became of the rounds.
#[derive(Default)]
struct Tally {
    cancelled: AtomicU64,
    faster: AtomicU64,
    not_sent: AtomicU64,
    lost: AtomicU64,
}

fn said(rows: &Rows) -> &str {
    rows.first().unwrap().get(0).unwrap()
}

/// One task, with a connection of its own that another one shares for its innocent statements.
async fn race(dsn: &str, mut dice: Dice, rounds: u64, tally: &Tally) {
    let mut connection = Connection::open(dsn).await.unwrap();
    for _ in 0..rounds {
        let (victim, next, other) = (dice.token(), dice.token(), dice.token());
        // A cancel takes some milliseconds to arrive: it meets statements that run, that end, and that have ended.
        let sleep = u32::try_from(dice.below(10_000)).unwrap();
        let seconds = f64::from(sleep) / 1e6;
        let mut call = connection.run_query("select $1::text, pg_sleep($2)", (&victim, seconds));
        let handle = call.cancel_handle();
        let pause = Duration::from_micros(dice.below(3_000));
        let give_up = GiveUp { after: 1, woken: false };
        let early = give_up.poll(&mut call).await;
        let canceller = {
            let connection = connection.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                while began.elapsed() < pause {
                    yield_now().await;
                }
                // It goes on by itself.
                drop(connection.cancel(&handle));
            })
        };
        // Somebody else's, at any time.
        let innocent = {
            let connection = connection.clone();
            async move {
                connection
                    .run_query("select $1::text", (&other,))
                    .await
                    .map(|rows| said(&rows) == other)
            }
        };
        let call = async {
            match early {
                Some(outcome) => outcome,
                None => call.await,
            }
        };
        let (outcome, innocent) = tokio::join!(call, innocent);
        let mut lost = false;
        match outcome {
            Ok(rows) => {
                assert_eq!(said(&rows), victim);
                tally.faster.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                let count = match error.server() {
                    Some(_) => &tally.cancelled,
                    None => &tally.not_sent,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Lost, "{error:?}");
                lost = true;
            }
        }
        // At once, while the cancel may be on its way.
        let following = connection.run_query("select $1::text", (&next,)).await;
        for outcome in [innocent, following.map(|rows| said(&rows) == next)] {
            match outcome {
                Ok(right) => assert!(right, "somebody else's answer"),
                Err(error) => {
                    assert!(
                        matches!(error.kind(), ErrorKind::Lost | ErrorKind::ConnectionDead),
                        "{error:?}"
                    );
                    lost = true;
                }
            }
        }
        canceller.await.unwrap();
        if lost {
            tally.lost.fetch_add(1, Ordering::Relaxed);
            connection = Connection::open(dsn).await.unwrap();
        }
    }
}

async fn races(dsn: Arc<str>, seed: u64, rounds: u64, progress: &Progress) {
    let began = Instant::now();
    let tally = Arc::new(Tally::default());
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let (dsn, tally) = (Arc::clone(&dsn), Arc::clone(&tally));
            tokio::spawn(async move {
                race(&dsn, Dice::new(seed, number), rounds / TASKS, &tally).await;
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        progress.now(format_args!("task {number} of seed {seed}"));
        task.await.unwrap();
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (cancelled, faster) = (count(&tally.cancelled), count(&tally.faster));
    let (not_sent, lost) = (count(&tally.not_sent), count(&tally.lost));
    eprintln!(
        "{rounds} rounds in {:?}: {cancelled} cancelled on the server, {not_sent} not sent, {faster} were faster, {lost} connections lost",
        began.elapsed()
    );
    assert!(lost * 1_000 <= rounds, "more than 0.1 % of the connections were lost");
    assert!(cancelled > rounds / 100 && faster > rounds / 100, "there was no race");
}

fn storm(dsn: String, rounds: u64) {
    let Seed(seed) = Seed::of_this_run();
    let dsn = Arc::from(dsn);
    without_hanging(Duration::from_secs(900), move |progress| {
        runtime(2).block_on(races(dsn, seed, rounds, progress));
    });
}

fn through_pgbouncer(rounds: u64) {
    let Some(pgbouncer) = Pooler::start(Pooling::PgBouncerSession, shared()).unwrap() else {
        eprintln!("SKIPPED: there is no pgbouncer here; install it to run this test");
        return;
    };
    let database = shared().database().unwrap();
    storm(pgbouncer.dsn(&database), rounds);
}

#[test]
fn no_innocent_statement_is_cancelled() {
    let database = shared().database().unwrap();
    storm(database.dsn(), 2_000);
}

#[test]
fn no_innocent_statement_is_cancelled_behind_pgbouncer() {
    through_pgbouncer(2_000);
}

#[test]
#[ignore = "takes minutes: run it after changes to cancelling"]
fn no_innocent_statement_is_cancelled_in_100_000_rounds() {
    let database = shared().database().unwrap();
    storm(database.dsn(), 100_000);
}

#[test]
#[ignore = "takes minutes: run it after changes to cancelling"]
fn no_innocent_statement_is_cancelled_behind_pgbouncer_in_100_000_rounds() {
    through_pgbouncer(100_000);
}
