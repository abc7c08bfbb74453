//! One request, and the answer it is still owed.
//!
//! Which message may come next, and where it leads, is in [`Expect`]; what a message brings is read
//! here.

use crate::command::Command;
use crate::copy::{CopyData, CopyLayout, Direction};
use crate::error::server_error::ServerError;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::failure::{Intervention, delivery, failed, in_another_encoding};
use crate::limits;
use crate::protocol::expect::{Expect, Next, Steps};
use crate::protocol::wire::{AuthState, Message, Reader, split_message, violation};
use crate::request::Ticket;
use crate::result::answer::Answer;
use crate::result::row::{Column, Format, read_columns, type_of};
use crate::result::rows::{Rows, skip_rows};
use crate::transaction_effect::TransactionWatch;
use crate::transaction_status::TransactionStatus;

/// What became of the exchange with a message.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The answer is not complete yet.
    Pending,
    /// The server waits for data, of which there is none: CopyFail must be sent.
    RefuseCopy {
        /// Whether the script's `Sync` was swallowed by COPY and must be sent again.
        sync_again: bool,
    },
    /// A statement is complete that changed what the session has on the server.
    Ran(Command),
    /// The data of a COPY that was asked for goes from here to there.
    CopyStarted(Box<(Direction, CopyLayout)>),
    /// ReadyForQuery: the answer is complete.
    Settled(TransactionStatus),
}

/// One request, and the answer it is still owed.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) ticket: Ticket,
    steps: Steps,
    expect: Expect,
    /// The position in the outbox behind the byte that makes the server act.
    acts_at: u64,
    /// The request was abandoned: its answer is read and discarded.
    abandoned: bool,
    /// Rows are told of as they come, when there are so many bytes of them, instead of with the
    /// answer.
    streamed: Option<u32>,
    /// The end of the data of a COPY was appended.
    data_ended: bool,
    /// Data of a COPY that has not been told of. In a box, since most requests have none.
    copied: Option<Box<CopyData>>,
    /// Whether we asked the server to cancel it, or did not send it at all.
    intervention: Intervention,
    /// What becomes of the transaction.
    transaction: TransactionWatch,
    /// The statement that is complete has changed what the session has on the server.
    ran: Option<Command>,
    /// In a box: it changes hands several times on its way to the caller.
    answer: Box<Answer>,
    failure: Option<Error>,
}

impl Exchange {
    /// `answer` has the columns of its rows, when they are known beforehand.
    #[inline]
    pub(crate) fn new(ticket: Ticket, mut steps: Steps, acts_at: u64, answer: Box<Answer>) -> Self {
        let expect = steps.next();
        Self {
            ticket,
            steps,
            expect,
            acts_at,
            abandoned: false,
            streamed: None,
            data_ended: false,
            copied: None,
            intervention: Intervention::None,
            transaction: TransactionWatch::default(),
            ran: None,
            answer,
            failure: None,
        }
    }

    pub(crate) fn acts_at(&self) -> u64 {
        self.acts_at
    }

    /// It has its place in the outbox now, or lost it.
    pub(crate) fn set_acts_at(&mut self, position: u64) {
        self.acts_at = position;
    }

    /// The server is asked to cancel it.
    pub(crate) fn ask_to_cancel(&mut self) {
        self.intervention = Intervention::Asked;
    }

