//! Streams and COPY whose task pauses for long, with a call behind them in the same task: nothing
//! is wrong with that, and all of it ends well.

use std::time::{Duration, Instant};

use txpostgres::{Connection, Error};

use crate::support::{assert_works, bounded, connected};

/// How long an upload between two rows may take, and how often its task is polled meanwhile.
const PAUSE: Duration = Duration::from_secs(8);
const STEP: Duration = Duration::from_millis(100);

/// More rows than a stream keeps.
const BIG: &str = "select n::int4, repeat('x', 1000) from generate_series(1, 5000) n";

async fn pause() {
    let end = Instant::now() + PAUSE;
    while Instant::now() < end {
        tokio::time::sleep(STEP).await;
    }
}

/// With a limit that one read of the socket exceeds, and with one that none does.
#[tokio::test]
async fn a_stream_that_pauses_ends_well_beside_a_call() {
    let reading = async |connection: &Connection, limit: usize| {
        let stream = async {
            let mut stream = connection.query_stream(BIG, ()).limit(limit);
            let mut count = stream.next_rows().await?.unwrap().len();
            pause().await;
            while let Some(rows) = stream.next_rows().await? {
                count += rows.len();
            }
            Ok::<_, Error>(count)
        };
        let (streamed, called) = tokio::join!(stream, connection.run_query("select 1", ()));
        assert_eq!((streamed.unwrap(), called.unwrap().len()), (5_000, 1), "limit {limit}");
        assert_works(connection).await;
    };
    let [(_one, small), (_other, large)] = [connected().await, connected().await];
    bounded(async { tokio::join!(reading(&small, 1), reading(&large, 1 << 20)) }).await;
}

#[tokio::test]
async fn a_stream_of_an_interaction_that_pauses_ends_well_beside_a_call() {
    let (_database, connection) = connected().await;
    bounded(connection.run_interaction(async |cursor| {
        let stream = async {
            let mut stream = cursor.query_stream(BIG, ());
            let mut count = stream.next_rows().await?.unwrap().len();
            pause().await;
            while let Some(rows) = stream.next_rows().await? {
                count += rows.len();
            }
            Ok::<_, Error>(count)
        };
        let (streamed, called) = tokio::join!(stream, cursor.run_query("select 1", ()));
        assert_eq!((streamed?, called?.len()), (5_000, 1));
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_copy_out_that_pauses_ends_well_beside_a_call() {
    let (_database, connection) = connected().await;
    let sql = format!("copy ({BIG}) to stdout");
    let copy = async {
        let mut copy = connection.copy_out(&sql).await?;
        let mut bytes = copy.next().await.unwrap()?.len();
        pause().await;
        while let Some(data) = copy.next().await {
            bytes += data?.len();
        }
        Ok::<_, Error>((bytes, copy.row_count()))
    };
    let (copied, called) =
        bounded(async { tokio::join!(copy, connection.run_query("select 1", ())) }).await;
    let (bytes, rows) = copied.unwrap();
    assert!(bytes > 5_000 * 1_000, "{bytes} bytes");
    assert_eq!((rows, called.unwrap().len()), (Some(5_000), 1));
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_copy_in_that_pauses_ends_well_beside_a_call() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let copy = async {
        let mut copy = connection.copy_in("copy t from stdin").await?;
        copy.send("1\n").await?;
        copy.flush().await?;
        pause().await;
        copy.send("2\n").await?;
        copy.finish().await
    };
    let (copied, called) =
        bounded(async { tokio::join!(copy, connection.run_query("select 1", ())) }).await;
    assert_eq!((copied.unwrap(), called.unwrap().len()), (2, 1));
    assert_works(&connection).await;
}
