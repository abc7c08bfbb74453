//! Cursors: execute and fetch, many sets, routines, several results, batches, and their misuse.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_core::Stream;
use txpostgres::types::Type;
use txpostgres::{Connection, Error, ErrorKind, Scroll, SqlState};

use crate::support::{assert_works, bounded, connected, count};

const NUMBERS: &str = "select n, n::text as t from generate_series(1, $1::int4) n";

#[tokio::test]
async fn what_is_executed_can_be_fetched() {
    let (_database, connection) = connected().await;
    let cursor = connection.cursor();
    assert_eq!(bounded(cursor.execute(NUMBERS, (10_i32,))).await.unwrap(), 10);
    assert_eq!(cursor.row_count(), Some(10));
    assert_eq!(cursor.row_number(), Some(0));
    assert_eq!(cursor.status_message().as_deref(), Some("SELECT 10"));
    let description = cursor.description().unwrap();
    let named: Vec<_> = description.iter().map(|c| (c.name(), c.type_().clone())).collect();
    assert_eq!(named, [("n", Type::INT4), ("t", Type::TEXT)]);

    assert_eq!(cursor.fetch_one().unwrap().unwrap().get::<i32>("n").unwrap(), 1);
    assert_eq!(cursor.fetch_one_as::<(i32, String)>().unwrap(), Some((2, "2".to_owned())));
    let two = cursor.fetch_many(2).unwrap();
    assert_eq!(two.iter().map(|row| row.get::<i32>(0).unwrap()).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(cursor.row_number(), Some(4));
    let rest = cursor.fetch_all().unwrap();
    assert_eq!((rest.len(), rest.before()), (6, 4));
    assert!(cursor.fetch_one().unwrap().is_none());
    assert!(cursor.fetch_many(5).unwrap().is_empty());
    assert!(cursor.fetch_all().unwrap().is_empty());

    cursor.scroll(-3, Scroll::Relative).unwrap();
    assert_eq!(cursor.fetch_all_as::<(i32, String)>().unwrap().len(), 3);
    cursor.scroll(0, Scroll::Absolute).unwrap();
    cursor.scroll(9, Scroll::Absolute).unwrap();
    for (by, from) in [(-11, Scroll::Relative), (2, Scroll::Relative), (11, Scroll::Absolute)] {
        let error = cursor.scroll(by, from).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request);
        assert_eq!(cursor.row_number(), Some(9), "it stays where it was");
    }
    let mut rows = cursor.rows().unwrap();
    let row = poll_fn(|cx| Pin::new(&mut rows).poll_next(cx)).await.unwrap();
    assert_eq!(row.get::<i32>(0).unwrap(), 10);
    assert!(rows.next().is_none());
}

#[tokio::test]
async fn a_description_tells_tables_and_modifiers() {
    let (_database, connection) = connected().await;
    let sql = "create table described (a int, b varchar(10))";
    bounded(connection.run_operation(sql, ())).await.unwrap();
    let cursor = connection.cursor();
    bounded(cursor.execute("select b, 1 from described", ())).await.unwrap();
    let columns = cursor.description().unwrap();
    let oid = count(&connection, "select 'described'::regclass::oid::int8").await;
    assert_eq!(columns[0].table_oid().map(i64::from), Some(oid));
    assert_eq!((columns[0].column_number(), columns[0].type_modifier()), (Some(2), 14));
    assert_eq!((columns[1].table_oid(), columns[1].type_size()), (None, 4));
}

#[tokio::test]
async fn statements_without_rows_have_none_to_fetch() {
    let (_database, connection) = connected().await;
    let cursor = connection.cursor();
    let error = cursor.fetch_one().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    bounded(cursor.execute("create table t (n int)", ())).await.unwrap();
    assert_eq!(cursor.row_count(), None);
    assert_eq!(cursor.status_message().as_deref(), Some("CREATE TABLE"));
    assert!(cursor.description().is_none());
    assert!(cursor.fetch_all().unwrap_err().to_string().contains("returns no rows"));
    assert_eq!(bounded(cursor.execute("insert into t values (1), (2)", ())).await.unwrap(), 2);
    assert_eq!(cursor.row_count(), Some(2));
    let sql = "insert into t values ($1) returning n";
    assert_eq!(bounded(cursor.execute(sql, (3_i32,))).await.unwrap(), 1);
    assert_eq!(cursor.fetch_one_as::<(i32,)>().unwrap(), Some((3,)));
    // What fails leaves nothing of the one before.
    bounded(cursor.execute("select 1 / 0", ())).await.unwrap_err();
    assert!(cursor.fetch_one().is_err());
    assert!(cursor.row_count().is_none() && cursor.description().is_none());
}

