//! Routines by name: which of several is meant, and what is said when none is.

use txpostgres::types::{FromSqlOwned, ToSql};
use txpostgres::value::Text;
use txpostgres::{Connection, Cursor, ErrorKind, SqlState};

use crate::support::{assert_works, bounded, connected};

async fn called<T: FromSqlOwned>(cursor: &Cursor, name: &str, values: &[&(dyn ToSql + Sync)]) -> T {
    bounded(cursor.callproc(name, values)).await.unwrap();
    cursor.fetch_one().unwrap().unwrap().as_row().get(0).unwrap()
}

#[tokio::test]
async fn of_several_the_one_that_takes_the_values_is_called() {
    let (_database, connection) = connected().await;
    let sql = "
        create type mood as enum ('sad', 'glad');
        create domain positive as int check (value > 0);
        create function f(n int) returns text language sql as $$ select 'int' $$;
        create function f(t text) returns text language sql as $$ select 'text' $$;
        create function f(m mood) returns text language sql as $$ select 'mood' $$;
        create function f(n int[]) returns text language sql as $$ select 'ints' $$;
        create function d(n positive) returns text language sql as $$ select 'positive' $$;
        create function d(n float8) returns text language sql as $$ select 'float' $$;
        create function v(a text, variadic n int[]) returns text language sql
            as $$ select 'ints' $$;
        create function v(a int, variadic n text[]) returns text language sql
            as $$ select 'texts' $$;
        create function o(n int, b int default 1) returns text language sql
            as $$ select 'int' $$;
        create function o(n text, b text default 'b') returns text language sql
            as $$ select 'text' $$;
        create procedure p(in n int, out what text) language sql as $$ select 'int' $$;
        create procedure p(out what text, in t text) language sql as $$ select 'text' $$;
        create function c(t char) returns text language sql as $$ select t::text $$;
        create function c(n int) returns text language sql as $$ select 'int' $$;
    ";
    bounded(connection.run_script(sql)).await.unwrap();
    let cursor = connection.cursor();
    for _ in 0..2 {
        assert_eq!(called::<i32>(&cursor, "abs", &[&-1_i32]).await, 1);
        assert_eq!(called::<i64>(&cursor, "abs", &[&-1_i64]).await, 1);
        assert_eq!(
            called::<String>(&cursor, "substring", &[&"hello", &2_i32, &3_i32]).await,
            "ell"
        );
        assert_eq!(called::<String>(&cursor, "f", &[&1_i32]).await, "int");
        assert_eq!(called::<String>(&cursor, "f", &[&"one"]).await, "text");
        assert_eq!(called::<String>(&cursor, "f", &[&vec![1_i32]]).await, "ints");
        assert_eq!(called::<String>(&cursor, "f", &[&None::<i32>]).await, "int");
        assert_eq!(called::<String>(&cursor, "d", &[&1_i32]).await, "positive");
        assert_eq!(called::<String>(&cursor, "d", &[&1_f64]).await, "float");
        assert_eq!(called::<String>(&cursor, "v", &[&"a", &1_i32, &2_i32]).await, "ints");
        assert_eq!(called::<String>(&cursor, "v", &[&1_i32, &"a"]).await, "texts");
        assert_eq!(called::<String>(&cursor, "o", &[&1_i32]).await, "int");
        assert_eq!(called::<String>(&cursor, "o", &[&"a"]).await, "text");
        assert_eq!(called::<String>(&cursor, "p", &[&1_i32]).await, "int");
        assert_eq!(called::<String>(&cursor, "p", &[&"a"]).await, "text");
        // A `character` in a cast would be one character.
        assert_eq!(called::<String>(&cursor, "c", &[&"long"]).await, "long");
        // Those beside it take ranges of any kind, and only SQL knows which.
        assert_eq!(called::<String>(&cursor, "upper", &[&"a"]).await, "A");
        // Two are left, and the server prefers one of them.
        assert_eq!(called::<i32>(&cursor, "length", &[&"hello"]).await, 5);
    }
    assert_works(&connection).await;
}

async fn refused(connection: &Connection, name: &str, values: &[&(dyn ToSql + Sync)]) -> String {
    let error = bounded(connection.cursor().callproc(name, values)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Parameter | ErrorKind::Server), "{error}");
    format!("{error:#}")
}

#[tokio::test]
async fn when_none_can_be_chosen_the_candidates_are_told() {
    let (_database, connection) = connected().await;
    let sql = "
        create function f(n int) returns text language sql as $$ select 'int' $$;
        create function f(t text) returns text language sql as $$ select 'text' $$;
        create function g(n int, m int8) returns text language sql as $$ select 'a' $$;
        create function g(n int8, m int) returns text language sql as $$ select 'b' $$;
    ";
    bounded(connection.run_script(sql)).await.unwrap();
    let error = refused(&connection, "f", &[&1.5_f64]).await;
    assert!(error.contains("f(integer), f(text)"), "{error}");
    assert!(error.contains("takes these values"), "{error}");
    let error = refused(&connection, "g", &[&Text("1"), &Text("2")]).await;
    assert!(error.contains("42725") && error.contains("g(integer, bigint)"), "{error}");
    // None has so many.
    let error = bounded(connection.cursor().callproc("f", (1_i32, 2_i32))).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_FUNCTION));
    assert!(error.hint().unwrap().contains("f(integer), f(text)"), "{error:#}");
    for (name, values) in [
        ("concat", &[&"a" as &(dyn ToSql + Sync), &"b"][..]),
        ("format", &[&"%s", &"b"]),
        ("jsonb_build_object", &[&"a", &1_i32]),
        ("array_length", &[&vec![1_i32], &1_i32]),
    ] {
        let error = refused(&connection, name, values).await;
        assert!(error.contains("run_query") && error.contains("::"), "{error}");
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_name_with_its_schema_in_it_is_explained() {
    let (_database, connection) = connected().await;
    let outcome = bounded(connection.cursor().callproc("pg_catalog.repeat", ("ab", 3_i32))).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_FUNCTION));
    assert!(error.hint().unwrap().contains("(\"pg_catalog\", \"repeat\")"), "{error:#}");
}

/// What fails inside of a routine is its own.
#[tokio::test]
async fn an_error_within_a_routine_is_not_explained() {
    let (_database, connection) = connected().await;
    let sql = "create function f(n int) returns int language plpgsql
            as $$ begin return nothing(n); end $$;
        create function f(n text) returns int language sql as $$ select 1 $$";
    bounded(connection.run_script(sql)).await.unwrap();
    let error = bounded(connection.cursor().callproc("f", (1_i32,))).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_FUNCTION));
    assert_eq!(error.hint(), None, "{error:#}");
}
