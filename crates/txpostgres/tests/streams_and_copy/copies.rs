//! COPY in both directions: as bytes and as rows, to its end, failing in the middle, given up.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use txpostgres::types::{IsNull, ToSql, Type, to_sql_checked};
use txpostgres::{Connection, CopyProgress, Delivery, Error, ErrorKind, Format, SqlState};
use txpostgres_testkit::Database;

use crate::support::patience::{runtime, without_hanging};
use crate::support::{assert_works, bounded, connected, connected_through_proxy, count};

async fn with_table() -> (Database, Connection) {
    let (database, connection) = connected().await;
    let sql = "create table people (id int8 primary key, name text)";
    bounded(connection.run_operation(sql, ())).await.unwrap();
    (database, connection)
}

async fn people(connection: &Connection) -> i64 {
    count(connection, "select count(*) from people").await
}

#[tokio::test]
async fn bytes_go_in_and_come_out() {
    let (_database, connection) = with_table().await;
    let mut copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
    assert_eq!((copy.format(), copy.columns()), (Format::Text, 2));
    // Cut in the middle of a row, and nothing at all.
    for piece in ["1\tA", "da\n2\t\\N\n", "", "3\tGrace\n"] {
        bounded(copy.send(piece)).await.unwrap();
    }
    assert_eq!(copy.progress().bytes, 19);
    assert_eq!(bounded(copy.finish()).await.unwrap(), 3);

    let mut copy = bounded(connection.copy_out("copy people to stdout")).await.unwrap();
    let mut text = Vec::new();
    while let Some(data) = bounded(copy.next()).await {
        text.extend_from_slice(&data.unwrap());
    }
    assert_eq!(text, b"1\tAda\n2\t\\N\n3\tGrace\n");
    assert_eq!(copy.row_count(), Some(3));
    let progress = copy.progress();
    assert_eq!((progress.bytes, progress.rows), (19, Some(3)));
    assert!(bounded(copy.next()).await.is_none());
    assert_works(&connection).await;
}

#[tokio::test]
async fn rows_go_in_and_come_out() {
    const ROWS: i64 = 30_000;
    let (_database, connection) = with_table().await;
    let told: Arc<Mutex<Vec<CopyProgress>>> = Arc::default();
    let mut copy = bounded(connection.copy_in_rows(("public", "people"), &["name", "id"]))
        .await
        .unwrap()
        .on_progress({
            let told = Arc::clone(&told);
            move |progress| told.lock().unwrap().push(progress)
        });
    for id in 0..ROWS {
        let name = (id % 7 != 0).then(|| format!("number {id}"));
        bounded(copy.send((name, id))).await.unwrap();
    }
    assert_eq!(bounded(copy.finish()).await.unwrap(), u64::try_from(ROWS).unwrap());
    {
        let told = told.lock().unwrap();
        assert!(told.len() > 10 && told.is_sorted_by_key(|progress| progress.bytes));
        assert_eq!(told.last().unwrap().rows, Some(u64::try_from(ROWS).unwrap()));
    }

    let query = "select id, name from people order by id -- a comment";
    let mut copy = bounded(connection.copy_out_rows(query)).await.unwrap();
    assert_eq!(copy.columns()[1].name(), "name");
    let mut next = 0;
    while let Some(row) = bounded(copy.next()).await {
        let row = row.unwrap();
        assert_eq!(row.get::<i64>("id").unwrap(), next);
        assert_eq!(i64::try_from(row.as_row().number()).unwrap(), next);
        let name = row.get::<Option<&str>>("name").unwrap();
        assert_eq!(name.map(str::to_owned), (next % 7 != 0).then(|| format!("number {next}")));
        next += 1;
    }
    assert_eq!((next, copy.row_count()), (ROWS, Some(30_000)));
    assert_works(&connection).await;
}

#[tokio::test]
async fn no_rows_go_in_and_come_out() {
    let (_database, connection) = with_table().await;
    let copy = bounded(connection.copy_in_rows("people", &[])).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 0);
    let copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 0);
    let mut copy = bounded(connection.copy_out_rows("table people")).await.unwrap();
    assert!(bounded(copy.next()).await.is_none());
    assert_eq!(copy.row_count(), Some(0));
}

