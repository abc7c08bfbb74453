//! Calls on a connection from within an interaction of its own: refused, since they would wait for each other.

// clippy.toml allows it in tests, but not in what tests share.
use std::future::Future;
use std::pin::Pin;

use txpostgres::{Connection, Delivery, Error, ErrorKind};

use crate::support::{assert_works, bounded, connected, count};

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

fn calls(connection: &Connection) -> Vec<(&'static str, Call<'_>)> {
    let sql = "insert into t values (100)";
    vec![
        ("query", Box::pin(async { connection.run_query("select 1", ()).await.map(drop) })),
        ("operation", Box::pin(async { connection.run_operation(sql, ()).await.map(drop) })),
        ("script", Box::pin(async { connection.run_script(sql).await.map(drop) })),
        ("cursor", Box::pin(async { connection.cursor().execute(sql, ()).await.map(drop) })),
        ("many", Box::pin(async { connection.execute_many(sql, [(), ()]).await.map(drop) })),
        (
            "batch",
            Box::pin(async move {
                let mut batch = connection.batch();
                batch.push(sql, ());
                batch.send().await?.into_iter().try_for_each(|outcome| outcome.map(drop))
            }),
        ),
        (
            "stream",
            Box::pin(async {
                connection.query_stream("select 1", ()).next().await.unwrap().map(drop)
            }),
        ),
        ("copy in", Box::pin(async { connection.copy_in("copy t from stdin").await.map(drop) })),
        ("copy rows", Box::pin(async { connection.copy_in_rows("t", &["n"]).await.map(drop) })),
        ("copy out", Box::pin(async { connection.copy_out("copy t to stdout").await.map(drop) })),
        (
            "interaction",
            Box::pin(async {
                connection
                    .run_interaction(async |cursor| cursor.run_operation(sql, ()).await)
                    .await
                    .map(drop)
            }),
        ),
    ]
}

#[tokio::test]
async fn they_are_refused_and_the_interaction_goes_on() {
    let (_database, connection) = connected().await;
    connection.run_script("create table t (n int)").await.unwrap();
    let connection = &connection;
    let refused = |what: &str, outcome: Result<(), Error>| {
        let Err(error) = outcome else { panic!("{what} was done") };
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Request, Delivery::NotSent));
        assert!(error.to_string().contains("made in"), "{what}: {error}");
    };
    let within = connection.run_interaction(async |cursor| {
        for (what, call) in calls(connection) {
            refused(what, call.await);
            cursor.run_operation("insert into t values (1)", ()).await?;
        }
        cursor
            .run_interaction(async |cursor| {
                for (what, call) in calls(connection) {
                    refused(what, call.await);
                }
                cursor.run_operation("insert into t values (1)", ()).await
            })
            .await
    });
    bounded(within).await.unwrap();
    assert_eq!(count(connection, "select sum(n) from t").await, 12);
    assert_works(connection).await;

    // As the first thing of all as well, before BEGIN.
    let within = connection.run_interaction(async |_| connection.run_query("select 1", ()).await);
    refused("first", bounded(within).await.map(drop));
    assert_works(connection).await;
}

/// The same task asks them, and they wait for the interaction; but it does not wait for them.
#[tokio::test]
async fn what_is_asked_beside_it_waits() {
    let (_database, connection) = connected().await;
    let (other_database, other) = connected().await;
    let (within, beside) = bounded(async {
        tokio::join!(
            connection.run_interaction(async |cursor| {
                tokio::task::yield_now().await;
                // Another connection is another matter.
                other.run_interaction(async |inner| inner.run_query("select 1", ()).await).await?;
                cursor.run_query("select pg_sleep(0.02)", ()).await
            }),
            connection.run_query("select 2", ()),
        )
    })
    .await;
    within.unwrap();
    assert_eq!(beside.unwrap().len(), 1);
    // A closure that panicked is not remembered.
    let task = tokio::spawn({
        let connection = connection.clone();
        async move {
            let _ = connection
                .run_interaction(async |cursor| {
                    cursor.run_query("select 1", ()).await?;
                    panic!("on purpose");
                    #[allow(unreachable_code)]
                    Ok::<(), Error>(())
                })
                .await;
        }
    });
    bounded(task).await.unwrap_err();
    assert_works(&connection).await;
    assert_works(&other).await;
    drop(other_database);
}
