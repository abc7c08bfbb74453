//! Types that are altered while we are connected: a value that fits what they are now is taken, whatever way it goes.

use txpostgres::types::{FromSql, ToSql};
use txpostgres::{Connection, Error, ErrorKind, Scalar};
use txpostgres_testkit::Database;

use crate::support::{assert_works, bounded, connected};

#[derive(Debug, Clone, PartialEq, ToSql, FromSql)]
#[postgres(name = "lamp", rename_all = "lowercase")]
enum Lamp {
    Red,
    Green,
    Amber,
}

#[derive(Debug, Clone, PartialEq, ToSql, FromSql)]
#[postgres(name = "spot")]
struct Spot {
    x: i32,
    y: i32,
    lamp: Option<Lamp>,
}

fn spot() -> Spot {
    Spot { x: 1, y: 2, lamp: Some(Lamp::Amber) }
}

/// The types as they were, known to the connection; and then as the types of Rust have them.
async fn with_altered(alter: &str) -> (Database, Connection) {
    let (database, connection) = connected().await;
    let sql = "
        create type lamp as enum ('red', 'green', 'yellow');
        create type spot as (x int, z int);
        create table t (l lamp, ls lamp[], s spot);
        create procedure one(inout s spot) language sql as $$ select s $$;
        create function f(l lamp) returns text language sql as $$ select 'lamp' $$;
        create function f(s spot) returns text language sql as $$ select 'spot' $$;
        create procedure p(inout l lamp, n int) language sql as $$ select l $$;
        create procedure p(inout s spot, n int) language sql as $$ select s $$;
    ";
    bounded(connection.run_script(sql)).await.unwrap();
    // The session knows them, by all their names.
    bounded(connection.run_query("select l, ls, s, array[s] from t", ())).await.unwrap();
    bounded(connection.run_script(alter)).await.unwrap();
    (database, connection)
}

const RENAMED: &str = "
    alter type lamp rename value 'yellow' to 'amber';
    alter type spot rename attribute z to y;
    alter type spot add attribute lamp lamp;
";

const MADE_ANEW: &str = "
    drop type lamp cascade; drop type spot cascade;
    create type lamp as enum ('red', 'green', 'amber');
    create type spot as (x int, y int, lamp lamp);
    drop table t; create table t (l lamp, ls lamp[], s spot);
    create procedure one(inout s spot) language sql as $$ select s $$;
    create function f(l lamp) returns text language sql as $$ select 'lamp' $$;
    create function f(s spot) returns text language sql as $$ select 'spot' $$;
    create procedure p(inout l lamp, n int) language sql as $$ select l $$;
    create procedure p(inout s spot, n int) language sql as $$ select s $$;
";

/// Each way by itself, so that none has the types looked up for another.
macro_rules! ways {
    ($($name:ident: |$connection:ident| $way:block)+) => {$(
        mod $name {
            use super::*;

            async fn works(alter: &str) {
                let (_database, $connection) = with_altered(alter).await;
                $way
                assert_works(&$connection).await;
            }

            #[tokio::test]
            async fn altered() {
                works(RENAMED).await;
            }

            #[tokio::test]
            async fn made_anew() {
                works(MADE_ANEW).await;
            }
        }
    )+};
}

