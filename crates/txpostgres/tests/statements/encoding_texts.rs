//! Which texts have values beyond ASCII believed, and which do not: what sets `client_encoding`
//! up to the end of a transaction is told by the text of the request only.

use txpostgres::{Connection, Delivery, Error, ErrorKind};

use crate::support::{assert_works, bounded, connected};

const SETUP: &str = "
    create table people (id int primary key, names text);
    insert into people values (1, 'é');
    create procedure pp(text) language sql as 'select 1';
    create role texts_of_encodings;
    create table empty (names text)";

/// A change of the encoding is mentioned in these, and none of them makes one.
const HARMLESS: &[&str] = &[
    "update people set names = 'é' returning names",
    "update people set names='é' returning names",
    "update people set/**/names /* to */ = names returning names",
    "with u as (update people set names = 'é' returning names) select names from u",
    "insert into people values (1, 'b') on conflict (id) do update set names=excluded.names || 'é' \
     returning names",
    "merge into people p using people q on p.id = q.id when matched then update set names = 'é'",
    "/* set names of people */ select 'é'",
    "select 'set client_encoding to latin1', 'é'",
    "select $$; set client_encoding to latin1$$, 'é'",
    "select $a$ set_config('client_encoding', 'latin1', true) $a$, 'é'",
    "-- to set names, call x\nselect 'é'",
    "select 'é' as \"; set names latin1\"",
    "select 'é' -- ; set names latin1",
    "select 'é', 1 as set, 2 as names",
    "select 'é', set_config('application_name', 'x', true)",
    "select 'é', set_config('application_name'::text, 'x', true)",
    "select 'é', pg_catalog.set_config($$application_name$$, 'x', true)",
    "select 'é', set_config(E'application_name', 'x', true)",
    "select 'é', set_config('client_encoding', 'UTF8', true)",
    "select 'é', set_config('client_encoding', 'utf-8', true)",
    "select 'é', setting from pg_settings where name = 'client_encoding'",
    "select 'é' as U&\"\\00e9\", names from people",
    "select 'é', current_setting('client_encoding')",
    "explain update people set names='é'",
    "explain (costs off) select 'é' where 'set names' <> 'client_encoding'",
    "call pp('set names')",
    "/* set names */ show search_path",
];

/// As scripts only: of several statements.
const HARMLESS_SCRIPTS: &[&str] = &[
    "alter role texts_of_encodings set client_encoding to 'LATIN1'; select 'é'",
    "alter role texts_of_encodings reset all; select 'é'",
    "create or replace function of_its_own() returns text language sql \
     set client_encoding = 'LATIN1' as $$ select chr(233) $$; select of_its_own()",
    "set client_encoding = 'UTF8'; select 'é'",
    "begin; set local client_encoding to utf8; select 'é'; commit",
    "set client_encoding to \"UTF8\"; select 'é'",
    "set names; select 'é'",
    "set names default; select 'é'; set names 'utf-8'; select 'é'",
    "reset client_encoding; select 'é'",
    "set search_path = public; update people set names = 'é' returning names",
    "set application_name = 'set names'; select 'é'",
    "set application_name = 'client_encoding'; select 'é'",
    "do $$ begin perform set_config('application_name', 'x', true); end $$; select 'é'",
    "do $$ begin update people set names = 'é'; end $$; select 'é'",
    "select 'set client_encoding = latin1'; select 'é'",
    "begin; update pg_settings set setting = 'x' where name = 'application_name'; select 'é'; \
     commit",
    "prepare p as select 'é'; execute p; deallocate p",
];

