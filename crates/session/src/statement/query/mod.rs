//! One statement from its text to its answer: known, prepared or sent as it is, its types looked up
//! if they are new, and tried once more when the server's plan for it has gone stale.
//!
//! ```text
//!            known to the cache ─────────────────────▶ Running ───────▶ done
//!            known, but not kept by the server ──────▶ Anew ──────────▶ done
//!   New ─┬── no parameters ──────────────────────────▶ Fresh ──┬──────▶ cached, done
//!        │                                                     └─ new type ▶ LookingUp ▶ cached
//!        └── parameters of unknown types ▶ Preparing ──┬──────▶ Described ▶ Running
//!                                                      └─ new type ▶ LookingUp ▶ Described
//!
//!   Running, Anew, Fresh ── the plan is stale, outside a transaction ───────────────────▶ New
//!   Running, Anew, Fresh ── a column cannot be had in binary, outside a transaction ──▶ Preparing
//! ```
//!
//! A stale plan is found out while the server binds the parameters, before it runs anything, so
//! nothing is run twice. The same error later on is the statement's own: a procedure that has
//! committed half of its execute, say.
//!
//! That a column cannot be had in binary is found out when the first row is to be sent. What the
//! statement did until then was undone with its transaction; and only statements that cannot commit
//! by themselves are tried again.
//!
//! A lookup never fails the statement it is made for. If it cannot be made, the types stay
//! unresolved.

mod answers;
mod plan;
mod refusal;

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::request::encoded::EncodeBuffer;
use crate::request::{ParameterSets, Parameters, Results, Ticket};
use crate::result::answer::Answer;
use crate::result::row::Column;
use crate::session::Session;
use crate::statement::Statement;
use crate::transaction_status::TransactionStatus;
use plan::{Ask, Columns};
pub use plan::{EncodedQuery, Plan};

/// Plans that may go stale while the values are encoded, before the query insists: 2.
const REPLANS: u8 = 2;

/// Times that a statement is asked again because what was known of it was stale: 3. Each time the
/// server has run nothing of it, and something has changed since it was described.
const RETRIES: u8 = 3;

/// One statement on its way to its answer.
#[derive(Debug, Default)]
pub struct Query {
    stage: Stage,
    /// How often it was asked again after the server refused it.
    retries: u8,
    /// How often the statement went stale while its values were encoded.
    replans: u8,
    /// A BEGIN was sent along with the last step.
    begins: bool,
    purpose: Purpose,
    results: Results,
    /// Columns whose values may be of any type are asked for in text.
    any_in_text: bool,
    types: TypeAge,
}

/// What is known of the types that the statement uses, beyond PostgreSQL's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum TypeAge {
    /// Some may have been looked up for another query.
    #[default]
    Mixed,
    /// All are to be looked up, though they may be known.
    Outdated,
    /// All were looked up for this query.
    Fresh,
}

/// What a query is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Purpose {
    /// The statement is run.
    #[default]
    Run,
    /// It is run, and described before that, though it has no parameters.
    DescribeAndRun,
    /// Nothing is run: the columns are what is asked for.
    Describe,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing is asked yet, or all over again.
    #[default]
    New,
    /// The server is to describe it under this name.
    Preparing { name: String, ticket: Ticket },
    /// These types are asked for.
    LookingUp(Box<Lookup>),
    /// It is described and runs next.
    Described { statement: Arc<Statement> },
    /// It was sent without being described first, under this name.
    Fresh { name: String, ticket: Ticket },
    /// It was described before, and sent as if it were new.
    Anew,
    /// It runs.
    Running,
}

/// Types that are asked for, and what waits for them. In a box: calls are moved, and hardly any of
/// them looks types up.
#[derive(Debug)]
struct Lookup {
    asked: Vec<u32>,
    waiting: Waiting,
}

/// A statement that waits for its types.
#[derive(Debug)]
struct Waiting {
    /// Its name on the server.
    name: String,
    /// The request by which the server was to keep it.
    ticket: Option<Ticket>,
    held: Held,
}

