//! A socket that takes and gives a few bytes at a time, with a wake-up between any two helpings.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Dial, Dialing, Sockets};

/// Dials sockets that trickle.
#[derive(Clone, Copy)]
pub(crate) struct Trickle {
    /// Bytes in one helping.
    pub(crate) bytes: usize,
}

struct Trickling {
    stream: Box<dyn ByteStream>,
    helping: Vec<u8>,
    may_read: bool,
    may_write: bool,
}

impl Dial for Trickle {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> Dialing<'a> {
        Box::pin(async move {
            let stream = Sockets.dial(endpoint, config).await?;
            let helping = vec![0; self.bytes];
            let trickling = Trickling { stream, helping, may_read: false, may_write: false };
            Ok(Box::new(trickling) as Box<dyn ByteStream>)
        })
    }
}

/// Every other time: not now, but soon.
fn pause(may: &mut bool, cx: &Context<'_>) -> Poll<()> {
    if std::mem::replace(may, true) {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl ByteStream for Trickling {}

impl AsyncRead for Trickling {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(pause(&mut this.may_read, cx));
        let mut helping = ReadBuf::new(&mut this.helping);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut helping))?;
        buffer.put_slice(helping.filled());
        this.may_read = false;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickling {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(pause(&mut this.may_write, cx));
        let helping = bytes.get(..this.helping.len()).unwrap_or(bytes);
        let count = ready!(Pin::new(&mut this.stream).poll_write(cx, helping))?;
        this.may_write = false;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
