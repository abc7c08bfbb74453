//! What the end of an operation says, and whether that is so.

use txpostgres::{Delivery, ErrorKind};

use super::Referee;
use super::book::{Entry, Stage};
use crate::callers::{Failure, Kind, Outcome};
use crate::finding::{Finding, Rule, found};
use crate::net::Net;
use crate::server::{Fail, Server};
use crate::token::Token;

impl Referee {
    pub(super) fn judge(
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
        match outcome {
            Outcome::Well => self.succeeded(entry, read, server, net)?,
            Outcome::Planned => {}
            Outcome::Failed(failure) => {
                self.explained(entry, failure)?;
                self.withdrawn(op, failure)?;
            }
        }
        let keeps_nothing = match outcome {
            Outcome::Well => false,
            Outcome::Planned => true,
            Outcome::Failed(failure) => self.keeps_nothing(op, failure),
        };
        if let Some(entry) = self.book.get_mut(op) {
            entry.must_not_commit |= keeps_nothing;
        }
        Ok(())
    }

    // --- Success ---

    fn succeeded(
        &self,
        entry: &Entry,
        read: u64,
        server: &Server,
        net: &Net,
    ) -> Result<(), Finding> {
        let op = &entry.op;
        if op.kind == Kind::Interaction {
            return self.interaction_succeeded(entry, read, server, net);
        }
        let is_left = op.take.is_some();
        if is_left || !(op.kind.is_statement() || op.kind.is_exclusive() || is_together(op.kind)) {
            return Ok(());
        }
        if fails(entry) && !(entry.root.is_some() || self.book.by_hand) || fails_anywhere(entry) {
            return found(Rule::Success, format!("{op} succeeded, and its statement fails"));
        }
        for token in tokens_of(entry) {
            let execution = self.executions.get(&token);
            if execution.is_none_or(|execution| execution.done != 1) {
                return found(Rule::Success, format!("{op} succeeded, and {token} did not run"));
            }
            let answered = execution.and_then(|execution| execution.answered);
            if !has_read(answered, read, net) {
                let why = format!("{op} succeeded before the ReadyForQuery behind it was read");
                return found(Rule::Success, why);
            }
        }
        let is_alone = entry.root.is_none() && !self.book.by_hand;
        for token in effects_of(entry).into_iter().filter(|_| is_alone) {
            if server.database.committed.get(&token) != Some(&1) {
                return found(Rule::Effect, format!("{op} succeeded, and {token} is not there"));
            }
        }
        Ok(())
    }

    fn interaction_succeeded(
        &self,
        entry: &Entry,
        read: u64,
        server: &Server,
        net: &Net,
    ) -> Result<(), Finding> {
        let op = &entry.op;
        if entry.root.is_some() {
            return Ok(());
        }
        for (id, transaction) in &self.transactions {
            if transaction.owner != Some(op.id) {
                continue;
            }
            if !transaction.is_committed {
                return found(
                    Rule::Effect,
                    format!("{op} succeeded, and its transaction {id} not"),
                );
            }
            if !has_read(transaction.answered, read, net) {
                let why = format!("{op} succeeded before the ReadyForQuery of its COMMIT was read");
                return found(Rule::Success, why);
            }
        }
        for token in self.kept(&op.body) {
            if server.database.committed.get(&token) != Some(&1) {
                return found(Rule::Effect, format!("{op} succeeded, and {token} is not there"));
            }
        }
        Ok(())
    }

    /// The effects of operations that succeeded, where what they are in did as well.
    fn kept(&self, body: &[crate::callers::Op]) -> Vec<Token> {
        let mut kept = Vec::new();
        for op in body {
            let Some(entry) = self.book.get(op.id) else {
                continue;
            };
            let is_well = entry.stage == Stage::Ended(Outcome::Well);
            match op.kind {
                Kind::Batch => kept.extend(self.kept(&op.body)),
                Kind::Interaction if is_well => kept.extend(self.kept(&op.body)),
                _ if is_well => kept.extend(effects_of(entry)),
                _ => {}
            }
        }
        kept
    }

    // --- Failure ---

