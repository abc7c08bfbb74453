//! One request, and the answer it is still owed.
//!
//! A request is a script of steps; the server answers them in order. What may come next is [`Owed`]:
//!
//! ```text
//!   step        owed         message              then
//!   ----------  -----------  -------------------  ---------------------------------
//!   Close       Close        CloseComplete        the next step
//!   Parse       Parse        ParseComplete        the next step
//!   Bind        Bind         BindComplete         the next step
//!   Statement   Parameters   ParameterDescription Columns
//!               Columns      RowDescription       the next step
//!                            NoData               the next step
//!   Portal      Columns      (as above)
//!   Begin       Begin        CommandComplete      the next step
//!   Execute     Rows         DataRow              Rows
//!                            CommandComplete      the next step
//!                            EmptyQueryResponse   the next step
//!                            CopyInResponse       CopyIn   (refused with CopyFail)
//!                            CopyOutResponse      CopyOut
//!               CopyOut      CopyData             CopyOut
//!                            CopyDone             Rows
//!   Script      Script       RowDescription       ScriptRows
//!                            CommandComplete      Script
//!                            EmptyQueryResponse   Script
//!                            CopyInResponse       CopyIn
//!                            CopyOutResponse      ScriptCopyOut
//!                            ReadyForQuery        settled
//!               ScriptRows   DataRow              ScriptRows
//!                            CommandComplete      Script
//!             ScriptCopyOut  CopyData             ScriptCopyOut
//!                            CopyDone             Script
//!   Sync        Ready        ReadyForQuery        settled
//!   any         any          ErrorResponse        Failed
//!               Failed       ReadyForQuery        settled
//! ```
//!
//! Whatever is not in the table is a violation of the protocol. Notices, notifications, parameter changes and fatal errors
//! may come at any time and never get here.

use std::sync::Arc;

use crate::answer::{Answer, CommandTag, ResultSet};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::request::Ticket;
use crate::row::{read_columns, type_of};
use crate::rows::{Rows, skip_rows};
use crate::server_error::ServerError;
use crate::transaction_status::TransactionStatus;
use crate::wire::{Message, Reader, violation};

/// A message of the client that is answered by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Close,
    Parse,
    Bind,
    Statement,
    Portal,
    Begin,
    Execute,
    Script,
    Sync,
}

/// Steps of the longest script: closes, a BEGIN in three steps, the request itself.
const STEPS: usize = CLOSES + 3 + 4 + 1;

/// Statements closed along with one request, at most.
pub(crate) const CLOSES: usize = 8;

/// The steps of a request, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    steps: [Step; STEPS],
    len: usize,
    at: usize,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { steps: [Step::Sync; STEPS], len: 0, at: 0 }
    }

    pub(crate) fn push(&mut self, steps: &[Step]) {
        for &step in steps {
            // A script longer than `STEPS` cannot be written; its missing steps would end in a violation.
            if let Some(place) = self.steps.get_mut(self.len) {
                *place = step;
                self.len += 1;
            }
        }
    }

    fn next(&mut self) -> Owed {
        let step = self.steps.get(self.at).filter(|_| self.at < self.len);
        self.at += 1;
        match step {
            Some(Step::Close) => Owed::Close,
            Some(Step::Parse) => Owed::Parse,
            Some(Step::Bind) => Owed::Bind,
            Some(Step::Statement) => Owed::Parameters,
            Some(Step::Portal) => Owed::Columns,
            Some(Step::Begin) => Owed::Begin,
            Some(Step::Execute) => Owed::Rows,
            Some(Step::Script) => Owed::Script,
            Some(Step::Sync) | None => Owed::Ready,
        }
    }
}

/// What the server owes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    Close,
    Parse,
    Bind,
    Parameters,
    Columns,
    Begin,
    Rows,
    CopyIn,
    CopyOut,
    Script,
    ScriptRows,
    ScriptCopyOut,
    Ready,
    Failed,
}

/// Where a message leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Step,
    To(Owed),
    Settled,
}

impl Owed {
    /// The one transition table.
    fn after(self, tag: u8) -> Option<Next> {
        Some(match (self, tag) {
            (Self::Close, b'3')
            | (Self::Parse, b'1')
            | (Self::Bind, b'2')
            | (Self::Columns, b'T' | b'n')
            | (Self::Begin, b'C')
            | (Self::Rows, b'C' | b'I') => Next::Step,
            (Self::Parameters, b't') => Next::To(Self::Columns),
            (Self::Rows, b'D') | (Self::CopyOut, b'c') => Next::To(Self::Rows),
            (Self::Rows, b'H') | (Self::CopyOut, b'd') => Next::To(Self::CopyOut),
            (Self::Rows | Self::Script, b'G') => Next::To(Self::CopyIn),
            (Self::Script, b'T') | (Self::ScriptRows, b'D') => Next::To(Self::ScriptRows),
            (Self::Script, b'C' | b'I')
            | (Self::ScriptRows, b'C')
            | (Self::ScriptCopyOut, b'c') => Next::To(Self::Script),
            (Self::Script, b'H') | (Self::ScriptCopyOut, b'd') => Next::To(Self::ScriptCopyOut),
            (Self::Ready | Self::Failed | Self::Script, b'Z') => Next::Settled,
            (_, b'E') => Next::To(Self::Failed),
            _ => return None,
        })
    }
}

