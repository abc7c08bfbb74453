//! A session and a model of a server, with the bytes that are between them; and what is done with
//! both in a random order.
//!
//! Shared with `crates/fuzz`, which tries the same for longer.

use std::collections::HashSet;

use bytes::BytesMut;
use proptest::prelude::*;
use txpostgres_session::types::Type;

use super::dialog::{Act, Ask, Dialog};
use super::model::Model;
use super::player::Player;

#[derive(Debug, Clone, Copy)]
pub enum Move {
    /// Ask the next question.
    Submit,
    /// Take what is to be sent.
    Take,
    /// Send so many bytes of it.
    Send(usize),
    /// Let so many bytes of the server arrive.
    Receive(usize),
    /// Take so many events.
    Hear(usize),
    /// Nobody waits any more for the answer to this question.
    Abandon(usize),
    /// Misuse: more is said to be sent than was taken, a key that nobody asked for, and so on.
    Misuse,
}

/// A session and its server, with the bytes that are between them.
pub struct Pair<'d> {
    pub player: Player<'d>,
    server: Model,
    outgoing: BytesMut,
    /// How much of what the server said has arrived.
    arrived: usize,
    pub abandoned: HashSet<usize>,
    /// Questions that were taken back.
    withdrawn: Vec<usize>,
    /// How many of the player's events have been checked.
    checked: usize,
    /// How many there were when the end came.
    pub before_end: Option<usize>,
}

impl<'d> Pair<'d> {
    pub fn new(dialog: &'d Dialog) -> Self {
        Self {
            player: Player::new(dialog),
            server: Model::default(),
            outgoing: BytesMut::new(),
            arrived: 0,
            abandoned: HashSet::new(),
            withdrawn: Vec::new(),
            checked: 0,
            before_end: None,
        }
    }

    pub fn take(&mut self) {
        self.player.session.take_output(&mut self.outgoing);
    }

    pub fn send(&mut self, count: usize) {
        let bytes = self.outgoing.split_to(count.min(self.outgoing.len()));
        self.server.receive(&bytes);
        self.player.session.sent(bytes.len());
    }

    pub fn receive(&mut self, count: usize) {
        let end = self.server.said.len().min(self.arrived.saturating_add(count));
        self.player.session.receive(&self.server.said[self.arrived..end]);
        self.arrived = end;
    }

    /// Invariant 8: no success before the ReadyForQuery of that very request.
    pub fn check(&mut self) {
        let taken_back = self.player.events[self.checked..]
            .iter()
            .filter(|event| event.contains(" Cancelled NotSent: "))
            .filter_map(|event| event.strip_prefix('#')?.split_once(' ')?.0.parse::<usize>().ok());
        self.withdrawn.extend(taken_back);
        for event in &self.player.events[self.checked..] {
            let Some((number, outcome)) = event.strip_prefix('#').and_then(|e| e.split_once(' '))
            else {
                continue;
            };
            let success = outcome[2..].starts_with("ok");
            // What was taken back never came to the server.
            let number = number.parse::<usize>().unwrap();
            let before = self.withdrawn.iter().filter(|&&withdrawn| withdrawn < number).count();
            let ready = self.server.ready.get(number + 1 - before);
            assert!(!success || ready.is_some_and(|&end| end <= self.arrived), "{event}");
        }
        self.checked = self.player.events.len();
    }

    /// Everything that can happen happens; queries go on.
    pub fn settle(&mut self) {
        loop {
            self.take();
            let (sent, heard) = (self.outgoing.len(), self.player.events.len());
            self.send(usize::MAX);
            let before = self.arrived;
            self.receive(usize::MAX);
            self.player.drain();
            self.check();
            while self.player.waits() && self.player.session.is_open() {
                self.player.act(&Act::Again);
            }
            let idle = sent == 0 && before == self.arrived && heard == self.player.events.len();
            if idle && !self.player.session.has_output() {
                return;
            }
        }
    }

    pub fn end(&mut self, close: bool) {
        self.player.drain();
        self.check();
        self.before_end = Some(self.player.events.len());
        if close {
            self.player.act(&Act::Close);
            // What was handed out leaves, and Terminate after it.
            self.take();
            self.send(usize::MAX);
            self.receive(usize::MAX);
        }
        self.player.receive_end();
        self.check();
    }

    /// Does what a user may do: he fetches from a portal when he has its columns.
    pub fn act(&mut self, act: &Act) {
        if let Act::Submit { what: Ask::Fetch { portal, .. }, .. } = act
            && !self.player.knows_portal(portal)
        {
            return;
        }
        self.player.act(act);
    }

