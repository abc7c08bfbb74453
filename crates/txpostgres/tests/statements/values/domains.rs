//! Domains: the types of Rust go by what a domain is of, wherever a value travels.

use std::fmt::Debug;

use txpostgres::types::{FromSqlOwned, ToSql};
use txpostgres::value::{Multirange, Range, Raw, Text};
use txpostgres::{Connection, ErrorKind, FetchDirection};
use txpostgres_testkit::Database;

use crate::support::{bounded, connected};

const TYPES: &str = "
    create domain email as text check (value like '%@%');
    create domain posint as int check (value > 0);
    create domain small as posint check (value < 1000);
    create domain smalls as small[] check (cardinality(value) < 5);
    create domain whole as int[];
    create type mood as enum ('sad', 'glad');
    create domain humour as mood;
    create type spread as range (subtype = small, multirange_type_name = spreads);
    create type leaf as (size small, owner email, moods humour[]);
    create domain labelled as leaf check (value is null or (value).size is not null);
    create type tree as (leaves labelled[], sizes smalls, first labelled);
    create table t (n posint, s small, ss small[], e email, d smalls, w whole, h humour, r spread);
";

async fn with_types() -> (Database, Connection) {
    let (database, connection) = connected().await;
    bounded(connection.run_script(TYPES)).await.unwrap();
    (database, connection)
}

/// Sends a value as this type, and takes it back alone and from an array, also from one that the
/// server has read from its text; the server prints it so.
async fn travels<T>(connection: &Connection, ty: &str, value: T, prints: &str)
where
    T: ToSql + FromSqlOwned + PartialEq + Debug + Clone + Sync + Send,
{
    let sql = format!("select $1::{ty}, $1::{ty}::text, $2::{ty}[]::text::{ty}[], $2::{ty}[]");
    let both = vec![Some(value.clone()), None];
    for _ in 0..2 {
        let rows = bounded(connection.run_query(&sql, (&value, &both))).await;
        let rows = rows.unwrap_or_else(|error| panic!("{ty}: {error:#}"));
        let row = rows.first().unwrap();
        assert_eq!(row.get::<T>(0).unwrap(), value, "{ty}");
        assert_eq!(row.get::<&str>(1).unwrap(), prints);
        assert_eq!(row.get::<Vec<Option<T>>>(2).unwrap(), both, "{ty}[]");
        assert_eq!(row.get::<Vec<Option<T>>>(3).unwrap(), both, "{ty}[]");
        let shaped: (T, Text, Vec<Option<T>>, Vec<Option<T>>) = row.decode().unwrap();
        assert_eq!((shaped.0, shaped.2, shaped.3), (value.clone(), both.clone(), both.clone()));
        let raw: Raw = row.get(2).unwrap();
        assert_eq!(raw.get::<Vec<Option<T>>>().unwrap(), both);
    }
    let rows = bounded(connection.run_query(&sql, (None::<T>, None::<Vec<T>>))).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<Option<T>>(0).unwrap(), None);
}

type Lists = (String, Vec<i32>, Box<[i32]>, Vec<Vec<i32>>);

#[tokio::test]
async fn every_kind_of_domain_takes_what_it_is_of() {
    let (_database, connection) = with_types().await;
    let connection = &connection;
    travels(connection, "email", "a@b".to_owned(), "a@b").await;
    travels(connection, "posint", 7, "7").await;
    travels(connection, "small", 7, "7").await;
    travels(connection, "smalls", vec![1, 2], "{1,2}").await;
    travels(connection, "smalls", vec![Some(1), None], "{1,NULL}").await;
    travels(connection, "whole", vec![1, 2], "{1,2}").await;
    travels(connection, "humour", Text("glad".to_owned()), "glad").await;
    travels(connection, "spread", Range::from(3..8), "[3,8)").await;
    let many: Multirange<i32> = [1..2, 5..9].into_iter().map(Range::from).collect();
    travels(connection, "spreads", many, "{[1,2),[5,9)}").await;
    // A borrowed text, a slice, an option, and a list that is nested in the server as well.
    let values: &[&(dyn ToSql + Sync)] =
        &[&"a@b", &&[1_i32, 2][..], &Some(vec![3_i32]), &vec![vec![4_i32]]];
    let sql = "select $1::email, $2::small[], $3::smalls, $4::smalls[]";
    let rows = bounded(connection.run_query(sql, values)).await.unwrap();
    let row: Lists = rows.first().unwrap().decode().unwrap();
    assert_eq!(row, ("a@b".to_owned(), vec![1, 2], Box::from([3]), vec![vec![4]]));
}

