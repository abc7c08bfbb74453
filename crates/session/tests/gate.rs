//! What travels alone, what is taken back, and what a shut gate keeps: as dialogs, and in any order.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeSet, VecDeque};

use bytes::BytesMut;
use proptest::prelude::*;
use support::dialog::{Act, Ask, Dialog};
use support::model::Model;
use support::player::{Player, transcript};
use txpostgres_session::{
    Cancel, CancelKey, Delivery, Encryption, ErrorKind, Event, Request, Session,
};

const OPEN: &str = "
! open user=tester cache=1
> Startup 3.0 user tester
< R 4:0
< K 4:7 4:1
< Z \"I\"
= opened by process 7
";

/// Plays a dialog that begins when the session is open.
fn play(text: &str) {
    play_behind(OPEN, text);
}

fn play_behind(open: &str, text: &str) {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let dialog = Dialog::parse("inline", &format!("Inline.{open}{}", lines.join("\n")));
    let difference = transcript(&dialog);
    assert!(difference.is_empty(), "\n{difference}");
}

#[test]
fn who_travels_alone_waits_for_others_and_lets_others_wait() {
    play(
        r#"! script "select 1"
        ! exclusive script "select 2"
        ! script "select 3"
        ! script "select 4"
        > Query "select 1"
        < C "SELECT 0\0"
        < Z "I"
        = #0 I ok [SELECT 0]
        > Query "select 2"
        < C "SELECT 0\0"
        < Z "I"
        = #1 I ok [SELECT 0]
        > Query "select 3"
        > Query "select 4"
        < C "SELECT 0\0"
        < Z "I"
        < C "SELECT 0\0"
        < Z "I"
        = #2 I ok [SELECT 0]
        = #3 I ok [SELECT 0]"#,
    );
}

#[test]
fn without_pipelining_nothing_leaves_before_the_answer() {
    play_behind(
        &OPEN.replace("cache=1", "cache=1 pipelining=0"),
        r#"! script "select 1"
        ! script "select 2"
        ! exclusive script "select 3"
        ! script "select 4"
        > Query "select 1"
        ! takeback 3
        = take back #3: true
        = #3 I Cancelled NotSent: the statement was cancelled before it was sent
        < C "SELECT 0\0"
        < Z "I"
        = #0 I ok [SELECT 0]
        > Query "select 2"
        < C "SELECT 0\0"
        < Z "I"
        = #1 I ok [SELECT 0]
        > Query "select 3"
        < C "SELECT 0\0"
        < Z "I"
        = #2 I ok [SELECT 0]
        ! script "select 5"
        > Query "select 5"
        < C "SELECT 0\0"
        < Z "I"
        = #4 I ok [SELECT 0]"#,
    );
}

/// What others were written behind cannot be taken out of the outbox; what waits can, wherever it stands.
#[test]
fn what_nobody_waits_for_is_taken_back() {
    play(
        r#"! script "select 1"
        ! script "select 2"
        ! takeback 0
        = take back #0: false
        ! takeback 1
        = take back #1: true
        = #1 I Cancelled NotSent: the statement was cancelled before it was sent
        ! takeback 1
        = take back #1: false
        ! exclusive script "select 3"
        ! script "select 4"
        ! takeback 2
        = take back #2: true
        = #2 I Cancelled NotSent: the statement was cancelled before it was sent
        > Query "select 1"
        > Query "select 4"
        ! takeback 3
        = take back #3: false
        < C "SELECT 0\0"
        < Z "I"
        < C "SELECT 0\0"
        < Z "I"
        = #0 I ok [SELECT 0]
        = #3 I ok [SELECT 0]"#,
    );
}