/// What is there of it.
#[derive(Debug)]
enum Held {
    /// The description of a statement that has not run.
    Description(Box<Answer>),
    /// The answer of one that has.
    Answer(Box<Answer>),
}

/// What is to be done with a statement.
#[derive(Debug, Clone, Copy)]
pub enum Execute<'a> {
    /// It is run with these parameters.
    Run(Parameters<'a>),
    /// It is run into a portal, of which the first rows come.
    Open {
        /// The portal's name.
        portal: &'a str,
        /// Rows at most; 0 for all.
        rows: u32,
        /// The statement's parameters.
        parameters: Parameters<'a>,
    },
    /// It is run once with each set of parameters, until one fails.
    Many(&'a dyn ParameterSets),
}

/// What became of what was planned.
#[derive(Debug)]
pub enum Submitted {
    /// It was appended to what is to be sent.
    Sent(Ticket),
    /// Nothing was sent: the statement as it was planned is not known any more. The query is to be
    /// planned again. The error is that of values that could not be encoded, which may be the
    /// user's own: drop it while nothing is locked.
    PlanAgain(Option<Error>),
}

/// What to do after an answer.
#[derive(Debug)]
pub enum NextStep {
    /// Plan and submit again: the answer was only a step.
    Again,
    /// The statement had gone stale, and with it failed the transaction in which nothing but the
    /// BEGIN that was sent along has taken place: submit a ROLLBACK, and then plan and submit again
    /// with the BEGIN. The error is the outcome if that is not possible.
    AgainAfterRollback(Error),
    /// This is the answer.
    Done(Result<Box<Answer>>),
}

/// What is asked next of a statement that is known, but that the server does not keep, or that may
/// mean something else than before. Nothing, if it must be described first.
#[inline(never)]
fn plan_known(session: &mut Session, statement: Arc<Statement>) -> Option<Ask> {
    if !statement.is_current() {
        session.forget_types();
        return None;
    }
    let ask = if session.remembers() {
        Some(Ask::Run(Arc::clone(&statement)))
    } else if session.keeps_names() && statement.is_all_binary() {
        Some(Ask::RunAnew(Arc::clone(&statement)))
    } else {
        None
    };
    session.statements().check_in(statement);
    ask
}

/// Appends what is not a statement that is known.
#[inline(never)]
fn append_step(
    session: &mut Session,
    sql: &str,
    buffer: &mut EncodeBuffer,
    columns: Option<Arc<[Column]>>,
) -> Result<Ticket> {
    session.append(buffer, columns).map_err(|error| error.with_statement(sql))
}

impl Query {
    /// A statement that nothing has been asked about.
    pub fn new() -> Self {
        Self::default()
    }

    /// A statement that is described and not run: its answer has columns and no rows.
    pub fn describing() -> Self {
        Self { purpose: Purpose::Describe, ..Self::default() }
    }

    /// Has types looked up though they are known, so that they are what they are now: for values
    /// that will be encoded where nothing can be asked any more.
    pub fn look_up_anew(&mut self) {
        self.types = TypeAge::Outdated;
    }

    /// The formats in which to ask for the columns of a statement that is run.
    pub fn set_results(&mut self, results: Results) {
        self.results = results;
    }

    /// Has the statement described before it runs, if it is not known: rows that are told of as
    /// they come need their types beforehand.
    pub fn prepare_first(&mut self) {
        self.describe_first();
    }

    fn describe_first(&mut self) {
        if self.purpose == Purpose::Run {
            self.purpose = Purpose::DescribeAndRun;
        }
    }

    /// Whether it must go on with what it knows: its own values make each plan stale again, as one
    /// that forgets the types of its connection does. Then it keeps no name in the server, so that
    /// nothing can be closed under it.
    #[inline]
    fn insists(&self) -> bool {
        self.replans >= REPLANS
    }

    #[inline]
    fn may_run(&self, statement: &Statement) -> bool {
        statement.is_current() || self.insists() && statement.name().is_empty()
    }

    #[cold]
    fn plan_again(&mut self, error: Option<Error>) -> Submitted {
        self.replans = self.replans.saturating_add(1);
        Submitted::PlanAgain(error)
    }

    /// Decides what is asked next. The session is needed no longer until what was planned is
    /// [submitted](Self::submit).
    ///
    /// # Errors
    ///
    /// The session is not open.
    // On the way of every query; as a call it would hand over its result in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn plan(&mut self, session: &mut Session, sql: &str) -> Result<Plan> {
        session.check_open().map_err(|error| error.with_statement(sql))?;
        let results = self.results;
        if let Stage::New = self.stage
            && self.purpose != Purpose::Describe
            && !self.insists()
            && let Some(statement) = session.statements().check_out(sql)
        {
            if statement.is_current() && !session.names_changed() && session.keeps_names() {
                return Ok(Plan { ask: Ask::Run(statement), results });
            }
            if let Some(ask) = plan_known(session, statement) {
                return Ok(Plan { ask, results });
            }
        }
        Ok(Plan { ask: self.plan_step(session, sql), results })
    }

    /// What is asked next, if it is not simply a statement that is known.
    #[inline(never)]
    fn plan_step(&mut self, session: &mut Session, sql: &str) -> Ask {
        match &self.stage {
            Stage::Described { statement } if self.may_run(statement) => {
                return Ask::Run(Arc::clone(statement));
            }
            Stage::Described { .. } => self.stage = Stage::New,
            Stage::LookingUp(lookup) => return Ask::LookUp(lookup.asked.clone()),
            _ => {}
        }
        let name = if session.remembers() && !self.insists() {
            session.statements().name_for(sql)
        } else {
            String::new()
        };
        Ask::New { name, may_run: self.purpose == Purpose::Run }
    }

    /// Asks what was planned and encoded.
    ///
    /// # Errors
    ///
    /// The parameters cannot be sent, or the session is not open. Nothing was sent.
    // On the way of every query; as a call it would be handed its argument in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn submit(
        &mut self,
        session: &mut Session,
        sql: &str,
        encoded: EncodedQuery<'_>,
    ) -> Result<Submitted> {
        let EncodedQuery { ask, columns, begins, buffer, error } = encoded;
        if let Some(error) = error {
            return self.not_encoded(session, sql, &ask, error);
        }
        match ask {
            Ask::Run(statement) if self.may_run(&statement) => {
                let columns = match columns {
                    Columns::Known => statement.shared_columns(),
                    Columns::InText => statement.text_columns(),
                    Columns::Coming | Columns::Asked => None,
                };
                let ticket = match session.append(buffer, columns) {
                    Ok(ticket) => ticket,
                    Err(error) => return Err(error.with_statement(sql)),
                };
                let is_kept = !statement.name().is_empty();
                self.begins = begins;
                let stage = if is_kept { Stage::Running } else { Stage::Anew };
                match std::mem::replace(&mut self.stage, stage) {
                    // Nothing to drop, which is not worth a call.
                    before @ Stage::New => std::mem::forget(before),
                    before => drop(before),
                }
                session.statements().check_in(statement);
                Ok(Submitted::Sent(ticket))
            }
            Ask::RunAnew(statement) if statement.is_current() => {
                let known = (columns == Columns::Known).then(|| statement.shared_columns());
                let ticket = append_step(session, sql, buffer, known.flatten())?;
                self.begins = begins;
                self.stage = match columns {
                    Columns::Asked => Stage::Preparing { name: String::new(), ticket },
                    _ => Stage::Anew,
                };
                Ok(Submitted::Sent(ticket))
            }
            Ask::Run(_) | Ask::RunAnew(_) => Ok(self.plan_again(None)),
            Ask::New { name, .. } => {
                let ticket = append_step(session, sql, buffer, None)?;
                self.begins = begins;
                let runs = columns == Columns::Coming;
                self.stage = if runs {
                    Stage::Fresh { name, ticket }
                } else {
                    Stage::Preparing { name, ticket }
                };
                Ok(Submitted::Sent(ticket))
            }
            Ask::LookUp(_) => append_step(session, sql, buffer, None).map(Submitted::Sent),
        }
    }

    /// The values cannot be sent as they are: perhaps not to the statement as it was known.
    #[cold]
    fn not_encoded(
        &mut self,
        session: &mut Session,
        sql: &str,
        ask: &Ask,
        error: Error,
    ) -> Result<Submitted> {
        if let Ask::Run(statement) | Ask::RunAnew(statement) = ask {
            let plans_again = match self.stage {
                Stage::New => {
                    !statement.is_current() && !self.insists()
                        || self.is_described_anew(session, sql, &error)
                }
                // Just described, though perhaps with types that were known from before.
                Stage::Described { .. }
                    if statement.uses_looked_up() && self.types != TypeAge::Fresh =>
                {
                    self.is_described_anew(session, sql, &error)
                }
                _ => false,
            };
            if plans_again {
                self.stage = Stage::New;
                return Ok(self.plan_again(Some(error)));
            }
        }
        Err(error.with_statement(sql))
    }

    /// Whether a statement that is known is to be described once more, since the values do not fit
    /// the parameters that it had: it may have others by now, and nothing has been sent.
    fn is_described_anew(&mut self, session: &mut Session, sql: &str, error: &Error) -> bool {
        if error.kind() != ErrorKind::Parameter {
            return false;
        }
        session.statements().mark_stale(sql);
        session.statements().forget(sql);
        self.types = TypeAge::Outdated;
        self.describe_first();
        let is_first = self.retries == 0;
        self.retries = self.retries.saturating_add(1);
        is_first && session.transaction_status() != TransactionStatus::Failed
    }

    /// Abandons the query: a statement that it has prepared in the server is not cached, so it must
    /// be closed.
    pub fn abandon(&mut self, session: &mut Session) {
        let name = match std::mem::take(&mut self.stage) {
            Stage::Preparing { name, .. } | Stage::Fresh { name, .. } => name,
            Stage::LookingUp(lookup) => lookup.waiting.name,
            _ => return,
        };
        session.statements().discard(&name);
    }

    /// Whether what is asked next runs the statement; else it is a step on the way there. `bare` is
    /// one without parameters.
    pub fn runs_next(&self, session: &mut Session, sql: &str, bare: bool) -> bool {
        match self.stage {
            Stage::New if self.purpose == Purpose::Describe => false,
            Stage::New if bare && self.purpose == Purpose::Run => true,
            Stage::New => {
                let (remembers, keeps_names) = (session.remembers(), session.keeps_names());
                session.statements().known(sql).is_some_and(|statement| {
                    remembers || (keeps_names && statement.is_all_binary())
                })
            }
            Stage::Described { .. } => true,
            _ => false,
        }
    }

    /// Whether anything was asked that still counts: else the statement is where it was when it was
    /// new.
    pub fn has_begun(&self) -> bool {
        !matches!(self.stage, Stage::New)
    }

    /// Whether the answer to come is the statement's own, and not a step on the way to it.
    pub fn is_last(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Fresh { .. } | Stage::Anew)
    }

    /// Whether the answer to come is the statement's own, and its columns are known already.
    pub fn is_foreseen(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    /// The statement's answer, if it only waits for its types to be looked up and that cannot be
    /// done any more.
    pub fn take_held(&mut self) -> Option<Box<Answer>> {
        match std::mem::take(&mut self.stage) {
            Stage::LookingUp(lookup) => match lookup.waiting.held {
                Held::Answer(answer) => Some(answer),
                Held::Description(_) => None,
            },
            other => {
                self.stage = other;
                None
            }
        }
    }
}
