//! The types of a database beyond PostgreSQL's own: looked up once, remembered, looked up again when they have changed.

// clippy.toml allows it in tests, but not in what tests share.
use txpostgres::types::Kind;
use txpostgres::value::{Multirange, Range, Raw, Text};
use txpostgres::{Column, Connection, ErrorKind, Format, SqlState};
use txpostgres_testkit::shared;

use crate::support::{bounded, connected};

const TYPES: &str = "
    create schema other;
    create type other.mood as enum ('sad', 'it''s ok', 'glad');
    create domain positive as int check (value > 0);
    create type pair as (a positive, \"B b\" other.mood[]);
    create type floats as range (subtype = float8, multirange_type_name = many_floats);
    create type node as (name text, children text[]);
    create table holder (p pair, ps pair[], f floats, fs many_floats, n node);
    insert into holder values (row(1, '{sad,glad}'), array[row(2, null)::pair], '[1.5,2.5)', '{[1,2),[3,4)}', row('root', null));
    -- PostgreSQL lets no type contain itself; a catalog that says so all the same must not catch us in a loop.
    update pg_attribute set atttypid = 'node[]'::regtype where attrelid = 'node'::regclass and attnum = 2;
";

fn kinds(columns: &[Column]) -> Vec<&str> {
    columns.iter().map(|column| column.type_().name()).collect()
}

#[tokio::test]
async fn every_kind_is_looked_up_with_or_without_parameters() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    for round in 0..3 {
        let fresh = connection.run_query("select p, ps, f, fs, n from holder", ()).await.unwrap();
        let sql = "select p, ps, f, fs, n from holder where $1::other.mood is not null";
        let described = connection.run_query(sql, (Text("glad"),)).await.unwrap();
        for rows in [fresh, described] {
            assert_eq!(kinds(rows.columns()), ["pair", "_pair", "floats", "many_floats", "node"]);
            assert_eq!(rows.len(), 1, "round {round}");
            let row = rows.first().unwrap();
            let Kind::Composite(fields) = rows.columns()[0].type_().kind() else { panic!() };
            assert_eq!(fields[1].name(), "B b");
            let Kind::Domain(base) = fields[0].type_().kind() else { panic!() };
            assert_eq!(base.name(), "int4");
            let Kind::Array(mood) = fields[1].type_().kind() else { panic!() };
            assert_eq!(mood.schema(), "other");
            let labels = ["sad", "it's ok", "glad"].map(str::to_owned).to_vec();
            assert_eq!(mood.kind(), &Kind::Enum(labels));
            let range: Range<f64> = row.get("f").unwrap();
            assert_eq!(range, Range::from(1.5..2.5));
            let ranges: Multirange<f64> = row.get("fs").unwrap();
            assert_eq!(ranges, [1.0..2.0, 3.0..4.0].into_iter().map(Range::from).collect());
            row.get::<Raw>("n").unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_looked_up_is_not_asked_again() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    // Each reading of pg_range by this session counts; only lookups read it.
    let reads = "select pg_stat_get_xact_numscans('pg_range'::regclass) as scans";
    let scans = async |cursor: &txpostgres::Cursor| {
        let rows = cursor.run_query(reads, ()).await.unwrap();
        rows.first().unwrap().get::<i64>(0).unwrap()
    };
    connection
        .run_interaction(async |cursor| {
            assert_eq!(scans(&cursor).await, 0);
            cursor.run_query("select p from holder", ()).await?;
            let after_one = scans(&cursor).await;
            assert!(after_one > 0, "this counts lookups");
            cursor.run_query("select p from holder", ()).await?;
            cursor.run_query("select p, n is null from holder", ()).await?;
            cursor.run_query("select p from holder where $1", (true,)).await?;
            assert_eq!(scans(&cursor).await, after_one);
            Ok::<_, txpostgres::Error>(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn no_search_path_leads_the_lookup_astray() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    connection
        .run_script(
            "create schema evil;
             create function evil.wrong(oid, oid) returns bool language sql as 'select false';
             create operator evil.= (function = evil.wrong, leftarg = oid, rightarg = oid);
             create table evil.pg_type (oid oid);
             set search_path = evil, public, pg_catalog;",
        )
        .await
        .unwrap();
    let rows = connection.run_query("select p from public.holder", ()).await.unwrap();
    assert_eq!(kinds(rows.columns()), ["pair"]);
}

#[tokio::test]
async fn a_type_that_was_altered_is_looked_up_again_after_one_error() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    let sql = "select p from holder";
    let fields = |rows: &txpostgres::Rows| match rows.columns()[0].type_().kind() {
        Kind::Composite(fields) => fields.len(),
        _ => 0,
    };
    assert_eq!(fields(&connection.run_query(sql, ()).await.unwrap()), 2);
    connection.run_operation("alter type pair add attribute c text", ()).await.unwrap();
    let rows = connection.run_query(sql, ()).await.unwrap();
    let error = rows.first().unwrap().get::<Raw>(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(
        error.to_string(),
        "column 0 \"p\" (pair) of row 0 is damaged: a composite announces 3 fields and its type has 2"
    );
    assert!(error.hint().unwrap().contains("looked up anew"), "{error:#}");
    let rows = connection.run_query(sql, ()).await.unwrap();
    assert_eq!(fields(&rows), 3);
    rows.first().unwrap().get::<Raw>(0).unwrap();

    connection.run_operation("alter type pair drop attribute c", ()).await.unwrap();
    connection.forget_types();
    let rows = connection.run_query(sql, ()).await.unwrap();
    assert_eq!(fields(&rows), 2);
    rows.first().unwrap().get::<Raw>(0).unwrap();
}

#[tokio::test]
async fn without_a_statement_cache_types_are_known_as_well() {
    let database = shared().database().unwrap();
    let dsn = format!("{} statement_cache_size=0", database.dsn());
    let connection = bounded(Connection::open(dsn)).await.unwrap();
    connection.run_script(TYPES).await.unwrap();
    for _ in 0..3 {
        let rows = connection.run_query("select p from holder", ()).await.unwrap();
        assert_eq!(kinds(rows.columns()), ["pair"]);
        let rows = connection
            .run_query("select p, '=r/postgres'::aclitem, $1::int4 from holder", (1,))
            .await
            .unwrap();
        assert_eq!(kinds(rows.columns()), ["pair", "aclitem", "int4"]);
        assert_eq!(rows.first().unwrap().get::<&str>(1).unwrap(), "=r/postgres");
    }
}

#[tokio::test]
async fn types_without_a_binary_form_come_as_text() {
    let (_database, connection) = connected().await;
    connection
        .run_script("create type acl as (n int, item aclitem); create domain item as aclitem;")
        .await
        .unwrap();
    for round in 0..3 {
        let sql = "select 1, 'postgres=r/postgres'::aclitem, '{=r/postgres}'::aclitem[], \
                   row(1, '=r/postgres')::acl, array['=r/postgres']::item[]";
        let rows = connection.run_query(sql, ()).await.unwrap();
        let formats: Vec<Format> = rows.columns().iter().map(Column::format).collect();
        assert_eq!(formats[0], Format::Binary, "round {round}");
        assert_eq!(formats[1..], [Format::Text; 4], "round {round}");
        let row = rows.first().unwrap();
        assert_eq!(row.get::<i32>(0).unwrap(), 1);
        assert_eq!(row.get::<&str>(1).unwrap(), "postgres=r/postgres");
        assert_eq!(row.get::<Text>(3).unwrap(), Text("(1,=r/postgres)".to_owned()));
        let rows =
            connection.run_query("select $1::aclitem", (Text("=r/postgres"),)).await.unwrap();
        assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "=r/postgres");
    }
}

/// It is another function of the server that finds it out, and the array may be the first or the only one there is.
#[tokio::test]
async fn arrays_of_types_without_a_binary_form_come_as_text() {
    let (_database, connection) = connected().await;
    connection
        .run_script("create type acl as (n int, items aclitem[]); create domain item as aclitem;")
        .await
        .unwrap();
    for sql in [
        "select array['=r/postgres'::aclitem]",
        "select array['=r/postgres']::item[]",
        "select row(1, array['=r/postgres'])::acl",
        "select datacl, acldefault('d', datdba) from pg_database",
    ] {
        for _ in 0..2 {
            let rows = connection.run_query(sql, ()).await.unwrap();
            let text: Option<&str> = rows.first().unwrap().get(0).unwrap();
            assert_eq!(rows.columns()[0].format(), Format::Text, "{sql}: {text:?}");
        }
    }
}

#[tokio::test]
async fn in_a_transaction_a_type_without_a_binary_form_is_an_error_that_says_what_to_do() {
    let (_database, connection) = connected().await;
    let sql = "select '=r/postgres'::aclitem";
    let error = connection
        .run_interaction(async |cursor| cursor.run_query(sql, ()).await)
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_FUNCTION));
    assert!(error.hint().unwrap().contains("in_text()"), "{error:#}");
    let rows = connection
        .run_interaction(async |cursor| cursor.run_query(sql, ()).in_text().await)
        .await
        .unwrap();
    assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "=r/postgres");
}

/// A procedure may commit and then return what cannot be sent: it must not run again.
#[tokio::test]
async fn what_may_have_committed_is_not_tried_again() {
    let (_database, connection) = connected().await;
    connection
        .run_script(
            "create table log (n int);
             create procedure p(inout item aclitem) language plpgsql as $$
             begin insert into log values (1); commit; end $$;",
        )
        .await
        .unwrap();
    let error = connection.run_query("call p('=r/postgres')", ()).await.unwrap_err();
    assert!(error.hint().is_some(), "{error:#}");
    let rows = connection.run_query("select * from log", ()).await.unwrap();
    assert_eq!(rows.len(), 1);
    let rows = connection.run_query("call p('=r/postgres')", ()).in_text().await.unwrap();
    assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "=r/postgres");
}

