//! A burst of one transaction, heard by a listener that does nothing else: whatever it is awaited
//! in.

use std::future::Future;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use txpostgres::config::{Config, Endpoint};
use txpostgres::{
    ByteStream, Connection, Dial, DialFuture, NotifyEvent, NotifyObserver, Subscription,
};
use txpostgres_testkit::{Database, backend};

use crate::support::patience::runtime;
use crate::support::{bounded, connected};

/// Several times what a queue holds.
const COUNT: usize = 100_000;

/// Sends `COUNT` notifications in one transaction, from a thread of its own.
fn burst(database: Database) -> JoinHandle<Database> {
    thread::spawn(move || {
        let sql =
            format!("select count(pg_notify('x', n::text)) from generate_series(1, {COUNT}) n");
        assert_eq!(database.sql(&sql).unwrap(), COUNT.to_string());
        database
    })
}

/// All of it, in order.
async fn hear(subscription: &mut Subscription) {
    for number in 1..=COUNT {
        match subscription.next().await {
            Some(NotifyEvent::Notification(heard)) => {
                assert_eq!(heard.payload(), number.to_string());
            }
            other => panic!("instead of {number}: {other:?}"),
        }
    }
}

async fn nothing_is_missed<F: Future<Output = ()>>(hear: impl FnOnce(Subscription) -> F) {
    let (database, connection) = connected().await;
    let subscription = bounded(connection.subscribe("x")).await.unwrap();
    let sending = burst(database);
    bounded(hear(subscription)).await;
    drop(sending.join().unwrap());
}

/// Gives out one end of a pipe in memory, whose other end a server has.
struct Pipe(Mutex<Option<DuplexStream>>);

impl Dial for Pipe {
    fn dial<'a>(&'a self, _: &'a Endpoint, _: &'a Config) -> DialFuture<'a> {
        let stream = self.0.lock().unwrap().take().unwrap();
        Box::pin(async move { Ok(Box::new(stream) as Box<dyn ByteStream>) })
    }
}

/// Welcomes its client, and answers LISTEN with the whole burst behind the answer.
async fn serve(mut stream: DuplexStream) {
    let mut heard = [0; 4096];
    let burst = (1..=COUNT).flat_map(|n| backend::notification(1, "x", &n.to_string())).collect();
    let listening = [backend::command_complete("LISTEN"), backend::ready(b'I'), burst].concat();
    for answer in [backend::welcome(), listening] {
        assert!(stream.read(&mut heard).await.unwrap() > 0);
        stream.write_all(&answer).await.unwrap();
    }
    while stream.read(&mut heard).await.is_ok_and(|count| count > 0) {}
}

/// The burst lies ready, so that nothing but the connection itself makes reading wait. The future
/// of `block_on` is polled once in a turn of the executor, and tasks are polled often.
#[test]
fn nothing_that_lies_ready_is_missed_by_a_listener_awaited_in_block_on() {
    for workers in [0, 2] {
        runtime(workers).block_on(async {
            let (near, far) = tokio::io::duplex(16 * 1024 * 1024);
            tokio::spawn(serve(far));
            let pipe = Pipe(Mutex::new(Some(near)));
            let connection = Connection::builder().connection_factory(pipe).build();
            bounded(connection.connect("host=memory user=me sslmode=disable")).await.unwrap();
            let mut subscription = bounded(connection.subscribe("x")).await.unwrap();
            bounded(hear(&mut subscription)).await;
        });
    }
}

#[test]
fn nothing_is_missed_by_a_listener_awaited_in_block_on() {
    for workers in [0, 2] {
        runtime(workers).block_on(nothing_is_missed(async |mut subscription| {
            hear(&mut subscription).await;
        }));
    }
}

#[test]
fn nothing_is_missed_by_a_listener_in_a_task() {
    for workers in [0, 2] {
        runtime(workers).block_on(nothing_is_missed(async |mut subscription| {
            tokio::spawn(async move { hear(&mut subscription).await }).await.unwrap();
        }));
    }
}

/// Beside other branches of the same task.
#[test]
fn nothing_is_missed_by_a_listener_beside_queries_of_its_task() {
    for workers in [0, 2] {
        runtime(workers).block_on(async {
            let (database, connection) = connected().await;
            let mut subscription = bounded(connection.subscribe("x")).await.unwrap();
            let sending = burst(database);
            let asking = async {
                loop {
                    connection.run_query("select 1", ()).await.unwrap();
                }
            };
            bounded(async {
                tokio::select! {
                    () = asking => {}
                    () = hear(&mut subscription) => {}
                }
            })
            .await;
            drop(sending.join().unwrap());
        });
    }
}

/// An observer that does next to nothing, while the task in `block_on` waits for it.
#[test]
fn nothing_is_missed_by_an_observer() {
    for workers in [0, 2] {
        runtime(workers).block_on(async {
            let (database, connection) = connected().await;
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            connection.add_notify_observer(NotifyObserver::immediate(move |event| {
                sender.send(event).ok();
            }));
            bounded(connection.listen("x")).await.unwrap();
            let sending = burst(database);
            bounded(async {
                for number in 1..=COUNT {
                    match receiver.recv().await {
                        Some(NotifyEvent::Notification(heard)) => {
                            assert_eq!(heard.payload(), number.to_string());
                        }
                        other => panic!("instead of {number}: {other:?}"),
                    }
                }
            })
            .await;
            drop(sending.join().unwrap());
        });
    }
}
