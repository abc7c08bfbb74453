//! How interactions end when things go wrong: COMMIT and ROLLBACK that are refused, lost or not what they seem.

use std::time::Duration;

use tokio::sync::oneshot;
use txpostgres::{
    Connection, Cursor, Delivery, Error, ErrorKind, IsolationLevel, SqlState, TransactionStatus,
};
use txpostgres_testkit::{Direction, Script, backend};

use crate::support::{
    assert_works, bounded, connected, connected_through_proxy, count, eventually, welcomed,
};

/// What `select` answers, run in one round trip, in this transaction status.
fn selected(status: u8) -> Vec<u8> {
    [
        backend::parse_complete(),
        backend::bind_complete(),
        backend::row_description(&[("n", 23)], 1),
        backend::data_row(&[Some(&[0, 0, 0, 1])]),
        backend::command_complete("SELECT 1"),
        backend::ready(status),
    ]
    .concat()
}

/// The same with the BEGIN that travels in front of it.
fn begun(status: u8) -> Vec<u8> {
    let begin =
        [backend::parse_complete(), backend::bind_complete(), backend::command_complete("BEGIN")];
    [begin.concat(), selected(status)].concat()
}

/// The answer to a script of one statement.
fn done(tag: &str, status: u8) -> Vec<u8> {
    [backend::command_complete(tag), backend::ready(status)].concat()
}

/// A welcome, and an interaction whose first statement was answered.
fn in_transaction() -> Script {
    Script::new().welcome().expect_messages(b"PBEPBDES").send(begun(b'T'))
}

async fn select(cursor: &Cursor) -> Result<(), Error> {
    cursor.run_query("select 1 as n", ()).await.map(drop)
}

fn no() -> Error {
    Error::new(ErrorKind::Request, "no")
}

#[tokio::test]
async fn begin_travels_with_the_first_statement() {
    // The server answers nothing before it has both; an interaction that asks nothing is not heard of.
    let server = in_transaction()
        .expect_message(b'Q')
        .send(done("COMMIT", b'I'))
        .expect_message(b'X')
        .expect_end()
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    bounded(connection.run_interaction(async |_| Ok::<_, Error>(()))).await.unwrap();
    bounded(connection.run_interaction(async |cursor| select(&cursor).await)).await.unwrap();
    bounded(connection.close()).await;
    let sent = server.finish().unwrap().concat();
    let sent = String::from_utf8_lossy(&sent);
    assert_eq!(sent.matches("BEGIN\0").count(), 1);
    assert!(sent.contains("Q\0\0\0\x0bCOMMIT\0"), "{sent:?}");
}

#[tokio::test]
async fn a_commit_answered_rollback_is_an_error() {
    let (_database, connection) = connected().await;
    connection.run_script("create table t (id int)").await.unwrap();
    let error = bounded(connection.run_interaction(async |cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        cursor.run_query("select nonsense", ()).await.unwrap_err();
        let error = select(&cursor).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(SqlState::IN_FAILED_SQL_TRANSACTION));
        Ok::<_, Error>(())
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitRefused);
    assert_eq!(
        error.to_string(),
        "nothing was committed: a statement of the transaction had failed, and COMMIT became ROLLBACK: \
         ERROR 42703: column \"nonsense\" does not exist"
    );
    assert_eq!(error.delivery(), Delivery::Answered);
    assert!(error.hint().unwrap().contains("nested interaction"));
    assert_works(&connection).await;
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
}

