//! LISTEN and NOTIFY on a real server: sending, listening, streams, and what is refused.

use std::sync::Arc;

use txpostgres::{
    Connection, Error, ErrorKind, Notification, NotifyEvent, QueueBounds, quote_ident,
};
use txpostgres_testkit::{Cluster, Database, TlsCertificates};

use crate::support::{assert_works, bounded, connected, count, eventually, sessions};

/// Another connection to the same database.
async fn another(database: &Database) -> Connection {
    bounded(Connection::open(database.dsn())).await.unwrap()
}

/// The payload of the next event, which must be a notification.
macro_rules! payload {
    ($stream:expr) => {
        match bounded($stream.next()).await {
            Some(NotifyEvent::Notification(notification)) => notification.payload().to_owned(),
            other => panic!("not a notification: {other:?}"),
        }
    };
}

/// The channels that the server listens to for this session.
async fn channels(connection: &Connection) -> Vec<String> {
    let sql = "select pg_listening_channels() order by 1";
    let rows = bounded(connection.run_query(sql, ())).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// Nothing has arrived on a stream up to here: what is sent now comes first.
async fn assert_silent(connection: &Connection, stream: &mut txpostgres::Notifications) {
    bounded(connection.listen("probe")).await.unwrap();
    bounded(connection.notify("probe", "nothing before")).await.unwrap();
    assert_eq!(payload!(stream), "nothing before");
    bounded(connection.unlisten("probe")).await.unwrap();
}

#[tokio::test]
async fn a_notification_arrives_while_the_connection_is_idle() {
    let (database, connection) = connected().await;
    let sender = another(&database).await;
    let mut stream = connection.notifications();
    bounded(connection.listen("news")).await.unwrap();
    bounded(sender.notify("news", "hello")).await.unwrap();
    let event = bounded(stream.next()).await.unwrap();
    let expected = Notification::new(sender.backend_pid().unwrap(), "news", "hello");
    assert_eq!(event, NotifyEvent::Notification(expected));
    bounded(sender.notify("news", "")).await.unwrap();
    assert_eq!(payload!(stream), "");
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_notification_arrives_over_tls_also_in_one_record_with_an_answer() {
    let cluster = Cluster::builder().tls(TlsCertificates::good().unwrap()).start().unwrap();
    let dsn = format!("{} sslmode=require", cluster.dsn());
    let connection = bounded(Connection::open(&*dsn)).await.unwrap();
    assert!(connection.is_encrypted());
    let sender = bounded(Connection::open(&*dsn)).await.unwrap();
    let mut stream = connection.notifications();
    bounded(connection.listen("news")).await.unwrap();
    for round in 0..50 {
        // psycopg2#1586: what lay in the TLS library did not make the socket readable, and came one by one.
        let round = round.to_string();
        let script = format!("notify news, '{round}'; notify news, '{round} again'; select 1");
        bounded(connection.run_script(&script)).await.unwrap();
        assert_eq!(payload!(stream), round);
        assert_eq!(payload!(stream), format!("{round} again"));
        bounded(sender.notify("news", "idle")).await.unwrap();
        assert_eq!(payload!(stream), "idle");
    }
}

#[tokio::test]
async fn what_came_before_an_answer_is_queued_before_the_answer_is_handed_out() {
    let (_database, connection) = connected().await;
    let mut stream = connection.notifications();
    bounded(connection.listen("news")).await.unwrap();
    for round in 0..200 {
        // A session hears its own NOTIFY before it is ready for the next query.
        bounded(connection.notify("news", &round.to_string())).await.unwrap();
        let mut next = std::pin::pin!(stream.next());
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        match next.as_mut().poll(cx) {
            std::task::Poll::Ready(Some(NotifyEvent::Notification(notification))) => {
                assert_eq!(notification.payload(), round.to_string());
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn listening_is_chosen_by_channel_and_given_up_again() {
    let (_database, connection) = connected().await;
    let mut stream = connection.notifications();
    for channel in ["a", "b", "a"] {
        bounded(connection.listen(channel)).await.unwrap();
    }
    assert_eq!(channels(&connection).await, ["a", "b"]);
    bounded(connection.unlisten("a")).await.unwrap();
    bounded(connection.unlisten("a")).await.unwrap();
    bounded(connection.unlisten("never listened to")).await.unwrap();
    assert_eq!(channels(&connection).await, ["b"]);
    bounded(connection.notify("a", "unheard")).await.unwrap();
    bounded(connection.notify("b", "heard")).await.unwrap();
    assert_eq!(payload!(stream), "heard");
    // What was said in a statement is given up as well.
    bounded(connection.run_operation("listen c", ())).await.unwrap();
    bounded(connection.unlisten("c")).await.unwrap();
    bounded(connection.run_operation("listen d", ())).await.unwrap();
    bounded(connection.unlisten_all()).await.unwrap();
    assert!(channels(&connection).await.is_empty());
    assert_silent(&connection, &mut stream).await;
}

#[tokio::test]
async fn subscriptions_and_listening_by_hand_do_not_disturb_each_other() {
    let (_database, connection) = connected().await;
    let mut first = bounded(connection.subscribe("a")).await.unwrap();
    let mut second = bounded(connection.subscribe("a")).await.unwrap();
    bounded(connection.listen("b")).await.unwrap();
    let other = bounded(connection.subscribe("b")).await.unwrap();
    assert_eq!((first.channel(), other.channel()), ("a", "b"));
    bounded(connection.notify("a", "both")).await.unwrap();
    assert_eq!((payload!(first), payload!(second)), ("both".into(), "both".into()));

    drop(first);
    bounded(connection.unlisten("a")).await.unwrap();
    bounded(connection.unlisten_all()).await.unwrap();
    assert_eq!(channels(&connection).await, ["a", "b"]);
    bounded(connection.notify("a", "one")).await.unwrap();
    assert_eq!(payload!(second), "one");

    // The last one goes: nobody waits for UNLISTEN, and it comes all the same.
    bounded(connection.listen("b")).await.unwrap();
    drop((second, other));
    bounded(connection.listen("c")).await.unwrap();
    assert_eq!(channels(&connection).await, ["b", "c"]);
}

#[tokio::test]
async fn subscribing_again_while_unlisten_is_on_its_way_loses_nothing() {
    let (database, connection) = connected().await;
    let sender = another(&database).await;
    let mut last = bounded(connection.subscribe("a")).await.unwrap();
    for round in 0..200 {
        drop(last);
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        last = bounded(connection.subscribe("a")).await.unwrap();
        bounded(sender.notify("a", &round.to_string())).await.unwrap();
        assert_eq!(payload!(last), round.to_string());
    }
}

#[tokio::test]
async fn names_are_taken_as_they_are() {
    let (_database, connection) = connected().await;
    let longest = "é".repeat(31) + "x";
    let names =
        ["news", "News", "two words", "a\"b", "\"", "x; drop table y --", "select", "'", &longest];
    for name in names {
        let mut stream = bounded(connection.subscribe(name)).await.unwrap();
        bounded(connection.notify(name, name)).await.unwrap();
        let event = bounded(stream.next()).await.unwrap();
        assert_eq!(event.notification().map(Notification::channel), Some(name));
        assert_eq!(channels(&connection).await, [name]);
        drop(stream);
        bounded(connection.unlisten_all()).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_and_nothing_is_sent() {
    let (_database, connection) = connected().await;
    let too_long = "x".repeat(64);
    for name in ["", "a\0b", &too_long] {
        for error in [
            connection.listen(name).await.unwrap_err(),
            connection.unlisten(name).await.unwrap_err(),
            connection.subscribe(name).await.unwrap_err(),
            connection.notify(name, "").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Request, "{name:?}: {error}");
        }
    }
    let largest = "x".repeat(7_999);
    let mut stream = bounded(connection.subscribe("a")).await.unwrap();
    bounded(connection.notify("a", &largest)).await.unwrap();
    assert_eq!(payload!(stream), largest);
    for payload in ["x".repeat(8_000), "\0secret".into()] {
        let error = connection.notify("a", &payload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        assert!(!format!("{error:#} {error:?}").contains("secret"));
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn notifications_of_a_transaction_come_when_it_commits_and_only_then() {
    let (database, connection) = connected().await;
    let sender = another(&database).await;
    let mut stream = bounded(connection.subscribe("a")).await.unwrap();
    let undone = sender.run_interaction(async |cursor| {
        cursor.notify("a", "undone").await?;
        Err::<(), _>(Error::new(ErrorKind::Request, "no"))
    });
    bounded(undone).await.unwrap_err();
    let done = sender.run_interaction(async |cursor| {
        cursor.notify("a", "one").await?;
        cursor.notify("a", "two").await
    });
    bounded(done).await.unwrap();
    assert_eq!((payload!(stream), payload!(stream)), ("one".into(), "two".into()));
}

#[tokio::test]
async fn listening_waits_for_an_interaction_and_is_not_part_of_it() {
    let (_database, connection) = connected().await;
    let shared = connection.clone();
    let undone = connection.run_interaction(async move |cursor| {
        cursor.run_query("select 1", ()).await?;
        let listening = tokio::spawn(async move { shared.listen("a").await });
        tokio::task::yield_now().await;
        cursor.run_query("select 1", ()).await?;
        Err::<(), _>(Error::new(ErrorKind::Request, format!("{:?}", listening.is_finished())))
    });
    assert_eq!(bounded(undone).await.unwrap_err().to_string(), "false");
    bounded(connection.listen("b")).await.unwrap();
    assert_eq!(channels(&connection).await, ["a", "b"]);
}

#[tokio::test]
async fn one_channel_that_the_server_refuses_does_not_take_others_along() {
    let (database, connection) = connected().await;
    // A database that cannot hold every character.
    let name = format!("{}_latin1", database.name());
    let create = format!("create database {name} encoding latin1 template template0 locale 'C'");
    database.sql(&create).unwrap();
    let dsn =
        database.dsn().replace(&format!("dbname={}", database.name()), &format!("dbname={name}"));
    let latin = bounded(Connection::open(&*dsn)).await.unwrap();
    assert_eq!(latin.parameter("server_encoding").as_deref(), Some("LATIN1"));
    let (one, bad, two) = bounded(async {
        tokio::join!(latin.subscribe("one"), latin.subscribe("日本"), latin.listen("two"))
    })
    .await;
    let error = bad.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    let mut one = one.unwrap();
    two.unwrap();
    assert_eq!(channels(&latin).await, ["one", "two"]);
    bounded(latin.notify("one", "é")).await.unwrap();
    assert_eq!(payload!(one), "é");
    drop(connection);
    latin.close().await;
    database.sql(&format!("drop database {name}")).unwrap();
}

#[tokio::test]
async fn ten_thousand_channels_and_subscribers_share_one_connection() {
    const CHANNELS: usize = 10_000;
    let (database, connection) = connected().await;
    let sender = another(&database).await;
    let subscribing = (0..CHANNELS).map(|n| {
        let connection = connection.clone();
        tokio::spawn(async move { connection.subscribe(&format!("channel {n}")).await })
    });
    let mut subscriptions = Vec::new();
    for subscribing in subscribing.collect::<Vec<_>>() {
        subscriptions.push(bounded(subscribing).await.unwrap().unwrap());
    }
    let listened = count(&connection, "select count(*) from pg_listening_channels()").await;
    assert_eq!(listened, 10_000);
    let sql = "select count(pg_notify('channel ' || n, n::text)) from generate_series(0, 9999) n";
    assert_eq!(count(&sender, sql).await, 10_000);
    for (number, subscription) in subscriptions.iter_mut().enumerate() {
        assert_eq!(payload!(subscription), number.to_string());
    }
    drop(subscriptions);
    bounded(connection.unlisten("x")).await.unwrap();
    assert!(channels(&connection).await.is_empty());
}

#[tokio::test]
async fn a_stream_that_is_not_read_keeps_the_newest_and_is_told_how_many_it_missed() {
    let (database, sender) = connected().await;
    let bounds = QueueBounds { notifications: 10, ..QueueBounds::default() };
    let connection = Connection::builder().notify_queue(bounds).build();
    bounded(connection.connect(database.dsn())).await.unwrap();
    let mut slow = connection.notifications();
    let mut quick = connection.notifications();
    bounded(connection.listen("a")).await.unwrap();
    for n in 0..100 {
        bounded(sender.notify("a", &n.to_string())).await.unwrap();
        assert_eq!(payload!(quick), n.to_string());
    }
    assert_eq!(bounded(slow.next()).await, Some(NotifyEvent::Missed(90)));
    for n in 90..100 {
        assert_eq!(payload!(slow), n.to_string());
    }
    bounded(sender.notify("a", "again")).await.unwrap();
    assert_eq!(payload!(slow), "again");
}

/// One transaction that notifies more than the queues hold, and listeners that do nothing else but listen.
async fn a_burst_that_is_larger_than_a_queue_is_heard_by_who_listens() {
    let (database, sender) = connected().await;
    let bounds = QueueBounds { notifications: 16_384, ..QueueBounds::default() };
    let connection = Connection::builder().notify_queue(bounds).build();
    bounded(connection.connect(database.dsn())).await.unwrap();
    let mut stream = bounded(connection.subscribe("a")).await.unwrap();
    let listening = tokio::spawn(async move {
        for n in 0..100_000 {
            assert_eq!(payload!(stream), n.to_string());
        }
    });
    let sql = "select count(pg_notify('a', n::text)) from generate_series(0, 99999) n";
    assert_eq!(count(&sender, sql).await, 100_000);
    bounded(listening).await.unwrap();
}

#[tokio::test]
async fn a_burst_is_heard_on_one_thread() {
    a_burst_that_is_larger_than_a_queue_is_heard_by_who_listens().await;
}

/// On another thread a listener may be slower than who reads the socket, however quick it is: then it is told, to the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_heard_or_counted_on_two_threads() {
    let (database, sender) = connected().await;
    let connection = bounded(Connection::open(database.dsn())).await.unwrap();
    let mut stream = bounded(connection.subscribe("a")).await.unwrap();
    let listening = tokio::spawn(async move {
        let mut next: u64 = 0;
        while next < 100_000 {
            match stream.next().await {
                Some(NotifyEvent::Notification(notification)) => {
                    assert_eq!(notification.payload(), next.to_string());
                    next += 1;
                }
                Some(NotifyEvent::Missed(count)) => next += count,
                other => panic!("neither heard nor missed: {other:?}"),
            }
        }
        next
    });
    let sql = "select count(pg_notify('a', n::text)) from generate_series(0, 99999) n";
    assert_eq!(count(&sender, sql).await, 100_000);
    assert_eq!(bounded(listening).await.unwrap(), 100_000);
}

#[tokio::test]
async fn streams_end_with_the_connection_after_what_was_waiting() {
    for closing in [true, false] {
        let (_database, connection) = connected().await;
        let mut all = connection.notifications();
        let mut one = bounded(connection.subscribe("a")).await.unwrap();
        bounded(connection.notify("a", "last")).await.unwrap();
        if closing {
            bounded(connection.close()).await;
        } else {
            drop(connection);
        }
        assert_eq!((payload!(all), payload!(one)), ("last".into(), "last".into()));
        for next in [bounded(all.next()).await, bounded(one.next()).await] {
            assert_eq!(next, Some(NotifyEvent::Disconnected));
        }
        assert_eq!((bounded(all.next()).await, bounded(one.next()).await), (None, None));
    }
}

#[tokio::test]
async fn a_connection_that_was_lost_listens_again_when_it_is_opened_and_tells_the_gap() {
    let (database, connection) = connected().await;
    let mut all = connection.notifications();
    let mut one = bounded(connection.subscribe("a")).await.unwrap();
    bounded(connection.listen("b")).await.unwrap();
    for generation in 2..5 {
        let pid = connection.backend_pid().unwrap();
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
        assert_eq!(bounded(all.next()).await, Some(NotifyEvent::Disconnected));
        assert_eq!(bounded(one.next()).await, Some(NotifyEvent::Disconnected));
        for error in [
            connection.listen("c").await.unwrap_err(),
            connection.subscribe("c").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::ConnectionDead, "{error}");
        }
        bounded(connection.connect(database.dsn())).await.unwrap();
        assert_eq!(bounded(all.next()).await, Some(NotifyEvent::Gap { generation }));
        // The gap is told when LISTEN is in force again: whatever is sent from here on is heard.
        database.sql("notify a, 'back'").unwrap();
        assert_eq!(bounded(one.next()).await, Some(NotifyEvent::Gap { generation }));
        assert_eq!((payload!(one), payload!(all)), ("back".into(), "back".into()));
        assert_eq!(channels(&connection).await, ["a", "b"]);
    }
}

#[tokio::test]
async fn a_closed_connection_forgets_what_it_listened_to() {
    let (database, connection) = connected().await;
    bounded(connection.listen("a")).await.unwrap();
    let subscription = bounded(connection.subscribe("b")).await.unwrap();
    bounded(connection.close()).await;
    assert_eq!(connection.listen("a").await.unwrap_err().kind(), ErrorKind::Closed);
    bounded(connection.connect(database.dsn())).await.unwrap();
    bounded(connection.listen("c")).await.unwrap();
    drop(subscription);
    assert_eq!(channels(&connection).await, ["c"]);
}

#[tokio::test]
async fn a_stream_may_be_had_before_the_connection_is_opened() {
    let (database, sender) = connected().await;
    let connection = Connection::new();
    let mut stream = connection.notifications();
    bounded(connection.connect(database.dsn())).await.unwrap();
    bounded(connection.listen("a")).await.unwrap();
    bounded(sender.notify("a", "early")).await.unwrap();
    assert_eq!(payload!(stream), "early");
}

#[tokio::test]
async fn a_subscription_does_not_keep_the_connection() {
    let (database, connection) = connected().await;
    let subscription = bounded(connection.subscribe("a")).await.unwrap();
    drop(connection);
    eventually("the session is gone", || sessions(&database) == 0).await;
    drop(subscription);
}

#[tokio::test]
async fn checking_for_notifies_is_harmless() {
    let (_database, connection) = connected().await;
    let connection = Arc::new(connection);
    let mut stream = bounded(connection.subscribe("a")).await.unwrap();
    connection.check_for_notifies();
    bounded(connection.notify("a", "x")).await.unwrap();
    connection.check_for_notifies();
    assert_eq!(payload!(stream), "x");
    bounded(connection.close()).await;
    connection.check_for_notifies();
}

/// What the server makes of names, and what it would have quoted itself.
#[tokio::test]
async fn quoted_names_are_what_the_server_takes_them_for() {
    let (_database, connection) = connected().await;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let alphabet: Vec<char> = "aZ_9 \"\"'\\;$.-é日\u{1}\u{10ffff}".chars().collect();
    for _ in 0..1_000 {
        let mut name = String::new();
        for _ in 0..=state % 12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = usize::try_from(state >> 33).unwrap() % alphabet.len();
            name.push(*alphabet.get(place).unwrap());
        }
        let ours = quote_ident(&name).unwrap();
        let sql = "select quote_ident($1), (parse_ident($2))[1]";
        let rows = bounded(connection.run_query(sql, (&*name, &*ours))).await.unwrap();
        let row = rows.first().unwrap();
        let (theirs, parsed): (&str, &str) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert_eq!(parsed, name);
        if theirs.starts_with('"') {
            assert_eq!(theirs, ours);
        } else {
            assert_eq!(format!("\"{theirs}\""), ours);
        }
        let rows = bounded(connection.run_script(&format!("select 1 as {ours}"))).await.unwrap();
        let column = rows.first().unwrap().rows().columns().first().unwrap().name().to_owned();
        assert_eq!(column, name);
    }
}
