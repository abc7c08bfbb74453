//! A call that reports an error and was carried out says so, and one that was not does not: the
//! rows that are in the table afterwards are the proof.

use txpostgres::{Connection, Delivery, Error, ErrorKind, Result};

use crate::support::{assert_works, bounded, connected, count};

/// An error and what it says of its statement, beside what was done: rows in the table `t`, which
/// is emptied again.
async fn is_told<T>(
    connection: &Connection,
    what: &str,
    outcome: Result<T>,
    rows: i64,
    delivery: Delivery,
) -> Error {
    let Err(error) = outcome else { panic!("{what}: no error") };
    assert_eq!(count(connection, "select count(*) from t").await, rows, "{what}: {error:?}");
    assert_eq!(error.delivery(), delivery, "{what}: {error:?}");
    let text = error.to_string();
    assert_eq!(
        text.contains("was carried out"),
        delivery == Delivery::CarriedOut,
        "{what}: {text}"
    );
    let in_part = delivery != Delivery::CarriedOut && rows > 0;
    assert_eq!(text.contains("had been committed"), in_part, "{what}: {text}");
    assert_eq!(error.has_committed(), in_part, "{what}: {error:?}");
    assert!(!error.is_retryable(), "{what}: {error:?}");
    bounded(connection.run_operation("truncate t", ())).await.unwrap();
    assert_works(connection).await;
    error
}

#[tokio::test]
async fn what_was_carried_out_is_told() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let told = async |what: &str, outcome: Result<()>, rows| {
        is_told(&connection, what, outcome, rows, Delivery::CarriedOut).await
    };
    // A COPY that is none, or one in the other direction.
    for (sql, rows) in [
        ("insert into t values (1)", 1),
        ("insert into t values (1), (2) returning n", 2),
        ("insert into t values (1); select 1", 1),
        ("copy (insert into t values (1) returning n) to stdout; insert into t values (2)", 2),
    ] {
        told(sql, bounded(connection.copy_in(sql)).await.map(drop), rows).await;
        if !sql.starts_with("copy") {
            let error = told(sql, bounded(connection.copy_out(sql)).await.map(drop), rows).await;
            assert_eq!(error.kind(), ErrorKind::Request);
        }
    }
    // A COPY whose data the call does not take.
    let sql = "copy (insert into t values (1) returning n) to stdout";
    told("a COPY", bounded(connection.run_query(sql, ())).await.map(drop), 1).await;
    told("a COPY", bounded(connection.run_operation(sql, ())).await.map(drop), 1).await;
    told("a COPY", bounded(connection.run_query(sql, ()).one()).await.map(drop), 1).await;
    told("a COPY", bounded(connection.cursor().execute(sql, ())).await.map(drop), 1).await;
    let mut batch = connection.batch();
    batch.push(sql, ());
    let item = bounded(batch.send()).await.unwrap().remove(0);
    told("a COPY in a batch", item.map(drop), 1).await;
    let sql = "insert into t values (1); copy t to stdout; insert into t values (2)";
    told("a script", bounded(connection.run_script(sql)).await.map(drop), 2).await;
    // Another number of rows, and values that do not fit; new to the connection, and known.
    for _ in 0..2 {
        let sql = "insert into t select * from generate_series(1, $1::int4) returning n";
        told("one", bounded(connection.run_query(sql, (2,)).one()).await.map(drop), 2).await;
        told("one", bounded(connection.run_query(sql, (0,)).one()).await.map(drop), 0).await;
        let outcome = bounded(connection.run_query(sql, (3,)).optional()).await;
        told("optional", outcome.map(drop), 3).await;
        let typed = || connection.run_query_as::<(i32,), _>(sql, (2,));
        told("typed one", bounded(typed().one()).await.map(drop), 2).await;
        let typed = || connection.run_query_as::<(String,), _>(sql, (1,));
        told("typed", bounded(typed()).await.map(drop), 1).await;
        told("typed one", bounded(typed().one()).await.map(drop), 1).await;
        told("typed optional", bounded(typed().optional()).await.map(drop), 1).await;
        let typed = connection.run_query_as::<(i32, i32), _>(sql, (100_000,));
        told("typed, in parts", bounded(typed).await.map(drop), 100_000).await;
        // At the end of a stream it is known, and before it may be.
        let mut rows = connection.query_stream(sql, (0,)).rows_as::<(String,)>();
        told("a stream", bounded(rows.next()).await.unwrap().map(drop), 0).await;
        let mut rows = connection.query_stream(sql, (1,)).rows_as::<(String,)>();
        let error = bounded(rows.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, Delivery::Unknown));
        assert!(
            error.to_string().ends_with("(the statement may have been carried out)"),
            "{error}"
        );
        bounded(connection.run_operation("truncate t", ())).await.unwrap();
    }
    // Values that are not believed.
    let sql = "set local client_encoding = 'LATIN1'; insert into t values (1) returning chr(233)";
    told("encoding", bounded(connection.run_script(sql)).await.map(drop), 1).await;
}

