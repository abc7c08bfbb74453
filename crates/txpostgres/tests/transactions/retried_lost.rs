//! Interactions whose connection is lost, or whose COMMIT is not answered: what is tried again, and
//! that nothing is committed twice that must not be.

use std::time::{Duration, Instant};

use txpostgres::reconnection::DeadConnectionDetector;
use txpostgres::{Connection, ConnectionBuilder, Cursor, Delivery, Error, ErrorKind};
use txpostgres_testkit::{Database, Direction, Proxy, Script, backend, shared};

use crate::retried::Attempts;
use crate::support::{assert_works, bounded, connected, eventually, through, welcomed};

/// A builder whose detector tries again every 20 ms, and whose calls wait for it.
fn patient() -> ConnectionBuilder {
    let delays =
        || std::iter::once(Duration::ZERO).chain(std::iter::repeat(Duration::from_millis(20)));
    let detector = DeadConnectionDetector::builder().reconnection_iterator(delays).build();
    Connection::builder().detector(detector).wait_for_recovery(Duration::from_secs(15))
}

async fn patiently(dsn: &str) -> Connection {
    let connection = patient().build();
    bounded(connection.connect(dsn)).await.unwrap();
    connection
}

fn with_table() -> Database {
    let database = shared().database().unwrap();
    database.sql("create table t (attempt int)").unwrap();
    database
}

fn kept(database: &Database) -> String {
    database.sql("select coalesce(string_agg(attempt::text, ' ' order by 1), '') from t").unwrap()
}

async fn insert(cursor: &Cursor, attempt: u32) -> Result<(), Error> {
    let attempt = i32::try_from(attempt).unwrap();
    cursor.run_operation("insert into t values ($1)", (attempt,)).await.map(drop)
}

/// Ends the session, whose end is yet to be noticed. Returns which it was.
fn kill(database: &Database, connection: &Connection) -> i32 {
    let pid = connection.backend_pid().unwrap();
    database.sql(&format!("select pg_terminate_backend({pid}, 5000)")).unwrap();
    pid
}

async fn kill_and_notice(database: &Database, connection: &Connection) {
    let pid = kill(database, connection);
    eventually("the end is noticed", || connection.backend_pid() != Some(pid)).await;
}

/// In a statement, between two of them, and after the last one: the server rolls back, the next
/// attempt waits for the connection, and one of them is committed.
#[tokio::test]
async fn a_connection_that_is_lost_in_the_closure() {
    for place in ["in a statement", "before one", "between", "swallowed", "at the end"] {
        let database = with_table();
        let connection = patiently(&database.dsn()).await;
        let attempts = Attempts::default();
        let interaction = connection.interaction().retries(2);
        let outcome = bounded(interaction.run(async |cursor| {
            let attempt = attempts.next();
            insert(&cursor, attempt).await?;
            match (attempt, place) {
                (1, "in a statement") => {
                    let own = "select pg_terminate_backend(pg_backend_pid()), pg_sleep(10)";
                    cursor.run_query(own, ()).await.map(drop)
                }
                (1, "before one") => {
                    kill(&database, &connection);
                    insert(&cursor, attempt).await
                }
                (1, "between") => {
                    kill_and_notice(&database, &connection).await;
                    insert(&cursor, attempt).await
                }
                (1, "swallowed") => {
                    kill(&database, &connection);
                    drop(insert(&cursor, attempt).await);
                    Ok(())
                }
                // Nothing fails in the closure.
                (1, _) => {
                    kill_and_notice(&database, &connection).await;
                    Ok(())
                }
                _ => Ok(()),
            }
        }));
        outcome.await.unwrap_or_else(|error| panic!("{place}: {error:?}"));
        assert_eq!(attempts.count(), 2, "{place}");
        assert_eq!(kept(&database), "2", "{place}");
        assert_works(&connection).await;
    }
}

/// Lost for good, or until after the next attempt.
#[tokio::test]
async fn a_connection_that_does_not_come_back_in_time() {
    let (database, connection) = connected().await;
    let attempts = Attempts::default();
    let began = Instant::now();
    let lost = bounded(connection.interaction().retries(5).run(async |cursor| {
        attempts.next();
        cursor.run_query("select 1", ()).await?;
        kill(&database, &connection);
        cursor.run_query("select 1", ()).await.map(drop)
    }));
    let error = lost.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead, "{error:?}");
    assert_eq!(attempts.count(), 1);
    assert!(began.elapsed() < Duration::from_secs(5));
    // The caller decides of that, too.
    let (database, connection) = connected().await;
    let interaction = connection.interaction().retries(5);
    let lost = bounded(interaction.retry_on(|_| false).run(async |cursor| {
        cursor.run_query("select 1", ()).await?;
        kill(&database, &connection);
        cursor.run_query("select 1", ()).await.map(drop)
    }));
    assert_eq!(lost.await.unwrap_err().kind(), ErrorKind::Lost);
    // Closed by the user: nothing is tried again.
    let (_database, connection) = connected().await;
    let (attempts, asked) = (Attempts::default(), Attempts::default());
    let interaction = connection.interaction().retries(5).retry_on(|_| asked.next() > 0);
    let closed = bounded(interaction.run(async |cursor| {
        attempts.next();
        cursor.run_query("select 1", ()).await?;
        connection.close().await;
        cursor.run_query("select 1", ()).await.map(drop)
    }));
    closed.await.unwrap_err();
    assert_eq!((attempts.count(), asked.count()), (1, 0));
}

