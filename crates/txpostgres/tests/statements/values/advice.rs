//! A type that does not fit says what would; and what has no binary form comes as text.

use std::fmt::Debug;

use txpostgres::types::{FromSqlOwned, ToSql};
use txpostgres::value::{Array, Record, Text};
use txpostgres::{Connection, Error, ErrorKind, FetchDirection, Format, SqlState};

use crate::support::{assert_works, bounded, connected};

async fn unread<T: FromSqlOwned + Debug>(connection: &Connection, sql: &str) -> Error {
    let rows = bounded(connection.run_query(sql, ())).await.unwrap();
    let error = rows.first().unwrap().get::<T>(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    let shaped = rows.decode::<(T,)>().unwrap_err();
    assert_eq!(shaped.hint(), error.hint());
    assert!(!error.hint().is_some_and(|hint| hint.contains("again")), "{error:#}");
    error
}

async fn unsent(connection: &Connection, sql: &str, value: &(dyn ToSql + Sync)) -> Error {
    let error = bounded(connection.run_query(sql, &[value])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    error
}

#[tokio::test]
async fn the_type_that_fits_is_named() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    let script = "create domain posint as int; create type mood as enum ('sad')";
    bounded(connection.run_script(script)).await.unwrap();
    let says = |error: Error, hint: &str| assert_eq!(error.hint(), Some(hint), "{error:#}");
    says(unread::<i32>(connection, "select 1::int8").await, "int8 takes i64");
    says(unread::<i64>(connection, "select count(*)::int4 from pg_class").await, "int4 takes i32");
    says(
        unread::<f64>(connection, "select 1.5").await,
        "numeric takes value::Numeric, rust_decimal::Decimal",
    );
    says(
        unread::<Vec<i32>>(connection, "select '{1}'::int8[]").await,
        "int8[] takes Vec<i64>, value::Array<i64>",
    );
    says(
        unread::<i64>(connection, "select '{1}'::posint[]").await,
        "posint[] takes Vec<i32>, value::Array<i32>",
    );
    says(unread::<i64>(connection, "select row(1)").await, "record takes value::Record<(…)>");
    says(
        unread::<String>(connection, "select '<a/>'::xml").await,
        "xml takes `Text` with `in_text()`",
    );
    says(
        unread::<i32>(connection, "select '[1,2)'::int8range").await,
        "int8range takes value::Range<i64>",
    );
    says(unsent(connection, "select $1::int8", &1_i32).await, "int8 takes i64");
    says(unsent(connection, "select $1::posint", &"x").await, "posint takes i32");
    says(unsent(connection, "select $1::bool", &1_i32).await, "bool takes bool");
    let mood = "mood takes an enum with `#[derive(ToSql, FromSql)]`, `Text`";
    says(unsent(connection, "select $1::mood", &1_i32).await, mood);
    let id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let uuid = if cfg!(feature = "with-uuid-1") {
        ["uuid takes uuid::Uuid"; 2]
    } else {
        [
            "uuid needs the feature with-uuid-1, or `Text`",
            "uuid needs the feature with-uuid-1, or `Text` with `in_text()`",
        ]
    };
    says(unsent(connection, "select $1::uuid", &id).await, uuid[0]);
    says(unread::<String>(connection, &format!("select '{id}'::uuid")).await, uuid[1]);
    if !cfg!(any(feature = "with-chrono-0_4", feature = "with-jiff-0_2", feature = "with-time-0_3"))
    {
        let date = "date needs one of the features with-chrono-0_4, with-jiff-0_2, with-time-0_3, or `Text`";
        says(unsent(connection, "select $1::date", &"2026-11-29").await, date);
    }
    // In text it is text.
    let rows = bounded(connection.run_query("select 1", ()).in_text()).await.unwrap();
    let error = rows.first().unwrap().get::<i32>(0).unwrap_err();
    assert!(error.hint().unwrap().contains("came as text"), "{error:#}");
}

#[tokio::test]
async fn room_for_null_is_named() {
    let (_database, connection) = connected().await;
    let sql = "select '{1,null}'::int[]";
    let error = unread::<Vec<i32>>(&connection, sql).await;
    assert_eq!(error.hint(), Some("NULL in it: `Vec<Option<i32>>`"));
    let error = unread::<Box<[i32]>>(&connection, sql).await;
    assert_eq!(error.hint(), Some("NULL in it: `Box<[Option<i32>]>`"));
    let error = unread::<Vec<String>>(&connection, "select array[null::text]").await;
    assert_eq!(error.hint(), Some("NULL in it: `Vec<Option<String>>`"));
}

#[tokio::test]
async fn room_for_null_is_named_wherever_it_is() {
    let (_database, connection) = connected().await;
    let sql = "select '{1,null}'::int[]";
    let error = unread::<Array<i32>>(&connection, sql).await;
    assert_eq!(error.hint(), Some("NULL in it: `Array<Option<i32>>`"));
    let error = unread::<Record<(Vec<i32>,)>>(&connection, "select row('{1,null}'::int[])").await;
    let within = "field \"1\" (_int4): NULL in it: `Vec<Option<i32>>`";
    assert!(error.to_string().contains(within), "{error}");
}

#[tokio::test]
async fn what_has_several_dimensions_is_named() {
    let (_database, connection) = connected().await;
    let has = "2 dimensions: `value::Array<i32>`, whose `into_rows()` are `Vec<Vec<i32>>`";
    let error = unread::<Vec<i32>>(&connection, "select '{{1,2},{3,4}}'::int[]").await;
    assert_eq!(error.hint(), Some(has));
    let sql = "select row('{{1,2},{3,4}}'::int[])";
    let error = unread::<Record<(Vec<i32>,)>>(&connection, sql).await;
    assert!(error.to_string().contains(&format!("field \"1\" (_int4): {has}")), "{error}");
    let error = unread::<Vec<i32>>(&connection, "select '{{{1}}}'::int[]").await;
    assert_eq!(error.hint(), Some("3 dimensions: `value::Array<i32>`"));
}

#[tokio::test]
async fn the_field_that_does_not_go_with_a_tuple_is_named() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    let script = "create type pair as (name text, n int)";
    bounded(connection.run_script(script)).await.unwrap();
    let sql = "select row('a', 1)::pair";
    let name = "field \"name\" (text) does not go with i32: text takes String, &str";
    let error = unread::<Record<(i32, i32)>>(connection, sql).await;
    assert!(error.to_string().contains(name), "{error}");
    let error = unsent(connection, "select $1::pair", &Record((1, 2))).await;
    assert!(error.to_string().contains(name), "{error}");
    let error = unread::<Record<(i32,)>>(connection, sql).await;
    let count = "the type pair has 2 fields, and the tuple 1";
    assert!(error.to_string().contains(count), "{error}");
    let error = unsent(connection, "select $1::record", &Record((1, 2))).await;
    assert_eq!(
        error.hint(),
        Some(
            "PostgreSQL takes no anonymous record: name a composite type (`$1::item`), or send the fields (`row($1, $2)`)"
        )
    );
}

