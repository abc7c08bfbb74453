//! One PostgreSQL session without I/O: requests and bytes go in, events and bytes come out.

mod copying;
mod departure;
mod incoming;
mod login;
mod version;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::answer_limit::AnswerLimit;
use crate::cancel::CancelKey;
use crate::error::server_error::ServerError;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::event::Event;
use crate::gate::{Gate, QueuedRequest};
use crate::limits;
use crate::loss::Loss;
use crate::notices::Notices;
use crate::pipeline::Pipeline;
use crate::protocol::encode::Draft;
use crate::protocol::expect::CLOSES;
use crate::protocol::phase::Phase;
use crate::protocol::startup::{SessionConfig, Stage, Startup};
use crate::protocol::wire::{AuthState, Partial};
use crate::request::encoded::EncodeBuffer;
use crate::request::{Request, Ticket};
use crate::result::answer::Answer;
use crate::result::row::Column;
use crate::send_buffer::{SendBuffer, move_to};
use crate::since_idle::SinceIdle;
use crate::statement::cache::StatementCache;
use crate::statement::catalog::Catalog;
use crate::tls::Tls;
use crate::transaction_status::TransactionStatus;

/// One PostgreSQL session without I/O.
///
/// A driver moves bytes and nothing else:
///
/// * what arrives goes into [`receive`](Self::receive), the end of it into
///   [`receive_end`](Self::receive_end);
/// * what [`take_output`](Self::take_output) gives is to be sent, and [`sent`](Self::sent) is told
///   how much of it was;
/// * [`next_event`](Self::next_event) tells what happened.
///
/// Every method may be called at any time and in any order. What makes no sense has no effect, or
/// an error that says so. Events depend neither on how the bytes were cut nor on when the methods
/// were called.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    tls: Option<Box<Tls>>,
    send_buffer: SendBuffer,
    gate: Gate,
    /// Where the newest request begins in the send buffer.
    newest: u64,
    partial: Partial,
    /// Where decrypted bytes are put; empty between calls.
    plaintext: Vec<u8>,
    pipeline: Pipeline,
    /// Something of what is outstanding may be told of, or refused, before its answer is complete.
    piecemeal: bool,
    answer_limit: Option<Box<AnswerLimit>>,
    events: VecDeque<Event>,
    statements: StatementCache,
    catalog: Catalog,
    status: TransactionStatus,
    parameters: Vec<(String, String)>,
    cancel_key: Option<CancelKey>,
    notices: Notices,
    has_begun: bool,
    since_idle: SinceIdle,
    spare: Option<Box<Answer>>,
    /// Where requests without a buffer of their own are written.
    scratch: EncodeBuffer,
}

impl Session {
    /// Begins a session: its first bytes can be taken from [`take_output`](Self::take_output) at
    /// once.
    ///
    /// # Errors
    ///
    /// A startup parameter holds a NUL, or the TLS settings do not go with the server's name.
    pub fn new(config: SessionConfig) -> Result<Self> {
        let statements = StatementCache::new(config.statement_cache, tag(&config));
        let gate = Gate::new(config.pipelining);
        let answer_limit = AnswerLimit::new(config.max_answer_bytes);
        let piecemeal = answer_limit.is_some();
        let this = Self::begin(Startup::new(config), statements)?;
        Ok(Self { gate, piecemeal, answer_limit, ..this })
    }

