//! Statements, one at a time and several together.

use std::time::Duration;

use txpostgres::{
    Batch, Cursor, Error, ErrorKind, Params, Result as Answer, ResultSet, RunOperation, RunQuery,
    RunScript,
};

use super::ledger::{Oops, Outcome};
use super::op::{Kind, Op};
use super::rows::Reader;
use super::{Env, Target};
use crate::token::Token;

/// The values of a statement's parameters.
pub(super) struct Values {
    token: String,
    shift: i64,
}

impl Values {
    pub(super) fn of(op: &Op, token: Token) -> Self {
        Self { token: token.to_string(), shift: op.shift() }
    }

    /// Those that the statement takes.
    pub(super) fn list(&self, op: &Op) -> Vec<&(dyn txpostgres::types::ToSql + Sync)> {
        let mut list: Vec<&(dyn txpostgres::types::ToSql + Sync)> = Vec::new();
        if op.work.token.is_none() {
            list.push(&self.token);
        }
        if op.work.shifts {
            list.push(&self.shift);
        }
        list
    }
}

/// One statement.
pub(super) async fn statement(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let (sql, values) = (op.sql(), Values::of(op, op.token()));
    let list = values.list(op);
    let mut reader = Reader::new(op, op.token(), op.shift());
    if op.work.inserts && op.kind != Kind::Execute {
        let mut call = target.run_operation(&sql, list);
        env.note(op, || call.cancel_handle());
        call = limited(op, call, RunOperation::timeout);
        call = if op.drops { call.cancel_on_drop() } else { call };
        let count = call.await?;
        env.wrong(op, (count == 1).then_some(()).ok_or(format!("{count} rows were inserted")));
        return Ok(());
    }
    if op.kind == Kind::Execute {
        return execute(env, &target.cursor(), op, &sql, list).await;
    }
    let mut call = target.run_query(&sql, list);
    env.note(op, || call.cancel_handle());
    call = limited(op, call, RunQuery::timeout);
    call = if op.drops { call.cancel_on_drop() } else { call };
    match op.kind {
        Kind::Text => {
            let rows = call.in_text().await?;
            let numbers = rows.iter().enumerate().all(|(index, row)| {
                let number = i64::try_from(index).unwrap_or(0) + op.shift();
                row.get::<&str>(1).is_ok_and(|text| text == number.to_string())
                    && row.get::<String>(0).is_ok_and(|token| token == op.token().to_string())
            });
            env.wrong(op, numbers.then_some(()).ok_or("a row in text is another".to_owned()));
            count(env, op, rows.len());
        }
        Kind::Shape => {
            for (token, number, filler) in call.rows_as::<(String, i64, String)>().await? {
                env.wrong(op, reader.values(&token, number, &filler));
            }
            count(env, op, usize::try_from(reader.count()).unwrap_or(0));
        }
        Kind::One => {
            let row = call.one().await?;
            env.wrong(op, reader.row(row.as_row()));
        }
        _ => {
            let rows = call.await?;
            env.wrong(op, reader.rows(&rows).and_then(|()| reader.end()));
        }
    }
    Ok(())
}

fn count(env: &Env, op: &Op, rows: usize) {
    let expected = usize::try_from(op.work.rows).unwrap_or(0);
    env.wrong(op, (rows == expected).then_some(()).ok_or(format!("{rows} of {expected} rows")));
}

fn limited<C>(op: &Op, call: C, limit: impl FnOnce(C, Duration) -> C) -> C {
    match op.limit {
        Some(ms) => limit(call, Duration::from_millis(ms.into())),
        None => call,
    }
}

/// A statement of a cursor, whose rows are fetched.
async fn execute(
    env: &Env,
    cursor: &Cursor,
    op: &Op,
    sql: &str,
    list: impl Params,
) -> Result<(), Oops> {
    cursor.execute(sql, list).await?;
    if op.work.inserts {
        return Ok(());
    }
    let mut reader = Reader::new(op, op.token(), op.shift());
    if let Some(row) = cursor.fetch_one()? {
        env.wrong(op, reader.row(row.as_row()));
    }
    for row in cursor.fetch_many(3)? {
        env.wrong(op, reader.row(row.as_row()));
    }
    env.wrong(op, reader.rows(&cursor.fetch_all()?).and_then(|()| reader.end()));
    Ok(())
}