/// The server waits for data: if its end were taken back, it would take the next request for data.
#[test]
fn a_copy_whose_end_has_not_left_is_not_taken_back() {
    for end in ["done 0", "fail 0 \"no\"", "abandon 0"] {
        let said = if end == "done 0" { "CopyDone" } else { "CopyFail" };
        let why = match end {
            "done 0" => "",
            "abandon 0" => " \"the client gave up\"",
            _ => " \"no\"",
        };
        play(&format!(
            r#"! exclusive copyin "copy t from stdin"
            > Query "copy t from stdin"
            < G 1:0 2:0
            = copy In of 0 in Text, 0 columns
            ! data 0 "one\n"
            ! {end}
            ! cancel 0
            = cancel #0: Running
            ! script "select 1"
            > CopyData "one\n"
            > {said}{why}
            < E "SERROR\0" "VERROR\0" "C57014\0" "Mno\0" "\0"
            < Z "I"
            = #0 I Cancelled Answered: the statement was cancelled, as asked (the server said: ERROR 57014: no)
            ! gate
            > Query "select 1"
            < C "SELECT 0\0"
            < Z "I"
            = #1 I ok [SELECT 0]"#
        ));
    }
}

#[test]
fn what_waits_is_taken_back() {
    play(
        r#"! script "select 1"
        ! exclusive script "select 2"
        ! script "select 3"
        > Query "select 1"
        ! cancel 1
        = cancel #1: Withdrawn
        > Query "select 3"
        < C "SELECT 0\0"
        < Z "I"
        < C "SELECT 0\0"
        < Z "I"
        = #1 I Cancelled NotSent: the statement was cancelled before it was sent
        = #0 I ok [SELECT 0]
        = #2 I ok [SELECT 0]"#,
    );
}

/// A server that waits for the data of a COPY heeds no CancelRequest, but it heeds the end of the data.
#[test]
fn a_copy_that_is_cancelled_ends_its_data() {
    for said in ["COPY from stdin failed: the client cancelled it", "storniert"] {
        play(&format!(
            r#"! exclusive copyin "copy t from stdin"
            > Query "copy t from stdin"
            < G 1:0 2:0
            = copy In of 0 in Text, 0 columns
            ! data 0 "one\n"
            ! cancel 0
            = cancel #0: Running
            > CopyData "one\n"
            > CopyFail "the client cancelled it"
            ! cancel 0
            = cancel #0: Running
            < E "SERROR\0" "VERROR\0" "C57014\0" "M{said}\0" "\0"
            < Z "I"
            = #0 I Cancelled Answered: the statement was cancelled, as asked (the server said: ERROR 57014: {said})"#
        ));
    }
}

/// Nothing was taken for sending: there is nothing to cancel on the server.
#[test]
fn what_was_not_taken_is_taken_back() {
    play(
        r#"! exclusive script "select 1"
        ! script "select 2"
        ! cancel 0
        = cancel #0: Withdrawn
        > Query "select 2"
        < C "SELECT 0\0"
        < Z "I"
        = #0 I Cancelled NotSent: the statement was cancelled before it was sent
        = #1 I ok [SELECT 0]"#,
    );
}

#[test]
fn while_the_gate_is_shut_nothing_leaves() {
    play(
        r#"! exclusive script "select 1"
        > Query "select 1"
        ! script "select 2"
        ! cancel 0
        = cancel #0: Running
        < E "SERROR\0" "VERROR\0" "C57014\0" "Mcanceling statement due to user request\0" "\0"
        < Z "I"
        ! script "select 3"
        ! gate
        > Query "select 2"
        > Query "select 3"
        = #0 I Cancelled Answered: the statement was cancelled, as asked (the server said: ERROR 57014: canceling statement due to user request)"#,
    );
}

/// The one that was to be cancelled was faster; its answer counts.
#[test]
fn an_answer_that_was_faster_counts() {
    play(
        r#"! exclusive script "select 1"
        > Query "select 1"
        ! cancel 0
        = cancel #0: Running
        < C "SELECT 0\0"
        < Z "I"
        = #0 I ok [SELECT 0]
        ! cancel 0
        = cancel #0: Over
        ! script "select 2"
        ! gate
        > Query "select 2"
        < C "SELECT 0\0"
        < Z "I"
        = #1 I ok [SELECT 0]"#,
    );
}

