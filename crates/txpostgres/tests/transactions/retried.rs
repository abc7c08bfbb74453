//! Interactions that are tried again: for which reasons, how often, after which delays.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use txpostgres::{Connection, Cursor, Delivery, Error, ErrorKind, IsolationLevel, SqlState};
use txpostgres_testkit::Database;

use crate::support::{LATE, assert_works, bounded, connected, count};

/// Counts the attempts of an interaction.
#[derive(Default)]
pub(crate) struct Attempts(AtomicU32);

impl Attempts {
    /// A further one begins: its number, the first being 1.
    pub(crate) fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A statement that fails with this code.
pub(crate) async fn raise(cursor: &Cursor, code: &str, text: &str) -> Result<(), Error> {
    let sql = format!("do $$ begin raise exception '{text}' using errcode = '{code}'; end $$");
    cursor.run_operation(&sql, ()).await.map(drop)
}

/// An error of the closure's own, which tells nothing of its cause.
#[derive(Debug)]
struct Own;

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("own")
    }
}

impl std::error::Error for Own {}

impl From<Error> for Own {
    fn from(_: Error) -> Self {
        Self
    }
}

async fn with_table(rows: &str) -> (Database, Connection, Connection) {
    let (database, connection) = connected().await;
    let sql = format!("create table t (id int primary key, n int default 0);{rows}");
    connection.run_script(&sql).await.unwrap();
    let other = bounded(Connection::open(database.dsn())).await.unwrap();
    (database, connection, other)
}

/// Write skew, which PostgreSQL finds when the second of the two commits: no statement of the
/// closure fails.
#[tokio::test]
async fn a_serialization_failure_at_commit() {
    let (_database, connection, other) = with_table("").await;
    let counted = "select count(*) from t";
    other.run_script("begin isolation level serializable; select count(*) from t").await.unwrap();
    other.run_operation("insert into t values (1)", ()).await.unwrap();
    let attempts = Attempts::default();
    let interaction = connection.interaction().isolation_level(IsolationLevel::Serializable);
    let found = bounded(interaction.retries(3).run(async |cursor| {
        let attempt = attempts.next();
        let found: i64 = cursor.run_query(counted, ()).one().await.unwrap().get(0)?;
        cursor.run_operation("insert into t values (2)", ()).await.unwrap();
        if attempt == 1 {
            other.run_script("commit").await.unwrap();
        }
        Ok::<_, Error>(found)
    }));
    // The second attempt sees what made the first one fail.
    assert_eq!((found.await.unwrap(), attempts.count()), (1, 2));
    assert_eq!(count(&connection, counted).await, 2);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_deadlock() {
    let (_database, one, other) = with_table("insert into t values (1), (2)").await;
    let both_have_one = Barrier::new(2);
    let attempts = Attempts::default();
    let transfer = async |connection: &Connection, first: i32, second: i32| {
        let own = Attempts::default();
        let interaction = connection.interaction().retries(20).run(async |cursor| {
            attempts.next();
            cursor.run_operation("set local deadlock_timeout = '10ms'", ()).await?;
            let update = "update t set n = n + 1 where id = $1";
            cursor.run_operation(update, (first,)).await?;
            if own.next() == 1 {
                both_have_one.wait().await;
            }
            cursor.run_operation(update, (second,)).await
        });
        bounded(interaction).await
    };
    let outcomes = tokio::join!(transfer(&one, 1, 2), transfer(&other, 2, 1));
    assert_eq!((outcomes.0.unwrap(), outcomes.1.unwrap()), (1, 1));
    // The victim's next attempt may take its first row before the other one has woken.
    assert!(attempts.count() >= 3, "one of them was the victim");
    assert_eq!(count(&one, "select sum(n) from t").await, 4);
}

/// Whatever the closure makes of the error: what the transaction knows decides.
#[tokio::test]
async fn an_error_that_was_swallowed_or_converted() {
    let (_database, connection, _) = with_table("").await;
    let attempts = Attempts::default();
    let swallowed = bounded(connection.interaction().retries(3).run(async |cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        if attempts.next() == 1 {
            raise(&cursor, "40001", "no").await.unwrap_err();
        }
        Ok::<_, Error>(())
    }));
    swallowed.await.unwrap();
    assert_eq!(attempts.count(), 2);
    let attempts = Attempts::default();
    let converted = bounded(connection.interaction().retries(3).run(async |cursor| {
        cursor.run_operation("insert into t values (2)", ()).await?;
        if attempts.next() == 1 {
            raise(&cursor, "40P01", "no").await?;
        }
        Ok::<_, Own>(())
    }));
    converted.await.unwrap();
    assert_eq!(attempts.count(), 2);
    assert_eq!(count(&connection, "select sum(id) from t").await, 3);
}