/// `¤` is what LATIN1 makes two bytes of that are `é` in UTF-8: read without an error, and wrong.
const TREACHEROUS: &[&str] = &[
    "select set_config('client_encoding','LATIN1',true), ¤",
    "select set_config('client_'||'encoding','LATIN1',true), ¤",
    "select set_config(lower('CLIENT_ENCODING'),'LATIN1',true), ¤",
    "select set_config(name, 'LATIN1', true), ¤ from pg_settings where name like 'client_enc%'",
    "select set_config('client_'\n'encoding', 'LATIN1', true), ¤",
    "select set_config(E'client\\137encoding', 'LATIN1', true), ¤",
    "select set_config(E'client_encoding', 'LATIN1', true), ¤",
    "select set_config(U&'client\\005fencoding', 'LATIN1', true), ¤",
    "select set_config(U&'client!005fencoding' uescape '!', 'LATIN1', true), ¤",
    "select set_config($$client_encoding$$, 'LATIN1', true), ¤",
    "select set_config($q$client_encoding$q$::text, 'LATIN1', true), ¤",
    "select set_config(text 'client_encoding', 'LATIN1', true), ¤",
    "select set_config(/* 'x', */ 'client_encoding', 'LATIN1', true), ¤",
    "select set_config('client_encoding', -- 'UTF8',\n 'LATIN1', true), ¤",
    "select set_config('client_encoding', replace('UTF8', 'UTF8', 'LATIN1'), true), ¤",
    "select \"set_config\"('client_encoding', 'LATIN1', true), ¤",
    "select pg_catalog . \"set_config\" ('client_encoding', 'LATIN1', true), ¤",
    "select U&\"set\\005fconfig\"('client_encoding', 'LATIN1', true), ¤",
    "select U&\"set!005fconfig\" uescape '!' ('client_encoding', 'LATIN1', true), ¤",
    "with c as materialized (select set_config('client_encoding', 'LATIN1', true) s) \
     select s, ¤ from c",
];

/// As scripts only.
const TREACHEROUS_SCRIPTS: &[&str] = &[
    "begin; set local client_encoding = latin1; select ¤; commit",
    "begin; set local U&\"client\\005fencoding\" = latin1; select ¤; commit",
    "begin; set local U&\"client!005fencoding\" uescape '!' = latin1; select ¤; commit",
    "begin; set local \"client_encoding\" to 'latin1'; select ¤; commit",
    "begin; set local \"Client_Encoding\" to \"latin1\"; select ¤; commit",
    "begin; set session client_encoding = latin1; select ¤; rollback",
    "begin; set client_encoding = E'latin1'; select ¤; rollback",
    "begin; set names 'latin1'; select ¤; rollback",
    "begin; set local names 'latin1'; select ¤; rollback",
    "begin; /* x */ set/**/local -- y\n client_encoding = latin1; select ¤; commit",
    "begin; update pg_settings set setting='LATIN1' where name='client_encoding'; select ¤; \
     rollback",
    "begin; update only pg_catalog.pg_settings as s set setting='LATIN1' \
     where name like 'client_enc%'; select ¤; rollback",
    "begin; update \"pg_settings\" set setting='LATIN1' where name in ('client_encoding'); \
     select ¤; rollback",
    "begin; do $$ begin set local client_encoding = latin1; end $$; select ¤; commit",
    "begin; do 'begin set local client_encoding = latin1; end'; select ¤; commit",
    "begin; do language plpgsql 'begin perform set_config(''client_encoding'', ''LATIN1'', true); \
     end'; select ¤; commit",
    "begin; do E'begin set local client\\137encoding = latin1; end'; select ¤; commit",
    "begin; do U&'begin set local client!005fencoding = latin1; end' uescape '!'; select ¤; \
     commit",
    "begin; do $a$ begin set local names 'latin1'; end $a$ language plpgsql; select ¤; commit",
    "begin; do $a$ begin execute 'set names ''latin1'''; end $a$; select ¤; rollback",
    "begin; do $a$ begin execute $b$set local client_encoding = latin1$b$; end $a$; select ¤; \
     commit",
    "begin; do $$ begin perform set_config('client_'||'encoding', 'LATIN1', true); end $$; \
     select ¤; commit",
    "begin; do $$ begin set local U&\"client\\005fencoding\" = latin1; end $$; select ¤; commit",
    "begin; do $$ begin update pg_settings set setting='LATIN1' where name like 'client_enc%'; \
     end $$; select ¤; rollback",
    "begin; create or replace function f() returns text language plpgsql as \
     $$ begin set local client_encoding = latin1; return ''; end $$; select f(); select ¤; commit",
    "begin; create procedure q() language plpgsql as \
     $$ begin set local names 'latin1'; end $$; call q(); select ¤; rollback",
    "begin; prepare p as select set_config('client_encoding', 'LATIN1', true); execute p; \
     select ¤; rollback",
    "begin; explain analyze select set_config('client_encoding', 'LATIN1', true); select ¤; commit",
    "begin; declare c cursor for select set_config('client_encoding', 'LATIN1', true); fetch c; \
     select ¤; commit",
];

fn treacherous(text: &str) -> String {
    text.replace('¤', "chr(195) || chr(169)")
}

fn refused<T>(what: &str, outcome: Result<T, Error>) -> Result<(), String> {
    match outcome {
        Ok(_) => Err(format!("believed: {what}")),
        Err(error)
            if (error.kind(), error.delivery()) == (ErrorKind::Request, Delivery::CarriedOut)
                && error.to_string().contains("client_encoding") =>
        {
            Ok(())
        }
        Err(error) => Err(format!("{what}: {error:?}")),
    }
}

