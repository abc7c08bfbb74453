//! What SQL texts do to LISTEN is noticed: what is listened to is what is wanted, whatever they
//! said.

use std::time::Duration;

use txpostgres::{Connection, NotifyEvent, Subscription};
use txpostgres_testkit::Database;

use crate::support::{assert_works, bounded, connected};

/// Texts after which the server listens to nothing that was listened to before.
const FORGETTING: [&str; 7] = [
    "discard all",
    "DISCARD ALL",
    "unlisten *",
    "unlisten x; unlisten y",
    "begin; unlisten *; commit",
    "unlisten *; listen z",
    "begin; unlisten x; unlisten y; select 1; end",
];

/// The ways of sending a text.
#[derive(Debug, Clone, Copy)]
enum Way {
    Script,
    Query,
    Operation,
    Cursor,
}

async fn send(connection: &Connection, way: Way, sql: &str) {
    match way {
        Way::Script => drop(bounded(connection.run_script(sql)).await.unwrap()),
        Way::Query => drop(bounded(connection.run_query(sql, ())).await.unwrap()),
        Way::Operation => drop(bounded(connection.run_operation(sql, ())).await.unwrap()),
        Way::Cursor => drop(bounded(connection.cursor().execute(sql, ())).await.unwrap()),
    }
}

/// Every text in every way in which it can be sent.
fn sent() -> impl Iterator<Item = (Way, &'static str)> {
    FORGETTING.into_iter().flat_map(|sql| {
        let several = sql.contains(';');
        let ways: &[Way] = if several {
            &[Way::Script]
        } else {
            &[Way::Script, Way::Query, Way::Operation, Way::Cursor]
        };
        ways.iter().map(move |way| (*way, sql))
    })
}

async fn heard(subscription: &mut Subscription) -> String {
    match bounded(subscription.next()).await {
        Some(NotifyEvent::Notification(notification)) => notification.payload().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Notifies until it is heard: LISTEN is on its way.
async fn heard_at_last(what: &str, database: &Database, subscription: &mut Subscription) {
    let hearing = async {
        loop {
            database.sql("notify x").unwrap();
            let next = tokio::time::timeout(Duration::from_millis(20), subscription.next());
            match next.await {
                Ok(Some(NotifyEvent::Notification(_))) => return,
                Ok(other) => panic!("{what}: {other:?}"),
                Err(_) => {}
            }
        }
    };
    let hearing = tokio::time::timeout(Duration::from_secs(10), hearing).await;
    assert!(hearing.is_ok(), "after {what} nothing is heard");
}

/// What is asked for after such a text is in force when it says so, on channels known before.
#[tokio::test]
async fn listen_and_subscribe_hear_after_a_text_that_forgets_channels() {
    let (database, connection) = connected().await;
    for (way, sql) in sent() {
        let before = bounded(connection.subscribe("x")).await.unwrap();
        bounded(connection.listen("y")).await.unwrap();
        send(&connection, way, sql).await;
        let mut subscription = bounded(connection.subscribe("x")).await.unwrap();
        bounded(connection.listen("y")).await.unwrap();
        let mut all = connection.notifications();
        database.sql("notify y, 'listened'; notify x, 'subscribed'").unwrap();
        let hearing = tokio::time::timeout(Duration::from_secs(10), async {
            (heard(&mut subscription).await, all.next().await)
        });
        let heard = hearing.await;
        let Ok((payload, Some(NotifyEvent::Notification(first)))) = heard else {
            panic!("after {sql} by {way:?} nothing is heard: {heard:?}");
        };
        assert_eq!((payload.as_str(), first.payload()), ("subscribed", "listened"), "{sql}");
        drop(before);
    }
    assert_works(&connection).await;
}

/// A subscription that was there hears again, with nothing asked for.
#[tokio::test]
async fn a_subscription_outlives_a_text_that_forgets_channels() {
    let (database, connection) = connected().await;
    for (way, sql) in sent() {
        let mut subscription = bounded(connection.subscribe("x")).await.unwrap();
        send(&connection, way, sql).await;
        heard_at_last(sql, &database, &mut subscription).await;
    }
    assert_works(&connection).await;
}

/// Texts before and after a `subscribe` that the server takes back.
const UNDONE: [(&str, &str); 5] = [
    ("begin", "rollback"),
    ("begin; savepoint s", "rollback to savepoint s; commit"),
    ("begin; savepoint s", "rollback to s; release s; commit"),
    ("begin", "select 1; rollback"),
    ("begin; select 1", "rollback and chain; commit"),
];

/// LISTEN counts when its transaction is over: taken back, it is renewed.
#[tokio::test]
async fn a_subscription_made_in_a_transaction_that_is_rolled_back_hears() {
    let (database, connection) = connected().await;
    for (before, after) in UNDONE {
        bounded(connection.run_script(before)).await.unwrap();
        let mut first = bounded(connection.subscribe("x")).await.unwrap();
        bounded(connection.run_script(after)).await.unwrap();
        let mut second = bounded(connection.subscribe("x")).await.unwrap();
        database.sql("notify x, 'after it'").unwrap();
        for subscription in [&mut first, &mut second] {
            let hearing = tokio::time::timeout(Duration::from_secs(10), heard(subscription)).await;
            assert_eq!(hearing.ok().as_deref(), Some("after it"), "{before}, {after}");
        }
        drop((first, second));

        bounded(connection.run_script(before)).await.unwrap();
        let mut alone = bounded(connection.subscribe("x")).await.unwrap();
        bounded(connection.run_script(after)).await.unwrap();
        heard_at_last(after, &database, &mut alone).await;
    }
    assert_works(&connection).await;
}

/// An UNLISTEN that the server takes back is sent again.
#[tokio::test]
async fn an_unlisten_in_a_transaction_that_is_rolled_back_is_renewed() {
    let (_database, connection) = connected().await;
    for (before, after) in UNDONE {
        bounded(connection.listen("x")).await.unwrap();
        bounded(connection.run_script(before)).await.unwrap();
        bounded(connection.unlisten("x")).await.unwrap();
        bounded(connection.run_script(after)).await.unwrap();
        let gone = tokio::time::timeout(Duration::from_secs(10), async {
            let sql = "select pg_listening_channels()";
            while !connection.run_query(sql, ()).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(gone.await.is_ok(), "after {after} the server listens");
    }
    assert_works(&connection).await;
}
