//! The derives: rows as structs, and the types of a database as enums, structs and newtypes.

// clippy.toml allows it in tests, but not in what tests share.
use std::collections::BTreeMap;

use txpostgres::types::{FromSql, ToSql};
use txpostgres::value::{Numeric, Range, Raw, Text};
use txpostgres::{Connection, Delivery, Error, ErrorKind, FromRow, Scalar};

use crate::support::connected;

#[derive(Debug, PartialEq, FromRow)]
struct Person {
    id: i64,
    #[row(rename = "full name")]
    name: String,
    note: Option<String>,
    #[row(default)]
    age: i32,
    r#type: String,
}

#[derive(Debug, PartialEq, FromRow)]
#[row(rename_all = "camelCase")]
struct Borrowed<'a> {
    first_name: &'a str,
    raw_bytes: Option<&'a [u8]>,
}

#[derive(Debug, PartialEq, FromRow)]
struct Outer<'a, T> {
    value: T,
    #[row(flatten)]
    names: Borrowed<'a>,
    #[row(flatten)]
    rest: BTreeMap<String, Option<Raw>>,
}

#[derive(Debug, PartialEq, FromRow)]
struct Pair(i32, Option<String>);

const PEOPLE: &str =
    "select 1::int8 as id, 'Ada' as \"full name\", null::text as note, 'x' as type";

#[tokio::test]
async fn rows_are_read_as_structs() {
    let (_database, connection) = connected().await;
    let people: Vec<Person> = connection.run_query_as(PEOPLE, ()).await.unwrap();
    let ada = Person { id: 1, name: "Ada".into(), note: None, age: 0, r#type: "x".into() };
    assert_eq!(people, [ada]);
    let sql = format!("select p.*, 36 as age, 'extra' as extra from ({PEOPLE}) p");
    let people: Vec<Person> = connection.run_query_as(&sql, ()).await.unwrap();
    assert_eq!(people[0].age, 36);

    let sql = "select 7 as value, 'Ada' as \"firstName\", '\\x01'::bytea as \"rawBytes\"";
    let rows = connection.run_query(sql, ()).await.unwrap();
    let outer: Vec<Outer<'_, i32>> = rows.decode().unwrap();
    let names = Borrowed { first_name: "Ada", raw_bytes: Some(&[1]) };
    assert_eq!((outer[0].value, &outer[0].names, outer[0].rest.len()), (7, &names, 3));
    assert_eq!(rows.first().unwrap().decode::<Borrowed<'_>>().unwrap(), names);

    let sql = "select n, nullif('x' || n, 'x2') from generate_series(1, 3) n";
    let pairs: Vec<Pair> = connection.run_query_as(sql, ()).await.unwrap();
    assert_eq!(pairs, [Pair(1, Some("x1".into())), Pair(2, None), Pair(3, Some("x3".into()))]);
}

/// Has no `Default`.
#[derive(Debug, PartialEq, FromRow)]
struct Purchase {
    order_id: i32,
    total: Option<i64>,
    #[row(default)]
    note: Option<String>,
    #[row(flatten)]
    item: Option<Item>,
    #[row(skip)]
    seen: bool,
}

#[derive(Debug, PartialEq, FromRow)]
struct Item {
    item_id: i32,
    label: Option<String>,
}

#[derive(Debug, PartialEq, FromRow)]
struct Customer<'a> {
    name: &'a str,
    #[row(flatten)]
    order: Option<Purchase>,
    #[row(skip)]
    tags: Vec<String>,
}

#[tokio::test]
async fn an_outer_join_finds_nobody() {
    let (_database, connection) = connected().await;
    let sql = "select name, order_id, total, item_id, label
               from (values (1, 'Ada'), (2, 'Grace'), (3, 'Mary')) customer (id, name)
               left join (values (1, 10, 5::int8, 1), (2, 11, null, 2)) o (id, order_id, total, item) using (id)
               left join (values (1, 7, null::text)) i (item, item_id, label) using (item)
               order by id";
    let rows = connection.run_query(sql, ()).await.unwrap();
    let customers: Vec<Customer<'_>> = rows.decode().unwrap();
    let item = Some(Item { item_id: 7, label: None });
    let order =
        |order_id, total, item| Some(Purchase { order_id, total, note: None, item, seen: false });
    let of = |name, order| Customer { name, order, tags: Vec::new() };
    let expected =
        [of("Ada", order(10, Some(5), item)), of("Grace", order(11, None, None)), of("Mary", None)];
    assert_eq!(customers, expected);

    // Of any other shape as well, and of the whole row.
    let sql = "select nullif(n, 2) as a, nullif(n, 2)::text as b from generate_series(1, 2) n";
    let one = (1, "1".to_owned());
    let pairs: Vec<Option<(i32, String)>> = connection.run_query_as(sql, ()).await.unwrap();
    assert_eq!(pairs, [Some(one), None]);
    let maps: Vec<Option<BTreeMap<String, Option<Raw>>>> =
        connection.run_query_as(sql, ()).await.unwrap();
    assert_eq!(maps.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    let sql = "select nullif(n, 2) from generate_series(1, 2) n";
    let scalars: Vec<Option<Scalar<i32>>> = connection.run_query_as(sql, ()).await.unwrap();
    assert_eq!(scalars, [Some(Scalar(1)), None]);
    let sql = "select nullif(n, 2), nullif('x' || n, 'x2') from generate_series(1, 2) n";
    let tuples: Vec<Option<Pair>> = connection.run_query_as(sql, ()).await.unwrap();
    assert_eq!(tuples, [Some(Pair(1, Some("x1".into()))), None]);
}

#[tokio::test]
async fn a_half_of_a_row_is_not_nobody() {
    let (_database, connection) = connected().await;
    let sql =
        "select 'Ada' as name, null::int as order_id, 5::int8 as total, 1 as item_id, '' as label";
    assert_eq!(
        refused::<Option<Purchase>>(&connection, sql).await,
        "column 1 \"order_id\" (int4) of row 0 is NULL; read it as Option<i32>"
    );
    // The columns have to be there all the same.
    assert_eq!(
        refused::<Option<Purchase>>(&connection, "select 1 as order_id, 2::int8 as total").await,
        "Item.item_id: the row has no column item_id; its columns are: order_id, total"
    );
}

/// What is said when a row cannot be read as this.
async fn refused<T: for<'r> FromRow<'r>>(connection: &Connection, sql: &str) -> String {
    let error = connection.run_query_as::<T, _>(sql, ()).await.err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, Delivery::CarriedOut));
    let said = error.to_string();
    said.strip_suffix(" (the statement was carried out)").expect("what became of it").to_owned()
}

