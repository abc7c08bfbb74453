//! Calls while a connection is dead: refused at once, or made to wait.

use std::time::{Duration, Instant};

use txpostgres::{Connection, Delivery, ErrorKind};
use txpostgres_testkit::{Cluster, Database, StopMode};

use crate::support::{LATE, bounded, eventually};
use crate::{open, reconnecting};

/// A server that is down, and a connection to it that is dead.
async fn down(builder: txpostgres::ConnectionBuilder) -> (Cluster, Database, Connection) {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    let connection = open(builder, database.dsn()).await;
    cluster.stop(StopMode::Immediate).unwrap();
    eventually("it is dead", || connection.detector().unwrap().connection_is_dead()).await;
    (cluster, database, connection)
}

#[tokio::test]
async fn calls_fail_at_once_by_default() {
    let (_cluster, _database, connection) = down(reconnecting()).await;
    let began = Instant::now();
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionDead, Delivery::NotSent));
    let interaction = connection.run_interaction(async |_| Ok::<(), txpostgres::Error>(()));
    assert_eq!(bounded(interaction).await.unwrap_err().kind(), ErrorKind::ConnectionDead);
    let listen = bounded(connection.listen("a")).await.unwrap_err();
    assert_eq!(listen.kind(), ErrorKind::ConnectionDead);
    assert!(began.elapsed() < LATE);
    let error = bounded(connection.connect("host=localhost")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyConnected, "it is being opened again");
}

/// Every kind of call waits, in its order of arrival, and none is lost.
#[tokio::test]
async fn calls_wait_for_the_server() {
    let patient = reconnecting().wait_for_recovery(Duration::from_secs(20));
    let (cluster, database, connection) = down(patient).await;
    let mut calls = tokio::task::JoinSet::new();
    let task = |number: i32| {
        let connection = connection.clone();
        async move {
            match number % 5 {
                0 => {
                    connection.run_operation("insert into t values ($1)", (number,)).await.map(drop)
                }
                1 => connection
                    .run_interaction(async |cursor| {
                        cursor.run_operation("insert into t values ($1)", (number,)).await
                    })
                    .await
                    .map(drop),
                2 => connection.listen(&format!("c{number}")).await,
                3 => {
                    let mut rows = connection.query_stream("select generate_series(1, 3)", ());
                    while let Some(row) = rows.next().await {
                        row?;
                    }
                    Ok(())
                }
                _ => {
                    let batch = connection.batch().add("insert into t values ($1)", (number,));
                    batch.send().await?.into_iter().try_for_each(|result| result.map(drop))
                }
            }
        }
    };
    for number in 0..100 {
        calls.spawn(task(number));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(calls.try_join_next().is_none(), "all of them wait");
    // A call that is dropped while it waits is never sent.
    let dropped = connection.run_operation("insert into t values (-1)", ());
    tokio::time::timeout(Duration::from_millis(20), dropped).await.unwrap_err();
    cluster.start_again().unwrap();
    while let Some(outcome) = bounded(calls.join_next()).await {
        let outcome = outcome.unwrap();
        if let Err(error) = outcome {
            assert_eq!(error.sqlstate().unwrap().as_str(), "42P01", "{error}");
        }
    }
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    assert_eq!(database.sql("select count(*) from t").unwrap(), "0");
}

#[tokio::test]
async fn a_call_that_has_waited_in_vain_is_told() {
    let patient = reconnecting().wait_for_recovery(Duration::from_millis(300));
    let (_cluster, _database, connection) = down(patient).await;
    let began = Instant::now();
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionDead, Delivery::NotSent));
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < LATE);
    // A time limit of the call counts as well.
    let limited = connection.run_query("select 1", ()).wait_for_recovery(Duration::from_secs(60));
    let error = bounded(limited.timeout(Duration::from_millis(200))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // A call of its own patience.
    let began = Instant::now();
    let impatient = connection.run_query("select 1", ()).wait_for_recovery(Duration::ZERO);
    bounded(impatient).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(200));
    let interaction = connection.interaction().wait_for_recovery(Duration::from_millis(100));
    let outcome = interaction.run(async |_| Ok::<(), txpostgres::Error>(()));
    assert_eq!(bounded(outcome).await.unwrap_err().kind(), ErrorKind::ConnectionDead);
}

#[tokio::test]
async fn a_call_that_waits_is_told_when_the_connection_is_given_up_or_closed() {
    use txpostgres::reconnection::{ConnectionState, DeadConnectionDetector};

    let few = || vec![Duration::from_millis(50); 3];
    let detector = DeadConnectionDetector::builder().reconnection_iterator(few).build();
    let builder = Connection::builder().detector(detector);
    let (cluster, database, connection) =
        down(builder.wait_for_recovery(Duration::from_secs(60))).await;
    let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    let detector = connection.detector().unwrap();
    assert!(matches!(detector.state(), ConnectionState::GivenUp { .. }), "{detector:?}");
    assert!(!bounded(detector.recovered()).await);
    // It may be opened by hand.
    cluster.start_again().unwrap();
    bounded(connection.connect(database.dsn())).await.unwrap();
    assert!(bounded(detector.recovered()).await);
    cluster.stop(StopMode::Immediate).unwrap();
    eventually("it is dead", || detector.connection_is_dead()).await;
    let waiting = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.run_query("select 1", ()).await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    connection.close().await;
    bounded(waiting).await.unwrap().unwrap_err();
}