    pub fn make(&mut self, step: Move, questions: &mut impl Iterator<Item = Act>) {
        match step {
            Move::Submit => {
                if self.player.waits() {
                    self.player.act(&Act::Again);
                } else if self.player.session.is_open()
                    && let Some(act) = questions.next()
                {
                    self.act(&act);
                }
            }
            Move::Take => self.take(),
            Move::Send(count) => self.send(count),
            Move::Receive(count) => self.receive(count),
            Move::Hear(count) => (0..count).for_each(|_| {
                self.player.hear_one();
            }),
            Move::Abandon(number) => {
                self.player.act(&Act::Abandon(number));
                self.abandoned.insert(number);
            }
            Move::Misuse => {
                self.player.session.receive(&[]);
                self.player.session.sent(0);
                assert!(
                    !self.player.session.is_open()
                        || self.player.session.is_encrypted()
                        || self
                            .player
                            .session
                            .submit_after(
                                Some("begin"),
                                txpostgres_session::Request::Script {
                                    sql: "nothing of it is sent"
                                }
                            )
                            .is_err()
                );
            }
        }
        self.check();
    }

    /// What was not sent was not done.
    pub fn check_delivery(&self) {
        for event in &self.player.events {
            if event.contains("NotSent")
                && let Some(event) = event.strip_prefix('#')
            {
                let number: usize = event.split(' ').next().unwrap().parse().unwrap();
                if event.contains(" Cancelled ") {
                    continue;
                }
                let before = self.withdrawn.iter().filter(|&&withdrawn| withdrawn < number).count();
                let number = number - before;
                assert!(!self.server.executed.get(number).is_some_and(|&e| e), "{event}");
            }
        }
    }
}

pub fn question() -> impl Strategy<Value = (u8, Vec<&'static str>, usize, bool)> {
    let words = prop::sample::select(vec![
        "error", "bad", "notice", "notify", "param", "copyout", "rows 1", "rows 3", "rows 40",
    ]);
    (0..10_u8, prop::collection::vec(words, 0..3), 0..4_usize, prop::bool::weighted(0.1))
}

/// The question as an act. Its text has its own number, so that every answer can be told from every other; the texts of
/// queries come again, so that they are remembered.
pub fn act(number: usize, question: (u8, Vec<&'static str>, usize, bool), two_steps: bool) -> Act {
    let (kind, words, text, begin) = question;
    let words = words.join(" ");
    let begin = begin && !two_steps;
    let asked = format!("select {words} number {number}");
    let what = match kind {
        0 => Ask::Script(asked),
        1 => Ask::Script(format!("{asked};select rows 2 second {number};")),
        2 => Ask::Prepare { name: format!("p{number}"), sql: asked },
        3 => Ask::Fresh {
            name: String::new(),
            sql: format!("{asked} $1"),
            types: vec![Type::INT4],
            values: vec![Some(vec![0, 0, 0, 1])],
        },
        4 if two_steps => Ask::Query {
            sql: format!("select {words} $1 {text}"),
            values: vec![Some(vec![0, 0, 0, 2])],
        },
        9 => Ask::CopyOut(format!("copyout {asked}")),
        5 if !two_steps => Ask::Script("begin".to_owned()),
        6 if !two_steps => Ask::Query { sql: "commit".to_owned(), values: vec![] },
        _ => Ask::Query { sql: format!("select {words} text {text}"), values: vec![] },
    };
    let begin =
        (begin && !matches!(what, Ask::Script(_) | Ask::CopyOut(_))).then(|| "begin".to_owned());
    Act::Submit { begin, what }
}

pub fn one_move() -> impl Strategy<Value = Move> {
    let size = prop_oneof![0..4_usize, 0..60_usize, 0..2_000_usize];
    prop_oneof![
        6 => Just(Move::Submit),
        6 => Just(Move::Take),
        8 => size.clone().prop_map(Move::Send),
        10 => size.prop_map(Move::Receive),
        6 => (1..5_usize).prop_map(Move::Hear),
        1 => (0..30_usize).prop_map(Move::Abandon),
        1 => Just(Move::Misuse),
    ]
}

pub fn masked(events: &[String], abandoned: &HashSet<usize>) -> Vec<String> {
    let mask = |event: &String| match event.strip_prefix('#').and_then(|e| e.split_once(' ')) {
        Some((number, outcome)) if abandoned.contains(&number.parse().unwrap()) => {
            format!("#{number} {}", &outcome[..1])
        }
        _ => event.clone(),
    };
    events.iter().map(mask).collect()
}

/// Only how each question was answered, in the order in which they were settled, without their numbers.
pub fn answers(events: &[String]) -> Vec<String> {
    let mut answers: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with('#') && !event.ends_with("again"))
        .map(|event| event.split_once(' ').unwrap().1.to_owned())
        .collect();
    answers.sort();
    answers
}

pub fn dialog(cache: usize) -> Dialog {
    Dialog::parse("model", &format!("A model.\n! open cache={cache}"))
}

