//! Who may submit now: everybody, or the one interaction that has the connection for itself.
//!
//! A plain call passes whenever no interaction is inside; it holds nothing afterwards, since the server answers in order.
//! Interactions go in one at a time, first come first served. Nobody is held up by a call that was let in and does not
//! come. An interaction that is inside keeps others out; so does, for the interactions of other tasks behind it, one that was
//! called and is not polled again, as with any fair mutex.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use txpostgres_session::{Ticket, TransactionStatus};

use crate::desk::Calls;

/// A number that an arrival keeps: a call until it is answered, an interaction until it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(u64);

/// The interaction that has the connection for itself.
#[derive(Debug)]
pub(crate) struct Inside {
    turn: Turn,
    /// What BEGIN was sent with.
    begun: Option<Ticket>,
    /// That was answered.
    answered: bool,
    /// Its transaction is not open any more, though another one may be.
    pub(crate) over: bool,
    /// Its statements travel alone, so that they can be cancelled.
    pub(crate) isolates: bool,
    /// How many savepoints the statements are in.
    pub(crate) level: u32,
    /// Calls of the interaction that wait for the answer to BEGIN.
    waiting: Calls,
}

#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    inside: Option<Inside>,
    queue: VecDeque<Place>,
    turns: u64,
}

#[derive(Debug)]
struct Place {
    turn: Turn,
    interaction: bool,
    /// An interaction lets those that came before it go first, once.
    courteous: bool,
    waker: Waker,
}

impl Turnstile {
    /// Whether a plain call may submit at once. Else it queues. Its turn stays in `place`: a call in several steps comes
    /// back with it, and does not go to the end of the queue.
    pub(crate) fn pass(&mut self, place: &mut Option<Turn>, cx: &Context<'_>) -> bool {
        if self.inside.is_some() {
            self.queue_up(place, false, cx);
            return false;
        }
        let turn = *place.get_or_insert_with(|| self.next_turn());
        if !self.queue.is_empty() {
            self.queue.retain(|place| place.turn != turn);
        }
        true
    }

    /// Whether an interaction may go in. Else it queues in `place`.
    pub(crate) fn enter(&mut self, place: &mut Option<Turn>, cx: &Context<'_>) -> Option<Turn> {
        if self.inside.is_some() {
            self.queue_up(place, true, cx);
            return None;
        }
        // Whoever came before goes first, if he comes: he is waited for once.
        let before = |other: &Place| place.is_none_or(|turn| other.turn < turn);
        if self.queue.iter().any(before) {
            let turn = self.queue_up(place, true, cx);
            if let Some(own) = self.queue.iter_mut().find(|place| place.turn == turn)
                && !std::mem::replace(&mut own.courteous, true)
            {
                cx.waker().wake_by_ref();
                return None;
            }
        }
        let turn = place.take().unwrap_or_else(|| self.next_turn());
        self.queue.retain(|place| place.turn != turn);
        self.inside = Some(Inside {
            turn,
            begun: None,
            answered: false,
            over: false,
            isolates: false,
            level: 0,
            waiting: Calls::new(),
        });
        Some(turn)
    }

    /// The turn of the interaction that is inside.
    pub(crate) fn turn_inside(&self) -> Option<Turn> {
        self.inside.as_ref().map(|inside| inside.turn)
    }

    /// The interaction of this turn, if it is inside.
    pub(crate) fn inside(&mut self, turn: Turn) -> Option<&mut Inside> {
        self.inside.as_mut().filter(|inside| inside.turn == turn)
    }

    /// A request was answered. Outside of a transaction (BEGIN failed, or the statement was a COMMIT) no further one of the
    /// interaction may run: it would be committed by itself. Nor in the transaction that a COMMIT has begun (`AND CHAIN`, or a BEGIN in
    /// the same script): it would not share the fate of what was committed. `committed` is asked only while an interaction is inside.
    pub(crate) fn settled(
        &mut self,
        ticket: Ticket,
        status: TransactionStatus,
        committed: impl FnOnce() -> bool,
        calls: &mut Calls,
    ) {
        let Some(inside) = &mut self.inside else {
            return;
        };
        // Calls that were made before the interaction may still be answered.
        if inside.begun.is_some_and(|begun| begun <= ticket) {
            inside.answered = true;
            inside.over |= status == TransactionStatus::Idle || committed();
            calls.append(&mut inside.waiting);
        }
    }

    /// Whether what is submitted now is to travel alone.
    #[inline]
    pub(crate) fn isolates(&self) -> bool {
        self.inside.as_ref().is_some_and(|inside| inside.isolates)
    }

    /// A request was taken back before it left, and with it the BEGIN that it may have taken along.
    pub(crate) fn withdrawn(&mut self, ticket: Ticket, calls: &mut Calls) {
        if let Some(inside) = &mut self.inside
            && inside.begun == Some(ticket)
            && !inside.answered
        {
            inside.begun = None;
            calls.append(&mut inside.waiting);
        }
    }

    /// Whether calls of the interaction wait for the answer to BEGIN.
    pub(crate) fn waits_for_begin(&self) -> bool {
        self.inside.as_ref().is_some_and(|inside| !inside.waiting.is_empty())
    }

    /// The interaction leaves; those who wait are called, up to the next interaction.
    pub(crate) fn leave(&mut self, turn: Turn, calls: &mut Calls) {
        if self.inside(turn).is_some() {
            self.inside = None;
            self.call_next(calls);
        }
    }

