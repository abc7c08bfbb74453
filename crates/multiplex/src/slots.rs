//! Where each outstanding request's answer goes, and where it is kept until it is fetched.
//!
//! A request has a slot from its submission until its answer was fetched, or settled if nothing
//! fetches it. The requests in flight are a queue of slots in the order of their tickets; an answer
//! that waits to be fetched is in its slot and in no queue, so it costs later requests nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use txpostgres_session::{Answer, Result, Ticket, TransactionStatus};

use crate::listen::Round;
use crate::response_buffer::ResponseBuffer;
use crate::transaction::Ending;

/// An answer, and the transaction status that came with it.
pub(crate) type Settled = (Result<Box<Answer>>, TransactionStatus);

/// Identifies the slot of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotId {
    index: u32,
    ticket: Ticket,
}

impl SlotId {
    /// The request's ticket.
    #[inline]
    pub fn ticket(self) -> Ticket {
        self.ticket
    }
}

/// The state of a request and its answer.
///
/// ```text
///   Waiting ────▶ Answered ──fetched──▶ Free      Ending ──▶ Ended ──fetched──▶ Free
///      └─chunk─▶ Buffered ──end fetched──▶ Free
///                                  Round, Ignored, Cleanup, UndoneBy ──settled──▶ Free
/// ```
#[derive(Debug, Default)]
pub(crate) enum Slot {
    #[default]
    Free,
    /// A call waits; `None` while it is being woken to drive.
    Waiting(Option<Waker>),
    /// A call whose response is fetched in chunks. The end is in the buffer.
    Buffered(Box<ResponseBuffer>),
    /// The answer has arrived and was not fetched yet.
    Answered(Settled),
    /// The request ends a transaction or a savepoint.
    Ending(Box<Ending>),
    /// A round of LISTEN and UNLISTEN.
    Round(Box<Round>),
    /// The answer is ignored.
    Ignored,
    /// The request undoes or closes what a call has left in the session. The answer is ignored.
    Cleanup,
    /// The answer is ignored; if the request succeeds, this one undoes it, otherwise that is
    /// withdrawn.
    UndoneBy(Ticket),
}

impl Slot {
    /// Whether the cancel of a transaction reaches the request: not the end of the transaction, nor
    /// what must reach the server so that the session is as it was.
    #[inline]
    pub(crate) fn is_cancellable(&self) -> bool {
        !matches!(self, Self::Ending(_) | Self::Cleanup | Self::Round(_))
    }
}

/// Who must drive a connection whose socket has become ready.
#[derive(Debug)]
pub enum Driven {
    /// A call that waits: its waker, which must be woken outside of the lock. Others may depend on
    /// the call, so the watchdog must check after an interval.
    ByCall(Waker),
    /// A call that waits, with a shared waker.
    ByReader(Arc<Waker>),
    /// The watchdog, since no call waits.
    ByWatchdog,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    all: Vec<(Ticket, Slot)>,
    free: Vec<u32>,
    /// The slots of the requests in flight, by ticket; `None` for one that settled before earlier
    /// ones, as a request that was withdrawn does.
    in_flight: VecDeque<Option<u32>>,
    /// The ticket number of the first of them.
    first: u64,
    /// How many slots hold a buffer.
    buffers: usize,
}

