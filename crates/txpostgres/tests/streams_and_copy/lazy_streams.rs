//! Byte streams that keep back what they are given until they are told to flush, and have no room for a while: nobody waits for
//! ever, whether the waker is called for room, for a flush or for something to read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite as _;
use tokio::time::{Sleep, sleep};
use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Connection, Dial, DialFuture, Sockets};
use txpostgres_testkit::{Database, shared};

use crate::support::around::{Around, Wrapped};
use crate::support::polls::GiveUp;
use crate::support::{assert_works, bounded, count};

/// Dials streams that keep so many bytes back.
struct Lazy {
    room: usize,
}

struct Lazily {
    stream: Box<dyn ByteStream>,
    room: usize,
    kept: Vec<u8>,
    /// Before anything is passed on.
    nap: Option<Pin<Box<Sleep>>>,
}

impl Dial for Lazy {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            let stream = Sockets.dial(endpoint, config).await?;
            let lazily = Lazily { stream, room: self.room, kept: Vec::new(), nap: None };
            Ok(Box::new(Wrapped(lazily)) as Box<dyn ByteStream>)
        })
    }
}

impl Lazily {
    fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let nap = self.nap.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(1))));
            ready!(nap.as_mut().poll(cx));
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.kept))?;
            self.kept.drain(..count);
            self.nap = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Around for Lazily {
    fn inside(&mut self) -> Pin<&mut dyn ByteStream> {
        Pin::new(&mut *self.stream)
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.kept.len() == self.room {
            ready!(self.poll_pass_on(cx))?;
        }
        let room = self.room - self.kept.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.kept.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pass_on(cx))?;
        self.inside().poll_flush(cx)
    }

    fn shut_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pass_on(cx))?;
        self.inside().poll_shutdown(cx)
    }
}

async fn lazy(room: usize) -> (Database, Connection) {
    let database = shared().database().unwrap();
    let connection = Connection::builder().connection_factory(Lazy { room }).build();
    bounded(connection.connect(&*database.dsn())).await.unwrap();
    (database, connection)
}

/// Tasks that send and get much or little, over and over, on one connection.
async fn many_ask(connection: &Connection, tasks: i32) {
    let ask = async |connection: Connection, task: i32| {
        for round in 0..3 {
            let sent = "p".repeat(usize::try_from(task % 7).unwrap() * 3_000);
            let count = if (task + round) % 10 == 0 { 1_000 } else { task % 50 };
            let sql = "select n, $2::text from generate_series(1, $1::int) n";
            let rows = connection.run_query_as::<(i32, String), _>(sql, (count, "x".repeat(80)));
            assert!(rows.await.unwrap().iter().map(|(n, _)| *n).eq(1..=count));
            let sql = "select length($1::text), $2::int";
            let rows = connection.run_query_as::<(i32, i32), _>(sql, (&*sent, task)).await.unwrap();
            assert_eq!(rows, [(i32::try_from(sent.len()).unwrap(), task)]);
        }
    };
    let tasks: Vec<_> =
        (0..tasks).map(|task| tokio::spawn(ask(connection.clone(), task))).collect();
    for task in tasks {
        bounded(task).await.unwrap();
    }
    assert_works(connection).await;
}

async fn a_copy_goes_in(connection: &Connection) {
    bounded(connection.run_operation("create table people (id int8, name text)", ()))
        .await
        .unwrap();
    let mut copy = bounded(connection.copy_in_rows("people", &[])).await.unwrap();
    let rows = (0..500_i64).map(|id| (id, "x".repeat(1_000)));
    bounded(copy.send_many(rows)).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 500);
    assert_works(connection).await;
}

#[tokio::test]
async fn requests_larger_than_the_room_all_leave() {
    let (_database, connection) = lazy(8 * 1024).await;
    many_ask(&connection, 100).await;
    a_copy_goes_in(&connection).await;
    bounded(connection.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_back_is_flushed_whoever_drives() {
    for room in [10_000, 1_000_000] {
        let (_database, connection) = lazy(room).await;
        many_ask(&connection, 300).await;
        a_copy_goes_in(&connection).await;
        bounded(connection.close()).await;
    }
}

/// Every row that was taken is sent, once, and none in part.
#[tokio::test]
async fn sending_many_rows_can_be_given_up_and_gone_on_with() {
    let (_database, connection) = lazy(16 * 1024).await;
    let sql = "create table people (id int8 primary key, name text)";
    bounded(connection.run_operation(sql, ())).await.unwrap();
    let mut left = 0;
    for after in 0..20 {
        let mut copy = bounded(connection.copy_in_rows("people", &[])).await.unwrap();
        let mut ids = 0..300_i64;
        let give_up = GiveUp { after, woken: after % 2 == 0 };
        let rows = ids.by_ref().map(|id| (id, "x".repeat(1_000)));
        left += usize::from(bounded(give_up.poll(copy.send_many(rows))).await.is_none());
        let taken = ids.start;
        bounded(copy.send((taken, "the last"))).await.unwrap();
        assert_eq!(bounded(copy.finish()).await.unwrap(), u64::try_from(taken + 1).unwrap());
        let sql = "with gone as (delete from people returning id) \
                   select coalesce(sum(id), 0)::int8 from gone";
        assert_eq!(count(&connection, sql).await, taken * (taken + 1) / 2);
    }
    assert!(left > 5, "it waits at {left} places only");
}
