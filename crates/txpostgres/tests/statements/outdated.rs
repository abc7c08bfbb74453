//! What a connection remembers of a statement and its types, and the database has changed since: the call is right all the same,
//! or the next one is.

// clippy.toml allows it in tests, but not in what tests share.
use txpostgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use txpostgres::{Connection, Error, ErrorKind};
use txpostgres_testkit::{Database, shared};

use crate::support::{assert_works, bounded, connected};

/// A mood of the database, whose type has any labels that are asked for.
#[derive(Debug, PartialEq)]
struct Mood(&'static str);

impl ToSql for Mood {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        ty.name() == "mood"
    }

    to_sql_checked!();
}

/// A connection that keeps its statements, and one that does not.
async fn both() -> (Database, [Connection; 2]) {
    let database = shared().database().unwrap();
    let kept = bounded(Connection::open(database.dsn())).await.unwrap();
    let dsn = format!("{} statement_cache_size=0", database.dsn());
    let not_kept = bounded(Connection::open(dsn)).await.unwrap();
    (database, [kept, not_kept])
}

/// The usual way of taking a label away from an enum. The server looks the old type up in vain: XX000.
#[tokio::test]
async fn a_type_that_was_made_anew() {
    let (_database, [kept, not_kept]) = both().await;
    let create = "create type mood as enum ('sad', 'ok'); create table t (m mood)";
    let migrate = "alter type mood rename to old; create type mood as enum ('sad', 'ok');
                   alter table t alter m type mood using m::text::mood; drop type old";
    let sql = "select m::text from t where m = $1";
    for connection in [&kept, &not_kept] {
        connection.run_script(create).await.unwrap();
        for _ in 0..2 {
            connection.run_query(sql, (Mood("ok"),)).await.unwrap();
        }
        connection.run_script(migrate).await.unwrap();
        connection.run_query(sql, (Mood("ok"),)).await.unwrap();

        // The first statement of a transaction is asked again with its BEGIN.
        connection.run_script(migrate).await.unwrap();
        let ask = || {
            connection.run_interaction(async |cursor| cursor.run_query(sql, (Mood("ok"),)).await)
        };
        ask().await.unwrap();

        // In a stream and in many sets as well.
        connection.run_script(migrate).await.unwrap();
        let mut stream = connection.query_stream(sql, (Mood("ok"),));
        assert!(bounded(stream.next()).await.is_none());
        let insert = "insert into t values ($1)";
        connection.execute_many(insert, [(Mood("ok"),)]).await.unwrap();
        connection.run_script(migrate).await.unwrap();
        connection.execute_many(insert, [(Mood("ok"),)]).await.unwrap();
        connection.run_script("drop table t; drop type mood").await.unwrap();
    }
}

#[derive(Debug, PartialEq, ToSql, FromSql)]
#[postgres(name = "leaf")]
struct Leaf {
    size: i64,
}

/// The value does not fit what is remembered, and fits what is there.
#[tokio::test]
async fn a_composite_that_was_altered() {
    let (_database, [kept, not_kept]) = both().await;
    let sql = "select $1::leaf, 1";
    for connection in [&kept, &not_kept] {
        connection.run_script("create type leaf as (size int)").await.unwrap();
        let ask = || connection.run_query(sql, (Leaf { size: 1 },));
        for _ in 0..2 {
            assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::Parameter);
        }
        connection.run_script("alter type leaf alter attribute size type bigint").await.unwrap();
        let rows = ask().await.unwrap();
        assert_eq!(rows.first().unwrap().get::<Leaf>(0).unwrap(), Leaf { size: 1 });
        connection.run_script("drop type leaf").await.unwrap();
    }
}

#[derive(Debug, PartialEq, ToSql, FromSql)]
#[postgres(name = "shade")]
enum Shade {
    #[postgres(name = "dark")]
    Dark,
    #[postgres(name = "light")]
    Light,
}

