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
//!   BEGIN       Parse, Bind  (as above)
//!               Begin        CommandComplete      the next step
//!   Execute     Rows         DataRow              Rows
//!                            CommandComplete      the next step
//!                            EmptyQueryResponse   the next step
//!                            CopyInResponse       CopyIn   (refused with CopyFail)
//!                            CopyOutResponse      CopyOut
//!               CopyOut      CopyData             CopyOut
//!                            CopyDone             Rows
//!   Script      Script       RowDescription       ScriptRows
//!                            CommandComplete      Further
//!                            EmptyQueryResponse   Further
//!                            CopyInResponse       CopyIn
//!                            CopyOutResponse      ScriptCopyOut
//!               ScriptRows   DataRow              ScriptRows
//!                            CommandComplete      Further
//!             ScriptCopyOut  CopyData             ScriptCopyOut
//!                            CopyDone             Further
//!               Further      (as Script)
//!                            ReadyForQuery        settled
//!   Sync        Ready        ReadyForQuery        settled
//!   any         any          ErrorResponse        Failed
//!               Failed       ReadyForQuery        settled
//! ```
//!
//! Whatever is not in the table is a violation of the protocol. Notices, notifications, parameter changes and fatal errors
//! may come at any time and never get here.

use crate::answer::Answer;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::request::Ticket;
use crate::row::{read_columns, type_of};
use crate::rows::{Rows, skip_rows};
use crate::server_error::ServerError;
use crate::transaction_status::TransactionStatus;
use crate::wire::{Message, Reader, violation};

/// A message of the client that is answered by itself; `Close` comes before and `Sync` after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Parse,
    Bind,
    Statement,
    Portal,
    Execute,
    Script,
}

/// Statements closed along with one request, at most.
pub(crate) const CLOSES: u8 = 8;

/// The steps of a request, in order: statements to close, a BEGIN, the request itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    closes: u8,
    /// How many steps of BEGIN are left, counted from its end.
    begin: u8,
    request: &'static [Step],
}

impl Steps {
    pub(crate) fn new(closes: u8, begins: bool, request: &'static [Step]) -> Self {
        Self { closes, begin: if begins { 3 } else { 0 }, request }
    }

    #[inline]
    fn next(&mut self) -> Owed {
        if self.closes > 0 {
            self.closes -= 1;
            return Owed::Close;
        }
        if self.begin > 0 {
            self.begin -= 1;
            return match self.begin {
                2 => Owed::Parse,
                1 => Owed::Bind,
                _ => Owed::Begin,
            };
        }
        let Some((step, rest)) = self.request.split_first() else {
            return Owed::Ready;
        };
        self.request = rest;
        match step {
            Step::Parse => Owed::Parse,
            Step::Bind => Owed::Bind,
            Step::Statement => Owed::Parameters,
            Step::Portal => Owed::Columns,
            Step::Execute => Owed::Rows,
            Step::Script => Owed::Script,
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
    /// The first statement's answer.
    Script,
    ScriptRows,
    ScriptCopyOut,
    /// Another statement's answer, or the end: a ReadyForQuery in answer to nothing would be somebody else's.
    Further,
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
    /// Whether the server has yet to execute the statement.
    fn is_before_running(self) -> bool {
        matches!(self, Self::Close | Self::Parse | Self::Bind | Self::Parameters | Self::Columns)
    }

    /// Where a message leads: the transition table, looked up.
    fn after(self, tag: u8) -> Option<Next> {
        static TABLE: [[Option<Next>; 128]; Owed::COUNT] = Owed::table();
        TABLE.get(self as usize)?.get(usize::from(tag)).copied().flatten()
    }

    const COUNT: usize = Self::Failed as usize + 1;

    // Evaluated at compile time: an index out of bounds would not compile.
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    const fn table() -> [[Option<Next>; 128]; Self::COUNT] {
        const ALL: [Owed; Owed::COUNT] = [
            Owed::Close,
            Owed::Parse,
            Owed::Bind,
            Owed::Parameters,
            Owed::Columns,
            Owed::Begin,
            Owed::Rows,
            Owed::CopyIn,
            Owed::CopyOut,
            Owed::Script,
            Owed::ScriptRows,
            Owed::ScriptCopyOut,
            Owed::Further,
            Owed::Ready,
            Owed::Failed,
        ];
        let mut table = [[None; 128]; Self::COUNT];
        let mut n = 0;
        while n < ALL.len() {
            let mut tag = 0;
            while tag < 128 {
                table[ALL[n] as usize][tag] = ALL[n].next(tag as u8);
                tag += 1;
            }
            n += 1;
        }
        table
    }

    /// The one transition table.
    const fn next(self, tag: u8) -> Option<Next> {
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
            (Self::Rows | Self::Script | Self::Further, b'G') => Next::To(Self::CopyIn),
            (Self::Script | Self::Further, b'T') | (Self::ScriptRows, b'D') => {
                Next::To(Self::ScriptRows)
            }
            (Self::Script | Self::Further, b'C' | b'I')
            | (Self::ScriptRows, b'C')
            | (Self::ScriptCopyOut, b'c') => Next::To(Self::Further),
            (Self::Script | Self::Further, b'H') | (Self::ScriptCopyOut, b'd') => {
                Next::To(Self::ScriptCopyOut)
            }
            (Self::Ready | Self::Failed | Self::Further, b'Z') => Next::Settled,
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
    /// In a box: it changes hands several times on its way to the caller.
    answer: Box<Answer>,
    failure: Option<Error>,
}

impl Exchange {
    /// `answer` has the columns of its rows, when they are known beforehand.
    pub(crate) fn new(
        ticket: Ticket,
        mut steps: Steps,
        decisive: u64,
        answer: Box<Answer>,
    ) -> Self {
        let owed = steps.next();
        Self { ticket, steps, owed, decisive, abandoned: false, answer, failure: None }
    }

    pub(crate) fn decisive(&self) -> u64 {
        self.decisive
    }

    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        *self.answer = Answer::default();
    }

    /// Whether rows are owed now.
    pub(crate) fn takes_rows(&self) -> bool {
        self.owed.after(b'D').is_some()
    }

    /// Takes the rows at the beginning of `input`, of which the first is `message`, and gives back what follows them.
    pub(crate) fn take_rows<'a>(
        &mut self,
        input: &'a [u8],
        message: Message<'a>,
        rest: &'a [u8],
    ) -> Result<&'a [u8]> {
        if self.abandoned {
            skip_rows(rest)
        } else {
            self.answer.rows().take_run(input, message, rest)
        }
    }

