//! What callers tell of themselves while they run: what they began, how it ended, what they heard.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use txpostgres::{CancelHandle, Delivery, Error, ErrorKind, NotifyEvent};

use crate::net::Net;

/// Something that a caller tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Begun {
        op: u32,
    },
    /// The closure of an interaction runs. `read`: as in [`Ended`](Self::Ended).
    Entered {
        op: u32,
        read: u64,
    },
    /// The closure of an interaction has returned, panicked or was dropped, and its transaction
    /// must end.
    Ending {
        op: u32,
    },
    /// `read`: bytes that the client had read of the session's line.
    Ended {
        op: u32,
        outcome: Outcome,
        read: u64,
    },
    /// It was dropped before its end.
    Dropped {
        op: u32,
    },
    /// Bytes of its answer were handed to the caller.
    Handed {
        op: u32,
        bytes: u64,
    },
    /// A channel is listened to from now on.
    Listening {
        op: u32,
        channel: String,
    },
    Heard {
        op: u32,
        event: Heard,
    },
    /// An answer is not what was asked for.
    Wrong {
        op: u32,
        why: String,
    },
    /// Bytes that the library has grown by, and over how many repetitions.
    Grown {
        op: u32,
        bytes: i64,
        times: u32,
    },
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Well,
    /// The caller's own error.
    Planned,
    Failed(Failure),
}

/// An error of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) delivery: Delivery,
    /// The SQLSTATE.
    pub(crate) code: String,
    pub(crate) text: String,
}

/// What a listener heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Payload { channel: String, payload: String },
    Missed(u64),
    Disconnected,
    Gap,
    End,
    Unknown,
}

impl From<Option<NotifyEvent>> for Heard {
    fn from(event: Option<NotifyEvent>) -> Self {
        match event {
            Some(NotifyEvent::Notification(notification)) => Self::Payload {
                channel: notification.channel().to_owned(),
                payload: notification.payload().to_owned(),
            },
            Some(NotifyEvent::Missed(count)) => Self::Missed(count),
            Some(NotifyEvent::Disconnected) => Self::Disconnected,
            Some(NotifyEvent::Gap { .. }) => Self::Gap,
            Some(_) => Self::Unknown,
            None => Self::End,
        }
    }
}

/// What a closure fails with.
#[derive(Debug)]
pub(crate) enum Oops {
    Library(Error),
    /// The plan says so.
    Planned,
}

impl From<Error> for Oops {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl std::fmt::Display for Oops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::Planned => f.write_str("planned"),
        }
    }
}

impl std::error::Error for Oops {}

impl From<&Oops> for Outcome {
    fn from(oops: &Oops) -> Self {
        match oops {
            Oops::Planned => Self::Planned,
            Oops::Library(error) => Self::Failed(Failure {
                kind: error.kind(),
                delivery: error.delivery(),
                code: error.sqlstate().map_or_else(String::new, |code| code.to_string()),
                text: error.to_string(),
            }),
        }
    }
}

/// Where callers tell what they have to tell.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    net: Net,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    told: Vec<Told>,
    handles: BTreeMap<u32, CancelHandle>,
    usage: i64,
}

impl Ledger {
    pub(crate) fn new(net: &Net) -> Self {
        Self { net: net.clone(), pages: Arc::default() }
    }

    pub(crate) fn tell(&self, told: Told) {
        self.pages.lock().told.push(told);
    }

    /// Exchanges an empty list for what was told since this was last asked. No memory changes its
    /// owner for that, or what callers tell would count as growth of the library.
    pub(crate) fn take(&self, empty: &mut Vec<Told>) {
        std::mem::swap(&mut self.pages.lock().told, empty);
    }

    /// Notes the handle by which an operation can be cancelled.
    pub(crate) fn put_handle(&self, op: u32, handle: CancelHandle) {
        self.pages.lock().handles.insert(op, handle);
    }

    pub(crate) fn handle(&self, op: u32) -> Option<CancelHandle> {
        self.pages.lock().handles.get(&op).cloned()
    }

    /// The operations that have a handle.
    pub(crate) fn handles(&self) -> Vec<u32> {
        self.pages.lock().handles.keys().copied().collect()
    }

    /// Forgets all handles.
    pub(crate) fn forget_handles(&self) {
        let handles = std::mem::take(&mut self.pages.lock().handles);
        drop(handles);
    }

    /// Bytes that the library has allocated and not freed, as far as they are counted.
    pub(crate) fn usage(&self) -> i64 {
        self.pages.lock().usage
    }

    pub(crate) fn add_usage(&self, bytes: i64) {
        self.pages.lock().usage += bytes;
    }

    /// The closure of an interaction begins to run. It is over when what this gives is dropped,
    /// however that comes about.
    pub(crate) fn enter(&self, op: u32) -> Inside {
        self.tell(Told::Entered { op, read: self.read() });
        Inside { ledger: self.clone(), op }
    }

    /// Bytes that the client has read of the session's line.
    fn read(&self) -> u64 {
        self.net.session().map_or(0, |line| self.net.taken(line))
    }

    /// An operation begins. Dropped before its end, it is told so.
    pub(crate) fn begin(&self, op: u32) -> Beginning {
        self.tell(Told::Begun { op });
        Beginning { ledger: self.clone(), op, has_ended: false }
    }
}

/// A closure that runs.
pub(crate) struct Inside {
    ledger: Ledger,
    op: u32,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.ledger.tell(Told::Ending { op: self.op });
    }
}

/// An operation in progress.
pub(crate) struct Beginning {
    ledger: Ledger,
    op: u32,
    has_ended: bool,
}

impl Beginning {
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.has_ended = true;
        let read = self.ledger.read();
        self.ledger.tell(Told::Ended { op: self.op, outcome, read });
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if !self.has_ended {
            self.ledger.tell(Told::Dropped { op: self.op });
        }
    }
}