    /// Somebody who queued goes away.
    pub(crate) fn give_up(&mut self, turn: Turn, calls: &mut Calls) {
        self.queue.retain(|place| place.turn != turn);
        if self.inside.is_none() {
            self.call_next(calls);
        }
    }

    /// The connection is gone: everybody is to see that.
    pub(crate) fn wake_all(&mut self, calls: &mut Calls) {
        if let Some(inside) = self.inside.take() {
            calls.extend(inside.waiting);
        }
        calls.extend(self.queue.drain(..).map(|place| place.waker));
    }

    fn call_next(&self, calls: &mut Calls) {
        for place in &self.queue {
            calls.push(place.waker.clone());
            if place.interaction {
                break;
            }
        }
    }

    fn queue_up(&mut self, place: &mut Option<Turn>, interaction: bool, cx: &Context<'_>) -> Turn {
        let turn = *place.get_or_insert_with(|| self.next_turn());
        let waker = cx.waker().clone();
        if let Some(known) = self.queue.iter_mut().find(|place| place.turn == turn) {
            known.waker = waker;
        } else {
            let at = self.queue.partition_point(|place| place.turn < turn);
            self.queue.insert(at, Place { turn, interaction, courteous: false, waker });
        }
        turn
    }

    fn next_turn(&mut self) -> Turn {
        self.turns += 1;
        Turn(self.turns)
    }
}

impl Inside {
    /// BEGIN is on its way.
    pub(crate) fn begin(&mut self, ticket: Ticket) {
        self.begun.get_or_insert(ticket);
    }

    /// What BEGIN was sent with.
    pub(crate) fn begun(&self) -> Option<Ticket> {
        self.begun
    }

    /// Whether BEGIN has been sent.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Whether the interaction may go on: it is known whether BEGIN took place. Else it will be called.
    pub(crate) fn may_go_on(&mut self, cx: &Context<'_>) -> bool {
        let may = self.answered || self.begun.is_none();
        if !may && !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interactions_go_in_one_at_a_time_and_in_order() {
        let cx = Context::from_waker(Waker::noop());
        let mut turnstile = Turnstile::default();
        let mut calls = Calls::new();
        let (mut first, mut second, mut third, mut call) = (None, None, None, None);
        let inside = turnstile.enter(&mut first, &cx).unwrap();
        assert!(turnstile.enter(&mut second, &cx).is_none());
        assert!(turnstile.enter(&mut third, &cx).is_none());
        assert!(!turnstile.pass(&mut call, &cx));
        turnstile.leave(inside, &mut calls);
        assert_eq!(calls.len(), 1, "only the next interaction is called");
        assert!(turnstile.enter(&mut third, &cx).is_none());
        let inside = turnstile.enter(&mut second, &cx).unwrap();
        assert!(turnstile.inside(inside).is_some());
        turnstile.leave(inside, &mut calls);
        let inside = turnstile.enter(&mut third, &cx).unwrap();
        turnstile.leave(inside, &mut calls);
        assert!(turnstile.pass(&mut call, &cx));
        assert!(turnstile.queue.is_empty());
    }

    #[test]
    fn calls_that_came_first_go_first() {
        let cx = Context::from_waker(Waker::noop());
        let mut turnstile = Turnstile::default();
        let mut calls = Calls::new();
        let (mut first, mut second, mut call) = (None, None, None);
        let inside = turnstile.enter(&mut first, &cx).unwrap();
        assert!(!turnstile.pass(&mut call, &cx));
        assert!(turnstile.enter(&mut second, &cx).is_none());
        turnstile.leave(inside, &mut calls);
        assert_eq!(calls.len(), 2);
        assert!(turnstile.enter(&mut second, &cx).is_none(), "lets the call go first");
        assert!(turnstile.enter(&mut second, &cx).is_some(), "but only once");
    }

    #[test]
    fn a_call_in_two_steps_keeps_its_turn() {
        let cx = Context::from_waker(Waker::noop());
        let mut turnstile = Turnstile::default();
        let mut calls = Calls::new();
        let (mut first, mut second, mut call, mut later) = (None, None, None, None);
        assert!(turnstile.pass(&mut call, &cx));
        let inside = turnstile.enter(&mut first, &cx).unwrap();
        assert!(!turnstile.pass(&mut later, &cx));
        assert!(turnstile.enter(&mut second, &cx).is_none());
        assert!(!turnstile.pass(&mut call, &cx));
        let order: Vec<_> = turnstile.queue.iter().map(|place| Some(place.turn)).collect();
        assert_eq!(order, [call, later, second]);
        turnstile.leave(inside, &mut calls);
        assert!(turnstile.pass(&mut call, &cx) && turnstile.pass(&mut later, &cx));
        assert!(turnstile.enter(&mut second, &cx).is_some());
    }

    #[test]
    fn who_gives_up_holds_up_nobody() {
        let cx = Context::from_waker(Waker::noop());
        let mut turnstile = Turnstile::default();
        let mut calls = Calls::new();
        let (mut first, mut second, mut third) = (None, None, None);
        let inside = turnstile.enter(&mut first, &cx).unwrap();
        assert!(turnstile.enter(&mut second, &cx).is_none());
        assert!(turnstile.enter(&mut third, &cx).is_none());
        turnstile.leave(inside, &mut calls);
        calls.clear();
        turnstile.give_up(second.unwrap(), &mut calls);
        assert_eq!(calls.len(), 1);
        assert!(turnstile.enter(&mut third, &cx).is_some());
    }
}