#[tokio::test]
async fn a_row_that_the_server_refuses_is_named() {
    let (_database, connection) = with_table().await;
    let mut copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
    bounded(copy.send("1\tAda\ntwo\tGrace\n3\tMary\n")).await.unwrap();
    let error = bounded(copy.finish()).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_TEXT_REPRESENTATION));
    assert_eq!(error.item(), Some(1));
    assert_eq!(error.statement(), Some("copy people from stdin"));

    // Rows: a key that comes twice, with much behind it.
    let mut copy = bounded(connection.copy_in_rows("people", &["id", "name"])).await.unwrap();
    let failed = async {
        for id in 0..200_000_i64 {
            copy.send((if id == 50_000 { 0 } else { id }, "somebody")).await?;
        }
        copy.finish().await
    };
    let error = bounded(failed).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
    assert_eq!(error.item(), Some(50_000));
    assert_eq!(people(&connection).await, 0);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_value_that_does_not_fit_sends_nothing_of_its_row() {
    let (_database, connection) = with_table().await;
    let mut copy = bounded(connection.copy_in_rows("people", &["id", "name"])).await.unwrap();
    bounded(copy.send((1_i64, "Ada"))).await.unwrap();
    let error = bounded(copy.send((2_i64, 3_i64))).await.unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Parameter, Some(1)));
    let error = bounded(copy.send((2_i64,))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    bounded(copy.send((2_i64, "Grace"))).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 2);
}

/// A value that removes what was written before it.
#[derive(Debug)]
struct Eater {
    panics: bool,
}

impl ToSql for Eater {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.clear();
        assert!(!self.panics, "it ate too much");
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Rows of which `send` has said that they were taken are not lost in silence.
#[tokio::test]
async fn a_value_that_removes_other_rows_ends_the_copy() {
    let (_database, connection) = with_table().await;
    for (by_types, panics) in [(true, false), (false, false), (true, true), (false, true)] {
        let eater = Eater { panics };
        let mut copy = bounded(connection.copy_in_rows("people", &["id", "name"])).await.unwrap();
        bounded(copy.send((1_i64, "Ada"))).await.unwrap();
        let row: [&(dyn ToSql + Sync); 2] = [&2_i64, &eater];
        let sent = catch_unwind(AssertUnwindSafe(|| {
            let send = pin!(async {
                if by_types {
                    copy.send((2_i64, Eater { panics })).await
                } else {
                    copy.send(&row).await
                }
            });
            send.poll(&mut Context::from_waker(Waker::noop()))
        }));
        match sent {
            Ok(Poll::Ready(sent)) => {
                assert_eq!(sent.unwrap_err().item(), Some(1));
                assert!(!panics);
            }
            Ok(Poll::Pending) => panic!("it waits for nothing"),
            Err(_) => assert!(panics),
        }
        let error = bounded(copy.send((3_i64, "Grace"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        assert!(error.to_string().contains("removed rows"), "{error}");
        let error = bounded(copy.finish()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        assert_works(&connection).await;
        assert_eq!(people(&connection).await, 0);
    }
}

#[tokio::test]
async fn many_rows_are_sent_at_once() {
    let (_database, connection) = with_table().await;
    let mut copy = bounded(connection.copy_in_rows("people", &["id", "name"])).await.unwrap();
    let name = "n".repeat(1_000);
    let rows = |ids: std::ops::Range<i64>| ids.map(|id| (id, name.as_str()));
    bounded(copy.send_many(rows(0..3_000))).await.unwrap();
    bounded(copy.send((3_000_i64, "Ada"))).await.unwrap();
    // In other forms and types, some of which do not fit: what came before them is kept.
    bounded(copy.send_many([(3_001_i64, Some("Grace")), (3_002, None)])).await.unwrap();
    let error = bounded(copy.send_many([(3_003_i32, "Edsger")])).await.unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Parameter, Some(3_003)));
    let (id, barbara) = (3_003_i64, "Barbara");
    let mixed: [&(dyn ToSql + Sync); 2] = [&id, &barbara];
    bounded(copy.send_many([&mixed])).await.unwrap();
    let few = [&[&id as &(dyn ToSql + Sync)][..]];
    let error = bounded(copy.send_many(few)).await.unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Parameter, Some(3_004)));
    bounded(copy.send_many(std::iter::empty::<(i64, &str)>())).await.unwrap();
    // A row that is larger than one message, and one that is larger than several.
    for (id, size) in [(3_004_i64, 300_000), (3_005, 3_000_000)] {
        bounded(copy.send((id, "x".repeat(size)))).await.unwrap();
    }
    let progress = copy.progress();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 3_006);
    assert!(progress.bytes > 3_000_000, "{progress:?}");
    let sql = "select count(*), sum(id)::int8, sum(length(name)), count(*) filter (where name is null) from people";
    let sums = connection.run_query_as::<(i64, i64, i64, i64), _>(sql, ()).await.unwrap();
    assert_eq!(sums, [(3_006, 3_005 * 3_006 / 2, 3_000_000 + 3 + 5 + 7 + 3_300_000, 1)]);
}

