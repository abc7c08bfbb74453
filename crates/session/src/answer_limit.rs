//! How large an answer may become that is kept as a whole: off unless
//! [`Config::max_answer_bytes`](crate::config::Config::max_answer_bytes) is set.
//!
//! What counts is what one call keeps: the rows of a query, or one message of a stream. A message
//! that would go past the limit is not taken in, so the bound holds for single values as well.
//! What is at hand after one read is never too much where it is handed on at once, so that the
//! outcome does not depend on how the bytes were cut; the rest of an error or notice is cut off.

use crate::error::{Error, ErrorKind};
use crate::request::Ticket;

/// Bytes that are at hand after one read: 64 KiB. What is handed on at once may have as many
/// whatever the limit.
const READ: usize = 64 * 1024;

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

    /// Bytes of one message that is handed on at once, or of an error or notice.
    pub(crate) fn of_message(&self) -> usize {
        self.bytes.max(READ)
    }

    /// Why an answer that is kept as a whole is refused, of which so many bytes are here or
    /// announced.
    pub(crate) fn check_whole(&self, ticket: Ticket, bytes: usize) -> Result<(), Error> {
        self.check(self.told_of(ticket).saturating_add(bytes), self.bytes)
    }

    /// Why a message of this length is refused, of an answer that is handed on as it comes.
    pub(crate) fn check_message(&self, bytes: usize) -> Result<(), Error> {
        self.check(bytes, self.of_message())
    }

    fn check(&self, bytes: usize, most: usize) -> Result<(), Error> {
        if bytes <= most {
            return Ok(());
        }
        let what = format!("the answer has more than the {} bytes of max_answer_bytes", self.bytes);
        Err(Error::new(ErrorKind::Request, what)
            .with_hint("ask for less, read the rows as a stream, or raise the limit"))
    }
}
