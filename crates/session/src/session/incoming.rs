//! What arrives: from bytes to messages, and from messages to what they mean for the session.

use super::Session;
use crate::auth::Channel;
use crate::command::Command;
use crate::error::server_error::ServerError;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::exchange::{Exchange, Progress, is_between, read_ready, unexpected_row};
use crate::limits;
use crate::notification::Notification;
use crate::protocol::encode::Draft;
use crate::protocol::phase::Phase;
use crate::protocol::startup::Stage;
use crate::protocol::wire::{AuthState, Message, Reader, split_message, violation};
use crate::request::Ticket;
use crate::result::answer::Answer;
use crate::result::rows::OWN_BUFFER_BYTES;
use crate::transaction_status::TransactionStatus;

impl Session {
    #[inline]
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        if let Some(startup) = self.startup().filter(|startup| startup.stage == Stage::Encryption) {
            let Some((&byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            let begins = startup.ssl_answer(byte, !rest.is_empty())?;
            if begins {
                self.start_tls()?;
            } else {
                self.greet()?;
            }
            bytes = rest;
        }
        if self.tls.is_some() { self.take_ciphertext(bytes) } else { self.take_plaintext(bytes) }
    }

    fn take_ciphertext(&mut self, bytes: &[u8]) -> Result<()> {
        let mut plaintext = std::mem::take(&mut self.plaintext);
        let decrypted = match &mut self.tls {
            Some(tls) => tls.receive(bytes, &mut plaintext),
            None => Ok(()),
        };
        let taken = self.after_handshake().and_then(|()| self.take_plaintext(&plaintext));
        plaintext.clear();
        if plaintext.capacity() <= OWN_BUFFER_BYTES {
            self.plaintext = plaintext;
        }
        // What was said before TLS failed comes first.
        taken.and(decrypted)
    }

    #[inline]
    fn take_plaintext(&mut self, mut input: &[u8]) -> Result<()> {
        if !self.partial.is_empty() {
            if !self.partial.fill(&mut input, self.auth_state())? {
                self.tell_piece();
                return Ok(());
            }
            let bytes = self.partial.finish();
            self.take_whole(bytes)?;
        }
        while let Phase::Starting(_) = self.phase {
            let Some((message, rest)) = split_message(input, AuthState::Unauthenticated)? else {
                break;
            };
            self.dispatch(message)?;
            input = rest;
        }
        if !matches!(self.phase, Phase::Starting(_)) {
            input = self.take_messages(input)?;
        }
        if !input.is_empty() {
            self.partial.fill(&mut input, self.auth_state())?;
        }
        self.tell_piece();
        Ok(())
    }

    /// Takes the messages at the beginning of `input`, as many as are complete, and gives back what
    /// follows them.
    fn take_messages<'a>(&mut self, mut input: &'a [u8]) -> Result<&'a [u8]> {
        loop {
            if !is_between(input)
                && let Some(exchange) = self.answered()
            {
                let ticket = exchange.ticket;
                let (progress, rest) = exchange.take_run(input)?;
                input = rest;
                if !matches!(progress, Progress::Pending) {
                    self.advance(ticket, progress)?;
                    continue;
                }
            }
            // Between answers, or in the middle of one.
            let Some((message, rest)) = split_message(input, AuthState::Authenticated)? else {
                return Ok(input);
            };
            self.dispatch(message)?;
            input = rest;
        }
    }

    /// Tells what has come of an answer that is told piece by piece, and refuses one that grows too
    /// large.
    #[inline]
    pub(super) fn tell_piece(&mut self) {
        if self.piecemeal {
            self.tell_piece_now();
        }
    }

    #[inline(never)]
    fn tell_piece_now(&mut self) {
        self.piecemeal = self.pipeline.len() > 0 || self.answer_limit.is_some();
        if let Some(limit) = &self.answer_limit {
            self.partial.cut_words(limit.of_message());
        }
        let front = self.pipeline.front().filter(|exchange| !self.gate.holds(exchange.ticket));
        let Some(exchange) = front else {
            return;
        };
        if let Some(piece) = exchange.take_piece() {
            if let (Some(limit), Event::Rows { rows, .. }) = (&mut self.answer_limit, &piece)
                && exchange.is_chunked()
            {
                limit.told(exchange.ticket, rows.size());
            }
            self.events.push_back(piece);
        }
        let announced = self.partial.announced().filter(|(tag, _)| exchange.takes_data(*tag));
        let announced = announced.map_or(0, |(_, length)| length);
        if let Some(limit) = &self.answer_limit {
            let checked = if exchange.keeps_answer() {
                limit.check_whole(exchange.ticket, exchange.kept() + announced)
            } else {
                limit.check_message(announced)
            };
            if let Err(error) = checked {
                exchange.refuse(error);
            }
        }
        if announced > 0 && exchange.is_abandoned() {
            self.partial.discard();
        }
    }

    /// Takes one message in a buffer of its own.
    fn take_whole(&mut self, bytes: Vec<u8>) -> Result<()> {
        let Some((message, _)) = split_message(&bytes, self.auth_state())? else {
            return Ok(());
        };
        if matches!(self.phase, Phase::Starting(_)) {
            return self.dispatch(message);
        }
        if message.tag != b'D' || bytes.len() < OWN_BUFFER_BYTES {
            return self.take_messages(&bytes).map(drop);
        }
        match self.answered() {
            Some(exchange) => exchange.take_row_buffer(bytes),
            None => Err(unasked(message)),
        }
    }

    /// The exchange that the server is answering. What has not been asked yet cannot be answered;
    /// it would be asked after all, and answered twice.
    #[inline]
    fn answered(&mut self) -> Option<&mut Exchange> {
        self.pipeline.front().filter(|exchange| !self.gate.holds(exchange.ticket))
    }

    fn dispatch(&mut self, message: Message<'_>) -> Result<()> {
        let Message { tag, body } = message;
        if matches!(tag, b'N' | b'S' | b'A') {
            // What came before is told before, however the bytes were cut.
            self.tell_piece();
        }
        match (tag, &mut self.phase) {
            (b'N', _) => {
                let notice = ServerError::parse(body);
                if let Some(exchange) = self.answered() {
                    exchange.noticed(&notice);
                }
                self.notice(notice);
            }
            (b'S', _) => return self.parameter_status(body),
            (b'Z', Phase::Starting(startup)) if startup.stage == Stage::Settling => {
                return self.open(body);
            }
            (_, Phase::Starting(startup)) => {
                let channel = self.tls.as_ref().map_or(Channel::Plain, |tls| tls.channel());
                let reply = startup.receive(message, &channel)?;
                return self.reply(reply);
            }
            (b'A', _) => self.events.push_back(Event::Notification(Notification::read(body)?)),
            (b'E', _) if is_fatal(body) => {
                return Err(Error::new(ErrorKind::Lost, "the server ended the session")
                    .with_server(ServerError::parse(body)));
            }
            _ => return self.answer(message),
        }
        Ok(())
    }

    /// Takes a message that belongs to the answer which is owed next.
    fn answer(&mut self, message: Message<'_>) -> Result<()> {
        let Some(exchange) = self.answered() else {
            return Err(unasked(message));
        };
        let ticket = exchange.ticket;
        let progress = exchange.receive(message)?;
        self.advance(ticket, progress)
    }

    /// Does what is to be done about an answer's progress.
    // Once for each answer; as a call it would be handed its argument in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn advance(&mut self, ticket: Ticket, progress: Progress) -> Result<()> {
        match progress {
            Progress::Pending => {}
            Progress::Settled(status) => return self.settle(status),
            Progress::Ran(command) => self.ran(ticket, command),
            Progress::CopyStarted(started) => {
                let (direction, layout) = *started;
                self.copy_started(Event::CopyStarted { ticket, direction, layout });
            }
            Progress::RefuseCopy { sync_again } => self.refuse_copy(sync_again)?,
        }
        Ok(())
    }

    /// A statement of this request has changed what the session has on the server.
    #[cold]
    fn ran(&mut self, ticket: Ticket, command: Command) {
        self.since_idle.ran(ticket, command);
        match command {
            Command::DiscardAll | Command::DeallocateAll => self.statements.dropped_by(ticket),
            _ => {}
        }
    }

    #[cold]
    fn copy_started(&mut self, event: Event) {
        self.piecemeal = true;
        self.events.push_back(event);
    }

    // Once for each answer, as `advance`.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn settle(&mut self, status: TransactionStatus) -> Result<()> {
        self.status = status;
        self.tell_piece();
        if let Some(exchange) = self.pipeline.pop() {
            let ticket = exchange.ticket;
            let outcome = Exchange::settle(exchange);
            if self.since_idle.is_open() {
                return self.settle_remembering(ticket, outcome, status);
            }
            self.tell_settled(ticket, outcome, status);
        }
        Ok(())
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn tell_settled(
        &mut self,
        ticket: Ticket,
        outcome: Result<Box<Answer>>,
        status: TransactionStatus,
    ) {
        self.events.push_back(Event::Settled { ticket, outcome, status });
        if !self.gate.is_clear() {
            self.gate.settled(ticket);
            self.release();
        }
    }

    /// A request is complete, in whose transaction something was said that must be remembered
    /// until its end.
    #[cold]
    fn settle_remembering(
        &mut self,
        ticket: Ticket,
        outcome: Result<Box<Answer>>,
        status: TransactionStatus,
    ) -> Result<()> {
        let was_refused = outcome.as_ref().is_err_and(|error| error.server().is_some());
        let other_encoding = self.since_idle.take_other_encoding();
        if let Some(ticket) = self.since_idle.settled(ticket, was_refused, status) {
            self.events.push_back(Event::ListensLost { ticket });
        }
        if let Some(name) = other_encoding {
            self.events.push_back(Event::Settled { ticket, outcome, status });
            return Err(other_encoding_reported(ErrorKind::Lost, &name));
        }
        self.tell_settled(ticket, outcome, status);
        Ok(())
    }

    /// The server waits for the data of a COPY, which only its own call could give.
    #[cold]
    fn refuse_copy(&mut self, sync_again: bool) -> Result<()> {
        if self.on_the_line() > 1 {
            // What follows is already on its way and would be taken for data.
            return Err(Error::new(
                ErrorKind::Lost,
                "a COPY FROM STDIN was started between other requests of the same connection",
            ));
        }
        let mut draft = Draft::new(self.send_buffer.pending());
        draft.copy_fail("this call cannot send data")?;
        if sync_again {
            // The server has taken the Sync of the request for data of the COPY (manual, section
            // 54.2.6).
            draft.sync();
        }
        draft.keep();
        Ok(())
    }

    fn open(&mut self, body: &[u8]) -> Result<()> {
        self.status = read_ready(body)?;
        if let Some(other) = self.parameter("client_encoding").filter(|name| !is_utf8(name)) {
            return Err(Error::new(
                ErrorKind::Connect,
                format!("the server speaks {other} though UTF8 was asked for"),
            )
            .with_hint("a pooler between may ignore client_encoding"));
        }
        self.phase = Phase::Open;
        self.events.push_back(Event::Opened);
        Ok(())
    }

    fn notice(&mut self, notice: ServerError) {
        self.notices.push(&notice);
        if is_of_replication(&notice)
            && let Some(exchange) = self.answered()
        {
            exchange.fail(Error::not_replicated(notice.clone()));
        }
        self.events.push_back(Event::Notice(notice));
    }

    fn parameter_status(&mut self, body: &[u8]) -> Result<()> {
        let mut reader = Reader::new(body, "ParameterStatus");
        let name = reader.text()?.into_owned();
        let value = reader.text()?.into_owned();
        reader.end()?;
        let starting = matches!(self.phase, Phase::Starting(_));
        if name == "client_encoding" && !starting && !is_utf8(&value) {
            // What did it is told what became of it, and is not lost: from PostgreSQL 14 on the
            // report comes right before the end.
            let Some(exchange) = self.answered() else {
                return Err(other_encoding_reported(ErrorKind::Lost, &value));
            };
            exchange.abandon();
            exchange.fail(other_encoding_reported(ErrorKind::Request, &value));
            self.since_idle.reported_encoding(value);
            return Ok(());
        }
        // From PostgreSQL 18 on it is reported: the same text may mean other tables now.
        if name == "search_path" && !starting {
            self.statements.forget_all();
        }
        if let Some((_, known)) = self.parameters.iter_mut().find(|(known, _)| *known == name) {
            known.clone_from(&value);
        } else if self.parameters.len() < limits::REPORTED_PARAMETERS {
            self.parameters.push((name.clone(), value.clone()));
        }
        self.events.push_back(Event::Parameter { name, value });
        Ok(())
    }
}

/// Whether a wait for a synchronous standby was given up: told as a warning, before the success of
/// the commit that waited (`SyncRepWaitForLSN` in `src/backend/replication/syncrep.c`). The name of
/// the function is the only part that is not translated and stands for nothing else.
fn is_of_replication(notice: &ServerError) -> bool {
    notice.routine().as_deref() == Some("SyncRepWaitForLSN")
}

fn is_fatal(body: &[u8]) -> bool {
    ServerError::parse(body).is_fatal()
}

#[cold]
fn unasked(Message { tag, body }: Message<'_>) -> Error {
    if tag == b'E' {
        return Error::new(ErrorKind::Lost, "the server sent an error that answers nothing")
            .with_server(ServerError::parse(body));
    }
    if tag == b'D' {
        return unexpected_row();
    }
    violation(format!("the server sent {:?} without being asked", char::from(tag)))
}

#[cold]
fn other_encoding_reported(kind: ErrorKind, name: &str) -> Error {
    let what = "client_encoding was changed to";
    Error::new(kind, format!("{what} {name}; this connection speaks UTF8 only"))
        .with_hint("leave client_encoding alone")
}

fn is_utf8(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("UTF8") || encoding.eq_ignore_ascii_case("UNICODE")
}