/// What a column has is known only when its record is written, inside of a COPY or of a FETCH, too.
#[tokio::test]
async fn what_has_no_binary_form_inside_of_a_record_says_what_to_do() {
    let (_database, connection) = connected().await;
    let cast = "a type in it has no binary form: cast the column to text";
    let query = "select row('=r/postgres'::aclitem) from generate_series(1, 3)";
    let mut copy = bounded(connection.copy_out_rows(query)).await.unwrap();
    let error = bounded(copy.next()).await.unwrap().unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_FUNCTION));
    assert_eq!(error.hint(), Some(cast));
    drop(copy);
    for query in ["select '=r/postgres'::aclitem", query] {
        let asked = connection.run_interaction(async |cursor| {
            let mut named = cursor.named("c").open(query, ()).await?;
            named.fetch(FetchDirection::Next).await.map(drop)
        });
        let error = bounded(asked).await.unwrap_err();
        assert_eq!(error.hint(), Some(cast), "{error:#}");
    }
    assert_works(&connection).await;
}

#[cfg(feature = "derive")]
mod derived {
    use super::*;

    #[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
    #[postgres(name = "lamp", rename_all = "lowercase")]
    enum Lamp {
        Red,
        Green,
    }

    #[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
    #[postgres(name = "lamp", rename_all = "lowercase")]
    enum Lights {
        Red,
        Green,
        Amber,
        Blue,
    }