    /// It is not sent: no answer is owed.
    pub(crate) fn withdraw(&mut self) {
        self.intervention = Intervention::Withdrawn;
        self.abandon();
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.intervention == Intervention::Withdrawn
    }

    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        self.copied = None;
        self.answer.let_go();
        // A COPY whose data nothing will send is refused when the server requests the data.
        if self.expect == Expect::CopyIn {
            self.expect = Expect::SimpleQuery;
        }
    }

    /// Rows are to be told of as they come, when there are so many bytes of them.
    pub(crate) fn stream(&mut self, least: u32) {
        self.streamed = Some(least);
    }

    /// Whether its caller is told of rows in chunks, and keeps what it makes of them.
    pub(crate) fn is_chunked(&self) -> bool {
        self.streamed.is_some_and(|least| least > 0)
    }

    /// Whether its answer is kept as a whole, here or by its caller. Data of a COPY and the rows of
    /// a stream are handed on as they come.
    pub(crate) fn keeps_answer(&self) -> bool {
        self.expect != Expect::CopyOutData && self.streamed != Some(0)
    }

    /// Bytes of the answer that are kept here.
    pub(crate) fn kept(&self) -> usize {
        self.answer.size()
    }

    /// Whether a message of this kind is owed and brings data that may be discarded.
    pub(crate) fn takes_data(&self, tag: u8) -> bool {
        matches!(tag, b'D' | b'd') && self.expect.after(tag).is_some()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Its answer cannot be given to the caller, for this reason: it is read and discarded.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.abandon();
        self.fail(error);
    }

    /// Whether the server takes the data of a COPY: it can have kept nothing of it yet. Before the
    /// server has asked for data, the statement may be anything.
    pub(crate) fn awaits_copy_data(&self) -> bool {
        self.expect == Expect::CopyInData && !self.data_ended
    }

    /// Whether the end of the data of a COPY is on its way: the server waits for it, whatever else
    /// is taken back.
    pub(crate) fn has_data_ended(&self) -> bool {
        self.data_ended
    }

    /// The end of the data lies before this position.
    pub(crate) fn end_of_data(&mut self, end: u64) {
        self.data_ended = true;
        self.acts_at = end;
    }

    /// What has come since the last time and is to be told of before the answer is complete.
    #[inline]
    pub(crate) fn take_piece(&mut self) -> Option<Event> {
        if let Some(copied) = self.copied.take() {
            return Some(Event::CopyData { ticket: self.ticket, data: *copied });
        }
        let rows = Box::new(self.answer.take_piece(self.streamed?)?);
        if self.steps.hints().sets_encoding() && rows.have_doubtful_text() {
            self.refuse_other_encoding();
            return None;
        }
        Some(Event::Rows { ticket: self.ticket, rows })
    }

    /// Takes the messages at the beginning of `input` that are of this answer, as many as are
    /// complete, and no more than until something becomes of it; gives back what follows them.
    pub(crate) fn take_run<'a>(&mut self, mut input: &'a [u8]) -> Result<(Progress, &'a [u8])> {
        while let Some((message, rest)) = split_message(input, AuthState::Authenticated)? {
            match message.tag {
                b'D' => input = self.take_rows(input, message, rest)?,
                tag if is_tag_between(tag) => break,
                _ => {
                    input = rest;
                    let progress = self.receive(message)?;
                    if !matches!(progress, Progress::Pending) {
                        return Ok((progress, input));
                    }
                }
            }
        }
        Ok((Progress::Pending, input))
    }

    /// Whether rows are owed now.
    #[inline]
    fn takes_rows(&self) -> bool {
        self.expect.after(b'D').is_some()
    }

    /// Takes the rows at the beginning of `input`, of which the first is `message`, and gives back
    /// what follows them.
    #[inline]
    fn take_rows<'a>(
        &mut self,
        input: &'a [u8],
        message: Message<'a>,
        rest: &'a [u8],
    ) -> Result<&'a [u8]> {
        if !self.takes_rows() {
            Err(unexpected_row())
        } else if self.abandoned {
            skip_rows(rest)
        } else {
            self.answer.rows().take_run(input, message, rest)
        }
    }

    /// Takes one row together with its buffer.
    pub(crate) fn take_row_buffer(&mut self, bytes: Vec<u8>) -> Result<()> {
        if !self.takes_rows() {
            Err(unexpected_row())
        } else if self.abandoned {
            Ok(())
        } else {
            self.answer.rows().take_buffer(bytes)
        }
    }

    /// Takes any message but rows.
    // Several for each answer there is.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn receive(&mut self, message: Message<'_>) -> Result<Progress> {
        let Message { tag, body } = message;
        let Some(next) = self.expect.after(tag) else {
            return Err(self.unexpected(tag));
        };
        match tag {
            // ParseComplete, BindComplete, CloseComplete, NoData.
            b'1' | b'2' | b'3' | b'n' if body.is_empty() => {}
            b'1' | b'2' | b'3' | b'n' => return Err(not_empty(tag)),
            b'C' if self.awaits_copy_data() => {
                return Err(violation("the server ended a COPY before its data"));
            }
            b'C' => {
                self.complete(body)?;
                if let Some(command) = self.ran.take() {
                    self.go_on(tag, next);
                    return Ok(Progress::Ran(command));
                }
            }
            b'd' => self.copy(body),
            b'Z' => {
                let status = read_ready(body)?;
                if next == Next::Settled {
                    self.answer.status = status;
                    self.answer.effect =
                        self.transaction.finish(status, self.steps.hints().may_chain);
                    return Ok(Progress::Settled(status));
                }
            }
            _ => self.read(tag, body)?,
        }
        let before = self.expect;
        self.go_on(tag, next);
        if !matches!(tag, b'G' | b'H') {
            return Ok(Progress::Pending);
        }
        match (self.expect, tag) {
            (Expect::CopyInData, b'G') => {
                let layout = CopyLayout::read(body, "CopyInResponse")?;
                Ok(Progress::CopyStarted(Box::new((Direction::In, layout))))
            }
            (Expect::CopyOutData, b'H') => {
                let layout = CopyLayout::read(body, "CopyOutResponse")?;
                // The encoding of data in text is that of the beginning; that of binary values may
                // change with each.
                if self.steps.hints().sets_encoding() && layout.format() == Format::Binary {
                    self.refuse_other_encoding();
                    return Ok(Progress::Pending);
                }
                Ok(Progress::CopyStarted(Box::new((Direction::Out, layout))))
            }
            (_, b'G') => {
                let sync_again =
                    !matches!(before, Expect::SimpleQuery | Expect::NextResult | Expect::CopyOut);
                Ok(Progress::RefuseCopy { sync_again })
            }
            _ => Ok(Progress::Pending),
        }
    }

    /// A message has been taken: to what comes next.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn go_on(&mut self, tag: u8, next: Next) {
        if self.expect.is_other_than_copy(tag) {
            self.refuse_other_than_copy();
        }
        self.expect = match next {
            Next::To(expect) => expect,
            // Only ReadyForQuery settles.
            Next::Step | Next::Settled => self.steps.next(),
        };
    }

    /// Data of a COPY: kept if it was requested.
    #[inline]
    fn copy(&mut self, data: &[u8]) {
        if self.expect == Expect::CopyOutData && !self.abandoned {
            let copied = self.copied.get_or_insert_default();
            copied.bytes.extend_from_slice(data);
            copied.messages += 1;
        }
    }

    /// What comes may be in another encoding than UTF-8.
    #[cold]
    fn refuse_other_encoding(&mut self) {
        self.refuse(in_another_encoding());
    }

    #[cold]
    fn refuse_other_than_copy(&mut self) {
        let wanted = match self.expect {
            Expect::CopyIn => "COPY … FROM STDIN",
            _ => "COPY … TO STDOUT",
        };
        self.refuse(Error::new(ErrorKind::Request, format!("the statement is not {wanted}")));
    }

    /// A statement is complete.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn complete(&mut self, body: &[u8]) -> Result<()> {
        let Some((0, tag)) = body.split_last() else {
            return Err(broken_off());
        };
        if self.expect == Expect::Begin {
            self.transaction.begun();
            return Ok(());
        }
        if self.expect == Expect::NextResult {
            self.begin_another()?;
        }
        if self.steps.are_repeated() && self.expect == Expect::Rows {
            self.answer.finish_item(tag);
        } else {
            self.finish_result(tag);
        }
        if let Some(command) = Command::from_tag(tag) {
            self.note(command);
        }
        Ok(())
    }

    /// A statement is complete that changed what the session has on the server.
    #[cold]
    #[inline(never)]
    fn note(&mut self, command: Command) {
        self.transaction.ran(command);
        // Of most parameters the text says that names mean the same as before.
        let is_of_no_interest = command == Command::Set && !self.steps.hints().sets_names;
        self.ran = (!is_of_no_interest).then_some(command);
    }

    /// A notice has come in the middle of the answer.
    pub(crate) fn noticed(&mut self, notice: &ServerError) {
        self.transaction.noticed(notice.code());
    }

    #[cold]
    fn unexpected(&self, tag: u8) -> Error {
        violation(format!("the server sent {:?} where {:?} is owed", char::from(tag), self.expect))
    }

    /// Reads what a message brings; where it leads is not decided here.
    #[inline(never)]
    fn read(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        if self.expect == Expect::NextResult && matches!(tag, b'I' | b'T' | b'G' | b'H') {
            self.begin_another()?;
        }
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
                    // A statement's description says text; its execution will ask for binary.
                    for column in &mut columns {
                        *column = column.in_format(Format::Binary);
                    }
                }
                if self.expect == Expect::SimpleQueryRows {
                    // A rule has added a query to the statement, which has one tag for all.
                    self.begin_another()?;
                    self.answer.finish_by_rule();
                }
                if !self.abandoned {
                    // Of a statement that was described before, more is known than the server says
                    // now.
                    let known = self.answer.columns().filter(|known| are_the_same(known, &columns));
                    *self.answer.rows() = Rows::new(known.or_else(|| Some(columns.into())));
                }
            }
            b'G' | b'H' if matches!(self.expect, Expect::CopyIn | Expect::CopyOut) => {}
            b'G' | b'H' => self.fail(
                Error::new(
                    ErrorKind::Request,
                    "COPY moves data outside of an answer; this call cannot do it",
                )
                .with_hint("take `copy_in` or `copy_out`"),
            ),
            b'E' => {
                let mut error = Error::from_server(ServerError::parse(body));
                let items = self.answer.items();
                let is_of_item =
                    matches!(self.expect, Expect::Bind | Expect::Columns | Expect::Rows);
                if self.steps.are_repeated() && is_of_item {
                    error = error.with_item(items);
                }
                self.fail(if self.expect.is_before_running() && items == 0 {
                    error.before_running()
                } else {
                    error
                });
            }
            b's' => {
                Reader::new(body, "PortalSuspended").end()?;
                self.answer.suspended = true;
            }
            // CopyDone.
            _ => {}
        }
        Ok(())
    }

    /// A script has another result: each takes memory, also without rows, and so there are as many
    /// as the script has statements, and as rules may add.
    #[cold]
    fn begin_another(&self) -> Result<()> {
        let (results, by_rules) = (self.answer.results(), self.answer.results_by_rules());
        let most = self.steps.hints().more_statements;
        if results - by_rules > most || by_rules > limits::RULE_RESULTS {
            return Err(violation("the server sent more results than the script has statements"));
        }
        Ok(())
    }

    #[inline]
    fn finish_result(&mut self, tag: &[u8]) {
        if !self.abandoned {
            self.answer.finish(tag);
        }
    }

    /// The request has failed; the first reason counts. What that says of the statement is known
    /// at the end only.
    pub(crate) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// The answer, now that the server is ready for the next request.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn settle(self) -> Result<Box<Answer>> {
        match self.failure {
            None if self.steps.hints().sets_encoding() && self.answer.has_doubtful_text() => {
                let delivery = delivery(self.expect, true);
                Err(failed(in_another_encoding(), delivery, self.answer.effect, self.intervention))
            }
            None => Ok(self.answer),
            Some(error) => {
                let delivery = delivery(self.expect, true);
                Err(failed(error, delivery, self.answer.effect, self.intervention))
            }
        }
    }

    /// What the server had already said when the connection broke, if it is final.
    pub(crate) fn into_failure(self) -> Option<Error> {
        let delivery = delivery(self.expect, false);
        let effect = self.transaction.effect();
        self.failure.map(|error| failed(error.without_retry(), delivery, effect, self.intervention))
    }
}

