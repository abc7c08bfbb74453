//! The session may be called in any order: whatever the order, the same things happen, and in the same order.
//!
//! A session talks with a model of a server. Once each request is asked and answered before the next; then the same
//! requests are asked again while bytes leave, arrive, and events are taken a few at a time, just as a driver's tasks would
//! have it.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::HashSet;

use bytes::BytesMut;
use proptest::prelude::*;
use support::dialog::{Act, Ask, Dialog};
use support::model::Model;
use support::player::Player;
use txpostgres_session::types::Type;

#[derive(Debug, Clone, Copy)]
enum Move {
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
struct Pair<'d> {
    player: Player<'d>,
    server: Model,
    outgoing: BytesMut,
    /// How much of what the server said has arrived.
    arrived: usize,
    abandoned: HashSet<usize>,
    /// Questions that were taken back.
    withdrawn: Vec<usize>,
    /// How many of the player's events have been checked.
    checked: usize,
    /// How many there were when the end came.
    before_end: Option<usize>,
}

impl<'d> Pair<'d> {
    fn new(dialog: &'d Dialog) -> Self {
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

    fn take(&mut self) {
        self.player.session.take_output(&mut self.outgoing);
    }

    fn send(&mut self, count: usize) {
        let bytes = self.outgoing.split_to(count.min(self.outgoing.len()));
        self.server.receive(&bytes);
        self.player.session.sent(bytes.len());
    }

    fn receive(&mut self, count: usize) {
        let end = self.server.said.len().min(self.arrived.saturating_add(count));
        self.player.session.receive(&self.server.said[self.arrived..end]);
        self.arrived = end;
    }

    /// Invariant 8: no success before the ReadyForQuery of that very request.
    fn check(&mut self) {
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
    fn settle(&mut self) {
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

    fn end(&mut self, close: bool) {
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
    fn act(&mut self, act: &Act) {
        if let Act::Submit { what: Ask::Fetch { portal, .. }, .. } = act
            && !self.player.knows_portal(portal)
        {
            return;
        }
        self.player.act(act);
    }

    fn make(&mut self, step: Move, questions: &mut impl Iterator<Item = Act>) {
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
    fn check_delivery(&self) {
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

fn question() -> impl Strategy<Value = (u8, Vec<&'static str>, usize, bool)> {
    let words = prop::sample::select(vec![
        "error", "bad", "notice", "notify", "param", "copyout", "rows 1", "rows 3", "rows 40",
    ]);
    (0..10_u8, prop::collection::vec(words, 0..3), 0..4_usize, prop::bool::weighted(0.1))
}

/// The question as an act. Its text has its own number, so that every answer can be told from every other; the texts of
/// queries come again, so that they are remembered.
fn act(number: usize, question: (u8, Vec<&'static str>, usize, bool), two_steps: bool) -> Act {
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

fn one_move() -> impl Strategy<Value = Move> {
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

fn masked(events: &[String], abandoned: &HashSet<usize>) -> Vec<String> {
    let mask = |event: &String| match event.strip_prefix('#').and_then(|e| e.split_once(' ')) {
        Some((number, outcome)) if abandoned.contains(&number.parse().unwrap()) => {
            format!("#{number} {}", &outcome[..1])
        }
        _ => event.clone(),
    };
    events.iter().map(mask).collect()
}

/// Only how each question was answered, in the order in which they were settled, without their numbers.
fn answers(events: &[String]) -> Vec<String> {
    let mut answers: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with('#') && !event.ends_with("again"))
        .map(|event| event.split_once(' ').unwrap().1.to_owned())
        .collect();
    answers.sort();
    answers
}

fn dialog(cache: usize) -> Dialog {
    Dialog::parse("model", &format!("A model.\n! open cache={cache}"))
}

/// What streams, portals, many sets and COPY consist of: acts that are legal at any time, whatever they find.
fn piecemeal() -> impl Strategy<Value = Act> {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The player's watch, the model and `check` say what must hold: pieces belong to the oldest answer, each request settles
    /// once, no success comes early, no message is out of place in the server's eyes, nothing hangs.
    #[test]
    fn streams_portals_and_copies_may_be_mixed_in_any_order(
        cache in prop::sample::select(vec![0_usize, 1, 256]),
        acts in prop::collection::vec(piecemeal(), 1..40),
        portals in any::<bool>(),
        moves in prop::collection::vec(one_move(), 0..400),
        last in prop::option::weighted(0.3, any::<bool>()),
    ) {
        let dialog = dialog(cache);
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
        let mut acts = portals.then(|| open("p")).into_iter().chain(acts);
        for step in moves {
            pair.make(step, &mut acts);
        }
        if let Some(close) = last {
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
            prop_assert!(!pair.player.session.is_closed());
            prop_assert_eq!(pair.player.session.outstanding(), 0);
            prop_assert!(!pair.player.session.is_gate_shut());
        }
        pair.check_delivery();
        pair.player.receive_end();
        pair.player.watch.ended(&mut pair.player.session);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_calls_does_not_matter(
        cache in prop::sample::select(vec![0_usize, 1, 2, 256]),
        two_steps in any::<bool>(),
        questions in prop::collection::vec(question(), 1..25),
        copies in prop::option::of(any::<bool>()),
        moves in prop::collection::vec(one_move(), 0..250),
        last in prop::option::weighted(0.4, any::<bool>()),
    ) {
        let dialog = dialog(cache);
        let mut acts: Vec<_> =
            questions.into_iter().enumerate().map(|(n, q)| act(n, q, two_steps)).collect();
        // COPY FROM STDIN ends the session if anything follows: it may come last only.
        if let Some(by_query) = copies.filter(|_| !two_steps) {
            let sql = "copyin".to_owned();
            let what = if by_query {
                Ask::Script(sql)
            } else {
                Ask::Query { sql, values: vec![] }
            };
            acts.push(Act::Submit { begin: None, what });
        }

        let mut straight = Pair::new(&dialog);
        straight.settle();
        for act in &acts {
            straight.player.act(act);
            straight.settle();
        }

        let mut pair = Pair::new(&dialog);
        let mut questions = acts.into_iter();
        for step in moves {
            pair.make(step, &mut questions);
        }
        if let Some(close) = last {
            pair.end(close);
        } else {
            pair.settle();
            for act in questions.by_ref() {
                pair.player.act(&act);
            }
            pair.settle();
        }
        pair.check_delivery();

        if last.is_none() && two_steps && pair.abandoned.is_empty() {
            prop_assert_eq!(answers(&pair.player.events), answers(&straight.player.events));
        }
        if !two_steps {
            let seen = masked(&pair.player.events, &pair.abandoned);
            let expected = masked(&straight.player.events, &pair.abandoned);
            // From the end on everything settles as closed or lost.
            let count = pair.before_end.unwrap_or(seen.len());
            prop_assert_eq!(&seen[..count], &expected[..count]);
            prop_assert!(last.is_some() || seen.len() == expected.len());
        }
        pair.player.receive_end();
        pair.player.watch.ended(&mut pair.player.session);
    }
}
