//! Queries that are to return one row, or one at most: `one` and `optional` of pending calls.

use std::time::Duration;

use txpostgres::types::{FromSql, Type};
use txpostgres::{Connection, Cursor, Delivery, Error, ErrorKind, Result, Scalar};

use crate::support::{assert_works, bounded, connected, count};

const NUMBERS: &str = "select n, n::text as t from generate_series(1, $1::int4) n";

/// What is said of another number of rows.
fn refused<T>(outcome: Result<T>) -> String {
    let Err(error) = outcome else { panic!("a row") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, Delivery::CarriedOut));
    assert!(error.statement().is_some() && error.hint().is_some(), "{error:#}");
    error.to_string().strip_suffix(" (the statement was carried out)").unwrap().to_owned()
}

#[tokio::test]
async fn one_row_is_one_row() {
    let (_database, connection) = connected().await;
    // Not known, and known.
    for _ in 0..2 {
        let row = bounded(connection.run_query(NUMBERS, (1_i32,)).one()).await.unwrap();
        assert_eq!(row.get::<&str>("t").unwrap(), "1");
        assert_eq!(row.decode::<(i32, &str)>().unwrap(), (1, "1"));
        assert!(row.decode::<(i32,)>().is_err());
        let row = bounded(connection.run_query(NUMBERS, (1_i32,)).optional()).await.unwrap();
        assert_eq!(row.unwrap().get::<i32>(0).unwrap(), 1);
        assert!(
            bounded(connection.run_query(NUMBERS, (0_i32,)).optional()).await.unwrap().is_none()
        );

        let row = connection.run_query_as::<(i32, String), _>(NUMBERS, (1_i32,));
        assert_eq!(bounded(row.one()).await.unwrap(), (1, "1".to_owned()));
        let row = connection.run_query_as::<(i32, String), _>(NUMBERS, (1_i32,));
        assert_eq!(bounded(row.optional()).await.unwrap(), Some((1, "1".to_owned())));
        let row = connection.run_query_as::<(i32, String), _>(NUMBERS, (0_i32,));
        assert_eq!(bounded(row.optional()).await.unwrap(), None);
    }
    let text = connection.run_query("select 1.50::numeric", ()).in_text().one();
    assert_eq!(bounded(text).await.unwrap().get::<&str>(0).unwrap(), "1.50");
    let typed = connection.with_rows_as::<Scalar<i32>>();
    assert_eq!(bounded(typed.run_query("select 7", ()).one()).await.unwrap(), Scalar(7));
}

#[tokio::test]
async fn another_number_of_rows_is_an_error_that_tells_it() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    // Not known, and known; few, and so many that they come in parts.
    for rows in [3, 3, 100_000, 100_000] {
        let expected = format!("the statement returned {rows} rows, where one was expected");
        let row = bounded(connection.run_query(NUMBERS, (rows,)).one()).await;
        assert_eq!(refused(row), expected);
        let row =
            bounded(connection.run_query_as::<(i32, String), _>(NUMBERS, (rows,)).one()).await;
        assert_eq!(refused(row), expected);
        let expected =
            format!("the statement returned {rows} rows, where one at most was expected");
        let row = bounded(connection.run_query(NUMBERS, (rows,)).optional()).await;
        assert_eq!(refused(row), expected);
        let row = connection.run_query_as::<(i32, String), _>(NUMBERS, (rows,)).optional();
        assert_eq!(refused(bounded(row).await), expected);
    }
    let none = "the statement returned no row, where one was expected";
    assert_eq!(refused(bounded(connection.run_query(NUMBERS, (0_i32,)).one()).await), none);
    let row = connection.run_query_as::<(i32, String), _>(NUMBERS, (0_i32,)).one();
    assert_eq!(refused(bounded(row).await), none);
    // One that returns no rows at all.
    let insert = "insert into t values (1)";
    assert_eq!(refused(bounded(connection.run_query(insert, ()).one()).await), none);
    let row = bounded(connection.run_query_as::<(i32,), _>(insert, ()).optional()).await;
    assert_eq!(row.unwrap(), None);
    assert_eq!(count(&connection, "select count(*) from t").await, 2);
}

#[tokio::test]
async fn a_statement_has_run_when_its_rows_are_too_many() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let insert = "insert into t values (1), (2) returning n";
    refused(bounded(connection.run_query(insert, ()).one()).await);
    assert_eq!(count(&connection, "select count(*) from t").await, 2);
    let undone = connection.run_interaction(async |cursor: Cursor| {
        let before: i64 = cursor.run_query("select count(*) from t", ()).one().await?.get(0)?;
        assert_eq!(before, 2);
        cursor.run_query_as::<(i32,), _>(insert, ()).optional().await
    });
    refused(bounded(undone).await);
    assert_eq!(count(&connection, "select count(*) from t").await, 2);
    assert_works(&connection).await;
}

/// Which value is read: the first and no other.
struct First;

impl<'a> FromSql<'a> for First {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        if raw == [0, 0, 0, 1] { Ok(Self) } else { Err("another was read".into()) }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INT4
    }
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_an_error_of_its_own() {
    let (_database, connection) = connected().await;
    let sql = "select n from generate_series($1::int4, $2) n";
    for _ in 0..2 {
        // One that does not read as that; a column that never does, be it that no row comes.
        let row = connection.run_query_as::<Scalar<First>, _>(sql, (2_i32, 2_i32)).one();
        let error = bounded(row).await.err().expect("an error").to_string();
        assert!(error.starts_with("column 0 \"n\" (int4) of row 0 does not read as"), "{error}");
        let row = connection.run_query_as::<(String,), _>(sql, (2_i32, 1_i32)).optional();
        let error = bounded(row).await.unwrap_err().to_string();
        assert!(error.starts_with("column 0 \"n\" (int4) of every row"), "{error}");
        // That there are several says more.
        let row = connection.run_query_as::<(String,), _>(sql, (2_i32, 3_i32)).one();
        assert!(refused(bounded(row).await).contains("2 rows"));
        // Those behind the first are not read.
        let row = connection.run_query_as::<Scalar<First>, _>(sql, (1_i32, 3_i32)).optional();
        let outcome = bounded(row).await.map(|_| ());
        assert!(refused(outcome).contains("3 rows"));
    }
}

async fn pid_of(connection: &Connection) -> Result<i32> {
    connection.run_query("select pg_backend_pid()", ()).one().await?.get(0)
}

#[tokio::test]
async fn one_that_is_single_is_a_call_in_all_else() {
    let (_database, connection) = connected().await;
    let c = connection.clone();
    let pid = bounded(tokio::spawn(async move { pid_of(&c).await })).await.unwrap().unwrap();
    assert_eq!(Some(pid), connection.backend_pid());

    let limit = Duration::from_millis(1);
    let sleep = || connection.run_query("select pg_sleep(60)", ());
    let error = bounded(sleep().one().timeout(limit)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let error = bounded(sleep().timeout(limit).optional()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let error = bounded(sleep().rows_as::<Scalar<String>>().one().timeout(limit)).await.err();
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Timeout));

    let mut row = sleep().optional();
    let handle = row.cancel_handle();
    let (row, _) = bounded(async { tokio::join!(row, connection.cancel(&handle)) }).await;
    assert_eq!(row.unwrap_err().kind(), ErrorKind::Cancelled);
    let row = tokio::time::timeout(limit, sleep().one().cancel_on_drop());
    assert!(row.await.is_err());
    let error: Error = bounded(connection.run_query("select 1 / 0", ()).one()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_works(&connection).await;
}
