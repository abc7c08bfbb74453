//! Sessions of one connection, one after the other: what a query has learnt in one does not count
//! in the next.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use bytes::BytesMut;
use support::dialog::Dialog;
use support::model::Model;
use support::player::{session_config, submit_query};
use txpostgres_session::{Event, Execute, NextStep, Query, Session};

const SQL: &str = "select rows 1 where $1";

/// A session and its server.
struct Line {
    session: Session,
    server: Model,
    heard: usize,
}

impl Line {
    fn open() -> Self {
        let dialog = Dialog::parse("inline", "Inline.\n! open user=tester\n");
        let session = Session::new(session_config(&dialog)).unwrap();
        let mut this = Self { session, server: Model::default(), heard: 0 };
        this.exchange();
        assert!(this.session.is_open());
        this
    }

    /// Everything that is to be sent is sent and answered; returns what was sent.
    fn exchange(&mut self) -> Vec<u8> {
        let mut sent = BytesMut::new();
        self.session.take_output(&mut sent);
        self.session.sent(sent.len());
        self.server.receive(&sent);
        self.session.receive(&self.server.said[self.heard..]);
        self.heard = self.server.said.len();
        sent.to_vec()
    }

    /// The next step of a query, which is another step; returns what was sent for it.
    fn step(&mut self, query: &mut Query) -> Vec<u8> {
        let asked = Execute::Run(&[&1_i32]);
        submit_query(query, &mut self.session, SQL, asked, None).unwrap();
        let sent = self.exchange();
        while let Some(event) = self.session.next_event() {
            if let Event::Settled { outcome, status, .. } = event {
                let next = query.settled(&mut self.session, SQL, outcome, status);
                assert!(matches!(next, NextStep::Again), "{next:?}");
            }
        }
        sent
    }
}

#[test]
fn a_statement_that_was_described_in_one_session_is_described_anew_in_the_next() {
    let mut query = Query::new();
    let mut last = Line::open();
    assert_eq!(last.step(&mut query).first(), Some(&b'P'));
    let mut next = Line::open();
    next.session.follow(&mut last.session);
    assert_eq!(next.session.next_ticket(), last.session.next_ticket());
    // `Bind` of the name that the last session gave would fail here.
    assert_eq!(next.step(&mut query).first(), Some(&b'P'));
}

#[test]
fn a_statement_that_was_prepared_in_one_session_is_not_remembered_in_the_next() {
    let mut query = Query::new();
    let mut last = Line::open();
    submit_query(&mut query, &mut last.session, SQL, Execute::Run(&[&1_i32]), None).unwrap();
    last.exchange();
    let mut next = Line::open();
    next.session.follow(&mut last.session);
    // Its answer is fetched when there is another session.
    while let Some(event) = last.session.next_event() {
        if let Event::Settled { outcome, status, .. } = event {
            assert!(matches!(
                query.settled(&mut next.session, SQL, outcome, status),
                NextStep::Again
            ));
        }
    }
    assert_eq!(next.step(&mut query).first(), Some(&b'P'));
}
