//! Remembered statements that have gone stale in a transaction: what this connection changed itself
//! costs nothing, what others changed costs one more try at most.

use txpostgres::value::Text;
use txpostgres::{Connection, Cursor, Error, ErrorKind, IsolationLevel, SqlState};
use txpostgres_testkit::{Database, shared};

use crate::support::{assert_works, bounded, count};

const ALL: &str = "select * from t";
const SOME: &str = "select * from t where n::text = $1";

/// A connection that keeps its statements, and one that does not; and another session.
async fn opened() -> (Database, [Connection; 2], Connection) {
    let database = shared().database().unwrap();
    let kept = bounded(Connection::open(database.dsn())).await.unwrap();
    let dsn = format!("{} statement_cache_size=0", database.dsn());
    let not_kept = bounded(Connection::open(dsn)).await.unwrap();
    let other = bounded(Connection::open(database.dsn())).await.unwrap();
    (database, [kept, not_kept], other)
}

/// A new table `t` of one column and one row, with both texts known to the connection.
async fn learn(connection: &Connection) {
    let sql = "drop table if exists t, old; create table t (n int); insert into t values (1)";
    bounded(connection.run_script(sql)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(columns(&connection.cursor()).await.unwrap(), (1, 1));
    }
}

/// How many columns both texts return.
async fn columns(cursor: &Cursor) -> Result<(usize, usize), Error> {
    let all = bounded(cursor.run_query(ALL, ())).await?;
    let some = bounded(cursor.run_query(SOME, ("1",))).await?;
    Ok((all.columns().len(), some.columns().len()))
}

/// What changes the meaning of the texts, in a transaction: each leaves two columns.
const CHANGES: [&str; 9] = [
    "alter table t add column m int",
    "alter table t rename to old; create table t (n int, m int); insert into t values (1)",
    "drop table t; create table t as select 1 as n, 2 as m",
    "alter table t alter n type text using n::text; alter table t add m int",
    "create temp table t (n int, m int) on commit drop; insert into t values (1)",
    "set local search_path = elsewhere",
    "set search_path = elsewhere",
    "set local role changeling",
    "set local session authorization changeling",
];

/// The changes for this database, and where they lead to: another table `t` for another path and
/// for another role. Roles belong to the server, so each database has its own.
async fn changes(database: &Database, connection: &Connection) -> Vec<String> {
    let role = format!("changeling_{}", database.name());
    let sql = "create schema elsewhere; create table elsewhere.t (n int, m int);
         insert into elsewhere.t values (1); create role changeling;
         create schema changeling authorization changeling;
         create table changeling.t (n int, m int); insert into changeling.t values (1);
         grant select on changeling.t to changeling";
    bounded(connection.run_script(&sql.replace("changeling", &role))).await.unwrap();
    CHANGES.map(|change| change.replace("changeling", &role)).into()
}

async fn drop_role(database: &Database, connection: &Connection) {
    let role = format!("changeling_{}", database.name());
    let sql = format!("drop owned by {role} cascade; drop role {role}");
    bounded(connection.run_script(&sql)).await.unwrap();
}