/// What streams, portals, many sets and COPY consist of: acts that are legal at any time, whatever they find.
pub fn piecemeal() -> impl Strategy<Value = Act> {
    let number = 0..30_usize;
    let portal = prop::sample::select(vec!["p", "q"]).prop_map(str::to_owned);
    let sql =
        prop::sample::select(vec!["rows 5", "rows 3 error", "rows 0", "notice", "rows 2 bad"]);
    let submit = |what| Act::Submit { begin: None, what };
    let data = prop::sample::select(vec!["one\n", "two\nthree\n", "", "half", "refuse\n"]);
    let queries = prop_oneof![
        Just(submit(Ask::Script("begin".to_owned()))),
        Just(submit(Ask::Script("commit".to_owned()))),
        sql.clone().prop_map(move |sql| submit(Ask::Query { sql: sql.to_owned(), values: vec![] })),
        sql.clone().prop_map(move |sql| submit(Ask::Many {
            sql: format!("{sql} $1"),
            sets: vec![Some(vec![0; 4]); 3],
        })),
        (0..3_u32, portal.clone())
            .prop_map(move |(rows, portal)| submit(Ask::Fetch { portal, rows })),
        portal.prop_map(move |portal| submit(Ask::ClosePortal { portal })),
        (prop::sample::select(vec!["copyin", "copyin error", "rows 1", "bad"]), any::<bool>())
            .prop_map(|(sql, _)| Act::Exclusive(Ask::CopyIn(sql.to_owned()))),
        (prop::sample::select(vec!["copyout", "copyout error", "copyin", "rows 1"]), any::<bool>())
            .prop_map(move |(sql, alone)| {
                // What may turn out to be a COPY FROM STDIN has nothing behind it.
                let what = Ask::CopyOut(sql.to_owned());
                if alone || sql == "copyin" { Act::Exclusive(what) } else { submit(what) }
            }),
    ];
    let acts = prop_oneof![
        3 => (number.clone(), data).prop_map(|(number, data)| Act::Data(number, data.into())),
        1 => number.clone().prop_map(Act::Done),
        1 => number.clone().prop_map(|number| Act::Fail(number, "no more".to_owned())),
        2 => number.clone().prop_map(Act::Stream),
        1 => number.clone().prop_map(Act::Abandon),
        1 => number.prop_map(Act::Cancel),
        2 => Just(Act::OpenGate),
    ];
    prop_oneof![queries, acts]
}

/// Streams, portals, many sets and COPY, mixed.
#[derive(Debug, Clone)]
pub struct Mixed {
    cache: usize,
    acts: Vec<Act>,
    portals: bool,
    moves: Vec<Move>,
    /// Whether it ends before all is done, and whether that is because the client closes it.
    last: Option<bool>,
}

pub fn mixed() -> impl Strategy<Value = Mixed> {
    (
        prop::sample::select(vec![0_usize, 1, 256]),
        prop::collection::vec(piecemeal(), 1..40),
        any::<bool>(),
        prop::collection::vec(one_move(), 0..400),
        prop::option::weighted(0.3, any::<bool>()),
    )
        .prop_map(|(cache, acts, portals, moves, last)| Mixed {
            cache,
            acts,
            portals,
            moves,
            last,
        })
}

impl Mixed {
    /// The player's watch, the model and `check` say what must hold: pieces belong to the oldest answer, each request settles
    /// once, no success comes early, no message is out of place in the server's eyes, nothing hangs. Gives the events.
    pub fn play(&self) -> Vec<String> {
        let dialog = dialog(self.cache);
        let mut pair = Pair::new(&dialog);
        let open = |portal: &str| Act::Submit {
            begin: Some("begin".to_owned()),
            what: Ask::Portal {
                portal: portal.to_owned(),
                rows: 2,
                sql: "rows 5 $1".to_owned(),
                values: vec![Some(vec![0; 4])],
            },
        };
        let mut acts = self.portals.then(|| open("p")).into_iter().chain(self.acts.iter().cloned());
        for &step in &self.moves {
            pair.make(step, &mut acts);
        }
        if let Some(close) = self.last {
            pair.end(close);
        } else {
            for act in acts {
                pair.act(&act);
                pair.settle();
            }
            // Whoever feeds comes to an end, and so does every cancel.
            for number in 0..80 {
                pair.player.act(&Act::OpenGate);
                pair.settle();
                pair.player.act(&Act::Done(number));
                pair.settle();
            }
            assert!(!pair.player.session.is_closed());
            assert_eq!(pair.player.session.outstanding(), 0);
            assert!(!pair.player.session.is_gate_shut());
        }
        pair.check_delivery();
        pair.player.receive_end();
        pair.player.watch.ended(&mut pair.player.session);
        pair.player.events
    }
}
