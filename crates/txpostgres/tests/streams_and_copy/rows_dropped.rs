//! Streams, COPY, cursors and batches, dropped after every number of polls: the connection goes on, and nothing stays open.

use std::pin::Pin;

use txpostgres::{Connection, Error, FetchDirection, Scroll};
use txpostgres_testkit::Direction;

use crate::support::polls::GiveUp;
use crate::support::{assert_works, bounded, connected, connected_through_proxy, count};

type Deed<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

const NUMBERS: &str = "select n, repeat('x', 40) from generate_series(1, $1::int) n";

/// What is begun on a connection; the number is another one each time.
type Begin = for<'a> fn(&'a Connection, i32) -> Deed<'a>;

/// Each by its name, so that a failure says which.
const DEEDS: &[(&str, Begin)] = &[
    ("stream", |connection, run| {
        Box::pin(async move {
            // A text that is new each time has to be described first.
            let sql = format!("{NUMBERS} -- {run}");
            let mut stream = connection.query_stream(&sql, (300,)).limit(2_000);
            stream.next().await.unwrap()?;
            while stream.next_rows().await?.is_some() {}
            Ok(())
        })
    }),
    ("stream of an interaction", |connection, _| {
        Box::pin(async move {
            connection
                .run_interaction(async |cursor| {
                    let mut stream = cursor.query_stream(NUMBERS, (300,)).limit(2_000);
                    while let Some(row) = stream.next().await {
                        row?;
                    }
                    Ok(())
                })
                .await
        })
    }),
    ("copy in", |connection, _| {
        Box::pin(async move {
            let mut copy = connection.copy_in("copy copied (n) from stdin").await?;
            for _ in 0..3 {
                copy.send("1\n2\n").await?;
                copy.flush().await?;
            }
            copy.finish().await.map(drop)
        })
    }),
    ("copy in, aborted", |connection, _| {
        Box::pin(async move {
            let mut copy = connection.copy_in("copy copied (n) from stdin").await?;
            copy.send("1\n").await?;
            copy.abort("enough").await
        })
    }),
    ("copy in rows", |connection, _| {
        Box::pin(async move {
            connection
                .run_interaction(async |cursor| {
                    let mut copy = cursor.copy_in_rows("copied", &["n"]).await?;
                    for n in 0..100_i32 {
                        copy.send((n,)).await?;
                    }
                    copy.finish().await.map(drop)
                })
                .await
        })
    }),
    ("copy out", |connection, _| {
        Box::pin(async move {
            let sql = "copy (select generate_series(1, 20000)) to stdout";
            let mut copy = connection.copy_out(sql).await?;
            while let Some(data) = copy.next().await {
                data?;
            }
            Ok(())
        })
    }),
    ("copy out rows", |connection, _| {
        Box::pin(async move {
            let mut copy = connection.copy_out_rows("select generate_series(1, 2000)").await?;
            while copy.next_rows().await?.is_some() {}
            Ok(())
        })
    }),
    ("execute and callproc", |connection, _| {
        Box::pin(async move {
            let cursor = connection.cursor();
            cursor.execute(NUMBERS, (30,)).await?;
            cursor.callproc("repeat", ("x", 3)).await.map(drop)
        })
    }),
    ("many sets", |connection, _| {
        Box::pin(async move {
            let sets = (0..2_500_i32).map(|n| (n,));
            connection.execute_many("insert into copied (n) values ($1)", sets).await.map(drop)
        })
    }),
    ("batch", |connection, run| {
        Box::pin(async move {
            let sql = format!("select $1::int, {run}");
            let batch = connection.batch().add(&sql, (1_i32,)).add("select 1 / 0", ());
            let results = batch.add("select 2", ()).send().await?;
            assert_eq!(results.len(), 3);
            Ok(())
        })
    }),
    ("named cursor", |connection, _| {
        Box::pin(async move {
            connection
                .run_interaction(async |cursor| {
                    let mut named =
                        cursor.named("c").scroll(true).rows_ahead(10).open(NUMBERS, (50,)).await?;
                    named.next().await?;
                    named.fetch(FetchDirection::Last).await?;
                    named.scroll(3, Scroll::Absolute).await?;
                    named.close().await
                })
                .await
        })
    }),
    ("held cursor", |connection, _| {
        Box::pin(async move {
            let mut named =
                connection.cursor().named("held").with_hold(true).open(NUMBERS, (50,)).await?;
            named.next().await?;
            named.fetch(FetchDirection::Forward(5)).await.map(drop)
        })
    }),
];

/// Gives how many times something was dropped.
async fn drop_everything(connection: &Connection) -> usize {
    let table = "create table if not exists copied (n int)";
    bounded(connection.run_operation(table, ())).await.unwrap();
    let mut dropped = 0;
    for (number, (name, deed)) in DEEDS.iter().enumerate() {
        for polls in 0.. {
            let run = i32::try_from(number * 10_000 + polls).unwrap();
            let give_up = GiveUp { after: polls, woken: polls % 2 == 1 };
            let ended = bounded(give_up.poll(deed(connection, run))).await;
            if let Some(outcome) = &ended {
                outcome.as_ref().unwrap_or_else(|error| panic!("{name}: {error:#}"));
            }
            assert_works(connection).await;
            let open = "select count(*) from pg_cursors where name <> ''";
            assert_eq!(count(connection, open).await, 0, "{name} after {polls} polls");
            if ended.is_some() {
                break;
            }
            dropped += 1;
        }
    }
    dropped
}

#[tokio::test]
async fn on_one_thread() {
    let (_database, connection) = connected().await;
    let dropped = drop_everything(&connection).await;
    assert!(dropped > 40, "{dropped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_two_threads_and_in_small_pieces() {
    let (_database, proxy, connection) = connected_through_proxy().await;
    for direction in [Direction::ToClient, Direction::ToServer] {
        proxy.split(direction, 100);
    }
    let dropped = drop_everything(&connection).await;
    assert!(dropped > 40, "{dropped}");
}
