//! What must hold for the events of every session, whatever happens (DESIGN, section 6: invariants 1, 2, 8 and 10).

use std::collections::BTreeSet;

use txpostgres_session::{Delivery, ErrorKind, Event, Request, Session, Ticket};

#[derive(Default)]
pub struct Watch {
    submitted: u64,
    /// All before this one are settled.
    settled: u64,
    /// Settled out of turn: they were taken back before they left.
    withdrawn: BTreeSet<u64>,
    opened: bool,
    closed: bool,
    has_closed_by_user: bool,
    /// Copies that have begun.
    copies: BTreeSet<u64>,
    /// Nobody waits for these.
    abandoned: BTreeSet<u64>,
}

impl Watch {
    pub fn submitted(&mut self, ticket: Ticket) {
        assert_eq!(ticket.number(), self.submitted, "tickets are numbered without holes");
        assert!(!self.closed, "a request was taken after the end");
        self.submitted += 1;
    }

    pub fn abandoned(&mut self, ticket: Ticket) {
        self.abandoned.insert(ticket.number());
    }

    /// A piece of an answer belongs to the oldest request, and to one that somebody waits for.
    fn piece(&self, ticket: Ticket) {
        assert_eq!(ticket.number(), self.settled, "a piece out of turn");
    }

    pub fn close(&mut self) {
        self.has_closed_by_user = true;
    }

    pub fn event(&mut self, event: &Event) {
        assert!(!self.closed, "an event after the last one: {event:?}");
        match event {
            Event::Opened => {
                assert!(!self.opened, "opened twice");
                self.opened = true;
            }
            Event::Settled { ticket, outcome, .. } => {
                assert!(ticket.number() < self.submitted, "settled and never submitted");
                let withdrawn = matches!(outcome, Err(error)
                    if (error.kind(), error.delivery()) == (ErrorKind::Cancelled, Delivery::NotSent));
                if withdrawn {
                    let is_new = ticket.number() >= self.settled;
                    assert!(is_new && self.withdrawn.insert(ticket.number()), "settled twice");
                } else {
                    assert_eq!(ticket.number(), self.settled, "settled out of turn");
                    self.settled += 1;
                }
                while self.withdrawn.remove(&self.settled) {
                    self.settled += 1;
                }
                if let Err(error) = outcome {
                    let answered = error.kind() == ErrorKind::Server;
                    assert!(!answered || error.delivery() == Delivery::Answered, "{error:?}");
                }
            }
            Event::Rows { ticket, rows } => {
                self.piece(*ticket);
                assert!(!rows.is_empty(), "a piece without rows");
            }
            Event::CopyStarted { ticket, .. } => {
                self.piece(*ticket);
                assert!(self.copies.insert(ticket.number()), "begun twice");
            }
            Event::CopyData { ticket, data } => {
                self.piece(*ticket);
                assert!(data.messages > 0, "a piece without data");
                assert!(self.copies.contains(&ticket.number()), "data before the beginning");
            }
            Event::Closed(error) => {
                assert!(error.is_some() || self.has_closed_by_user, "closed, and nobody says why");
                assert_eq!(self.settled, self.submitted, "closed, and something is outstanding");
                self.closed = true;
            }
            _ => {}
        }
    }

    /// Whether the server has asked for the data of this COPY, or begun to send it.
    pub fn has_begun(&self, number: usize) -> bool {
        self.copies.contains(&u64::try_from(number).unwrap())
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// After the end: everything has settled, and nothing wakes it up.
    pub fn ended(&self, session: &mut Session) {
        assert!(self.closed, "the session does not say that it ended");
        assert_eq!(self.settled, self.submitted);
        assert!(session.is_closed() && !session.is_open() && session.outstanding() == 0);
        assert!(!session.has_output() && !session.has_events());
        session.receive(b"Z\0\0\0\x05I");
        session.receive_end();
        session.close();
        assert!(session.next_event().is_none());
        assert!(session.submit(Request::Script { sql: "" }).is_err());
    }
}