#[tokio::test]
async fn an_enum_whose_labels_were_renamed() {
    let (_database, connection) = connected().await;
    connection.run_script("create type shade as enum ('dim', 'light')").await.unwrap();
    let ask = || connection.run_query("select $1::shade", (Shade::Dark,));
    for _ in 0..2 {
        assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::Parameter);
    }
    connection.run_script("alter type shade rename value 'dim' to 'dark'").await.unwrap();
    for shade in [Shade::Dark, Shade::Light] {
        let rows = connection.run_query("select $1::shade", (&shade,)).await.unwrap();
        assert_eq!(rows.first().unwrap().get::<Shade>(0).unwrap(), shade);
    }
}

/// A schema for each tenant: the same text means other tables and types.
#[tokio::test]
async fn another_search_path() {
    let (_database, [kept, not_kept]) = both().await;
    kept.run_script(
        "create schema one; create schema two;
         create table one.t (x int); insert into one.t values (1);
         create table two.t (x text); insert into two.t values ('a');
         create type one.mood as enum ('sad', 'ok'); create type two.mood as enum ('sad', 'ok')",
    )
    .await
    .unwrap();
    for connection in [&kept, &not_kept] {
        for _ in 0..3 {
            connection.run_script("set search_path = one").await.unwrap();
            let rows = connection.run_query("select x from t where x = $1", (1,)).await.unwrap();
            assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), 1);
            connection.run_query("select $1::mood", (Mood("ok"),)).await.unwrap();
            connection.run_script("set search_path = two").await.unwrap();
            let rows = connection.run_query("select x from t where x = $1", ("a",)).await.unwrap();
            assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "a");
            connection.run_query("select $1::mood", (Mood("ok"),)).await.unwrap();
        }
        // In a transaction as well: it is seen before anything is sent that could fail it.
        let inside = async |schema: &str, value: &(dyn ToSql + Sync)| {
            let set = format!("set local search_path = {schema}");
            connection
                .run_interaction(async |cursor| {
                    cursor.run_script(&set).await?;
                    let sql = "select x::text from t where x = $1";
                    assert_eq!(cursor.run_query(sql, &[value]).await?.len(), 1);
                    Ok::<_, Error>(())
                })
                .await
        };
        for _ in 0..2 {
            inside("one", &1_i32).await.unwrap();
            inside("two", &"a").await.unwrap();
        }
    }
}

/// What does not fit is refused each time, and what fits is taken; a transaction goes on after a refusal of ours.
#[tokio::test]
async fn values_that_never_fit() {
    let (_database, connection) = connected().await;
    let sql = "select $1::int4";
    for _ in 0..3 {
        let error = connection.run_query(sql, ("one",)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        let error = connection.run_query(sql, ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter, "{error}");
        connection.run_query(sql, (1,)).await.unwrap();
    }
    connection
        .run_interaction(async |cursor| {
            assert_eq!(
                cursor.run_query(sql, ("one",)).await.unwrap_err().kind(),
                ErrorKind::Parameter
            );
            cursor.run_query(sql, (1,)).await?;
            // In a transaction that has failed nothing is asked.
            cursor.run_query("select 1 / $1::int4", (0,)).await.unwrap_err();
            assert_eq!(
                cursor.run_query(sql, ("one",)).await.unwrap_err().kind(),
                ErrorKind::Parameter
            );
            Ok::<_, Error>(())
        })
        .await
        .unwrap_err();
    assert_works(&connection).await;
}

/// A statement that has run is not run again, whatever its error is called.
#[tokio::test]
async fn what_fails_while_it_runs_is_not_tried_again() {
    let (_database, connection) = connected().await;
    connection
        .run_script(
            "create sequence runs;
             create function fails(code text) returns int language plpgsql as $$
             begin
                 perform nextval('runs');
                 raise exception using errcode = code, message = 'fails';
             end $$",
        )
        .await
        .unwrap();
    for (number, code) in (1_i64..).zip(["42P01", "42846", "XX000", "08P01", "26000", "42883"]) {
        let sql = "select fails($1)";
        let error = connection.run_query(sql, (code,)).await.unwrap_err();
        assert_eq!(error.sqlstate().map(|known| known.as_str().to_owned()), Some(code.to_owned()));
        let rows = connection.run_query("select last_value from runs", ()).await.unwrap();
        assert_eq!(rows.first().unwrap().get::<i64>(0).unwrap(), number);
    }
}
