//! What does not fit a type of the database: the error names the field, and says what to do.

use std::fmt::Debug;

use txpostgres::types::{FromSqlOwned, ToSql};
use txpostgres::value::Text;
use txpostgres::{Connection, Error, ErrorKind};
use txpostgres_testkit::Database;

use crate::support::{bounded, connected};

#[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "leaf")]
struct Leaf {
    label: String,
    size: i32,
}

#[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "leaf")]
struct WithOptions {
    label: Option<String>,
    size: Option<i64>,
}

#[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "leaf")]
struct Renamed {
    label: String,
    width: i32,
}

#[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "leaf")]
struct Short {
    label: String,
}

#[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "tree")]
struct Tree<L> {
    leaf: L,
}

async fn with_types() -> (Database, Connection) {
    let (database, connection) = connected().await;
    let sql = "create type leaf as (label text, size int); create type tree as (leaf leaf)";
    bounded(connection.run_script(sql)).await.unwrap();
    (database, connection)
}

async fn unread<T: FromSqlOwned + Debug>(connection: &Connection, sql: &str) -> Error {
    let rows = bounded(connection.run_query(sql, ())).await.unwrap();
    let error = rows.first().unwrap().get::<T>(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    error
}

#[tokio::test]
async fn a_null_in_a_field_is_named() {
    let (_database, connection) = with_types().await;
    let error = unread::<Leaf>(&connection, "select ('a', null)::leaf").await;
    let text = error.to_string();
    assert!(text.ends_with("field \"size\" (int4) is NULL; read it as Option<i32>"), "{text}");
    assert_eq!(error.hint(), None, "no type was altered");
    let sql = "select row(row(null, 1)::leaf)::tree";
    let error = unread::<Tree<Leaf>>(&connection, sql).await;
    let text = error.to_string();
    assert!(text.contains("field \"leaf\" (leaf): field \"label\" (text) is NULL"), "{text}");
    assert_eq!(error.hint(), None);
    let error = unread::<Vec<Leaf>>(&connection, "select array[('a', null)::leaf]").await;
    assert!(error.to_string().contains("\"size\""), "{error}");
    assert_eq!(error.hint(), None);
}

#[tokio::test]
async fn a_field_that_does_not_fit_is_named() {
    let (_database, connection) = with_types().await;
    let leaf = "select ('a', 1)::leaf";
    let tree = "select row(row('a', 1)::leaf)::tree";
    let expect = |error: Error, what: &str| {
        let text = error.to_string();
        assert!(text.contains(what), "{text}");
    };
    let of_size = "field \"size\" (int4) does not go with core::option::Option<i64>";
    let no_width = "the type leaf has no field \"width\"";
    let no_size = "the struct has no field \"size\"";
    expect(unread::<WithOptions>(&connection, leaf).await, of_size);
    expect(unread::<Renamed>(&connection, leaf).await, no_width);
    expect(unread::<Short>(&connection, leaf).await, no_size);
    expect(unread::<Tree<WithOptions>>(&connection, tree).await, of_size);
    expect(unread::<Option<Short>>(&connection, leaf).await, no_size);
    expect(unread::<Vec<Short>>(&connection, "select array[('a', 1)::leaf]").await, no_size);
    let error = bounded(connection.run_query_as::<(Renamed,), _>(leaf, ())).await.unwrap_err();
    expect(error, no_width);

    let sent = async |value: &(dyn ToSql + Sync), ty: &str| {
        let sql = format!("select $1::{ty}");
        let error = bounded(connection.run_query(&sql, &[value])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        error
    };
    let with_options = || WithOptions { label: None, size: None };
    expect(sent(&with_options(), "leaf").await, of_size);
    expect(sent(&Renamed { label: String::new(), width: 1 }, "leaf").await, no_width);
    expect(sent(&Short { label: String::new() }, "leaf").await, no_size);
    expect(sent(&Tree { leaf: with_options() }, "tree").await, of_size);
    expect(sent(&Some(vec![with_options()]), "leaf[]").await, of_size);
    // It is not said of what has nothing to do with it.
    let error = sent(&1_i32, "leaf").await;
    assert!(!error.to_string().contains("field"), "{error}");
    let error = unread::<i32>(&connection, leaf).await;
    assert!(!error.to_string().contains("field"), "{error}");
}

#[tokio::test]
async fn a_type_of_an_extension_is_had_in_text() {
    let (_database, connection) = connected().await;
    if bounded(connection.run_operation("create extension ltree", ())).await.is_err() {
        eprintln!("skipped: this server has no ltree");
        return;
    }
    let error = unread::<Text>(&connection, "select 'a.b'::ltree").await;
    assert!(error.hint().unwrap().contains("in_text()"), "{error:#}");
    let rows = bounded(connection.run_query("select 'a.b'::ltree", ()).in_text()).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "a.b");
}