/// An administrator's cancel, and a timeout of the server, are the server's error.
#[test]
fn a_cancel_that_is_not_ours_is_not_called_so() {
    play(
        r#"! exclusive script "select 1"
        > Query "select 1"
        < E "SERROR\0" "VERROR\0" "C57014\0" "Mcanceling statement due to user request\0" "\0"
        < Z "I"
        = #0 I Server Answered: ERROR 57014: canceling statement due to user request
        ! exclusive script "select 2"
        > Query "select 2"
        ! cancel 1
        = cancel #1: Running
        < E "SERROR\0" "VERROR\0" "C57014\0" "Mcanceling statement due to statement timeout\0" "\0"
        < Z "I"
        = #1 I Server Answered: ERROR 57014: canceling statement due to statement timeout"#,
    );
}

#[test]
fn what_travels_with_others_is_not_cancelled() {
    play(
        r#"! script "select 1"
        ! script "select 2"
        > Query "select 1"
        > Query "select 2"
        ! cancel 1
        = cancel #1: Pipelined
        ! cancel 0
        = cancel #0: Pipelined
        < C "SELECT 0\0"
        < Z "I"
        = #0 I ok [SELECT 0]
        ! cancel 1
        = cancel #1: Running
        < C "SELECT 0\0"
        < Z "I"
        = #1 I ok [SELECT 0]"#,
    );
}

/// The name of a statement to close was in the bytes that were taken back.
#[test]
fn a_name_to_close_is_told_with_the_next_request() {
    play(
        r#"! query "select 1"
        > Parse txpg_6e65657468676965_1 "select 1"
        > Bind txpg_6e65657468676965_1
        > Describe portal
        > Execute
        > Sync
        < 1
        < 2
        < n
        < C "SELECT 0\0"
        < Z "I"
        = #0 I ok [SELECT 0]
        ! query "select 2"
        > Parse txpg_6e65657468676965_2 "select 2"
        > Bind txpg_6e65657468676965_2
        > Describe portal
        > Execute
        > Sync
        < 1
        < 2
        < n
        < C "SELECT 0\0"
        < Z "I"
        = #1 I ok [SELECT 0]
        ! script "select 3"
        > Query "select 3"
        ! exclusive query "select 2"
        ! cancel 3
        = cancel #3: Withdrawn
        ! query "select 2"
        > Close statement txpg_6e65657468676965_1
        > Bind txpg_6e65657468676965_2
        > Execute
        > Sync
        = #3 I Cancelled NotSent: the statement was cancelled before it was sent | LINE 1: select 2"#,
    );
}

/// What waits when the connection breaks was not sent; and a gate that is shut does not outlive it.
#[test]
fn what_waits_at_the_end_was_not_sent() {
    play(
        r#"! exclusive script "select 1"
        > Query "select 1"
        ! script "select 2"
        ! cancel 0
        = cancel #0: Running
        ! end
        = #0 I Lost Unknown: the server closed the connection
        = #1 I Lost NotSent: the server closed the connection
        = closed by Lost NotSent: the server closed the connection"#,
    );
}

#[test]
fn a_close_is_not_kept_by_the_gate() {
    play(
        r#"! exclusive script "select 1"
        > Query "select 1"
        ! script "select 2"
        ! cancel 0
        = cancel #0: Running
        ! close
        > Terminate
        = #0 I Closed Unknown: the connection was closed before the answer came
        = #1 I Closed NotSent: the connection was closed before the answer came"#,
    );
}

/// Its bytes have been taken: others may be behind it.
#[test]
fn it_may_be_too_late_to_travel_alone() {
    let dialog = Dialog::parse("inline", &format!("Inline.{OPEN}"));
    let mut player = Player::new(&dialog);
    player.play_straight();
    let ticket = player.session.submit(Request::Script { sql: "select 1" }).unwrap();
    player.take();
    assert!(!player.session.make_exclusive(ticket));
}

// --- The session that cancels ---

