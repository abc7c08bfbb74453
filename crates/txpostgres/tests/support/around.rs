//! A byte stream around another one, which says only what it does otherwise.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use txpostgres::ByteStream;

/// What it does; what is not said is what the stream inside does.
pub(crate) trait Around: Send + Unpin {
    /// The stream inside.
    fn inside(&mut self) -> Pin<&mut dyn ByteStream>;

    fn read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inside().poll_read(cx, into)
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inside().poll_write(cx, bytes)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inside().poll_flush(cx)
    }

    fn shut_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inside().poll_shutdown(cx)
    }

    /// None if it is not to be known.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

/// The byte stream that does so.
pub(crate) struct Wrapped<T>(pub(crate) T);

impl<T: Around> ByteStream for Wrapped<T> {
    fn peer_address(&self) -> Option<SocketAddr> {
        self.0.peer()
    }
}

impl<T: Around> AsyncRead for Wrapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.read(cx, into)
    }
}

impl<T: Around> AsyncWrite for Wrapped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shut_down(cx)
    }
}