/// Whether columns are those that were described before.
fn are_the_same(known: &[Column], columns: &[Column]) -> bool {
    known.len() == columns.len() && known.iter().zip(columns).all(|(a, b)| a.is_the_same(b))
}

/// Whether the first message is of no answer, or perhaps the session's end.
#[inline]
pub(crate) fn is_between(input: &[u8]) -> bool {
    input.first().is_some_and(|&tag| is_tag_between(tag))
}

#[inline]
fn is_tag_between(tag: u8) -> bool {
    matches!(tag, b'N' | b'S' | b'A' | b'E')
}

#[cold]
fn broken_off() -> Error {
    violation("the server sent a CommandComplete that breaks off")
}

/// A row has come where none is owed.
#[cold]
pub(crate) fn unexpected_row() -> Error {
    violation("the server sent a row that was not requested")
}

#[cold]
fn not_empty(tag: u8) -> Error {
    violation(format!("the server sent a {:?} that is not empty", char::from(tag)))
}

/// The transaction status of a ReadyForQuery.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn read_ready(body: &[u8]) -> Result<TransactionStatus> {
    let &[status] = body else {
        return Err(violation("the server sent a ReadyForQuery that is not one byte long"));
    };
    TransactionStatus::from_byte(status)
        .ok_or_else(|| violation("the server sent an unknown transaction status"))
}