/// Own changes: as statements, as a script, before everything else or in the middle.
#[tokio::test]
async fn what_a_transaction_changes_itself_is_seen_by_its_next_statements() {
    let (database, connections, other) = opened().await;
    let changes = changes(&database, &other).await;
    for connection in connections {
        for change in &changes {
            for (in_the_middle, as_script, keeps) in
                [(false, true, true), (true, true, true), (true, false, true), (true, true, false)]
            {
                learn(&connection).await;
                let outcome: Result<(), Error> =
                    bounded(connection.run_interaction(async |cursor| {
                        if in_the_middle {
                            assert_eq!(columns(&cursor).await?, (1, 1));
                        }
                        if as_script {
                            cursor.run_script(change).await?;
                        } else {
                            for statement in change.split(';') {
                                cursor.run_operation(statement, ()).await?;
                            }
                        }
                        for _ in 0..2 {
                            assert_eq!(columns(&cursor).await?, (2, 2));
                        }
                        if keeps { Ok(()) } else { Err(Error::new(ErrorKind::Decode, "undone")) }
                    }))
                    .await;
                match outcome {
                    Err(error) if error.kind() == ErrorKind::Decode && !keeps => {}
                    outcome => assert!(outcome.is_ok(), "{change}: {outcome:?}"),
                }
                // Afterwards as well, outside of a transaction and within.
                let session_stays = keeps && change.starts_with("set search_path");
                let expected = if keeps && !change.contains("local") && !change.contains("temp") {
                    (2, 2)
                } else {
                    (1, 1)
                };
                assert_eq!(columns(&connection.cursor()).await.unwrap(), expected, "{change}");
                let within = bounded(connection.run_interaction(async |cursor| {
                    cursor.run_query("select 1", ()).await?;
                    columns(&cursor).await
                }));
                assert_eq!(within.await.unwrap(), expected, "{change}");
                if session_stays {
                    bounded(connection.run_operation("reset search_path", ())).await.unwrap();
                }
            }
        }
        bounded(connection.run_script("drop table t")).await.unwrap();
        assert_works(&connection).await;
    }
    drop_role(&database, &other).await;
}

/// What is described after a change is not what it was before, when the change is undone: by hand,
/// and by a nested interaction that fails.
#[tokio::test]
async fn a_change_that_is_rolled_back_to_a_savepoint_is_forgotten() {
    let (database, connections, other) = opened().await;
    let changes = changes(&database, &other).await;
    for connection in connections {
        for change in &changes {
            learn(&connection).await;
            let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
                cursor.run_operation("savepoint s", ()).await?;
                cursor.run_script(change).await?;
                assert_eq!(columns(&cursor).await?, (2, 2));
                cursor.run_operation("rollback to savepoint s", ()).await?;
                assert_eq!(columns(&cursor).await?, (1, 1));
                let nested: Result<(), Error> = cursor
                    .run_interaction(async |nested| {
                        nested.run_script(change).await?;
                        assert_eq!(columns(&nested).await?, (2, 2));
                        Err(Error::new(ErrorKind::Decode, "undone"))
                    })
                    .await;
                assert_eq!(nested.unwrap_err().kind(), ErrorKind::Decode);
                assert_eq!(columns(&cursor).await?, (1, 1));
                Ok(())
            }))
            .await;
            assert!(outcome.is_ok(), "{change}: {outcome:?}");
            // By hand, on the connection.
            let cursor = connection.cursor();
            for end in ["rollback", "savepoint x; rollback to x; rollback"] {
                bounded(connection.run_script("begin")).await.unwrap();
                bounded(connection.run_script(change)).await.unwrap();
                assert_eq!(columns(&cursor).await.unwrap(), (2, 2), "{change}");
                bounded(connection.run_script(end)).await.unwrap();
                assert_eq!(columns(&cursor).await.unwrap(), (1, 1), "{change}");
            }
        }
        bounded(connection.run_script("drop table t")).await.unwrap();
        assert_works(&connection).await;
    }
    drop_role(&database, &other).await;
}

/// Ways of asking for both texts as the first statement of an interaction.
const FIRST: [&str; 8] =
    ["query", "operation", "parameter", "shapes", "batch", "many", "stream", "cursor"];

