//! `max_answer_bytes`: what is larger ends in an error, and the connection remains.

use txpostgres::{Connection, Delivery, Error, ErrorKind, Params};
use txpostgres_testkit::{Database, shared};

use crate::support::{assert_works, bounded, count};

const LIMIT: usize = 100_000;
const ROWS: &str = "select n, repeat('x', 100) from generate_series(1, $1::int4) n";

async fn limited() -> (Database, Connection) {
    limited_to(LIMIT).await
}

async fn limited_to(limit: usize) -> (Database, Connection) {
    let database = shared().database().unwrap();
    let dsn = format!("{} max_answer_bytes={limit}", database.dsn());
    let connection = bounded(Connection::open(dsn)).await.unwrap();
    (database, connection)
}

/// How many rows a stream gives.
async fn streamed(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, Error> {
    let mut rows = connection.query_stream(sql, params);
    let mut count = 0;
    while let Some(row) = bounded(rows.next()).await {
        row?;
        count += 1;
    }
    Ok(count)
}

#[track_caller]
fn refused<T>(outcome: Result<T, Error>) {
    refused_over(outcome, LIMIT);
}

#[track_caller]
fn refused_over<T>(outcome: Result<T, Error>, limit: usize) {
    let Err(error) = outcome else { panic!("an answer over its limit") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Request, Delivery::CarriedOut));
    assert!(error.to_string().contains(&format!("{limit} bytes of max_answer_bytes")), "{error}");
    assert!(error.hint().unwrap().contains("stream"), "{error}");
}

#[tokio::test]
async fn an_answer_over_its_limit_is_an_error() {
    let (_database, connection) = limited().await;
    // Not known, and known.
    for _ in 0..2 {
        assert_eq!(bounded(connection.run_query(ROWS, (500_i32,))).await.unwrap().len(), 500);
        for rows in [2_000_i32, 200_000] {
            refused(bounded(connection.run_query(ROWS, (rows,))).await);
            refused(bounded(connection.run_query_as::<(i32, String), _>(ROWS, (rows,))).await);
            refused(bounded(connection.run_query(ROWS, (rows,)).one()).await);
            refused(bounded(connection.run_operation(ROWS, (rows,))).await);
            let both = async || {
                tokio::join!(
                    connection.run_query(ROWS, (rows,)),
                    connection.run_query("select 1", ()),
                )
            };
            let (large, behind) = bounded(both()).await;
            refused(large);
            assert_eq!(behind.unwrap().len(), 1);
        }
        refused(bounded(connection.run_query("select repeat('x', 50000000)", ())).await);
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn what_is_read_as_it_comes_has_no_limit() {
    let (_database, connection) = limited().await;
    assert_eq!(streamed(&connection, ROWS, (20_000_i32,)).await.unwrap(), 20_000);
    let large = "select repeat('x', n) from (values (1), (50000000), (1)) v (n)";
    refused(streamed(&connection, large, ()).await);
    assert_works(&connection).await;
}

#[tokio::test]
async fn in_an_interaction_nothing_else_is_lost() {
    let (_database, connection) = limited().await;
    connection.run_operation("create table t (n int, x text)", ()).await.unwrap();
    let done = connection.run_interaction(async |cursor| {
        let sql =
            "insert into t select n, repeat('x', 100) from generate_series(1, 5000) n returning *";
        refused(cursor.execute(sql, ()).await);
        cursor.execute("insert into t values (0, '')", ()).await?;
        Ok::<_, Error>(())
    });
    bounded(done).await.unwrap();
    assert_eq!(count(&connection, "select count(*) from t").await, 5_001);
}

/// What a script does to the transaction is known although its answer is refused.
#[tokio::test]
async fn a_refused_script_that_ends_the_transaction_ends_the_interaction() {
    // So small that all of it comes in one read, and is refused at its end.
    let (_database, connection) = limited_to(1_000).await;
    connection.run_operation("create table w (n int)", ()).await.unwrap();
    let large = "select repeat('x', 2000)";
    for (script, kept) in [("rollback; begin", 0), ("commit; begin", 1)] {
        let script = format!("{script}; {large}");
        let done = connection.run_interaction(async |cursor| {
            cursor.run_operation("insert into w values (1)", ()).await?;
            refused_over(cursor.run_script(&script).await, 1_000);
            cursor.run_operation("insert into w values (2)", ()).await
        });
        let error = bounded(done).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InteractionEnded, "{script}: {error}");
        assert_eq!(count(&connection, "select count(*) from w").await, kept, "{script}");
    }
    let script = format!("begin; insert into w values (3); commit; {large}");
    let error = bounded(connection.run_script(&script)).await.unwrap_err();
    assert!(error.has_committed(), "{error}");
    assert_works(&connection).await;
}

/// Small rows are not held against the limit in a stream, however they were cut on their way.
#[tokio::test]
async fn small_rows_of_a_stream_pass_whatever_the_limit() {
    let (_database, connection) = limited_to(1_000).await;
    for (rows, size) in [(1, 5_000), (1, 20_000), (100, 5_000), (3, 60_000)] {
        let sql = "select repeat('x', $1::int4) from generate_series(1, $2::int4)";
        for _ in 0..5 {
            let seen = streamed(&connection, sql, (size, rows)).await.unwrap();
            assert_eq!(i32::try_from(seen).unwrap(), rows);
        }
    }
    refused_over(streamed(&connection, "select repeat('x', 70000)", ()).await, 1000);
    assert_works(&connection).await;
}
