//! Servers that notify more than anybody can hear, or what no server would.

use txpostgres::{Connection, ErrorKind, NotifyEvent, NotifyObserver, QueueBounds};
use txpostgres_testkit::{Script, ScriptedServer, backend};

use crate::support::{bounded, eventually};

/// A server that confirms LISTEN, sends this after the next script, and waits for the end.
fn server(sent: &[u8]) -> ScriptedServer {
    let confirmed = [backend::command_complete("LISTEN"), backend::ready(b'I')].concat();
    let script = Script::new().welcome().expect_message(b'Q').send(&confirmed);
    let script = script.expect_message(b'Q').send(&confirmed).send(sent);
    script.expect_message(b'X').expect_end().play().unwrap()
}

/// Has the server begin, once everybody who was spawned is listening.
async fn begin(connection: &Connection) {
    tokio::task::yield_now().await;
    bounded(connection.run_script("go")).await.unwrap();
}

async fn open(server: &ScriptedServer, bounds: QueueBounds) -> Connection {
    let connection = Connection::builder().notify_queue(bounds).build();
    bounded(connection.connect(&*server.dsn())).await.unwrap();
    connection
}

/// A burst that lies ready in the socket, and is many times what a queue holds. On one thread the listener has a turn only
/// if the driver of the connection lets it have one.
#[tokio::test]
async fn a_burst_is_heard_in_full_by_who_has_nothing_else_to_do() {
    let burst: Vec<u8> =
        (0..100_000).flat_map(|n: i32| backend::notification(1, "a", &n.to_string())).collect();
    let server = server(&burst);
    // More than one read of 64 KiB can bring, and less than two.
    let bounds = QueueBounds { notifications: 5_000, ..QueueBounds::default() };
    let connection = open(&server, bounds).await;
    let mut stream = bounded(connection.subscribe("a")).await.unwrap();
    let listening = tokio::spawn(async move {
        for n in 0..100_000 {
            match stream.next().await {
                Some(NotifyEvent::Notification(heard)) => {
                    assert_eq!(heard.payload(), n.to_string());
                }
                other => panic!("{n}: {other:?}"),
            }
        }
        // UNLISTEN is not in the script.
        std::mem::forget(stream);
    });
    begin(&connection).await;
    bounded(listening).await.unwrap();
    bounded(connection.close()).await;
    server.finish().unwrap();
}

/// The same for an observer: its turns must not be so short that the connection reads faster than it is called.
#[tokio::test]
async fn a_burst_is_heard_in_full_by_an_observer_that_works_little() {
    let burst: Vec<u8> =
        (0..100_000).flat_map(|n: i32| backend::notification(1, "a", &n.to_string())).collect();
    let server = server(&burst);
    let connection = open(&server, QueueBounds::default()).await;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    connection.add_notify_observer(NotifyObserver::immediate(move |event| {
        told.send(event).ok();
    }));
    bounded(connection.listen("a")).await.unwrap();
    begin(&connection).await;
    for n in 0..100_000 {
        match bounded(heard.recv()).await {
            Some(NotifyEvent::Notification(heard)) => assert_eq!(heard.payload(), n.to_string()),
            other => panic!("{n}: {other:?}"),
        }
    }
    bounded(connection.close()).await;
    server.finish().unwrap();
}

/// Payloads that no server would take, to fill the memory of who does not listen.
#[tokio::test]
async fn huge_payloads_are_bounded_in_bytes() {
    const NOTIFICATIONS: u64 = 300;
    let payload = "x".repeat(200 * 1024);
    let mut sent = backend::notification(1, "a", &payload).repeat(300);
    sent.extend(backend::notification(1, "last", ""));
    let server = server(&sent);
    let connection = open(&server, QueueBounds::default()).await;
    let mut stuck = connection.notifications();
    let mut last = connection.notifications();
    bounded(connection.listen("a")).await.unwrap();
    let listening = tokio::spawn(async move {
        let mut missed = 0;
        while let Some(event) = last.next().await {
            match event {
                NotifyEvent::Notification(heard) if heard.channel() == "last" => break,
                NotifyEvent::Missed(count) => missed += count,
                _ => {}
            }
        }
        missed
    });
    begin(&connection).await;
    assert_eq!(bounded(listening).await.unwrap(), 0, "it was heard as fast as it came");
    let Some(NotifyEvent::Missed(missed)) = bounded(stuck.next()).await else {
        panic!("nothing was missed");
    };
    bounded(connection.close()).await;
    let mut bytes = 0;
    let mut heard = 0;
    while let Some(event) = bounded(stuck.next()).await {
        if let Some(notification) = event.notification() {
            bytes += notification.payload().len();
            heard += 1;
        }
    }
    assert_eq!(missed + heard, NOTIFICATIONS + 1);
    assert!(bytes <= QueueBounds::default().bytes, "{bytes} bytes waited");
    assert!(bytes > QueueBounds::default().bytes / 2, "only {bytes} bytes waited");
    server.finish().unwrap();
}

#[tokio::test]
async fn a_notification_that_no_server_would_send_ends_the_connection() {
    let too_large = backend::notification(1, "a", &"x".repeat(256 * 1024));
    let breaks_off = backend::message(b'A', &[0, 0, 0, 1, b'a', 0]);
    for sent in [too_large, breaks_off] {
        let confirmed = [backend::command_complete("LISTEN"), backend::ready(b'I')].concat();
        let good = backend::notification(1, "a", "good");
        let script = Script::new().welcome().expect_message(b'Q').send(confirmed).send(good);
        let server = script.send(sent).expect_end().play().unwrap();
        let connection = open(&server, QueueBounds::default()).await;
        let mut stream = bounded(connection.subscribe("a")).await.unwrap();
        let event = bounded(stream.next()).await.unwrap();
        assert_eq!(event.notification().unwrap().payload(), "good");
        assert_eq!(bounded(stream.next()).await, Some(NotifyEvent::Disconnected));
        eventually("the connection is closed", || connection.is_closed()).await;
        let error = connection.run_query("select 1", ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionDead);
    }
}

/// The server dies while LISTEN is on its way: whoever waits is told, and the next session starts from nothing.
#[tokio::test]
async fn a_server_that_dies_during_listen() {
    let server = Script::new().welcome().expect_message(b'Q').reset().play().unwrap();
    let connection = open(&server, QueueBounds::default()).await;
    let (one, two, three) = bounded(async {
        tokio::join!(connection.listen("b"), connection.unlisten_all(), connection.subscribe("a"))
    })
    .await;
    for error in [one.unwrap_err(), two.unwrap_err(), three.map(drop).unwrap_err()] {
        let kinds = [ErrorKind::Lost, ErrorKind::ConnectionDead];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
    server.finish().unwrap();
}