/// Between its refusal and its being ready again the server undoes what it had taken, and rows that never end go on coming.
#[test]
fn many_rows_of_which_one_is_refused_end() {
    without_hanging(Duration::from_secs(20), |progress| {
        runtime(0).block_on(async {
            let (_database, connection) = with_table().await;
            for round in 1..=20 {
                progress.now(format_args!("round {round}"));
                let mut copy =
                    bounded(connection.copy_in_rows("people", &["id", "name"])).await.unwrap();
                let rows = (0_i64..).map(|id| (id % (100 * round), "x".repeat(1_000)));
                let error = copy.send_many(rows).await.unwrap_err();
                assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
                assert_works(&connection).await;
            }
        });
    });
}

#[tokio::test]
async fn what_is_no_copy_of_its_kind_is_refused() {
    let (_database, connection) = with_table().await;
    for sql in ["select 1", "copy people to stdout", "", "create table t ()", "select 1; select 2"]
    {
        let error = bounded(connection.copy_in(sql)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{sql}");
        assert_eq!(
            error.to_string(),
            "the statement is not COPY … FROM STDIN (the statement was carried out)"
        );
        assert_works(&connection).await;
    }
    for sql in ["select 1", "copy people from stdin", "insert into people values (1)"] {
        let error = bounded(connection.copy_out(sql)).await.unwrap_err();
        // The COPY of data that does not come fails in the server.
        let is_done = if sql.contains("stdin") { "" } else { " (the statement was carried out)" };
        let expected = format!("the statement is not COPY … TO STDOUT{is_done}");
        assert_eq!(error.to_string(), expected, "{sql}");
        assert_works(&connection).await;
    }
    let error = bounded(connection.copy_in("copy nobody from stdin")).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_TABLE));
    let error = bounded(connection.copy_in_rows("people", &["id", "none"])).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_COLUMN));
    let error = bounded(connection.copy_in_rows("people", &["id", ""])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_works(&connection).await;
}

