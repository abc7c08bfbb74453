//! A statement while it runs: how it begins, goes on and ends.

use super::backend::{Around, Backend, Outcome, Refusal, malformed};
use super::happened::{Happened, Target};
use super::portal::Parameters;
use super::statement::{Fetch, Statement};
use super::transaction::State;
use super::work::{Fail, Work};
use crate::token::Token;
use crate::wire::{self, Fields, Message};

/// Bytes of rows that are made in one step, at least.
const STEP_BYTES: u64 = 2 * 1024;

/// A statement that runs.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) statement: Statement,
    pub(super) parameters: Parameters,
    pub(super) formats: Vec<u16>,
    /// The portal that it is executed from; `None` for one of a script.
    pub(super) portal: Option<String>,
    /// Rows that are returned in this execution at most; 0 for all.
    pub(super) limit: u32,
    /// The next row, and how many were returned in this execution.
    pub(super) row: u32,
    pub(super) returned: u32,
    /// When it goes on, in milliseconds.
    pub(super) wake: u64,
}

impl Run {
    /// The name of this execution.
    pub(super) fn token(&self) -> Option<Token> {
        match &self.statement {
            Statement::Work(work) | Statement::CopyOut { work, .. } => {
                work.token.or(self.parameters.token)
            }
            _ => None,
        }
    }

    /// What a cancel strikes.
    pub(super) fn target(&self) -> Option<Target> {
        match &self.statement {
            Statement::Commit { .. } => Some(Target::Commit),
            Statement::Rollback { .. } => Some(Target::Rollback),
            // A FETCH is an execution of its cursor's query.
            Statement::Fetch { .. } => self.parameters.token.map(Target::Statement),
            _ => self.token().map(Target::Statement),
        }
    }

    fn is_stubborn(&self) -> bool {
        match &self.statement {
            Statement::Work(work) | Statement::CopyOut { work, .. } => work.stubborn,
            Statement::Rollback { .. } => true,
            _ => false,
        }
    }
}

impl Backend {
    /// Execute.
    pub(super) fn execute(&mut self, message: &Message, around: &mut Around<'_>) -> Outcome {
        let mut fields = Fields(&message.body);
        let name = fields.text().ok_or(malformed())?.to_owned();
        let limit = fields.long().ok_or(malformed())?;
        let missing = Refusal("34000", "no such portal", "exec_execute_message");
        let portal = self.portals.get_mut(&name).ok_or(missing)?;
        if portal.has_ended {
            self.output.put_complete("SELECT 0");
            return Ok(());
        }
        let is_first = !std::mem::replace(&mut portal.has_begun, true);
        let run = Run {
            statement: portal.prepared.statement.clone(),
            parameters: portal.parameters.clone(),
            formats: portal.formats.clone(),
            portal: Some(name),
            limit,
            row: portal.row,
            returned: 0,
            wake: around.now,
        };
        self.start(run, is_first, around)
    }

    /// The next statement of a script, or its end.
    pub(super) fn next_of_script(&mut self, around: &mut Around<'_>) {
        let Some(statement) = self.script.as_mut().and_then(std::collections::VecDeque::pop_front)
        else {
            self.script = None;
            return self.ready(around);
        };
        let run = Run {
            statement,
            parameters: Parameters::default(),
            formats: Vec::new(),
            portal: None,
            limit: 0,
            row: 0,
            returned: 0,
            wake: around.now,
        };
        if let Err(refusal) = self.start(run, true, around) {
            self.fail(refusal, around);
        }
    }

    /// A statement has failed.
    fn fail(&mut self, refusal: Refusal, around: &mut Around<'_>) {
        let is_script = self.run.take().map_or(self.script.is_some(), |run| run.portal.is_none());
        self.refuse(refusal, around);
        if is_script {
            self.script = Some(std::collections::VecDeque::new());
        } else {
            self.skips = true;
        }
    }

