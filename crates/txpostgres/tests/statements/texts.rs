//! Texts that are built where they are used: a batch and a stream take them along.
//!
//! This did not compile before: both borrowed their texts.

use txpostgres::{Batch, Connection, Cursor, QueryStream, QueryStreamAs, Result, SqlState};

use crate::support::{assert_works, bounded, connected};

fn counts(connection: &Connection) -> Batch<'static> {
    let mut batch = connection.batch();
    for table in ["pg_class", "pg_type"] {
        batch.push(format!("select count(*) from {table}"), ());
    }
    batch.add("select 'a literal'", ()).add(String::from("select $1::text"), ("a String",))
}

fn numbers(cursor: &Cursor, name: &str) -> QueryStream<'static, (i32,)> {
    let sql = format!("select n as {name}, 1 / (150 - n) from generate_series(1, $1) n");
    cursor.query_stream(sql, (200,))
}

fn names(connection: &Connection) -> QueryStreamAs<'static, (i32, String), ()> {
    let columns = ["n", "n::text"].join(", ");
    let sql = format!("select {columns} from generate_series(1, 3) n");
    connection.with_rows_as().query_stream(sql, ())
}

#[tokio::test]
async fn a_batch_takes_its_texts_along() {
    let (_database, connection) = connected().await;
    let results: Result<Vec<_>> =
        bounded(counts(&connection).send()).await.unwrap().into_iter().collect();
    let results = results.unwrap();
    assert!(results[0].rows().first().unwrap().get::<i64>(0).unwrap() > 0);
    assert_eq!(results[2].rows().first().unwrap().get::<&str>(0).unwrap(), "a literal");
    assert_eq!(results[3].rows().first().unwrap().get::<&str>(0).unwrap(), "a String");
    let shown = format!("{:?}", counts(&connection));
    assert!(shown.contains("from pg_type") && !shown.contains("a String"), "{shown}");
}

#[tokio::test]
async fn a_stream_takes_its_text_along() {
    let (_database, connection) = connected().await;
    let mut stream = names(&connection);
    let mut seen = Vec::new();
    while let Some(row) = bounded(stream.next()).await {
        seen.push(row.unwrap().1);
    }
    assert_eq!(seen, ["1", "2", "3"]);

    // The first portion of a portal has 64 rows; the error comes in a later one, and names the text.
    let mut stream = numbers(&connection.cursor(), "outside");
    let sql = "select n as outside,";
    let error = failure(&mut stream).await;
    assert!(error.statement().unwrap().starts_with(sql), "{error:#}");
    let failed = connection.run_interaction(async |cursor: Cursor| {
        let mut stream = numbers(&cursor, "inside").limit(100);
        Err::<(), _>(failure(&mut stream).await)
    });
    let error = bounded(failed).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
    assert!(error.statement().unwrap().starts_with("select n as inside,"), "{error:#}");
    assert_works(&connection).await;
}

/// The error after 149 rows.
async fn failure(stream: &mut QueryStream<'_, (i32,)>) -> txpostgres::Error {
    for _ in 0..149 {
        bounded(stream.next()).await.unwrap().unwrap();
    }
    bounded(stream.next()).await.unwrap().unwrap_err()
}