    /// Takes one row together with its buffer.
    pub(crate) fn take_row_buffer(&mut self, bytes: Vec<u8>) -> Result<()> {
        if self.abandoned { Ok(()) } else { self.answer.rows().take_buffer(bytes) }
    }

    /// Takes any message but rows.
    #[inline]
    pub(crate) fn receive(&mut self, message: Message<'_>) -> Result<Progress> {
        let Message { tag, body } = message;
        let Some(next) = self.owed.after(tag) else {
            return Err(self.unexpected(tag));
        };
        match tag {
            // ParseComplete, BindComplete, CloseComplete, NoData.
            b'1' | b'2' | b'3' | b'n' if body.is_empty() => {}
            b'1' | b'2' | b'3' | b'n' => return Err(not_empty(tag)),
            b'C' => self.complete(body)?,
            b'Z' => {
                let status = read_ready(body)?;
                if next == Next::Settled {
                    return Ok(Progress::Settled(status));
                }
            }
            _ => self.read(tag, body)?,
        }
        let before = self.owed;
        self.owed = match next {
            Next::To(owed) => owed,
            // Only ReadyForQuery settles.
            Next::Step | Next::Settled => self.steps.next(),
        };
        if tag == b'G' {
            let sync_again = !matches!(before, Owed::Script | Owed::Further);
            return Ok(Progress::RefuseCopy { sync_again });
        }
        Ok(Progress::Owed)
    }

    /// A statement is complete.
    #[inline]
    fn complete(&mut self, body: &[u8]) -> Result<()> {
        let Some((0, tag)) = body.split_last() else {
            return Err(violation("the server sent a CommandComplete that breaks off"));
        };
        if self.owed != Owed::Begin {
            self.finish_result(tag);
        }
        Ok(())
    }

    #[cold]
    fn unexpected(&self, tag: u8) -> Error {
        violation(format!("the server sent {:?} where {:?} is owed", char::from(tag), self.owed))
    }

    /// Reads what a message brings; where it leads is not decided here.
    fn read(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        match tag {
            b'I' => {
                Reader::new(body, "EmptyQueryResponse").end()?;
                self.finish_result(b"");
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
                if !self.abandoned {
                    *self.answer.rows() = Rows::new(Some(columns.into()));
                }
            }
            b'G' | b'H' => self.fail(
                Error::new(
                    ErrorKind::Request,
                    "COPY moves data outside of an answer; this call cannot do it",
                )
                .with_delivery(Delivery::Answered),
            ),
            b'E' => {
                let error = Error::from_server(ServerError::parse(body));
                self.fail(if self.owed.is_before_running() {
                    error.before_running()
                } else {
                    error
                });
            }
            // CopyData and CopyDone of a COPY that is refused already.
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn finish_result(&mut self, tag: &[u8]) {
        if !self.abandoned {
            self.answer.finish(tag);
        }
    }

    /// The request has failed; the first reason counts.
    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// The answer, now that the server is ready for the next request.
    pub(crate) fn settle(mut self, status: TransactionStatus) -> Result<Box<Answer>> {
        self.answer.status = status;
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.answer),
        }
    }

    /// What the server had already said when the connection broke, if it is final.
    pub(crate) fn into_failure(self) -> Option<Error> {
        self.failure
    }
}

#[cold]
fn not_empty(tag: u8) -> Error {
    violation(format!("the server sent a {:?} that is not empty", char::from(tag)))
}

/// The transaction status of a ReadyForQuery.
pub(crate) fn read_ready(body: &[u8]) -> Result<TransactionStatus> {
    let &[status] = body else {
        return Err(violation("the server sent a ReadyForQuery that is not one byte long"));
    };
    TransactionStatus::from_byte(status)
        .ok_or_else(|| violation("the server sent an unknown transaction status"))
}
