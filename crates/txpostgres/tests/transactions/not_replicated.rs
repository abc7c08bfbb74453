//! Commits whose wait for a synchronous standby was given up: the server has committed, and the
//! caller is told that a failover may lose it. Nothing of it is tried again.

use txpostgres::{Connection, Delivery, Error, ErrorKind, SqlState};
use txpostgres_testkit::{Cluster, Script, StopMode, backend};

use crate::retried::Attempts;
use crate::support::{assert_works, bounded, eventually, welcomed};

/// The warning of a wait that was given up, as PostgreSQL has it in any language.
fn warning() -> Vec<u8> {
    backend::report_of(
        b'N',
        &[
            (b'S', "WARNUNG"),
            (b'V', "WARNING"),
            (b'C', "01000"),
            (b'M', "storniere Warten auf synchrone Replikation"),
            (b'R', "SyncRepWaitForLSN"),
        ],
    )
}

fn assert_of_replication(error: &Error) {
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::CommitUnknown, Delivery::Unknown));
    assert!(
        error.is_of_replication() && error.has_committed() && !error.is_retryable(),
        "{error:?}"
    );
    assert_eq!(error.sqlstate(), Some(SqlState::WARNING), "what the server said is there");
}

/// An interaction that is idempotent, and that the caller would try again for any reason.
async fn insert(connection: &Connection, attempts: &Attempts) -> Result<u64, Error> {
    let interaction = connection.interaction().retries(3).retry_on(|_| true).idempotent();
    let running = interaction.run(async |cursor| {
        attempts.next();
        cursor.run_operation("insert into t values (1)", ()).await
    });
    bounded(running).await
}

/// The statement that the script answers before COMMIT.
fn inserted() -> Script {
    let begun = [
        backend::parse_complete(),
        backend::bind_complete(),
        backend::command_complete("BEGIN"),
        backend::parse_complete(),
        backend::bind_complete(),
        backend::no_data(),
        backend::command_complete("INSERT 0 1"),
        backend::ready(b'T'),
    ];
    Script::new().welcome().expect_messages(b"PBEPBDES").send(begun.concat())
}

#[tokio::test]
async fn it_is_told_apart_from_a_commit_whose_answer_was_lost() {
    let committed = [warning(), backend::command_complete("COMMIT"), backend::ready(b'I')].concat();
    let selected = [
        backend::row_description(&[("x", 25)], 0),
        backend::data_row(&[Some(b"1")]),
        backend::command_complete("SELECT 1"),
        backend::ready(b'I'),
    ];
    let server = inserted()
        .expect_message(b'Q')
        .send(committed)
        .expect_message(b'Q')
        .send(selected.concat())
        .expect_message(b'X')
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let attempts = Attempts::default();
    let error = insert(&connection, &attempts).await.unwrap_err();
    assert_of_replication(&error);
    assert_eq!(attempts.count(), 1);
    bounded(connection.run_script("select 1")).await.unwrap();
    bounded(connection.close()).await;
    server.finish().unwrap();
}

/// Of an administrator's end of a session that waits: the warning, and then nothing.
#[tokio::test]
async fn a_session_that_ends_with_the_warning() {
    let server = inserted().expect_message(b'Q').send(warning()).close().play().unwrap();
    let connection = welcomed(&server).await;
    let attempts = Attempts::default();
    let error = insert(&connection, &attempts).await.unwrap_err();
    assert_of_replication(&error);
    assert_eq!(attempts.count(), 1);
    assert_eq!(
        bounded(connection.run_query("select 1", ())).await.unwrap_err().kind(),
        ErrorKind::ConnectionDead
    );
    server.finish().unwrap();
}

/// A server whose only standby has gone, so that each commit waits for ever.
#[tokio::test]
async fn a_real_standby_that_has_gone() {
    let primary = Cluster::builder().start().unwrap();
    let standby = Cluster::builder().standby_of(&primary).start().unwrap();
    let database = primary.database().unwrap();
    database.sql("create table t (n int)").unwrap();
    let connection = bounded(Connection::open(database.dsn())).await.unwrap();
    let pid = connection.backend_pid().unwrap();
    primary.set_synchronous(Some(&standby)).unwrap();
    // With the standby a commit comes through.
    let attempts = Attempts::default();
    insert(&connection, &attempts).await.unwrap();
    standby.stop(StopMode::Immediate).unwrap();
    let cancel = async || {
        let waits = format!(
            "select count(*) from pg_stat_activity where pid = {pid} and wait_event = 'SyncRep'"
        );
        eventually("it waits for its standby", || primary.sql(&waits).unwrap() == "1").await;
        primary.sql(&format!("select pg_cancel_backend({pid})")).unwrap();
    };
    let (outcome, ()) = tokio::join!(insert(&connection, &attempts), cancel());
    assert_of_replication(&outcome.unwrap_err());
    assert_eq!(attempts.count(), 2);
    // Statements that are transactions of their own: with parameters, a script, many, a COPY.
    let operation = bounded(connection.run_operation("insert into t values ($1)", (2,)));
    let (outcome, ()) = tokio::join!(operation, cancel());
    assert_of_replication(&outcome.unwrap_err());
    let script = bounded(connection.run_script("insert into t values (3)"));
    let (outcome, ()) = tokio::join!(script, cancel());
    assert_of_replication(&outcome.unwrap_err());
    let cursor = connection.cursor();
    let sets = [(4,), (4,)];
    let many = bounded(cursor.execute_many("insert into t values ($1)", sets));
    let (outcome, ()) = tokio::join!(many, cancel());
    assert_of_replication(&outcome.unwrap_err());
    let batch = connection.batch().add("insert into t values ($1)", (5,));
    let (outcome, ()) = tokio::join!(bounded(batch.send()), cancel());
    let outcome = outcome.and_then(|mut results| results.remove(0).map(drop));
    assert_of_replication(&outcome.unwrap_err());
    // What only reads waits for nothing, and the session is the one it was.
    assert_works(&connection).await;
    assert_eq!(connection.backend_pid(), Some(pid));
    let kept = "select string_agg(n::text, ' ' order by n) from t";
    assert_eq!(database.sql(kept).unwrap(), "1 1 2 3 4 4 5");
    // So that the database can be dropped.
    primary.set_synchronous(None).unwrap();
}