/// What became of the exchange with a message.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More is owed.
    Owed,
    /// The server waits for data that nobody has: it must be told so.
    RefuseCopy {
        /// Whether the script's `Sync` was swallowed by COPY and must be sent again.
        sync_again: bool,
    },
    /// ReadyForQuery: the answer is complete.
    Settled(TransactionStatus),
}

/// One request, and the answer it is still owed.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) ticket: Ticket,
    steps: Steps,
    owed: Owed,
    /// The position in the outbox behind the byte that makes the server act.
    decisive: u64,
    /// Nobody waits for the answer any more: it is read and thrown away.
    abandoned: bool,
    /// The rows of the statement that is being answered.
    rows: Rows,
    answer: Answer,
    failure: Option<Error>,
}

impl Exchange {
    /// `rows` has the columns, when they are known beforehand.
    pub(crate) fn new(ticket: Ticket, mut steps: Steps, decisive: u64, rows: Rows) -> Self {
        let owed = steps.next();
        Self {
            ticket,
            steps,
            owed,
            decisive,
            abandoned: false,
            rows,
            answer: Answer::default(),
            failure: None,
        }
    }

    pub(crate) fn decisive(&self) -> u64 {
        self.decisive
    }

    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        self.rows = Rows::default();
        self.answer = Answer::default();
    }

    /// Whether rows are owed now.
    pub(crate) fn takes_rows(&self) -> bool {
        self.owed.after(b'D').is_some()
    }

    /// Takes the rows at the beginning of `input` and gives back what follows them.
    pub(crate) fn take_rows<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8]> {
        if self.abandoned { skip_rows(input) } else { self.rows.take_run(input) }
    }

    /// Takes one row together with its buffer.
    pub(crate) fn take_row_buffer(&mut self, bytes: Vec<u8>) -> Result<()> {
        if self.abandoned { Ok(()) } else { self.rows.take_buffer(bytes) }
    }

    /// Takes any message but rows.
    pub(crate) fn receive(&mut self, message: Message<'_>) -> Result<Progress> {
        let Message { tag, body } = message;
        let Some(next) = self.owed.after(tag) else {
            return Err(violation(format!(
                "the server sent {:?} where {:?} is owed",
                char::from(tag),
                self.owed
            )));
        };
        let status = self.read(tag, body)?;
        let sync_again = self.owed != Owed::Script;
        self.owed = match next {
            Next::Step => self.steps.next(),
            Next::To(owed) => owed,
            Next::Settled => return Ok(Progress::Settled(status)),
        };
        Ok(if tag == b'G' { Progress::RefuseCopy { sync_again } } else { Progress::Owed })
    }

    /// Reads what a message brings; where it leads is not decided here.
    fn read(&mut self, tag: u8, body: &[u8]) -> Result<TransactionStatus> {
        match tag {
            b'1' => Reader::new(body, "ParseComplete").end()?,
            b'2' => Reader::new(body, "BindComplete").end()?,
            b'3' => Reader::new(body, "CloseComplete").end()?,
            b'n' => Reader::new(body, "NoData").end()?,
            b'I' => {
                Reader::new(body, "EmptyQueryResponse").end()?;
                self.finish_result(CommandTag::default());
            }
            b't' => {
                let mut reader = Reader::new(body, "ParameterDescription");
                let mut types = Vec::new();
                for _ in 0..reader.u16()? {
                    types.push(type_of(reader.u32()?));
                }
                reader.end()?;
                self.answer.parameters = Some(types);
            }
            b'T' => {
                let mut columns = read_columns(body)?;
                if self.answer.parameters.is_some() {
                    columns = columns.into_iter().map(crate::row::Column::in_binary).collect();
                }
                let columns: Arc<[_]> = columns.into();
                self.rows = Rows::new(Some(Arc::clone(&columns)));
                self.answer.columns = Some(columns);
            }
            b'C' => {
                let mut reader = Reader::new(body, "CommandComplete");
                let tag = reader.text()?;
                reader.end()?;
                if self.owed != Owed::Begin {
                    self.finish_result(CommandTag::new(tag.as_bytes()));
                }
            }
            b'G' | b'H' => self.fail(
                Error::new(
                    ErrorKind::Request,
                    "COPY moves data outside of an answer; this call cannot do it",
                )
                .with_delivery(Delivery::Answered),
            ),
            b'E' => self.fail(Error::from_server(ServerError::parse(body))),
            b'Z' => {
                let mut reader = Reader::new(body, "ReadyForQuery");
                let status = TransactionStatus::from_byte(reader.u8()?)
                    .ok_or_else(|| violation("the server sent an unknown transaction status"))?;
                reader.end()?;
                return Ok(status);
            }
            // CopyData and CopyDone of a COPY that is refused already.
            _ => {}
        }
        Ok(TransactionStatus::Idle)
    }

    fn finish_result(&mut self, tag: CommandTag) {
        let rows = std::mem::take(&mut self.rows);
        if !self.abandoned {
            self.answer.push(ResultSet { rows, tag });
        }
    }

    /// The request has failed; the first reason counts.
    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// The answer, now that the server is ready for the next request.
    pub(crate) fn settle(self, status: TransactionStatus) -> Result<Answer> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok(Answer { status, ..self.answer }),
        }
    }

    /// What the server had already said when the connection broke, if it is final.
    pub(crate) fn into_failure(self) -> Option<Error> {
        self.failure
    }
}
