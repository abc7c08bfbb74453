//! The cancel of a running request: when to send a CancelRequest, how long to wait, when to give
//! up.
//!
//! ```text
//!           ┌───────────── not settled after a pause ─────────────┐
//!           ▼                                                     │
//!   ──▶ Tell ──sent, or it never left: the gate opens──▶ Wait ────┤
//!           │                                              │      └─ grace period over ──▶ Expired
//!           └─ may have left, outcome unknown: GiveUp      └─ settled ──▶ Done
//! ```
//!
//! PostgreSQL does not answer a CancelRequest: it interrupts whatever the session does at that
//! moment, or nothing, and closes the connection that it came on (manual, section 54.2.8). So the
//! gate stays shut until then. If the statement runs on, the CancelRequest is repeated: the first
//! one may have arrived before the statement.

use std::time::{Duration, Instant};

use txpostgres_session::{CancelKey, Delivery, Error, ErrorKind, Result, Ticket};

use crate::multiplexer::{Multiplexer, no_key};

/// Pause before a statement that runs on is cancelled again: 20 ms at first, by which time a server
/// that has taken the CancelRequest has ended the statement.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest such pause: 1 s. A statement may also catch the cancel (`exception when
/// query_canceled` in PL/pgSQL).
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug)]
pub struct CancelRun {
    ticket: Ticket,
    key: Option<CancelKey>,
    grace: Duration,
    expires: Instant,
    pause: Duration,
    told: Result<()>,
}

/// What must be done next.
#[derive(Debug)]
pub enum CancelStep {
    /// Send a CancelRequest with this key, and wait until the server closes that connection; then
    /// call [`told`](CancelRun::told).
    Tell(CancelKey),
    /// Drive, and wait until the request is settled or this time has come; then call
    /// [`waited`](CancelRun::waited).
    WaitUntil(Instant),
    /// The cancel is over, with this outcome.
    Done(Result<()>),
    /// Close the connection for the first reason; the second error is the outcome.
    GiveUp(Error, Error),
}

impl CancelRun {
    /// The cancel of a request that the server runs. Without a cancel key it can only wait.
    pub fn new(ticket: Ticket, key: Option<CancelKey>, now: Instant, grace: Duration) -> Self {
        let expires = now + grace;
        Self { ticket, key, grace, expires, pause: FIRST_PAUSE, told: Err(no_key()) }
    }

    /// The request.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The end of the grace period.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// The first step.
    pub fn begin(&self) -> CancelStep {
        match &self.key {
            Some(key) => CancelStep::Tell(key.clone()),
            None => CancelStep::WaitUntil(self.expires),
        }
    }

    /// The CancelRequest was sent, or could not be sent. `None`: not within the grace period.
    pub fn told(
        &mut self,
        now: Instant,
        heard: Option<Result<()>>,
        may_have_left: bool,
        multiplexer: &mut Multiplexer,
    ) -> CancelStep {
        if !multiplexer.is_being_cancelled(self.ticket) {
            // The session is over, and the request with it. The next one has a gate of its own.
            return CancelStep::Done(Ok(()));
        }
        let heard = heard.unwrap_or_else(|| {
            let message = "the server could not be told in time to cancel a statement";
            Err(Error::new(ErrorKind::Timeout, message))
        });
        match heard {
            // It may arrive at any time, and hit any request that is sent until then.
            Err(error) if may_have_left => {
                multiplexer.cancel_ended(self.ticket);
                CancelStep::GiveUp(whether_arrived(), error)
            }
            heard => {
                self.told = heard;
                multiplexer.open_gate();
                CancelStep::WaitUntil(self.expires.min(now + self.pause))
            }
        }
    }

    /// The request was settled, or the time has come.
    pub fn waited(&mut self, now: Instant, multiplexer: &mut Multiplexer) -> CancelStep {
        if !multiplexer.is_outstanding(self.ticket) {
            multiplexer.cancel_ended(self.ticket);
            return CancelStep::Done(Ok(()));
        }
        if now >= self.expires {
            return self.expired(multiplexer.cancel_ended(self.ticket));
        }
        let Some(key) = &self.key else {
            return CancelStep::WaitUntil(self.expires);
        };
        if !multiplexer.cancel_again(self.ticket) {
            multiplexer.cancel_ended(self.ticket);
            return CancelStep::Done(Ok(()));
        }
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        CancelStep::Tell(key.clone())
    }

    /// The task that carries out the cancel is dropped before its end. Returns the reason for which
    /// the connection must be closed, if it must.
    pub fn abandon(&self, may_have_left: bool, multiplexer: &mut Multiplexer) -> Option<Error> {
        if !multiplexer.is_being_cancelled(self.ticket) {
            return None;
        }
        multiplexer.cancel_ended(self.ticket);
        if may_have_left {
            return Some(whether_arrived());
        }
        multiplexer.open_gate();
        None
    }

    /// The grace period is over, and the request has not ended.
    fn expired(&mut self, gives_up: bool) -> CancelStep {
        let grace = self.grace;
        let told = std::mem::replace(&mut self.told, Ok(()));
        let message = match told {
            Ok(()) => format!("the server did not end a cancelled statement within {grace:?}"),
            Err(_) => {
                format!("the server could not be told within {grace:?} to cancel a statement")
            }
        };
        let reason = Error::new(ErrorKind::Lost, message.clone());
        let mut error = Error::new(ErrorKind::Timeout, message).with_delivery(Delivery::Unknown);
        if let Err(why) = told {
            error = error.with_source(why);
        }
        if gives_up { CancelStep::GiveUp(reason, error) } else { CancelStep::Done(Err(error)) }
    }
}

fn whether_arrived() -> Error {
    Error::new(ErrorKind::Lost, "a cancel was sent, and whether it has arrived is unknown")
}