#[tokio::test]
async fn a_call_in_text_does_not_change_the_others() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    for sql in ["select 1.50, p from holder", "select 2.50, p, true from holder"] {
        for _ in 0..2 {
            let rows = connection.run_query(sql, ()).in_text().await.unwrap();
            let row = rows.first().unwrap();
            assert!(row.get::<&str>(0).unwrap().ends_with(".50"));
            assert_eq!(row.get::<Text<&str>>(1).unwrap(), Text("(1,\"{sad,glad}\")"));
            let rows = connection.run_query(sql, ()).await.unwrap();
            assert!(rows.columns().iter().all(|column| column.format() == Format::Binary));
            rows.first().unwrap().get::<Raw>(1).unwrap();
        }
    }
    let sql = "select $1::int4";
    let rows = connection.run_query(sql, (7,)).in_text().await.unwrap();
    assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "7");
    let rows = connection.run_query(sql, (7,)).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), 7);
}

#[tokio::test]
async fn a_text_goes_to_any_parameter_and_into_nothing_binary() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    let sql = "select $1::int4[], $2::text, $3::pair, $4::bool, $5::int4";
    let params = (Text("{1,NULL}"), "two", Some(Text("(1,{})")), None::<Text>, 5);
    let rows = connection.run_query(sql, params).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!(row.get::<Vec<Option<i32>>>(0).unwrap(), [Some(1), None]);
    assert_eq!(row.get::<&str>(1).unwrap(), "two");
    assert_eq!(row.get::<Option<bool>>(3).unwrap(), None);
    assert_eq!(row.get::<i32>(4).unwrap(), 5);
    // Four characters could be taken for the four bytes of a number.
    let error = connection.run_query("select $1::int4[]", (vec![Text("1234")],)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    assert!(error.to_string().contains("write the whole as one Text"), "{error}");
    let moods =
        connection.run_query("select $1::other.mood[]", (vec![Text("glad")],)).await.unwrap();
    assert_eq!(moods.first().unwrap().get::<Vec<Text>>(0).unwrap(), [Text("glad".to_owned())]);
}