    #[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
    #[postgres(rename_all = "lowercase")]
    enum Animal {
        Cat,
    }

    #[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
    struct Spot {
        lamp: Lamp,
    }

    #[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
    #[postgres(name = "spot")]
    struct Named {
        lamp: Lamp,
    }

    #[derive(Debug, txpostgres::types::ToSql, txpostgres::types::FromSql)]
    struct Item {
        lamp: i32,
    }

    /// The advice to rename what is read by accident would lead on to the next error.
    #[tokio::test]
    async fn another_name_is_advised_only_where_it_would_help() {
        let (_database, connection) = connected().await;
        let connection = &connection;
        let script =
            "create schema s; create type animal as (legs int); create type other as (lamp int);
            create type \"ITEM\" as (legs int); create type mood as enum ('sad')";
        bounded(connection.run_script(script)).await.unwrap();
        let error = unread::<Item>(connection, "select row(4)::animal").await;
        let neither =
            "Item stands for \"Item\", and the type is \"animal\", which has other fields";
        assert_eq!(error.hint(), Some(neither));
        let error = unread::<Item>(connection, "select row(4)::other").await;
        let named =
            "Item stands for \"Item\", the type is \"other\": `#[postgres(name = \"other\")]`";
        assert_eq!(error.hint(), Some(named));
        let error = unread::<Item>(connection, "select row(4)::\"ITEM\"").await;
        let named =
            "Item stands for \"Item\", the type is \"ITEM\": `#[postgres(name = \"ITEM\")]`";
        assert_eq!(error.hint(), Some(named));
        let error = unread::<Animal>(connection, "select 'sad'::mood").await;
        let neither =
            "Animal stands for \"Animal\", and the type is \"mood\", which has other labels";
        assert_eq!(error.hint(), Some(neither));
    }

    #[tokio::test]
    async fn what_a_derived_type_lacks_is_named() {
        let (_database, connection) = connected().await;
        let connection = &connection;
        let script = "create type lamp as enum ('red', 'green', 'amber'); create type animal as enum ('cat'); create type spot as (lamp lamp)";
        bounded(connection.run_script(script)).await.unwrap();
        let both = async |value: &(dyn ToSql + Sync), ty: &str, hint: &str, error: Error| {
            assert_eq!(error.hint(), Some(hint), "{error:#}");
            let error = unsent(connection, &format!("select $1::{ty}"), value).await;
            assert_eq!(error.hint(), Some(hint), "{error:#}");
        };
        let lacks = "the enum lamp has the label amber, which Lamp lacks: `allow_mismatch`";
        let error = unread::<Lamp>(connection, "select 'red'::lamp").await;
        both(&Lamp::Red, "lamp", lacks, error).await;
        let error = unread::<Vec<Lamp>>(connection, "select '{red}'::lamp[]").await;
        both(&vec![Lamp::Green], "lamp[]", lacks, error).await;
        let has = "Lights has the label blue, which the enum lamp lacks: `allow_mismatch`";
        let error = unread::<Option<Lights>>(connection, "select 'red'::lamp").await;
        for lights in [Lights::Red, Lights::Green, Lights::Amber] {
            unsent(connection, "select $1::lamp", &lights).await;
        }
        both(&Lights::Blue, "lamp", has, error).await;
        let named = "Animal stands for \"Animal\", the type is \"animal\": `#[postgres(name = \"animal\")]`";
        let error = unread::<Animal>(connection, "select 'cat'::animal").await;
        both(&Animal::Cat, "animal", named, error).await;
        let named =
            "Spot stands for \"Spot\", the type is \"spot\": `#[postgres(name = \"spot\")]`";
        let error = unread::<Spot>(connection, "select row('red'::lamp)::spot").await;
        both(&Spot { lamp: Lamp::Red }, "spot", named, error).await;
        // Within a composite it is said of the field.
        let error = unread::<Named>(connection, "select row('red'::lamp)::spot").await;
        assert!(
            error.to_string().contains("field \"lamp\" (lamp)")
                && error.to_string().contains(lacks),
            "{error}"
        );
        let error = unsent(connection, "select $1::spot", &Named { lamp: Lamp::Red }).await;
        assert!(error.to_string().contains(lacks), "{error}");
    }
}

