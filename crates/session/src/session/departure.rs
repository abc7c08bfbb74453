//! Which requests travel alone, which are taken back, and how one that runs is cancelled: see
//! `gate.rs`.

use super::Session;
use crate::cancel::{Cancel, CancelKey};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::event::Event;
use crate::gate::QueuedRequest;
use crate::protocol::encode::closed_names;
use crate::protocol::phase::Phase;
use crate::protocol::startup::{Encryption, Startup};
use crate::request::Ticket;
use crate::statement::cache::StatementCache;

/// The position of what has no place in the send buffer.
pub(super) const NOT_YET: u64 = u64::MAX;

impl Session {
    /// Has the request that was just submitted travel alone: it leaves when nothing else is
    /// outstanding, and nothing leaves behind it before it is settled. So it can be cancelled, and
    /// no other be hit.
    ///
    /// To be said before anything is taken for sending. Later it has no effect, and gives `false`.
    pub fn make_exclusive(&mut self, ticket: Ticket) -> bool {
        if self.gate.make_exclusive(ticket) {
            return true;
        }
        let newest = self.newest;
        let front = self.pipeline.front().map(|exchange| exchange.ticket);
        let Some(exchange) = self.pipeline.last_if(ticket) else {
            return false;
        };
        if !self.send_buffer.is_pending(exchange.acts_at()) {
            return false;
        }
        if front == Some(ticket) {
            self.gate.set_exclusive(ticket);
            return true;
        }
        let acts_at = exchange.acts_at().saturating_sub(newest);
        exchange.set_acts_at(NOT_YET);
        self.gate.push(QueuedRequest::new(ticket, self.send_buffer.take_back(newest), acts_at));
        self.gate.make_exclusive(ticket)
    }

    /// Sees to it that this request is not carried out, or not to its end. What the server takes
    /// the data of a COPY for ends by that data's end, and needs no CancelRequest.
    pub fn cancel(&mut self, ticket: Ticket) -> Cancel {
        if !matches!(self.phase, Phase::Open) {
            return Cancel::Over;
        }
        if let Some(queued) = self.gate.withdraw(ticket) {
            self.withdraw(ticket, &queued.bytes);
            return Cancel::Withdrawn;
        }
        let is_only_one = self.on_the_line() == 1;
        let Some(exchange) = self.pipeline.get(ticket) else {
            return Cancel::Over;
        };
        if !is_only_one {
            return Cancel::Pipelined;
        }
        if !exchange.has_data_ended() && self.send_buffer.is_pending(exchange.acts_at()) {
            let bytes = self.send_buffer.take_back(0);
            self.withdraw(ticket, &bytes);
            return Cancel::Withdrawn;
        }
        exchange.ask_to_cancel();
        // While it waits for the data of a COPY the server heeds no cancel, but it does heed the
        // end of the data. The only error there is lies in the reason given.
        let _ = self.copy_fail(ticket, "the client cancelled it");
        self.gate.set_exclusive(ticket);
        self.gate.shut();
        Cancel::Running
    }

    /// Takes back a request whose bytes are still here, if that can be: it is not carried out, and
    /// settles as cancelled.
    pub fn take_back(&mut self, ticket: Ticket) -> bool {
        if let Some(queued) = self.gate.withdraw(ticket) {
            self.withdraw(ticket, &queued.bytes);
            return true;
        }
        // From the send buffer only what was appended last can be taken: what lies behind would
        // move.
        let begins = self.newest;
        let is_last = self.pipeline.last_if(ticket).is_some_and(|exchange| {
            begins < exchange.acts_at() && !exchange.has_data_ended() && !exchange.is_withdrawn()
        });
        if !is_last || !self.send_buffer.is_pending(begins + 1) {
            return false;
        }
        let bytes = self.send_buffer.take_back(begins);
        self.withdraw(ticket, &bytes);
        true
    }

    /// The server has hung up on the CancelRequest, or none was sent: other requests may leave
    /// again.
    pub fn open_gate(&mut self) {
        self.gate.open();
        self.release();
    }

    /// Whether a CancelRequest is on its way, and no other request may leave.
    pub fn is_gate_shut(&self) -> bool {
        self.gate.is_shut()
    }

    /// Whether the answer to this request is outstanding.
    pub fn is_outstanding(&mut self, ticket: Ticket) -> bool {
        self.pipeline.get(ticket).is_some()
    }

    /// The requests from this one on whose answers are outstanding, the newest first.
    pub fn outstanding_since(&mut self, ticket: Ticket) -> Vec<Ticket> {
        self.pipeline.since(ticket)
    }

    /// How many requests the server has, or may have, before it.
    pub(super) fn on_the_line(&self) -> usize {
        self.pipeline.unanswered().saturating_sub(self.gate.waiting())
    }

    /// Puts into the send buffer what may leave now.
    pub(super) fn release(&mut self) {
        let front = self.pipeline.front().map(|exchange| exchange.ticket);
        while let Some(mut queued) = self.gate.release(front) {
            let base = self.send_buffer.end();
            self.newest = base;
            self.send_buffer.append(&mut queued.bytes);
            if let Some(exchange) = self.pipeline.get(queued.ticket) {
                exchange.set_acts_at(base + queued.acts_at);
            }
        }
    }

    /// Settles a request whose bytes were taken back.
    fn withdraw(&mut self, ticket: Ticket, bytes: &[u8]) {
        for name in closed_names(bytes) {
            self.statements.discard(name);
        }
        self.pipeline.withdraw(ticket);
        self.gate.settled(ticket);
        let error =
            Error::new(ErrorKind::Cancelled, "the statement was cancelled before it was sent");
        self.events.push_back(Event::Settled { ticket, outcome: Err(error), status: self.status });
        self.release();
    }

    // --- The session that carries a CancelRequest ---

    /// A session that says nothing but that another one, whose key this is, is to be cancelled. It
    /// ends with [`Event::Closed`]: without an error when the server has hung up, which it does
    /// when it has taken note; with an error otherwise, whose delivery tells whether the request
    /// had left.
    ///
    /// # Errors
    ///
    /// The TLS settings do not go with the server's name.
    pub fn to_cancel(key: CancelKey, encryption: Encryption) -> Result<Self> {
        Self::begin(Startup::to_cancel(key, encryption), StatementCache::new(0, 0))
    }

    /// Whether the CancelRequest was handed out for sending, so that the server may get it.
    pub fn may_have_interrupted(&self) -> bool {
        match &self.phase {
            Phase::Starting(startup) => startup.is_interrupting() && self.send_buffer.is_empty(),
            _ => false,
        }
    }

    /// The server has hung up on a CancelRequest.
    pub(super) fn interrupted(&mut self) {
        if self.may_have_interrupted() {
            self.phase = Phase::Closed;
            self.events.push_back(Event::Closed(None));
        } else {
            self.lost(
                Error::new(
                    ErrorKind::Connect,
                    "the server closed the connection before it was asked to cancel",
                )
                .with_delivery(Delivery::NotSent),
            );
        }
    }
}