    fn begin(startup: Startup, statements: StatementCache) -> Result<Self> {
        let mut this = Self {
            statements,
            phase: Phase::Starting(Box::new(startup)),
            tls: None,
            send_buffer: SendBuffer::default(),
            gate: Gate::default(),
            newest: 0,
            partial: Partial::default(),
            plaintext: Vec::new(),
            pipeline: Pipeline::default(),
            piecemeal: false,
            answer_limit: None,
            events: VecDeque::new(),
            catalog: Catalog::default(),
            status: TransactionStatus::Idle,
            parameters: Vec::new(),
            cancel_key: None,
            notices: Notices::default(),
            has_begun: false,
            since_idle: SinceIdle::default(),
            spare: None,
            scratch: EncodeBuffer::default(),
        };
        match this.startup().map(|startup| startup.stage) {
            Some(Stage::Encryption) => {
                let mut draft = Draft::new(this.send_buffer.pending());
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

    fn auth_state(&self) -> AuthState {
        match self.phase {
            Phase::Starting(_) => AuthState::Unauthenticated,
            _ => AuthState::Authenticated,
        }
    }

    // --- Requests ---

    /// Appends a request to what is to be sent. Its answer will come as [`Event::Settled`] with
    /// this ticket.
    ///
    /// Parameters are encoded here, while the session is borrowed; a [`Query`](crate::Query)
    /// encodes its own without one.
    ///
    /// # Errors
    ///
    /// The request cannot be sent as it is, or the session is not open. Nothing is sent then, and
    /// nothing changes.
    pub fn submit(&mut self, request: Request<'_>) -> Result<Ticket> {
        self.submit_after(None, request)
    }

    /// As [`submit`](Self::submit), opening a transaction with this statement in the same flight:
    /// if that fails, the request is not run. A [`Request::Script`] cannot be combined so and is an
    /// error.
    pub fn submit_after(&mut self, begin: Option<&str>, request: Request<'_>) -> Result<Ticket> {
        self.check_open()?;
        let mut buffer = std::mem::take(&mut self.scratch);
        let ticket =
            buffer.write(begin, request).and_then(|()| self.append(&mut buffer, request.columns()));
        self.scratch = buffer;
        ticket
    }

    /// # Errors
    ///
    /// Requests cannot be submitted yet, or any more.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if matches!(self.phase, Phase::Open) { Ok(()) } else { Err(self.not_open()) }
    }

    #[cold]
    fn not_open(&self) -> Error {
        let what = match self.phase {
            Phase::Starting(_) => "the session is not open yet",
            _ => "the connection is closed",
        };
        Error::new(ErrorKind::Closed, what)
    }

    /// Appends a request that was written elsewhere, and leaves its buffer empty.
    ///
    /// # Errors
    ///
    /// The session is not open. Nothing changes.
    // On the way of every request; as a call it would be handed its argument in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn append(
        &mut self,
        buffer: &mut EncodeBuffer,
        columns: Option<Arc<[Column]>>,
    ) -> Result<Ticket> {
        self.check_open()?;
        let takes_closes = self.statements.has_names_to_close() && buffer.takes_closes();
        let answer = self.answer_with(columns);
        if takes_closes || !self.gate.is_clear() {
            return self.append_slowly(buffer, takes_closes, answer);
        }
        let base = self.send_buffer.end();
        self.newest = base;
        self.send_buffer.append(buffer.bytes());
        let acts_at = base + buffer.acts_at() as u64;
        let ticket = self.pipeline.push(buffer.steps(), acts_at, answer);
        if buffer.is_exclusive() {
            self.make_exclusive(ticket);
        }
        Ok(ticket)
    }

    /// The same for a request that closes statements, or must wait until it may leave.
    #[cold]
    fn append_slowly(
        &mut self,
        buffer: &mut EncodeBuffer,
        takes_closes: bool,
        answer: Box<Answer>,
    ) -> Result<Ticket> {
        let mut queued = BytesMut::new();
        let closes =
            if takes_closes { write_closes(&mut self.statements, &mut queued)? } else { 0 };
        let steps = buffer.steps().after_closes(closes);
        let acts_at = (queued.len() + buffer.acts_at()) as u64;
        move_to(&mut queued, buffer.bytes());
        let ticket = if self.gate.is_clear() {
            let base = self.send_buffer.end();
            self.newest = base;
            self.send_buffer.append(&mut queued);
            self.pipeline.push(steps, base + acts_at, answer)
        } else {
            let ticket = self.pipeline.push(steps, departure::NOT_YET, answer);
            self.gate.push(QueuedRequest::new(ticket, queued, acts_at));
            self.release();
            ticket
        };
        if buffer.is_exclusive() {
            self.make_exclusive(ticket);
        }
        Ok(ticket)
    }

    /// Where the answer to a request is put, whose rows have these columns if they are known
    /// beforehand.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn answer_with(&mut self, columns: Option<Arc<[Column]>>) -> Box<Answer> {
        let mut answer = self.spare.take().unwrap_or_default();
        answer.rows().describe(columns);
        answer
    }

