//! One session of the model server: what it gets, message by message, and what state it is in.

use std::collections::{BTreeMap, VecDeque};

use super::cursor::Cursor;
use super::database::Database;
use super::happened::{Happened, Target};
use super::output::Output;
use super::portal::{Parameters, Portal, Prepared, read_formats};
use super::run::Run;
use super::statement::Statement;
use super::transaction::{State, Transaction};
use crate::token::Token;
use crate::wire::{self, Fields, Message, Report};

/// What a session works with and reports to.
pub(crate) struct Around<'a> {
    pub(crate) database: &'a mut Database,
    /// Virtual time in milliseconds.
    pub(crate) now: u64,
    pub(crate) happened: &'a mut Vec<Happened>,
}

/// One session of the server.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) pid: u32,
    pub(crate) line: usize,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Output,
    pub(super) transaction: Transaction,
    pub(super) prepared: BTreeMap<String, Prepared>,
    pub(super) portals: BTreeMap<String, Portal>,
    pub(super) cursors: BTreeMap<String, Cursor>,
    /// After an error in the extended protocol, until Sync.
    pub(super) skips: bool,
    /// A message of the extended protocol came after the last Sync.
    in_flight: bool,
    /// What is left of the script that came by Query.
    pub(super) script: Option<VecDeque<Statement>>,
    pub(super) run: Option<Run>,
    /// A COPY waits for data.
    pub(super) copy: Option<CopyIn>,
    pub(super) is_cancelled: bool,
    /// Executed since the last ReadyForQuery.
    pub(super) answered: Vec<Token>,
    /// Transactions that ended since then.
    pub(super) ended: Vec<u64>,
    /// The session is over.
    pub(crate) is_over: bool,
}

/// The data of a COPY FROM STDIN.
#[derive(Debug, Default)]
pub(super) struct CopyIn {
    pub(super) op: u32,
    pub(super) binary: bool,
    pub(super) data: Vec<u8>,
}

/// An error of the server: SQLSTATE, message, and the routine that raised it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
);

pub(super) type Outcome<T = ()> = Result<T, Refusal>;

impl Backend {
    pub(crate) fn new(pid: u32, line: usize) -> Self {
        Self {
            pid,
            line,
            input: Vec::new(),
            output: Output::default(),
            transaction: Transaction::default(),
            prepared: BTreeMap::new(),
            portals: BTreeMap::new(),
            cursors: BTreeMap::new(),
            skips: false,
            in_flight: false,
            script: None,
            run: None,
            copy: None,
            is_cancelled: false,
            answered: Vec::new(),
            ended: Vec::new(),
            is_over: false,
        }
    }

    /// Does one thing, if there is one to do: one message, some rows, one statement of a script.
    pub(crate) fn step(&mut self, around: &mut Around<'_>) -> bool {
        if self.is_over || self.output.is_full() {
            return false;
        }
        if self.run.is_some() {
            return self.go_on(around);
        }
        if self.script.is_some() && self.copy.is_none() {
            self.next_of_script(around);
            return true;
        }
        if self.is_idle() && self.tell_notified(around) {
            return true;
        }
        let Some(message) = wire::take_message(&mut self.input, false) else {
            return false;
        };
        self.receive(&message, around);
        true
    }