#[tokio::test]
async fn several_results_come_one_after_another() {
    let (_database, connection) = connected().await;
    let cursor = connection.cursor();
    bounded(cursor.execute_script("select 1; select 2, 3; create table s ()")).await.unwrap();
    assert_eq!(cursor.fetch_all().unwrap().first().unwrap().get::<&str>(0).unwrap(), "1");
    assert!(cursor.next_set().unwrap());
    assert_eq!(cursor.description().unwrap().len(), 2);
    assert!(cursor.next_set().unwrap());
    assert_eq!(cursor.status_message().as_deref(), Some("CREATE TABLE"));
    assert!(!cursor.next_set().unwrap());
    assert_eq!(cursor.status_message().as_deref(), Some("CREATE TABLE"));
}

#[tokio::test]
async fn misuse_is_an_error_and_harms_nobody() {
    let (_database, connection) = connected().await;
    let cursor = connection.cursor();
    let first = cursor.execute("select pg_sleep(0.05), 1", ());
    let mut first = std::pin::pin!(first);
    tokio::select! {
        biased;
        _ = &mut first => panic!("it sleeps"),
        () = tokio::task::yield_now() => {}
    }
    for error in [
        bounded(cursor.execute("select 2", ())).await.unwrap_err(),
        bounded(cursor.callproc("now", ())).await.unwrap_err(),
        bounded(cursor.execute_many("select $1::int", [(1_i32,)])).await.unwrap_err(),
        cursor.fetch_one().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Request, "{error}");
        assert!(error.to_string().contains("is executing"), "{error}");
    }
    // A clone is another cursor, and goes along.
    assert_eq!(bounded(cursor.clone().execute("select 2", ())).await.unwrap(), 1);
    bounded(first).await.unwrap();
    assert_eq!(cursor.fetch_all().unwrap().len(), 1);

    cursor.close();
    cursor.close();
    assert!(cursor.is_closed());
    for error in [
        bounded(cursor.execute("select 2", ())).await.unwrap_err(),
        bounded(cursor.run_query("select 2", ())).await.unwrap_err(),
        bounded(cursor.query_stream("select 2", ()).next()).await.unwrap().unwrap_err(),
        cursor.fetch_one().unwrap_err(),
        cursor.scroll(0, Scroll::Absolute).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert_eq!(error.to_string(), "the cursor is closed");
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_execute_that_is_dropped_leaves_the_cursor_usable() {
    let (_database, connection) = connected().await;
    let cursor = connection.cursor();
    for polls in 0..6 {
        let mut call = Box::pin(cursor.execute(NUMBERS, (100_i32,)));
        for _ in 0..polls {
            let ready = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready()));
            if ready.await {
                break;
            }
        }
        drop(call);
        assert_eq!(
            bounded(cursor.execute(NUMBERS, (polls,))).await.unwrap(),
            u64::try_from(polls).unwrap()
        );
    }
}

#[tokio::test]
async fn in_an_interaction_the_cursor_is_the_transactions() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    let failed: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        cursor.execute("insert into t values (1)", ()).await?;
        cursor.execute("select n from t", ()).await?;
        assert_eq!(cursor.fetch_one_as::<(i32,)>()?, Some((1,)));
        cursor.execute_many("insert into t values ($1)", (2..5_i32).map(|n| (n,))).await?;
        cursor.execute("select count(*) from t", ()).await?;
        assert_eq!(cursor.fetch_one_as::<(i64,)>()?, Some((4,)));
        cursor.execute("select 1 / 0", ()).await.map(drop)
    }))
    .await;
    assert_eq!(failed.unwrap_err().sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
}

// --- Many sets ---

