//! Statements and their results, notifications and notices.

use std::time::Instant;

use rustix::event::PollFlags;
use txpostgres_poll::{ErrorKind, PollState, SqlState, TransactionStatus};

use crate::support::{PATIENCE, connect, database, finish, unblocked, wait_for};

#[test]
fn a_statement_has_rows_with_description() {
    let database = database();
    let mut connection = connect(database.dsn());
    for text in ["seven", "eight"] {
        connection.execute("select $1::int4 as n, $2::text as t", (7, text)).unwrap();
        finish(&mut connection).unwrap();
        assert_eq!(connection.command_tag().unwrap().as_str(), "SELECT 1");
        assert_eq!(connection.row_count(), Some(1));
        let rows = connection.take_rows();
        let names: Vec<_> = rows.columns().iter().map(txpostgres_poll::Column::name).collect();
        assert_eq!(names, ["n", "t"]);
        let row = rows.first().unwrap();
        assert_eq!((row.get::<i32>(0).unwrap(), row.get::<&str>("t").unwrap()), (7, text));
    }
}

#[test]
fn a_script_has_several_results() {
    let database = database();
    let mut connection = connect(database.dsn());
    let sql = "create table t (n int); insert into t values (1), (2); select n from t order by n";
    connection.send_query(sql).unwrap();
    finish(&mut connection).unwrap();
    let results = connection.take_results();
    let tags: Vec<_> = results.iter().map(|result| result.tag().as_str().to_owned()).collect();
    assert_eq!(tags, ["CREATE TABLE", "INSERT 0 2", "SELECT 2"]);
    assert_eq!(results[2].rows().len(), 2);
    assert!(connection.take_results().is_empty());
}

#[test]
fn a_statement_that_fails_leaves_the_connection_ready() {
    let database = database();
    let mut connection = connect(database.dsn());
    for _ in 0..2 {
        connection.execute("select 1 / $1::int4", (0,)).unwrap();
        let error = finish(&mut connection).unwrap_err();
        assert_eq!(error.sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
        assert_eq!((connection.row_count(), connection.is_closed()), (None, false));
    }
    connection.send_query("begin; select 1 / 0").unwrap();
    finish(&mut connection).unwrap_err();
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Failed));
    connection.send_query("rollback").unwrap();
    finish(&mut connection).unwrap();
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Idle));
}

#[test]
fn one_statement_at_a_time() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection.execute("select 1", ()).unwrap();
    assert!(connection.is_executing());
    let error = connection.execute("select 2", ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert!(format!("{error:#}").contains("poll it until"), "{error:#}");
    finish(&mut connection).unwrap();
    assert_eq!(connection.take_rows().first().unwrap().get::<i32>(0).unwrap(), 1);
}

#[test]
fn values_that_do_not_fit_are_refused_and_nothing_runs() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection.execute("select $1::int4", ("text",)).unwrap();
    assert_eq!(finish(&mut connection).unwrap_err().kind(), ErrorKind::Parameter);
    connection.execute("select 5", ()).unwrap();
    finish(&mut connection).unwrap();
    assert_eq!(connection.take_rows().first().unwrap().get::<i32>(0).unwrap(), 5);
}

#[test]
fn a_stale_plan_is_asked_anew() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection.send_query("create table t as select 1 as a").unwrap();
    finish(&mut connection).unwrap();
    for columns in 1..3 {
        connection.execute("select * from t where $1", (true,)).unwrap();
        finish(&mut connection).unwrap();
        assert_eq!(connection.take_rows().columns().len(), columns);
        database.sql("alter table t add column b int").ok();
    }
}

#[test]
fn large_answers_come_in_parts() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection
        .execute_in_text("select repeat('x', 1000) from generate_series(1, $1)", (20_000,))
        .unwrap();
    finish(&mut connection).unwrap();
    let rows = connection.take_rows();
    assert_eq!(rows.len(), 20_000);
    let last: &str = rows.iter().last().unwrap().get(0).unwrap();
    assert_eq!(last.len(), 1000);
}

#[test]
fn a_copy_is_refused_and_nothing_hangs() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection.send_query("create table t (n int)").unwrap();
    finish(&mut connection).unwrap();
    for sql in ["copy t from stdin", "copy (select 1) to stdout"] {
        connection.send_query(sql).unwrap();
        assert!(finish(&mut connection).is_err(), "{sql}");
        connection.send_query("select 1").unwrap();
        finish(&mut connection).unwrap();
    }
}

#[test]
fn notifications_come_while_idle_and_within_a_statement() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection.send_query("listen news").unwrap();
    finish(&mut connection).unwrap();

    let mut other = connect(database.dsn());
    other.send_query("notify news, 'idle'").unwrap();
    finish(&mut other).unwrap();
    assert!(wait_for(&connection, PollFlags::IN, Instant::now() + PATIENCE));
    assert_eq!(unblocked(&mut connection).unwrap(), PollState::Ok);
    let heard: Vec<_> = connection.notifies().map(|heard| heard.payload().to_owned()).collect();
    assert_eq!(heard, ["idle"]);

    connection.send_query("notify news, 'own'; select 1").unwrap();
    finish(&mut connection).unwrap();
    let heard: Vec<_> = connection.notifies().map(|heard| heard.payload().to_owned()).collect();
    assert_eq!((heard, connection.take_results().len()), (vec!["own".to_owned()], 2));
}

#[test]
fn notices_and_what_is_known() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection.send_query("do $$ begin raise warning 'look'; end $$").unwrap();
    finish(&mut connection).unwrap();
    assert!(connection.notices().any(|notice| notice.to_string().contains("look")));
    assert!(connection.server_version().unwrap() >= 90_600);
    assert!(connection.backend_pid().unwrap() > 0);
    assert_eq!(connection.parameter("client_encoding"), Some("UTF8"));
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Idle));
}
