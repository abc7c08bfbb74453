//! Each way of writing rows, as calls of the client.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};
use txpostgres::{Connection, Cursor, Error, ErrorKind};

use crate::outcome::Outcome;
use crate::way::Way;

const INSERT: &str = "insert into ledger (id) values ($1)";

/// A statement that takes long enough to be cancelled while it runs.
const SLOW: &str = "insert into ledger (id) select $1::bigint from pg_sleep(0.004)";

/// A row that the deferred constraint refuses at COMMIT.
const ORPHAN: &str = "insert into ledger (id, parent) values ($1, -1)";

/// What was told of one row.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) error: Option<String>,
}

impl Told {
    fn of_statement<T>(result: &Result<T, Error>) -> Self {
        Self { outcome: Outcome::of_statement(result), error: text_of(result) }
    }

    fn of_interaction<T>(result: &Result<T, Error>) -> Self {
        Self { outcome: Outcome::of_interaction(result), error: text_of(result) }
    }

    /// Nothing was told.
    pub(crate) fn nothing(why: &str) -> Self {
        Self { outcome: Outcome::Unknown, error: Some(why.to_owned()) }
    }
}

fn text_of<T>(result: &Result<T, Error>) -> Option<String> {
    let error = result.as_ref().err()?;
    Some(format!("{:?}, {:?}: {error}", error.kind(), error.delivery()))
}

/// How many rows a call of this way writes.
pub(crate) fn rows_of(way: Way) -> usize {
    match way {
        Way::Script | Way::Nested => 2,
        Way::Batch | Way::Many | Way::Copy => 3,
        _ => 1,
    }
}

/// Writes rows with these numbers. Returns what was told of each, in their order.
pub(crate) async fn write(
    connection: &Connection,
    way: Way,
    ids: &[i64],
    dice: &mut Rng,
) -> Vec<Told> {
    let id = ids.first().copied().unwrap_or_default();
    match way {
        Way::Script | Way::Batch | Way::Many | Way::Copy => several(connection, way, ids).await,
        Way::Nested => nested(connection, ids, dice).await,
        Way::Operation | Way::Impatient | Way::Unreadable | Way::Refused => {
            vec![statement(connection, way, id).await]
        }
        Way::Cancelled | Way::Limited | Way::Dropped | Way::CancelledOnDrop => {
            vec![given_up(connection, way, id, dice).await]
        }
        Way::Interaction
        | Way::FailedClosure
        | Way::FailedStatement
        | Way::IgnoredFailure
        | Way::FailedCommit
        | Way::DroppedInteraction
        | Way::LimitedInteraction => vec![interaction(connection, way, id, dice).await],
    }
}

async fn statement(connection: &Connection, way: Way, id: i64) -> Told {
    match way {
        Way::Unreadable => {
            let sql = "insert into ledger (id) values ($1) returning 'no number'::text";
            Told::of_statement(&connection.run_query_as::<(i64,), _>(sql, (id,)).await)
        }
        Way::Impatient => {
            let call = connection.run_operation(INSERT, (id,));
            Told::of_statement(&call.wait_for_recovery(Duration::ZERO).await)
        }
        // A number below 0 is refused by a constraint.
        Way::Refused => Told::of_statement(&connection.run_operation(INSERT, (-1 - id,)).await),
        _ => Told::of_statement(&connection.run_operation(INSERT, (id,)).await),
    }
}

/// A statement that is given up at some time.
async fn given_up(connection: &Connection, way: Way, id: i64, dice: &mut Rng) -> Told {
    let after = Duration::from_micros(dice.u64(0..12_000));
    let dropped = || Told::nothing("dropped");
    match way {
        Way::Cancelled => {
            let mut call = connection.run_operation(SLOW, (id,));
            let handle = call.cancel_handle();
            tokio::spawn(async move {
                sleep(after).await;
                handle.cancel().await.ok();
            });
            Told::of_statement(&call.await)
        }
        Way::Limited => {
            Told::of_statement(&connection.run_operation(SLOW, (id,)).timeout(after).await)
        }
        Way::CancelledOnDrop => {
            let call = connection.run_operation(SLOW, (id,)).cancel_on_drop();
            timeout(after, call).await.map_or_else(|_| dropped(), |told| Told::of_statement(&told))
        }
        _ => {
            let call = connection.run_operation(INSERT, (id,));
            let told = timeout(after / 4, call).await;
            told.map_or_else(|_| dropped(), |told| Told::of_statement(&told))
        }
    }
}

