//! What becomes of a query with each answer: a step on the way, its end, or a reason to ask anew.

use std::sync::Arc;

use super::refusal::{Staleness, staleness};
use super::{Held, Lookup, NextStep, Purpose, Query, RETRIES, Stage, TypeAge, Waiting};
use crate::error::{Error, ErrorKind, Result};
use crate::result::answer::Answer;
use crate::result::row::Column;
use crate::session::Session;
use crate::statement::Statement;
use crate::statement::text::is_worth_keeping;
use crate::transaction_status::TransactionStatus;

impl Query {
    /// Takes the answer to what was submitted, and the transaction status that came with it.
    // The usual case is inlined, for every query.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn settled(
        &mut self,
        session: &mut Session,
        sql: &str,
        outcome: Result<Box<Answer>>,
        status: TransactionStatus,
    ) -> NextStep {
        match outcome {
            Ok(answer) if matches!(self.stage, Stage::Running) => NextStep::Done(Ok(answer)),
            outcome => self.settled_otherwise(session, sql, outcome, status),
        }
    }

    #[inline(never)]
    fn settled_otherwise(
        &mut self,
        session: &mut Session,
        sql: &str,
        outcome: Result<Box<Answer>>,
        status: TransactionStatus,
    ) -> NextStep {
        match (std::mem::take(&mut self.stage), outcome) {
            (Stage::Preparing { name, ticket }, Ok(answer)) => {
                let held = Held::Description(answer);
                self.look_up(session, sql, Waiting { name, ticket: Some(ticket), held }, status)
            }
            (Stage::Fresh { name, ticket }, Ok(answer)) => {
                let held = Held::Answer(answer);
                self.look_up(session, sql, Waiting { name, ticket: Some(ticket), held }, status)
            }
            (Stage::Anew, Ok(answer)) => {
                let waiting =
                    Waiting { name: String::new(), ticket: None, held: Held::Answer(answer) };
                self.look_up(session, sql, waiting, status)
            }
            (Stage::LookingUp(lookup), outcome) => {
                let Lookup { asked, waiting } = *lookup;
                let learnt = outcome.and_then(|mut answer| {
                    let learnt = session.catalog().learn(&asked, &answer.take_rows());
                    session.recycle(answer);
                    learnt
                });
                self.looked_up(session, sql, waiting, learnt, status)
            }
            (_, Ok(answer)) => NextStep::Done(Ok(answer)),
            (stage, Err(error)) => self.failed(session, sql, &stage, error, status),
        }
    }

    /// Goes on with what is there, if all of its types are known; else these are to be asked for
    /// first.
    fn look_up(
        &mut self,
        session: &mut Session,
        sql: &str,
        waiting: Waiting,
        status: TransactionStatus,
    ) -> NextStep {
        let (Held::Description(answer) | Held::Answer(answer)) = &waiting.held;
        let columns = answer.described().iter().map(Column::type_);
        let parameters = answer.parameters.iter().flatten();
        let types = parameters.chain(columns);
        let anew = self.types == TypeAge::Outdated;
        let (asked, are_all) = session.catalog().unknown(types, anew);
        self.types = if are_all { TypeAge::Fresh } else { TypeAge::Mixed };
        if asked.is_empty() {
            return self.go_on(session, sql, waiting, true);
        }
        if status == TransactionStatus::Failed {
            return self.go_on(session, sql, waiting, false);
        }
        self.stage = Stage::LookingUp(Box::new(Lookup { asked, waiting }));
        NextStep::Again
    }

    /// The types have been looked up, or could not be.
    fn looked_up(
        &mut self,
        session: &mut Session,
        sql: &str,
        waiting: Waiting,
        learnt: Result<()>,
        status: TransactionStatus,
    ) -> NextStep {
        match (learnt, &waiting.held) {
            (Ok(()), _) => self.go_on(session, sql, waiting, true),
            (Err(error), Held::Description(_))
                if status == TransactionStatus::Failed || error.kind() != ErrorKind::Server =>
            {
                // The statement could only fail as well, and say less.
                session.statements().discard(&waiting.name);
                NextStep::Done(Err(error.with_statement(sql)))
            }
            (Err(_), _) => self.go_on(session, sql, waiting, false),
        }
    }

    /// Goes on with the types that are known. What is not `complete` is not remembered.
    fn go_on(
        &mut self,
        session: &mut Session,
        sql: &str,
        Waiting { name, ticket, held }: Waiting,
        complete: bool,
    ) -> NextStep {
        let was_dropped = ticket.is_some_and(|ticket| session.statements().has_dropped(ticket));
        let remembers = !was_dropped && session.remembers();
        let catalog = session.catalog();
        let stale_flag = catalog.stale_flag().clone();
        match held {
            Held::Description(mut answer) => {
                let mut parameters = answer.parameters.take().unwrap_or_default();
                catalog.resolve(&mut parameters);
                let columns = catalog.resolve_columns(answer.columns());
                let columns = catalog.in_best_format(columns, self.any_in_text);
                answer.describe(columns.clone());
                let text_only = catalog.text_only(&parameters);
                let statement = Statement::new(name, sql.into(), parameters, columns)
                    .with_text_only(text_only)
                    .with_stale_flag(&stale_flag);
                let statement = Arc::new(statement);
                if was_dropped && self.purpose != Purpose::Describe {
                    session.recycle(answer);
                    return NextStep::Again;
                }
                if complete && remembers {
                    session.statements().insert(Arc::clone(&statement));
                } else {
                    session.statements().close(&statement);
                }
                if self.purpose == Purpose::Describe {
                    return NextStep::Done(Ok(answer));
                }
                session.recycle(answer);
                self.stage = Stage::Described { statement };
                NextStep::Again
            }
            Held::Answer(mut answer) => {
                let columns = catalog.resolve_columns(answer.columns());
                answer.describe(columns.clone());
                if complete && remembers && !name.is_empty() {
                    let columns = catalog.in_best_format(columns, self.any_in_text);
                    let statement = Statement::new(name, sql.into(), Vec::new(), columns)
                        .with_stale_flag(&stale_flag);
                    session.statements().insert(Arc::new(statement));
                } else {
                    session.statements().discard(&name);
                }
                NextStep::Done(Ok(answer))
            }
        }
    }

    /// The statement has failed, perhaps only for now.
    fn failed(
        &mut self,
        session: &mut Session,
        sql: &str,
        stage: &Stage,
        error: Error,
        status: TransactionStatus,
    ) -> NextStep {
        if let Stage::Fresh { name, .. } | Stage::Preparing { name, .. } = stage {
            // It may have been parsed before it failed, or was cancelled.
            session.statements().discard(name);
        }
        let staleness = staleness(&error, stage);
        match staleness {
            Staleness::None => {}
            Staleness::OfThis => session.statements().forget(sql),
            // What made this one stale did so to others, which would fail one after the other.
            Staleness::OfAll => {
                session.statements().mark_stale(sql);
                session.statements().forget_all();
            }
        }
        let has_run = matches!(stage, Stage::Fresh { .. } | Stage::Running | Stage::Anew);
        let has_no_binary = has_run && error.is_of_no_binary();
        let may_retry = match staleness {
            // That others have changed something in between says nothing of the next time.
            Staleness::OfAll => self.retries < RETRIES,
            Staleness::OfThis => self.retries == 0,
            Staleness::None => has_no_binary && is_worth_keeping(sql) && !self.any_in_text,
        };
        if may_retry {
            let error = if staleness == Staleness::OfAll { error.went_stale() } else { error };
            let next = match status {
                TransactionStatus::Idle => NextStep::Again,
                TransactionStatus::Failed if self.begins && !has_no_binary => {
                    NextStep::AgainAfterRollback(error.with_statement(sql))
                }
                _ => return refused(sql, error, has_no_binary),
            };
            self.retries += 1;
            if has_no_binary {
                session.statements().forget(sql);
                self.any_in_text = true;
                self.describe_first();
            }
            return next;
        }
        refused(sql, error, has_no_binary)
    }
}

/// The statement has failed for good.
fn refused(sql: &str, error: Error, has_no_binary: bool) -> NextStep {
    let error = if has_no_binary {
        error.with_hint("ask for the columns in text (`in_text()`), or cast the column to text")
    } else {
        error
    };
    NextStep::Done(Err(match error.kind() {
        ErrorKind::Server | ErrorKind::Request | ErrorKind::Cancelled => error.with_statement(sql),
        _ => error,
    }))
}
