//! What the guide says, tried on a server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod copy;
mod cursors;
mod retrying;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use txpostgres::types::ToSql;
use txpostgres::value::{Numeric, Range, Text};
use txpostgres::{
    Config, Connection, Delivery, EndedBy, Error, ErrorKind, IsolationLevel, NotifyEvent,
    NotifyObserver, Scalar, SqlState, TransactionStatus,
};
use txpostgres_testkit::{Database, Script, backend, shared};

/// A database of our own with the guide's tables, and a connection to it.
async fn connected() -> (Database, Connection) {
    let database = shared().database().unwrap();
    let connection = Connection::open(database.dsn()).await.unwrap();
    connection
        .run_script(
            "create table people (id bigint primary key, name text, note text);
             create table account (id int primary key, sum bigint check (sum >= 0));
             insert into account values (1, 100), (2, 0);
             create type mood as enum ('glad', 'sad');
             create domain positive as int check (value > 0);
             create table feelings (feeling mood, strength positive)",
        )
        .await
        .unwrap();
    (database, connection)
}

async fn sums(connection: &Connection) -> Vec<i64> {
    let rows = connection.run_query("select sum from account order by id", ()).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

#[tokio::test]
async fn connecting() {
    let database = shared().database().unwrap();
    let connection = Connection::new();
    connection.connect(database.dsn()).await.unwrap();
    let error = connection.connect(database.dsn()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyConnected);
    connection.close().await;
    connection.close().await;
    let error = connection.run_query("select 1", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);

    let mut config: Config = database.dsn().parse().unwrap();
    config.runtime_parameter("statement_timeout", "30s").connect_timeout(Duration::from_secs(5));
    connection.connect(config).await.unwrap();
    let rows = connection.run_query("select current_setting('statement_timeout')", ()).await;
    assert_eq!(rows.unwrap().first().unwrap().get::<&str>(0).unwrap(), "30s");

    // With several hosts the next one is tried: nothing listens on port 1.
    let port = database.server().port();
    let dsn = format!("host=127.0.0.1,127.0.0.1 port=1,{port} user=postgres dbname=postgres");
    Connection::open(dsn).await.unwrap();
}

#[tokio::test]
async fn parameters() {
    let (_database, connection) = connected().await;
    let names = ["Ada".to_owned(), "Grace".to_owned()];
    let marks: Vec<String> = (1..=names.len()).map(|n| format!("({n}, ${n})")).collect();
    let values: Vec<&(dyn ToSql + Sync)> = names.iter().map(|name| name as _).collect();
    let sql = format!("insert into people (id, name) values {}", marks.join(", "));
    assert_eq!(connection.run_operation(&sql, &values).await.unwrap(), 2);

    let sql = "select name, note from people where id = any($1) order by id";
    let rows = connection.run_query(sql, (vec![1_i64, 2, 3],)).await.unwrap();
    assert_eq!(rows.len(), 2);
    let row = rows.first().unwrap();
    assert_eq!(row.raw("name").unwrap(), Some(&b"Ada"[..]));
    assert_eq!(row.get::<Option<&str>>("note").unwrap(), None);
    let error = connection.run_query("select $1::bigint", (1_i32,)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);

    let (people, feelings) = tokio::try_join!(
        connection.run_query("select count(*) from people", ()),
        connection.run_query("select count(*) from feelings", ()),
    )
    .unwrap();
    let count = |rows: &txpostgres::Rows| rows.first().unwrap().get::<i64>(0).unwrap();
    assert_eq!((count(&people), count(&feelings)), (2, 0));
}

#[tokio::test]
async fn types_of_the_database() {
    let (_database, connection) = connected().await;
    let insert = "insert into feelings values ($1::text::mood, $2::int)";
    assert_eq!(connection.run_operation(insert, ("glad", 3)).await.unwrap(), 1);
    let select = "select feeling::text, strength from feelings";
    let rows = connection.run_query(select, ()).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!((row.get::<&str>(0).unwrap(), row.get::<i32>(1).unwrap()), ("glad", 3));
    let rows = connection.run_query("select feeling from feelings", ()).await.unwrap();
    let error = rows.first().unwrap().get::<&str>(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

#[tokio::test]
async fn values_and_rows() {
    let (_database, connection) = connected().await;
    connection
        .run_script("insert into people values (1, 'Ada', null); create table offers (id int, price numeric, amounts int4range)")
        .await
        .unwrap();
    let people: Vec<(i64, String, Option<String>)> =
        connection.run_query_as("select id, name, note from people", ()).await.unwrap();
    assert_eq!(people, [(1, "Ada".to_owned(), None)]);
    let names: Vec<Scalar<String>> =
        connection.run_query_as("select name from people", ()).await.unwrap();
    assert_eq!(names[0].0, "Ada");
    let maps: Vec<BTreeMap<String, Option<Text>>> =
        connection.run_query("select * from people", ()).in_text().rows_as().await.unwrap();
    assert_eq!((maps[0]["id"].clone(), &maps[0]["note"]), (Some(Text("1".to_owned())), &None));
    let error = connection.run_query_as::<(i64, String), _>("select 1, ''", ()).await.unwrap_err();
    assert!(error.to_string().contains("column 0 \"?column?\" (int4) of every row"), "{error}");

    connection.run_operation("insert into offers values (1, 12, '[15,18)')", ()).await.unwrap();
    let price: Numeric = "12.50".parse().unwrap();
    let sql = "select id from offers where price <= $1 and amounts && $2::int4range";
    let rows = connection.run_query(sql, (price, Range::from(10..=20))).await.unwrap();
    assert_eq!(rows.len(), 1);
    let texts = (Text("((0,0),(1,1),(2,0))"), Text("'a':1"));
    let rows = connection.run_query("select $1::polygon, $2::tsvector", texts).in_text().await;
    assert_eq!(rows.unwrap().first().unwrap().get::<&str>(1).unwrap(), "'a':1");
}

#[tokio::test]
async fn interactions() {
    let (_database, connection) = connected().await;
    let amount = 30_i64;
    let left: i64 = connection
        .run_interaction(async |cursor| {
            let debit = "update account set sum = sum - $1 where id = 1";
            cursor.run_operation(debit, (amount,)).await?;
            cursor
                .run_operation("update account set sum = sum + $1 where id = 2", (amount,))
                .await?;
            let rows = cursor.run_query("select sum from account where id = 1", ()).await?;
            rows.first().unwrap().get(0)
        })
        .await
        .unwrap();
    assert_eq!((left, sums(&connection).await), (70, vec![70, 30]));

    // A savepoint: only what the inner one did is undone.
    connection
        .run_interaction(async |cursor| {
            cursor.run_operation("update account set sum = sum + 1", ()).await?;
            let nested = cursor
                .run_interaction(async |nested| {
                    nested.run_operation("update account set sum = sum + 10", ()).await?;
                    nested.run_operation("update account set sum = -1", ()).await
                })
                .await;
            assert_eq!(nested.unwrap_err().sqlstate(), Some(SqlState::CHECK_VIOLATION));
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!(sums(&connection).await, [71, 31]);

    let level = connection
        .interaction()
        .isolation_level(IsolationLevel::Serializable)
        .read_only(true)
        .deferrable(true)
        .run(async |cursor| cursor.run_query("show transaction_isolation", ()).await)
        .await
        .unwrap();
    assert_eq!(level.first().unwrap().get::<&str>(0).unwrap(), "serializable");
}

/// An error type that is not ours.
type Boxed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::test]
async fn how_interactions_end() {
    let (_database, connection) = connected().await;
    let update = "update account set sum = sum + 1";

    // The closure's own error, of a type of its own.
    let outcome = connection
        .run_interaction(async |cursor| {
            cursor.run_operation(update, ()).await?;
            Err::<(), Boxed>("changed my mind".into())
        })
        .await;
    assert_eq!(outcome.unwrap_err().to_string(), "changed my mind");

    // Ok, though a statement had failed.
    let outcome = connection
        .run_interaction(async |cursor| {
            cursor.run_operation(update, ()).await?;
            cursor.run_operation("select 1 / 0", ()).await.unwrap_err();
            Ok::<_, Error>(())
        })
        .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CommitRefused);

    // Dropped.
    let slow = connection.run_interaction(async |cursor| {
        cursor.run_operation(update, ()).await?;
        cursor.run_query("select pg_sleep(0.2)", ()).await
    });
    assert!(timeout(Duration::from_millis(50), slow).await.is_err());

    // A panic.
    let other = connection.clone();
    let task = tokio::spawn(async move {
        other
            .run_interaction(async |cursor| {
                cursor.run_operation(update, ()).await?;
                let rows = cursor.run_query("select 1", ()).await?;
                assert!(rows.is_empty(), "on purpose");
                Ok::<_, Error>(())
            })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());

    assert_eq!(sums(&connection).await, [100, 0]);
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Idle));

    // A cursor that was kept.
    let kept = connection
        .run_interaction(async |cursor| {
            cursor.run_operation(update, ()).await?;
            Ok::<_, Error>(cursor)
        })
        .await
        .unwrap();
    let error = kept.run_operation(update, ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
}

#[tokio::test]
async fn notifications() {
    let (_database, connection) = connected().await;
    let mut jobs = connection.subscribe("jobs").await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    let observer = NotifyObserver::new(move |event| {
        let noted = Arc::clone(&noted);
        async move {
            if let NotifyEvent::Notification(news) = event {
                noted.lock().unwrap().push(format!("{}: {}", news.channel(), news.payload()));
            }
        }
    });
    let id = connection.add_notify_observer(&observer);
    assert_eq!(connection.add_notify_observer(&observer), id);
    connection.listen("News").await.unwrap();
    connection.run_operation("notify News, 'does not reach it'", ()).await.unwrap();
    connection.notify("jobs", "17").await.unwrap();
    let sent = connection.run_interaction(async |cursor| cursor.notify("News", "hello").await);
    sent.await.unwrap();
    // It was queued before the answer of COMMIT; the observer is a task of its own.
    while heard.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*heard.lock().unwrap(), ["jobs: 17", "News: hello"]);
    connection.remove_notify_observer(id);
    let job = jobs.next().await.unwrap();
    assert_eq!(job.notification().unwrap().payload(), "17");
    let error = connection.notify("jobs", &"x".repeat(8_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    connection.close().await;
    assert_eq!(jobs.next().await, Some(NotifyEvent::Disconnected));
    assert_eq!(jobs.next().await, None);
}

#[tokio::test]
async fn cancelling() {
    let (_database, connection) = connected().await;
    let limit = Duration::from_millis(50);
    let report = connection.run_query("select pg_sleep(60)", ()).timeout(limit);
    assert_eq!(report.await.unwrap_err().kind(), ErrorKind::Timeout);

    let report = connection.run_query("select pg_sleep(60)", ()).cancel_on_drop();
    assert!(timeout(limit, report).await.is_err());

    let mut report = connection.run_query("select pg_sleep(60)", ());
    let handle = report.cancel_handle();
    let button = connection.clone();
    let pressed = tokio::spawn(async move {
        tokio::time::sleep(limit).await;
        button.cancel(&handle).await
    });
    let error = report.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.ended_by(), Some(EndedBy::Ours));
    pressed.await.unwrap().unwrap();

    let transfer = connection.interaction().timeout(limit).run(async |cursor| {
        cursor.run_operation("update account set sum = sum + 1", ()).await?;
        cursor.run_query_as::<Scalar<i32>, _>("select 1 from pg_sleep(60)", ()).await
    });
    assert_eq!(transfer.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(sums(&connection).await, [100, 0]);

    connection.run_script("set statement_timeout = 20").await.unwrap();
    let error = connection.run_query("select pg_sleep(60)", ()).await.unwrap_err();
    assert_eq!(error.ended_by(), Some(EndedBy::StatementTimeout));
}

#[tokio::test]
async fn errors() {
    let (_database, connection) = connected().await;
    connection.run_operation("insert into people values (1)", ()).await.unwrap();
    let insert = "insert into people values ($1)";
    let error = connection.run_operation(insert, (1_i64,)).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
    assert_eq!(error.server().unwrap().constraint().as_deref(), Some("people_pkey"));
    assert_eq!((error.delivery(), error.is_retryable()), (Delivery::Answered, false));
    assert_eq!(error.statement(), Some(insert));
    assert!(!error.to_string().contains("(id)=(1)"), "{error}");

    let error = connection.run_query("select nmae\n  from people", ()).await.unwrap_err();
    let shown = format!("{error:#}");
    let wanted = "ERROR 42703: column \"nmae\" does not exist\n\
                  LINE 1: select nmae\n               ^\n\
                  HINT: Perhaps you meant to reference the column ";
    assert!(shown.starts_with(wanted), "{shown}");
    assert!(format!("{error:?}").starts_with("Server, Answered: ERROR 42703"));
}

/// The example of CONTRIBUTING.md: a server that dies in the middle of an answer; the call says so, and that it may have
/// been done.
#[tokio::test]
async fn a_server_dies_in_the_middle_of_an_answer() {
    let server = Script::new()
        .welcome()
        .expect_message(b'Q')
        .send(backend::row_description(&[("x", 25)], 0))
        .reset()
        .play()
        .unwrap();
    let port = server.address().port();
    let dsn = format!("host=127.0.0.1 port={port} user=me sslmode=disable");
    let connection = Connection::open(dsn).await.unwrap();
    let error = connection.run_script("select 1").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::Unknown));
    let error = connection.run_query("select 1", ()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionDead, Delivery::NotSent));
    server.finish().unwrap();
}