    /// What was said not to be sent has not run, and never will.
    fn withdrawn(&mut self, op: u32, failure: &Failure) -> Result<(), Finding> {
        let Some(entry) = self.book.get_mut(op) else {
            return Ok(());
        };
        let kind = entry.op.kind;
        let is_portal = kind == Kind::Stream && entry.root.is_some();
        // A COPY whose data has not left as a whole counts as not sent: the server keeps nothing of
        // it.
        let takes_data = matches!(kind, Kind::CopyIn | Kind::CopyInRows);
        let is_one = kind.is_statement() || kind.is_exclusive() || kind == Kind::Script;
        let is_one = is_one && !takes_data;
        let is_about_more = is_portal || failure.kind == ErrorKind::Request;
        if failure.delivery != Delivery::NotSent || !is_one || is_about_more {
            return Ok(());
        }
        let why = format!("though it had ended with {}", failure.text);
        let mut ids = vec![op];
        ids.extend(entry.op.body.iter().map(|op| op.id));
        entry.forbidden = Some(why.clone());
        if let Some(token) = self.executions.keys().find(|token| ids.contains(&token.op)) {
            return found(Rule::NotSent, format!("{token} ran, {why}"));
        }
        Ok(())
    }

    /// Whether an operation that failed so leaves nothing behind.
    fn keeps_nothing(&self, op: u32, failure: &Failure) -> bool {
        let Some(entry) = self.book.get(op) else {
            return false;
        };
        let kind = entry.op.kind;
        if kind == Kind::Interaction {
            return failure.kind != ErrorKind::CommitUnknown;
        }
        let is_one = kind.is_statement() || kind.is_exclusive() || kind == Kind::Script;
        let is_one = is_one || kind == Kind::Many;
        let is_undone = matches!(failure.delivery, Delivery::NotSent | Delivery::Answered);
        is_one && is_undone && failure.kind != ErrorKind::Decode
    }

    /// Whether something that happened explains the error.
    fn explained(&self, entry: &Entry, failure: &Failure) -> Result<(), Finding> {
        let (op, id) = (&entry.op, entry.op.id);
        let causes = self.causes;
        let within = self.book.may_fail_within(id);
        let in_failed = entry.root.is_some_and(|root| self.book.may_fail_within(root));
        let is_explained = match failure.kind {
            ErrorKind::Server => self.code_is_explained(entry, &failure.code),
            ErrorKind::Cancelled => self.book.is_cancelled(id) || within,
            ErrorKind::Timeout => self.book.is_limited(id) || within || causes.cancel,
            ErrorKind::CommitRefused => within || in_failed,
            ErrorKind::Request => {
                let is_of_batch = self.book.parent_kind(id) == Some(Kind::Batch);
                is_of_batch || matches!(op.kind, Kind::Cancel | Kind::Batch) || within
            }
            ErrorKind::AlreadyConnected => op.kind == Kind::Connect,
            ErrorKind::Lost
            | ErrorKind::ConnectionDead
            | ErrorKind::Closed
            | ErrorKind::Connect
            | ErrorKind::CommitUnknown
            | ErrorKind::RollbackFailed => causes.any(),
            _ => false,
        };
        if is_explained || causes.any() && is_of_a_loss(failure) {
            return Ok(());
        }
        let kind = failure.kind;
        found(Rule::Unexplained, format!("{op} failed ({kind:?}): {}", failure.text))
    }

    fn code_is_explained(&self, entry: &Entry, code: &str) -> bool {
        let op = &entry.op;
        let planned = op.all().iter().any(|inner| inner.work.fail.code() == code);
        let in_failed = entry.root.is_some_and(|root| self.book.may_fail_within(root));
        match code {
            "" => false,
            "25P02" => in_failed || self.book.may_fail_within(op.id) || self.book.by_hand,
            "57P01" => self.causes.loss,
            // A COPY that is cancelled may be ended by what the client says, and by the server's
            // own line.
            "57014" => self.book.may_be_cancelled(op.id) || self.causes.close,
            "22P04" => op.all().iter().any(|inner| inner.kind == Kind::CopyIn),
            // A statement that is forgotten on its way to be run is prepared again, but not for
            // ever.
            "26000" => self.forgotten_since(entry.begun, &STALE) > 1,
            // A cursor that is held is closed with everything else.
            "34000" => self.forgotten_since(entry.begun, &["all"]) > 0,
            // So is one whose plan went stale; in a transaction only the first may be prepared
            // again.
            "0A000" => {
                entry.root.is_some()
                    || op.kind == Kind::Interaction
                    || self.forgotten_since(entry.begun, &STALE) > 1
            }
            _ => planned,
        }
    }

