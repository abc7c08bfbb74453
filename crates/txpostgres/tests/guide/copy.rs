//! The page on COPY.

use std::sync::{Arc, Mutex};

use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use txpostgres::{Connection, Error, ErrorKind, SqlState};

use super::support::{bounded, count};
use super::{Boxed, connected};

async fn people(connection: &Connection) -> i64 {
    count(connection, "select count(*) from people").await
}

#[tokio::test]
async fn rows_in_and_out() {
    let (_database, connection) = connected().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let copy = bounded(connection.copy_in_rows("people", &["id", "name"])).await.unwrap();
    let mut copy = copy.on_progress(move |progress| noted.lock().unwrap().push(progress));
    for id in 0..10_000_i64 {
        bounded(copy.send((id, format!("number {id}")))).await.unwrap();
    }
    assert_eq!(bounded(copy.finish()).await.unwrap(), 10_000);
    assert_eq!(told.lock().unwrap().last().unwrap().rows, Some(10_000));
    assert!(told.lock().unwrap().len() > 2);

    let query = "select id, name from people order by id";
    let mut copy = bounded(connection.copy_out_rows(query)).await.unwrap();
    let mut expected = 0;
    while let Some(row) = bounded(copy.next()).await {
        let row = row.unwrap();
        assert_eq!(row.get::<i64>("id").unwrap(), expected);
        assert_eq!(row.get::<&str>("name").unwrap(), format!("number {expected}"));
        expected += 1;
    }
    assert_eq!(expected, 10_000);
}

async fn import(connection: &Connection, path: &str) -> Result<u64, Boxed> {
    let mut file = File::open(path).await?;
    let sql = "copy people (id, name) from stdin (format csv, header)";
    let mut copy = connection.copy_in(sql).await?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer).await?;
        if count == 0 {
            return Ok(copy.finish().await?);
        }
        copy.send(&buffer[..count]).await?;
    }
}

async fn export(connection: &Connection, path: &str) -> Result<u64, Boxed> {
    let mut file = File::create(path).await?;
    let sql = "copy (select id, name from people order by id) to stdout (format csv, header)";
    let mut copy = connection.copy_out(sql).await?;
    while let Some(data) = copy.next().await {
        file.write_all(&data?).await?;
    }
    file.flush().await?;
    Ok(copy.row_count().unwrap_or_default())
}

#[tokio::test]
async fn a_file_out_and_in() {
    let (database, connection) = connected().await;
    let insert =
        "insert into people (id, name) select n, 'number ' || n from generate_series(1, 9000) n";
    connection.run_operation(insert, ()).await.unwrap();
    let path = std::env::temp_dir().join(format!("txpostgres-{}.csv", database.name()));
    let path = path.to_str().unwrap();
    assert_eq!(bounded(export(&connection, path)).await.unwrap(), 9_000);
    let text = fs::read_to_string(path).await.unwrap();
    assert!(text.starts_with("id,name\n1,number 1\n"));
    connection.run_operation("delete from people", ()).await.unwrap();
    assert_eq!(bounded(import(&connection, path)).await.unwrap(), 9_000);
    assert_eq!(people(&connection).await, 9_000);
    fs::remove_file(path).await.unwrap();
}

#[tokio::test]
async fn a_wrong_row_and_giving_up() {
    let (_database, connection) = connected().await;
    let sql = "copy people (id, name) from stdin";
    let mut copy = bounded(connection.copy_in(sql)).await.unwrap();
    bounded(copy.send("1\tAda\ntwo\tGrace\n")).await.unwrap();
    let error = bounded(copy.finish()).await.unwrap_err();
    assert_eq!(error.item(), Some(1));
    let said = "ERROR 22P02: invalid input syntax for type bigint: \"two\"";
    assert!(error.to_string().starts_with(said), "{error}");

    // The lines of CSV: a header, a value of two lines, the wrong one.
    let sql = "copy people (id, name) from stdin (format csv, header)";
    let mut copy = bounded(connection.copy_in(sql)).await.unwrap();
    bounded(copy.send("id,name\n1,\"A\nda\"\ntwo,Grace\n")).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap_err().item(), Some(3));

    let mut copy = bounded(connection.copy_in("copy people (id) from stdin")).await.unwrap();
    bounded(copy.send("1\n")).await.unwrap();
    bounded(copy.abort("the rest of the file is missing")).await.unwrap();

    let mut copy = bounded(connection.copy_in_rows("people", &["id"])).await.unwrap();
    assert_eq!(bounded(copy.send(("one",))).await.unwrap_err().kind(), ErrorKind::Parameter);
    bounded(copy.send((1_i64,))).await.unwrap();
    drop(copy);
    assert_eq!(people(&connection).await, 0);
}

#[tokio::test]
async fn a_copy_in_an_interaction() {
    let (_database, connection) = connected().await;
    connection.run_operation("insert into people (id) values (1)", ()).await.unwrap();
    let copied = bounded(connection.run_interaction(async |cursor| {
        cursor.run_operation("delete from people", ()).await?;
        let mut copy = cursor.copy_in_rows("people", &["id", "name"]).await?;
        copy.send((1_i64, "Ada")).await?;
        copy.finish().await
    }))
    .await;
    assert_eq!(copied.unwrap(), 1);

    // Dropped before its end, it fails the transaction.
    let failed = bounded(connection.run_interaction(async |cursor| {
        let mut copy = cursor.copy_in_rows("people", &["id"]).await?;
        copy.send((2_i64,)).await?;
        drop(copy);
        cursor.run_query("select 1", ()).await.map(drop)
    }))
    .await;
    let error: Error = failed.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::IN_FAILED_SQL_TRANSACTION));
    assert_eq!(people(&connection).await, 1);

    let error = bounded(connection.run_operation("copy people to stdout", ())).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Request);
}