/// Whatever else is on the line, the connection is usable afterwards.
#[tokio::test]
async fn a_copy_by_a_call_that_cannot_move_data_is_refused() {
    let (_database, connection) = with_table().await;
    let connection = &connection;
    let refused = |outcome: Result<(), Error>, sql: &str| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{sql}: {error}");
        assert!(error.to_string().contains("COPY"), "{error}");
    };
    for sql in ["copy people from stdin", "-- all\n copy (select 1) to stdout"] {
        for round in 0..2 {
            let other = |n: i32| connection.run_query("select $1::int4", (n,));
            let (first, asked, run, shaped, last) = bounded(async {
                tokio::join!(
                    other(1),
                    connection.run_query(sql, ()),
                    connection.run_operation(sql, ()),
                    connection.run_query_as::<(i32,), _>(sql, ()),
                    other(2)
                )
            })
            .await;
            first.unwrap();
            last.unwrap();
            refused(asked.map(drop), sql);
            refused(run.map(drop), sql);
            refused(shaped.map(drop), sql);
            let mut batch = connection.batch();
            batch.push("select 1", ());
            batch.push(sql, ());
            batch.push("select $1::int4", (round,));
            let mut results = bounded(batch.send()).await.unwrap().into_iter();
            results.next().unwrap().unwrap();
            refused(results.next().unwrap().map(drop), sql);
            results.next().unwrap().unwrap();
            refused(bounded(connection.execute_many(sql, [(), ()])).await.map(drop), sql);
            let mut stream = connection.query_stream(sql, ());
            refused(bounded(stream.next()).await.unwrap().map(drop), sql);
            drop(stream);
            assert_works(connection).await;

            let within = bounded(connection.run_interaction(async |cursor| {
                let mut stream = cursor.query_stream(sql, ());
                let outcome = stream.next().await.unwrap().map(drop);
                refused(outcome, sql);
                Ok::<_, Error>(())
            }));
            // What was to be sent has failed in the server, and the transaction with it; what came was thrown away.
            assert_eq!(within.await.is_err(), sql.contains("from stdin"));
            let within = bounded(connection.run_interaction(async |cursor| {
                refused(cursor.execute(sql, ()).await.map(drop), sql);
                Ok::<_, Error>(())
            }));
            assert_eq!(within.await.is_err(), sql.contains("from stdin"));
            assert_works(connection).await;
        }
    }
}

