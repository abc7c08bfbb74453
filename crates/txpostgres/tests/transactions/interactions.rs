//! Interactions: what is kept, what is undone, and who waits for whom.

use std::error::Error as StdError;
use std::fmt;

use tokio::sync::oneshot;
use txpostgres::{Connection, Cursor, Delivery, Error, ErrorKind, IsolationLevel, SqlState};
use txpostgres_testkit::Database;

use crate::support::{assert_works, bounded, connected, count, until_session};

/// A database with an empty table `t`, whose ids are unique.
async fn with_table() -> (Database, Connection) {
    let (database, connection) = connected().await;
    connection.run_script("create table t (id int primary key)").await.unwrap();
    (database, connection)
}

async fn insert(cursor: &Cursor, id: i32) -> Result<(), Error> {
    cursor.run_operation("insert into t values ($1)", (id,)).await.map(drop)
}

/// What is in the table, as everybody sees it.
fn ids(database: &Database) -> String {
    database.sql("select coalesce(string_agg(id::text, ' ' order by id), '') from t").unwrap()
}

#[tokio::test]
async fn success_commits_and_failure_rolls_back() {
    let (database, connection) = with_table().await;
    let value = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        insert(&cursor, 2).await?;
        Ok::<_, Error>("done")
    }))
    .await
    .unwrap();
    assert_eq!((value, ids(&database).as_str()), ("done", "1 2"));
    assert_works(&connection).await;

    let error = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 3).await?;
        insert(&cursor, 1).await
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(
        error.to_string(),
        "ERROR 23505: duplicate key value violates unique constraint \"t_pkey\""
    );
    assert_eq!(ids(&database), "1 2");
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_interaction_that_asks_nothing() {
    let (_database, connection) = connected().await;
    assert_eq!(bounded(connection.run_interaction(async |_| Ok::<_, Error>(7))).await.unwrap(), 7);
    let no = || Error::new(ErrorKind::Request, "no");
    let error = bounded(connection.run_interaction(async |_| Err::<(), _>(no()))).await;
    assert_eq!(error.unwrap_err().to_string(), "no");
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_panic_rolls_back() {
    let (database, connection) = with_table().await;
    let shared = connection.clone();
    let panicked = tokio::spawn(async move {
        shared
            .run_interaction(async |cursor| {
                insert(&cursor, 1).await?;
                let rows = cursor.run_query("select 1", ()).await?;
                assert_ne!(rows.len(), 1, "on purpose");
                Ok::<_, Error>(())
            })
            .await
    });
    assert!(bounded(panicked).await.unwrap_err().is_panic());
    assert_works(&connection).await;
    assert_eq!(ids(&database), "");
}

#[tokio::test]
async fn an_interaction_dropped_in_the_middle_rolls_back() {
    let (database, connection) = with_table().await;
    let shared = connection.clone();
    // Between two statements, and while one is being run.
    for busy in [false, true] {
        let (inside, is_inside) = oneshot::channel();
        let shared = shared.clone();
        let task = tokio::spawn(async move {
            shared
                .run_interaction(async |cursor| {
                    insert(&cursor, 1).await?;
                    inside.send(()).ok();
                    if busy {
                        cursor.run_query("select pg_sleep(0.3)", ()).await?;
                    }
                    std::future::pending::<Result<(), Error>>().await
                })
                .await
        });
        bounded(is_inside).await.unwrap();
        if busy {
            let pid = connection.backend_pid().unwrap();
            until_session(&database, pid, "wait_event = 'PgSleep'").await;
        }
        task.abort();
        bounded(task).await.unwrap_err();
        // Nothing may come in between the two.
        assert_works(&connection).await;
        assert_eq!(ids(&database), "");
    }
}

#[tokio::test]
async fn nested_interactions_are_savepoints() {
    let (database, connection) = with_table().await;
    bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        let kept = cursor.run_interaction(async |nested| insert(&nested, 2).await).await;
        assert!(kept.is_ok());
        let undone = cursor.run_interaction(async |nested| {
            insert(&nested, 3).await?;
            insert(&nested, 1).await
        });
        assert_eq!(undone.await.unwrap_err().sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
        // Deeper, where the inner one is kept and the outer one is not.
        let undone = cursor.run_interaction(async |nested| {
            insert(&nested, 4).await?;
            nested.run_interaction(async |inner| insert(&inner, 5).await).await?;
            Err::<(), _>(Error::new(ErrorKind::Request, "changed my mind"))
        });
        assert_eq!(undone.await.unwrap_err().to_string(), "changed my mind");
        // One that is given up in the middle.
        let (inserted, is_inserted) = oneshot::channel();
        let given_up = cursor.run_interaction(async |nested| {
            insert(&nested, 6).await?;
            inserted.send(()).unwrap();
            std::future::pending::<Result<(), Error>>().await
        });
        tokio::select! {
            _ = given_up => unreachable!(),
            sent = is_inserted => sent.unwrap(),
        }
        insert(&cursor, 7).await
    }))
    .await
    .unwrap();
    assert_eq!(ids(&database), "1 2 7");
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_nested_interaction_may_be_the_first_thing_asked() {
    let (database, connection) = with_table().await;
    bounded(connection.run_interaction(async |cursor| {
        let failed = cursor.run_interaction(async |nested| nested.run_query("nonsense", ()).await);
        assert!(failed.await.is_err());
        cursor.run_interaction(async |nested| insert(&nested, 1).await).await
    }))
    .await
    .unwrap();
    assert_eq!(ids(&database), "1");
}

