//! How large an answer may become that is kept as a whole: off unless
//! [`Config::max_answer_bytes`](crate::config::Config::max_answer_bytes) is set.
//!
//! What counts is what one call keeps: the rows of a query, or one message of a stream. A message
//! that would go past the limit is not taken in, so the bound holds for single values as well.

use crate::error::{Error, ErrorKind};
use crate::request::Ticket;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct AnswerLimit {
    bytes: usize,
    /// The request whose answer was told of in chunks, and their bytes: its caller keeps what it
    /// makes of them.
    told: Option<(Ticket, usize)>,
}

impl AnswerLimit {
    /// `None` for 0 bytes, which is no limit.
    pub(crate) fn new(bytes: u64) -> Option<Box<Self>> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        (bytes > 0).then(|| Box::new(Self { bytes, told: None }))
    }

    /// A chunk of the rows that answer this request goes to its caller.
    pub(crate) fn told(&mut self, ticket: Ticket, bytes: usize) {
        self.told = Some((ticket, self.told_of(ticket).saturating_add(bytes)));
    }

    fn told_of(&self, ticket: Ticket) -> usize {
        self.told.filter(|(other, _)| *other == ticket).map_or(0, |(_, bytes)| bytes)
    }

    /// Why an answer of which so many bytes are kept here or announced is refused.
    pub(crate) fn check(&self, ticket: Ticket, bytes: usize) -> Result<(), Error> {
        let Self { bytes: most, .. } = self;
        if self.told_of(ticket).saturating_add(bytes) <= *most {
            return Ok(());
        }
        let what = format!("the answer has more than the {most} bytes of max_answer_bytes");
        Err(Error::new(ErrorKind::Request, what)
            .with_hint("ask for less, read the rows as a stream, or raise the limit"))
    }
}
