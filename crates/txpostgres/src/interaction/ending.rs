//! How a transaction ends: committed, rolled back, or left to a guard.

use std::error::Error as StdError;
use std::sync::Arc;

use txpostgres_session::{
    Delivery, Error, ErrorKind, Request, Result, SqlState, TransactionStatus,
};

use super::transaction::{Transaction, over};
use crate::call::Call;
use crate::caller::Caller;
use crate::cancel::Otherwise;
use crate::desk::rollback_failed;

/// Rolls back unless told otherwise: what happens when the closure panics or its future is dropped.
pub(super) struct Guard {
    transaction: Arc<Transaction>,
    pub(super) done: bool,
    /// The statement that runs is cancelled first.
    pub(super) cancels: bool,
}

impl Guard {
    pub(super) fn new(transaction: &Arc<Transaction>) -> Self {
        Self { transaction: Arc::clone(transaction), done: false, cancels: false }
    }

    /// Nothing is left to be done.
    pub(super) fn disarm(mut self) {
        self.done = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let transaction = &self.transaction;
        transaction.end();
        transaction.undo();
        if self.cancels {
            drop(transaction.link.cancel_inside(transaction.turn, Otherwise::GiveUpIfTold));
        }
        let mut desk = transaction.link.board.desk();
        let Some(inside) = desk.turnstile.inside(transaction.turn) else {
            return;
        };
        if !inside.has_begun() {
            drop(desk);
            if transaction.savepoint.is_none() {
                transaction.leave();
            }
            return;
        }
        if inside.over && transaction.savepoint.is_some() {
            // The savepoint has gone with the transaction.
            return;
        }
        let sql = transaction.roll_back_sql();
        let Ok(ticket) = desk.session.submit(Request::Script { sql: &sql }) else {
            // The session is over, and the transaction with it.
            return;
        };
        if transaction.savepoint.is_some() {
            desk.expect_nothing(ticket);
        } else {
            desk.expect_end(ticket, transaction.turn);
        }
        drop(desk);
        transaction.link.drive(None, true);
    }
}

/// Ends the transaction well, or says why it did not. Whatever comes out, the transaction is over afterwards, or the
/// caller's guard sees to it.
pub(super) async fn commit(transaction: &Arc<Transaction>) -> Result<()> {
    let link = &transaction.link;
    match state(transaction) {
        State::Untouched => {
            transaction.leave();
            return Ok(());
        }
        State::Over => {
            transaction.leave();
            return Err(over());
        }
        // The caller's guard ends the other one.
        State::Another => return Err(over()),
        State::Open => {}
    }
    let call = Call::script(Ok(Caller::End(Arc::clone(link))), "COMMIT");
    let outcome = call.answer(|answer| *answer.tag()).await;
    let is_over = link.board.desk().session.transaction_status() == TransactionStatus::Idle;
    if is_over {
        transaction.leave();
    }
    match outcome {
        Ok(tag) if tag.as_str() == "ROLLBACK" => Err(Error::new(
            ErrorKind::CommitRefused,
            "nothing was committed: a statement of the transaction had failed, and COMMIT became ROLLBACK",
        )
        .with_delivery(Delivery::Answered)
        .with_hint("return the error of the statement that failed, or run it in a nested interaction")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() != ErrorKind::Server && error.delivery() == Delivery::Unknown => {
            Err(Error::new(
                ErrorKind::CommitUnknown,
                "the connection broke after COMMIT was sent: whether it took place is unknown",
            )
            .with_delivery(Delivery::Unknown)
            .with_source(error))
        }
        Err(error) => Err(error),
    }
}

/// A nested interaction could not end well: why, in the words of its end.
pub(super) fn not_released(error: Error) -> Error {
    if error.sqlstate() != Some(SqlState::IN_FAILED_SQL_TRANSACTION) {
        return error;
    }
    Error::new(
        ErrorKind::CommitRefused,
        "nothing of the nested interaction was kept: one of its statements had failed, and its savepoint could not be released",
    )
    .with_delivery(Delivery::Answered)
    .with_hint("return the error of the statement that failed, or run it in a nested interaction of its own")
}

/// Undoes what was done, and gives the error that asked for it, or tells that it could not be undone.
pub(super) async fn roll_back<T, E>(
    transaction: &Arc<Transaction>,
    mut guard: Guard,
    original: E,
) -> Result<T, E>
where
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    transaction.undo();
    let link = &transaction.link;
    if link.board.desk().session.is_closed() {
        // The session is over; the server ends its transaction by itself.
        guard.disarm();
        return Err(original);
    }
    let is_done = match state(transaction) {
        State::Untouched | State::Over => true,
        // It has no such savepoint; the interaction's end ends it.
        State::Another => transaction.savepoint.is_some(),
        State::Open => false,
    };
    if is_done {
        if transaction.savepoint.is_none() {
            transaction.leave();
        }
        guard.disarm();
        return Err(original);
    }
    let sql = transaction.roll_back_sql();
    // A second ROLLBACK does no harm; a second one to the same savepoint would fail the whole transaction.
    guard.done = transaction.savepoint.is_some();
    let outcome = Call::script(Ok(Caller::End(Arc::clone(link))), &sql).answer(|_| ()).await;
    guard.disarm();
    match outcome {
        Ok(()) => {
            if transaction.savepoint.is_none() {
                transaction.leave();
            }
            Err(original)
        }
        // As if it had been gone before: the server ends the transaction by itself.
        Err(rollback)
            if rollback.kind() == ErrorKind::Lost && rollback.delivery() == Delivery::NotSent =>
        {
            Err(original)
        }
        Err(rollback) => {
            tracing::warn!(target: "txpostgres", error = %rollback, "ROLLBACK failed");
            link.give_up(rollback_failed(&rollback));
            Err(Error::rollback_failed(original, rollback).into())
        }
    }
}

enum State {
    /// No statement was sent: there is no transaction.
    Untouched,
    /// The transaction is open, in the server's words.
    Open,
    /// It is not any more.
    Over,
    /// Neither is it, but one of its statements has begun another one.
    Another,
}

fn state(transaction: &Transaction) -> State {
    let mut desk = transaction.link.board.desk();
    let status = desk.session.transaction_status();
    match desk.turnstile.inside(transaction.turn) {
        Some(inside) if inside.over && status == TransactionStatus::Idle => State::Over,
        Some(inside) if inside.over => State::Another,
        Some(inside) if inside.has_begun() => State::Open,
        Some(_) => State::Untouched,
        // The session is over: COMMIT will say so.
        None => State::Open,
    }
}