#[tokio::test]
async fn raw_goes_back_where_it_came_from_and_nowhere_else() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    let rows = connection.run_query("select p from holder", ()).await.unwrap();
    let raw: Raw<&[u8]> = rows.first().unwrap().get(0).unwrap();
    let sql = "select $1::pair = p from holder";
    let same = connection.run_query(sql, (raw.clone(),)).await.unwrap();
    assert!(same.first().unwrap().get::<bool>(0).unwrap());
    let error = connection.run_query("select $1::text", (raw,)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter $1 (text) cannot be sent: a raw value of type pair does not go to one of type text"
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_while_its_types_are_looked_up_leaves_the_connection_usable() {
    let (_database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    for polls in 1..8 {
        connection.forget_types();
        for sql in ["select p from holder", "select p from holder where $1"] {
            let yes = true;
            let params: &[&(dyn txpostgres::types::ToSql + Sync)] =
                if sql.contains('$') { &[&yes] } else { &[] };
            let mut call = Box::pin(connection.run_query(sql, params));
            for _ in 0..polls {
                let polled = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(Future::poll(call.as_mut(), cx).is_ready())
                });
                if polled.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(call);
            let rows = bounded(connection.run_query("select 7", ())).await.unwrap();
            assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), 7);
        }
    }
    let rows = connection.run_query("select p from holder", ()).await.unwrap();
    assert_eq!(kinds(rows.columns()), ["pair"]);
}

/// Who may not read the catalog gets the answers all the same, with types that are known by their number.
#[tokio::test]
async fn a_lookup_that_fails_fails_no_statement() {
    let (database, connection) = connected().await;
    connection.run_script(TYPES).await.unwrap();
    let role = format!("nobody_of_{}", database.name());
    connection
        .run_script(&format!(
            "create role {role}; grant select on holder to {role};
             revoke select on pg_catalog.pg_range from public; set role {role}"
        ))
        .await
        .unwrap();
    for sql in ["select f, 1 from holder", "select f, 1 from holder where $1"] {
        for _ in 0..2 {
            let yes = true;
            let params: &[&(dyn txpostgres::types::ToSql + Sync)] =
                if sql.contains('$') { &[&yes] } else { &[] };
            let rows = connection.run_query(sql, params).await.unwrap();
            let row = rows.first().unwrap();
            assert_eq!(row.get::<i32>(1).unwrap(), 1);
            assert!(rows.columns()[0].type_().name().starts_with("oid "));
            assert!(row.get::<Raw>(0).is_ok());
            let rows = connection.run_query(sql, params).in_text().await.unwrap();
            assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "[1.5,2.5)");
        }
    }
    // In a transaction its failure is the statement's own: the transaction has failed.
    let error = connection
        .run_interaction(async |cursor| {
            cursor.run_query("select f from holder where $1", (true,)).await
        })
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::INSUFFICIENT_PRIVILEGE));
    // When they may be read again they are.
    connection
        .run_script(&format!(
            "reset role; grant select on pg_catalog.pg_range to public;
             drop owned by {role}; drop role {role}"
        ))
        .await
        .unwrap();
    let rows = connection.run_query("select f, 1 from holder", ()).await.unwrap();
    assert_eq!(kinds(rows.columns()), ["floats", "int4"]);
}
