//! Futures that are dropped outside of the runtime, with a socket that takes nothing more: no
//! panic, and the connection goes on.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use txpostgres::{Connection, Error};
use txpostgres_testkit::shared;

use crate::support::patience::{runtime, without_hanging};
use crate::support::polls::begin;
use crate::support::{assert_works, bounded, megabytes};

type Call = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// Calls that wait; the first of them in a flight of more bytes than the socket takes.
fn calls(connection: &Connection) -> Vec<(&'static str, Call)> {
    let own = || connection.clone();
    let (query, script, many, interaction, listener) = (own(), own(), own(), own(), own());
    let large = megabytes(20);
    vec![
        (
            "query",
            Box::pin(async move {
                query.run_query("select length($1::text)", (large,)).await.map(drop)
            }),
        ),
        (
            "script",
            Box::pin(async move {
                let sql = format!("select length('{}')", megabytes(20));
                script.run_script(&sql).await.map(drop)
            }),
        ),
        (
            "many",
            Box::pin(async move {
                let sets = (0..20).map(|_| (megabytes(1),));
                many.execute_many("select length($1::text)", sets).await.map(drop)
            }),
        ),
        (
            "interaction",
            Box::pin(async move {
                interaction
                    .run_interaction(async |cursor| {
                        let large = megabytes(20);
                        cursor.run_query("select length($1::text)", (large,)).await.map(drop)
                    })
                    .await
            }),
        ),
        ("listen", Box::pin(async move { listener.listen("x").await })),
    ]
}

#[test]
fn what_is_dropped_outside_of_the_runtime_leaves_the_connection_usable() {
    without_hanging(Duration::from_secs(60), |progress| {
        let database = shared().database().unwrap();
        for workers in [0, 2] {
            let runtime = runtime(workers);
            let connection = runtime.block_on(Connection::open(database.dsn())).unwrap();
            // Each is known to the connection, and leaves at once.
            runtime.block_on(async {
                bounded(connection.run_query("select length($1::text)", ("x",))).await.unwrap();
            });
            for number in 0..calls(&connection).len() {
                let mut all = calls(&connection);
                let (what, mut dropped) = all.swap_remove(number);
                progress.now(format_args!("a {what} with {workers} workers"));
                let slow = connection.clone();
                let mut slow: Call =
                    Box::pin(
                        async move { slow.run_query("select pg_sleep(0.2)", ()).await.map(drop) },
                    );
                let behind = connection.clone();
                let mut behind: Call =
                    Box::pin(async move { behind.run_query("select 2", ()).await.map(drop) });
                runtime.block_on(async {
                    assert!(begin(slow.as_mut()).await.is_pending());
                    assert!(begin(dropped.as_mut()).await.is_pending());
                    assert!(begin(behind.as_mut()).await.is_pending());
                });
                for left in [dropped, behind] {
                    if catch_unwind(AssertUnwindSafe(|| drop(left))).is_err() {
                        // What is dropped while this test fails must not panic again.
                        std::mem::forget((slow, connection.clone()));
                        panic!("to drop a {what}, with {workers} workers, panicked");
                    }
                }
                runtime.block_on(async {
                    bounded(slow).await.unwrap();
                    assert_works(&connection).await;
                });
            }
        }
    });
}
