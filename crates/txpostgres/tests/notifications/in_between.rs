//! LISTEN and UNLISTEN asked for in the middle of something else: in the closure of an interaction
//! they work, behind a stream or a COPY of the same task they are refused at once.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use txpostgres::{Connection, Error, ErrorKind, NotifyEvent, Subscription};
use txpostgres_testkit::Database;

use crate::support::polls::begin;
use crate::support::{assert_works, bounded, connected};

/// The payload of the next notification.
async fn heard(subscription: &mut Subscription) -> String {
    match bounded(subscription.next()).await {
        Some(NotifyEvent::Notification(notification)) => notification.payload().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Notifies until it is heard: LISTEN is on its way.
async fn heard_at_last(database: &Database, channel: &str, subscription: &mut Subscription) {
    bounded(async {
        loop {
            database.sql(&format!("notify {channel}")).unwrap();
            let next = tokio::time::timeout(Duration::from_millis(20), subscription.next());
            if let Ok(Some(NotifyEvent::Notification(_))) = next.await {
                return;
            }
        }
    })
    .await;
}

/// Waits until the server says that the session listens to these channels.
async fn until_listening(connection: &Connection, channels: &[&str]) {
    let sql = "select pg_listening_channels() order by 1";
    let asking = async {
        loop {
            let names = connection.run_query_as::<(String,), _>(sql, ()).await.unwrap();
            if names.iter().map(|(name,)| name.as_str()).eq(channels.iter().copied()) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let asking = tokio::time::timeout(Duration::from_secs(20), asking).await;
    assert!(asking.is_ok(), "the session does not come to listen to {channels:?}");
}

/// How an interaction comes to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Commits,
    Fails,
}

/// Where in an interaction something is asked for.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before BEGIN.
    First,
    Later,
    Nested,
}

const ENDS: [End; 2] = [End::Commits, End::Fails];
const PLACES: [Place; 3] = [Place::First, Place::Later, Place::Nested];

/// Asks for this at this place of an interaction that ends so; gives what was asked for.
async fn within<T: Send>(
    connection: &Connection,
    place: Place,
    end: End,
    ask: impl Future<Output = Result<T, Error>> + Send,
) -> T {
    let mut given = None;
    let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        match place {
            Place::First => {
                given = Some(ask.await?);
                cursor.run_query("select 1", ()).await?;
            }
            Place::Later => {
                cursor.run_query("select 1", ()).await?;
                given = Some(ask.await?);
            }
            Place::Nested => {
                let nested = async |nested: txpostgres::Cursor| {
                    nested.run_query("select 1", ()).await?;
                    given = Some(ask.await?);
                    nested.run_query("select 2", ()).await?;
                    Ok::<_, Error>(())
                };
                cursor.run_interaction(nested).await?;
            }
        }
        match end {
            End::Commits => Ok(()),
            End::Fails => Err(Error::new(ErrorKind::Decode, "as it pleases")),
        }
    }))
    .await;
    assert_eq!(outcome.is_ok(), end == End::Commits, "{place:?}: {outcome:?}");
    given.unwrap()
}

#[tokio::test]
async fn a_subscription_made_in_a_closure_hears() {
    let (database, connection) = connected().await;
    for place in PLACES {
        for end in ENDS {
            let mut subscription = within(&connection, place, end, connection.subscribe("x")).await;
            if end == End::Commits {
                // LISTEN counts from the COMMIT on.
                database.sql("notify x, 'after the commit'").unwrap();
                assert_eq!(heard(&mut subscription).await, "after the commit");
            } else {
                heard_at_last(&database, "x", &mut subscription).await;
            }
            drop(subscription);
            assert_works(&connection).await;
        }
    }
}

#[tokio::test]
async fn listen_and_unlisten_in_a_closure_are_in_force_after_it() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    for place in PLACES {
        for end in ENDS {
            within(connection, place, end, connection.listen("y")).await;
            until_listening(connection, &["y"]).await;
            within(connection, place, end, connection.unlisten("y")).await;
            until_listening(connection, &[]).await;
        }
    }
    assert_works(connection).await;
}

