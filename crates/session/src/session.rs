//! One PostgreSQL session without I/O: requests and bytes go in, events and bytes come out.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use crate::answer::Answer;
use crate::auth::{Channel, DerivedKey};
use crate::cancel::CancelKey;
use crate::encode::{Draft, bind_head};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::event::Event;
use crate::exchange::{CLOSES, Exchange, Progress, Step, Steps, read_ready};
use crate::limits;
use crate::notification::Notification;
use crate::outbox::Outbox;
use crate::phase::Phase;
use crate::pipeline::Pipeline;
use crate::request::{Request, Ticket};
use crate::rows::OWN_BUFFER_BYTES;
use crate::server_error::ServerError;
use crate::startup::{Encryption, Opening, Reply, Stage, Startup};
use crate::statement::StatementCache;
use crate::tls::Tls;
use crate::transaction_status::TransactionStatus;
use crate::wire::{Message, Partial, Reader, Trust, split_message, violation};

/// One PostgreSQL session without I/O.
///
/// A driver moves bytes and nothing else:
///
/// * what arrives goes into [`receive`](Self::receive), the end of it into [`receive_end`](Self::receive_end);
/// * what [`take_output`](Self::take_output) gives is to be sent, and [`sent`](Self::sent) is told how much of it was;
/// * [`next_event`](Self::next_event) tells what happened.
///
/// Every method may be called at any time and in any order. What makes no sense has no effect, or an error that says so.
/// Events depend neither on how the bytes were cut nor on when the methods were called.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    tls: Option<Box<Tls>>,
    outbox: Outbox,
    partial: Partial,
    /// Where decrypted bytes are put; empty between calls.
    plaintext: Vec<u8>,
    pipeline: Pipeline,
    events: VecDeque<Event>,
    statements: StatementCache,
    status: TransactionStatus,
    parameters: Vec<(String, String)>,
    cancel_key: Option<CancelKey>,
    notices: VecDeque<ServerError>,
    has_begun: bool,
    spare: Option<Box<Answer>>,
}

impl Session {
    /// Begins a session: its first bytes can be taken from [`take_output`](Self::take_output) at once.
    ///
    /// # Errors
    ///
    /// A startup parameter holds a NUL, or the TLS settings do not go with the server's name.
    pub fn new(opening: Opening) -> Result<Self> {
        let mut this = Self {
            statements: StatementCache::new(opening.statement_cache),
            phase: Phase::Starting(Box::new(Startup::new(opening))),
            tls: None,
            outbox: Outbox::default(),
            partial: Partial::default(),
            plaintext: Vec::new(),
            pipeline: Pipeline::default(),
            events: VecDeque::new(),
            status: TransactionStatus::Idle,
            parameters: Vec::new(),
            cancel_key: None,
            notices: VecDeque::new(),
            has_begun: false,
            spare: None,
        };
        match this.startup().map(|startup| startup.stage) {
            Some(Stage::Encryption) => {
                let mut draft = Draft::new(this.outbox.pending());
                draft.ssl_request();
                draft.keep();
            }
            Some(Stage::Handshake) => this.start_tls()?,
            _ => this.greet()?,
        }
        Ok(this)
    }

    fn startup(&mut self) -> Option<&mut Startup> {
        match &mut self.phase {
            Phase::Starting(startup) => Some(startup),
            _ => None,
        }
    }

    fn trust(&self) -> Trust {
        match self.phase {
            Phase::Starting(_) => Trust::Stranger,
            _ => Trust::Server,
        }
    }

    // --- Requests ---

    /// Appends a request to what is to be sent. Its answer will come as [`Event::Settled`] with this ticket.
    ///
    /// # Errors
    ///
    /// The request cannot be sent as it is, or the session is not open. Nothing is sent then, and nothing changes.
    pub fn submit(&mut self, request: Request<'_>) -> Result<Ticket> {
        self.submit_after(None, request)
    }

