//! Statements that return no rows of their own: transactions, channels, cursors, what is forgotten.

use super::backend::{Around, Backend, Outcome, Refusal, malformed};
use super::cursor::Cursor;
use super::happened::Happened;
use super::run::{End, Run, put_value};
use super::statement::Statement;
use super::transaction::{Listening, State};
use super::work::Work;
use crate::token::Token;
use crate::wire;

impl Backend {
    /// What needs no rows.
    pub(super) fn act(
        &mut self,
        run: &Run,
        statement: &Statement,
        around: &mut Around<'_>,
    ) -> Outcome<End> {
        let is_open = self.transaction.state == State::Explicit;
        let mut tag = statement.tag();
        match statement {
            Statement::Begin => self.transaction.state = State::Explicit,
            Statement::Commit { chains } => {
                if self.transaction.state == State::Failed {
                    tag = "ROLLBACK";
                    self.roll_back(around);
                } else if self.transaction.state != State::None {
                    self.commit(around)?;
                }
                self.chain(*chains, around);
            }
            Statement::Rollback { chains } => {
                self.roll_back(around);
                self.chain(*chains, around);
            }
            Statement::Savepoint(name) if is_open => self.transaction.save(name),
            Statement::Release(name) if is_open => {
                let is_there = self.transaction.release(name);
                is_there.then_some(()).ok_or(NO_SAVEPOINT)?;
            }
            Statement::RollbackTo(name) => {
                let done = self.transaction.roll_back_to(name).ok_or(NO_SAVEPOINT)?;
                around.database.undo(&done);
            }
            Statement::Savepoint(_) | Statement::Release(_) => return Err(NO_TRANSACTION),
            Statement::Listen(channel) => {
                self.transaction.done.listens.push(Listening::Begin(channel.clone()));
            }
            Statement::Unlisten(Some(channel)) => {
                self.transaction.done.listens.push(Listening::End(channel.clone()));
            }
            Statement::Unlisten(None) => {
                self.transaction.done.listens.push(Listening::EndAll);
                around.happened.push(Happened::Forgot { what: "channels" });
            }
            Statement::Notify => self.notify(run)?,
            Statement::Declare { name, scrolls, holds, work } => {
                self.declare(run, name, *scrolls, *holds, work, around)?;
            }
            Statement::Close(name) => {
                let closed = self.cursors.remove(name);
                closed.ok_or(Refusal("34000", "no such cursor", "PerformPortalClose"))?;
            }
            Statement::DiscardAll if is_open => return Err(Refusal("25001", "in a block", "")),
            Statement::DiscardAll | Statement::DeallocateAll => self.forget(statement, around),
            Statement::Alter(table) => {
                let before = around.database.alter(*table);
                self.transaction.done.altered.push((*table, before));
                around.happened.push(Happened::Forgot { what: "shape" });
            }
            _ => {}
        }
        Ok(End::Complete(tag.to_owned()))
    }

    fn forget(&mut self, statement: &Statement, around: &mut Around<'_>) {
        self.prepared.clear();
        let discards = *statement == Statement::DiscardAll;
        if discards {
            self.transaction.done.listens.push(Listening::EndAll);
            self.cursors.clear();
        }
        let what = if discards { "all" } else { "statements" };
        around.happened.push(Happened::Forgot { what });
    }

    fn chain(&mut self, chains: bool, around: &mut Around<'_>) {
        if chains {
            self.transaction.begin(&mut around.database.transactions);
            self.transaction.state = State::Explicit;
        }
    }

    fn notify(&mut self, run: &Run) -> Outcome {
        let [channel, payload] = run.parameters.texts.as_slice() else {
            return Err(malformed());
        };
        self.transaction.done.notifies.push((channel.clone(), payload.clone()));
        let op = payload.parse::<Token>().unwrap_or_default().op;
        self.output.put(op, |out| {
            wire::put(out, b'D', |out| {
                wire::put_short(out, 1);
                put_value(out, b"");
            });
        });
        Ok(())
    }

    fn declare(
        &mut self,
        run: &Run,
        name: &str,
        scrolls: bool,
        holds: bool,
        work: &Work,
        around: &mut Around<'_>,
    ) -> Outcome {
        if self.cursors.contains_key(name) {
            return Err(Refusal("42P03", "cursor already exists", "CreatePortal"));
        }
        if !holds && self.transaction.state != State::Explicit {
            return Err(NO_TRANSACTION);
        }
        let token = work.token.or(run.parameters.token);
        if let Some(token) = token {
            self.started(token, around);
        }
        let cursor = Cursor::new(work.clone(), token, run.parameters.shift, scrolls, holds);
        self.cursors.insert(name.to_owned(), cursor);
        Ok(())
    }
}

const NO_SAVEPOINT: Refusal = Refusal("3B001", "savepoint does not exist", "RollbackToSavepoint");
const NO_TRANSACTION: Refusal =
    Refusal("25P01", "can only be used in transaction blocks", "CheckTransactionBlock");