    /// Whether it waits for the client.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.is_over && self.run.is_none()
    }

    /// When a statement that sleeps goes on.
    pub(crate) fn wakes_at(&self) -> Option<u64> {
        self.run.as_ref().map(|run| run.wake)
    }

    /// Nothing is being done and nothing was asked.
    fn is_idle(&self) -> bool {
        self.transaction.state == State::None && !self.in_flight && self.copy.is_none()
    }

    /// A CancelRequest has come.
    pub(crate) fn cancel(&mut self) -> Option<Target> {
        if self.is_over {
            return None;
        }
        let target = match (&self.run, &self.copy) {
            (Some(run), _) => run.target(),
            (None, Some(copy)) => Some(Target::Statement(Token::of(copy.op))),
            (None, None) => None,
        }?;
        self.is_cancelled = true;
        Some(target)
    }

    /// The client has hung up, or the session is ended.
    pub(crate) fn end(&mut self, around: &mut Around<'_>) {
        if !self.is_over {
            self.is_over = true;
            self.roll_back(around);
            around.database.leave(self.pid);
        }
    }

    /// The administrator ends the session.
    pub(crate) fn terminate(&mut self, around: &mut Around<'_>) {
        let report = Report {
            severity: "FATAL",
            code: "57P01",
            message: "terminating connection due to administrator command",
            routine: "ProcessInterrupts",
        };
        self.output.put(0, |out| wire::put_report(out, b'E', &report));
        self.end(around);
    }

    fn receive(&mut self, message: &Message, around: &mut Around<'_>) {
        let tag = message.tag;
        if self.copy.is_some() {
            return self.receive_copy(message, around);
        }
        if self.skips && !matches!(tag, b'S' | b'X') {
            return;
        }
        let outcome = match tag {
            b'Q' => return self.query(message, around),
            b'P' => self.parse(message, around),
            b'B' => self.bind(message, around),
            b'D' => self.describe(message),
            b'E' => self.execute(message, around),
            b'C' => self.close(message),
            b'S' => return self.sync(around),
            b'X' => {
                around.happened.push(Happened::Left { line: self.line, politely: true });
                if !self.input.is_empty() {
                    self.broken(around, "the client spoke after Terminate");
                }
                return self.end(around);
            }
            // What is left of the data of a COPY that was refused.
            b'H' | b'd' | b'c' | b'f' => return,
            _ => Err(malformed()),
        };
        self.in_flight = true;
        if let Err(refusal) = outcome {
            if refusal.0 == MALFORMED {
                self.broken(around, &format!("a message {:?} is malformed", char::from(tag)));
            }
            self.skips = true;
            self.refuse(refusal, around);
        }
    }

    pub(super) fn broken(&self, around: &mut Around<'_>, why: &str) {
        around.happened.push(Happened::Broken { why: format!("line {}: {why}", self.line) });
    }

    fn query(&mut self, message: &Message, around: &mut Around<'_>) {
        if self.in_flight {
            self.broken(around, "a Query came before the Sync of what was sent before it");
        }
        let sql = Fields(&message.body).text().unwrap_or_default();
        self.script = Some(Statement::script(sql).into());
        if self.script.as_ref().is_some_and(VecDeque::is_empty) {
            self.output.put_empty(b'I');
        }
    }

    fn parse(&mut self, message: &Message, around: &mut Around<'_>) -> Outcome {
        let mut fields = Fields(&message.body);
        let (name, sql) = (fields.text().ok_or(malformed())?, fields.text().ok_or(malformed())?);
        let statement = Statement::parse(sql);
        self.admit(&statement)?;
        if !name.is_empty() && self.prepared.contains_key(name) {
            self.broken(around, "a name was given to two prepared statements");
            return Err(Refusal("42P05", "prepared statement already exists", ""));
        }
        let mut table = None;
        match &statement {
            Statement::Unknown(sql) => {
                self.broken(around, &format!("the model does not know: {sql}"));
                return Err(Refusal("42601", "syntax error", "scanner_yyerror"));
            }
            Statement::Work(work) if work.fail == super::work::Fail::Parse => {
                return Err(Refusal(work.fail.code(), "planned for Parse", ""));
            }
            Statement::Work(work) => table = work.table,
            _ => {}
        }
        let shape = around.database.shape(table);
        self.prepared.insert(name.to_owned(), Prepared { statement, shape });
        self.output.put_empty(b'1');
        Ok(())
    }

    fn bind(&mut self, message: &Message, around: &mut Around<'_>) -> Outcome {
        let mut fields = Fields(&message.body);
        let portal = fields.text().ok_or(malformed())?;
        let name = fields.text().ok_or(malformed())?;
        let missing = Refusal("26000", "no such prepared statement", "FetchPreparedStatement");
        let prepared = self.prepared.get(name).ok_or(missing)?.clone();
        self.admit(&prepared.statement)?;
        if let Statement::Work(work) = &prepared.statement
            && !work.inserts
            && around.database.shape(work.table) != prepared.shape
        {
            let message = "cached plan must not change result type";
            return Err(Refusal("0A000", message, "RevalidateCachedQuery"));
        }
        let formats = read_formats(&mut fields).ok_or(malformed())?;
        let parameters = {
            let has_number = prepared.statement != Statement::Notify;
            Parameters::read(&mut fields, &formats, has_number).ok_or(malformed())?
        };
        let formats = read_formats(&mut fields).ok_or(malformed())?;
        if parameters.texts.len() != prepared.statement.parameters() {
            return Err(Refusal("08P01", "wrong number of parameters", "exec_bind_message"));
        }
        if let Statement::Work(work) = &prepared.statement
            && work.fail == super::work::Fail::Bind
        {
            return Err(Refusal(work.fail.code(), "planned for Bind", ""));
        }
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(Refusal("42P03", "portal already exists", ""));
        }
        self.transaction.begin(&mut around.database.transactions);
        let (row, has_begun, has_ended) = (0, false, false);
        let bound = Portal { prepared, parameters, formats, row, has_begun, has_ended };
        self.portals.insert(portal.to_owned(), bound);
        self.output.put_empty(b'2');
        Ok(())
    }

    fn close(&mut self, message: &Message) -> Outcome {
        let mut fields = Fields(&message.body);
        let what = fields.byte().ok_or(malformed())?;
        let name = fields.text().ok_or(malformed())?;
        if what == b'S' {
            self.prepared.remove(name);
        } else {
            self.portals.remove(name);
            self.cursors.remove(name);
        }
        self.output.put_empty(b'3');
        Ok(())
    }

    fn sync(&mut self, around: &mut Around<'_>) {
        self.skips = false;
        if self.transaction.state == State::Implicit
            && let Err(refusal) = self.commit(around)
        {
            self.refuse(refusal, around);
        }
        self.ready(around);
    }

    /// Says an error, and what becomes of the transaction.
    pub(super) fn refuse(
        &mut self,
        Refusal(code, message, routine): Refusal,
        around: &mut Around<'_>,
    ) {
        around.happened.push(Happened::Refused { code });
        let report = Report { severity: "ERROR", code, message, routine };
        self.output.put(0, |out| wire::put_report(out, b'E', &report));
        match self.transaction.state {
            State::Implicit => self.roll_back(around),
            State::Explicit => self.transaction.state = State::Failed,
            State::None | State::Failed => {}
        }
    }

    /// Says that it waits for the next request.
    pub(super) fn ready(&mut self, around: &mut Around<'_>) {
        self.in_flight = false;
        self.is_cancelled = false;
        if self.transaction.state == State::None {
            while self.tell_notified(around) {}
        }
        let status = self.transaction.status();
        self.output.put(0, |out| wire::put(out, b'Z', |out| out.push(status)));
        around.happened.push(Happened::Answered {
            line: self.line,
            offset: self.output.total(),
            tokens: std::mem::take(&mut self.answered),
            transactions: std::mem::take(&mut self.ended),
        });
    }

    /// Says one notification that waits, if there is one.
    fn tell_notified(&mut self, around: &mut Around<'_>) -> bool {
        let Some(notified) = around.database.next_notified(self.pid) else {
            return false;
        };
        self.output.put(0, |out| {
            wire::put(out, b'A', |out| {
                wire::put_long(out, notified.by);
                wire::put_text(out, &notified.channel);
                wire::put_text(out, &notified.payload);
            });
        });
        let (channel, payload) = (notified.channel, notified.payload);
        around.happened.push(Happened::Notified { line: self.line, channel, payload });
        true
    }

    /// Whether the transaction takes this statement.
    pub(super) fn admit(&self, statement: &Statement) -> Outcome {
        if self.transaction.state == State::Failed && !statement.ends_transaction() {
            let message = "current transaction is aborted";
            return Err(Refusal("25P02", message, "exec_parse_message"));
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, around: &mut Around<'_>) -> Outcome {
        if self.transaction.is_doomed {
            self.roll_back(around);
            return Err(Refusal("23503", "planned for COMMIT", "RI_ReportViolation"));
        }
        let (id, line) = (self.transaction.id, self.line);
        let done = self.transaction.end();
        around.database.commit(self.pid, &done);
        self.ended.push(id);
        self.portals.clear();
        self.cursors.retain(|_, cursor| cursor.survives());
        around.happened.push(Happened::Committed { transaction: id, line });
        Ok(())
    }

    pub(super) fn roll_back(&mut self, around: &mut Around<'_>) {
        if self.transaction.state == State::None {
            return;
        }
        let id = self.transaction.id;
        let done = self.transaction.end();
        around.database.undo(&done);
        self.ended.push(id);
        self.portals.clear();
        self.cursors.retain(|_, cursor| cursor.is_kept());
        around.happened.push(Happened::RolledBack { transaction: id });
    }
}

const MALFORMED: &str = "08P01";

pub(super) fn malformed() -> Refusal {
    Refusal(MALFORMED, "a message is malformed", "")
}