#[tokio::test]
async fn what_does_not_fit_is_named_with_everything_that_helps() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    assert_eq!(
        refused::<Person>(connection, "select 1::int8 as id, 'Ada' as name where false").await,
        "Person.name: the row has no column full name; its columns are: id, name"
    );
    assert_eq!(
        refused::<Person>(connection, "select 'Ada' as \"full name\", 1 as id").await,
        "Person.id: column 1 \"id\" (int4) of every row does not read as i64"
    );
    let sql = "select 1::int8 as id, 'a' as \"full name\", null::text as note, nullif('t' || n, 't2') as type
               from generate_series(0, 5) n";
    assert_eq!(
        refused::<Person>(connection, sql).await,
        "column 3 \"type\" (text) of row 2 is NULL; read it as Option<alloc::string::String>"
    );
    assert_eq!(
        refused::<Pair>(connection, "select 1").await,
        "a row has 1 columns (?column?) and is to be read as a tuple of 2, which takes 2"
    );
    assert_eq!(
        refused::<Scalar<i32>>(connection, "select 1 as a, 2 as b").await,
        "a row has 2 columns (a, b) and is to be read as a single value, which takes 1"
    );
    assert_eq!(
        refused::<BTreeMap<String, i32>>(connection, "select 1 as a, 2 as b, 3 as a").await,
        "the columns 0 and 2 are both named \"a\": a map has room for one of them"
    );
}

#[tokio::test]
async fn shapes_for_a_call_a_connection_and_a_cursor() {
    let (_database, connection) = connected().await;
    let sql = "select n, n::text as t from generate_series(1, 2) n";
    let expected = [(1, "1".to_owned()), (2, "2".to_owned())];
    let rows = connection.run_query(sql, ()).rows_as::<(i32, String)>().await.unwrap();
    assert_eq!(rows, expected);
    let pairs = connection.with_rows_as::<(i32, String)>();
    assert_eq!(pairs.run_query(sql, ()).await.unwrap(), expected);
    assert_eq!(pairs.run_operation("select 1", ()).await.unwrap(), 1);
    let maps: Vec<BTreeMap<String, Text>> =
        connection.run_query(sql, ()).in_text().rows_as().await.unwrap();
    assert_eq!(maps[1]["n"], Text("2".to_owned()));
    let counted = connection
        .run_interaction(async |cursor| {
            let scalars = cursor.with_rows_as::<Scalar<i64>>();
            let ones = scalars.run_query("select 1::int8", ()).await?;
            let twos: Vec<Scalar<i64>> = cursor.run_query_as("select 2::int8", ()).await?;
            Ok::<_, Error>(ones[0].0 + twos[0].0)
        })
        .await
        .unwrap();
    assert_eq!(counted, 3);
    let none: Vec<(i32,)> = connection.run_query_as("create table t ()", ()).await.unwrap();
    assert!(none.is_empty());
}