    /// Takes back an answer that has been read, to be used for another one.
    #[inline]
    pub fn recycle(&mut self, mut answer: Box<Answer>) {
        answer.reset();
        self.spare = Some(answer);
    }

    /// Abandons a request: its answer is read and discarded, and settles all the same.
    pub fn abandon(&mut self, ticket: Ticket) {
        // The only error there is lies in the reason given.
        let _ = self.copy_fail(ticket, "the client gave up");
        if let Some(exchange) = self.pipeline.get(ticket) {
            exchange.abandon();
        }
    }

    /// Rows of this request are told of as they come, by [`Event::Rows`], instead of with its
    /// answer. With `least` above 0 they are whenever there are so many bytes of them, and what is
    /// left at the end comes with the answer.
    pub fn stream(&mut self, ticket: Ticket, least: u32) {
        if let Some(exchange) = self.pipeline.get(ticket) {
            self.piecemeal = true;
            exchange.stream(least);
        }
    }

    pub(crate) fn statements(&mut self) -> &mut StatementCache {
        &mut self.statements
    }

    /// Whether a statement that was prepared before may mean something else, as long as this
    /// transaction is open.
    #[inline]
    pub(crate) fn names_changed(&self) -> bool {
        self.since_idle.names_changed()
    }

    #[inline]
    pub(crate) fn keeps_names(&self) -> bool {
        self.statements.keeps_names()
    }

    /// Whether what is described now may be taken for true later on.
    pub(crate) fn remembers(&self) -> bool {
        let is_idle = self.status == TransactionStatus::Idle;
        !self.names_changed() && (is_idle || self.keeps_names())
    }

    /// The types that were looked up; none if they are stale.
    pub(crate) fn catalog(&mut self) -> &mut Catalog {
        if self.catalog.stale_flag().is_stale() {
            self.catalog.forget();
        }
        &mut self.catalog
    }

    /// Forgets the types that were looked up and the statements that may use them: DDL has changed
    /// them. They are looked up again when they are next met.
    pub fn forget_types(&mut self) {
        self.catalog.stale_flag().mark_stale();
        self.statements.forget_all();
    }