/// The key of a session whose secret has so many bytes.
fn key(length: usize) -> CancelKey {
    let dialog = Dialog::parse("inline", "Inline.\n! open versions=3.0..3.2");
    let mut player = Player::new(&dialog);
    let secret = "k".repeat(length);
    let words = format!("Inline.\n< R 4:0\n< K 4:7 \"{secret}\"\n< Z \"I\"");
    player.take();
    for step in Dialog::parse("inline", &words).steps {
        if let support::dialog::Step::Server(pieces) = step {
            for piece in &pieces {
                player.receive(&piece.bytes);
            }
        }
    }
    player.session.cancel_key().unwrap().clone()
}

fn output(session: &mut Session) -> Vec<u8> {
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    out.to_vec()
}

#[test]
fn a_cancel_request_has_the_whole_key() {
    for length in [4, 32, 256] {
        let mut session = Session::to_cancel(key(length), Encryption::Plain).unwrap();
        assert!(!session.may_have_interrupted());
        let sent = output(&mut session);
        let wanted = [
            &u32::try_from(12 + length).unwrap().to_be_bytes()[..],
            &80_877_102_u32.to_be_bytes(),
            &7_u32.to_be_bytes(),
            &vec![b'k'; length],
        ];
        assert_eq!(sent, wanted.concat());
        assert!(session.may_have_interrupted());
        session.sent(sent.len());
        session.receive_end();
        assert!(matches!(session.next_event(), Some(Event::Closed(None))));
    }
}

#[test]
fn an_end_before_the_cancel_request_is_an_error() {
    let mut session = Session::to_cancel(key(4), Encryption::Plain).unwrap();
    session.receive_end();
    let Some(Event::Closed(Some(error))) = session.next_event() else {
        panic!("it was not told");
    };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent));
}

/// Whatever it says (a pooler's error, a greeting, noise), nothing is answered.
#[test]
fn whoever_answers_a_cancel_request_gets_no_answer() {
    for said in [
        &b"E\0\0\0\x18SFATAL\0C57P03\0Mno\0\0"[..],
        b"R\0\0\0\x08\0\0\0\x03",
        b"Z\0\0\0\x05I",
        b"S\0\0\0\x08a\0b\0",
        b"HTTP/1.1 400 Bad Request",
    ] {
        let mut session = Session::to_cancel(key(4), Encryption::Plain).unwrap();
        output(&mut session);
        session.receive(said);
        assert_eq!(output(&mut session), b"");
        session.receive_end();
        assert!(session.is_closed());
    }
}

// --- In any order ---

#[derive(Debug, Clone, Copy)]
enum Move {
    Submit { alone: bool, by_query: bool },
    Take,
    Receive(usize),
    Cancel(usize),
    TakeBack(usize),
    OpenGate,
}

fn one_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (any::<bool>(), any::<bool>()).prop_map(|(alone, by_query)| Move::Submit { alone, by_query }),
        6 => Just(Move::Take),
        8 => (0..200_usize).prop_map(Move::Receive),
        3 => (0..8_usize).prop_map(Move::Cancel),
        3 => (0..8_usize).prop_map(Move::TakeBack),
        2 => Just(Move::OpenGate),
    ]
}

/// A session and its server, and what may be between them.
struct Line<'d> {
    player: Player<'d>,
    server: Model,
    arrived: usize,
    asked: usize,
    /// Which of those that were handed out travel alone, the oldest first; those that were answered are gone.
    under_way: VecDeque<bool>,
    alone: BTreeSet<usize>,
    withdrawn: BTreeSet<usize>,
}

