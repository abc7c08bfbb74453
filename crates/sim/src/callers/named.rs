//! A cursor that lives in the server: declared, read in several ways, closed or dropped.

use std::time::Duration;

use txpostgres::{FetchDirection, NamedCursor};

use super::ledger::Oops;
use super::op::{End, Op};
use super::rows::Reader;
use super::statements::Values;
use super::{Env, Target};

/// Reads the first rows one by one, the next ones together, then goes back if it can, and reads
/// all.
pub(super) async fn named(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let (sql, values) = (op.sql(), Values::of(op, op.token()));
    let mut builder = target.cursor().named(&format!("n{}", op.id)).rows_ahead(op.count.max(1));
    let scrolls = op.of % 2 == 1;
    builder = builder.scroll(scrolls);
    if matches!(target, Target::Connection(_)) {
        builder = builder.with_hold(true);
    }
    env.note(op, || builder.cancel_handle());
    if let Some(ms) = op.limit {
        builder = builder.timeout(Duration::from_millis(ms.into()));
    }
    let mut cursor = builder.open(&sql, values.list(op)).await?;
    let mut reader = Reader::new(op, op.token(), op.shift());
    let ones = op.take.unwrap_or(2).min(op.work.rows);
    while reader.count() < ones {
        match cursor.next().await? {
            Some(row) => env.wrong(op, reader.row(row.as_row())),
            None => env.wrong(op, Err(format!("row {} is missing", reader.count()))),
        }
    }
    let rows = cursor.fetch(FetchDirection::Forward(2)).await?;
    env.wrong(op, reader.rows(&rows));
    if scrolls {
        back(env, op, &mut cursor).await?;
    } else {
        let rows = cursor.fetch(FetchDirection::ForwardAll).await?;
        env.wrong(op, reader.rows(&rows).and_then(|()| reader.end()));
    }
    if op.end != End::Dropped {
        cursor.close().await?;
    }
    Ok(())
}

async fn back(env: &Env, op: &Op, cursor: &mut NamedCursor) -> Result<(), Oops> {
    cursor.move_to(FetchDirection::Absolute(0)).await?;
    let rows = cursor.fetch(FetchDirection::ForwardAll).await?;
    let mut reader = Reader::new(op, op.token(), op.shift());
    env.wrong(op, reader.rows(&rows).and_then(|()| reader.end()));
    if op.work.rows > 1 {
        let rows = cursor.fetch(FetchDirection::Last).await?;
        let mut reader = Reader::new(op, op.token(), op.shift()).at(op.work.rows - 1);
        env.wrong(op, reader.rows(&rows).and_then(|()| reader.end()));
    }
    Ok(())
}