impl Slots {
    /// The slot of a request that was just submitted.
    // On the path of every query, as are `put` and `settled`; as a call it would be given the slot
    // in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn insert(&mut self, ticket: Ticket, slot: Slot) -> SlotId {
        self.buffers += usize::from(matches!(slot, Slot::Buffered(_)));
        let index = self.free.pop().unwrap_or_else(|| {
            self.all.push((ticket, Slot::Free));
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some((owner, free)) = self.all.get_mut(index as usize) {
            *owner = ticket;
            put(free, slot);
        }
        if self.in_flight.is_empty() {
            self.first = ticket.number();
        }
        self.in_flight.push_back(Some(index));
        SlotId { index, ticket }
    }

    /// The contents of a slot, if it is still this request's.
    #[inline]
    pub(crate) fn get(&mut self, id: SlotId) -> Option<&mut Slot> {
        match self.all.get_mut(id.index as usize) {
            Some((ticket, slot)) if *ticket == id.ticket && !matches!(slot, Slot::Free) => {
                Some(slot)
            }
            _ => None,
        }
    }

    /// The slot of a request in flight.
    pub(crate) fn in_flight(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        let at = usize::try_from(ticket.number().checked_sub(self.first)?).ok()?;
        let index = (*self.in_flight.get(at)?)?;
        self.all.get_mut(index as usize).map(|(_, slot)| slot)
    }

    /// Takes a request out of those in flight, since its answer has arrived. Its slot stays.
    #[inline]
    pub(crate) fn settle(&mut self, ticket: Ticket) -> Option<(SlotId, &mut Slot)> {
        let at = usize::try_from(ticket.number().checked_sub(self.first)?).ok()?;
        let index = self.in_flight.get_mut(at)?.take()?;
        while let Some(None) = self.in_flight.front() {
            self.in_flight.pop_front();
            self.first += 1;
        }
        let (_, slot) = self.all.get_mut(index as usize)?;
        Some((SlotId { index, ticket }, slot))
    }

    /// Empties a slot whose request is settled.
    #[inline]
    pub(crate) fn free(&mut self, id: SlotId) -> Slot {
        let Some(slot) = self.get(id) else {
            return Slot::Free;
        };
        let slot = std::mem::take(slot);
        self.buffers -= usize::from(matches!(slot, Slot::Buffered(_)));
        self.free.push(id.index);
        slot
    }

    /// Replaces the contents of a slot.
    pub(crate) fn replace(&mut self, id: SlotId, by: Slot) -> Slot {
        let is_buffer = matches!(by, Slot::Buffered(_));
        let Some(slot) = self.get(id) else {
            return Slot::Free;
        };
        let before = std::mem::replace(slot, by);
        self.buffers += usize::from(is_buffer);
        self.buffers -= usize::from(matches!(before, Slot::Buffered(_)));
        before
    }

    /// Whether this request's answer is outstanding.
    pub(crate) fn is_in_flight(&self, id: SlotId) -> bool {
        let at = id.ticket.number().checked_sub(self.first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.in_flight.get(at)).is_some_and(|slot| *slot == Some(id.index))
    }

    /// A buffer was put into a slot.
    pub(crate) fn count_buffer(&mut self) {
        self.buffers += 1;
    }

    /// How many requests are in flight.
    #[inline]
    pub(crate) fn in_flight_len(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether any slot holds a buffer.
    #[inline]
    pub(crate) fn has_buffers(&self) -> bool {
        self.buffers > 0
    }

    /// The buffer of the oldest request in flight, if it has one.
    pub(crate) fn oldest_buffer(&self) -> Option<&ResponseBuffer> {
        if self.buffers == 0 {
            return None;
        }
        match self.all.get((*self.in_flight.front()?)? as usize)? {
            (_, Slot::Buffered(buffer)) => Some(buffer),
            _ => None,
        }
    }

    /// The oldest task that waits and has not been woken yet.
    #[inline]
    pub(crate) fn take_oldest_waker(&mut self) -> Option<Driven> {
        // The only one, most of the time.
        if let Some(Some(index)) = self.in_flight.front()
            && let Some((_, Slot::Waiting(waker))) = self.all.get_mut(*index as usize)
            && let Some(waker) = waker.take()
        {
            return Some(Driven::ByCall(waker));
        }
        self.take_other_waker()
    }

    #[inline(never)]
    fn take_other_waker(&mut self) -> Option<Driven> {
        for index in self.in_flight.iter().flatten() {
            let waker = match self.all.get_mut(*index as usize) {
                Some((_, Slot::Waiting(waker))) => waker.take().map(Driven::ByCall),
                Some((_, Slot::Buffered(buffer))) => buffer.take_waker().map(Driven::ByReader),
                Some((_, Slot::Ending(ending))) => ending.take_waker().map(Driven::ByCall),
                _ => None,
            };
            if waker.is_some() {
                return waker;
            }
        }
        None
    }

    /// How many requests are in flight, and how many slots there are: bounds of memory, for tests.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.in_flight.len(), self.all.len())
    }
}

/// Replaces the contents of a slot. An assignment would do, but for the code that drops any
/// contents, which is too large to be inlined: it costs each query twice as much as the rest.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn put(slot: &mut Slot, by: Slot) {
    let before = std::mem::replace(slot, by);
    if let Slot::Free | Slot::Waiting(None) = before {
        // Nothing to drop.
        std::mem::forget(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(number: u64) -> Ticket {
        Ticket::numbered(number)
    }

    #[test]
    fn an_answer_that_is_never_fetched_lengthens_no_queue() {
        let mut slots = Slots::default();
        let kept = slots.insert(ticket(0), Slot::Waiting(None));
        slots.settle(ticket(0)).unwrap();
        for number in 1..10_000 {
            let id = slots.insert(ticket(number), Slot::Waiting(None));
            assert_eq!(slots.settle(ticket(number)).unwrap().0, id);
            slots.free(id);
        }
        assert_eq!(slots.sizes(), (0, 2));
        assert!(slots.get(kept).is_some());
    }

    #[test]
    fn a_slot_that_was_freed_has_no_owner() {
        let mut slots = Slots::default();
        let first = slots.insert(ticket(7), Slot::Ignored);
        slots.settle(ticket(7)).unwrap();
        slots.free(first);
        let second = slots.insert(ticket(8), Slot::Ignored);
        assert!(slots.get(first).is_none());
        assert!(slots.get(second).is_some());
        assert!(!slots.is_in_flight(first) && slots.is_in_flight(second));
    }

    #[test]
    fn requests_may_settle_out_of_order() {
        let mut slots = Slots::default();
        let ids = [3, 4, 5].map(|number| slots.insert(ticket(number), Slot::Ignored));
        assert!(slots.settle(ticket(4)).is_some());
        assert!(slots.settle(ticket(4)).is_none(), "once");
        assert!(slots.is_in_flight(ids[0]) && !slots.is_in_flight(ids[1]));
        assert!(slots.settle(ticket(3)).is_some());
        assert_eq!(slots.sizes().0, 1);
        assert!(slots.settle(ticket(5)).is_some());
        assert_eq!(slots.sizes().0, 0);
    }
}
