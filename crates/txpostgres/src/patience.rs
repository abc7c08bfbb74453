//! Who watches over a call: a handle that can cancel it, a time limit, what happens when it is dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};
use txpostgres_session::{Delivery, Error, ErrorKind, Ticket};

use crate::cancel::{Cancelling, Otherwise};
use crate::link::Link;
use crate::turnstile::Turn;

/// A call or an interaction that can be cancelled: see [`Connection::cancel`](crate::Connection::cancel).
///
/// Clones mean the same call. It does not keep the connection open, and may be kept for longer than the call.
#[derive(Clone, Default)]
pub struct CancelHandle(Arc<Mutex<Ward>>);

/// What is watched over.
#[derive(Default)]
struct Ward {
    at: Place,
    /// Why it is to end, if it is.
    reason: Option<Reason>,
    /// The task that awaits it.
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
enum Place {
    /// Nothing of it is sent, or it is between two steps.
    #[default]
    Queued,
    /// A call, sent under this number.
    Sent(Weak<Link>, Ticket),
    /// An interaction that has the connection for itself.
    Inside(Weak<Link>, Turn),
    /// It is over, or can be cancelled no more.
    Over,
}

/// Why a call is to end.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// Somebody wants it.
    Asked,
    /// This time limit has passed.
    Limit(Duration),
}

impl CancelHandle {
    /// As [`Connection::cancel`](crate::Connection::cancel).
    pub fn cancel(&self) -> Cancelling {
        self.end(Reason::Asked, Otherwise::RunOn)
    }

    fn end(&self, reason: Reason, otherwise: Otherwise) -> Cancelling {
        let mut ward = self.0.lock();
        if let Place::Over = ward.at {
            return Cancelling::over(Ok(()));
        }
        ward.reason.get_or_insert(reason);
        let (at, waker) = (ward.at.clone(), ward.waker.take());
        drop(ward);
        let cancelling = match at {
            Place::Sent(link, ticket) => link.upgrade().map(|link| link.cancel(ticket, otherwise)),
            Place::Inside(link, turn) => {
                link.upgrade().map(|link| link.cancel_inside(turn, otherwise))
            }
            Place::Queued | Place::Over => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        cancelling.unwrap_or_else(|| Cancelling::over(Ok(())))
    }

    fn put(&self, at: Place) {
        self.0.lock().at = at;
    }

    fn is_to_end(&self) -> bool {
        self.0.lock().reason.is_some()
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

/// Watches over one call or interaction, or over several calls one after another.
#[derive(Default)]
pub(crate) struct Patience {
    handle: CancelHandle,
    /// When a call has ended, there is another one to come.
    lasts: bool,
    limit: Option<Duration>,
    /// Runs from the first poll until the limit has passed.
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the limit passes, once that is known.
    end: Option<Instant>,
}

impl Patience {
    pub(crate) fn handle(&self) -> CancelHandle {
        self.handle.clone()
    }

    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = Some(limit);
    }

    /// Whether it watches over further calls when the one that it is with has ended.
    pub(crate) fn set_lasting(&mut self, lasts: bool) {
        self.lasts = lasts;
    }

    /// The time limit runs anew, for further calls.
    pub(crate) fn renew(&mut self, limit: Duration) {
        self.handle.0.lock().reason.take_if(|reason| matches!(reason, Reason::Limit(_)));
        (self.limit, self.sleep, self.end) = (Some(limit), None, None);
    }

    /// Looks at the clock, and sees to it that this task is called when the call is to end.
    pub(crate) fn watch(&mut self, cx: &mut Context<'_>) {
        {
            let mut ward = self.handle.0.lock();
            if !ward.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                ward.waker = Some(cx.waker().clone());
            }
        }
        let Some(limit) = self.limit else {
            return;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        self.end = Some(sleep.deadline());
        // The runtime's clock ticks in milliseconds: one that leaves no time would leave some.
        if limit.is_zero() || sleep.as_mut().poll(cx).is_ready() {
            (self.limit, self.sleep) = (None, None);
            drop(self.handle.end(Reason::Limit(limit), Otherwise::GiveUp));
        }
    }

    /// When the time limit passes or has passed, if there is one and it runs.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Whether the call is to end.
    pub(crate) fn is_to_end(&self) -> bool {
        self.handle.is_to_end()
    }

    /// Why an interaction is over, if it is to be.
    pub(crate) fn interrupted(&self, begun: bool) -> Option<Error> {
        let error = match self.reason()? {
            Reason::Asked => {
                Error::new(ErrorKind::Cancelled, "the interaction was cancelled, as asked")
            }
            Reason::Limit(limit) => Error::new(
                ErrorKind::Timeout,
                format!("the interaction was cancelled after its time limit of {limit:?}"),
            ),
        };
        Some(error.with_delivery(if begun { Delivery::Answered } else { Delivery::NotSent }))
    }

    /// What becomes of a statement that does not end.
    pub(crate) fn otherwise(&self) -> Otherwise {
        match self.reason() {
            Some(Reason::Limit(_)) => Otherwise::GiveUp,
            _ => Otherwise::RunOn,
        }
    }

    /// The call was sent. If it is to end by now, it is cancelled.
    pub(crate) fn sent(&self, link: &Arc<Link>, ticket: Ticket) {
        self.handle.put(Place::Sent(Arc::downgrade(link), ticket));
        if self.is_to_end() {
            drop(link.cancel(ticket, self.otherwise()));
        }
    }

    /// The call is between two steps.
    pub(crate) fn queued(&self) {
        self.handle.put(Place::Queued);
    }

    /// The interaction has the connection for itself.
    pub(crate) fn inside(&self, link: &Arc<Link>, turn: Turn) {
        self.handle.put(Place::Inside(Arc::downgrade(link), turn));
    }

    /// There is nothing to cancel any more.
    pub(crate) fn over(&self) {
        let mut ward = self.handle.0.lock();
        (ward.at, ward.waker) = (if self.lasts { Place::Queued } else { Place::Over }, None);
    }

    /// What a call that has not been sent ends with.
    pub(crate) fn not_sent(&self) -> Error {
        match self.reason() {
            Some(Reason::Limit(limit)) => Error::new(
                ErrorKind::Timeout,
                format!("the time limit of {limit:?} passed before the statement was sent"),
            ),
            _ => Error::new(ErrorKind::Cancelled, "the statement was cancelled before it was sent"),
        }
    }

    fn reason(&self) -> Option<Reason> {
        self.handle.0.lock().reason
    }

    /// The error in the words of whoever wanted the end.
    #[cold]
    pub(crate) fn explain(&self, error: Error) -> Error {
        let Some(Reason::Limit(limit)) = self.reason() else {
            return error;
        };
        let message = match (error.kind(), error.delivery()) {
            (ErrorKind::Cancelled, Delivery::NotSent) => return self.not_sent(),
            (ErrorKind::Cancelled, _) => {
                format!("the statement was cancelled after its time limit of {limit:?}")
            }
            (ErrorKind::Lost, _) => {
                format!("the time limit of {limit:?} passed, and the connection was given up")
            }
            _ => return error,
        };
        let mut late = Error::new(ErrorKind::Timeout, message).with_delivery(error.delivery());
        if let Some(statement) = error.statement() {
            late = late.with_statement(statement);
        }
        match error.server() {
            Some(server) => late.with_server(server.clone()),
            None => late.with_source(error),
        }
    }
}
