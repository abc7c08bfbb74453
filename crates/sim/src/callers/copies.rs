//! COPY in and out, as data and as rows.

use std::time::Duration;

use txpostgres::BeginCopy;

use super::ledger::{Oops, Told};
use super::op::{End, Op};
use super::rows::Reader;
use super::{Env, Target};
use crate::server::{BAD_LINE, Fail, PLANNED};
use crate::token::Token;

fn begun<'a, C>(env: &Env, op: &Op, mut begin: BeginCopy<'a, C>) -> BeginCopy<'a, C> {
    env.note(op, || begin.cancel_handle());
    match op.limit {
        Some(ms) => begin.timeout(Duration::from_millis(ms.into())),
        None => begin,
    }
}

/// Lines of a token each.
pub(super) async fn copy_in(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let sql = format!("copy {} from stdin", op.token());
    let mut copy = begun(env, op, target.copy_in(&sql)).await?;
    for item in 1..=op.count {
        let is_bad = op.work.fail == Fail::Row(item);
        let line = if is_bad {
            format!("{BAD_LINE}\n")
        } else {
            format!("{}\n", Token::item(op.id, item))
        };
        // Cut anywhere: the server joins what it gets.
        let (head, tail) = line.split_at(line.len() / 2);
        copy.send(head).await?;
        copy.send(tail).await?;
        if item % 16 == 0 {
            copy.flush().await?;
        }
    }
    match op.end {
        End::Well | End::Heedless => {
            let count = copy.finish().await?;
            let expected = u64::from(op.count);
            env.wrong(op, (count == expected).then_some(()).ok_or(format!("{count} lines")));
            Ok(())
        }
        End::Dropped => Err(Oops::Planned),
        End::Badly | End::Panic => {
            copy.abort(PLANNED).await?;
            Err(Oops::Planned)
        }
    }
}

/// Rows of a token and a number.
pub(super) async fn copy_in_rows(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let table = op.token().to_string();
    let mut copy = begun(env, op, target.copy_in_rows(&table, &["a", "b"])).await?;
    for item in 1..=op.count {
        copy.send((Token::item(op.id, item).to_string(), i64::from(item))).await?;
    }
    match op.end {
        End::Well | End::Heedless => {
            let count = copy.finish().await?;
            let expected = u64::from(op.count);
            env.wrong(op, (count == expected).then_some(()).ok_or(format!("{count} rows")));
            Ok(())
        }
        End::Dropped => Err(Oops::Planned),
        End::Badly | End::Panic => {
            copy.abort(PLANNED).await?;
            Err(Oops::Planned)
        }
    }
}

pub(super) async fn copy_out(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let sql = format!("copy ({}) to stdout", op.sql());
    let mut copy = begun(env, op, target.copy_out(&sql)).await?;
    let mut reader = Reader::new(op, op.token(), 0);
    let mut line = Vec::new();
    while op.take.is_none_or(|take| reader.count() < take) {
        let Some(data) = copy.next().await else {
            env.wrong(op, reader.end());
            return Ok(());
        };
        let data = data?;
        env.ledger.tell(Told::Handed { op: op.id, bytes: data.len() as u64 });
        line.extend(&data[..]);
        while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            let row: Vec<u8> = line.drain(..=end).collect();
            let text = String::from_utf8_lossy(&row);
            let mut values = text.trim_end_matches('\n').split('\t');
            let values = (values.next(), values.next().map(str::parse), values.next());
            let (Some(token), Some(Ok(number)), Some(filler)) = values else {
                env.wrong(op, Err(format!("a line of {} is no row: {text}", op.token())));
                return Ok(());
            };
            env.wrong(op, reader.values(token, number, filler));
        }
    }
    Ok(())
}

pub(super) async fn copy_out_rows(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let sql = op.sql();
    let mut copy = begun(env, op, target.copy_out_rows(&sql)).await?;
    let mut reader = Reader::new(op, op.token(), 0);
    while op.take.is_none_or(|take| reader.count() < take) {
        let before = reader.bytes;
        let Some(row) = copy.next().await else {
            env.wrong(op, reader.end());
            return Ok(());
        };
        env.wrong(op, reader.row(row?.as_row()));
        env.ledger.tell(Told::Handed { op: op.id, bytes: reader.bytes - before });
    }
    Ok(())
}
