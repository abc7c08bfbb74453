//! A COPY that is about to begin, and what may end it early.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use txpostgres_session::{Error, ErrorKind, Result};

#[cfg(doc)]
use super::{CopyIn, CopyInRows, CopyOut, CopyOutRows};
use crate::driver::{CancelHandle, Cancellation};

/// A COPY that is about to begin: await it for the [`CopyIn`], [`CopyOut`], [`CopyInRows`] or
/// [`CopyOutRows`].
///
/// Nothing is sent before the first poll. If this future is dropped before its end, the effect is
/// that of dropping the COPY itself.
#[must_use = "futures do nothing unless awaited"]
pub struct BeginCopy<'a, C> {
    cancellation: Option<Box<Cancellation>>,
    stage: Stage<'a, C>,
}

type Beginning<'a, C> = Pin<Box<dyn Future<Output = Result<C>> + Send + 'a>>;

enum Stage<'a, C> {
    New(Box<dyn FnOnce(Option<Box<Cancellation>>) -> Beginning<'a, C> + Send + 'a>),
    Begun(Beginning<'a, C>),
    Over,
}

impl<'a, C> BeginCopy<'a, C> {
    pub(crate) fn new<F>(begin: impl FnOnce(Option<Box<Cancellation>>) -> F + Send + 'a) -> Self
    where
        F: Future<Output = Result<C>> + Send + 'a,
    {
        let begin = Box::new(|cancellation| Box::pin(begin(cancellation)) as Beginning<'a, C>);
        Self { cancellation: None, stage: Stage::New(begin) }
    }

    /// A handle that [cancels](crate::Connection::cancel) the COPY, from any task and up to its
    /// end. The server keeps none of the data that was sent; data that was not read yet is
    /// discarded. The call that is being awaited, or else the next one, ends with
    /// [`ErrorKind::Cancelled`]. In an interaction the transaction fails as well.
    ///
    /// Ask for it before this is first polled.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.cancellation.get_or_insert_default().handle())
    }

    /// Limits the time of the whole COPY, from the first poll to its end, including the time in a
    /// queue, the time for locks, and your own time between its calls. When the limit has passed,
    /// the COPY is cancelled, and the call that is being awaited, or else the next one, ends with
    /// [`ErrorKind::Timeout`], or with its outcome if that arrives before the cancel takes effect.
    /// In an interaction the transaction fails as well.
    ///
    /// The limit is checked when one of the futures of the COPY is polled.
    ///
    /// If the server does not end the COPY within the grace period
    /// ([`ConnectionBuilder::cancel_grace`](crate::ConnectionBuilder::cancel_grace), 5 s), the
    /// connection is closed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.cancellation.get_or_insert_default().set_limit(limit);
        self
    }
}

impl<C> Future for BeginCopy<'_, C> {
    type Output = Result<C>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.stage, Stage::Over) {
                Stage::New(begin) => this.stage = Stage::Begun(begin(this.cancellation.take())),
                Stage::Begun(mut beginning) => {
                    let polled = beginning.as_mut().poll(cx);
                    if polled.is_pending() {
                        this.stage = Stage::Begun(beginning);
                    }
                    return polled;
                }
                Stage::Over => {
                    let message = "a future was polled again after it had ended";
                    return Poll::Ready(Err(Error::new(ErrorKind::Request, message)));
                }
            }
        }
    }
}

impl<C> fmt::Debug for BeginCopy<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginCopy").finish_non_exhaustive()
    }
}