ways! {
    a_new_statement: |connection| {
        let sql = "select $1::lamp, $2::spot[], $3::lamp[]";
        let values = (Lamp::Amber, vec![spot()], vec![Lamp::Amber]);
        let row = bounded(connection.run_query(sql, &values)).await.unwrap();
        assert_eq!(row.first().unwrap().get::<Vec<Spot>>(1).unwrap(), [spot()]);
    }

    a_long_text: |connection| {
        let sql = format!("select $1::spot /* {} */", "x".repeat(20_000));
        for _ in 0..2 {
            let read: Vec<Scalar<Spot>> = bounded(connection.run_query_as(&sql, (spot(),))).await.unwrap();
            assert_eq!(read, [Scalar(spot())]);
        }
    }

    many_sets: |connection| {
        let sets = [Lamp::Red, Lamp::Amber].map(|lamp| (lamp.clone(), vec![lamp], spot()));
        let sql = "insert into t values ($1, $2, $3)";
        assert_eq!(bounded(connection.execute_many(sql, sets)).await.unwrap(), 2);
    }

    a_batch: |connection| {
        let batch = connection.batch().add("select $1::lamp", (Lamp::Amber,)).add("select $1::spot", (spot(),));
        for result in bounded(batch.send()).await.unwrap() {
            result.unwrap();
        }
    }

    in_an_interaction: |connection| {
        let asked = connection.run_interaction(async |cursor| {
            cursor.run_query("select $1::lamp", (Lamp::Amber,)).await?;
            let mut named = cursor.named("c").open("select $1::spot", (spot(),)).await?;
            assert_eq!(named.next().await?.unwrap().as_row().get::<Spot>(0)?, spot());
            cursor.execute("select $1::spot[]", (vec![spot()],)).await
        });
        assert_eq!(bounded(asked).await.unwrap(), 1);
    }

    a_stream: |connection| {
        let mut stream = connection.query_stream("select $1::spot", (spot(),));
        let row = bounded(stream.next()).await.unwrap().unwrap();
        assert_eq!(row.as_row().get::<Spot>(0).unwrap(), spot());
    }

    a_routine: |connection| {
        let cursor = connection.cursor();
        bounded(cursor.callproc("one", (spot(),))).await.unwrap();
        assert_eq!(cursor.fetch_one().unwrap().unwrap().as_row().get::<Spot>(0).unwrap(), spot());
    }

    one_of_several_routines: |connection| {
        let cursor = connection.cursor();
        bounded(cursor.callproc("f", (Lamp::Amber,))).await.unwrap();
        assert_eq!(cursor.fetch_one().unwrap().unwrap().as_row().get::<&str>(0).unwrap(), "lamp");
        bounded(cursor.callproc("p", (spot(), 1))).await.unwrap();
        assert_eq!(cursor.fetch_one().unwrap().unwrap().as_row().get::<Spot>(0).unwrap(), spot());
    }

    a_copy: |connection| {
        let mut copy = bounded(connection.copy_in_rows("t", &[])).await.unwrap();
        bounded(copy.send((Lamp::Amber, vec![Lamp::Red, Lamp::Amber], spot()))).await.unwrap();
        assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
        let mut copy = bounded(connection.copy_out_rows("select l, ls, s from t")).await.unwrap();
        let row = bounded(copy.next()).await.unwrap().unwrap();
        let (lamp, _, read): (Lamp, Vec<Lamp>, Spot) = row.as_row().decode().unwrap();
        assert_eq!((lamp, read), (Lamp::Amber, spot()));
    }
}

/// What never fits is refused, and costs a second look only where types were known from before.
#[tokio::test]
async fn what_does_not_fit_is_refused_all_the_same() {
    let (_database, connection) = with_altered("select 1").await;
    let sql = "select $1::lamp";
    for _ in 0..3 {
        let error = bounded(connection.run_query(sql, (Lamp::Amber,))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        let error = bounded(connection.cursor().callproc("f", (Lamp::Amber,))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
    }
    let asked = connection.run_interaction(async |cursor| {
        cursor.run_query("select $1::spot", (spot(),)).await.unwrap_err();
        cursor.run_query("select 1", ()).await.map(drop)
    });
    bounded(asked).await.unwrap();
    let failed = connection.run_interaction(async |cursor| {
        cursor.run_query("select 1 / $1::int4", (0,)).await.unwrap_err();
        let error = cursor.run_query("select 1, $1::spot", (spot(),)).await.unwrap_err();
        Err::<(), Error>(error)
    });
    bounded(failed).await.unwrap_err();
    assert_works(&connection).await;
}