#[tokio::test]
async fn a_cursor_ends_with_its_interaction() {
    let (database, connection) = with_table().await;
    let mut kept = None;
    bounded(connection.run_interaction(async |cursor| {
        let mut nested = None;
        cursor
            .run_interaction(async |inner| {
                insert(&inner, 1).await?;
                nested = Some(inner);
                Ok::<_, Error>(())
            })
            .await?;
        let error = insert(&nested.unwrap(), 2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InteractionEnded);
        kept = Some(cursor);
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    let cursor = kept.unwrap();
    for error in [
        bounded(insert(&cursor, 3)).await.unwrap_err(),
        bounded(cursor.run_script("insert into t values (3)")).await.unwrap_err(),
        bounded(cursor.run_interaction(async |nested| insert(&nested, 3).await)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InteractionEnded);
        assert_eq!(error.to_string(), "the cursor's interaction has ended");
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    // Nor does it get into somebody else's.
    bounded(connection.run_interaction(async |_| insert(&cursor, 4).await)).await.unwrap_err();
    assert_eq!(ids(&database), "1");
    assert_works(&connection).await;
}

#[tokio::test]
async fn calls_and_interactions_wait_for_one_another_in_order() {
    let (database, connection) = connected().await;
    connection.run_script("create table log (id serial, who text)").await.unwrap();
    // A statement that is not known yet takes two steps, and an interaction may go in between.
    let sql = "insert into log (who) values ($1)";
    connection.run_operation(sql, ("zeroth",)).await.unwrap();
    let (go, going) = oneshot::channel();
    let shared = connection.clone();
    let first = tokio::spawn(async move {
        shared
            .run_interaction(async |cursor| {
                cursor.run_operation("insert into log (who) values ('first')", ()).await?;
                going.await.ok();
                cursor.run_operation("insert into log (who) values ('first again')", ()).await
            })
            .await
    });
    let mut tasks = Vec::new();
    for who in ["call 1", "interaction 2", "call 3", "call 4", "interaction 5", "call 6"] {
        tokio::task::yield_now().await;
        let shared = connection.clone();
        tasks.push(tokio::spawn(async move {
            if who.starts_with("call") {
                return shared.run_operation(sql, (who,)).await;
            }
            shared
                .run_interaction(async |cursor| {
                    let one = cursor.run_operation(sql, (who,)).await?;
                    Ok(one + cursor.run_operation(sql, (who,)).await?)
                })
                .await
        }));
    }
    until_session(&database, connection.backend_pid().unwrap(), "state like 'idle in%'").await;
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    bounded(first).await.unwrap().unwrap();
    for task in tasks {
        bounded(task).await.unwrap().unwrap();
    }
    let log = database.sql("select string_agg(who, ', ' order by id) from log").unwrap();
    assert_eq!(
        log,
        "zeroth, first, first again, call 1, interaction 2, interaction 2, \
         call 3, call 4, interaction 5, interaction 5, call 6"
    );
}

#[tokio::test]
async fn closures_may_borrow_and_be_spawned() {
    let (database, connection) = with_table().await;
    let task = tokio::spawn(async move {
        let ids = [1, 2, 3];
        let mut seen = Vec::new();
        connection
            .run_interaction(async |cursor| {
                for id in &ids {
                    insert(&cursor, *id).await?;
                    cursor
                        .run_interaction(async |nested| {
                            insert(&nested, *id + 10).await?;
                            seen.push(*id);
                            Ok::<_, Error>(())
                        })
                        .await?;
                }
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        seen
    });
    assert_eq!(bounded(task).await.unwrap(), [1, 2, 3]);
    assert_eq!(ids(&database), "1 2 3 11 12 13");
}

/// An error as programs write it.
#[derive(Debug)]
enum Trouble {
    Database(Error),
    TooPoor(i64),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::TooPoor(sum) => write!(f, "only {sum} left"),
        }
    }
}

impl StdError for Trouble {}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

#[tokio::test]
async fn closures_have_errors_of_their_own() {
    let (database, connection) = with_table().await;
    let outcome = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        Err::<(), Trouble>(Trouble::TooPoor(3))
    }))
    .await;
    assert!(matches!(outcome, Err(Trouble::TooPoor(3))));
    let outcome = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        insert(&cursor, 1).await?;
        Ok::<(), Trouble>(())
    }))
    .await;
    let Err(Trouble::Database(error)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));

    let outcome = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        "one".parse::<i32>()?;
        Ok::<(), Box<dyn StdError + Send + Sync>>(())
    }))
    .await;
    assert_eq!(outcome.unwrap_err().to_string(), "invalid digit found in string");
    assert_eq!(ids(&database), "");
    assert_works(&connection).await;
}

