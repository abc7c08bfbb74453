//! Rows by the hundred thousand: into a table, out of it, and to and fro.

use std::time::Instant;

use txpostgres::{Connection, FetchDirection, Result};

use super::failed;
use super::screen::Guide;

/// How many rows are copied.
const ROWS: u64 = 200_000;

/// COPY, with a bar to look at meanwhile.
pub(crate) async fn copied(guide: &Guide, connection: &Connection) -> Result<()> {
    let table = "create table pg_temp.reading (id bigint primary key, sensor text, value float8)";
    connection.run_operation(table, ()).await?;
    let began = Instant::now();
    let bar = guide.bar(ROWS);
    let shown = bar.clone();
    let mut copy = connection
        .copy_in_rows(("pg_temp", "reading"), &["id", "sensor", "value"])
        .await?
        .on_progress(move |progress| shown.set_position(progress.rows.unwrap_or(0)));
    for (id, quarter) in (1_i64..).zip(0..ROWS) {
        let value = f64::from(u8::try_from(quarter % 100).unwrap_or(0)) / 4.0;
        copy.send((id, "cellar", value)).await?;
    }
    let bytes = copy.progress().bytes;
    let rows = copy.finish().await?;
    bar.finish_and_clear();
    guide.timed(format!("{rows} rows copied, {} KiB", bytes / 1024), began.elapsed());

    let mut copy = connection.copy_in("copy pg_temp.reading from stdin (format csv)").await?;
    copy.send("300001,attic,18.5\n300002,attic,warm\n").await?;
    match copy.finish().await {
        Ok(_) => return Err(failed("\"warm\" was taken for a number")),
        Err(error) => guide.refused(error),
    }
    guide.say("The item is the line, counted from 0. Neither of the two was kept.");
    Ok(())
}

/// All of them, with a few kilobytes of memory.
pub(crate) async fn streamed(guide: &Guide, connection: &Connection) -> Result<()> {
    let began = Instant::now();
    let mut readings = connection.query_stream("select value from pg_temp.reading", ());
    let (mut rows, mut sum) = (0_usize, 0.0);
    while let Some(batch) = readings.next_rows().await? {
        rows += batch.len();
        for row in &batch {
            sum += row.get::<f64>(0)?;
        }
    }
    guide.timed(format!("{rows} rows read as they came"), began.elapsed());
    guide.fact("sum", sum);

    let began = Instant::now();
    // In this place it gives its rows as it makes them; after FROM it would make all of them first.
    let billion = "select generate_series(1, 1000000000)";
    let mut numbers = connection.query_stream(billion, ());
    numbers.next().await.ok_or_else(|| failed("no row came back"))??;
    drop(numbers);
    connection.run_query("select 1", ()).await?;
    guide.timed("a billion rows, dropped after the first", began.elapsed());
    guide.say("The server was told to stop, and the connection is the same.");
    Ok(())
}

/// A cursor in the server.
pub(crate) async fn scrolled(guide: &Guide, connection: &Connection) -> Result<()> {
    let (last, back) = connection
        .run_interaction(async |cursor| {
            let query = "select id from pg_temp.reading order by id";
            let mut readings = cursor.named("readings").scroll(true).open(query, ()).await?;
            let last = readings.fetch_as::<(i64,)>(FetchDirection::Last).await?;
            let back = readings.fetch_as::<(i64,)>(FetchDirection::Backward(3)).await?;
            readings.close().await?;
            Result::Ok((last, back))
        })
        .await?;
    let shown =
        |ids: Vec<(i64,)>| ids.iter().map(|(id,)| id.to_string()).collect::<Vec<_>>().join(", ");
    guide.done("a named cursor, which reads no more than is asked for");
    guide.fact("last", shown(last));
    guide.fact("back", shown(back));
    Ok(())
}
