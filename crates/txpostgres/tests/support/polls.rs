//! Futures polled by hand: `n` times and then dropped, or once and put aside.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// When and how a future is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GiveUp {
    /// So many polls happen, each after the wake-up that the one before asked for.
    pub(crate) after: usize,
    /// The future is dropped once it has been woken again, so that what it was woken for is left undone.
    pub(crate) woken: bool,
}

impl GiveUp {
    /// What the future gives if it ends within its polls; else it is dropped, here.
    pub(crate) async fn poll<F: Future>(self, future: F) -> Option<F::Output> {
        let mut future = Box::pin(future);
        let mut polls = 0;
        poll_fn(|cx| {
            if polls == self.after {
                return Poll::Ready(None);
            }
            polls += 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls == self.after && !self.woken => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// Polls a future once, with a waker that wakes nothing.
pub(crate) fn touch<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future once, for this task.
pub(crate) async fn begin<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
