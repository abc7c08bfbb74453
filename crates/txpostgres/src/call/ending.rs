//! How a call ends otherwise than by its answer: left, dropped, cancelled, out of patience.

use std::task::{Context, Poll};

use txpostgres_session::{Error, Result};

use super::{Call, Handing, Place};
use crate::caller::Caller;
use crate::cancel::Otherwise;
use crate::desk::Calls;
use crate::patience::Patience;
use crate::question::Question;
use crate::turnstile::Turn;

impl<W> Call<'_, W> {
    /// When it is left before its end, it is cancelled.
    pub(crate) fn cancelled_on_drop(mut self) -> Self {
        self.cancel_on_drop();
        self
    }

    pub(crate) fn cancel_on_drop(&mut self) {
        (self.alone, self.cancels_on_drop) = (true, true);
    }

    /// Gives away who may end this call, which is over, to one that goes on for it.
    pub(crate) fn take_patience(&mut self) -> Option<Box<Patience>> {
        self.patience.take()
    }

    /// Goes on for a call that these might have ended.
    pub(crate) fn with_patience(mut self, patience: Option<Box<Patience>>) -> Self {
        self.alone |= patience.is_some();
        self.patience = patience;
        self
    }

    /// Who may end this call.
    pub(crate) fn patience(&mut self) -> &mut Patience {
        self.alone = true;
        self.patience.get_or_insert_default()
    }

    /// Whether somebody may end this call.
    pub(crate) fn is_watched(&self) -> bool {
        self.patience.is_some()
    }

    /// Looks whether it is to end; to be called whenever it is polled.
    pub(crate) fn watch(&mut self, cx: &mut Context<'_>) {
        if let Some(patience) = &mut self.patience {
            patience.watch(cx);
        }
    }

    /// The outcome in the words of whoever ended it.
    pub(super) fn explained<T>(&self, polled: Poll<Result<T>>) -> Poll<Result<T>> {
        match (polled, &self.patience) {
            (Poll::Ready(outcome), Some(patience)) => {
                patience.over();
                Poll::Ready(outcome.map_err(|error| patience.explain(error)))
            }
            (polled, _) => polled,
        }
    }

    /// The next step is to be submitted.
    pub(super) fn queue(&mut self, turn: Option<Turn>) {
        self.place = Place::Queued { turn };
        if let Some(patience) = &self.patience {
            patience.queued();
        }
    }

    /// Why a call that waits for its turn need not come.
    #[inline]
    pub(super) fn is_to_end(&mut self) -> Option<Error> {
        let patience = self.patience.as_ref()?;
        if !matches!(self.place, Place::Queued { .. }) || !patience.is_to_end() {
            return None;
        }
        let error = patience.not_sent();
        self.leave();
        Some(error)
    }

    /// Nobody polls it for now, and its answer is kept. Others are not to rely on its task.
    pub(crate) fn step_aside(&mut self) {
        let (Ok(caller), Place::Waiting { ticket, flusher, .. }) = (&self.caller, &mut self.place)
        else {
            return;
        };
        let (link, flusher) = (caller.link(), std::mem::take(flusher));
        let mut desk = link.board.desk();
        desk.drop_waker(*ticket);
        if flusher {
            desk.flush_promised = false;
        }
        drop(desk);
        if flusher {
            link.drive(None, true);
        }
        if link.board.has_rung() {
            // This call may have been the one that was woken to drive.
            link.board.ring();
        }
    }

    /// Nobody will fetch the answer; the connection goes on without this call.
    pub(crate) fn leave(&mut self) {
        let place = std::mem::replace(&mut self.place, Place::Ended);
        let Ok(caller) = &self.caller else {
            return;
        };
        let link = caller.link();
        match place {
            Place::Queued { turn: Some(turn) } => {
                let mut calls = Calls::new();
                link.board.desk().turnstile.give_up(turn, &mut calls);
                for waker in calls {
                    waker.wake();
                }
            }
            Place::Waiting { ticket, flusher, .. } => {
                if self.cancels_on_drop {
                    drop(link.cancel(ticket, Otherwise::GiveUpIfTold));
                }
                let mut calls = Calls::new();
                let mut desk = link.board.desk();
                // What ends a transaction or a savepoint has to be carried out: what it undoes would be committed else.
                let is_end = matches!(caller, Caller::End(_));
                let is_taken_back = desk.leave(ticket, !is_end, &mut calls);
                if let Question::Statement(query) = &mut self.question {
                    query.abandon(&mut desk.session);
                }
                if flusher {
                    desk.flush_promised = false;
                }
                // What it did not fetch held up the reading; and a COPY that was given up has a last word to say.
                let last_word =
                    matches!(self.handing, Handing::Pieces(_)) && desk.session.has_output();
                if !desk.is_swamped() {
                    link.board.resume();
                }
                drop(desk);
                for waker in calls {
                    waker.wake();
                }
                // What waited behind it may leave now.
                if flusher || last_word || is_taken_back {
                    link.drive(None, true);
                }
                if link.board.has_rung() {
                    // This call may have been the one that was woken to drive.
                    link.board.ring();
                }
            }
            Place::Queued { turn: None } | Place::Ended => {}
        }
    }
}

impl<W> Drop for Call<'_, W> {
    fn drop(&mut self) {
        if !matches!(self.place, Place::Ended) {
            self.leave();
            if let Some(patience) = &self.patience {
                patience.over();
            }
        }
    }
}