#[derive(Debug, Clone, Copy, PartialEq, ToSql, FromSql)]
#[postgres(name = "mood", rename_all = "snake_case")]
enum Mood {
    Sad,
    VeryGlad,
    #[postgres(name = "so so")]
    Middling,
}

#[derive(Debug, Clone, PartialEq, ToSql, FromSql)]
#[postgres(name = "mood", allow_mismatch)]
enum OneMood {
    #[postgres(name = "sad")]
    Sad,
}

#[derive(Debug, Clone, PartialEq, ToSql, FromSql)]
#[postgres(name = "positive")]
struct Positive(i32);

#[derive(Debug, Clone, PartialEq, ToSql, FromSql)]
#[postgres(transparent)]
struct Id(i64);

#[derive(Debug, Clone, PartialEq, ToSql, FromSql)]
#[postgres(name = "part")]
struct Part<'a> {
    label: &'a str,
    #[postgres(name = "Count")]
    count: Option<Positive>,
}

#[derive(Debug, Clone, PartialEq, ToSql, FromSql)]
#[postgres(name = "whole")]
struct Whole<T> {
    moods: Vec<Option<Mood>>,
    price: Numeric,
    span: Range<T>,
    id: Id,
}

const TYPES: &str = "
    create type mood as enum ('sad', 'very_glad', 'so so');
    create domain positive as int check (value > 0);
    create type part as (label text, \"Count\" positive);
    create type whole as (id int8, price numeric, moods mood[], span int4range);
";

#[tokio::test]
async fn values_of_derived_types_go_out_and_come_back() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    let part = Part { label: "wheel", count: Some(Positive(4)) };
    let whole = Whole {
        moods: vec![Some(Mood::VeryGlad), None, Some(Mood::Middling)],
        price: "12.50".parse().unwrap(),
        span: Range::from(1..9),
        id: Id(7),
    };
    for _ in 0..2 {
        let sql =
            "select $1::mood, $2::positive, $3::part, $4::whole, array[$3::part, null], $5::mood";
        let params = (Mood::Sad, Positive(3), part.clone(), whole.clone(), None::<Mood>);
        let rows = connection.run_query(sql, params).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!(row.get::<Mood>(0).unwrap(), Mood::Sad);
        assert_eq!(row.get::<OneMood>(0).unwrap(), OneMood::Sad);
        assert_eq!(row.get::<Positive>(1).unwrap(), Positive(3));
        assert_eq!(row.get::<Part<'_>>(2).unwrap(), part);
        assert_eq!(row.get::<Whole<i32>>(3).unwrap(), whole);
        let parts: Vec<Option<Part<'_>>> = row.get(4).unwrap();
        assert_eq!(parts, [Some(part.clone()), None]);
        assert_eq!(row.get::<Option<Mood>>(5).unwrap(), None);
    }
    let sql = "select $1::int8, array[1, 2]::positive[]";
    let rows = connection.run_query(sql, (Id(8),)).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<Id>(0).unwrap(), Id(8));
    let positives: Vec<Positive> = rows.first().unwrap().get(1).unwrap();
    assert_eq!(positives, [Positive(1), Positive(2)]);
    let sql = "select row('x', null)::part";
    let rows = connection.run_query(sql, ()).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<Part<'_>>(0).unwrap(), Part { label: "x", count: None });
}

#[tokio::test]
async fn derived_types_that_do_not_fit_are_refused() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    let rows = connection.run_query("select 'so so'::mood, row('x', 0)::part::text", ()).await;
    assert!(rows.is_err(), "the domain's check holds");
    let rows = connection.run_query("select 'so so'::mood", ()).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!(row.get::<Mood>(0).unwrap(), Mood::Middling);
    assert_eq!(
        row.get::<OneMood>(0).unwrap_err().to_string(),
        format!(
            "column 0 \"mood\" (mood) of row 0 does not read as {}: the enum mood has a label that \
             no variant stands for",
            std::any::type_name::<OneMood>()
        )
    );
    connection.run_operation("alter type mood add value 'ecstatic'", ()).await.unwrap();
    let error = connection.run_query("select $1::part", (Mood::Sad,)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    // What was looked up is still what it was; looked up anew, the enum has a label too many.
    connection.forget_types();
    let rows = connection.run_query("select 'sad'::mood", ()).await.unwrap();
    let error = rows.first().unwrap().get::<Mood>(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "column 0 \"mood\" (mood) of row 0 does not read as {}",
            std::any::type_name::<Mood>()
        )
    );
    assert_eq!(rows.first().unwrap().get::<Text>(0).unwrap().0, "sad");
}
