//! Cancelling a request, or all requests of a transaction, within the session.

use std::task::{Poll, Waker};

use txpostgres_session::{Cancel, CancelKey, Error, ErrorKind, Result, Ticket};

use super::{Multiplexer, NeedsWaker};
use crate::cancellation::CancelTarget;
use crate::effects::Effects;
use crate::slots::Slot;

/// The request that is being cancelled in the server.
#[derive(Debug)]
pub(super) struct PendingCancel {
    ticket: Ticket,
    /// The connection is closed if the request has not ended within the grace period.
    gives_up: bool,
    pub(super) waker: Option<Waker>,
}

impl PendingCancel {
    /// A request was answered. Returns the waker of the task that waits for this one.
    pub(super) fn settled(&mut self, ticket: Ticket) -> Option<Waker> {
        if self.ticket == ticket { self.waker.take() } else { None }
    }
}

/// What must be done if a cancelled request has not ended within the grace period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGraceExpired {
    /// It runs on, and the canceller gets an error.
    RunOn,
    /// The connection is closed, whether or not a CancelRequest can be sent.
    GiveUp,
    /// The connection is closed, if a CancelRequest can be sent.
    GiveUpIfTold,
}

/// What is left to do for a cancel after the multiplexer's part.
#[derive(Debug)]
pub struct CancelStart {
    /// The outcome, if nothing is left.
    pub outcome: Result<()>,
    /// The request that the server runs, and the cancel key, if the server gave one.
    pub running: Option<(Ticket, Option<CancelKey>)>,
    /// The driver must send and read: requests that waited behind it, or the end of a COPY.
    pub drives: bool,
    /// Backpressure must end: the abandoned response is read and discarded.
    pub resumes: bool,
}

impl Multiplexer {
    /// Cancels a request, or all requests of a transaction except for the one that ends it; further
    /// requests of the transaction are refused.
    pub fn cancel(
        &mut self,
        target: CancelTarget,
        otherwise: OnGraceExpired,
        effects: &mut Effects,
    ) -> CancelStart {
        let tickets = match target {
            CancelTarget::Request(ticket) => vec![ticket],
            CancelTarget::Transaction(lease) => self.cancellable(lease),
        };
        let mut running = None;
        let mut outcome = Ok(());
        // The newest come first: a request that waits must not be sent when those before it are
        // settled.
        for ticket in tickets {
            if let Some(known) = self.pending_cancel.as_mut().filter(|known| known.ticket == ticket)
            {
                known.gives_up |= otherwise != OnGraceExpired::RunOn;
                continue;
            }
            let Some(session) = &mut self.session else {
                break;
            };
            let takes_data = session.is_fed(ticket);
            match session.cancel(ticket) {
                Cancel::Over => {}
                Cancel::Withdrawn => {
                    if let Some(transaction) = &mut self.transaction {
                        transaction.withdrawn(ticket, effects);
                    }
                    self.dispatch(None, effects);
                }
                Cancel::Running => running = Some((ticket, takes_data)),
                Cancel::Pipelined => outcome = Err(pipelined()),
            }
        }
        match running {
            Some((ticket, takes_data)) => self.cancel_running(ticket, takes_data, otherwise),
            None => CancelStart { outcome, running: None, drives: true, resumes: false },
        }
    }

    /// Ends a transaction to further requests. Returns those that a cancel may reach, the newest
    /// first.
    fn cancellable(&mut self, lease: crate::LockId) -> Vec<Ticket> {
        let begun = self.transaction_of(lease).and_then(|transaction| {
            transaction.cancel();
            transaction.begun()
        });
        let (Some(begun), Some(session)) = (begun, &mut self.session) else {
            return Vec::new();
        };
        let mut tickets = session.outstanding_since(begun);
        tickets.retain(|ticket| {
            self.slots.in_flight(*ticket).is_none_or(|slot| slot.is_cancellable())
        });
        tickets
    }

