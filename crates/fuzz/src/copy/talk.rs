//! The data of a COPY through a session.

use bytes::BytesMut;
use postgres_types::Type;
use proptest::prelude::*;
use txpostgres_session::{CopyEncoder, Event, Format, Request, Session, Ticket};

use crate::opened;
use crate::probe::Probe;
use crate::support::dialog::message;

/// Bytes that a session may take for itself.
const ITSELF: usize = 1 << 20;

/// A COPY FROM STDIN: its layout, and what is done then.
#[derive(Debug, Clone)]
pub(super) struct In {
    layout: Vec<u8>,
    acts: Vec<Act>,
    /// How the answers of the server are cut.
    size: usize,
}

#[derive(Debug, Clone)]
enum Act {
    Data(Vec<u8>),
    /// So many rows of an `int4` and a `text` of this length.
    Rows(usize, usize),
    /// A row that does not fit.
    BadRow,
    /// What is ready is sent.
    Send,
    Done,
    Fail(String),
    /// The server has seen enough.
    Refuse,
    Cancel,
    Abandon,
    /// Something of the server in between.
    Notice,
}

/// Layouts that are right, and some that are not.
fn layout() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (0..2_u8, 0..5_u16).prop_map(|(format, count)| {
            let mut body = vec![format];
            body.extend(count.to_be_bytes());
            body.extend([0, format].repeat(usize::from(count)));
            body
        }),
        1 => prop::collection::vec(0..3_u8, 0..9),
    ]
}

pub(super) fn any_in() -> impl Strategy<Value = In> {
    let act = prop_oneof![
        4 => prop_oneof![0..50_usize, Just(70_000)].prop_map(|len| Act::Data(vec![b'x'; len])),
        4 => (0..20_usize, prop_oneof![0..30_usize, Just(40_000)])
            .prop_map(|(rows, len)| Act::Rows(rows, len)),
        1 => Just(Act::BadRow),
        3 => Just(Act::Send),
        1 => Just(Act::Done),
        1 => "[ -~]{0,10}".prop_map(Act::Fail),
        1 => Just(Act::Refuse),
        1 => Just(Act::Cancel),
        1 => Just(Act::Abandon),
        1 => Just(Act::Notice),
    ];
    (layout(), prop::collection::vec(act, 0..14), 1..60_usize).prop_map(|(layout, acts, size)| In {
        layout,
        acts,
        size,
    })
}

