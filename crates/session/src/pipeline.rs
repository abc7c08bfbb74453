//! All requests whose answers are outstanding, in order.

use std::collections::VecDeque;

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::owed::Steps;
use crate::request::Ticket;

/// The front is the one that the server is answering.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    exchanges: VecDeque<Exchange>,
    tickets: u64,
}

impl Pipeline {
    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    pub(crate) fn push(&mut self, steps: Steps, decisive: u64, answer: Box<Answer>) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.exchanges.push_back(Exchange::new(ticket, steps, decisive, answer));
        ticket
    }

    pub(crate) fn front(&mut self) -> Option<&mut Exchange> {
        self.exchanges.front_mut()
    }

    pub(crate) fn pop(&mut self) -> Option<Exchange> {
        self.exchanges.pop_front()
    }

    /// The exchange of this ticket, if it is still outstanding. Tickets are numbered without holes.
    pub(crate) fn get(&mut self, ticket: Ticket) -> Option<&mut Exchange> {
        let first = self.exchanges.front()?.ticket.0;
        let index = usize::try_from(ticket.0.checked_sub(first)?).ok()?;
        self.exchanges.get_mut(index)
    }
}
