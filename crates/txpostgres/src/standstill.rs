//! Tasks that wait for themselves: a call behind a stream or a COPY that the same task was to read or to feed.
//!
//! A stream and a COPY travel alone, so such a call would wait for their end, and they for the task: for ever. The watcher looks
//! from time to time, and what has stood still for long enough is refused.

use txpostgres_session::{Cancel, Error, ErrorKind, Ticket};

use crate::desk::{Calls, Desk, Waiter};

/// A stream or a COPY whose own task waits for a call behind it, seen from time to time.
#[derive(Default, Clone, Copy)]
pub(crate) struct Standstill {
    /// The oldest call, and how often its task had come for it.
    at: Option<(Ticket, u64)>,
    /// How many times it was seen unchanged.
    times: u32,
    /// A call that is being refused for it.
    refused: Option<Ticket>,
}

/// Why a call is refused that would wait for ever.
pub(crate) fn stuck() -> Error {
    Error::new(
        ErrorKind::Request,
        "the call waits behind a stream or a COPY of the same task, which it keeps waiting",
    )
    .with_hint(
        "end or drop that first, or use another connection; beside a stream of an interaction other calls may run, beside a COPY none",
    )
}

impl Standstill {
    /// Whether this call is being refused.
    pub(crate) fn refuses(&self, ticket: Ticket) -> bool {
        self.refused == Some(ticket)
    }
}

impl Desk {
    /// A stream or COPY that waits for its task, and a call behind it that the same task waits for: they wait for each other.
    pub(crate) fn stuck(&self) -> Option<(Ticket, u64, Ticket)> {
        let (at, inbox) = self.oldest_inbox()?;
        let ticket = |at: usize| Ticket::numbered(self.first + at as u64);
        if !inbox.is_full(false) && !self.session.is_fed(ticket(at)) {
            return None;
        }
        let behind = self.waiters.iter().enumerate().skip(at + 1);
        let same_task = |waiter: &Waiter| match waiter {
            Waiter::Call(Some(waker)) => inbox.is_read_by(waker),
            Waiter::Pieces(other) => other.waker().is_some_and(|waker| inbox.is_read_by(waker)),
            _ => false,
        };
        let (victim, _) = behind.into_iter().find(|(_, waiter)| same_task(waiter))?;
        Some((ticket(at), inbox.visits(), ticket(victim)))
    }

    /// Looks whether tasks wait for themselves; to be called from time to time. What has stood still for `times` looks is
    /// refused.
    pub(crate) fn look_for_standstill(&mut self, times: u32, calls: &mut Calls) {
        let Some((ticket, visits, victim)) = self.stuck() else {
            self.standstill = Standstill::default();
            return;
        };
        if self.standstill.at == Some((ticket, visits)) {
            self.standstill.times += 1;
        } else {
            self.standstill = Standstill { at: Some((ticket, visits)), ..Standstill::default() };
        }
        if self.standstill.times < times {
            return;
        }
        self.standstill = Standstill { refused: Some(victim), ..Standstill::default() };
        // It has not left: a stream and a COPY travel alone.
        if self.session.cancel(victim) == Cancel::Withdrawn {
            self.turnstile.withdrawn(victim, calls);
            self.distribute(None, calls);
        }
        self.standstill.refused = None;
    }
}