#[tokio::test]
async fn errors_that_do_not_pass_are_told_at_once() {
    let (_database, connection, _) = with_table("").await;
    let attempts = Attempts::default();
    let own = bounded(connection.interaction().retries(3).run(async |cursor| {
        attempts.next();
        cursor.run_operation("insert into t values (1)", ()).await?;
        Err::<(), _>(Own)
    }));
    assert_eq!((own.await.unwrap_err().to_string(), attempts.count()), ("own".to_owned(), 1));
    // One that says that it may be tried again, and is not that of the transaction.
    let attempts = Attempts::default();
    let elsewhere = bounded(connection.interaction().retries(3).run(async |cursor| {
        attempts.next();
        cursor.run_operation("insert into t values (1)", ()).await?;
        Err::<(), _>(Error::new(ErrorKind::Connect, "another server"))
    }));
    let error = elsewhere.await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(attempts.count(), 1);
    let attempts = Attempts::default();
    let division = bounded(connection.interaction().retries(3).run(async |cursor| {
        attempts.next();
        cursor.run_query("select 1/0", ()).await.map(drop)
    }));
    assert_eq!(division.await.unwrap_err().sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
    assert_eq!(attempts.count(), 1);
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
    assert_works(&connection).await;
}

#[tokio::test]
async fn the_last_error_is_told_when_there_is_no_further_attempt() {
    let (_database, connection, _) = with_table("").await;
    for retries in 0..4 {
        let attempts = Attempts::default();
        let interaction = connection.interaction().retries(retries);
        let failed = bounded(interaction.run(async |cursor| {
            raise(&cursor, "40001", &format!("attempt {}", attempts.next())).await
        }));
        let error = failed.await.unwrap_err();
        assert_eq!(error.to_string(), format!("ERROR 40001: attempt {}", retries + 1));
        assert_eq!(attempts.count(), retries + 1);
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn delays_come_before_each_attempt_but_the_first() {
    let (_database, connection, _) = with_table("").await;
    for (delays, expected) in [(vec![], 1), (vec![0, 30, 60], 4), (vec![20; 9], 6)] {
        let asked = Attempts::default();
        let longest = expected - 1;
        let least = delays.iter().take(longest).sum::<u64>();
        let delays = delays.into_iter().map(|delay| {
            asked.next();
            Duration::from_millis(delay)
        });
        let attempts = Attempts::default();
        let began = Instant::now();
        let interaction = connection.interaction().retries(5).backoff(delays);
        let failed = bounded(interaction.run(async |cursor| {
            attempts.next();
            raise(&cursor, "40001", "no").await
        }));
        failed.await.unwrap_err();
        assert_eq!(attempts.count() as usize, expected);
        assert_eq!(asked.count() as usize, longest, "no delay is fetched that is not used");
        let (least, took) = (Duration::from_millis(least), began.elapsed());
        assert!(took >= least && took < least + LATE, "{took:?}");
    }
}

/// A statement whose cached plan another session has made stale, as a later one of its transaction:
/// the second attempt prepares it anew. Converted and swallowed as well.
#[tokio::test]
async fn a_stale_plan() {
    let (_database, connection, other) = with_table("insert into t values (1)").await;
    for way in ["told", "swallowed"] {
        for _ in 0..2 {
            connection.run_query("select * from t", ()).await.unwrap();
        }
        other.run_script(&format!("alter table t add column {way} int")).await.unwrap();
        let attempts = Attempts::default();
        let columns = bounded(connection.interaction().retries(3).run(async |cursor| {
            attempts.next();
            cursor.run_query("select 1", ()).await?;
            match cursor.run_query("select * from t", ()).await {
                Ok(rows) => Ok(rows.columns().len()),
                Err(_) if way == "swallowed" => Ok(0),
                Err(_) => Err(Own),
            }
        }));
        let expected = if way == "told" { 3 } else { 4 };
        assert_eq!((columns.await.unwrap(), attempts.count()), (expected, 2), "{way}");
    }
}

/// A failure goes through savepoints to the whole; one that was dealt with does not.
#[tokio::test]
async fn nothing_is_tried_again_within_a_savepoint() {
    let (_database, connection, _) = with_table("").await;
    let (attempts, inner) = (Attempts::default(), Attempts::default());
    let through = bounded(connection.interaction().retries(3).run(async |cursor| {
        let attempt = attempts.next();
        cursor.run_operation("insert into t values (1)", ()).await?;
        let middle = cursor.run_interaction(async |middle| {
            let innermost = middle.run_interaction(async |innermost| {
                inner.next();
                innermost.run_operation("insert into t values (2)", ()).await?;
                if attempt == 1 {
                    raise(&innermost, "40001", "no").await?;
                }
                Ok::<_, Error>(())
            });
            innermost.await
        });
        middle.await.map_err(|_| Own)
    }));
    through.await.unwrap();
    assert_eq!((attempts.count(), inner.count()), (2, 2));
    let attempts = Attempts::default();
    let dealt_with = bounded(connection.interaction().retries(3).run(async |cursor| {
        attempts.next();
        let nested = cursor.run_interaction(async |nested| raise(&nested, "40001", "no").await);
        nested.await.unwrap_err();
        cursor.run_operation("insert into t values (3)", ()).await?;
        Err::<(), _>(Own)
    }));
    dealt_with.await.unwrap_err();
    assert_eq!(attempts.count(), 1);
    assert_eq!(count(&connection, "select sum(id) from t").await, 3);
    assert_works(&connection).await;
}

#[tokio::test]
async fn the_reasons_are_the_callers_choice() {
    let (_database, connection, _) = with_table("insert into t values (1)").await;
    // In the closure, and at COMMIT.
    let deferred = "create table d (n int unique deferrable initially deferred); \
                    insert into d values (1)";
    connection.run_script(deferred).await.unwrap();
    for table in ["t", "d"] {
        let (attempts, mut reasons) = (Attempts::default(), Vec::new());
        let retry_on = |error: &Error| {
            reasons.push(error.sqlstate());
            error.sqlstate() == Some(SqlState::UNIQUE_VIOLATION)
        };
        let interaction = connection.interaction().retries(5).retry_on(retry_on);
        let insert = format!("insert into {table} values ($1)");
        let inserted = bounded(interaction.run(async |cursor| {
            let id = i32::try_from(attempts.next()).unwrap();
            cursor.run_operation(&insert, (id,)).await
        }));
        inserted.await.unwrap();
        assert_eq!(attempts.count(), 2, "{table}");
        assert_eq!(reasons, [Some(SqlState::UNIQUE_VIOLATION)], "{table}");
    }
    let attempts = Attempts::default();
    let never = connection.interaction().retries(5).retry_on(|_| false);
    let failed = bounded(never.run(async |cursor| {
        attempts.next();
        raise(&cursor, "40001", "no").await
    }));
    failed.await.unwrap_err();
    assert_eq!(attempts.count(), 1);
}

/// A part of it stays, whatever the caller wishes.
#[tokio::test]
async fn what_was_committed_in_part_is_not_tried_again() {
    let (_database, connection, _) = with_table("").await;
    let fails = "begin; do $$ begin raise exception 'no' using errcode = '40001'; end $$";
    for (script, swallows) in [
        (format!("insert into t values (1); commit; {fails}"), false),
        (format!("insert into t values (2); commit; {fails}"), true),
        ("insert into t values (3); commit".to_owned(), true),
    ] {
        let attempts = Attempts::default();
        let interaction = connection.interaction().retries(3).retry_on(|_| true).idempotent();
        let failed = bounded(interaction.run(async |cursor| {
            attempts.next();
            cursor.run_query("select 1", ()).await?;
            match cursor.run_script(&script).await {
                Err(error) if !swallows => Err(error),
                _ => Ok(()),
            }
        }));
        let error = failed.await.unwrap_err();
        assert!(error.has_committed(), "{script}: {error:?}");
        assert_eq!(attempts.count(), 1, "{script}");
        assert_works(&connection).await;
    }
    assert_eq!(count(&connection, "select sum(id) from t").await, 6);
    // What is in flight behind such a script fails the transaction that it has begun.
    let attempts = Attempts::default();
    let interaction = connection.interaction().retries(3).retry_on(|_| true);
    let failed = bounded(interaction.run(async |cursor| {
        attempts.next();
        cursor.run_query("select 1", ()).await?;
        let script = cursor.run_script("insert into t values (4); commit; begin");
        let (committed, behind) = tokio::join!(script, raise(&cursor, "40001", "no"));
        committed.unwrap();
        behind
    }));
    assert_eq!(failed.await.unwrap_err().sqlstate(), Some(SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!(attempts.count(), 1);
    assert_eq!(count(&connection, "select sum(id) from t").await, 10);
}

/// A closure that ends its transaction is wrong, and the next time as well.
#[tokio::test]
async fn what_was_ended_by_hand_is_not_tried_again() {
    let (_database, connection, _) = with_table("").await;
    let attempts = Attempts::default();
    let interaction = connection.interaction().retries(3).retry_on(|_| true).idempotent();
    let failed = bounded(interaction.run(async |cursor| {
        attempts.next();
        cursor.run_query("select 1", ()).await?;
        cursor.run_script("rollback").await.map(drop)
    }));
    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::InteractionEnded);
    assert_eq!(attempts.count(), 1);
    assert_works(&connection).await;
}

/// A time limit and a cancel are for all attempts together, and end the delays as well.
#[tokio::test]
async fn a_cancel_and_a_time_limit_are_for_the_whole() {
    let (_database, connection, _) = with_table("").await;
    let hour = || std::iter::repeat(Duration::from_secs(3600));
    let attempts = Attempts::default();
    let mut interaction = connection.interaction();
    let handle = interaction.cancel_handle();
    let running = interaction.retries(9).backoff(hour()).run(async |cursor| {
        attempts.next();
        raise(&cursor, "40001", "no").await
    });
    let cancelled = async {
        while attempts.count() == 0 || connection.run_query("select 1", ()).await.is_err() {
            tokio::task::yield_now().await;
        }
        drop(handle.cancel());
    };
    let (outcome, ()) = bounded(async { tokio::join!(running, cancelled) }).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(attempts.count(), 1);

    let attempts = Attempts::default();
    let interaction = connection.interaction().timeout(Duration::from_millis(300));
    let began = Instant::now();
    let short = std::iter::repeat(Duration::from_millis(50));
    let outcome = bounded(interaction.retries(1000).backoff(short).run(async |cursor| {
        attempts.next();
        raise(&cursor, "40001", "no").await
    }));
    assert_eq!(outcome.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < LATE);
    assert!((2..=6).contains(&attempts.count()), "{}", attempts.count());

    // A statement that was cancelled by the limit is not tried again, whatever the caller wishes.
    let attempts = Attempts::default();
    let interaction = connection.interaction().timeout(Duration::from_millis(100));
    let outcome = bounded(interaction.retries(9).retry_on(|_| true).run(async |cursor| {
        attempts.next();
        cursor.run_query("select pg_sleep(60)", ()).await.map(drop)
    }));
    assert_eq!(outcome.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(attempts.count(), 1);

    // The error is that of the attempt, and not of one that is not made any more.
    let attempts = Attempts::default();
    let mut interaction = connection.interaction();
    let handle = interaction.cancel_handle();
    let outcome = bounded(interaction.retries(9).run(async |cursor| {
        attempts.next();
        let failed = raise(&cursor, "40001", "no").await;
        drop(handle.cancel());
        failed
    }));
    let error = outcome.await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::Answered));
    assert_eq!(attempts.count(), 1);
    assert_works(&connection).await;
}

/// The future is `Send`, and its closure may borrow; a panic and a drop are as ever.
#[tokio::test]
async fn it_runs_in_a_task_and_rolls_back_when_it_is_dropped() {
    let (_database, connection, _) = with_table("").await;
    let shared = connection.clone();
    let panicked = tokio::spawn(async move {
        let mut attempts = 0;
        shared
            .interaction()
            .retries(3)
            .run(|cursor| {
                attempts += 1;
                async move {
                    cursor.run_operation("insert into t values ($1)", (attempts,)).await?;
                    if attempts == 1 {
                        raise(&cursor, "40001", "no").await?;
                    }
                    assert_eq!(attempts, 1, "on purpose");
                    Ok::<_, Error>(())
                }
            })
            .await
    });
    assert!(bounded(panicked).await.unwrap_err().is_panic());
    let dropped = connection.interaction().retries(3).run(async |cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        std::future::pending::<Result<(), Error>>().await
    });
    tokio::time::timeout(Duration::from_millis(100), dropped).await.unwrap_err();
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
    assert_works(&connection).await;
}
