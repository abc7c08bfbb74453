//! A cancel in progress: a CancelRequest on a socket of its own.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use txpostgres_policy::{CancelRoute, PollState, Pollable};
use txpostgres_session::config::{Config, Endpoint};
use txpostgres_session::{CancelKey, Delivery, Event, Result, Session};

use crate::dialing::Dialing;

/// A cancel in progress: see [`Connection::cancel_start`](crate::Connection::cancel_start).
///
/// It is polled like a connection, until [`PollState::Ok`]: the server has taken note then.
#[must_use = "nothing is cancelled unless it is polled"]
pub struct Cancel(Option<Telling>);

struct Telling {
    session: Session,
    endpoint: Endpoint,
    dialing: Dialing,
    fate: Fate,
}

/// Whether a cancel is under way, as its connection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelState {
    UnderWay,
    /// The server has heard it, or will never hear it.
    Over,
    /// It was sent, and not polled until the server had heard it: it may hit what comes next.
    Unknown,
}

/// The end that the connection has of a cancel.
pub(crate) struct CancelWatch(Arc<AtomicU8>);

/// The end that the cancel has. Dropped, it says what it knows.
struct Fate {
    state: Arc<AtomicU8>,
    may_have_left: bool,
}

const UNDER_WAY: u8 = 0;
const OVER: u8 = 1;
const UNKNOWN: u8 = 2;

impl CancelWatch {
    pub(crate) fn state(&self) -> CancelState {
        match self.0.load(Ordering::Acquire) {
            UNDER_WAY => CancelState::UnderWay,
            OVER => CancelState::Over,
            _ => CancelState::Unknown,
        }
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        let end = if self.may_have_left { UNKNOWN } else { OVER };
        self.state.store(end, Ordering::Release);
    }
}

impl Cancel {
    /// There is nothing to cancel.
    pub(crate) fn of_nothing() -> Self {
        Self(None)
    }

    pub(crate) fn begin(
        key: CancelKey,
        route: &CancelRoute,
        config: &Config,
    ) -> Result<(Self, CancelWatch)> {
        let session = Session::to_cancel(key, route.encryption.clone())?;
        let dialing = Dialing::begin(&route.endpoint, config)?;
        let state = Arc::new(AtomicU8::new(UNDER_WAY));
        let fate = Fate { state: Arc::clone(&state), may_have_left: false };
        let endpoint = route.endpoint.clone();
        Ok((Self(Some(Telling { session, endpoint, dialing, fate })), CancelWatch(state)))
    }

    /// Goes on as far as is possible without waiting; `Ok` once the server has taken note. That the
    /// statement has ended is told by its connection.
    ///
    /// # Errors
    ///
    /// The server could not be told. The statement goes on.
    pub fn poll(&mut self) -> Result<PollState> {
        let Some(telling) = &mut self.0 else { return Ok(PollState::Ok) };
        match telling.poll() {
            Ok(PollState::Ok) => {
                telling.fate.may_have_left = false;
                self.0 = None;
                Ok(PollState::Ok)
            }
            Ok(state) => Ok(state),
            Err(error) => {
                self.0 = None;
                Err(error)
            }
        }
    }

    /// The descriptor to wait for; `None` once it is over.
    pub fn fileno(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_ref()?.dialing.fileno())
    }
}

impl Telling {
    fn poll(&mut self) -> Result<PollState> {
        loop {
            while let Some(event) = self.session.next_event() {
                if let Event::Closed(error) = event {
                    let Some(error) = error else { return Ok(PollState::Ok) };
                    self.fate.may_have_left |= error.delivery() != Delivery::NotSent;
                    return Err(error);
                }
            }
            let waits_for = self.dialing.exchange(&mut self.session, &self.endpoint);
            // Taken out for sending, so that it may have left.
            self.fate.may_have_left |= self.session.may_have_interrupted();
            if let Some(state) = waits_for? {
                return Ok(state);
            }
        }
    }
}

impl Pollable for Cancel {
    fn fileno(&self) -> Option<BorrowedFd<'_>> {
        Cancel::fileno(self)
    }

    fn poll(&mut self) -> Result<PollState> {
        Cancel::poll(self)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.0.as_ref().map(|telling| &telling.endpoint);
        f.debug_struct("Cancel").field("endpoint", &endpoint).finish_non_exhaustive()
    }
}
