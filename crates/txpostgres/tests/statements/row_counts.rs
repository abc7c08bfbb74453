//! How many rows there were, also where the server's command tag has no number, by every way of asking.

use txpostgres::{Connection, Error, ErrorKind, ResultSet};
use txpostgres_testkit::{Script, backend};

use crate::support::{bounded, connected, welcomed};

/// Returns this many rows, and its tag is `SHOW`.
async fn settings(connection: &Connection) -> u64 {
    bounded(connection.run_query("show all", ())).await.unwrap().len().try_into().unwrap()
}

#[tokio::test]
async fn rows_are_counted_where_the_tag_does_not() {
    let (_database, connection) = connected().await;
    let all = settings(&connection).await;
    assert!(all > 200);
    let cursor = connection.cursor();
    for (sql, count) in [("show timezone", 1), ("show all", all), ("explain select 1", 1)] {
        // The second time it is known.
        for _ in 0..2 {
            assert_eq!(bounded(cursor.execute(sql, ())).await.unwrap(), count, "{sql}");
            assert_eq!(cursor.row_count(), Some(count), "{sql}");
            assert_eq!(bounded(connection.run_operation(sql, ())).await.unwrap(), count, "{sql}");
        }
        assert_eq!(bounded(cursor.execute_script(sql)).await.unwrap(), count, "{sql}");
        assert_eq!(cursor.row_count(), Some(count), "{sql}");
        assert_eq!(bounded(cursor.execute_many(sql, [(), ()])).await.unwrap(), 2 * count, "{sql}");
    }
    let results = bounded(connection.run_script("show timezone; create table t (n int); show all"));
    let counts: Vec<u64> = results.await.unwrap().iter().map(ResultSet::row_count).collect();
    assert_eq!(counts, [1, 0, all]);
    let results =
        bounded(connection.batch().add("explain select 1", ()).add("select 1", ()).send());
    let counts: Vec<u64> =
        results.await.unwrap().into_iter().map(|result| result.unwrap().row_count()).collect();
    assert_eq!(counts, [1, 1]);
}

#[tokio::test]
async fn a_stream_has_counted_its_rows() {
    let (_database, connection) = connected().await;
    let all = settings(&connection).await;
    for _ in 0..2 {
        let mut stream = connection.query_stream("show all", ()).limit(1000);
        let mut seen = 0;
        while let Some(rows) = bounded(stream.next_rows()).await.unwrap() {
            seen += rows.len() as u64;
        }
        assert_eq!((seen, stream.row_count()), (all, Some(all)));
    }
    bounded(connection.run_interaction(async |cursor| {
        let mut stream = cursor.query_stream("show all", ()).limit(1000);
        while stream.next_rows().await?.is_some() {}
        assert_eq!(stream.row_count(), Some(all));
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
}

#[tokio::test]
async fn what_a_procedure_returns_is_a_row() {
    let (_database, connection) = connected().await;
    let sql = "create procedure doubled(in n int, out twice int) language sql as 'select 2 * n';
        create procedure nothing() language sql as ''";
    bounded(connection.run_script(sql)).await.unwrap();
    let cursor = connection.cursor();
    assert_eq!(bounded(cursor.callproc("doubled", (2_i32,))).await.unwrap(), 1);
    assert_eq!(cursor.row_count(), Some(1));
    assert_eq!(bounded(cursor.callproc("nothing", ())).await.unwrap(), 0);
    assert_eq!(cursor.row_count(), None);
}

/// What returns no rows says so by its tag or not at all.
#[tokio::test]
async fn where_no_rows_come_the_tag_counts() {
    let (_database, connection) = connected().await;
    let cursor = connection.cursor();
    for (sql, count) in [
        ("create table t (n int)", None),
        ("insert into t values (1), (2)", Some(2)),
        ("update t set n = 3 where n = 2 returning n", Some(1)),
        ("set timezone to utc", None),
        ("", None),
        ("select from t where false", Some(0)),
    ] {
        assert_eq!(bounded(cursor.execute(sql, ())).await.unwrap(), count.unwrap_or(0), "{sql}");
        assert_eq!(cursor.row_count(), count, "{sql}");
    }
    // An answer is used again: nothing is left of the one before.
    for (sql, count) in [("show timezone", 1), ("set timezone to utc", 0)].repeat(3) {
        assert_eq!(bounded(connection.run_operation(sql, ())).await.unwrap(), count, "{sql}");
    }
}

#[tokio::test]
async fn many_executions_end_with_the_last_ones_words() {
    let (_database, connection) = connected().await;
    bounded(connection.run_operation("create table t (n int)", ())).await.unwrap();
    let cursor = connection.cursor();
    let sets = (0..3).map(|n: i32| (n,));
    assert_eq!(bounded(cursor.execute_many("insert into t values ($1)", sets)).await.unwrap(), 3);
    assert_eq!(cursor.row_count(), Some(3));
    assert_eq!(cursor.status_message().as_deref(), Some("INSERT 0 1"));
    let none: [(i32,); 0] = [];
    assert_eq!(bounded(cursor.execute_many("insert into t values ($1)", none)).await.unwrap(), 0);
    assert_eq!(cursor.status_message(), None);
}

/// Counts in tags whose sum no number holds: the sum stops at the largest number, or the answer is
/// refused. No server says so.
#[tokio::test]
async fn counts_that_add_up_to_more_than_a_number_holds() {
    let described = [
        backend::parse_complete(),
        backend::parameter_description(&[23]),
        backend::no_data(),
        backend::ready(b'I'),
    ]
    .concat();
    let inserted = |count: u64| {
        let tag = format!("INSERT 0 {count}");
        [backend::bind_complete(), backend::command_complete(&tag)].concat()
    };
    // Twice in one flight, and once in each of two.
    for (flights, least) in [(vec![2], u64::MAX), (vec![1_000, 1], 0)] {
        let sets = i32::try_from(flights.iter().sum::<usize>()).unwrap();
        let mut script = Script::new().welcome().expect_messages(b"PDS").send(&described);
        for flight in flights {
            script = script.expect_messages([b"BE".repeat(flight), b"S".to_vec()].concat());
            let answers = [inserted(least).repeat(flight - 1), inserted(u64::MAX)].concat();
            script = script.send([answers, backend::ready(b'I')].concat());
        }
        let server = script.silence(std::time::Duration::from_secs(60)).play().unwrap();
        let connection = welcomed(&server).await;
        let sets = (0..sets).map(|n| (n,));
        let outcome = bounded(connection.execute_many("insert into t values ($1)", sets)).await;
        match outcome {
            Ok(count) => assert_eq!(count, u64::MAX),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}"),
        }
    }
}
