//! The client's side of a dialog: does what its lines say, and writes down what the session says to that.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use txpostgres_session::config::{
    AuthenticationMethod, ChannelBinding, Password, ProtocolVersion, RequireAuth, SslMode,
    SslNegotiation,
};
use txpostgres_session::tls::TlsOptions;
use txpostgres_session::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use txpostgres_session::{
    Column, DerivedKey, EncodeBuffer, Encryption, Event, Execute, KeyCache, Login, NextStep,
    ParameterSets, Parameters, Query, Request, ResultFormats, Session, SessionConfig, Submitted,
    Ticket, TlsSettings,
};

use super::dialog::{Act, Ask, Dialog, Step};
use super::spoken;
use super::watch::Watch;
use super::words::quote;

/// Keys that were derived before: a dialog is played a thousand times, and each derivation takes milliseconds.
static KEYS: Mutex<Option<HashMap<String, DerivedKey>>> = Mutex::new(None);

/// A parameter that is sent as the bytes that the dialog gives.
#[derive(Debug)]
pub struct Value(pub Option<Vec<u8>>);

/// How a value begins that is given as text.
const TEXT: &[u8] = b"text:";

impl ToSql for Value {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(match &self.0 {
            Some(bytes) => {
                out.put_slice(bytes.strip_prefix(TEXT).unwrap_or(bytes));
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn encode_format(&self, _: &Type) -> Format {
        match &self.0 {
            Some(bytes) if bytes.starts_with(TEXT) => Format::Text,
            _ => Format::Binary,
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

struct Pending {
    ticket: Option<Ticket>,
    /// The BEGIN that was sent along with the first step, and whether it goes along once more.
    begin: Option<String>,
    begins_again: bool,
    query: Query,
    sql: String,
    values: Vec<Value>,
    what: What,
}

/// What is done with a statement.
enum What {
    Run,
    /// Into this portal, and so many rows of it.
    Open(String, u32),
    /// Once with each value.
    Many,
}

/// Each value as a set of its own.
struct Sets<'a>(&'a [Value]);

impl ParameterSets for Sets<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn with(
        &self,
        index: usize,
        f: &mut dyn FnMut(Parameters<'_>) -> Result<(), txpostgres_session::Error>,
    ) -> Result<(), txpostgres_session::Error> {
        f(&[&self.0[index]])
    }
}

pub struct Player<'d> {
    dialog: &'d Dialog,
    pub session: Session,
    pub watch: Watch,
    /// What the session said.
    pub events: Vec<String>,
    /// What it sent.
    pub stream: Vec<u8>,
    tickets: Vec<Ticket>,
    queries: Vec<Pending>,
    /// What came of answers before they were complete: how it is cut depends on the network, so it is written down with them.
    pieces: HashMap<Ticket, Pieces>,
    /// Copies whose data we send, and which of them was given up, by number.
    pub feeds: HashMap<usize, bool>,
    portals: HashMap<String, Option<Arc<[Column]>>>,
    opened: HashMap<Ticket, String>,
}

/// Rows and data that came before the end.
#[derive(Default)]
struct Pieces {
    rows: String,
    data: Vec<u8>,
    messages: usize,
}

pub fn session_config(dialog: &Dialog) -> SessionConfig {
    let option = |name| dialog.option(name);
    let user = option("user").unwrap_or("tester").to_owned();
    let version = |text: &str| match text {
        "3.0" => ProtocolVersion::V3_0,
        _ => ProtocolVersion::V3_2,
    };
    let (oldest, newest) =
        option("versions").and_then(|v| v.split_once("..")).unwrap_or(("3.0", "3.0"));
    let encryption = match option("tls") {
        None => Encryption::Plain,
        Some(mode) => {
            let sslmode = if mode == "prefer" { SslMode::Prefer } else { SslMode::Require };
            let settings =
                TlsSettings::build(&TlsOptions { sslmode, ..TlsOptions::default() }).unwrap();
            Encryption::Tls {
                settings,
                server_name: "localhost".to_owned(),
                negotiation: SslNegotiation::Postgres,
                optional: mode == "prefer",
            }
        }
    };
    let require_auth = match option("require_auth") {
        Some("scram-sha-256") => RequireAuth::only([AuthenticationMethod::ScramSha256]),
        _ => RequireAuth::default(),
    };
    SessionConfig {
        parameters: vec![("user".to_owned(), user.clone())],
        encryption,
        login: Login {
            user,
            password: option("password").map(Password::from),
            require_auth,
            channel_binding: ChannelBinding::default(),
            keys: KeyCache::default(),
            over_network: dialog.option("over") == Some("network"),
            ..Login::default()
        },
        nonce: *b"eighteen bytes....",
        versions: version(oldest)..=version(newest),
        statement_cache: option("cache").map_or(256, |number| number.parse().unwrap()),
        pipelining: option("pipelining") != Some("0"),
        max_answer_bytes: option("answer").map_or(0, |number| number.parse().unwrap()),
    }
}

impl<'d> Player<'d> {
    pub fn new(dialog: &'d Dialog) -> Self {
        Self {
            dialog,
            session: Session::new(session_config(dialog)).unwrap(),
            watch: Watch::default(),
            events: Vec::new(),
            stream: Vec::new(),
            tickets: Vec::new(),
            queries: Vec::new(),
            pieces: HashMap::new(),
            feeds: HashMap::new(),
            portals: HashMap::new(),
            opened: HashMap::new(),
        }
    }

    pub fn act(&mut self, act: &Act) {
        let outcome = match act {
            Act::Submit { begin, what } => self.submit(begin.as_deref(), what),
            Act::Again => self.again(),
            Act::Abandon(number) => {
                if let Some(&ticket) = self.tickets.get(*number) {
                    self.abandon(ticket);
                }
                return;
            }
            Act::Exclusive(what) => self.submit(None, what).inspect(|&ticket| {
                assert!(self.session.make_exclusive(ticket), "it is not too late");
            }),
            Act::Cancel(number) => {
                if let Some(&ticket) = self.tickets.get(*number) {
                    let cancel = self.session.cancel(ticket);
                    self.events.push(format!("cancel #{number}: {cancel:?}"));
                    self.drain();
                }
                return;
            }
            Act::TakeBack(number) => {
                if let Some(&ticket) = self.tickets.get(*number) {
                    let is_taken_back = self.session.take_back(ticket);
                    self.events.push(format!("take back #{number}: {is_taken_back}"));
                    self.drain();
                }
                return;
            }
            Act::OpenGate => return self.session.open_gate(),
            Act::Stream(number) => {
                if let Some(&ticket) = self.tickets.get(*number) {
                    self.session.stream(ticket, 0);
                }
                return;
            }
            Act::Data(number, data) => {
                if let Some(&ticket) = self.tickets.get(*number) {
                    let is_fed = self.session.is_fed(ticket);
                    assert_eq!(self.session.copy_data(ticket, data).unwrap(), is_fed);
                }
                return;
            }
            Act::Done(number) => {
                if let Some(&ticket) = self.tickets.get(*number) {
                    self.session.copy_done(ticket);
                    assert!(!self.session.is_fed(ticket), "the end was said");
                }
                return;
            }
            Act::Fail(number, why) => {
                if let Some(&ticket) = self.tickets.get(*number) {
                    self.session.copy_fail(ticket, why).unwrap();
                    assert!(!self.session.is_fed(ticket), "the end was said");
                }
                return;
            }
            Act::Close => {
                self.watch.close();
                self.session.close();
                self.drain();
                return;
            }
            Act::End => return self.receive_end(),
        };
        match outcome {
            Ok(ticket) => {
                self.watch.submitted(ticket);
                if let Act::Submit { what: Ask::CopyIn(_), .. } | Act::Exclusive(Ask::CopyIn(_)) =
                    act
                {
                    self.feeds.insert(self.tickets.len(), false);
                }
                self.tickets.push(ticket);
            }
            Err(error) => self.events.push(format!("refused: {}", spoken::error(&error))),
        }
    }

    fn submit(
        &mut self,
        begin: Option<&str>,
        what: &Ask,
    ) -> Result<Ticket, txpostgres_session::Error> {
        let session = &mut self.session;
        match what {
            Ask::Script(sql) => session.submit_after(begin, Request::Script { sql }),
            Ask::Prepare { name, sql } => {
                session.submit_after(begin, Request::Prepare { name, sql })
            }
            Ask::Fresh { name, sql, types, values } => {
                let values: Vec<_> = values.iter().cloned().map(Value).collect();
                let parameters: Vec<_> = values.iter().map(as_parameter).collect();
                let request = Request::PrepareAndRun {
                    name,
                    sql,
                    types,
                    parameters: &parameters,
                    results: ResultFormats::Binary,
                };
                session.submit_after(begin, request)
            }
            Ask::Query { sql, values } => self.query(begin, sql, values, What::Run),
            Ask::Portal { portal, rows, sql, values } => {
                self.query(begin, sql, values, What::Open(portal.clone(), *rows))
            }
            Ask::Many { sql, sets } => self.query(begin, sql, sets, What::Many),
            Ask::Fetch { portal, rows } => {
                let columns = self.portals.get(portal).and_then(Option::as_ref);
                session.submit_after(begin, Request::Fetch { portal, columns, rows: *rows })
            }
            Ask::ClosePortal { portal } => {
                session.submit_after(begin, Request::ClosePortal { portal })
            }
            Ask::CopyIn(sql) => session.submit_after(begin, Request::CopyIn { sql }),
            Ask::CopyOut(sql) => session.submit_after(begin, Request::CopyOut { sql }),
        }
    }

    fn query(
        &mut self,
        begin: Option<&str>,
        sql: &str,
        values: &[Option<Vec<u8>>],
        what: What,
    ) -> Result<Ticket, txpostgres_session::Error> {
        let mut pending = Pending {
            ticket: None,
            begin: begin.map(str::to_owned),
            begins_again: false,
            query: Query::new(),
            sql: sql.to_owned(),
            values: values.iter().cloned().map(Value).collect(),
            what,
        };
        let ticket = pending.submit(&mut self.session, begin)?;
        if let What::Open(portal, _) = &pending.what {
            self.opened.insert(ticket, portal.clone());
        }
        self.queries.push(pending);
        Ok(ticket)
    }

    fn again(&mut self) -> Result<Ticket, txpostgres_session::Error> {
        match self.queries.iter_mut().find(|pending| pending.ticket.is_none()) {
            Some(pending) => {
                let begins = std::mem::take(&mut pending.begins_again);
                let begin = pending.begin.clone().filter(|_| begins);
                let ticket = pending.submit(&mut self.session, begin.as_deref())?;
                if let What::Open(portal, _) = &pending.what {
                    self.opened.insert(ticket, portal.clone());
                }
                Ok(ticket)
            }
            // Its answer did not come in this variation of the dialog.
            None => self.session.submit(Request::Script { sql: "" }),
        }
    }

    fn abandon(&mut self, ticket: Ticket) {
        if let Some(at) = self.queries.iter().position(|query| query.ticket == Some(ticket)) {
            let mut pending = self.queries.remove(at);
            pending.query.abandon(&mut self.session);
        }
        self.session.abandon(ticket);
        self.watch.abandoned(ticket);
        let number = usize::try_from(ticket.number()).unwrap();
        self.feeds.entry(number).and_modify(|abandoned| *abandoned = true);
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.session.receive(bytes);
        self.drain();
    }

    pub fn receive_end(&mut self) {
        self.session.receive_end();
        self.drain();
    }

    /// Takes what is to be sent; it has not left yet.
    pub fn take(&mut self) -> usize {
        let mut out = BytesMut::new();
        self.session.take_output(&mut out);
        self.stream.extend_from_slice(&out);
        out.len()
    }

    pub fn drain(&mut self) {
        while self.hear_one() {}
    }

    /// Takes one event, if there is any.
    pub fn hear_one(&mut self) -> bool {
        let Some(event) = self.session.next_event() else {
            return false;
        };
        self.watch.event(&event);
        if let Some(event) = self.keep_piece(event) {
            let text = self.hear(event);
            self.events.push(text);
        }
        true
    }

    /// Whether the columns of a portal's rows are known: its rows can be told apart.
    pub fn knows_portal(&self, portal: &str) -> bool {
        self.portals.get(portal).is_some_and(Option::is_some)
    }

    /// Whether a query waits to be asked further.
    pub fn waits(&self) -> bool {
        self.queries.iter().any(|pending| pending.ticket.is_none())
    }

    fn hear(&mut self, event: Event) -> String {
        match event {
            Event::DeriveKey(derivation) => {
                let name = self.dialog.name.clone();
                let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
                let keys = keys.get_or_insert_default();
                let key = keys.entry(name).or_insert_with(|| derivation.run()).clone();
                self.session.supply_key(key);
                "derive a key".to_owned()
            }
            Event::Settled { ticket, outcome, status } => {
                let at = self.queries.iter().position(|query| query.ticket == Some(ticket));
                let Some(at) = at else {
                    return self.settled(Event::Settled { ticket, outcome, status });
                };
                let Pending { ticket: waiting, query, sql, begins_again, .. } =
                    &mut self.queries[at];
                *waiting = None;
                match query.settled(&mut self.session, sql, outcome, status) {
                    NextStep::Again => {
                        format!("#{} {} again", ticket.number(), char::from(status.as_byte()))
                    }
                    NextStep::AgainAfterRollback(error) => {
                        *begins_again = true;
                        let error = spoken::error(&error);
                        let status = char::from(status.as_byte());
                        format!("#{} {status} again after a rollback: {error}", ticket.number())
                    }
                    NextStep::Done(outcome) => {
                        self.queries.remove(at);
                        self.settled(Event::Settled { ticket, outcome, status })
                    }
                }
            }
            event => spoken::event(&event, &self.session),
        }
    }

    /// Keeps a piece of an answer until the answer is complete.
    fn keep_piece(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Rows { ticket, rows } => {
                let pieces = self.pieces.entry(ticket).or_default();
                for row in rows.iter() {
                    write!(pieces.rows, " {}", spoken::row(row)).unwrap();
                }
            }
            Event::CopyData { ticket, data } => {
                let pieces = self.pieces.entry(ticket).or_default();
                pieces.data.extend(&data.bytes);
                pieces.messages += data.messages;
            }
            event => return Some(event),
        }
        None
    }

    /// Writes down an answer, and gives it back to be used again: nothing of it may be seen in another one.
    fn settled(&mut self, event: Event) -> String {
        let mut text = spoken::event(&event, &self.session);
        if let Event::Settled { ticket, outcome, .. } = event {
            if let Some(Pieces { rows, data, messages }) = self.pieces.remove(&ticket) {
                if messages == 0 {
                    write!(text, " after{rows}").unwrap();
                } else {
                    write!(text, " after {} in {messages}", quote(&data)).unwrap();
                }
            }
            if let Ok(answer) = outcome {
                if let Some(portal) = self.opened.remove(&ticket) {
                    self.portals.insert(portal, answer.columns());
                }
                self.session.recycle(answer);
            }
        }
        text
    }

    /// Plays the dialog as it was recorded, and checks what is sent at each turn.
    pub fn play_straight(&mut self) {
        let dialog = self.dialog;
        for step in &dialog.steps {
            match step {
                Step::Act(act) => self.act(act),
                Step::Server(pieces) => {
                    let bytes: Vec<_> = pieces.iter().flat_map(|p| p.bytes.clone()).collect();
                    self.receive(&bytes);
                }
                Step::Sends(_) => {
                    let count = self.take();
                    self.session.sent(count);
                }
            }
        }
    }
}

impl Pending {
    fn submit(
        &mut self,
        session: &mut Session,
        begin: Option<&str>,
    ) -> Result<Ticket, txpostgres_session::Error> {
        let parameters: Vec<_> = self.values.iter().map(as_parameter).collect();
        let sets = Sets(&self.values);
        let execute = match &self.what {
            What::Run => Execute::Run(&parameters),
            What::Open(portal, rows) => {
                Execute::Open { portal, rows: *rows, parameters: &parameters }
            }
            What::Many => Execute::Many(&sets),
        };
        let ticket = submit_query(&mut self.query, session, &self.sql, execute, begin)?;
        self.ticket = Some(ticket);
        Ok(ticket)
    }
}

/// Plans, encodes and submits what a query asks next.
pub fn submit_query(
    query: &mut Query,
    session: &mut Session,
    sql: &str,
    execute: Execute<'_>,
    begin: Option<&str>,
) -> Result<Ticket, txpostgres_session::Error> {
    let mut buffer = EncodeBuffer::new();
    loop {
        let encoded = query.plan(session, sql)?.encode(sql, execute, begin, &mut buffer);
        let submitted = query.submit(session, sql, encoded)?;
        assert!(buffer.is_empty());
        if let Submitted::Sent(ticket) = submitted {
            return Ok(ticket);
        }
    }
}

fn as_parameter(value: &Value) -> &(dyn ToSql + Sync) {
    value
}

/// The dialog as it was played, to be compared with the file, or to be put in its place.
pub fn transcript(dialog: &Dialog) -> String {
    let mut player = Player::new(dialog);
    let mut text = String::new();
    for step in &dialog.steps {
        match step {
            Step::Act(act) => player.act(act),
            Step::Sends(expected) => {
                let start = player.stream.len();
                let count = player.take();
                player.session.sent(count);
                let sent = spoken::sent(&player.stream[start..]);
                if !sent.iter().map(|message| &message.text).eq(expected) {
                    text.push_str("# instead of what the file says the client sends:\n");
                    for message in sent {
                        writeln!(text, "> {}", message.text).unwrap();
                    }
                }
            }
            Step::Server(pieces) => {
                player.receive(&pieces.iter().flat_map(|p| p.bytes.clone()).collect::<Vec<_>>());
            }
        }
    }
    if player.session.has_output() {
        text.push_str("# and the client has more to send\n");
    }
    if player.events != dialog.events {
        for event in &player.events {
            writeln!(text, "= {event}").unwrap();
        }
    }
    text
}