#[tokio::test]
async fn names_cannot_be_more_than_names() {
    let (_database, connection) = connected().await;
    let sql = r#"create table "a ""b"" ; c" ("x y" int, "select" text)"#;
    bounded(connection.run_operation(sql, ())).await.unwrap();
    let columns = ["x y", "select"];
    let mut copy = bounded(connection.copy_in_rows("a \"b\" ; c", &columns)).await.unwrap();
    bounded(copy.send((1_i32, "one"))).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_copy_that_is_aborted_keeps_nothing() {
    let (_database, connection) = with_table().await;
    let mut copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
    bounded(copy.send("1\tAda\n")).await.unwrap();
    bounded(copy.abort("no more interest")).await.unwrap();
    let copy = bounded(connection.copy_in_rows("people", &[])).await.unwrap();
    bounded(copy.abort("none at all")).await.unwrap();
    let mut copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
    bounded(copy.send("one\tAda\n")).await.unwrap();
    bounded(copy.flush()).await.unwrap();
    assert_eq!(people(&connection_of(copy, &connection).await).await, 0);
}

/// Gives the copy up, and the connection back.
async fn connection_of(copy: txpostgres::CopyIn, connection: &Connection) -> Connection {
    drop(copy);
    assert_works(connection).await;
    connection.clone()
}

#[tokio::test]
async fn a_copy_that_is_dropped_keeps_nothing() {
    let (_database, connection) = with_table().await;
    for pieces in [0, 1, 2_000] {
        let mut copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
        for number in 0..pieces {
            let line = format!("{number}\t{}\n", "x".repeat(1_000));
            bounded(copy.send(line)).await.unwrap();
        }
        drop(copy);
        assert_works(&connection).await;
    }
    assert_eq!(people(&connection).await, 0);
    let sql = "copy (select n, repeat('x', 1000) from generate_series(1, 100000) n) to stdout";
    for pieces in [0, 1, 10] {
        let mut copy = bounded(connection.copy_out(sql)).await.unwrap();
        for _ in 0..pieces {
            bounded(copy.next()).await.unwrap().unwrap();
        }
        drop(copy);
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn a_copy_out_that_fails_says_so_after_its_data() {
    let (_database, connection) = connected().await;
    let sql = "copy (select 1 / (1000 - n) from generate_series(1, 2000) n) to stdout";
    let mut copy = bounded(connection.copy_out(sql)).await.unwrap();
    let mut lines = 0;
    let error = loop {
        match bounded(copy.next()).await.unwrap() {
            Ok(data) => lines += data.split(|&byte| byte == b'\n').count() - 1,
            Err(error) => break error,
        }
    };
    assert_eq!((lines, error.sqlstate()), (999, Some(SqlState::DIVISION_BY_ZERO)));
    assert!(bounded(copy.next()).await.is_none());
    assert_works(&connection).await;
}

#[tokio::test]
async fn others_wait_until_the_copy_has_ended() {
    let (_database, connection) = with_table().await;
    let mut copy = bounded(connection.copy_in("copy people from stdin")).await.unwrap();
    let others: Vec<_> = (0..20)
        .map(|number: i64| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let sql = "select $1::int8 + count(*) from people";
                let rows = connection.run_query(sql, (number,)).await.unwrap();
                rows.first().unwrap().get::<i64>(0).unwrap() - number
            })
        })
        .collect();
    for number in 0..1_000 {
        bounded(copy.send(format!("{number}\tsomebody\n"))).await.unwrap();
        if number % 100 == 0 {
            bounded(copy.flush()).await.unwrap();
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1_000);
    for other in others {
        assert_eq!(bounded(other).await.unwrap(), 1_000, "nothing ran between");
    }
}

#[tokio::test]
async fn in_an_interaction_a_copy_shares_its_fate() {
    let (_database, connection) = with_table().await;
    let taken = bounded(connection.run_interaction(async |cursor| {
        let mut copy = cursor.copy_in("copy people from stdin").await?;
        copy.send("1\tAda\n").await?;
        copy.finish().await?;
        let mut copy = cursor.copy_in_rows("people", &["id"]).await?;
        copy.send((2_i64,)).await?;
        copy.finish().await?;
        let mut copy = cursor.copy_out_rows("table people").await?;
        let mut taken = 0;
        while let Some(row) = copy.next().await {
            row?;
            taken += 1;
        }
        Ok::<_, Error>(taken)
    }))
    .await
    .unwrap();
    assert_eq!((taken, people(&connection).await), (2, 2));

    let failed = bounded(connection.run_interaction(async |cursor| {
        let mut copy = cursor.copy_in("copy people from stdin").await?;
        copy.send("3\tMary\n").await?;
        copy.finish().await?;
        let nested = cursor
            .run_interaction(async |cursor| {
                let mut copy = cursor.copy_in("copy people from stdin").await?;
                copy.send("3\tMary once more\n").await?;
                copy.finish().await
            })
            .await;
        assert_eq!(nested.unwrap_err().sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
        let mut copy = cursor.copy_in("copy people from stdin").await?;
        copy.send("4\tGrace\n").await?;
        // Given up: the transaction fails, as if the statement had.
        drop(copy);
        cursor.run_query("select 1", ()).await
    }))
    .await;
    assert_eq!(failed.unwrap_err().sqlstate(), Some(SqlState::IN_FAILED_SQL_TRANSACTION));
    assert_eq!(people(&connection).await, 2);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_end_of_the_data_has_kept_nothing() {
    let (_database, proxy, connection) = connected_through_proxy().await;
    bounded(connection.run_operation("create table t (t text)", ())).await.unwrap();
    let mut copy = bounded(connection.copy_in("copy t from stdin")).await.unwrap();
    bounded(copy.send("one\n")).await.unwrap();
    bounded(copy.flush()).await.unwrap();
    proxy.reset();
    let error = bounded(async {
        loop {
            if let Err(error) = copy.send("two\n").await {
                break error;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::NotSent));
    let error = bounded(connection.copy_in("copy t from stdin")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionDead);
}

#[tokio::test]
async fn a_binary_copy_that_lies_is_an_error_with_its_row() {
    let (_database, connection) = with_table().await;
    let sql = "copy people from stdin (format binary)";
    let mut copy = bounded(connection.copy_in(sql)).await.unwrap();
    assert_eq!(copy.format(), Format::Binary);
    bounded(copy.send(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x07")).await.unwrap();
    let error = bounded(copy.finish()).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::BAD_COPY_FILE_FORMAT));
    assert_eq!(error.item(), Some(0));
    assert_works(&connection).await;
}
