//! Queries, operations and scripts against a real server: what they return and how they fail.

// clippy.toml allows it in tests, but not in what tests share.
use txpostgres::types::ToSql;
use txpostgres::{Connection, Delivery, ErrorKind, SqlState, TransactionStatus};
use txpostgres_testkit::{Database, shared};

/// A database of our own, and a connection to it.
async fn connected() -> (Database, Connection) {
    let database = shared().database().unwrap();
    let connection = Connection::open(database.dsn()).await.unwrap();
    (database, connection)
}

#[tokio::test]
async fn queries_return_rows_and_operations_counts() {
    let (_database, connection) = connected().await;
    let created = connection.run_operation("create table t (id int, name text)", ()).await;
    assert_eq!(created.unwrap(), 0);
    let insert = "insert into t values ($1, $2), ($3, null)";
    assert_eq!(connection.run_operation(insert, (1, "one", 2)).await.unwrap(), 2);
    let select = "select id, name from t where id >= $1 order by id";
    for _ in 0..3 {
        let rows = connection.run_query(select, (1,)).await.unwrap();
        let seen: Vec<(i32, Option<String>)> =
            rows.iter().map(|row| (row.get("id").unwrap(), row.get("name").unwrap())).collect();
        assert_eq!(seen, [(1, Some("one".to_owned())), (2, None)]);
    }
    let rows = connection.run_query("select 'x'", ()).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "x");
    assert_eq!(connection.run_operation("delete from t", &[]).await.unwrap(), 2);
    connection.close().await;
}

#[tokio::test]
async fn every_way_to_reach_the_server() {
    let database = shared().database().unwrap();
    let server = database.server();
    let port = server.port();
    for dsn in [
        database.dsn(),
        database.unix_dsn(),
        format!("postgresql://postgres@127.0.0.1:{port}/{}", database.name()),
    ] {
        let connection = Connection::open(&dsn).await.unwrap();
        let rows = connection.run_query("select current_database()::text", ()).await.unwrap();
        assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), database.name());
        connection.close().await;
    }
}

#[tokio::test]
async fn what_is_known_of_the_session() {
    let (_database, connection) = connected().await;
    let rows = connection
        .run_query("select pg_backend_pid(), current_setting('server_version_num')", ())
        .await
        .unwrap();
    let row = rows.first().unwrap();
    assert_eq!(connection.backend_pid(), Some(row.get(0).unwrap()));
    let version: &str = row.get(1).unwrap();
    assert_eq!(connection.server_version().unwrap().to_string(), version);
    assert_eq!(connection.encoding().as_deref(), Some("UTF8"));
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Idle));
    assert!(!connection.is_closed() && !connection.is_encrypted());

    connection.run_operation("set application_name = 'changed'", ()).await.unwrap();
    assert_eq!(connection.parameter("application_name").as_deref(), Some("changed"));
    let raise = "do $$ begin raise warning 'careful'; end $$";
    connection.run_operation(raise, ()).await.unwrap();
    let notices = connection.notices();
    assert_eq!(notices.last().unwrap().message(), "careful");
    assert_eq!(notices.last().unwrap().severity(), "WARNING");
    connection.close().await;
    assert_eq!(connection.backend_pid(), None);
}

#[tokio::test]
async fn scripts_return_a_result_for_each_statement() {
    let (_database, connection) = connected().await;
    let results = connection
        .run_script("create table t (id int); insert into t values (1), (2); select * from t; ;")
        .await
        .unwrap();
    let tags: Vec<&str> = results.iter().map(|result| result.tag().as_str()).collect();
    assert_eq!(tags, ["CREATE TABLE", "INSERT 0 2", "SELECT 2"]);
    let row = results.last().unwrap().rows().get(1).unwrap();
    assert_eq!(row.get::<&str>("id").unwrap(), "2");
    let error = connection.run_script("select 1; select nothing; select 2").await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNDEFINED_COLUMN));
    assert!(connection.run_script("").await.unwrap().len() <= 1);
}

