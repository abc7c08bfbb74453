//! The state of a connection that is reconnected, as a value and as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

use super::BoxFuture;

/// How many states a [`ConnectionStates`] keeps that is not read: 64. The oldest are left out.
const KEPT_STATES: usize = 64;

/// The state of a connection that has a detector.
///
/// ```text
///   Closed ──connect──▶ Up ◀──────────────────────── answered ───────────────────────┐
///                       │ ├── an answer is owed, and nothing has come for a while ──▶ Suspect
///                       ▼ ▼                                                            │
///                      Down ◀──────────────────── nothing has come ────────────────────┘
///                       │
///                       ▼
///                  Reconnecting ──────▶ Restoring ──────▶ Up, one generation later
///                    ▲  │  └─ failed      │
///                    │  └─▶ GivenUp       └── lost ──▶ Reconnecting
///                    └─ the next attempt
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Never opened, or closed by the user.
    Closed,
    /// Open: calls may use it.
    Up {
        /// How many sessions the connection has had, this one included.
        generation: u64,
    },
    /// Open, but the server owes an answer and has sent nothing for this long. It is asked on
    /// another connection whether it still works on the answer.
    Suspect {
        /// How long nothing has arrived.
        silent_for: Duration,
    },
    /// Found dead.
    Down {
        /// Why, as one line.
        cause: Arc<str>,
    },
    /// The next attempt to open it is made after this delay.
    Reconnecting {
        /// The number of the attempt, the first being 1.
        attempt: u32,
        /// The delay before it.
        delay: Duration,
        /// Why the last attempt failed, or the connection was lost, as one line.
        cause: Arc<str>,
    },
    /// There is a new session: LISTEN and settings are renewed, then recovery handlers run.
    Restoring {
        /// How many sessions the connection has had, this one included.
        generation: u64,
    },
    /// No further attempt is made: the delays have come to an end.
    GivenUp {
        /// Why the last attempt failed, as one line.
        cause: Arc<str>,
    },
}

impl ConnectionState {
    /// Whether calls may use the connection.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. } | Self::Suspect { .. })
    }
}

/// The present state, and those who watch it.
#[derive(Debug)]
pub(super) struct StateCell {
    present: Mutex<ConnectionState>,
    sender: Sender<ConnectionState>,
}

impl StateCell {
    pub(super) fn new() -> Self {
        let sender = broadcast::channel(KEPT_STATES).0;
        Self { present: Mutex::new(ConnectionState::Closed), sender }
    }

    pub(super) fn get(&self) -> ConnectionState {
        self.present.lock().clone()
    }

    pub(super) fn set(&self, state: ConnectionState) {
        self.change(|_| Some(state));
    }

    /// Changes the state to what `next` says, unless it is that already.
    pub(super) fn change(&self, next: impl FnOnce(&ConnectionState) -> Option<ConnectionState>) {
        let mut present = self.present.lock();
        let Some(state) = next(&present).filter(|state| *state != *present) else {
            return;
        };
        present.clone_from(&state);
        // Sent under the lock, so that the order is that of the changes. It wakes those who watch,
        // who are woken without being run. Nobody may watch.
        let _ = self.sender.send(state);
    }

    pub(super) fn watch(&self) -> ConnectionStates {
        let present = self.present.lock();
        let receiver = self.sender.subscribe();
        ConnectionStates { first: Some(present.clone()), next: receive(receiver) }
    }
}

/// The states of a connection, the present one first: see
/// [`DeadConnectionDetector::states`](super::DeadConnectionDetector::states).
///
/// It implements `Stream`, and has a [`next`](Self::next) of its own, which needs no extension
/// trait. It ends when the detector is gone. If it is not read, the 64 newest states are kept.
#[must_use = "a stream does nothing unless it is polled"]
pub struct ConnectionStates {
    first: Option<ConnectionState>,
    next: BoxFuture<'static, (Option<ConnectionState>, Receiver<ConnectionState>)>,
}

fn receive(
    mut receiver: Receiver<ConnectionState>,
) -> BoxFuture<'static, (Option<ConnectionState>, Receiver<ConnectionState>)> {
    Box::pin(async move {
        loop {
            match receiver.recv().await {
                Ok(state) => return (Some(state), receiver),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return (None, receiver),
            }
        }
    })
}

impl ConnectionStates {
    /// The next state; `None` when the detector is gone. Cancel-safe: if the future is dropped, no
    /// state is lost.
    pub async fn next(&mut self) -> Option<ConnectionState> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for ConnectionStates {
    type Item = ConnectionState;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConnectionState>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
        }
        let (state, receiver) = std::task::ready!(this.next.as_mut().poll(cx));
        this.next = receive(receiver);
        Poll::Ready(state)
    }
}

impl fmt::Debug for ConnectionStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionStates").finish_non_exhaustive()
    }
}