fn believed<T>(what: &str, outcome: Result<T, Error>) -> Result<T, String> {
    outcome.map_err(|error| format!("{what}: {error:?}"))
}

/// All that were found, and not only the first.
fn assert_none(faults: Vec<Result<(), String>>) {
    let faults: Vec<_> = faults.into_iter().filter_map(Result::err).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

async fn by_stream(connection: &Connection, sql: &str) -> Result<(), Error> {
    let mut stream = connection.query_stream(sql, ());
    while let Some(row) = bounded(stream.next()).await {
        row?;
    }
    Ok(())
}

async fn by_copy(connection: &Connection, sql: &str) -> Result<(), Error> {
    let mut rows = bounded(connection.copy_out_rows(sql)).await?;
    while let Some(row) = bounded(rows.next()).await {
        row?;
    }
    Ok(())
}

fn can_be_copied(sql: &str) -> bool {
    ["select", "with", "update", "insert"].iter().any(|word| sql.starts_with(word))
        && !sql.contains("on conflict")
}

#[tokio::test]
async fn texts_that_mention_an_encoding_and_set_none_are_believed() {
    let (_database, connection) = connected().await;
    bounded(connection.run_script(SETUP)).await.unwrap();
    let mut faults = Vec::new();
    for sql in HARMLESS {
        for _ in 0..2 {
            let rows = believed(sql, bounded(connection.run_query(sql, ())).await);
            faults.push(rows.map(drop));
        }
        faults.push(believed(sql, bounded(connection.run_script(sql)).await).map(drop));
        faults.push(believed(sql, by_stream(&connection, sql).await));
        if can_be_copied(sql) {
            faults.push(believed(sql, by_copy(&connection, sql).await));
        }
        let script = format!("{sql}; select 'é'");
        faults.push(believed(&script, bounded(connection.run_script(&script)).await).map(drop));
    }
    for sql in HARMLESS_SCRIPTS {
        faults.push(believed(sql, bounded(connection.run_script(sql)).await).map(drop));
    }
    bounded(connection.run_script("drop role texts_of_encodings")).await.unwrap();
    assert_none(faults);
    let sql = "update people set names = 'é' returning names";
    let row = bounded(connection.run_query_as::<(String,), _>(sql, ()).one()).await.unwrap();
    assert_eq!(row.0, "é");
}

#[tokio::test]
async fn texts_that_set_another_encoding_are_not_believed() {
    let (_database, connection) = connected().await;
    let mut faults = Vec::new();
    for text in TREACHEROUS {
        let sql = &*treacherous(text);
        for _ in 0..2 {
            faults.push(refused(sql, bounded(connection.run_query(sql, ())).await));
        }
        faults.push(refused(sql, bounded(connection.run_script(sql)).await));
        faults.push(refused(sql, by_stream(&connection, sql).await));
        faults.push(refused(sql, by_copy(&connection, sql).await));
    }
    for text in TREACHEROUS_SCRIPTS {
        let sql = &*treacherous(text);
        faults.push(refused(sql, bounded(connection.run_script(sql)).await));
    }
    assert_none(faults);
    assert_works(&connection).await;
}

/// The name of the setting in a parameter: what the value is decides.
#[tokio::test]
async fn a_name_in_a_parameter() {
    let (_database, connection) = connected().await;
    let sql = &*treacherous("select set_config($1, $2, true), ¤");
    for _ in 0..3 {
        let values = ("app.user", "José");
        bounded(connection.run_query(sql, values)).await.unwrap();
        let outcome = bounded(connection.run_query(sql, ("Client_Encoding", "LATIN1"))).await;
        refused(sql, outcome).unwrap();
    }
    let sets = [("app.user", "é"), ("client_encoding", "LATIN1")];
    refused("many", bounded(connection.execute_many(sql, sets)).await).unwrap();
    assert_works(&connection).await;
}

/// Rows of a stream that come after its first portion.
#[tokio::test]
async fn a_stream_in_which_the_encoding_changes() {
    let (_database, connection) = connected().await;
    let sql = treacherous(
        "select case when n = 5000 then set_config('client_encoding', 'LATIN1', true) end, \
         case when n > 5000 then ¤ end from generate_series(1, 20000) n",
    );
    refused("a stream", by_stream(&connection, &sql).await).unwrap();
    assert_works(&connection).await;
}