    /// Ends the session: what is outstanding settles with an error, what was not taken for sending
    /// is not sent any more, and Terminate is the last message sent.
    pub fn close(&mut self) {
        match self.phase {
            Phase::Open => {
                self.send_buffer.withdraw();
                self.settle_all(&Loss::closed());
                let mut draft = Draft::new(self.send_buffer.pending());
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
    #[inline]
    pub fn has_output(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
            && (!self.send_buffer.is_empty()
                || self.tls.as_ref().is_some_and(|tls| tls.has_output()))
    }

    /// Bytes that wait to be taken for sending, before encryption.
    pub fn output_len(&self) -> usize {
        self.send_buffer.len()
    }

    /// Appends to `into` what is to be sent, in this order and once. Returns whether there is more:
    /// what is encrypted comes in parts ([`limits::TLS_OUTPUT_BYTES`]), the next of which is to be
    /// taken when this one was sent.
    #[inline]
    pub fn take_output(&mut self, into: &mut BytesMut) -> bool {
        if self.tls.is_some() {
            return self.take_encrypted(into);
        }
        if !matches!(self.phase, Phase::Closed) {
            self.send_buffer.take_plain(into);
        }
        false
    }

    fn take_encrypted(&mut self, into: &mut BytesMut) -> bool {
        let Some(tls) = self.tls.as_mut().filter(|_| !matches!(self.phase, Phase::Closed)) else {
            return false;
        };
        // Handshake bytes first: they carry no request.
        let before = into.len();
        tls.output(&mut into.writer());
        self.send_buffer.handshake(into.len() - before);
        if tls.is_handshaking() {
            return false;
        }
        let mut taken = 0;
        while !self.send_buffer.is_empty() && taken < limits::TLS_OUTPUT_BYTES {
            let chunk = self.send_buffer.take_chunk(limits::TLS_CHUNK_BYTES);
            taken += chunk.len();
            let before = into.len();
            if let Err(error) = tls.send(&chunk) {
                self.lost(error);
                return false;
            }
            tls.output(&mut into.writer());
            self.send_buffer.encrypted(into.len() - before);
        }
        !self.send_buffer.is_empty()
    }

    /// Of what was taken, `count` more bytes have been sent.
    #[inline]
    pub fn sent(&mut self, count: usize) {
        if self.tls.is_some() {
            self.send_buffer.sent_encrypted(count);
        } else {
            self.send_buffer.sent_plain(count);
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

    /// The server has ended the connection.
    pub fn receive_end(&mut self) {
        match &self.phase {
            Phase::Starting(startup) if startup.stage == Stage::Handshake => {
                let error = startup.ended_in_handshake();
                self.lost(error);
            }
            Phase::Starting(startup) if startup.stage == Stage::Interrupting => {
                self.interrupted();
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

    /// The session is over for this reason: every request that is outstanding settles with it, each
    /// with its own [`Delivery`].
    pub fn lost(&mut self, error: Error) {
        let closing = match self.phase {
            Phase::Closed => return,
            Phase::Closing => true,
            Phase::Starting(_) | Phase::Open => false,
        };
        self.settle_all(&Loss::from_error(&error));
        self.phase = Phase::Closed;
        self.events.push_back(Event::Closed((!closing).then_some(error)));
    }

    fn settle_all(&mut self, loss: &Loss) {
        self.tell_piece();
        self.gate.clear();
        while let Some(exchange) = self.pipeline.pop() {
            let ticket = exchange.ticket;
            let has_left =
                self.send_buffer.has_left(exchange.acts_at()) && !exchange.awaits_copy_data();
            let delivery = if has_left { Delivery::Unknown } else { Delivery::NotSent };
            let error = match exchange.into_failure() {
                // That the peer breaks the protocol is not hidden by what the call could not do.
                Some(failure) if loss.is_violation() && failure.server().is_none() => {
                    loss.error(delivery).with_source(failure)
                }
                Some(failure) => failure,
                None => loss.error(delivery),
            };
            self.events.push_back(Event::Settled {
                ticket,
                outcome: Err(error),
                status: self.status,
            });
        }
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

    /// Whether the peer has sent anything yet.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Requests from the oldest that is outstanding to the newest; those that were withdrawn in
    /// between included.
    #[inline]
    pub fn outstanding(&self) -> usize {
        self.pipeline.len()
    }

    /// The ticket that the next request gets.
    pub fn next_ticket(&self) -> Ticket {
        self.pipeline.next_ticket()
    }

    /// Continues `last`, the session that was before this one on the same connection: requests are
    /// numbered on, without repeating a ticket, and what queries that outlive `last` know of its
    /// types and statements is forgotten, since this server process has never seen them. Numbering
    /// has no effect while requests are outstanding.
    pub fn follow(&mut self, last: &mut Self) {
        let next = last.next_ticket();
        last.forget_types();
        last.statements.dropped_by(next);
        self.pipeline.number_from(next);
        self.statements.dropped_by(next);
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

    /// Whether it is being agreed on whether and how to encrypt, so that the login has not begun.
    pub fn is_negotiating_encryption(&self) -> bool {
        let negotiates = |stage| matches!(stage, Stage::Encryption | Stage::Handshake);
        matches!(&self.phase, Phase::Starting(startup) if negotiates(startup.stage))
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

    /// A parameter that the server reports (manual, section 54.2.7), such as `server_version` or
    /// `TimeZone`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// How the session could be cancelled, if the server said.
    pub fn cancel_key(&self) -> Option<&CancelKey> {
        self.cancel_key.as_ref()
    }

    /// The newest notices, the oldest first: as many as [`limits::NOTICES`] and
    /// [`limits::NOTICES_BYTES`] leave.
    pub fn notices(&self) -> impl ExactSizeIterator<Item = &ServerError> {
        self.notices.iter()
    }
}

/// Writes `Close` for statements that are not needed any more; gives back for how many.
fn write_closes(statements: &mut StatementCache, out: &mut BytesMut) -> Result<u8> {
    let mut count = 0;
    let mut draft = Draft::new(out);
    for name in statements.names_to_close(CLOSES) {
        draft.close(b'S', name)?;
        count += 1;
    }
    draft.keep();
    statements.closed(count);
    Ok(count)
}

/// Some of the configuration's random bytes, by which the session's statements are named.
fn tag(config: &SessionConfig) -> u64 {
    config.nonce.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