/// Several rows by one call.
async fn several(connection: &Connection, way: Way, ids: &[i64]) -> Vec<Told> {
    let same =
        |result: Result<(), Error>| ids.iter().map(|_| Told::of_statement(&result)).collect();
    match way {
        Way::Script => {
            let insert = |id: &i64| format!("insert into ledger (id) values ({id})");
            let script: Vec<String> = ids.iter().map(insert).collect();
            same(connection.run_script(&script.join("; ")).await.map(drop))
        }
        Way::Batch => {
            let mut batch = connection.batch();
            for id in ids {
                batch.push(INSERT, (*id,));
            }
            match batch.send().await {
                Ok(results) => results.iter().map(Told::of_statement).collect(),
                Err(error) => same(Err(error)),
            }
        }
        Way::Copy => same(copied(connection, ids).await),
        _ => {
            let sets = ids.iter().map(|id| (*id,));
            same(connection.execute_many(INSERT, sets).await.map(drop))
        }
    }
}

async fn copied(connection: &Connection, ids: &[i64]) -> Result<(), Error> {
    let mut copy = connection.copy_in_rows("ledger", &["id"]).await?;
    for id in ids {
        copy.send((*id,)).await?;
    }
    copy.finish().await.map(drop)
}

fn on_purpose() -> Error {
    Error::new(ErrorKind::Request, "on purpose")
}

/// What happens in the closure of an interaction.
async fn within(cursor: Cursor, way: Way, id: i64, pause: Duration) -> Result<(), Error> {
    let insert = if way == Way::FailedCommit { ORPHAN } else { INSERT };
    cursor.run_operation(insert, (id,)).await?;
    if !pause.is_zero() {
        sleep(pause).await;
    }
    match way {
        Way::FailedClosure => Err(on_purpose()),
        Way::FailedStatement => cursor.run_query("select 1 / 0", ()).await.map(drop),
        Way::IgnoredFailure => {
            cursor.run_query("select 1 / 0", ()).await.ok();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// How long an interaction does nothing: mostly not at all.
fn idleness(dice: &mut Rng) -> Duration {
    let is_idle = dice.u8(0..4) == 0;
    Duration::from_micros(if is_idle { dice.u64(0..4_000) } else { 0 })
}

async fn interaction(connection: &Connection, way: Way, id: i64, dice: &mut Rng) -> Told {
    let (pause, after) = (idleness(dice), Duration::from_micros(dice.u64(0..8_000)));
    let closure = async move |cursor| within(cursor, way, id, pause).await;
    match way {
        Way::DroppedInteraction => {
            let told = timeout(after, connection.run_interaction(closure)).await;
            told.map_or_else(|_| Told::nothing("dropped"), |told| Told::of_interaction(&told))
        }
        Way::LimitedInteraction => {
            let limited = connection.interaction().timeout(after);
            Told::of_interaction(&limited.run(closure).await)
        }
        _ => Told::of_interaction(&connection.run_interaction(closure).await),
    }
}

/// The second row is written in a savepoint that is given up, and the first is committed.
async fn nested(connection: &Connection, ids: &[i64], dice: &mut Rng) -> Vec<Told> {
    let &[outer, inner] = ids else { return Vec::new() };
    let pause = idleness(dice);
    let result = connection
        .run_interaction(async move |cursor: Cursor| {
            let undone: Result<(), Error> = cursor
                .run_interaction(async |nested: Cursor| {
                    nested.run_operation(INSERT, (inner,)).await?;
                    Err(on_purpose())
                })
                .await;
            if let Err(error) = undone
                && error.to_string() != on_purpose().to_string()
            {
                return Err(error);
            }
            within(cursor, Way::Interaction, outer, pause).await
        })
        .await;
    // Whatever becomes of the transaction, the savepoint's row is never kept.
    let never = Told { outcome: Outcome::Rejected, error: text_of(&result) };
    vec![Told::of_interaction(&result), never]
}
