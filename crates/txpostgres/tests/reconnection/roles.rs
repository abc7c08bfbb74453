//! A server that loses the role that was asked for.

use std::time::Duration;

use txpostgres::reconnection::ConnectionState;
use txpostgres::{ErrorKind, SqlState};
use txpostgres_testkit::Cluster;

use crate::support::{bounded, eventually};
use crate::{open, reconnecting};

/// The server reports that it is read only: the connection leaves it, and comes back when it may.
#[tokio::test]
async fn a_server_that_becomes_read_only_is_left_at_once() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    let dsn = format!("{} target_session_attrs=read-write", database.dsn());
    let connection = open(reconnecting(), &dsn).await;
    let detector = connection.detector().unwrap();
    cluster.set("default_transaction_read_only", "on").unwrap();
    cluster.reload().unwrap();
    // The report comes with the next answer: an idle backend says nothing (manual, section 54.2.7).
    let _ = bounded(connection.run_query("select 1", ())).await;
    eventually("it leaves", || detector.connection_is_dead()).await;
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    assert!(error.to_string().contains("read only"), "{error}");
    cluster.set("default_transaction_read_only", "off").unwrap();
    cluster.reload().unwrap();
    assert!(bounded(detector.recovered()).await);
    bounded(connection.run_operation("create table t ()", ())).await.unwrap();
}

/// A write that is refused says it as well, unless the transaction was to be read-only.
#[tokio::test]
async fn a_write_that_is_refused_is_the_end_unless_it_was_asked_for() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    let dsn = format!("{} target_session_attrs=read-write", database.dsn());
    let connection = open(reconnecting(), &dsn).await;
    let detector = connection.detector().unwrap();
    let write = "create table t ()";
    let read_only = connection
        .interaction()
        .read_only(true)
        .run(async |cursor| cursor.run_operation(write, ()).await);
    let error = bounded(read_only).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::READ_ONLY_SQL_TRANSACTION));
    let by_hand = format!("begin read only; {write}");
    bounded(connection.run_script(&by_hand)).await.unwrap_err();
    bounded(connection.run_script("rollback")).await.unwrap();
    assert_eq!(detector.state(), ConnectionState::Up { generation: 1 });

    // Not reported: what a server before version 14 would be.
    let refused = "do $$ begin raise sqlstate '25006'; end $$";
    let error = bounded(connection.run_script(refused)).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::READ_ONLY_SQL_TRANSACTION), "it is told itself");
    eventually("it leaves", || {
        matches!(detector.state(), ConnectionState::Up { generation } if generation > 1)
            || detector.connection_is_dead()
    })
    .await;
    assert!(bounded(detector.recovered()).await);
    // Without a demand there is none.
    let connection = open(reconnecting(), database.dsn()).await;
    bounded(connection.run_script(refused)).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(connection.detector().unwrap().state(), ConnectionState::Up { generation: 1 });
}
