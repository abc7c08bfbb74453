//! Rows as they come.

use std::time::Duration;

use super::ledger::{Oops, Told};
use super::op::Op;
use super::rows::Reader;
use super::statements::Values;
use super::{Env, Target};

pub(super) async fn stream(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let values = Values::of(op, op.token());
    let mut stream = target.query_stream(op.sql(), values.list(op));
    if let Some(bytes) = op.bytes {
        stream = stream.limit(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    env.note(op, || stream.cancel_handle());
    if let Some(ms) = op.limit {
        stream = stream.timeout(Duration::from_millis(ms.into()));
    }
    let mut reader = Reader::new(op, op.token(), op.shift());
    // One by one at first, then as they came together.
    while op.take.is_none_or(|take| reader.count() < take) {
        let before = reader.bytes;
        if reader.count() < 3 {
            match stream.next().await {
                Some(row) => env.wrong(op, reader.row(row?.as_row())),
                None => break,
            }
        } else {
            match stream.next_rows().await? {
                Some(rows) => env.wrong(op, reader.rows(&rows)),
                None => break,
            }
        }
        env.ledger.tell(Told::Handed { op: op.id, bytes: reader.bytes - before });
    }
    if op.take.is_none() {
        env.wrong(op, reader.end());
    }
    Ok(())
}
