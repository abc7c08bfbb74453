//! Large answers that are read into a shape as they come: complete, in order, with errors in their right place, and left
//! half-way.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use txpostgres::{Column, ColumnReader, ErrorKind, FromRow, Result, Row, SqlState};
use txpostgres_testkit::{Script, ScriptedServer, backend};

use crate::support::{assert_works, bounded, connected, welcomed};

/// Some 100 bytes a row.
const NUMBERS: &str = "select n, repeat('x', 80) from generate_series(1, $1::int) n";

type Number = (i32, String);

fn is_complete(numbers: &[Number], count: i32) -> bool {
    numbers.iter().map(|(n, _)| *n).eq(1..=count)
}

#[tokio::test]
async fn all_rows_come_once_and_in_order() {
    let (_database, connection) = connected().await;
    for count in [0, 1, 500, 700, 5_000, 100_000] {
        let numbers: Vec<Number> =
            bounded(connection.run_query_as(NUMBERS, (count,))).await.unwrap();
        assert!(is_complete(&numbers, count));
        assert!(numbers.iter().all(|(_, text)| text.len() == 80));
    }
    let inside = connection.run_interaction(async |cursor| {
        cursor.run_query_as::<Number, _>(NUMBERS, (50_000_i32,)).await
    });
    assert!(is_complete(&bounded(inside).await.unwrap(), 50_000));
    assert_works(&connection).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_small_answers_of_many_tasks_go_together() {
    let (_database, connection) = connected().await;
    let tasks: Vec<_> = (0..40_i32)
        .map(|task| {
            let connection = connection.clone();
            tokio::spawn(async move {
                for round in 0..5 {
                    let count = if (task + round) % 4 == 0 { 20_000 + task } else { task };
                    let numbers = connection.run_query_as(NUMBERS, (count,)).await.unwrap();
                    assert!(is_complete(&numbers, count));
                    let rows = connection.run_query("select $1::int", (task,)).await.unwrap();
                    assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), task);
                }
            })
        })
        .collect();
    for task in tasks {
        bounded(task).await.unwrap();
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_named_wherever_it_is() {
    let (_database, connection) = connected().await;
    let sql = "select nullif(n, $2::int), repeat('x', 80) from generate_series(1, $1::int) n";
    for at in [1, 700, 99_999, 100_000] {
        let query = connection.run_query_as::<Number, _>(sql, (100_000_i32, at));
        let error = bounded(query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        let message = error.to_string();
        assert!(message.contains(&format!("of row {} is NULL", at - 1)), "{message}");
        assert_works(&connection).await;
    }
    let error = bounded(connection.run_query_as::<(i32, i32), _>(NUMBERS, (100_000_i32,))).await;
    assert!(error.unwrap_err().to_string().contains("(text) of every row does not read as i32"));
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_error_of_the_server_in_the_middle_is_the_outcome() {
    let (_database, connection) = connected().await;
    let sql = "select 1 / ($1::int - n), repeat('x', 80) from generate_series(1, 100000) n";
    for at in [1, 700, 50_000, 100_000] {
        let error = bounded(connection.run_query_as::<Number, _>(sql, (at,))).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
        assert_works(&connection).await;
    }
}

/// Polls until part of the answer has come, and goes away.
#[tokio::test]
async fn left_in_the_middle_it_harms_nobody() {
    let (_database, connection) = connected().await;
    for polls in 0..20 {
        {
            let mut query = pin!(connection.run_query_as::<Number, _>(NUMBERS, (50_000_i32,)));
            for _ in 0..polls {
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(numbers) = query.as_mut().poll(&mut cx) {
                    assert!(is_complete(&numbers.unwrap(), 50_000));
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_works(&connection).await;
    }
}

/// Whoever waits behind a large answer is served though nobody polls that any more.
#[tokio::test]
async fn one_that_is_not_polled_holds_nobody_up() {
    let (_database, connection) = connected().await;
    let mut query = pin!(connection.run_query_as::<Number, _>(NUMBERS, (50_000_i32,)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(query.as_mut().poll(&mut cx).is_pending());
    for _ in 0..10 {
        assert_works(&connection).await;
    }
    assert!(is_complete(&bounded(query).await.unwrap(), 50_000));
}

/// Rows of all sizes side by side: none of them tells how large the next one is.
#[tokio::test]
async fn rows_that_are_not_alike_come_as_they_are() {
    let (_database, connection) = connected().await;
    let sql = "select n, repeat('x', case when n % 97 = 0 then 20000 when n % 1000 = 5 then 200000 else n % 3 end), \
                      nullif(n % 5, 0) from generate_series(1, $1::int) n";
    for _ in 0..2 {
        let query = connection.run_query_as::<(i32, String, Option<i32>), _>(sql, (5_000,));
        let rows = bounded(query).await.unwrap();
        assert_eq!(rows.len(), 5_000);
        for ((n, text, rest), expected) in rows.iter().zip(1..) {
            let length = match expected {
                n if n % 97 == 0 => 20_000,
                n if n % 1_000 == 5 => 200_000,
                n => usize::try_from(n % 3).unwrap(),
            };
            assert_eq!((*n, text.len(), rest.unwrap_or(0)), (expected, length, expected % 5));
        }
    }
    // Many columns, and none at all.
    let columns: Vec<String> = (0..1_600).map(|column| format!("n + {column}")).collect();
    let sql = format!("select {} from generate_series(1, $1::int) n", columns.join(", "));
    let rows = bounded(connection.run_query(&sql, (100,))).await.unwrap();
    for (row, n) in rows.iter().zip(1..) {
        for column in [0, 1, 799, 1_599] {
            assert_eq!(row.get::<i32>(column).unwrap(), n + i32::try_from(column).unwrap());
        }
    }
    let sql = "select from generate_series(1, $1::int)";
    let rows = bounded(connection.run_query(sql, (50_000,))).await.unwrap();
    assert_eq!((rows.len(), rows.tail(49_990).len()), (50_000, 10));
}

/// A server that lies about a row, be it the first, the next, or one in the middle of many.
#[tokio::test]
async fn a_row_that_lies_is_found_out_wherever_it_is() {
    let row = |count: u16, values: &[u8]| {
        backend::message(b'D', &[&count.to_be_bytes(), values].concat())
    };
    let lies = [
        (row(2, &[0; 8]), "a row of 2 values for 3 columns"),
        (row(u16::MAX, &[0xff; 40]), "a row of 65535 values for 3 columns"),
        (row(3, b""), "a DataRow that breaks off"),
        (row(3, &[0xff; 11]), "a DataRow that breaks off"),
        (row(3, b"\x7f\xff\xff\xff\0\0\0\0\0\0\0\0"), "a DataRow that breaks off"),
        (row(3, &[0xff; 13]), "a DataRow of 15 bytes whose values take 14"),
        (row(3, b"\x80\0\0\0\0\0\0\0\0\0\0\0"), "a value of -2147483648 bytes"),
        (row(3, b"\xff\xff\xff\xfe\0\0\0\0\0\0\0\0"), "a value of -2 bytes"),
        (backend::message(b'D', b"\0"), "a DataRow that breaks off"),
        (backend::message_claiming(b'D', 3, b""), "a message of kind 'D' with 3 bytes"),
    ];
    let good = backend::data_row(&[Some(b"0123456789"), None, Some(b"")]);
    for before in [0, 1, 5_000] {
        for (lie, text) in &lies {
            let script = Script::new()
                .welcome()
                .expect_messages(b"PDS")
                .send(backend::parse_complete())
                .send(backend::parameter_description(&[25]))
                .send(backend::row_description(&[("a", 25), ("b", 25), ("c", 25)], 0))
                .send(backend::ready(b'I'))
                .expect_messages(b"BES")
                .send([backend::bind_complete(), good.repeat(before), lie.clone()].concat())
                .send(good.repeat(10));
            let server = script.play().unwrap();
            let connection = welcomed(&server).await;
            let sql = "select a, b, c from t where a <> $1";
            let query = connection.run_query_as::<(String, Option<String>, String), _>(sql, ("",));
            let Err(error) = bounded(query).await else {
                panic!("{text:?} was believed after {before} rows");
            };
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.to_string().contains(text), "{error} after {before} rows");
        }
    }
}

/// What the server says between rows is not taken for one, and loses none.
#[tokio::test]
async fn notices_may_come_between_any_two_rows() {
    let (_database, connection) = connected().await;
    let sql = "create function loud(n int) returns int language plpgsql as \
               'begin raise notice ''%'', n; return n; end'";
    bounded(connection.run_operation(sql, ())).await.unwrap();
    let sql = "select loud(n), repeat('x', 80) from generate_series(1, $1::int) n";
    for count in [10, 10_000, 10_000] {
        let numbers = bounded(connection.run_query_as::<Number, _>(sql, (count,))).await.unwrap();
        assert!(is_complete(&numbers, count));
        let mut stream = connection.query_stream(sql, (count,)).rows_as::<Number>();
        let mut numbers = Vec::new();
        while let Some(number) = bounded(stream.next()).await {
            numbers.push(number.unwrap());
        }
        assert!(is_complete(&numbers, count));
    }
}

/// A row that says when the first of its kind was read.
struct Telling(String);

static READ: Notify = Notify::const_new();

impl<'r> FromRow<'r> for Telling {
    type Layout = ColumnReader;

    fn layout(columns: &[Column]) -> Result<ColumnReader> {
        ColumnReader::new::<String>(columns, 0)
    }

    fn from_row(place: &ColumnReader, row: Row<'r>) -> Result<Self> {
        READ.notify_one();
        Ok(Self(row.read(place)?))
    }
}

/// The server carries a statement out to its end, and commits, though it is told to cancel it when half of the answer is read: that
/// came too late, and the answer counts.
#[tokio::test]
async fn a_cancel_that_comes_too_late_takes_nothing_away() {
    let row = backend::data_row(&[Some(&[b'x'; 1_000])]);
    let prepared = Script::new()
        .welcome()
        .expect_messages(b"PDS")
        .send(backend::parse_complete())
        .send(backend::parameter_description(&[23]))
        .send(backend::row_description(&[("name", 25)], 0))
        .send(backend::ready(b'I'))
        .expect_messages(b"BES");
    let answered = prepared
        .send(backend::bind_complete())
        .send(row.repeat(300))
        // Time to be told to cancel.
        .silence(Duration::from_millis(300))
        .send(row.repeat(300))
        .send(backend::command_complete("INSERT 0 600"))
        .send(backend::ready(b'I'))
        .expect_message(b'X');
    let cancel = Script::new().expect_cancel_request();
    let server = ScriptedServer::tcp(vec![answered, cancel]).unwrap();
    let connection = welcomed(&server).await;
    let sql = "insert into people select from strangers where id < $1 returning name";
    let mut query = connection.run_query_as::<Telling, _>(sql, (7_i32,));
    let handle = query.cancel_handle();
    let cancel = async {
        READ.notified().await;
        connection.cancel(&handle).await
    };
    let (rows, cancelled) = bounded(async { tokio::join!(query, cancel) }).await;
    cancelled.unwrap();
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 600);
    assert!(rows.iter().all(|row| row.0.len() == 1_000));
    bounded(connection.close()).await;
    server.finish().unwrap();
}