/// A script of the closure has committed, and the connection is lost afterwards.
#[tokio::test]
async fn what_was_committed_before_the_loss_is_not_done_again() {
    let database = with_table();
    let connection = patiently(&database.dsn()).await;
    let attempts = Attempts::default();
    let interaction = connection.interaction().retries(3).retry_on(|_| true).idempotent();
    let lost = bounded(interaction.run(async |cursor| {
        insert(&cursor, attempts.next()).await?;
        cursor.run_script("commit; begin").await?;
        kill_and_notice(&database, &connection).await;
        cursor.run_query("select 1", ()).await.map(drop)
    }));
    lost.await.unwrap_err();
    assert_eq!((attempts.count(), kept(&database).as_str()), (1, "1"));
    // The next one is another transaction.
    let attempts = Attempts::default();
    let lost = bounded(connection.interaction().retries(3).run(async |cursor| {
        let attempt = attempts.next();
        insert(&cursor, 10 + attempt).await?;
        if attempt == 1 {
            kill_and_notice(&database, &connection).await;
        }
        cursor.run_query("select 1", ()).await.map(drop)
    }));
    lost.await.unwrap();
    assert_eq!(kept(&database), "1 12");
}

/// COMMIT is carried out, and its answer is lost.
async fn cut_off_commit(is_idempotent: bool) -> (Result<(), Error>, u32, Database) {
    let database = with_table();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let connection = patiently(&through(&proxy, &database)).await;
    let attempts = Attempts::default();
    let mut interaction = connection.interaction().retries(3).retry_on(|_| true);
    if is_idempotent {
        interaction = interaction.idempotent();
    }
    let running = interaction.run(async |cursor| {
        let attempt = attempts.next();
        insert(&cursor, attempt).await?;
        if attempt == 1 {
            proxy.stall(Direction::ToClient);
        }
        Ok(())
    });
    let cutting = async {
        eventually("it is committed", || kept(&database) == "1").await;
        proxy.reset();
        proxy.flow(Direction::ToClient);
    };
    let (outcome, ()) = bounded(async { tokio::join!(running, cutting) }).await;
    (outcome, attempts.count(), database)
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_tried_again() {
    let (outcome, attempts, database) = cut_off_commit(false).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error:?}");
    assert_eq!((attempts, kept(&database).as_str()), (1, "1"));
}

#[tokio::test]
async fn unless_it_is_idempotent() {
    let (outcome, attempts, database) = cut_off_commit(true).await;
    outcome.unwrap();
    assert_eq!((attempts, kept(&database).as_str()), (2, "1 2"));
}

/// The answer to BEGIN and a first statement, which fails with this code or selects a number.
fn begun(fails: Option<&str>) -> Vec<u8> {
    let begin =
        [backend::parse_complete(), backend::bind_complete(), backend::command_complete("BEGIN")];
    let statement = match fails {
        Some(code) => vec![backend::error(code, "no"), backend::ready(b'E')],
        None => vec![
            backend::parse_complete(),
            backend::bind_complete(),
            backend::row_description(&[("n", 23)], 1),
            backend::data_row(&[Some(&[0, 0, 0, 1])]),
            backend::command_complete("SELECT 1"),
            backend::ready(b'T'),
        ],
    };
    [begin.concat(), statement.concat()].concat()
}

/// An interaction that is tried again for any reason that its caller is asked about, with a server
/// that answers its end so.
async fn tried(fails: Option<&str>, end: &[Vec<u8>]) -> (Error, u32) {
    let server = Script::new()
        .welcome()
        .expect_messages(b"PBEPBDES")
        .send(begun(fails))
        .expect_message(b'Q')
        .send(end.concat())
        .silence(Duration::from_secs(60))
        .within(Duration::from_secs(61))
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let attempts = Attempts::default();
    let interaction = connection.interaction().retries(3).retry_on(|_| true).idempotent();
    let outcome = bounded(interaction.run(async |cursor| {
        attempts.next();
        cursor.run_query("select 1 as n", ()).await.map(drop)
    }));
    let error = outcome.await.unwrap_err();
    // A further attempt would have sent something.
    server.finish().unwrap();
    (error, attempts.count())
}

/// What was done by the transaction may be there still.
#[tokio::test]
async fn a_rollback_that_fails_is_not_followed_by_an_attempt() {
    let end = [backend::error("XX000", "no"), backend::ready(b'E')];
    let (error, attempts) = tried(Some("40001"), &end).await;
    assert_eq!((error.kind(), attempts), (ErrorKind::RollbackFailed, 1), "{error:?}");
}

/// What fails is the call, and not what it asked for.
#[tokio::test]
async fn a_commit_that_was_carried_out_is_not_followed_by_an_attempt() {
    let end = [
        backend::command_complete("COMMIT"),
        backend::parameter_status("client_encoding", "LATIN1"),
        backend::ready(b'I'),
    ];
    let (error, attempts) = tried(None, &end).await;
    assert_eq!((error.delivery(), attempts), (Delivery::CarriedOut, 1), "{error:?}");
}
