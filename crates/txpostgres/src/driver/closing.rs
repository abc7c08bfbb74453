//! A socket that is being closed: Terminate is sent, then the end of the stream, and the server
//! closes its end.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::io::ByteStream;

/// See the module's text.
pub(crate) struct Closing {
    stream: Box<dyn ByteStream>,
    outgoing: BytesMut,
    /// Bytes of `outgoing` that are written.
    written: usize,
}

impl Closing {
    pub(super) fn new(stream: Box<dyn ByteStream>, outgoing: BytesMut, written: usize) -> Self {
        Self { stream, outgoing, written }
    }

    /// Waits until the remaining output is written, shuts down the stream, and waits for the server
    /// to close its end.
    pub(crate) fn finished(mut self) -> impl Future<Output = ()> + Send {
        poll_fn(move |cx| self.poll(cx))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(left) = self.outgoing.get(self.written..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, left)) {
                Ok(count) if count > 0 => self.written += count,
                _ => return Poll::Ready(()),
            }
        }
        if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        let mut discarded = [0; 8 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}