#[tokio::test]
async fn what_was_not_carried_out_is_not() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let told = async |what: &str, outcome: Result<()>| {
        is_told(&connection, what, outcome, 0, Delivery::Answered).await
    };
    for sql in [
        "insert into t values (1); copy t from stdin",
        "insert into t values (1); select 1/0",
        "insert into t values (1) returning 1/(n - 1)",
        "select 1; insert into t values (1); copy t from stdin; copy t to stdout",
    ] {
        told(sql, bounded(connection.copy_in(sql)).await.map(drop)).await;
        told(sql, bounded(connection.copy_out(sql)).await.map(drop)).await;
        told(sql, bounded(connection.run_script(sql)).await.map(drop)).await;
    }
    for sql in ["copy t from stdin", "insert into t values (1) returning 1/(n - 1)"] {
        told(sql, bounded(connection.run_query(sql, ())).await.map(drop)).await;
        told(sql, bounded(connection.run_query(sql, ()).one()).await.map(drop)).await;
        told(sql, bounded(connection.run_operation(sql, ())).await.map(drop)).await;
    }
}

#[tokio::test]
async fn what_was_committed_before_the_failure_is_told() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let told = async |what: &str, outcome: Result<()>, rows| {
        is_told(&connection, what, outcome, rows, Delivery::Answered).await
    };
    for sql in [
        "begin; insert into t values (1); commit; copy t from stdin",
        "begin; insert into t values (1); commit; insert into t values (1/0)",
        "begin; insert into t values (1); commit; \
         do $$ begin raise exception 'no' using errcode = '40001'; end $$",
    ] {
        told(sql, bounded(connection.run_script(sql)).await.map(drop), 1).await;
    }
    // The second flight of two fails, and the first was a transaction of its own.
    let sql = "insert into t select 1 / (1000 - $1)";
    let outcome = bounded(connection.execute_many(sql, (0..1001).map(|n: i32| (n,)))).await;
    let error = told("many", outcome.map(drop), 1_000).await;
    assert_eq!(error.item(), Some(1_000));
    let outcome = bounded(connection.execute_many(sql, [(1_000,)])).await;
    told("many", outcome.map(drop), 0).await;
    let outcome = bounded(connection.run_interaction(async |cursor| {
        cursor.execute_many(sql, (0..1001).map(|n: i32| (n,))).await
    }));
    told("many in an interaction", outcome.await.map(drop), 0).await;
    // A statement of the interaction has committed.
    let outcome = bounded(connection.run_interaction(async |cursor| {
        cursor.run_operation("insert into t values (1)", ()).await?;
        cursor.run_operation("commit", ()).await
    }));
    let error = told("an interaction", outcome.await.map(drop), 1).await;
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
    for sql in ["commit and chain", "commit; begin"] {
        let outcome = bounded(connection.run_interaction(async |cursor| {
            cursor.run_operation("insert into t values (1)", ()).await?;
            cursor.run_script(sql).await?;
            Ok::<_, Error>(())
        }));
        told(sql, outcome.await, 1).await;
    }
}

/// The server tells another encoding at the end of a request, which was carried out by then.
#[tokio::test]
async fn a_statement_that_changes_the_encoding_was_carried_out() {
    let (database, observer) = connected().await;
    observer.run_operation("create table t (n int)", ()).await.unwrap();
    for sql in [
        "insert into t values (1) returning set_config('client_encoding', 'LATIN1', false)",
        "do $$ begin insert into t values (1); set client_encoding = 'LATIN1'; end $$",
    ] {
        let connection = bounded(Connection::open(database.dsn())).await.unwrap();
        let outcome = bounded(connection.run_operation(sql, ())).await;
        let error = is_told(&observer, sql, outcome, 1, Delivery::CarriedOut).await;
        assert_eq!(error.kind(), ErrorKind::Request);
        let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    }
}