impl Line<'_> {
    fn submit(&mut self, alone: bool, by_query: bool) {
        let number = self.asked;
        self.asked += 1;
        let sql = format!("select rows 1 number {number}!");
        let what = if by_query { Ask::Query { sql, values: vec![] } } else { Ask::Script(sql) };
        if alone {
            self.alone.insert(number);
            self.player.act(&Act::Exclusive(what));
        } else {
            self.player.act(&Act::Submit { begin: None, what });
        }
    }

    fn cancel(&mut self, number: usize) {
        self.player.act(&Act::Cancel(number));
        let withdrawn = format!("cancel #{number}: Withdrawn");
        if self.player.events.contains(&withdrawn) {
            self.withdrawn.insert(number);
        }
    }

    fn take_back(&mut self, number: usize) {
        self.player.act(&Act::TakeBack(number));
        if self.player.events.contains(&format!("take back #{number}: true")) {
            self.withdrawn.insert(number);
        }
    }

    fn take(&mut self) {
        let was_shut = self.player.session.is_gate_shut();
        let start = self.player.stream.len();
        let count = self.player.take();
        self.player.session.sent(count);
        assert!(!was_shut || count == 0, "invariant 6: something left while the gate was shut");
        let bytes = self.player.stream[start..].to_vec();
        self.server.receive(&bytes);
        if start == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        // The text of a statement that is known is not sent again; each here has a text of its own.
        for part in text.split("number ").skip(1) {
            let number: usize = part.split('!').next().unwrap().parse().unwrap();
            assert!(!self.withdrawn.contains(&number), "{number} was taken back, and left");
            let alone = self.alone.contains(&number);
            let together = self.under_way.iter().any(|&other| other) || alone;
            assert!(!together || self.under_way.is_empty(), "{number} does not travel alone");
            self.under_way.push_back(alone);
        }
    }

    fn receive(&mut self, count: usize) {
        let end = self.server.said.len().min(self.arrived.saturating_add(count));
        let ready = |arrived: usize, server: &Model| {
            server.ready.iter().skip(1).filter(|&&end| end <= arrived).count()
        };
        let before = ready(self.arrived, &self.server);
        self.player.receive(&self.server.said[self.arrived..end]);
        self.arrived = end;
        for _ in before..ready(end, &self.server) {
            self.under_way.pop_front();
        }
    }

    fn settle(&mut self) {
        loop {
            self.player.act(&Act::OpenGate);
            self.take();
            let before = self.arrived;
            self.receive(usize::MAX);
            if before == self.arrived && !self.player.session.has_output() {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_nobody_is_hit_who_should_not_be(moves in prop::collection::vec(one_move(), 0..120)) {
        let dialog = Dialog::parse("model", "A model.\n! open cache=2");
        let mut line = Line {
            player: Player::new(&dialog),
            server: Model::default(),
            arrived: 0,
            asked: 0,
            under_way: VecDeque::new(),
            alone: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
        };
        line.settle();
        for step in moves {
            match step {
                Move::Submit { alone, by_query } => line.submit(alone, by_query),
                Move::Take => line.take(),
                Move::Receive(count) => line.receive(count),
                Move::Cancel(back) => {
                    if let Some(number) = line.asked.checked_sub(back + 1) {
                        line.cancel(number);
                    }
                }
                Move::TakeBack(back) => {
                    if let Some(number) = line.asked.checked_sub(back + 1) {
                        line.take_back(number);
                    }
                }
                Move::OpenGate => line.player.act(&Act::OpenGate),
            }
        }
        line.settle();
        line.player.drain();
        prop_assert_eq!(line.player.session.outstanding(), 0);
        for number in 0..line.asked {
            let settled = format!("#{number} ");
            let event = line.player.events.iter().find(|event| event.starts_with(&settled)).unwrap();
            if line.withdrawn.contains(&number) {
                prop_assert!(event.contains("Cancelled NotSent"), "{}", event);
            } else {
                prop_assert!(event.contains(&format!("number {number}!")), "{}", event);
            }
        }
    }
}

#[test]
fn what_is_over_is_over() {
    let dialog = Dialog::parse("inline", &format!("Inline.{OPEN}"));
    let mut player = Player::new(&dialog);
    player.play_straight();
    let ticket = player.session.submit(Request::Script { sql: "select 1" }).unwrap();
    player.session.close();
    assert_eq!(player.session.cancel(ticket), Cancel::Over);
}
