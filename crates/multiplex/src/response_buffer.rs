//! The part of a response that has arrived and was not fetched yet.
//!
//! The rows of a stream and the data of a COPY are kept here from the read that brought them to the
//! call that fetches them. While the buffer of the oldest request is over its limit, the socket is
//! not read (backpressure): the server waits, and memory is bounded by the limit and what one read
//! brings. Prefetching stops there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use txpostgres_session::{CopyData, CopyLayout, Delivery, Error, ErrorKind, Rows};

use crate::effects::Effects;
use crate::slots::Settled;

/// Other requests may wait behind a response that is bounded by itself, such as one portion of a
/// portal. Then its buffer takes this many times its limit before backpressure: a portion is
/// fetched by a number of rows, and rows may be larger than expected.
const SHARED_LIMITS: usize = 4;

/// What arrived together.
#[derive(Debug)]
pub enum Chunk {
    /// Rows of a stream.
    Rows(Box<Rows>),
    /// A COPY has begun.
    CopyStarted(CopyLayout),
    /// Data of a COPY.
    CopyData(CopyData),
}

impl Chunk {
    /// Bytes of memory, roughly.
    fn size(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.size(),
            Self::CopyStarted(_) => 0,
            Self::CopyData(data) => data.bytes.len(),
        }
    }
}

/// What a call fetches.
pub(crate) enum Next {
    /// A part of the response.
    Chunk(Chunk),
    /// The end of the response.
    End(Settled),
}

/// How much may be buffered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// This many bytes; the last chunk may exceed it. Nothing else is in flight behind the
    /// response.
    Exclusive(usize),
    /// This many bytes while nothing is in flight behind the response, otherwise [`SHARED_LIMITS`]
    /// times as many.
    Shared(usize),
    /// Any number: a reader that drives fetches each chunk before more is read, and one that is not
    /// polled delays nothing.
    Unbounded,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct ResponseBuffer {
    chunks: VecDeque<Chunk>,
    /// Bytes in them.
    size: usize,
    capacity: Capacity,
    state: State,
    end: Option<Settled>,
    /// The task that fetches. In an `Arc`, so that it is handed out without a clone of the waker.
    reader: Arc<Waker>,
    /// Whether that task waits to be woken.
    waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What arrives is discarded, up to the end.
    Closed,
    /// As `Closed`, and something was discarded.
    Lossy,
}

/// The server was faster than the cancel, and yet something of its answer is missing.
fn cancelled() -> Error {
    Error::new(
        ErrorKind::Cancelled,
        "the rest of the answer was discarded, as a cancel was asked for",
    )
    .with_delivery(Delivery::CarriedOut)
}

impl ResponseBuffer {
    /// An empty buffer. Its reader waits, if there is one.
    pub(crate) fn new(capacity: Capacity, reader: Option<Waker>) -> Self {
        let waits = reader.is_some();
        let reader = reader.unwrap_or_else(|| Waker::noop().clone());
        Self {
            chunks: VecDeque::new(),
            size: 0,
            capacity,
            state: State::Open,
            end: None,
            reader: Arc::new(reader),
            waits,
        }
    }

