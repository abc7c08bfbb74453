//! What may leave, and what waits until it may.
//!
//! A request that may be cancelled must be the only one that a cancel can hit: a CancelRequest
//! interrupts whatever the server is doing at that moment (manual, section 54.2.8). So such a
//! request is *exclusive*: it leaves when nothing else is outstanding, and nothing leaves behind it
//! before it is settled. And while a CancelRequest is on its way the gate is shut, for it may
//! arrive after the request has ended.
//!
//! Without pipelining every request is exclusive: some poolers stand still when a second Sync
//! arrives before they have answered the first.
//!
//! ```text
//!   append ──▶ send buffer                 nothing waits, no request is exclusive, gate open,
//!          │                               pipelining on
//!          └─▶ waiting ──▶ send buffer     when that holds; exclusive: when all before are settled
//!                     └──▶ withdrawn
//! ```
//!
//! What waits is kept apart from the send buffer, so positions there need not change when something
//! is withdrawn.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::request::Ticket;

/// A request that has not gone to the send buffer.
pub(crate) struct QueuedRequest {
    pub(crate) ticket: Ticket,
    pub(crate) bytes: BytesMut,
    /// How many of the bytes make the server act.
    pub(crate) acts_at: u64,
    exclusive: bool,
}

impl QueuedRequest {
    pub(crate) fn new(ticket: Ticket, bytes: BytesMut, acts_at: u64) -> Self {
        Self { ticket, bytes, acts_at, exclusive: false }
    }
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: VecDeque<QueuedRequest>,
    /// Who has the line for itself.
    exclusive: Option<Ticket>,
    /// A CancelRequest is on its way.
    shut: bool,
    /// Every request is exclusive.
    one_at_a_time: bool,
}

impl std::fmt::Debug for Gate {
    /// Without the bytes that wait: there are values in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("waiting", &self.waiting.len())
            .field("exclusive", &self.exclusive)
            .field("shut", &self.shut)
            .field("one_at_a_time", &self.one_at_a_time)
            .finish()
    }
}

impl Gate {
    /// With pipelining or without.
    pub(crate) fn new(pipelining: bool) -> Self {
        Self { one_at_a_time: !pipelining, ..Self::default() }
    }

    /// Whether what is asked now may go to the send buffer at once.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        let passes = !self.shut && !self.one_at_a_time;
        passes && self.exclusive.is_none() && self.waiting.is_empty()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether this one, the oldest that is outstanding, waits.
    #[inline]
    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        self.waiting.front().is_some_and(|queued| queued.ticket == ticket)
    }

    pub(crate) fn push(&mut self, mut queued: QueuedRequest) {
        queued.exclusive |= self.one_at_a_time;
        self.waiting.push_back(queued);
    }

    /// The line is this one's, until it is settled.
    pub(crate) fn set_exclusive(&mut self, ticket: Ticket) {
        self.exclusive = Some(ticket);
    }

    /// The one that came last is to travel alone, if it waits.
    pub(crate) fn make_exclusive(&mut self, ticket: Ticket) -> bool {
        let last = self.waiting.back_mut().filter(|queued| queued.ticket == ticket);
        last.map(|queued| queued.exclusive = true).is_some()
    }

    /// Takes out one that waits.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> Option<QueuedRequest> {
        let at = self.waiting.iter().position(|queued| queued.ticket == ticket)?;
        self.waiting.remove(at)
    }

    /// A CancelRequest goes out.
    pub(crate) fn shut(&mut self) {
        self.shut = true;
    }

    /// The server has taken note of it, or it never went out.
    pub(crate) fn open(&mut self) {
        self.shut = false;
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut
    }

    /// This one is settled.
    #[inline]
    pub(crate) fn settled(&mut self, ticket: Ticket) {
        if self.exclusive == Some(ticket) {
            self.exclusive = None;
        }
    }

    /// The next one that may go to the send buffer. `front` is the oldest that is outstanding.
    pub(crate) fn release(&mut self, front: Option<Ticket>) -> Option<QueuedRequest> {
        if self.shut || self.exclusive.is_some() {
            return None;
        }
        self.waiting.front().filter(|queued| !queued.exclusive || front == Some(queued.ticket))?;
        let queued = self.waiting.pop_front()?;
        if queued.exclusive {
            self.exclusive = Some(queued.ticket);
        }
        Some(queued)
    }

    /// Nothing is to leave any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(!self.one_at_a_time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(number: u64, exclusive: bool) -> QueuedRequest {
        QueuedRequest { exclusive, ..QueuedRequest::new(Ticket(number), BytesMut::new(), 0) }
    }

    fn released(gate: &mut Gate, front: u64) -> Vec<u64> {
        let queued_requests = std::iter::from_fn(|| gate.release(Some(Ticket(front))));
        queued_requests.map(|queued| queued.ticket.0).collect()
    }

    #[test]
    fn who_travels_alone_has_nobody_before_or_behind() {
        let mut gate = Gate::default();
        for (number, exclusive) in [(1, false), (2, false), (3, true), (4, false)] {
            gate.push(queued(number, exclusive));
        }
        assert_eq!(released(&mut gate, 0), [1, 2]);
        assert!(released(&mut gate, 2).is_empty());
        assert_eq!(released(&mut gate, 3), [3]);
        assert!(released(&mut gate, 3).is_empty());
        gate.settled(Ticket(3));
        assert_eq!(released(&mut gate, 4), [4]);
        assert!(gate.is_clear());
    }

    #[test]
    fn without_pipelining_each_waits_for_the_answer_to_the_one_before() {
        let mut gate = Gate::new(false);
        for number in 1..=3 {
            assert!(!gate.is_clear());
            gate.push(queued(number, false));
        }
        for number in 1..=3 {
            assert_eq!(released(&mut gate, number), [number]);
            assert!(released(&mut gate, number + 1).is_empty());
            gate.settled(Ticket(number));
        }
    }

    #[test]
    fn nothing_passes_a_shut_gate() {
        let mut gate = Gate::default();
        gate.set_exclusive(Ticket(0));
        gate.shut();
        gate.push(queued(1, false));
        gate.settled(Ticket(0));
        assert!(released(&mut gate, 1).is_empty());
        gate.open();
        assert_eq!(released(&mut gate, 1), [1]);
    }
}
