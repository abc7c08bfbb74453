//! The page on retrying.

use std::cell::Cell;
use std::time::Duration;

use txpostgres::retrying::{RetryingCall, simple_backoff_iterator};
use txpostgres::{Connection, Error, ErrorKind, IsolationLevel, SqlState};

use super::connected;
use super::support::bounded;

/// A serialization failure is retried with the whole interaction, at once and then after a delay,
/// and a failure of another kind is not.
#[tokio::test]
async fn an_interaction_is_retried_as_a_whole() {
    let (database, connection) = connected().await;
    let other = Connection::open(database.dsn()).await.unwrap();
    let attempts = Cell::new(0);
    let transfer = async || {
        attempts.set(attempts.get() + 1);
        let disturbed = attempts.get() <= 2;
        connection
            .interaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .run(async |cursor| {
                cursor.run_query("select sum from account where id = 1", ()).await?;
                if disturbed {
                    let sql = "update account set sum = sum + 1 where id = 1";
                    other.run_operation(sql, ()).await?;
                }
                cursor.run_operation("update account set sum = sum - 10 where id = 1", ()).await?;
                cursor.run_operation("update account set sum = sum + 10 where id = 2", ()).await
            })
            .await
    };
    let backoff = || simple_backoff_iterator().initial_delay(Duration::from_millis(1));
    let call = RetryingCall::new(&transfer).start(backoff(), Error::is_retryable);
    assert_eq!(bounded(call).await.unwrap(), 1);
    assert_eq!(attempts.get(), 3);
    let sql = "select sum from account order by id";
    let sums: Vec<(i64,)> = connection.run_query_as(sql, ()).await.unwrap();
    assert_eq!(sums, [(92,), (10,)]);

    // No delay is left: the failure itself.
    attempts.set(0);
    let call = RetryingCall::new(&transfer).start(backoff().max_retries(2), Error::is_retryable);
    let error = bounded(call).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!(attempts.get(), 2);
}

/// What cannot succeed is not tried again.
#[tokio::test]
async fn permanent_failures_end_the_retrying() {
    let (database, _connection) = connected().await;
    let attempts = Cell::new(0);
    let dsn = format!("{} user=nobody_of_this_name", database.dsn());
    let call = RetryingCall::new(|| {
        attempts.set(attempts.get() + 1);
        Connection::open(dsn.as_str())
    });
    let call = call.start(simple_backoff_iterator(), Error::is_retryable);
    let error = bounded(call).await.unwrap_err();
    assert_eq!((error.kind(), attempts.get()), (ErrorKind::Server, 1));
}