    /// Appends a chunk. Returns the waker of the reader, if it waits.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Option<Arc<Waker>> {
        if self.state != State::Open {
            self.state = State::Lossy;
            return None;
        }
        self.size += chunk.size();
        self.chunks.push_back(chunk);
        self.take_waker()
    }

    /// Discards everything that has arrived or will arrive, except for the end.
    pub(crate) fn close(&mut self) {
        if self.state == State::Open {
            self.state = if self.chunks.is_empty() { State::Closed } else { State::Lossy };
        }
        self.chunks.clear();
        self.size = 0;
    }

    /// Notes the end of the response. Returns the waker of the reader, if it waits.
    pub(crate) fn end(&mut self, (outcome, status): Settled) -> Option<Arc<Waker>> {
        // Something is missing, even if the server completed the statement before the cancel.
        let outcome = match self.state {
            State::Lossy => outcome.and_then(|_| Err(cancelled())),
            State::Open | State::Closed => outcome,
        };
        self.end = Some((outcome, status));
        self.take_waker()
    }

    /// Whether the buffer is over its limit. `others`: requests are in flight behind the response.
    pub(crate) fn is_over_limit(&self, others: bool) -> bool {
        let limit = match self.capacity {
            Capacity::Shared(limit) if others => limit.saturating_mul(SHARED_LIMITS).max(1),
            Capacity::Exclusive(limit) | Capacity::Shared(limit) => limit.max(1),
            Capacity::Unbounded => return false,
        };
        self.size >= limit && self.end.is_none()
    }

    /// Whether its reader should fetch before more is read, while the chunk is still in the CPU's
    /// cache.
    pub(crate) fn is_fetched_first(&self) -> bool {
        self.is_unbounded() && !self.chunks.is_empty()
    }

    /// Whether any number of bytes may be buffered.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.capacity == Capacity::Unbounded
    }

    /// Whether enough was fetched that reading on is worthwhile.
    pub(crate) fn has_room(&self) -> bool {
        match self.capacity {
            Capacity::Exclusive(limit) | Capacity::Shared(limit) => self.size <= limit / 2,
            Capacity::Unbounded => false,
        }
    }

    /// Whether the response is complete, fetched or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether the response makes no progress because its reader does not fetch it.
    pub(crate) fn is_left(&self) -> bool {
        !self.waits && self.end.is_none()
    }

    /// Whether the response makes no progress because this task, its reader, does not fetch it.
    pub(crate) fn is_left_by(&self, waker: &Waker) -> bool {
        self.is_left() && self.reader.will_wake(waker)
    }

    /// The waker of the reader, if it waits.
    pub(crate) fn take_waker(&mut self) -> Option<Arc<Waker>> {
        std::mem::take(&mut self.waits).then(|| Arc::clone(&self.reader))
    }

    /// Notes that the reader does not wait.
    pub(crate) fn step_aside(&mut self) {
        self.waits = false;
    }

    /// Whether the reader is the task of this waker, so that no clone of it is needed.
    pub(crate) fn knows(&self, waker: &Waker) -> bool {
        self.reader.will_wake(waker)
    }

    /// Polls for the first chunk, or the end. `waker` is given if the reader's waker has changed.
    pub(crate) fn poll(&mut self, waker: &mut Option<Arc<Waker>>) -> Poll<Next> {
        self.wait(waker);
        if let Some(chunk) = self.chunks.pop_front() {
            self.size = self.size.saturating_sub(chunk.size());
            self.waits = false;
            return Poll::Ready(Next::Chunk(chunk));
        }
        match self.end.take() {
            Some(settled) => Poll::Ready(Next::End(settled)),
            None => Poll::Pending,
        }
    }

    /// Notes that the reader waits.
    pub(crate) fn wait(&mut self, waker: &mut Option<Arc<Waker>>) {
        if let Some(known) = waker {
            std::mem::swap(&mut self.reader, known);
        }
        self.waits = true;
    }

    /// Discards the buffer. Its waker is dropped with the effects, outside of the lock.
    pub(crate) fn discard(self, effects: &mut Effects) {
        // The last owner of a shared waker drops it.
        effects.discard(Arc::into_inner(self.reader));
    }
}

#[cfg(test)]
mod tests {
    use txpostgres_session::TransactionStatus;

    use super::*;

    #[test]
    fn an_answer_of_which_something_was_discarded_is_an_error_that_says_so() {
        // What arrives before the buffer is closed, and behind that.
        let end = |arrived: usize, late: usize| {
            let mut buffer = ResponseBuffer::new(Capacity::Unbounded, None);
            let push = |buffer: &mut ResponseBuffer| {
                drop(buffer.push(Chunk::CopyData(CopyData::default())));
            };
            (0..arrived).for_each(|_| push(&mut buffer));
            buffer.close();
            (0..late).for_each(|_| push(&mut buffer));
            drop(buffer.end((Ok(Box::default()), TransactionStatus::Idle)));
            match buffer.poll(&mut None) {
                Poll::Ready(Next::End((outcome, _))) => outcome,
                _ => panic!("no end"),
            }
        };
        assert!(end(0, 0).is_ok());
        for (arrived, late) in [(1, 0), (0, 1), (1, 1)] {
            let error = end(arrived, late).unwrap_err();
            let carried_out = (ErrorKind::Cancelled, Delivery::CarriedOut);
            assert_eq!((error.kind(), error.delivery()), carried_out, "{arrived}, {late}");
        }
    }
}