/// Two subscriptions to a channel, of which the closure makes one and drops the other.
#[tokio::test]
async fn subscriptions_that_change_hands_in_a_closure() {
    let (database, connection) = connected().await;
    for end in ENDS {
        let outer = bounded(connection.subscribe("x")).await.unwrap();
        let mut inner = within(&connection, Place::Later, end, async {
            let inner = connection.subscribe("x").await?;
            drop(outer);
            Ok(inner)
        })
        .await;
        heard_at_last(&database, "x", &mut inner).await;
    }
    until_listening(&connection, &[]).await;
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

fn asked(connection: &Connection) -> Vec<(&'static str, Asked<'_>)> {
    vec![
        ("listen", Box::pin(async { connection.listen("new").await })),
        ("subscribe", Box::pin(async { connection.subscribe("new").await.map(drop) })),
        ("unlisten", Box::pin(async { connection.unlisten("old").await })),
        ("unlisten all", Box::pin(async { connection.unlisten_all().await })),
    ]
}

/// More rows than a stream keeps, so that the server has to wait for its reader.
const BIG: &str = "select repeat('x', 1000) from generate_series(1, 20000)";

/// The task that asks is the one that is to read on: it is told so at once, and reads on.
#[tokio::test]
async fn behind_a_stream_of_the_same_task_they_are_refused_at_once() {
    let (_database, connection) = connected().await;
    for number in 0..asked(&connection).len() {
        bounded(connection.listen("old")).await.unwrap();
        let mut stream = connection.query_stream(BIG, ());
        bounded(stream.next()).await.unwrap().unwrap();
        let (what, call) = asked(&connection).swap_remove(number);
        let error = bounded(call).await.expect_err(what);
        assert!(error.hint().is_some(), "{what}: {error:?}");
        let mut rows = 1;
        while let Some(row) = bounded(stream.next()).await {
            row.unwrap();
            rows += 1;
        }
        assert_eq!(rows, 20_000, "{what}");
        drop(stream);
        let (what, call) = asked(&connection).swap_remove(number);
        assert!(bounded(call).await.is_ok(), "{what}");
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn behind_a_copy_of_the_same_task_they_are_refused_at_once() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    for number in 0..asked(&connection).len() {
        bounded(connection.listen("old")).await.unwrap();
        let copy_out = format!("copy ({BIG}) to stdout");
        let mut out = bounded(connection.copy_out(&copy_out)).await.unwrap();
        bounded(out.next()).await.unwrap().unwrap();
        let (what, call) = asked(&connection).swap_remove(number);
        let error = bounded(call).await.expect_err(what);
        assert!(error.hint().is_some(), "{what}: {error:?}");
        drop(out);
        let mut copy_in = bounded(connection.copy_in("copy t from stdin")).await.unwrap();
        bounded(copy_in.send("1\n")).await.unwrap();
        let (what, call) = asked(&connection).swap_remove(number);
        let error = bounded(call).await.expect_err(what);
        assert!(error.hint().is_some(), "{what}: {error:?}");
        assert_eq!(bounded(copy_in.finish()).await.unwrap(), 1);
        assert_works(&connection).await;
    }
}

/// Another task reads the stream: who asks waits for its end.
#[tokio::test]
async fn behind_a_stream_of_another_task_they_wait() {
    let (_database, connection) = connected().await;
    for number in 0..asked(&connection).len() {
        let reading = connection.clone();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (ask, has_asked) = tokio::sync::oneshot::channel();
        let reader = tokio::spawn(async move {
            let mut stream = reading.query_stream(BIG, ());
            let mut rows = stream.next_rows().await.unwrap().unwrap().len();
            begun.send(()).unwrap();
            has_asked.await.unwrap();
            while let Some(more) = stream.next_rows().await.unwrap() {
                rows += more.len();
            }
            rows
        });
        bounded(has_begun).await.unwrap();
        let (what, mut call) = asked(&connection).swap_remove(number);
        // What there is nothing to send for is done.
        let first = begin(call.as_mut()).await;
        ask.send(()).unwrap();
        let outcome = match first {
            std::task::Poll::Ready(outcome) => outcome,
            std::task::Poll::Pending => bounded(call).await,
        };
        assert!(outcome.is_ok(), "{what}: {outcome:?}");
        assert_eq!(bounded(reader).await.unwrap(), 20_000);
    }
    assert_works(&connection).await;
}