/// The messages of the client: kinds and bodies.
fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let (one, rest) = bytes.split_at(1 + usize::try_from(length).unwrap());
        all.push((head[0], one[5..].to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a message");
    all
}

/// The session with what it has sent, and how it answers.
struct Talk {
    session: Session,
    ticket: Ticket,
    sent: BytesMut,
    size: usize,
    settled: Option<Result<(), String>>,
    data: Vec<u8>,
    messages: usize,
    closed: bool,
}

impl Talk {
    fn new(request: Request<'_>, size: usize) -> Self {
        let mut session = opened::session();
        while session.next_event().is_some() {}
        let ticket = session.submit(request).unwrap();
        let mut this = Self {
            session,
            ticket,
            sent: BytesMut::new(),
            size,
            settled: None,
            data: Vec::new(),
            messages: 0,
            closed: false,
        };
        this.send();
        this.sent.clear();
        this
    }

    fn send(&mut self) {
        let before = self.sent.len();
        self.session.take_output(&mut self.sent);
        self.session.sent(self.sent.len() - before);
    }

    fn receive(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.size) {
            self.session.receive(piece);
            self.hear();
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.session.next_event() {
            assert!(!self.closed, "an event after the end");
            match event {
                Event::Settled { ticket, outcome, .. } => {
                    assert_eq!(ticket, self.ticket);
                    assert!(self.settled.is_none(), "settled twice");
                    self.settled = Some(outcome.map(drop).map_err(|error| error.to_string()));
                }
                Event::CopyData { data, .. } => {
                    self.messages += data.messages;
                    self.data.extend(data.bytes);
                }
                Event::Closed(_) => self.closed = true,
                _ => {}
            }
        }
    }

    /// The end: all has settled.
    fn end(&mut self) {
        self.session.receive_end();
        self.hear();
        assert!(self.settled.is_some(), "not settled");
        assert!(self.closed, "not closed");
        assert_eq!(self.session.outstanding(), 0);
    }
}

impl In {
    pub(super) fn check(&self, probe: &mut Probe) {
        let (outcomes, taken) = probe.measure(|| self.play());
        let data: usize = self
            .acts
            .iter()
            .map(|act| match act {
                Act::Data(data) => data.len(),
                Act::Rows(rows, len) => rows * (len + 14),
                _ => 0,
            })
            .sum();
        let most = ITSELF + 16 * data;
        assert!(taken <= most, "{taken} bytes of memory for {data} of data");
        for what in &outcomes {
            probe.reached(what);
        }
    }

    /// Plays it; gives what was reached.
    fn play(&self) -> Vec<&'static str> {
        let mut reached = Vec::new();
        let mut talk = Talk::new(Request::CopyIn { sql: "copy t from stdin" }, self.size);
        let ticket = talk.ticket;
        talk.receive(&message(b'G', &self.layout));
        let mut encoder = CopyEncoder::new(vec![Type::INT4, Type::TEXT]).unwrap();
        let mut given = Vec::new();
        let mut over = !talk.session.is_fed(ticket);
        let (mut done, mut failed) = (false, false);
        for act in &self.acts {
            assert_eq!(talk.session.is_fed(ticket), !over);
            match act {
                Act::Data(data) => {
                    assert_eq!(talk.session.copy_data(ticket, data).unwrap(), !over);
                    if !over {
                        given.extend(data);
                    }
                    reached.push("in: data");
                }
                Act::Rows(rows, len) => {
                    for number in 0..*rows {
                        let number = i32::try_from(number).unwrap();
                        encoder.row(&[&number, &"x".repeat(*len)]).unwrap();
                    }
                    let written = encoder.bytes().to_vec();
                    assert_eq!(talk.session.copy_rows(ticket, &mut encoder).unwrap(), !over);
                    if !over {
                        assert!(encoder.is_empty());
                        given.extend(written);
                    }
                    reached.push("in: rows");
                }
                Act::BadRow => {
                    let before = encoder.len();
                    assert!(encoder.row(&[&"not an int4", &"x"]).is_err());
                    assert_eq!(encoder.len(), before);
                }
                Act::Send => talk.send(),
                Act::Done => {
                    talk.session.copy_done(ticket);
                    done |= !over;
                    over = true;
                    reached.push("in: done");
                }
                Act::Fail(why) => {
                    talk.session.copy_fail(ticket, why).unwrap();
                    failed |= !over;
                    over = true;
                    reached.push("in: failed");
                }
                Act::Refuse => {
                    talk.receive(&message(b'E', b"SERROR\0VERROR\0C22P02\0Mrefused\0\0"));
                    over = true;
                    reached.push("in: refused");
                }
                Act::Cancel => {
                    let _ = talk.session.cancel(ticket);
                    talk.hear();
                    // What can be cancelled of it is the data: it ends by CopyFail.
                    if !over && !talk.session.is_fed(ticket) {
                        (over, failed) = (true, true);
                    }
                    reached.push("in: cancelled");
                }
                Act::Abandon => {
                    talk.session.abandon(ticket);
                    talk.hear();
                    over = !talk.session.is_fed(ticket);
                }
                Act::Notice => talk.receive(&message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mx\0\0")),
            }
            if talk.closed {
                reached.push("in: dead");
                break;
            }
        }
        if !talk.closed {
            talk.send();
            self.compare(&talk, &given, done, failed);
        }
        talk.end();
        reached
    }

    /// What was sent is what was given, in messages of their kinds.
    fn compare(&self, talk: &Talk, given: &[u8], done: bool, failed: bool) {
        let sent = messages(&talk.sent);
        let is = |kind: u8| sent.iter().any(|(one, _)| *one == kind);
        let data: Vec<u8> = sent
            .iter()
            .filter(|(kind, _)| *kind == b'd')
            .flat_map(|(_, body)| body.iter().copied())
            .collect();
        let refused = self.acts.iter().any(|act| matches!(act, Act::Refuse | Act::Abandon));
        // A session that is told of a refusal may keep back what has not left.
        if refused {
            assert!(given.starts_with(&data), "other data was sent");
            return;
        }
        assert!(data == given, "{} bytes were sent of {}", data.len(), given.len());
        assert_eq!(is(b'c'), done, "CopyDone");
        assert_eq!(is(b'f'), failed, "CopyFail");
    }
}

/// A COPY TO STDOUT: what the server says.
#[derive(Debug, Clone)]
pub(super) struct Out {
    layout: Vec<u8>,
    pieces: Vec<Vec<u8>>,
    end: End,
    size: usize,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    /// By an error, before CopyDone or behind it.
    Error(bool),
    /// CopyDone, CommandComplete or both are missing.
    WithoutDone,
    WithoutComplete,
    WithoutBoth,
    /// Something else.
    Tag(u8),
}

pub(super) fn any_out() -> impl Strategy<Value = Out> {
    let end = prop_oneof![
        4 => Just(End::Well),
        1 => any::<bool>().prop_map(End::Error),
        1 => prop::sample::select(vec![End::WithoutDone, End::WithoutComplete, End::WithoutBoth]),
        1 => prop::sample::select(b"DTGHWsI12t".to_vec()).prop_map(End::Tag),
    ];
    let piece = prop::collection::vec(any::<u8>(), 0..30);
    (layout(), prop::collection::vec(piece, 0..10), end, 1..80_usize)
        .prop_map(|(layout, pieces, end, size)| Out { layout, pieces, end, size })
}

impl Out {
    pub(super) fn check(&self, probe: &mut Probe) {
        let mut talk = Talk::new(Request::CopyOut { sql: "copy t to stdout" }, self.size);
        let mut bytes = message(b'H', &self.layout);
        bytes.extend(self.pieces.iter().flat_map(|piece| message(b'd', piece)));
        let error = message(b'E', b"SERROR\0VERROR\0C57014\0Mcanceled\0\0");
        let (done, complete) = (message(b'c', b""), message(b'C', b"COPY 1\0"));
        match self.end {
            End::Well => bytes.extend([done, complete].concat()),
            End::Error(true) => bytes.extend([done, error].concat()),
            End::Error(false) => bytes.extend(error),
            End::WithoutDone => bytes.extend(complete),
            End::WithoutComplete => bytes.extend(done),
            End::WithoutBoth => {}
            End::Tag(tag) => bytes.extend([message(tag, b"\0\0"), done, complete].concat()),
        }
        bytes.extend(message(b'Z', b"I"));
        let most = ITSELF + 256 * bytes.len();
        probe.within("a COPY TO", most, || talk.receive(&bytes));
        let all: Vec<u8> = self.pieces.concat();
        assert!(all.starts_with(&talk.data), "other data than was sent");
        let is_whole = matches!(self.end, End::Well);
        match &talk.settled {
            Some(Ok(())) => {
                assert!(is_whole, "a success of a COPY that did not end well");
                assert_eq!((&talk.data, talk.messages), (&all, self.pieces.len()));
                let format = if self.layout[0] == 0 { Format::Text } else { Format::Binary };
                probe.reached("out: ok");
                probe.coverage.count_name("out: ", &format!("{format:?}"));
            }
            Some(Err(_)) if !talk.closed => probe.reached("out: failed"),
            _ => probe.reached("out: dead"),
        }
        talk.end();
    }
}
