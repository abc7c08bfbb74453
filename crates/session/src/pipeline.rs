//! All requests whose answers are outstanding, in order.

use std::collections::VecDeque;

use crate::exchange::Exchange;
use crate::protocol::expect::Steps;
use crate::request::Ticket;
use crate::result::answer::Answer;

/// The front is the one that the server is answering.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    exchanges: VecDeque<Exchange>,
    tickets: u64,
    /// How many were withdrawn and still have others before them; the front never is.
    withdrawn: usize,
}

impl Pipeline {
    /// From the front to the last, those that were withdrawn in between included.
    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// The ticket of the next request.
    pub(crate) fn next_ticket(&self) -> Ticket {
        Ticket(self.tickets)
    }

    /// The next request gets this ticket, if it is later than all before.
    pub(crate) fn number_from(&mut self, ticket: Ticket) {
        if self.exchanges.is_empty() {
            self.tickets = self.tickets.max(ticket.0);
        }
    }

    /// How many are to be answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.exchanges.len() - self.withdrawn
    }

    // As a call it would move the exchange twice.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn push(&mut self, steps: Steps, acts_at: u64, answer: Box<Answer>) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.exchanges.push_back(Exchange::new(ticket, steps, acts_at, answer));
        ticket
    }

    pub(crate) fn front(&mut self) -> Option<&mut Exchange> {
        self.exchanges.front_mut()
    }

    /// The exchange that the server answers now, to look at.
    pub(crate) fn peek_front(&self) -> Option<&Exchange> {
        self.exchanges.front()
    }

    // What is popped is taken apart at once; as a call it would be moved twice.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<Exchange> {
        let exchange = self.exchanges.pop_front()?;
        if self.withdrawn > 0 {
            self.drop_withdrawn();
        }
        Some(exchange)
    }

    /// The same as [`get`](Self::get), to look at.
    pub(crate) fn peek(&self, ticket: Ticket) -> Option<&Exchange> {
        let first = self.exchanges.front()?.ticket.0;
        let index = usize::try_from(ticket.0.checked_sub(first)?).ok()?;
        self.exchanges.get(index).filter(|exchange| !exchange.is_withdrawn())
    }

    /// The exchange of this ticket, if it is still outstanding. Tickets are numbered without holes.
    pub(crate) fn get(&mut self, ticket: Ticket) -> Option<&mut Exchange> {
        let first = self.exchanges.front()?.ticket.0;
        let index = usize::try_from(ticket.0.checked_sub(first)?).ok()?;
        self.exchanges.get_mut(index).filter(|exchange| !exchange.is_withdrawn())
    }

    /// Those from this one on, the newest first.
    pub(crate) fn since(&self, ticket: Ticket) -> Vec<Ticket> {
        let newest_first = self.exchanges.iter().rev();
        newest_first
            .filter(|exchange| !exchange.is_withdrawn())
            .map(|exchange| exchange.ticket)
            .take_while(|&other| other >= ticket)
            .collect()
    }

    /// The exchange of this ticket, if it is the newest.
    pub(crate) fn last_if(&mut self, ticket: Ticket) -> Option<&mut Exchange> {
        self.exchanges.back_mut().filter(|exchange| exchange.ticket == ticket)
    }

    /// No answer is owed to this one any more. Its place is kept until those before it are settled.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) {
        if let Some(exchange) = self.get(ticket) {
            exchange.withdraw();
            self.withdrawn += 1;
            self.drop_withdrawn();
        }
    }

    fn drop_withdrawn(&mut self) {
        while self.exchanges.front().is_some_and(Exchange::is_withdrawn) {
            self.exchanges.pop_front();
            self.withdrawn -= 1;
        }
    }
}