/// The statistics of a column of a type that has no binary form are arrays of it, in a column of any array.
#[tokio::test]
async fn what_turns_out_to_have_no_binary_form_comes_as_text() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    let script = "
        create table items (acl aclitem[]);
        insert into items select array['=r/postgres'::aclitem] from generate_series(1, 100);
        analyze items;
    ";
    bounded(connection.run_script(script)).await.unwrap();
    let stats = "select * from pg_stats where tablename = 'items'";
    let values = "{\"{=r/postgres}\"}";
    for _ in 0..2 {
        let rows = bounded(connection.run_query(stats, ())).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!(row.get::<&str>("most_common_vals").unwrap(), values);
        assert_eq!(row.get::<&str>("tablename").unwrap(), "items");
        assert_eq!(row.get::<Vec<f32>>("most_common_freqs").unwrap(), [1.0]);
    }
    let sql = "select most_common_vals, row(most_common_vals, $1::int4) from pg_stats where tablename = 'items'";
    for _ in 0..2 {
        let rows = bounded(connection.run_query(sql, (7,))).await.unwrap();
        assert_eq!(rows.first().unwrap().get::<Text>(0).unwrap().0, values);
        assert!(rows.columns().iter().all(|column| column.format() == Format::Text));
    }
    bounded(connection.run_query("select * from pg_stats", ())).await.unwrap();
    let rows =
        bounded(connection.run_query("select row('=r/postgres'::aclitem, 1)", ())).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<Text>(0).unwrap().0, "(=r/postgres,1)");
    // A record that has a binary form is one.
    let rows = bounded(connection.run_query("select row(1, 2)", ())).await.unwrap();
    rows.first().unwrap().get::<Record<(i32, i32)>>(0).unwrap();

    for query in [
        "select most_common_vals, 7 as n, acl from pg_stats, items where tablename = 'items' order by n limit 1 -- one",
        "insert into items values ('{=r/postgres}') returning (select most_common_vals from pg_stats where tablename = 'items'), 7, acl",
        "with i as (select * from items limit 1) select (select most_common_vals from pg_stats where tablename = 'items'), 7, acl from i;",
        "values ((select most_common_vals from pg_stats where tablename = 'items'), 7, '{=r/postgres}'::aclitem[])",
    ] {
        let mut copy = bounded(connection.copy_out_rows(query)).await.unwrap();
        assert_eq!(copy.columns()[1].format(), Format::Binary);
        let row =
            bounded(copy.next()).await.unwrap().unwrap_or_else(|error| panic!("{query}: {error}"));
        let (text, number, acl): (String, i32, Text) = row.as_row().decode().unwrap();
        assert_eq!((&*text, number, &*acl.0), (values, 7, "{=r/postgres}"));
        assert!(bounded(copy.next()).await.is_none());
    }
    let mut copy = bounded(connection.copy_out_rows("select * from pg_stats")).await.unwrap();
    while let Some(row) = bounded(copy.next()).await {
        row.unwrap();
    }
    assert_works(connection).await;
}

/// As behind a pooler in transaction mode: the server does not have what the session has prepared.
#[tokio::test]
async fn a_statement_that_is_gone_says_what_to_set() {
    let (_database, connection) = connected().await;
    let sql = "select $1::int4";
    bounded(connection.run_query(sql, (1,))).await.unwrap();
    let asked = connection.run_interaction(async |cursor| {
        cursor.run_script("do $$ begin execute 'deallocate all'; end $$").await?;
        cursor.run_query(sql, (1,)).await
    });
    let error = bounded(asked).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_SQL_STATEMENT_NAME));
    assert!(error.hint().unwrap().contains("statement_cache_size=0"), "{error:#}");
    // One of the user's own is the user's.
    let error = bounded(connection.run_query("execute mine", ())).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_SQL_STATEMENT_NAME));
    assert_eq!(error.hint(), None);
    assert_works(&connection).await;
}