    /// As [`submit`](Self::submit), opening a transaction with this statement in the same flight: if that fails, the
    /// request is not run. A [`Request::Script`] cannot be combined so and is an error.
    #[inline]
    pub fn submit_after(&mut self, begin: Option<&str>, request: Request<'_>) -> Result<Ticket> {
        match self.phase {
            Phase::Open => {}
            Phase::Starting(_) => {
                return Err(Error::new(ErrorKind::Closed, "the session is not open yet"));
            }
            Phase::Closing | Phase::Closed => {
                return Err(Error::new(ErrorKind::Closed, "the connection is closed"));
            }
        }
        if let (Some(_), Request::Script { .. }) = (begin, request) {
            return Err(Error::new(
                ErrorKind::Request,
                "a script cannot open a transaction in the same flight",
            ));
        }
        let base = self.outbox.end();
        let mut closes = 0;
        let mut columns = None;
        let mut draft = Draft::new(self.outbox.pending());
        if !matches!(request, Request::Script { .. }) {
            for name in self.statements.names_to_close(CLOSES) {
                draft.close_statement(name)?;
                closes += 1;
            }
        }
        if let Some(begin) = begin {
            draft.parse("", begin, &[])?;
            draft.bind(&bind_head("", 0)?, &[], &[])?;
            draft.execute();
        }
        let steps: &'static [Step] = match request {
            Request::Script { sql } => {
                draft.query(sql)?;
                &[Step::Script]
            }
            Request::Prepare { name, sql } => {
                draft.parse(name, sql, &[])?;
                draft.describe(b'S', name)?;
                &[Step::Parse, Step::Statement]
            }
            Request::Run { statement, parameters } => {
                draft.bind(statement.bind_head(), statement.parameters(), parameters)?;
                draft.execute();
                columns = statement.shared_columns();
                &[Step::Bind, Step::Execute]
            }
            Request::PrepareAndRun { name, sql, types, parameters } => {
                draft.parse(name, sql, types)?;
                draft.bind(&bind_head(name, types.len())?, types, parameters)?;
                draft.describe(b'P', "")?;
                draft.execute();
                &[Step::Parse, Step::Bind, Step::Portal, Step::Execute]
            }
        };
        let decisive = base + draft.len() as u64;
        if !matches!(request, Request::Script { .. }) {
            draft.sync();
        }
        draft.keep();
        self.statements.closed(closes);
        let mut answer = self.spare.take().unwrap_or_default();
        answer.rows().describe(columns);
        Ok(self.pipeline.push(Steps::new(closes, begin.is_some(), steps), decisive, answer))
    }

    /// Takes back an answer that has been read, to be used for another one.
    #[inline]
    pub fn recycle(&mut self, mut answer: Box<Answer>) {
        answer.reset();
        self.spare = Some(answer);
    }

    /// Nobody waits for this answer any more: it is read and thrown away, and settles all the same.
    pub fn abandon(&mut self, ticket: Ticket) {
        if let Some(exchange) = self.pipeline.get(ticket) {
            exchange.abandon();
        }
    }

    pub(crate) fn statements(&mut self) -> &mut StatementCache {
        &mut self.statements
    }

    /// Ends the session: what is outstanding settles with an error, what was not taken for sending is not sent any more, and
    /// Terminate is the last message sent.
    pub fn close(&mut self) {
        match self.phase {
            Phase::Open => {
                self.outbox.withdraw();
                self.settle_all(&Loss::closed());
                let mut draft = Draft::new(self.outbox.pending());
                draft.terminate();
                draft.keep();
                self.phase = Phase::Closing;
            }
            Phase::Starting(_) => {
                self.phase = Phase::Closed;
                self.events.push_back(Event::Closed(None));
            }
            Phase::Closing | Phase::Closed => {}
        }
    }

    // --- Bytes out ---

    /// Whether there is anything to send.
    pub fn has_output(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
            && (!self.outbox.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_output()))
    }

    /// Appends to `into` what is to be sent, in this order and once.
    #[inline]
    pub fn take_output(&mut self, into: &mut BytesMut) {
        if self.tls.is_some() {
            self.take_encrypted(into);
        } else if !matches!(self.phase, Phase::Closed) {
            self.outbox.take_plain(into);
        }
    }

    fn take_encrypted(&mut self, into: &mut BytesMut) {
        let Some(tls) = self.tls.as_mut().filter(|_| !matches!(self.phase, Phase::Closed)) else {
            return;
        };
        // Handshake bytes first: they carry no request.
        let before = into.len();
        tls.output(&mut into.writer());
        self.outbox.handshake(into.len() - before);
        if tls.is_handshaking() {
            return;
        }
        while !self.outbox.is_empty() {
            let chunk = self.outbox.take_chunk(limits::TLS_CHUNK_BYTES);
            let before = into.len();
            if let Err(error) = tls.send(&chunk) {
                self.lost(error);
                return;
            }
            tls.output(&mut into.writer());
            self.outbox.encrypted(into.len() - before);
        }
    }

    /// Of what was taken, `count` more bytes have been sent.
    #[inline]
    pub fn sent(&mut self, count: usize) {
        if self.tls.is_some() {
            self.outbox.sent_encrypted(count);
        } else {
            self.outbox.sent_plain(count);
        }
    }

    // --- Bytes in ---

    /// Takes bytes that arrived, cut anywhere.
    #[inline]
    pub fn receive(&mut self, bytes: &[u8]) {
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        self.has_begun = true;
        if let Err(error) = self.take(bytes) {
            self.lost(error);
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
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

    /// The server has ended the connection.
    pub fn receive_end(&mut self) {
        match &self.phase {
            Phase::Starting(startup) if startup.stage == Stage::Handshake => {
                let error = startup.ended_in_handshake();
                self.lost(error);
            }
            Phase::Starting(_) => self.lost(
                Error::new(ErrorKind::Connect, "the server closed the connection during the login")
                    .with_hint("its log may say why; check that host and port are PostgreSQL's"),
            ),
            Phase::Open => {
                self.lost(Error::new(ErrorKind::Lost, "the server closed the connection"));
            }
            Phase::Closing => {
                self.phase = Phase::Closed;
                self.events.push_back(Event::Closed(None));
            }
            Phase::Closed => {}
        }
    }

    /// The session is over for this reason: every request that is outstanding settles with it, each with its own
    /// [`Delivery`].
    pub fn lost(&mut self, error: Error) {
        let closing = match self.phase {
            Phase::Closed => return,
            Phase::Closing => true,
            Phase::Starting(_) | Phase::Open => false,
        };
        self.settle_all(&Loss::of(&error));
        self.phase = Phase::Closed;
        self.events.push_back(Event::Closed((!closing).then_some(error)));
    }

    fn settle_all(&mut self, loss: &Loss) {
        while let Some(exchange) = self.pipeline.pop() {
            let ticket = exchange.ticket;
            let has_left = self.outbox.has_left(exchange.decisive());
            let delivery = if has_left { Delivery::Unknown } else { Delivery::NotSent };
            let error = exchange.into_failure().unwrap_or_else(|| loss.error(delivery));
            self.events.push_back(Event::Settled {
                ticket,
                outcome: Err(error),
                status: self.status,
            });
        }
    }

    /// The driver derived the key that [`Event::DeriveKey`] asked for.
    pub fn supply_key(&mut self, key: DerivedKey) {
        let Some(startup) = self.startup() else {
            return;
        };
        if let Err(error) = startup.supply_key(key).and_then(|reply| self.reply(reply)) {
            self.lost(error);
        }
    }

    // --- Startup ---

    fn start_tls(&mut self) -> Result<()> {
        let Some(startup) = self.startup() else {
            return Ok(());
        };
        if let Encryption::Tls { settings, server_name, .. } = &startup.encryption {
            let tls = Tls::new(settings, server_name)?;
            self.tls = Some(Box::new(tls));
        }
        Ok(())
    }

    /// When the handshake has just ended, the greeting begins.
    fn after_handshake(&mut self) -> Result<()> {
        if self.tls.as_ref().is_none_or(|tls| tls.is_handshaking()) {
            return Ok(());
        }
        let Some(startup) = self.startup().filter(|startup| startup.stage == Stage::Handshake)
        else {
            return Ok(());
        };
        startup.stage = Stage::Greeting;
        self.greet()
    }

    /// Sends the StartupMessage.
    fn greet(&mut self) -> Result<()> {
        let Phase::Starting(startup) = &self.phase else {
            return Ok(());
        };
        let mut draft = Draft::new(self.outbox.pending());
        draft.startup(startup.version_number(), startup.parameters())?;
        draft.keep();
        Ok(())
    }

    fn reply(&mut self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Wait => {}
            Reply::Send(body) => {
                let mut draft = Draft::new(self.outbox.pending());
                draft.authentication(&body)?;
                draft.keep();
            }
            Reply::Derive(derivation) => {
                self.events.push_back(Event::DeriveKey(Box::new(derivation)));
            }
            Reply::CancelKey(key) => self.cancel_key = key,
        }
        Ok(())
    }

    // --- Messages ---

    fn take_plaintext(&mut self, mut input: &[u8]) -> Result<()> {
        if !self.partial.is_empty() {
            if !self.partial.fill(&mut input, self.trust())? {
                return Ok(());
            }
            let bytes = self.partial.finish();
            self.take_whole(bytes)?;
        }
        while let Phase::Starting(_) = self.phase {
            let Some((message, rest)) = split_message(input, Trust::Stranger)? else {
                break;
            };
            self.dispatch(message)?;
            input = rest;
        }
        if !matches!(self.phase, Phase::Starting(_)) {
            while let Some((message, rest)) = split_message(input, Trust::Server)? {
                input = match message.tag {
                    b'D' => self.row_taker()?.take_rows(input, message, rest)?,
                    b'N' | b'S' | b'A' | b'E' => {
                        self.dispatch(message)?;
                        rest
                    }
                    _ => {
                        self.answer(message)?;
                        rest
                    }
                };
            }
        }
        if !input.is_empty() {
            self.partial.fill(&mut input, self.trust())?;
        }
        Ok(())
    }

    /// Takes one message in a buffer of its own.
    fn take_whole(&mut self, bytes: Vec<u8>) -> Result<()> {
        let Some((message, rest)) = split_message(&bytes, self.trust())? else {
            return Ok(());
        };
        if message.tag != b'D' || matches!(self.phase, Phase::Starting(_)) {
            return self.dispatch(message);
        }
        let exchange = self.row_taker()?;
        if bytes.len() >= OWN_BUFFER_BYTES {
            exchange.take_row_buffer(bytes)
        } else {
            exchange.take_rows(&bytes, message, rest).map(drop)
        }
    }

    #[inline]
    fn row_taker(&mut self) -> Result<&mut Exchange> {
        self.pipeline
            .front()
            .filter(|exchange| exchange.takes_rows())
            .ok_or_else(|| violation("the server sent a row that nobody asked for"))
    }

    fn dispatch(&mut self, message: Message<'_>) -> Result<()> {
        let Message { tag, body } = message;
        match (tag, &mut self.phase) {
            (b'N', _) => self.notice(ServerError::parse(body)),
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
    #[inline]
    fn answer(&mut self, message: Message<'_>) -> Result<()> {
        let Some(exchange) = self.pipeline.front() else {
            return Err(unasked(message));
        };
        match exchange.receive(message)? {
            Progress::Owed => {}
            Progress::RefuseCopy { sync_again } => self.refuse_copy(sync_again)?,
            Progress::Settled(status) => self.settle(status),
        }
        Ok(())
    }

    fn settle(&mut self, status: TransactionStatus) {
        self.status = status;
        if let Some(exchange) = self.pipeline.pop() {
            let ticket = exchange.ticket;
            let outcome = Exchange::settle(exchange, status);
            self.events.push_back(Event::Settled { ticket, outcome, status });
        }
    }

    /// The server waits for the data of a COPY, which only its own call could give.
    fn refuse_copy(&mut self, sync_again: bool) -> Result<()> {
        if self.pipeline.len() > 1 {
            // What follows is already on its way and would be taken for data.
            return Err(Error::new(
                ErrorKind::Lost,
                "a COPY FROM STDIN was started between other requests of the same connection",
            ));
        }
        let mut draft = Draft::new(self.outbox.pending());
        draft.copy_fail("this call cannot send data")?;
        if sync_again {
            // The server has taken the Sync of the request for data of the COPY (manual, section 54.2.6).
            draft.sync();
        }
        draft.keep();
        Ok(())
    }

    fn open(&mut self, body: &[u8]) -> Result<()> {
        self.status = read_ready(body)?;
        self.phase = Phase::Open;
        self.events.push_back(Event::Opened);
        Ok(())
    }

    fn notice(&mut self, notice: ServerError) {
        if self.notices.len() == limits::NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice.clone());
        self.events.push_back(Event::Notice(notice));
    }

    fn parameter_status(&mut self, body: &[u8]) -> Result<()> {
        let mut reader = Reader::new(body, "ParameterStatus");
        let name = reader.text()?.into_owned();
        let value = reader.text()?.into_owned();
        reader.end()?;
        let starting = matches!(self.phase, Phase::Starting(_));
        if name == "client_encoding" && !starting && !value.eq_ignore_ascii_case("UTF8") {
            return Err(Error::new(
                ErrorKind::Lost,
                format!("client_encoding was changed to {value}; this connection speaks UTF8 only"),
            )
            .with_hint("leave client_encoding alone"));
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

    // --- What is known ---

    /// What happened next, if anything did.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether something happened that has not been told.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the server, or whoever answers there, has sent anything yet.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Requests whose answers are outstanding.
    #[inline]
    pub fn outstanding(&self) -> usize {
        self.pipeline.len()
    }

    /// Whether requests may be submitted.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the session is over, or about to be.
    #[inline]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Closed)
    }

    /// Whether the bytes are encrypted: TLS was asked for, and its handshake has ended well.
    pub fn is_encrypted(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// The transaction status that the server reported last.
    #[inline]
    pub fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    /// A parameter that the server reports (manual, section 54.2.7), such as `server_version` or `TimeZone`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// How the session could be cancelled, if the server said.
    pub fn cancel_key(&self) -> Option<&CancelKey> {
        self.cancel_key.as_ref()
    }

    /// The newest notices, the oldest first.
    pub fn notices(&self) -> impl ExactSizeIterator<Item = &ServerError> {
        self.notices.iter()
    }
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
    violation(format!("the server sent {:?} without being asked", char::from(tag)))
}

/// Why everything outstanding ends, to be said to each.
struct Loss {
    kind: ErrorKind,
    message: String,
    server: Option<ServerError>,
}

impl Loss {
    fn of(error: &Error) -> Self {
        let message = match error.server() {
            Some(_) => "the server ended the session".to_owned(),
            None => error.to_string(),
        };
        Self { kind: error.kind(), message, server: error.server().cloned() }
    }

    fn closed() -> Self {
        Self {
            kind: ErrorKind::Closed,
            message: "the connection was closed before the answer came".to_owned(),
            server: None,
        }
    }

    fn error(&self, delivery: Delivery) -> Error {
        let error = Error::new(self.kind, self.message.clone()).with_delivery(delivery);
        match &self.server {
            Some(server) => error.with_server(server.clone()),
            None => error,
        }
    }
}
