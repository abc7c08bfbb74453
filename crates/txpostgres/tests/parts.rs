//! Large answers that are read into a shape as they come: complete, in order, with errors in their right place, and left
//! half-way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use support::{assert_works, bounded, connected, welcomed};
use tokio::sync::Notify;
use txpostgres::{Column, ErrorKind, FromRow, Place, Result, Row, SqlState};
use txpostgres_testkit::{Script, ScriptedServer, backend};

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

/// A row that says when the first of its kind was read.
struct Telling(String);

static READ: Notify = Notify::const_new();

impl<'r> FromRow<'r> for Telling {
    type Layout = Place;

    fn layout(columns: &[Column]) -> Result<Place> {
        Place::of::<String>(columns, 0)
    }

    fn from_row(place: &Place, row: Row<'r>) -> Result<Self> {
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