#[tokio::test]
async fn a_constraint_checked_at_commit() {
    let (_database, connection) = connected().await;
    connection
        .run_script("create table t (id int unique deferrable initially deferred)")
        .await
        .unwrap();
    let insert = "insert into t values (1), (1)";
    // Outside of an interaction success is not reported too early either.
    let error = bounded(connection.run_operation(insert, ())).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
    let error = bounded(connection.run_interaction(async |cursor| {
        assert_eq!(cursor.run_operation(insert, ()).await?, 2);
        Ok::<_, Error>(())
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(
        error.to_string(),
        "ERROR 23505: duplicate key value violates unique constraint \"t_id_key\""
    );
    assert_eq!(error.delivery(), Delivery::Answered);
    assert!(!error.is_retryable());
    assert_works(&connection).await;
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
}

#[tokio::test]
async fn a_serialization_failure_may_be_tried_again() {
    let (database, one) = connected().await;
    let other = bounded(Connection::open(database.dsn())).await.unwrap();
    one.run_script("create table t (id int, n int); insert into t values (1, 0)").await.unwrap();
    let add = async |connection: &Connection| {
        connection
            .interaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .run(async |cursor| {
                cursor.run_query("select n from t", ()).await?;
                // Somebody else is faster.
                if count(&other, "select n::int8 from t").await == 0 {
                    other.run_operation("update t set n = n + 1", ()).await?;
                }
                cursor.run_operation("update t set n = n + 1", ()).await
            })
            .await
    };
    let error = bounded(add(&one)).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!(
        error.to_string(),
        "ERROR 40001: could not serialize access due to concurrent update"
    );
    assert!(error.is_retryable());
    assert_works(&one).await;
    bounded(add(&one)).await.unwrap();
    assert_eq!(count(&one, "select n::int8 from t").await, 2);
}

const OVER: &str = "the interaction's transaction is over: \
    it could not begin, or one of its statements ended it";

#[tokio::test]
async fn a_commit_within_ends_the_interaction() {
    for (end, kept) in [("commit", 1), ("rollback", 0)] {
        let (_database, connection) = connected().await;
        connection.run_script("create table t (id int)").await.unwrap();
        let error = bounded(connection.run_interaction(async |cursor| {
            cursor.run_operation("insert into t values (1)", ()).await?;
            cursor.run_operation(end, ()).await?;
            // It would be committed by itself.
            let refused = cursor.run_operation("insert into t values (2)", ()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InteractionEnded);
            assert_eq!(refused.to_string(), OVER);
            assert_eq!(refused.delivery(), Delivery::NotSent);
            Ok::<_, Error>(())
        }))
        .await
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InteractionEnded);
        let committed = match kept {
            0 => "",
            _ => " (a part of what was asked for had been committed before)",
        };
        assert_eq!(error.to_string(), format!("{OVER}{committed}"));
        assert_eq!(error.has_committed(), kept > 0);
        assert_eq!(error.hint(), Some("leave BEGIN, COMMIT and ROLLBACK to run_interaction"));
        assert_works(&connection).await;
        assert_eq!(count(&connection, "select count(*) from t").await, kept);
    }
}

/// Where `isolation serializable` leads on a standby: BEGIN is refused, and with it what was sent along.
fn begin_refused() -> Vec<u8> {
    let error = backend::error("0A000", "cannot use serializable mode in a hot standby");
    [backend::parse_complete(), backend::bind_complete(), error, backend::ready(b'I')].concat()
}

#[tokio::test]
async fn a_begin_that_fails_lets_nothing_run() {
    let server = Script::new()
        .welcome()
        .expect_messages(b"PBEPBDES")
        .send(begin_refused())
        .expect_message(b'X')
        .expect_end()
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let error = bounded(connection.run_interaction(async |cursor| {
        let error = select(&cursor).await.unwrap_err();
        assert_eq!(error.to_string(), "ERROR 0A000: cannot use serializable mode in a hot standby");
        select(&cursor).await
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
    assert_eq!(error.to_string(), OVER);
    bounded(connection.close()).await;
    server.finish().unwrap();
}

#[tokio::test]
async fn a_begin_that_fails_lets_nothing_run_that_was_called_along_with_it() {
    let server = Script::new()
        .welcome()
        .expect_messages(b"PBEPBDES")
        .send(begin_refused())
        .expect_message(b'X')
        .expect_end()
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let error = bounded(connection.run_interaction(async |cursor| {
        let (first, second, script) =
            tokio::join!(select(&cursor), select(&cursor), cursor.run_script("select 1"));
        let nested = cursor.run_interaction(async |nested| select(&nested).await).await;
        assert_eq!(first.unwrap_err().sqlstate(), Some(SqlState::FEATURE_NOT_SUPPORTED));
        assert_eq!(nested.unwrap_err().kind(), ErrorKind::InteractionEnded);
        assert_eq!(script.unwrap_err().kind(), ErrorKind::InteractionEnded);
        second
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
    bounded(connection.close()).await;
    server.finish().unwrap();
}

#[tokio::test]
async fn a_begin_that_fails_lets_nothing_run_when_its_statement_was_dropped() {
    let server = Script::new()
        .welcome()
        .expect_messages(b"PBEPBDES")
        .silence(Duration::from_millis(30))
        .send(begin_refused())
        .expect_message(b'X')
        .expect_end()
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let error = bounded(connection.run_interaction(async |cursor| {
        tokio::select! {
            biased;
            _ = select(&cursor) => unreachable!("not answered yet"),
            () = tokio::task::yield_now() => {}
        }
        select(&cursor).await
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionEnded, "{error}");
    bounded(connection.close()).await;
    server.finish().unwrap();
}

const UNKNOWN: &str =
    "the connection broke after COMMIT was sent: whether it took place is unknown: ";

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_unknown() {
    let (database, proxy, connection) = connected_through_proxy().await;
    connection.run_script("create table t (id int)").await.unwrap();
    let (go, going) = oneshot::channel();
    let (inside, is_inside) = oneshot::channel();
    let shared = connection.clone();
    let task = tokio::spawn(async move {
        shared
            .run_interaction(async |cursor| {
                cursor.run_operation("insert into t values (1)", ()).await?;
                inside.send(()).ok();
                going.await.ok();
                Ok::<_, Error>(())
            })
            .await
    });
    bounded(is_inside).await.unwrap();
    proxy.stall(Direction::ToClient);
    go.send(()).unwrap();
    let committed = || database.sql("select count(*) from t").unwrap() == "1";
    eventually("the server has committed", committed).await;
    proxy.cut();
    let error = bounded(task).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown);
    assert!(error.to_string().starts_with(UNKNOWN), "{error}");
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert!(!error.is_retryable());
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Lost);
    assert!(connection.is_closed());
    bounded(connection.connect(database.dsn())).await.unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn whatever_ends_the_session_before_the_commit_is_answered() {
    for (end, text) in [
        (Vec::new(), "the server closed the connection"),
        (backend::command_complete("COMMIT"), "the server closed the connection"),
        (
            backend::fatal("57P01", "closing time"),
            "the server ended the session (the server said: FATAL 57P01: closing time)",
        ),
        (backend::data_row(&[]), "the server sent a row that was not requested"),
    ] {
        let server = in_transaction().expect_message(b'Q').send(end).play().unwrap();
        let connection = welcomed(&server).await;
        let outcome = connection.run_interaction(async |cursor| select(&cursor).await);
        let error = bounded(outcome).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
        assert_eq!(error.to_string(), format!("{UNKNOWN}{text}"));
        assert!(connection.is_closed());
    }
}

const DEAD: &str =
    "the connection is dead: a transaction could not be rolled back: ERROR XX000: not now";

#[tokio::test]
async fn a_rollback_that_fails_says_both() {
    let refused = [backend::error("XX000", "not now"), backend::ready(b'T')].concat();
    let server = in_transaction().expect_message(b'Q').send(refused).expect_end().play().unwrap();
    let connection = welcomed(&server).await;
    let error = bounded(connection.run_interaction(async |cursor| {
        select(&cursor).await?;
        Err::<(), _>(no())
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RollbackFailed);
    assert_eq!(
        error.to_string(),
        "the transaction could not be rolled back; the connection is not used again: no: ERROR XX000: not now"
    );
    let original = error.original().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(original.to_string(), "no");
    let rollback = std::error::Error::source(&error).unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(rollback.to_string(), "ERROR XX000: not now");
    assert!(connection.is_closed());
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    assert_eq!(error.to_string(), DEAD);
    // The session is not left with its transaction open.
    server.finish().unwrap();
}

#[tokio::test]
async fn a_rollback_of_a_dropped_interaction_that_fails_closes() {
    let refused = [backend::error("XX000", "not now"), backend::ready(b'T')].concat();
    let server = in_transaction().expect_message(b'Q').send(refused).expect_end().play().unwrap();
    let connection = welcomed(&server).await;
    let shared = connection.clone();
    let (inside, is_inside) = oneshot::channel();
    let task = tokio::spawn(async move {
        shared
            .run_interaction(async |cursor| {
                select(&cursor).await?;
                inside.send(()).ok();
                std::future::pending::<Result<(), Error>>().await
            })
            .await
    });
    bounded(is_inside).await.unwrap();
    // It waits for the interaction, and then for nothing more.
    let waiting = connection.run_query("select 1", ());
    task.abort();
    let error = bounded(waiting).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    assert_eq!(error.to_string(), DEAD);
    assert!(connection.is_closed());
    server.finish().unwrap();
}

#[tokio::test]
async fn a_rollback_that_is_lost_says_both() {
    let server = in_transaction().expect_message(b'Q').play().unwrap();
    let connection = welcomed(&server).await;
    let error = bounded(connection.run_interaction(async |cursor| {
        select(&cursor).await?;
        Err::<(), _>(no())
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RollbackFailed);
    assert_eq!(error.original().unwrap().to_string(), "no");
    assert!(error.to_string().ends_with(": no: the server closed the connection"), "{error}");
}

#[tokio::test]
async fn a_commit_refused_while_the_transaction_stays_open_is_rolled_back() {
    // No server of PostgreSQL's own does so; a pooler may.
    let refused = [backend::error("XX000", "not now"), backend::ready(b'T')].concat();
    let server = in_transaction()
        .expect_message(b'Q')
        .send(refused)
        .expect_message(b'Q')
        .send(done("ROLLBACK", b'I'))
        .expect_message(b'X')
        .expect_end()
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let outcome = connection.run_interaction(async |cursor| select(&cursor).await);
    let error = bounded(outcome).await.unwrap_err();
    assert_eq!(error.to_string(), "ERROR XX000: not now");
    eventually("the rollback is answered", || {
        connection.transaction_status() == Some(TransactionStatus::Idle)
    })
    .await;
    bounded(connection.close()).await;
    server.finish().unwrap();
}