    fn start(&mut self, mut run: Run, is_first: bool, around: &mut Around<'_>) -> Outcome {
        self.admit(&run.statement)?;
        if !matches!(run.statement, Statement::Commit { .. } | Statement::Rollback { .. }) {
            self.transaction.begin(&mut around.database.transactions);
        }
        if let Statement::Fetch { name, .. } = &run.statement {
            let cursor = self.cursors.get(name);
            run.parameters.token = cursor.and_then(|cursor| cursor.token);
            run.wake += cursor.map_or(0, |cursor| u64::from(cursor.work.ms));
        }
        let slept = match &run.statement {
            Statement::Work(work) | Statement::CopyOut { work, .. } if is_first => work.ms,
            Statement::Commit { .. } => self.transaction.commit_ms,
            Statement::Rollback { .. } => self.transaction.rollback_ms,
            _ => 0,
        };
        run.wake += u64::from(slept);
        if is_first && let Some(token) = run.token() {
            self.started(token, around);
        }
        if let Statement::Work(work) = &run.statement {
            let (commit_ms, rollback_ms) = (work.commit_ms, work.rollback_ms);
            self.transaction.commit_ms = self.transaction.commit_ms.max(commit_ms);
            self.transaction.rollback_ms = self.transaction.rollback_ms.max(rollback_ms);
            if work.notices {
                let (severity, code) = ("NOTICE", "00000");
                let report = wire::Report { severity, code, message: "planned", routine: "" };
                self.output.put(0, |out| wire::put_report(out, b'N', &report));
            }
        }
        if let Statement::Unknown(sql) = &run.statement {
            self.broken(around, &format!("the model does not know: {sql}"));
            return Err(Refusal("42601", "syntax error", "scanner_yyerror"));
        }
        self.run = Some(run);
        Ok(())
    }

    pub(super) fn started(&mut self, token: Token, around: &mut Around<'_>) {
        self.answered.push(token);
        around.happened.push(Happened::Started {
            token,
            transaction: self.transaction.id,
            explicit: self.transaction.state != State::Implicit,
        });
    }

    /// Goes on with what runs; says whether there was anything to do.
    pub(super) fn go_on(&mut self, around: &mut Around<'_>) -> bool {
        let Some(mut run) = self.run.take() else {
            return false;
        };
        let strikes = std::mem::take(&mut self.is_cancelled) && !run.is_stubborn();
        if strikes {
            self.run = Some(run);
            let message = "canceling statement due to user request";
            if matches!(self.run.as_ref().map(|run| &run.statement), Some(Statement::Commit { .. }))
            {
                self.roll_back(around);
            }
            self.fail(Refusal("57014", message, "ProcessInterrupts"), around);
            return true;
        }
        if around.now < run.wake {
            self.run = Some(run);
            return false;
        }
        match self.produce(&mut run, around) {
            Ok(None) => self.run = Some(run),
            Ok(Some(End::Suspended)) => {
                if let Some(portal) = run.portal.as_ref().and_then(|it| self.portals.get_mut(it)) {
                    portal.row = run.row;
                }
                self.output.put_empty(b's');
            }
            Ok(Some(End::Complete(tag))) => self.complete(&run, &tag, around),
            Ok(Some(End::Data)) => {}
            Err(refusal) => {
                self.run = Some(run);
                self.fail(refusal, around);
            }
        }
        true
    }

    /// Makes rows, or does what the statement says; `None` while there are more rows to come.
    fn produce(&mut self, run: &mut Run, around: &mut Around<'_>) -> Outcome<Option<End>> {
        match run.statement.clone() {
            Statement::Work(work) if work.inserts => {
                check(&work, 0)?;
                let token = run.token();
                self.transaction.done.effects.extend(token);
                self.transaction.is_doomed |= work.fail == Fail::Commit;
                Ok(Some(End::Complete("INSERT 0 1".to_owned())))
            }
            Statement::Work(work) => self.select(run, &work, around),
            Statement::CopyOut { work, binary } => self.copy_out(run, &work, binary),
            Statement::CopyIn { table, binary } => {
                let token = table.parse().unwrap_or_default();
                self.copy_in(token, binary, around);
                Ok(Some(End::Data))
            }
            Statement::Fetch { name, how, moves } => self.fetch(run, &name, how, moves),
            statement => self.act(run, &statement, around).map(Some),
        }
    }

