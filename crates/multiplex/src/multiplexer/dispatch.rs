//! Dispatch of what arrives: each event goes to its slot, its listeners, its transaction.

use txpostgres_session::{Delivery, Error, Event, Ticket};

use super::Multiplexer;
use super::listening::Reconciliation;
use crate::effects::Effects;
use crate::response_buffer::{Capacity, Chunk, ResponseBuffer};
use crate::slots::{Settled, Slot, SlotId, put};
use crate::transaction::{EndKind, Transaction};

/// The result of a read of the driver.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes, cut anywhere.
    Bytes(&'a [u8]),
    /// The server has ended the connection.
    End,
    /// The connection broke for this reason.
    Lost(Error),
}

/// The consequences of a read for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "four answers, of which any may hold")]
pub struct Received {
    /// The session is over.
    pub has_ended: bool,
    /// The oldest response is over its limit: nothing must be read (backpressure).
    pub is_over_limit: bool,
    /// The driving call should fetch its chunk before more is read.
    pub is_fetched_first: bool,
    /// Notifications were dispatched; their listeners must run before more is read.
    pub has_notified: bool,
}

impl Multiplexer {
    /// Takes what the driver has read, after `sent` more bytes of output were written. `own` is the
    /// request of the driving task, which need not be woken.
    // Once for each read; as a call it would return its flags packed.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn received(
        &mut self,
        sent: usize,
        input: Input<'_>,
        own: Option<Ticket>,
        effects: &mut Effects,
    ) -> Received {
        self.received += 1;
        if let Some(session) = &mut self.session {
            session.sent(sent);
            match input {
                Input::Bytes(bytes) => session.receive(bytes),
                Input::End => session.receive_end(),
                Input::Lost(reason) => session.lost(reason),
            }
        }
        self.dispatch_inlined(own, effects);
        Received {
            has_ended: self.is_closed(),
            is_over_limit: self.is_over_limit(),
            is_fetched_first: own.is_some() && self.is_fetched_first(own),
            has_notified: std::mem::take(&mut self.has_notified),
        }
    }

    /// Whether a chunk of this request's response should be fetched before more is read.
    fn is_fetched_first(&mut self, own: Option<Ticket>) -> bool {
        self.slots.has_buffers()
            && match own.and_then(|own| self.slots.in_flight(own)) {
                Some(Slot::Buffered(buffer)) => buffer.is_fetched_first(),
                _ => false,
            }
    }

    /// Dispatches every event of the session, then begins the round of LISTEN that may have become
    /// due: after the last event, since what the events say may change the round.
    pub(super) fn dispatch(&mut self, own: Option<Ticket>, effects: &mut Effects) {
        self.dispatch_inlined(own, effects);
    }

    /// The same, inlined.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn dispatch_inlined(&mut self, own: Option<Ticket>, effects: &mut Effects) {
        while let Some(session) = &mut self.session
            && let Some(event) = session.next_event()
        {
            match event {
                Event::Settled { ticket, outcome, status } => {
                    self.settled(ticket, (outcome, status), own, effects);
                }
                // Dispatched before the answer that follows it: the order of the wire is kept.
                Event::Notification(notification) => {
                    self.has_notified = true;
                    self.listeners.dispatch(&notification, effects);
                }
                other => self.dispatch_other(other, own, effects),
            }
        }
        if self.reconciliation == Reconciliation::Due {
            self.begin_round(effects);
        }
    }

    #[inline(never)]
    fn dispatch_other(&mut self, event: Event, own: Option<Ticket>, effects: &mut Effects) {
        match event {
            Event::Rows { ticket, rows } => {
                self.push(ticket, Chunk::Rows(rows), own, effects);
            }
            Event::CopyStarted { ticket, layout, .. } => {
                self.push(ticket, Chunk::CopyStarted(layout), own, effects);
            }
            Event::CopyData { ticket, data } => {
                self.push(ticket, Chunk::CopyData(data), own, effects);
            }
            // A round knows what it says.
            Event::ListensLost { ticket }
                if !matches!(self.slots.in_flight(ticket), Some(Slot::Round(_))) =>
            {
                self.listens_lost();
            }
            Event::Notice(notice) => effects.log(notice),
            Event::Parameter { name, .. } => self.parameter_changed(&name),
            Event::Closed(reason) => self.ended(reason, effects),
            _ => {}
        }
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn settled(
        &mut self,
        ticket: Ticket,
        settled: Settled,
        own: Option<Ticket>,
        effects: &mut Effects,
    ) {
        if let Err(error) = &settled.0 {
            self.check_role(error, settled.1);
        }
        // What was withdrawn has no answer, and the status is that of an earlier one.
        let is_answered = match &settled.0 {
            Ok(_) => true,
            Err(error) => error.delivery() != Delivery::NotSent,
        };
        if is_answered && let Some(transaction) = &mut self.transaction {
            let effect = match &settled.0 {
                Ok(answer) => answer.transaction_effect(),
                Err(error) => {
                    transaction.has_failed(ticket, settled.1, error);
                    error.transaction_effect()
                }
            };
            transaction.settled(ticket, settled.1, effect.into(), effects);
        }
        if let Some(pending) = &mut self.pending_cancel {
            effects.wake(pending.settled(ticket));
        }
        let Some((id, slot)) = self.slots.settle(ticket) else {
            return;
        };
        match slot {
            Slot::Waiting(waker) => {
                if own == Some(ticket) {
                    effects.discard(waker.take());
                } else {
                    effects.wake(waker.take());
                }
                put(slot, Slot::Answered(settled));
            }
            _ => self.settled_otherwise(id, settled, own, effects),
        }
    }

    /// The request of this slot, which no call waits for as a whole, is settled.
    #[inline(never)]
    fn settled_otherwise(
        &mut self,
        id: SlotId,
        settled: Settled,
        own: Option<Ticket>,
        effects: &mut Effects,
    ) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        match slot {
            Slot::Buffered(buffer) => {
                let ticket = id.ticket();
                let waker = buffer.end(settled);
                if own != Some(ticket) {
                    effects.wake_shared(waker);
                }
            }
            Slot::Ending(_) => self.transaction_ended(id, settled, effects),
            Slot::Round(_) => self.reconciled(id, settled, effects),
            Slot::UndoneBy(undoing) => {
                let undoing = *undoing;
                if settled.0.is_err()
                    && let Some(session) = &mut self.session
                {
                    // It was not sent yet: it is exclusive, and this answer was before it.
                    session.cancel(undoing);
                }
                self.slots.free(id);
            }
            _ => {
                self.slots.free(id);
            }
        }
    }

    fn push(&mut self, ticket: Ticket, chunk: Chunk, own: Option<Ticket>, effects: &mut Effects) {
        let Some(slot) = self.slots.in_flight(ticket) else {
            return;
        };
        // The first chunk of a large response.
        if let Slot::Waiting(waker) = slot {
            let buffer = ResponseBuffer::new(Capacity::Unbounded, waker.take());
            *slot = Slot::Buffered(Box::new(buffer));
            self.slots.count_buffer();
        }
        if let Some(Slot::Buffered(buffer)) = self.slots.in_flight(ticket) {
            let waker = buffer.push(chunk);
            if own != Some(ticket) {
                effects.wake_shared(waker);
            }
        }
    }

    /// The request that ends a transaction or a savepoint was answered.
    fn transaction_ended(&mut self, id: SlotId, (answer, status): Settled, effects: &mut Effects) {
        let Some(Slot::Ending(ending)) = self.slots.get(id) else {
            return;
        };
        let (lease, level) = (ending.lease, ending.level);
        let is_nested = ending.kind().is_nested();
        let failure = || self.transaction.as_ref().and_then(Transaction::failure);
        let verdict = ending.judge(answer, status, failure);
        let leaves_level = verdict.outcome.is_ok() && ending.leaves_level();
        ending.put(verdict.outcome);
        effects.wake(ending.take_waker());
        if ending.is_abandoned() {
            self.slots.free(id);
        }
        if let Some(reason) = verdict.lost {
            // The state of the transaction is unknown: nothing else may use the session.
            if let Some(session) = &mut self.session {
                session.lost(reason);
            }
        } else if verdict.rolls_back {
            if let Some(transaction) = self.transaction_of(lease) {
                transaction.reopen();
            }
            drop(self.end(lease, level, EndKind::RollBack, &mut None, effects));
        } else if !is_nested {
            self.release(lease, effects);
        } else if leaves_level && let Some(transaction) = self.transaction_of(lease) {
            transaction.leave(level);
        }
    }
}
