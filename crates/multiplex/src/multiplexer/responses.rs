//! The multiplexer of a call that was sent: its answer, fetched whole or in chunks, the data of a
//! COPY, and its end without an answer.

use std::sync::Arc;
use std::task::{Poll, Waker};

use txpostgres_session::{Answer, Error, ErrorKind, NextStep, Result, Session};

use super::{Multiplexer, discard};
use crate::effects::Effects;
use crate::operation::Operation;
use crate::response_buffer::{Next, ResponseBuffer};
use crate::slots::{Settled, Slot, SlotId};

/// Whether a COPY takes more data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyRoom {
    /// More data may be sent.
    Free,
    /// No more data before some was sent.
    Full,
    /// The COPY takes no more data.
    Over,
}

/// A clone of the waker is needed, which must be made outside of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsWaker;

impl Multiplexer {
    /// Polls for the answer of a request. The waiting task's `waker` is taken if it is not
    /// registered yet; `Err(NeedsWaker)` requests one, cloned outside of the lock.
    // On the path of every query; as a call it would return the answer in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn poll(
        &mut self,
        id: SlotId,
        current: &Waker,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Result<Poll<Settled>, NeedsWaker> {
        match self.slots.get(id) {
            Some(Slot::Answered(_)) => match self.slots.free(id) {
                Slot::Answered(settled) => Ok(Poll::Ready(settled)),
                _ => Ok(Poll::Pending),
            },
            Some(Slot::Waiting(known)) => {
                if !known.as_ref().is_some_and(|known| known.will_wake(current)) {
                    let waker = waker.take().ok_or(NeedsWaker)?;
                    effects.discard(known.replace(waker));
                }
                Ok(Poll::Pending)
            }
            // Fetched already: the future is polled after its end.
            _ => Ok(Poll::Pending),
        }
    }

    /// Polls for the next chunk of a response, or its end, like [`poll`](Self::poll).
    pub(crate) fn poll_chunk(
        &mut self,
        id: SlotId,
        current: &Waker,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Result<Poll<Next>, NeedsWaker> {
        let Some(Slot::Buffered(buffer)) = self.slots.get(id) else {
            return Ok(self.poll(id, current, waker, effects)?.map(Next::End));
        };
        let mut shared = None;
        if !buffer.knows(current) {
            shared = Some(Arc::new(waker.take().ok_or(NeedsWaker)?));
        }
        let next = buffer.poll(&mut shared);
        effects.discard(shared.and_then(Arc::into_inner));
        if let Poll::Ready(Next::End(_)) = next {
            discard(self.slots.free(id), effects);
        }
        Ok(next)
    }

    /// Whether a call that fetches chunks should have the socket read on: its buffer has room, and
    /// the oldest buffer is not over its limit.
    pub(crate) fn may_read_on(&mut self, id: SlotId) -> bool {
        let has_room = self.buffer(id).is_some_and(|buffer| buffer.has_room());
        has_room && !self.is_over_limit()
    }

    /// The buffer of a response that is fetched in chunks.
    pub(super) fn buffer(&mut self, id: SlotId) -> Option<&mut ResponseBuffer> {
        match self.slots.get(id)? {
            Slot::Buffered(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// Takes back an answer that was read, for its memory to be reused.
    #[inline]
    pub(crate) fn recycle(&mut self, answer: Box<Answer>) {
        if let Some(session) = &mut self.session {
            session.recycle(answer);
        }
    }

    /// Applies the answer to a step of a query.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn settled_step(
        &mut self,
        operation: &mut Operation,
        sql: &str,
        (outcome, status): Settled,
    ) -> NextStep {
        match &mut self.session {
            Some(session) => operation.settled(session, sql, (outcome, status)),
            None => NextStep::Done(outcome),
        }
    }

    /// Whether a call of this task may wait for the requests in flight.
    ///
    /// # Errors
    ///
    /// It would wait for a stream or a COPY that this very task does not fetch at the moment.
    pub fn check_stalled(&self, waker: &Waker) -> Result<()> {
        match self.slots.oldest_buffer() {
            Some(buffer) if buffer.is_left_by(waker) => Err(Error::new(
                ErrorKind::Request,
                "the call would wait behind a stream or a COPY of the same task",
            )
            .with_hint("end or drop that first, or use another connection")),
            _ => Ok(()),
        }
    }

    /// The session, to give it the data of a COPY.
    ///
    /// # Errors
    ///
    /// There is no open session.
    pub fn copy_session(&mut self) -> Result<&mut Session> {
        self.open_session()
    }

    /// Whether a COPY takes more data: at most `most` bytes must be left to be sent. Its task is
    /// woken by any message of the server.
    pub fn poll_copy_room(
        &mut self,
        id: SlotId,
        most: usize,
        waker: &mut Option<Arc<Waker>>,
    ) -> CopyRoom {
        let is_fed = self.session.as_ref().is_some_and(|session| session.is_fed(id.ticket()));
        let is_full = self.output_len() > most;
        let is_closed = self.is_closed();
        let Some(buffer) = self.buffer(id).filter(|buffer| !buffer.has_ended()) else {
            return CopyRoom::Over;
        };
        buffer.wait(waker);
        // Otherwise the server has refused the data, and its answer follows.
        let takes_data = is_fed && !is_closed;
        if takes_data && is_full {
            self.feeding = Some(id);
            return CopyRoom::Full;
        }
        // The task goes on without waiting.
        buffer.step_aside();
        if takes_data { CopyRoom::Free } else { CopyRoom::Over }
    }

    /// The task of this call does something else for now. The answer is kept.
    pub(crate) fn step_aside(&mut self, id: SlotId, effects: &mut Effects) {
        match self.slots.get(id) {
            Some(Slot::Waiting(waker)) => effects.discard(waker.take()),
            Some(Slot::Buffered(buffer)) => buffer.step_aside(),
            _ => {}
        }
    }

    /// Abandons a request. If it was not sent yet, it is taken back; returns whether it was.
    pub(crate) fn leave(&mut self, id: SlotId, effects: &mut Effects) -> bool {
        if !self.slots.is_in_flight(id) {
            discard(self.slots.free(id), effects);
            return false;
        }
        if !matches!(self.slots.get(id), Some(Slot::UndoneBy(_))) {
            discard(self.slots.replace(id, Slot::Ignored), effects);
        }
        let Some(session) = &mut self.session else {
            return false;
        };
        let is_taken_back = session.take_back(id.ticket());
        if is_taken_back {
            if let Some(transaction) = &mut self.transaction {
                transaction.withdrawn(id.ticket(), effects);
            }
            self.dispatch(None, effects);
        } else {
            session.abandon(id.ticket());
        }
        is_taken_back
    }
}
