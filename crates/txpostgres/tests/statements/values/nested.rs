//! Arrays of several dimensions, and records as tuples.

use txpostgres::value::{Array, Dimension, Range, Raw, Record, ShapeError, Text};
use txpostgres::{Connection, ErrorKind};

use crate::support::{bounded, connected};

#[tokio::test]
async fn arrays_of_several_dimensions() {
    let (_database, connection) = connected().await;
    let rows = |rows: &[&[i32]]| Array::from_rows(rows.iter().map(|row| row.to_vec()).collect());
    let board = rows(&[&[1, 2, 3], &[4, 5, 6]]).unwrap();
    let sql = "select $1::int[], $1::text, $1[2][1], array_ndims($1), '{}'::int[], '[0:1][-1:0]={{1,2},{3,4}}'::int[]";
    let read = bounded(connection.run_query(sql, (&board,))).await.unwrap();
    let row = read.first().unwrap();
    assert_eq!(row.get::<Array<i32>>(0).unwrap(), board);
    assert_eq!(row.get::<&str>(1).unwrap(), "{{1,2,3},{4,5,6}}");
    assert_eq!((row.get::<i32>(2).unwrap(), row.get::<i32>(3).unwrap()), (4, 2));
    assert_eq!(row.get::<Array<i32>>(4).unwrap(), Array::default());
    let bounds: Array<i32> = row.get(5).unwrap();
    assert_eq!(
        (bounds.get(&[0, -1]), bounds.get(&[1, 0]), bounds.get(&[2, 0])),
        (Some(&1), Some(&4), None)
    );
    let from = |len, lower_bound| Dimension { len, lower_bound };
    assert_eq!(bounds.dimensions(), [from(2, 0), from(2, -1)]);
    let rows: Vec<Vec<i32>> = row.get::<Array<i32>>(0).unwrap().try_into().unwrap();
    assert_eq!(rows, [[1, 2, 3], [4, 5, 6]]);

    let texts = |dimensions, values: &[Option<&str>]| {
        let values = values.iter().map(|value| value.map(str::to_owned)).collect();
        Array::new(dimensions, values).unwrap()
    };
    let all = [
        texts(
            vec![from(2, 1), from(1, 7), from(2, -3)],
            &[Some("a"), None, Some(""), Some("\"{},")],
        ),
        texts(vec![from(1, 1); 6], &[None]),
        texts(vec![from(1, i32::MAX - 1)], &[Some("last")]),
        texts(vec![], &[]),
    ];
    for array in &all {
        let sql = "select $1::text[], $1::text::text[]";
        let read = bounded(connection.run_query(sql, (array,))).await.unwrap();
        for column in 0..2 {
            assert_eq!(&read.first().unwrap().get::<Array<Option<String>>>(column).unwrap(), array);
        }
    }
    let error = row.get::<Vec<i32>>(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.hint().unwrap().contains("value::Array<i32>"), "{error:#}");
    let error = row.get::<Array<i64>>(0).unwrap_err();
    assert_eq!(error.hint(), Some("int4[] takes Vec<i32>, value::Array<i32>"));
    assert_eq!(Array::from_rows(vec![vec![1], vec![]]), Err(ShapeError::Ragged));
}

#[tokio::test]
async fn arrays_of_domains_in_several_dimensions_and_in_copy() {
    let (_database, connection) = connected().await;
    let sql = "create domain posint as int check (value > 0); create table boards (b posint[])";
    bounded(connection.run_script(sql)).await.unwrap();
    let board = Array::from_rows(vec![vec![Some(1), None], vec![Some(3), Some(4)]]).unwrap();
    bounded(connection.run_query("insert into boards values ($1)", (&board,))).await.unwrap();
    let mut copy = bounded(connection.copy_in_rows("boards", &["b"])).await.unwrap();
    bounded(copy.send((&board,))).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
    let read: Vec<(Array<Option<i32>>,)> =
        bounded(connection.run_query_as("select b from boards", ())).await.unwrap();
    assert_eq!(read, [(board.clone(),), (board,)]);
}

async fn refused(connection: &Connection, sql: &str) -> String {
    let rows = bounded(connection.run_query(sql, ())).await.unwrap();
    let error = rows.first().unwrap().get::<Record<(i32, String)>>(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    error.to_string()
}

type Element = Record<(i32, Option<String>, Vec<i32>)>;

type Outer = Record<(Record<(i32, i64)>, Range<i32>)>;

#[tokio::test]
async fn records_are_tuples() {
    let (_database, connection) = connected().await;
    let sql = "
        create domain posint as int; create type mood as enum ('sad');
        create type item as (n posint, label text);
        create type thing as (item item, moods mood[]);
    ";
    bounded(connection.run_script(sql)).await.unwrap();
    let sql = "select row(1, 'a'::text), array_agg((n, null::text, array[n])), row(row(1, 2::int8), '[1,3)'::int4range)
               from generate_series(1, 2) n";
    for _ in 0..2 {
        let rows = bounded(connection.run_query(sql, ())).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!(row.get::<Record<(i32, &str)>>(0).unwrap(), Record((1, "a")));
        let all: Vec<Element> = row.get(1).unwrap();
        assert_eq!(all, [Record((1, None, vec![1])), Record((2, None, vec![2]))]);
        assert_eq!(row.get::<Outer>(2).unwrap(), Record((Record((1, 2)), Range::from(1..3))));
        let decoded: (Record<(i32, String)>, Vec<Element>, Outer) = row.decode().unwrap();
        assert_eq!(decoded.0, Record((1, "a".to_owned())));
    }
    // A composite takes them as well.
    let item = Record((1, Some("x".to_owned())));
    let thing = Record((item.clone(), vec![Text("sad".to_owned())]));
    let sql = "select $1::item, $2::thing, $3::item[], $2::text";
    let rows = bounded(connection.run_query(sql, (&item, &thing, vec![&item]))).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!(row.get::<Record<(i32, Option<String>)>>(0).unwrap(), item);
    assert_eq!(row.get::<Record<(Record<(i32, Option<String>)>, Vec<Text>)>>(1).unwrap(), thing);
    assert_eq!(row.get::<Vec<Record<(i32, Option<String>)>>>(2).unwrap(), [item]);

    let text = refused(&connection, "select row(1, 'a'::text, 3)").await;
    assert!(text.contains("the record has 3 fields, and the tuple 2"), "{text}");
    let text = refused(&connection, "select row(1::int8, 'a'::text)").await;
    assert!(text.contains("field 1 (int8) does not go with i32: int8 takes i64"), "{text}");
    let text = refused(&connection, "select row(1, null::text)").await;
    assert!(text.contains("NULL; read it as Option<alloc::string::String>"), "{text}");
    let text = refused(&connection, "select row(1, 'sad'::mood)").await;
    assert!(text.contains("cast the record to a composite type, or the field to text"), "{text}");
    let rows = bounded(connection.run_query("select row(1, 'sad'::mood)", ())).await.unwrap();
    let Record((_, raw)): Record<(i32, Raw)> = rows.first().unwrap().get(0).unwrap();
    assert_eq!(raw.bytes(), b"sad");
}