#[tokio::test]
async fn a_syntax_error_is_shown_with_a_caret() {
    let (_database, connection) = connected().await;
    let error = connection.run_query("select\n  frm t", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(error.delivery(), Delivery::Answered);
    assert_eq!(error.to_string(), "ERROR 42703: column \"frm\" does not exist");
    let shown = format!("{error:#}");
    assert!(shown.contains("\nLINE 2:   frm t\n          ^"), "{shown}");
    let rows = connection.run_query("select 1", ()).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_not_sent() {
    let (_database, connection) = connected().await;
    let sql = "select $1::int4 + $2::int4";
    let error = connection.run_query(sql, (1,)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    assert_eq!(error.to_string(), "the statement takes 2 parameters, and 1 were given");
    let error = connection.run_query(sql, (1, "two")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.to_string().starts_with("parameter $2 (int4) cannot be sent: "), "{error}");
    let error = connection.run_query(sql, ()).await.unwrap_err();
    assert!(error.to_string().contains('2'), "{error}");
    let error = connection.run_query("select 'a\0b'", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    let rows = connection.run_query(sql, (1, 2)).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), 3);
}

#[tokio::test]
async fn as_many_parameters_as_the_protocol_has_room_for() {
    let (_database, connection) = connected().await;
    let many = |count: usize| {
        let list: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
        format!("select array_length(array[{}]::int4[], 1)", list.join(","))
    };
    let one: &(dyn ToSql + Sync) = &1_i32;
    let rows = connection.run_query(&many(65_535), &vec![one; 65_535]).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), 65_535);
    let error = connection.run_query("select 1", &vec![one; 65_536]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter);
    let rows = connection.run_query("select 1", ()).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_value_that_does_not_decode_is_named() {
    let (_database, connection) = connected().await;
    let rows = connection.run_query("select 1::int8 as n, null::text as t", ()).await.unwrap();
    let row = rows.first().unwrap();
    let error = row.get::<String>("n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(
        error.to_string(),
        "column 0 \"n\" (int8) of row 0 does not read as alloc::string::String"
    );
    assert!(row.get::<String>("t").unwrap_err().to_string().contains("is NULL"));
    assert!(row.get::<i64>("m").unwrap_err().to_string().contains("its columns are: n, t"));
}

#[tokio::test]
async fn many_tasks_share_one_connection() {
    let (_database, connection) = connected().await;
    let tasks: Vec<_> = (0..1000_i32)
        .map(|n| {
            let connection = connection.clone();
            tokio::spawn(async move {
                for round in 0..5 {
                    let rows =
                        connection.run_query("select $1::int4", (n * 10 + round,)).await.unwrap();
                    assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), n * 10 + round);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn copy_is_refused_and_the_connection_goes_on() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (id int)", ()).await.unwrap();
    for sql in ["copy t from stdin", "copy (select 1) to stdout"] {
        let error = connection.run_operation(sql, ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{error}");
        assert!(error.to_string().contains("COPY"), "{error}");
        let error = connection.run_script(sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{error}");
        assert_eq!(connection.run_query("select 1", ()).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn stale_plans_are_made_anew() {
    let (_database, connection) = connected().await;
    connection.run_script("create table t (id int); insert into t values (1)").await.unwrap();
    let sql = "select * from t where id = $1";
    assert_eq!(connection.run_query(sql, (1,)).await.unwrap().columns().len(), 1);
    connection.run_operation("alter table t add column name text", ()).await.unwrap();
    assert_eq!(connection.run_query(sql, (1,)).await.unwrap().columns().len(), 2);
    for gone in ["deallocate all", "discard all"] {
        connection.run_operation(gone, ()).await.unwrap();
        assert_eq!(connection.run_query(sql, (1,)).await.unwrap().columns().len(), 2);
    }
    // The first statement of a transaction is asked again with its BEGIN.
    connection.run_operation("alter table t add column more text", ()).await.unwrap();
    let run = || connection.run_interaction(async |cursor| cursor.run_query(sql, (1,)).await);
    assert_eq!(run().await.unwrap().columns().len(), 3);
}

#[tokio::test]
async fn without_a_cache_nothing_is_kept_on_the_server() {
    let database = shared().database().unwrap();
    let dsn = format!("{} statement_cache_size=0", database.dsn());
    let connection = Connection::open(dsn).await.unwrap();
    for n in 0..3 {
        let rows = connection.run_query("select $1::int4", (n,)).await.unwrap();
        assert_eq!(rows.first().unwrap().get::<i32>(0).unwrap(), n);
    }
    let prepared = "select count(*) from pg_prepared_statements";
    let rows = connection.run_query(prepared, ()).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<i64>(0).unwrap(), 0);
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let database = shared().database().unwrap();
    let dsn = format!("{} statement_cache_size=5", database.dsn());
    let connection = Connection::open(dsn).await.unwrap();
    for n in 0..40 {
        connection.run_query(&format!("select {n} + $1::int4"), (n,)).await.unwrap();
    }
    let prepared = "select count(*) from pg_prepared_statements";
    let rows = connection.run_query(prepared, ()).await.unwrap();
    let count: i64 = rows.first().unwrap().get(0).unwrap();
    assert!((1..=6).contains(&count), "{count}");
}

/// Values that do not fit what is known are not sent: the server is asked what it takes by now.
#[tokio::test]
async fn a_statement_whose_parameters_have_other_types_now_is_described_anew() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (id int4)", ()).await.unwrap();
    let sql = "select count(*) from t where id <= $1";
    for _ in 0..2 {
        connection.run_query(sql, (1_i32,)).await.unwrap();
    }
    connection.run_operation("alter table t alter id type int8", ()).await.unwrap();
    for _ in 0..2 {
        connection.run_query(sql, (1_i64,)).await.unwrap();
    }
    // A value that never fits is refused as before, and those that do are taken.
    for _ in 0..2 {
        let error = connection.run_query(sql, ("one",)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        connection.run_query(sql, (1_i64,)).await.unwrap();
    }
}