#[tokio::test]
async fn the_check_is_the_servers_and_another_type_is_refused() {
    let (_database, connection) = with_types().await;
    let error = bounded(connection.run_query("select $1::small[]", (vec![0],))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    for value in [&1_i64 as &(dyn ToSql + Sync), &"1", &vec![1_i32]] {
        let error = bounded(connection.run_query("select $1::small", &[value])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        assert!(error.to_string().contains("`small`"), "{error}");
    }
    let rows = bounded(connection.run_query("select '{1}'::small[]", ())).await.unwrap();
    let error = rows.first().unwrap().get::<Vec<i64>>(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

type Line = (i32, i32, Vec<i32>, &'static str, Vec<i32>, Vec<i32>, Text<&'static str>, Range<i32>);

/// A line as it is read.
type Read = (i32, i32, Vec<i32>, String, Vec<i32>, Vec<i32>, Text, Range<i32>);

fn line(n: i32) -> Line {
    (n, n, vec![n, 2], "a@b", vec![n], vec![0, n], Text("sad"), Range::from(n..))
}

#[tokio::test]
async fn all_ways_to_send_and_to_read_many() {
    let (_database, connection) = with_types().await;
    let insert = "insert into t values ($1, $2, $3, $4, $5, $6, $7, $8)";
    bounded(connection.run_query(insert, line(1))).await.unwrap();
    bounded(connection.run_operation(insert, line(2))).await.unwrap();
    bounded(connection.execute_many(insert, [line(3), line(4)])).await.unwrap();
    let mut batch = connection.batch();
    batch.push(insert, line(5));
    bounded(batch.send()).await.unwrap();
    let columns = ["n", "s", "ss", "e", "d", "w", "h", "r"];
    let mut copy = bounded(connection.copy_in_rows("t", &columns)).await.unwrap();
    bounded(copy.send(line(6))).await.unwrap();
    bounded(copy.send_many([line(7), line(8)])).await.unwrap();
    let values = line(9);
    let list: [&(dyn ToSql + Sync); 8] =
        [&values.0, &values.1, &values.2, &values.3, &values.4, &values.5, &values.6, &values.7];
    bounded(copy.send(&list)).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 4);

    let all = "select * from t order by n";
    let expected: Vec<Read> = (1..10)
        .map(line)
        .map(|(n, s, ss, e, d, w, h, r)| (n, s, ss, e.into(), d, w, Text(h.0.into()), r))
        .collect();
    for _ in 0..2 {
        let read: Vec<Read> = bounded(connection.run_query_as(all, ())).await.unwrap();
        assert_eq!(read, expected);
    }
    let mut stream = connection.query_stream("select * from t where s >= $1", (1,));
    let mut read = Vec::new();
    while let Some(row) = bounded(stream.next()).await {
        read.push(row.unwrap().as_row().decode::<Read>().unwrap());
    }
    assert_eq!(read, expected);
    let mut copy = bounded(connection.copy_out_rows(all)).await.unwrap();
    let mut read = Vec::new();
    while let Some(row) = bounded(copy.next()).await {
        read.push(row.unwrap().as_row().decode::<Read>().unwrap());
    }
    assert_eq!(read, expected);
    let by_cursor = connection.run_interaction(async |cursor| {
        let sql = "select * from t where ss @> $1::small[] order by n";
        let mut named = cursor.named("c").open(sql, (vec![2],)).await?;
        let rows = named.fetch(FetchDirection::Forward(100)).await?;
        rows.decode::<Read>()
    });
    assert_eq!(bounded(by_cursor).await.unwrap(), expected);
}

#[tokio::test]
async fn routines() {
    let (_database, connection) = with_types().await;
    let sql = "
        create function one(e email) returns email language sql as $$ select e $$;
        create function f(n small, l small[]) returns text language sql as $$ select 'smalls' $$;
        create function f(e email, l email[]) returns text language sql as $$ select 'emails' $$;
        create function f(n float8, l smalls) returns text language sql as $$ select 'domain' $$;
        create procedure p(n small, inout l small[]) language sql as $$ select l || n $$;
        create procedure p(n text, inout l small[]) language sql as $$ select l $$;
    ";
    bounded(connection.run_script(sql)).await.unwrap();
    let cursor = connection.cursor();
    let called = async |name: &str, values: &[&(dyn ToSql + Sync)]| {
        bounded(cursor.callproc(name, values)).await.unwrap();
        cursor.fetch_one().unwrap().unwrap()
    };
    let text = |row: txpostgres::OwnedRow| row.as_row().get::<String>(0).unwrap();
    for _ in 0..2 {
        assert_eq!(text(called("one", &[&"a@b"]).await), "a@b");
        assert_eq!(text(called("f", &[&1_i32, &vec![2_i32]]).await), "smalls");
        assert_eq!(text(called("f", &[&"a@b", &vec!["a@b"]]).await), "emails");
        assert_eq!(text(called("f", &[&1_f64, &vec![2_i32]]).await), "domain");
        let row = called("p", &[&7_i32, &vec![1_i32]]).await;
        assert_eq!(row.as_row().get::<Vec<i32>>(0).unwrap(), [1, 7]);
    }
}

#[cfg(feature = "derive")]
#[derive(Debug, Clone, PartialEq, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "leaf")]
struct Leaf {
    size: i32,
    owner: Option<String>,
    moods: Vec<Mood>,
}

#[cfg(feature = "derive")]
#[derive(Debug, Clone, PartialEq, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "mood", rename_all = "lowercase")]
enum Mood {
    Sad,
    Glad,
}

#[cfg(feature = "derive")]
#[derive(Debug, Clone, PartialEq, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "tree")]
struct Tree {
    leaves: Vec<Option<Leaf>>,
    sizes: Vec<i32>,
    first: Leaf,
}

#[cfg(feature = "derive")]
#[derive(Debug, Clone, PartialEq, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "small")]
struct Small(i32);

#[cfg(feature = "derive")]
#[derive(Debug, Clone, PartialEq, txpostgres::types::ToSql, txpostgres::types::FromSql)]
#[postgres(name = "smalls")]
struct Smalls(Vec<i32>);

#[cfg(feature = "derive")]
#[tokio::test]
async fn composites() {
    let (_database, connection) = with_types().await;
    let connection = &connection;
    let leaf = Leaf { size: 5, owner: Some("a@b".into()), moods: vec![Mood::Glad, Mood::Sad] };
    travels(connection, "leaf", leaf.clone(), "(5,a@b,\"{glad,sad}\")").await;
    travels(connection, "labelled", leaf.clone(), "(5,a@b,\"{glad,sad}\")").await;
    travels(connection, "humour", Mood::Sad, "sad").await;
    travels(connection, "small", Small(5), "5").await;
    travels(connection, "smalls", Smalls(vec![5]), "{5}").await;
    let leaf = Leaf { size: 5, owner: None, moods: vec![] };
    let tree = Tree { leaves: vec![Some(leaf.clone()), None], sizes: vec![1], first: leaf };
    travels(connection, "tree", tree, r#"("{""(5,,{})"",NULL}",{1},"(5,,{})")"#).await;
}