#[tokio::test]
async fn what_was_chosen_is_in_force() {
    let (_database, connection) = connected().await;
    let settings = "select current_setting('transaction_isolation'), \
        current_setting('transaction_read_only'), current_setting('transaction_deferrable')";
    let rows = bounded(
        connection
            .interaction()
            .isolation_level(IsolationLevel::Serializable)
            .read_only(true)
            .deferrable(true)
            .run(async |cursor| cursor.run_query(settings, ()).await),
    )
    .await
    .unwrap();
    let row = rows.first().unwrap();
    let seen: [&str; 3] = [row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap()];
    assert_eq!(seen, ["serializable", "on", "on"]);
    let write = connection
        .interaction()
        .read_only(true)
        .run(async |cursor| cursor.run_operation("create table forbidden ()", ()).await);
    let error = bounded(write).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::READ_ONLY_SQL_TRANSACTION));
    assert_works(&connection).await;
    assert_eq!(count(&connection, "select count(*) from pg_class where relname = 't'").await, 0);
}

#[tokio::test]
async fn calls_of_one_cursor_are_pipelined_in_order() {
    let (database, connection) = with_table().await;
    bounded(connection.run_interaction(async |cursor| {
        let script = "create table u (id int); insert into u values (1)";
        let (script, query, inserted) = tokio::join!(
            cursor.run_script(script),
            cursor.run_query("select id from u", ()),
            insert(&cursor, 1),
        );
        script?;
        assert_eq!(query?.len(), 1);
        inserted
    }))
    .await
    .unwrap();
    assert_eq!(ids(&database), "1");
    // BEGIN was said once.
    assert_eq!(connection.notices().len(), 0, "{:?}", connection.notices());
}

/// Savepoints are a stack: a statement sent beside a nested interaction would be undone with it, and be called a success.
#[tokio::test]
async fn beside_a_nested_interaction_nothing_runs() {
    let (database, connection) = with_table().await;
    let outcome = bounded(connection.run_interaction(async |cursor| {
        insert(&cursor, 1).await?;
        let other = cursor.clone();
        let (first, second) = tokio::join!(
            cursor.run_interaction(async |nested| {
                insert(&nested, 2).await?;
                nested.run_query("select 1 / 0", ()).await.map(drop)
            }),
            other.run_interaction(async |nested| insert(&nested, 3).await),
        );
        assert_eq!(first.unwrap_err().sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
        let error = second.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request);
        assert!(error.to_string().starts_with("a nested interaction is running"), "{error}");
        let refused = cursor.run_interaction(async |_| insert(&other, 4).await).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Request);
        insert(&cursor, 5).await
    }))
    .await;
    outcome.unwrap();
    assert_eq!(ids(&database), "1 5");
}