    fn select(&mut self, run: &mut Run, work: &Work, around: &Around<'_>) -> Outcome<Option<End>> {
        let columns = columns_of(around.database.shape(work.table));
        if run.portal.is_none() && run.row == 0 {
            self.output.put(0, |out| wire::put_columns(out, &columns, &[]));
        }
        let (token, began) = (run.token().unwrap_or_default(), self.output.total());
        loop {
            check(work, run.row)?;
            if run.row >= work.rows {
                let tag = format!("SELECT {}", run.returned);
                self.transaction.is_doomed |= work.fail == Fail::Commit;
                return Ok(Some(End::Complete(tag)));
            }
            if run.limit > 0 && run.returned >= run.limit {
                return Ok(Some(End::Suspended));
            }
            if self.output.total() - began >= STEP_BYTES {
                return Ok(None);
            }
            self.put_row(work, token, run, columns.len());
            run.row += 1;
            run.returned += 1;
        }
    }

    /// One row: the token, its number, the filler, and NULL for each further column.
    fn put_row(&mut self, work: &Work, token: Token, run: &Run, columns: usize) {
        let (row, number) = (run.row, i64::from(run.row) + run.parameters.shift);
        let formats = &run.formats;
        self.output.put(token.op, |out| {
            wire::put(out, b'D', |out| {
                wire::put_short(out, columns);
                put_value(out, token.to_string().as_bytes());
                if wire::format_of(formats, 1) == 1 {
                    put_value(out, &number.to_be_bytes());
                } else {
                    put_value(out, number.to_string().as_bytes());
                }
                put_value(out, work.filler(row).as_bytes());
                for _ in 3..columns {
                    wire::put_long(out, u32::MAX);
                }
            });
        });
    }

    fn fetch(
        &mut self,
        run: &mut Run,
        name: &str,
        how: Fetch,
        moves: bool,
    ) -> Outcome<Option<End>> {
        let missing = Refusal("34000", "no such cursor", "PerformPortalFetch");
        let cursor = self.cursors.get_mut(name).ok_or(missing)?;
        let (work, token) = (cursor.work.clone(), cursor.token.unwrap_or_default());
        run.parameters.shift = cursor.shift;
        let stuck = Refusal("55000", "cursor can only scan forward", "PortalRunSelect");
        let rows = cursor.go(how).ok_or(stuck)?;
        let verb = if moves { "MOVE" } else { "FETCH" };
        let tag = format!("{verb} {}", rows.len());
        if !moves {
            for row in rows {
                run.row = row;
                self.put_row(&work, token, run, 3);
            }
        }
        Ok(Some(End::Complete(tag)))
    }

    /// A statement has come to its end.
    pub(super) fn complete(&mut self, run: &Run, tag: &str, around: &mut Around<'_>) {
        if let Some(portal) = run.portal.as_ref().and_then(|name| self.portals.get_mut(name)) {
            portal.has_ended = true;
        }
        let is_last = self.script.as_ref().is_some_and(std::collections::VecDeque::is_empty);
        // A script commits before it says how its last statement ended, the extended protocol at
        // its Sync.
        if is_last
            && self.transaction.state == State::Implicit
            && let Err(refusal) = self.commit(around)
        {
            return self.refuse(refusal, around);
        }
        self.output.put_complete(tag);
        if let Some(token) = run.token() {
            around.happened.push(Happened::Done { token });
        }
    }
}

/// How an execution ends.
pub(super) enum End {
    /// With this tag.
    Complete(String),
    /// There are more rows.
    Suspended,
    /// With the data that the client is to send.
    Data,
}

/// Fails if it is time to.
pub(super) fn check(work: &Work, row: u32) -> Outcome {
    let fails = match work.fail {
        Fail::Run => true,
        Fail::Row(at) => row == at,
        Fail::Never | Fail::Parse | Fail::Bind | Fail::Commit => false,
    };
    if fails { Err(Refusal(work.fail.code(), "planned", "")) } else { Ok(()) }
}

/// The columns of its rows.
pub(super) fn columns_of(shape: u32) -> Vec<(&'static str, u32)> {
    let mut columns = vec![("token", wire::TEXT), ("number", wire::INT8), ("filler", wire::TEXT)];
    // One more after each change of shape, up to three: so two neighbours never look the same.
    columns.extend((0..shape % 4).map(|_| ("more", wire::TEXT)));
    columns
}

pub(super) fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    wire::put_long(out, u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.extend(value);
}