/// What a text of several statements is made of.
fn text_of(op: &Op) -> String {
    let texts: Vec<String> = op
        .body
        .iter()
        .map(|op| if op.kind.is_statement() { op.sql() } else { raw_text(op) })
        .collect();
    texts.join("; ")
}

/// SQL that changes what a session knows.
pub(super) fn raw_text(op: &Op) -> String {
    match op.kind {
        Kind::Discard => "discard all".to_owned(),
        Kind::Deallocate => "deallocate all".to_owned(),
        Kind::Forget => "unlisten *".to_owned(),
        Kind::Listen => format!("listen c{}", op.of),
        _ => format!("alter table {}", op.of),
    }
}

pub(super) async fn raw(target: &Target, op: &Op) -> Result<(), Oops> {
    target.run_script(&raw_text(op)).await?;
    Ok(())
}

/// Statements in one text.
pub(super) async fn script(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let text = text_of(op);
    let mut call = target.run_script(&text);
    env.note(op, || call.cancel_handle());
    call = limited(op, call, RunScript::timeout);
    call = if op.drops { call.cancel_on_drop() } else { call };
    let results = call.await?;
    if results.len() != op.body.len() {
        let why = format!("{} of {} results came", results.len(), op.body.len());
        env.wrong(op, Err(why));
    }
    for (op, result) in op.body.iter().zip(&results) {
        env.wrong(op, is_own(op, result, true));
    }
    Ok(())
}

/// Whether a result is this statement's. In a script all values are texts.
fn is_own(op: &Op, result: &ResultSet, in_text: bool) -> Result<(), String> {
    if !op.kind.is_statement() || op.work.inserts {
        return Ok(());
    }
    let mut reader = Reader::new(op, op.token(), op.shift());
    if !in_text {
        return reader.rows(result.rows()).and_then(|()| reader.end());
    }
    for row in result.rows() {
        let read = (row.get::<&str>(0), row.get::<&str>(2), row.get::<String>(1));
        let (Ok(token), Ok(filler)) = (&read.0, &read.1) else {
            return Err(format!("a row of a script cannot be read: {read:?}"));
        };
        let number = row.raw(1).ok().flatten().and_then(|raw| std::str::from_utf8(raw).ok());
        let number = number.and_then(|text| text.parse().ok()).unwrap_or(-1);
        reader.values(token, number, filler)?;
    }
    reader.end()
}

/// Statements in one flight.
pub(super) async fn batch(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let texts: Vec<(String, Values)> =
        op.body.iter().map(|op| (op.sql(), Values::of(op, op.token()))).collect();
    let mut batch = target.batch();
    for (op, (sql, values)) in op.body.iter().zip(&texts) {
        batch.push(sql.as_str(), values.list(op));
    }
    env.note(op, || batch.cancel_handle());
    batch = limited(op, batch, Batch::timeout);
    batch = if op.drops { batch.cancel_on_drop() } else { batch };
    let beginnings: Vec<_> = op.body.iter().map(|op| env.ledger.begin(op.id)).collect();
    let results = batch.send().await?;
    let mut first = None;
    for ((op, beginning), result) in op.body.iter().zip(beginnings).zip(results) {
        match result {
            Ok(result) => {
                env.wrong(op, is_own(op, &result, false));
                beginning.end(Outcome::Well);
            }
            Err(error) => {
                let oops = Oops::Library(error);
                beginning.end(Outcome::from(&oops));
                first = first.or(Some(oops));
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// One statement with many sets of parameters.
pub(super) async fn many(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let (sql, shift) = (op.sql(), op.shift());
    let sets: Vec<(String, i64)> =
        (1..=op.count).map(|item| (Token::item(op.id, item).to_string(), shift)).collect();
    let count: Answer<u64> = match target {
        Target::Connection(connection) => connection.execute_many(&sql, &sets).await,
        Target::Cursor(cursor) => cursor.clone().execute_many(&sql, &sets).await,
    };
    let count = count?;
    let each = if op.work.inserts { 1 } else { u64::from(op.work.rows) };
    let expected = each * u64::from(op.count);
    env.wrong(op, (count == expected).then_some(()).ok_or(format!("{count} of {expected} rows")));
    Ok(())
}

/// Cancels another operation, and waits until that has ended.
pub(super) async fn cancel(env: &Env, op: &Op) -> Result<(), Oops> {
    match env.ledger.handle(op.of) {
        Some(handle) => Ok(env.connection.cancel(&handle).await?),
        None => Err(Error::new(ErrorKind::Request, "there is no such handle").into()),
    }
}