    /// What was not to be committed is not there, and nothing is there twice.
    pub(super) fn atomic(&self, server: &Server) -> Result<(), Finding> {
        for (token, count) in &server.database.committed {
            if *count > 1 {
                return found(Rule::Twice, format!("{token} was committed {count} times"));
            }
        }
        for entry in self.book.entries().filter(|entry| entry.must_not_commit) {
            for inner in entry.op.all() {
                let mut committed = server.database.committed.keys();
                if let Some(token) = committed.find(|token| token.op == inner.id) {
                    return found(
                        Rule::Effect,
                        format!("{token} is there, though {} had failed", entry.op),
                    );
                }
            }
        }
        Ok(())
    }
}

/// What makes a statement that was prepared useless.
const STALE: [&str; 3] = ["all", "statements", "shape"];

/// Whether a call may succeed: its ReadyForQuery was written and read. Of an earlier session
/// nothing is known.
pub(super) fn has_read(answered: Option<(usize, u64)>, read: u64, net: &Net) -> bool {
    match answered {
        Some((line, offset)) => net.session() != Some(line) || read >= offset,
        None => false,
    }
}

fn is_of_a_loss(failure: &Failure) -> bool {
    matches!(failure.kind, ErrorKind::Timeout | ErrorKind::Cancelled)
        || failure.kind == ErrorKind::Server && failure.code == "57P01"
}

fn is_together(kind: Kind) -> bool {
    matches!(kind, Kind::Script | Kind::Many)
}

/// Whether the statement fails, its commit included.
fn fails(entry: &Entry) -> bool {
    let fails = |op: &crate::callers::Op| op.work.fail == Fail::Commit;
    fails(&entry.op) || entry.op.kind == Kind::Script && entry.op.body.iter().any(fails)
}

/// Whether the statement fails, wherever it is.
fn fails_anywhere(entry: &Entry) -> bool {
    let fails = |op: &crate::callers::Op| match op.work.fail {
        Fail::Parse | Fail::Bind => op.kind != Kind::Script,
        Fail::Run => true,
        Fail::Row(row) if op.kind == Kind::CopyIn => row <= op.count,
        Fail::Row(row) => !op.work.inserts && row <= op.work.rows,
        Fail::Never | Fail::Commit => false,
    };
    if entry.op.kind == Kind::Script {
        // A script is never parsed by itself.
        return entry
            .op
            .body
            .iter()
            .any(|op| fails(op) && !matches!(op.work.fail, Fail::Parse | Fail::Bind));
    }
    fails(&entry.op)
}

/// The executions that it takes for success.
fn tokens_of(entry: &Entry) -> Vec<Token> {
    let op = &entry.op;
    match op.kind {
        Kind::Many => (1..=op.count).map(|item| Token::item(op.id, item)).collect(),
        Kind::Script => op.body.iter().map(crate::callers::Op::token).collect(),
        _ => vec![op.token()],
    }
}

/// The effects that it leaves when it succeeds.
fn effects_of(entry: &Entry) -> Vec<Token> {
    let op = &entry.op;
    let items = || (1..=op.count).map(|item| Token::item(op.id, item));
    match op.kind {
        Kind::CopyIn | Kind::CopyInRows => items().collect(),
        Kind::Many if op.work.inserts => items().collect(),
        Kind::Script => {
            let inserts = op.body.iter().filter(|op| op.work.inserts);
            inserts.map(crate::callers::Op::token).collect()
        }
        kind if kind.is_statement() && op.work.inserts => vec![op.token()],
        _ => Vec::new(),
    }
}