async fn first(cursor: &Cursor, way: &str) -> Result<usize, Error> {
    Ok(match way {
        "query" => cursor.run_query(ALL, ()).await?.columns().len(),
        "operation" => cursor.run_operation(ALL, ()).await.map(|_| 2)?,
        "parameter" => cursor.run_query(SOME, ("1",)).await?.columns().len(),
        "shapes" => cursor
            .run_query_as::<(i32, Option<i32>), _>(SOME, ("1",))
            .await?
            .first()
            .map_or(0, |_| 2),
        "batch" => {
            let results = cursor.batch().add(ALL, ()).add(SOME, ("1",)).send().await?;
            results.into_iter().next().unwrap()?.rows().columns().len()
        }
        "many" => {
            cursor.execute_many(SOME, [("1",), ("1",)]).await?;
            cursor.description().unwrap().len()
        }
        "stream" => {
            let mut stream = cursor.query_stream(SOME, ("1",));
            let mut columns = 0;
            while let Some(rows) = stream.next_rows().await? {
                columns = rows.columns().len();
            }
            columns
        }
        _ => {
            cursor.execute(SOME, ("1",)).await?;
            cursor.description().unwrap().len()
        }
    })
}

/// Another session has changed the table: with only BEGIN behind it, the first statement is asked
/// once more, which is not to be seen. The transaction is the one that was asked for.
#[tokio::test]
async fn a_first_statement_that_is_stale_is_asked_again_with_its_begin() {
    let (_database, connections, other) = opened().await;
    for connection in connections {
        for way in FIRST {
            for nested in [false, true] {
                learn(&connection).await;
                bounded(other.run_script("alter table t add column m int")).await.unwrap();
                let notices = connection.notices().len();
                let interaction = connection
                    .interaction()
                    .isolation_level(IsolationLevel::Serializable)
                    .read_only(true);
                let outcome = bounded(interaction.run(async |cursor| {
                    let columns = if nested {
                        cursor.run_interaction(async |nested| first(&nested, way).await).await?
                    } else {
                        first(&cursor, way).await?
                    };
                    let show = "select current_setting('transaction_isolation') || ' ' ||
                                current_setting('transaction_read_only')";
                    let options: String = cursor.run_query(show, ()).one().await?.get(0)?;
                    Ok::<_, Error>((columns, options))
                }))
                .await;
                // A savepoint is a statement before it: what fails then may be tried again.
                let outcome = match outcome {
                    Err(error) if nested && error.is_retryable() => continue,
                    outcome => outcome.unwrap_or_else(|error| panic!("{way}: {error:?}")),
                };
                assert_eq!(outcome, (2, "serializable on".to_owned()), "{way}");
                assert_eq!(connection.notices().len(), notices, "{way}");
            }
        }
        bounded(connection.run_script("drop table t")).await.unwrap();
        assert_works(&connection).await;
    }
}

/// The first statement writes, and does so once.
#[tokio::test]
async fn a_first_statement_that_is_asked_again_is_run_once() {
    let (_database, [connection, _], other) = opened().await;
    let sql = "insert into t values ($1) returning *";
    for round in 1..=5_i64 {
        learn(&connection).await;
        bounded(connection.run_query(sql, (2,))).await.unwrap();
        bounded(other.run_script("alter table t add column m int")).await.unwrap();
        let inserted = bounded(connection.run_interaction(async |cursor| {
            cursor.run_query(sql, (3,)).await.map(|rows| rows.columns().len())
        }));
        assert_eq!(inserted.await.unwrap(), 2, "round {round}");
        assert_eq!(count(&connection, "select sum(n) from t").await, 6);
    }
    assert_works(&connection).await;
}