    /// The gate is shut, and a CancelRequest must be sent.
    fn cancel_running(
        &mut self,
        ticket: Ticket,
        takes_data: bool,
        otherwise: OnGraceExpired,
    ) -> CancelStart {
        let key = self.session.as_ref().and_then(|session| session.cancel_key().cloned());
        let gives_up = match otherwise {
            OnGraceExpired::RunOn => false,
            OnGraceExpired::GiveUp => true,
            OnGraceExpired::GiveUpIfTold => key.is_some(),
        };
        if key.is_none()
            && let Some(session) = &mut self.session
        {
            session.open_gate();
        }
        // A COPY whose data has been ended is over without a CancelRequest as well.
        if key.is_none() && !gives_up && !takes_data {
            return CancelStart {
                outcome: Err(no_key()),
                running: None,
                drives: true,
                resumes: false,
            };
        }
        // A server that is blocked in sending handles no cancel, so the response is read and
        // discarded. Without a limit it cannot be blocked, and an answer that arrives before the
        // cancel counts.
        let resumes = match self.slots.in_flight(ticket) {
            Some(Slot::Buffered(buffer)) if !buffer.is_unbounded() => {
                buffer.close();
                true
            }
            _ => false,
        };
        self.pending_cancel = Some(PendingCancel { ticket, gives_up, waker: None });
        CancelStart { outcome: Ok(()), running: Some((ticket, key)), drives: takes_data, resumes }
    }

    /// Waits until the request that is being cancelled is settled.
    pub fn poll_cancelled(
        &mut self,
        ticket: Ticket,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Result<Poll<()>, NeedsWaker> {
        if !self.is_outstanding(ticket) {
            self.cancel_ended(ticket);
            return Ok(Poll::Ready(()));
        }
        if let Some(pending) = self.pending_cancel.as_mut().filter(|known| known.ticket == ticket) {
            let waker = waker.take().ok_or(NeedsWaker)?;
            effects.discard(pending.waker.replace(waker));
        }
        Ok(Poll::Pending)
    }

    /// Waits until the cancel of this request has nothing left to cancel, since its session is
    /// over.
    pub fn poll_session_of_cancel(
        &mut self,
        ticket: Ticket,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Poll<()> {
        match self.pending_cancel.as_mut().filter(|pending| pending.ticket == ticket) {
            Some(pending) => {
                effects.discard(std::mem::replace(&mut pending.waker, waker.take()));
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// Whether this request is still outstanding.
    pub fn is_outstanding(&mut self, ticket: Ticket) -> bool {
        self.session.as_mut().is_some_and(|session| session.is_outstanding(ticket))
    }

    /// Whether the cancel of this request has not ended, and neither has its session.
    pub(crate) fn is_being_cancelled(&self, ticket: Ticket) -> bool {
        self.pending_cancel.as_ref().is_some_and(|pending| pending.ticket == ticket)
    }

    /// Ends the cancel of this request. Returns whether the connection must be closed if the
    /// request has not ended.
    pub(crate) fn cancel_ended(&mut self, ticket: Ticket) -> bool {
        let pending = self.pending_cancel.take_if(|pending| pending.ticket == ticket);
        pending.is_some_and(|pending| pending.gives_up)
    }

    /// Requests may be sent again: the server has taken the CancelRequest, or none was sent.
    pub(crate) fn open_gate(&mut self) {
        if let Some(session) = &mut self.session {
            session.open_gate();
        }
    }

    /// Shuts the gate for another CancelRequest. `false`: the request is over meanwhile.
    pub(crate) fn cancel_again(&mut self, ticket: Ticket) -> bool {
        // Nothing else can have been sent: the request is exclusive until it is settled.
        self.session.as_mut().is_some_and(|session| session.cancel(ticket) == Cancel::Running)
    }
}

fn pipelined() -> Error {
    Error::new(
        ErrorKind::Request,
        "the statement travels with others, which a cancel could hit instead",
    )
    .with_hint("ask for the handle before the call is first polled")
}

/// The error of a cancel without a cancel key.
pub(crate) fn no_key() -> Error {
    Error::new(ErrorKind::Request, "the server gave no key to cancel with, so it cannot be told")
        .with_hint(
            "some poolers have none; a time limit works all the same, by giving up the connection",
        )
}