#[tokio::test]
async fn many_sets_go_in_few_flights() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int8, s text)", ())).await.unwrap();
    let insert = "insert into t values ($1, $2)";
    for total in [0_i64, 1, 999, 1_000, 1_001, 2_500] {
        let sets = (0..total).map(|n| (n, format!("number {n}")));
        let inserted = bounded(connection.execute_many(insert, sets)).await.unwrap();
        assert_eq!(inserted, u64::try_from(total).unwrap());
        assert_eq!(count(&connection, "select count(distinct n) from t").await, total);
        bounded(connection.run_operation("truncate t", ())).await.unwrap();
    }
    // Large ones: a flight ends when it is large.
    let sets = (0..20_i64).map(|n| (n, "x".repeat(300_000)));
    assert_eq!(bounded(connection.execute_many(insert, sets)).await.unwrap(), 20);
    assert_eq!(count(&connection, "select sum(length(s)) from t").await, 6_000_000);
    // What they return is kept, all of it.
    let cursor = connection.cursor();
    let returning = "insert into t values ($1, 'x') returning n";
    let sets = (0..1_500_i64).map(|n| (n,));
    assert_eq!(bounded(cursor.execute_many(returning, sets)).await.unwrap(), 1_500);
    let returned = cursor.fetch_all_as::<(i64,)>().unwrap();
    assert!(returned.into_iter().map(|(n,)| n).eq(0..1_500));
    assert_works(&connection).await;
}

#[tokio::test]
async fn the_set_that_fails_is_named() {
    for cached in [true, false] {
        let database = txpostgres_testkit::shared().database().unwrap();
        let size = if cached { 10 } else { 0 };
        let dsn = format!("{} statement_cache_size={size}", database.dsn());
        let connection = bounded(Connection::open(dsn)).await.unwrap();
        let sql = "create table t (n int primary key)";
        bounded(connection.run_operation(sql, ())).await.unwrap();
        let sets = |bad: i32| (0..3_000).map(move |n| (if n == bad { 0 } else { n },));
        let insert = "insert into t values ($1)";
        let error = bounded(connection.execute_many(insert, sets(2_345))).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
        assert_eq!(error.item(), Some(2_345));
        assert_eq!(error.statement(), Some(insert));
        // The flights before it were done, and nothing of its own.
        assert_eq!(count(&connection, "select count(*) from t").await, 2_000);
        bounded(connection.run_operation("delete from t", ())).await.unwrap();
        // In an interaction it is all or nothing.
        let error = bounded(
            connection
                .run_interaction(async |cursor| cursor.execute_many(insert, sets(2_345)).await),
        )
        .await
        .unwrap_err();
        assert_eq!(error.item(), Some(2_345));
        assert_eq!(count(&connection, "select count(*) from t").await, 0);
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn a_set_that_cannot_be_sent_is_named() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    let sets: Vec<Vec<&(dyn txpostgres::types::ToSql + Sync)>> =
        vec![vec![&1_i32], vec![&2_i32], vec![&"three"]];
    let error = bounded(connection.execute_many("insert into t values ($1)", &sets)).await;
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Parameter, Some(2)));
    let error =
        bounded(connection.execute_many("insert into t values ($1)", [(1_i32, 2_i32)])).await;
    assert_eq!((error.unwrap_err().kind()), ErrorKind::Parameter);
    assert_eq!(count(&connection, "select count(*) from t").await, 0);
    assert_works(&connection).await;
}

// --- Routines ---