/// A later statement has failed its transaction: that may be tried again, and one more try is
/// enough, however many texts are stale.
#[tokio::test]
async fn one_more_try_is_enough_for_a_transaction_of_many_stale_texts() {
    let (_database, [connection, _], other) = opened().await;
    let texts: Vec<String> = (0..6)
        .map(|n| match n % 2 {
            0 => format!("select *, {n} from t"),
            _ => format!("select *, {n} from t where n::text = $1"),
        })
        .collect();
    let ask = async |cursor: &Cursor, sql: &str| {
        let rows = if sql.contains('$') {
            cursor.run_query(sql, ("1",)).await
        } else {
            cursor.run_query(sql, ()).await
        };
        rows.map(|rows| rows.columns().len())
    };
    for _ in 0..3 {
        learn(&connection).await;
        for sql in &texts {
            for _ in 0..2 {
                bounded(ask(&connection.cursor(), sql)).await.unwrap();
            }
        }
        bounded(other.run_script("alter table t add column m int")).await.unwrap();
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
                cursor.run_query("select 1", ()).await?;
                for sql in &texts {
                    assert_eq!(ask(&cursor, sql).await?, 3);
                }
                Ok(())
            }))
            .await;
            match outcome {
                Ok(()) => break,
                Err(error) => {
                    assert_eq!(error.sqlstate(), Some(SqlState::FEATURE_NOT_SUPPORTED));
                    assert!(error.is_retryable(), "{error:?}");
                    assert!(tries < 2, "after {tries} tries: {error:?}");
                }
            }
        }
    }
    assert_works(&connection).await;
}

/// A value in text form fits every type, so that only the server sees that the parameter's type has
/// changed: the statement is described anew, by the second call at the latest.
#[tokio::test]
async fn a_text_value_does_not_fail_for_ever_for_a_parameter_whose_type_has_changed() {
    let (_database, connections, other) = opened().await;
    let sql = "select n from t where n = $1";
    for connection in connections {
        for within in [false, true] {
            learn(&connection).await;
            for _ in 0..2 {
                bounded(connection.run_query(sql, (Text("1"),))).await.unwrap();
            }
            let change = "alter table t alter n type text using 'one'";
            bounded(other.run_script(change)).await.unwrap();
            let ask = async || {
                if within {
                    let asked = connection.run_interaction(async |cursor| {
                        cursor.run_query("select 1", ()).await?;
                        cursor.run_query(sql, (Text("one"),)).await
                    });
                    bounded(asked).await
                } else {
                    bounded(connection.run_query(sql, (Text("one"),))).await
                }
            };
            let (first, second) = (ask().await, ask().await);
            assert!(second.is_ok(), "within {within}: {second:?} after {first:?}");
            assert_eq!(second.unwrap().len(), 1);
        }
    }
}

/// With `statement_cache_size=0` nothing of a statement outlives it, in a transaction as outside: a
/// change by another session is met by no error at all.
#[tokio::test]
async fn without_a_cache_no_types_are_remembered_in_a_transaction() {
    let (_database, [_, connection], other) = opened().await;
    let sql = "select n from t where n = $1";
    for in_one in [false, true] {
        learn(&connection).await;
        let change = "alter table t alter n type text using 'one'";
        let numbers = async |cursor: &Cursor| cursor.run_query(sql, (1_i32,)).await;
        let texts = async |cursor: &Cursor| cursor.run_query(sql, (Text("one"),)).await;
        if in_one {
            bounded(connection.run_interaction(async |cursor| {
                assert_eq!(numbers(&cursor).await?.len(), 1);
                cursor.run_script(change).await?;
                assert_eq!(texts(&cursor).await?.len(), 1);
                assert_eq!(cursor.run_query(sql, ("one",)).await?.len(), 1);
                Ok::<_, Error>(())
            }))
            .await
            .unwrap();
        } else {
            bounded(connection.run_interaction(async |cursor| {
                cursor.run_query("select 1", ()).await?;
                assert_eq!(numbers(&cursor).await?.len(), 1);
                assert_eq!(numbers(&cursor).await?.len(), 1);
                Ok::<_, Error>(())
            }))
            .await
            .unwrap();
            bounded(other.run_script(change)).await.unwrap();
            bounded(connection.run_interaction(async |cursor| {
                cursor.run_query("select 1", ()).await?;
                assert_eq!(texts(&cursor).await?.len(), 1);
                Ok::<_, Error>(())
            }))
            .await
            .unwrap();
        }
    }
    assert_works(&connection).await;
}
