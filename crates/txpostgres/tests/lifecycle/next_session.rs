//! What is left over of one session does nothing to the next: neither a cancel that the server is
//! still being told of, nor a watchdog that comes late.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Connection, Dial, DialFuture, NotifyEvent, Sockets};
use txpostgres_testkit::shared;

use crate::support::polls::touch;
use crate::support::{assert_works, bounded};

/// Reaches the server, but for the second time: then a peer that takes what it is sent and never
/// hangs up.
struct Swallowed {
    dialed: AtomicUsize,
    port: u16,
}

impl Dial for Swallowed {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        let is_second = self.dialed.fetch_add(1, Ordering::SeqCst) == 1;
        Box::pin(async move {
            if is_second {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
                return Ok(Box::new(stream) as Box<dyn ByteStream>);
            }
            Sockets.dial(endpoint, config).await
        })
    }
}

#[tokio::test]
async fn a_cancel_whose_session_is_over_does_not_close_the_next_session() {
    const GRACE: Duration = Duration::from_millis(300);
    let database = shared().database().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dial = Swallowed { dialed: AtomicUsize::new(0), port };
    let connection = Connection::builder().cancel_grace(GRACE).connection_factory(dial).build();
    bounded(connection.connect(database.dsn())).await.unwrap();
    let mut call = connection.run_query("select pg_sleep(60)", ());
    let handle = call.cancel_handle();
    let call = tokio::spawn(async move { call.await.map(drop) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let cancelling = handle.cancel();
    let told = bounded(listener.accept()).await.unwrap();
    bounded(connection.close()).await;
    bounded(call).await.unwrap().unwrap_err();
    bounded(connection.connect(database.dsn())).await.unwrap();
    // The end of the grace period comes while this runs.
    bounded(connection.run_query("select pg_sleep(0.6)", ())).await.unwrap();
    bounded(cancelling).await.unwrap();
    assert_works(&connection).await;
    drop(told);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn the_watchdog_of_an_earlier_session_may_come_late() {
    let database = shared().database().unwrap();
    let connection = Connection::new();
    let (first, second) = (runtime(), runtime());
    first.block_on(async { bounded(connection.connect(database.dsn())).await }).unwrap();
    // Closed while the runtime of its watchdog does not run.
    second.block_on(async { assert!(touch(pin!(connection.close())).is_pending()) });
    let mut subscription = second.block_on(async {
        bounded(connection.connect(database.dsn())).await.unwrap();
        let subscription = bounded(connection.subscribe("news")).await.unwrap();
        // Its own watchdog sleeps.
        tokio::time::sleep(Duration::from_millis(50)).await;
        subscription
    });
    first.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    second.block_on(async {
        let sender = bounded(Connection::open(database.dsn())).await.unwrap();
        bounded(sender.notify("news", "hello")).await.unwrap();
        let event = bounded(subscription.next()).await.unwrap();
        assert!(matches!(event, NotifyEvent::Notification(_)), "{event:?}");
    });
}
