//! What happened when, in seconds since the beginning of a run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use txpostgres::reconnection::ConnectionState;

/// One event.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Something was done to the server or the network, or undone.
    Fault { what: &'static str, begins: bool },
    /// The connection has this state.
    State(ConnectionState),
    /// A call was made `since` seconds after the beginning, and has ended.
    Call { since: f64, end: End },
    /// A notification arrived.
    Notified,
    /// The gap was told.
    Gap,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was answered.
    Answered,
    /// The connection was lost while it was in flight.
    Lost,
    /// It was refused: the connection was dead.
    Refused,
}

/// The record of a run. Clones are the same record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    began: Instant,
    events: Arc<Mutex<Vec<(f64, Event)>>>,
}

impl Record {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), events: Arc::default() }
    }

    pub(crate) fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub(crate) fn note(&self, event: Event) {
        let now = self.now();
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push((now, event));
    }

    pub(crate) fn end(&self) -> Happened {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Happened { events, seconds: self.now() }
    }
}

/// All events of a run.
#[derive(Debug)]
pub(crate) struct Happened {
    events: Vec<(f64, Event)>,
    seconds: f64,
}

impl Happened {
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// How long the run took.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = (f64, &Event)> {
        self.events.iter().map(|(at, event)| (*at, event))
    }
}
