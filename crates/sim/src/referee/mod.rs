//! The referee: holds what callers tell against what happened in the server, after every step.

mod book;
mod hearing;
mod judge;
mod memory;
mod turns;

use std::collections::BTreeMap;

use crate::callers::{Kind, Outcome, Told};
use crate::coverage::Coverage;
use crate::finding::{Finding, Rule, found};
use crate::net::Net;
use crate::plan::Plan;
use crate::server::{Happened, Server, Target};
use crate::token::Token;

use book::{Book, Entry, Stage};
use hearing::Hearing;

/// What excuses a call that fails or waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Causes {
    /// A line broke, or the server ended a session.
    pub(crate) loss: bool,
    /// A CancelRequest could not be made, or was not heard.
    pub(crate) cancel: bool,
    /// The connection was closed by a caller.
    pub(crate) close: bool,
}

impl Causes {
    pub(crate) fn any(self) -> bool {
        self.loss || self.cancel || self.close
    }
}

/// The grace of a cancel, in milliseconds.
const GRACE_MS: u64 = 5_000;

/// One execution of a statement in the server.
#[derive(Debug, Default)]
struct Execution {
    started: u32,
    done: u32,
    transaction: u64,
    /// The line, and how many bytes of it must have been read before its call may succeed.
    answered: Option<(usize, u64)>,
}

/// One transaction in the server.
#[derive(Debug, Default)]
struct Transaction {
    /// The interaction that it is of.
    owner: Option<u32>,
    is_committed: bool,
    answered: Option<(usize, u64)>,
}