#[tokio::test]
async fn functions_and_procedures_are_called() {
    let (_database, connection) = connected().await;
    let sql = "
        create function add(a int, b int default 10) returns int language sql as 'select a + b';
        create function pair(a int, out doubled int, out squared int) language sql
            as 'select 2 * a, a * a';
        create procedure swap(inout a int, inout b text, in c bool, out d int) language plpgsql
            as 'begin a := a + 1; b := b || ''!''; d := 7; end';
        create procedure nothing() language sql as '';
        create function many(variadic n int[]) returns bigint language sql
            as 'select cardinality(n)';
        create schema \"Odd \"\"one\";
        create function \"Odd \"\"one\".\"f.g\"() returns text language sql as 'select ''odd''';
        create procedure commits() language plpgsql as 'begin commit; end';
    ";
    bounded(connection.run_script(sql)).await.unwrap();
    let cursor = connection.cursor();
    bounded(cursor.callproc("add", (1_i32, 2_i32))).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(i32,)>().unwrap(), Some((3,)));
    bounded(cursor.callproc("add", (1_i32,))).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(i32,)>().unwrap(), Some((11,)));
    bounded(cursor.callproc("pair", (3_i32,))).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(i32, i32)>().unwrap(), Some((6, 9)));
    bounded(cursor.callproc("swap", (1_i32, "x", true))).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(i32, String, i32)>().unwrap(), Some((2, "x!".into(), 7)));
    bounded(cursor.callproc("nothing", ())).await.unwrap();
    assert!(cursor.description().is_none());
    bounded(cursor.callproc("commits", ())).await.unwrap();
    bounded(cursor.callproc(("Odd \"one", "f.g"), ())).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(String,)>().unwrap(), Some(("odd".into(),)));
    bounded(cursor.callproc(("pg_catalog", "repeat"), ("ab", 3_i32))).await.unwrap();
    assert_eq!(cursor.fetch_all_as::<(String,)>().unwrap(), [("ababab".to_owned(),)]);
    bounded(cursor.callproc("many", (1_i32, 2_i32, 3_i32))).await.unwrap();
    assert_eq!(cursor.fetch_one_as::<(i64,)>().unwrap(), Some((3,)));
    let error = bounded(cursor.callproc("no such", (1_i32,))).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_FUNCTION));
    let error = bounded(cursor.callproc("", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_works(&connection).await;
}

// --- Batches ---

#[tokio::test]
async fn a_batch_has_a_result_for_each() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int primary key)", ())).await.unwrap();
    let batch = || {
        connection
            .batch()
            .add("insert into t values ($1)", (1_i32,))
            .add("insert into t values ($1)", (1_i32,))
            .add("select n, $1::text from t", ("x",))
            .add("select 1 / 0", ())
            .add("insert into t values ($1)", ("no number",))
            .add("", ())
            .add("select count(*) from t", ())
    };
    for round in 0..2 {
        let results = bounded(batch().send()).await.unwrap();
        assert_eq!(results.len(), 7);
        let code = |n: usize| results[n].as_ref().unwrap_err().sqlstate();
        assert_eq!(results[0].is_ok(), round == 0);
        assert_eq!(code(1), Some(SqlState::UNIQUE_VIOLATION));
        assert_eq!(results[2].as_ref().unwrap().row_count(), 1);
        assert_eq!(code(3), Some(SqlState::DIVISION_BY_ZERO));
        let error = results[4].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        assert_eq!(results[5].as_ref().unwrap().tag().as_str(), "");
        let counted = results[6].as_ref().unwrap().rows();
        assert_eq!(counted.first().unwrap().get::<i64>(0).unwrap(), 1);
    }
    assert!(bounded(connection.batch().send()).await.unwrap().is_empty());
    let closed = Connection::new().batch().add("select 1", ()).send();
    assert_eq!(bounded(closed).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_batch_in_an_interaction_shares_its_fate() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    let results = bounded(connection.run_interaction(async |cursor| {
        let mut batch = cursor.batch();
        for n in 0..100_i32 {
            batch.push("insert into t values ($1)", (n,));
        }
        assert_eq!(batch.len(), 100);
        batch.send().await
    }))
    .await
    .unwrap();
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(count(&connection, "select count(*) from t").await, 100);
    let refused: Result<_, Error> = bounded(connection.run_interaction(async |cursor| {
        let batch = cursor.batch().add("delete from t", ()).add("select 1 / 0", ());
        let mut results = batch.add("select 1", ()).send().await?;
        let last = results.pop().unwrap().unwrap_err();
        assert_eq!(last.sqlstate(), Some(SqlState::IN_FAILED_SQL_TRANSACTION));
        Ok(())
    }))
    .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::CommitRefused);
    assert_eq!(count(&connection, "select count(*) from t").await, 100);
}

#[tokio::test]
async fn a_large_batch_goes_both_ways_at_once() {
    let (_database, connection) = connected().await;
    let text = "x".repeat(100_000);
    let mut batch = connection.batch();
    for _ in 0..200 {
        batch.push("select $1::text, $1::text", (&text,));
    }
    let results = bounded(batch.send()).await.unwrap();
    assert_eq!(results.len(), 200);
    for result in results {
        let result = result.unwrap();
        assert_eq!(result.rows().first().unwrap().get::<&str>(1).unwrap().len(), 100_000);
    }
    assert_works(&connection).await;
}
