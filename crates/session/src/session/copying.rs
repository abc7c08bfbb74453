//! The data of a COPY FROM STDIN, on its way to the server.

use super::Session;
use crate::copy::rows::CopyEncoder;
use crate::error::Result;
use crate::exchange::Exchange;
use crate::limits;
use crate::protocol::encode::Draft;
use crate::request::Ticket;

impl Session {
    fn takes_data(&mut self, ticket: Ticket) -> Option<&mut Exchange> {
        let exchange = self.pipeline.get(ticket)?;
        exchange.awaits_copy_data().then_some(exchange)
    }

    /// Whether the server waits for the data of the COPY of this ticket.
    pub fn is_fed(&self, ticket: Ticket) -> bool {
        self.pipeline.peek(ticket).is_some_and(Exchange::awaits_copy_data)
    }

    /// Whether the server waits for the data of the COPY that it answers now.
    pub fn is_fed_next(&self) -> bool {
        self.pipeline.peek_front().is_some_and(Exchange::awaits_copy_data)
    }

    /// Appends data of the COPY of this ticket. Says whether the server still takes any: it does
    /// from [`Event::CopyStarted`](crate::Event::CopyStarted) on, until it refuses a row or the
    /// COPY is ended.
    pub fn copy_data(&mut self, ticket: Ticket, data: &[u8]) -> Result<bool> {
        if self.takes_data(ticket).is_none() {
            return Ok(false);
        }
        let mut draft = Draft::new(self.send_buffer.pending());
        for piece in data.chunks(limits::COPY_DATA_BYTES) {
            draft.copy_data(piece)?;
        }
        draft.keep();
        Ok(true)
    }

    /// Takes what was written of the rows of the COPY of this ticket. Says whether the server still
    /// takes any, as [`copy_data`](Self::copy_data) does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter): a value has removed rows that came
    /// before it. Nothing is taken.
    pub fn copy_rows(&mut self, ticket: Ticket, rows: &mut CopyEncoder) -> Result<bool> {
        if self.takes_data(ticket).is_none() {
            return Ok(false);
        }
        rows.is_whole()?;
        if rows.len() > limits::COPY_ROWS_BYTES {
            let taken = self.copy_data(ticket, rows.bytes());
            rows.clear();
            return taken;
        }
        rows.take(self.send_buffer.pending());
        Ok(true)
    }

    /// All data has been given: the server is to take it, and answers the request.
    pub fn copy_done(&mut self, ticket: Ticket) {
        if self.takes_data(ticket).is_none() {
            return;
        }
        let mut draft = Draft::new(self.send_buffer.pending());
        draft.copy_done();
        draft.keep();
        // From here on the server may have taken all of it; before, it can have kept nothing.
        let end = self.send_buffer.end();
        if let Some(exchange) = self.pipeline.get(ticket) {
            exchange.end_of_data(end);
        }
    }

    /// The data ends before its time: the server is to throw away what it got, for this reason, and
    /// answers the request with an error.
    ///
    /// # Errors
    ///
    /// The reason holds a NUL. Nothing changes.
    pub fn copy_fail(&mut self, ticket: Ticket, why: &str) -> Result<()> {
        if self.takes_data(ticket).is_none() {
            return Ok(());
        }
        let mut draft = Draft::new(self.send_buffer.pending());
        draft.copy_fail(why)?;
        draft.keep();
        let end = self.send_buffer.end();
        if let Some(exchange) = self.pipeline.get(ticket) {
            exchange.end_of_data(end);
        }
        Ok(())
    }
}