/// See the file's text.
#[derive(Debug)]
pub(crate) struct Referee {
    book: Book,
    executions: BTreeMap<Token, Execution>,
    transactions: BTreeMap<u64, Transaction>,
    hearing: Hearing,
    /// Counts what happened, to tell what was before what.
    clock: u64,
    /// When the server forgot channels or prepared statements, or a table got another shape; and
    /// which.
    forgot: Vec<(u64, &'static str)>,
    /// Virtual milliseconds.
    pub(crate) now: u64,
    pub(crate) causes: Causes,
    pub(crate) coverage: Coverage,
}

impl Referee {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            book: Book::new(plan),
            executions: BTreeMap::new(),
            transactions: BTreeMap::new(),
            hearing: Hearing::default(),
            clock: 0,
            forgot: Vec::new(),
            now: 0,
            causes: Causes::default(),
            coverage: Coverage::default(),
        }
    }

    // --- What the server does ---

    pub(crate) fn happened(&mut self, happened: &Happened) -> Result<(), Finding> {
        self.clock += 1;
        match happened {
            Happened::Opened { .. } => self.coverage.count("server: session"),
            Happened::Started { token, transaction, explicit } => {
                self.coverage.count("server: statement");
                self.started(*token, *transaction, *explicit)?;
            }
            Happened::Done { token } => {
                let execution = self.executions.entry(*token).or_default();
                execution.done += 1;
            }
            Happened::Committed { transaction, .. } => {
                self.coverage.count("server: commit");
                self.transactions.entry(*transaction).or_default().is_committed = true;
            }
            Happened::RolledBack { .. } => self.coverage.count("server: rollback"),
            Happened::Answered { line, offset, tokens, transactions } => {
                for token in tokens {
                    let execution = self.executions.entry(*token).or_default();
                    execution.answered = Some((*line, *offset));
                }
                for id in transactions {
                    let transaction = self.transactions.entry(*id).or_default();
                    transaction.answered = Some((*line, *offset));
                }
            }
            Happened::Struck { target } => self.struck(*target)?,
            Happened::Missed => self.coverage.count("server: cancel that missed"),
            Happened::Notified { line, channel, payload } => {
                self.coverage.count("server: notification");
                self.hearing.notified(*line, channel, payload);
            }
            Happened::Refused { code } => self.coverage.count_name("server: error ", code),
            Happened::Forgot { what } => {
                self.coverage.count_name("server: forgot ", what);
                self.forgot.push((self.clock, what));
            }
            Happened::Left { politely: true, .. } => self.coverage.count("server: Terminate"),
            Happened::Left { .. } => self.coverage.count("server: hung up"),
            Happened::Broken { why } => return found(Rule::Protocol, why.as_str()),
        }
        Ok(())
    }

    fn started(&mut self, token: Token, transaction: u64, explicit: bool) -> Result<(), Finding> {
        let execution = self.executions.entry(token).or_default();
        execution.started += 1;
        execution.transaction = transaction;
        let Some(entry) = self.book.get(token.op) else {
            return found(Rule::NotSent, format!("{token} is in no plan"));
        };
        if execution.started > 1 {
            return found(Rule::Twice, format!("{token} was run a second time"));
        }
        if !self.book.has_begun(token.op) {
            return found(Rule::NotSent, format!("{token} ran before it was asked for"));
        }
        if let Some(why) = &entry.forbidden {
            return found(Rule::NotSent, format!("{token} ran, {why}"));
        }
        let owner = self.transactions.entry(transaction).or_default();
        match (entry.root, explicit) {
            (None, false) => {}
            (None, true) if self.book.by_hand => {}
            (None, true) => {
                let whose = owner.owner.map_or(String::new(), |owner| format!(" of t{owner}"));
                return found(
                    Rule::Isolation,
                    format!("{token} ran inside a transaction{whose} that it is not part of"),
                );
            }
            (Some(root), false) => {
                return found(
                    Rule::Isolation,
                    format!("{token} of interaction t{root} ran outside of its transaction"),
                );
            }
            (Some(root), true) => {
                if *owner.owner.get_or_insert(root) != root {
                    return found(
                        Rule::Isolation,
                        format!("{token} of interaction t{root} ran in that of another"),
                    );
                }
            }
        }
        Ok(())
    }

    fn struck(&mut self, target: Target) -> Result<(), Finding> {
        self.coverage.count("server: cancel that struck");
        match target {
            Target::Statement(token) => {
                if self.book.may_be_cancelled(token.op) || self.causes.close {
                    return Ok(());
                }
                found(
                    Rule::Struck,
                    format!("a cancel struck {token}, which was not to be cancelled"),
                )
            }
            Target::Commit if !self.causes.close => found(Rule::Struck, "a cancel struck a COMMIT"),
            Target::Rollback if !self.causes.close => {
                found(Rule::Struck, "a cancel struck a ROLLBACK")
            }
            Target::Commit | Target::Rollback => Ok(()),
        }
    }

    // --- What callers tell ---

    pub(crate) fn told(&mut self, told: &Told, server: &Server, net: &Net) -> Result<(), Finding> {
        self.clock += 1;
        match told {
            Told::Begun { op } => {
                self.begun(*op, net);
                if let Some(session) = net.session() {
                    self.hearing.begun(*op, session);
                }
            }
            Told::Entered { op, read } => self.entered(*op, *read, net)?,
            Told::Ending { op } => self.book.ending(*op),
            Told::Ended { op, outcome, read } => self.ended(*op, outcome, *read, server, net)?,
            Told::Dropped { op } => self.dropped(*op, net),
            Told::Handed { op, bytes } => self.handed(*op, *bytes),
            Told::Listening { op, channel } => self.listening(*op, channel, server, net)?,
            Told::Heard { op, event } => {
                self.coverage.count("told: heard");
                let channel = self.book.get(*op).map_or(Kind::Hear, |entry| entry.op.kind);
                self.hearing.heard(*op, channel == Kind::Subscribe, event)?;
            }
            Told::Wrong { op, why } => return found(Rule::OwnAnswer, format!("t{op}: {why}")),
            Told::Grown { bytes, times, .. } => self.grown(*bytes, *times)?,
        }
        Ok(())
    }

    fn begun(&mut self, op: u32, net: &Net) {
        let (clock, inside, now) = (self.clock, self.inside(net), self.now);
        let alone = self.alone(net);
        let Some(entry) = self.book.get_mut(op) else {
            return;
        };
        (entry.stage, entry.begun, entry.behind) = (Stage::Begun, clock, inside);
        (entry.begun_at, entry.after) = (now, alone);
        self.coverage.count_name("begun: ", entry.op.kind.word());
        if entry.op.kind == Kind::Close {
            self.causes.close = true;
        }
        if entry.op.kind == Kind::Cancel {
            let of = entry.op.of;
            self.cancelled(of);
        }
    }

    /// An operation is cancelled by its handle. What is over stays so.
    pub(crate) fn cancelled(&mut self, op: u32) {
        self.book.cancelled(op);
    }

    fn dropped(&mut self, op: u32, net: &Net) {
        let behind = self.book.is_behind(op, self.inside(net));
        let after = self.book.get(op).and_then(|entry| entry.after);
        let waits = after.is_some() && after == self.alone(net);
        // What was inside of an earlier session holds up no call of this one.
        let is_disturbed = self.causes.any();
        let has_started = self.executions.keys().any(|token| token.op == op);
        let Some(entry) = self.book.get_mut(op) else {
            return;
        };
        entry.stage = Stage::Dropped;
        self.coverage.count_name("dropped: ", entry.op.kind.word());
        // It came after the interaction that is inside, or the stream that has the line, and so
        // cannot have been sent.
        if (behind || waits) && !is_disturbed && !has_started && entry.root.is_none() {
            entry.forbidden = Some("though it was dropped while it waited for its turn".to_owned());
        }
        self.book.leave(op);
        self.hearing.left(op);
    }

    fn listening(
        &mut self,
        op: u32,
        channel: &str,
        server: &Server,
        net: &Net,
    ) -> Result<(), Finding> {
        self.hearing.listening(op, channel);
        let begun = self.book.get(op).map_or(0, |entry| entry.begun);
        let is_changing = self.book.changes_channels(begun)
            || self.forgotten_since(begun, &["all", "channels"]) > 0;
        let Some(session) = net.session().filter(|_| !self.causes.any()) else {
            return Ok(());
        };
        if !is_changing && !self.book.by_hand && !server.listens(session, channel) {
            let why = format!("t{op} listens to {channel}, and the server does not know");
            return found(Rule::Listening, why);
        }
        Ok(())
    }

    /// How often the server has forgotten one of these since then.
    fn forgotten_since(&self, when: u64, which: &[&str]) -> usize {
        self.forgot.iter().filter(|(forgot, what)| *forgot > when && which.contains(what)).count()
    }

    fn ended(
        &mut self,
        op: u32,
        outcome: &Outcome,
        read: u64,
        server: &Server,
        net: &Net,
    ) -> Result<(), Finding> {
        let Some(entry) = self.book.get(op) else {
            return Ok(());
        };
        let word = entry.op.kind.word();
        match outcome {
            Outcome::Well => self.coverage.count_name("well: ", word),
            Outcome::Planned => self.coverage.count_name("planned: ", word),
            Outcome::Failed(failure) => {
                self.coverage.count_name("failed: ", word);
                self.coverage.count_name("error: ", &format!("{:?}", failure.kind));
            }
        }
        self.judge(op, outcome, read, server, net)?;
        if let Some(entry) = self.book.get_mut(op) {
            entry.stage = Stage::Ended(outcome.clone());
        }
        self.book.leave(op);
        self.hearing.left(op);
        Ok(())
    }

    // --- What the run asks ---

    /// Operations that keep the connection for themselves, of callers for which `rests` is true.
    pub(crate) fn holders(&self, rests: impl Fn(u32) -> bool) -> Vec<u32> {
        let holds = |entry: &&Entry| {
            let starts = self.executions.keys().any(|token| token.op == entry.op.id);
            match entry.op.kind {
                Kind::Interaction => entry.root.is_none() && entry.stage == Stage::Inside,
                Kind::ByHand => entry.stage == Stage::Begun,
                kind => kind.is_exclusive() && entry.stage == Stage::Begun && starts,
            }
        };
        let entries = self.book.entries().filter(|entry| rests(entry.caller));
        entries.filter(holds).map(|entry| entry.op.id).collect()
    }

    /// Whether a stream or a COPY to us that the server knows of, of a caller for which `rests` is
    /// true, is not read.
    pub(crate) fn is_unread(&self, rests: impl Fn(u32) -> bool) -> bool {
        self.book.entries().any(|entry| {
            let kind = entry.op.kind;
            let gives = matches!(kind, Kind::Stream | Kind::CopyOut | Kind::CopyOutRows);
            let is_open = gives && entry.stage == Stage::Begun && rests(entry.caller);
            is_open && self.executions.keys().any(|token| token.op == entry.op.id)
        })
    }

    /// Whether a caller waits in an operation of this kind.
    pub(crate) fn is_in(&self, caller: u32, kind: Kind) -> bool {
        let entries = self.book.entries().filter(|entry| entry.caller == caller);
        entries.into_iter().any(|entry| entry.op.kind == kind && entry.is_open())
    }

    /// A caller comes back. An interaction whose time limit and grace have passed meanwhile gives
    /// up the connection.
    pub(crate) fn comes_back(&mut self, caller: u32) {
        let is_late = |entry: &Entry| {
            let limit = entry.op.limit.map_or(u64::MAX, u64::from);
            let end = entry.begun_at.saturating_add(limit).saturating_add(GRACE_MS);
            entry.is_open() && entry.op.kind == Kind::Interaction && end <= self.now
        };
        let mut entries = self.book.entries().filter(|entry| entry.caller == caller);
        self.causes.cancel |= entries.any(is_late);
    }

    /// Whether a caller is in an operation.
    pub(crate) fn is_engaged(&self, caller: u32) -> bool {
        self.book.entries().any(|entry| entry.caller == caller && entry.is_open())
    }

    /// The operations in which a caller is.
    pub(crate) fn open_ops(&self, caller: u32) -> Vec<String> {
        let entries = self.book.entries().filter(|entry| entry.caller == caller);
        entries.filter(|entry| entry.is_open()).map(|entry| entry.op.to_string()).collect()
    }

    /// Listeners that wait for an event of a channel, with their callers.
    pub(crate) fn waiting_listeners(&self) -> Vec<(u32, u32, u32)> {
        let waits = |entry: &&Entry| {
            entry.op.kind == Kind::Subscribe
                && entry.is_open()
                && self.hearing.is_listening(entry.op.id)
        };
        let entries = self.book.entries().filter(waits);
        entries.map(|entry| (entry.caller, entry.op.id, entry.op.of)).collect()
    }

    /// Whether this listener has heard this payload.
    pub(crate) fn has_heard(&self, op: u32, payload: &str) -> bool {
        self.hearing.has_heard(op, payload)
    }

    /// Whether the server has said this payload to a session.
    pub(crate) fn was_notified(&self, payload: &str) -> bool {
        self.hearing.was_notified(payload)
    }

    /// What must hold when a run is over.
    pub(crate) fn end(&self, server: &Server) -> Result<(), Finding> {
        self.atomic(server)
    }
}
