//! The outcome of a LISTEN or UNLISTEN for the call that waits for it: a channel for one value.

use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use txpostgres_session::{Error, ErrorKind, Result};

use crate::effects::Effects;

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<()>>,
    waker: Option<Waker>,
}

/// The sending end.
#[derive(Debug)]
pub struct Reply(Arc<Mutex<State>>);

/// The receiving end.
#[derive(Debug)]
pub struct ReplyReceiver(Arc<Mutex<State>>);

impl Reply {
    /// Both ends of a channel.
    pub fn new() -> (Self, ReplyReceiver) {
        let state = Arc::default();
        (Self(Arc::clone(&state)), ReplyReceiver(state))
    }

    pub(crate) fn send(self, outcome: Result<()>, effects: &mut Effects) {
        let mut state = self.0.lock();
        state.outcome = Some(outcome);
        effects.wake(state.waker.take());
    }
}

impl ReplyReceiver {
    /// Polls for the outcome.
    pub fn poll(&self, waker: &Waker) -> Poll<Result<()>> {
        // Cloned and dropped outside of the lock.
        let waker = waker.clone();
        let mut state = self.0.lock();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        if Arc::strong_count(&self.0) == 1 {
            return Poll::Ready(Err(unanswered()));
        }
        let replaced = state.waker.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Closed, "the connection was dropped")
}
