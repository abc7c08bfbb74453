//! Bytes in both directions: what a session needs of a connection.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Bytes in both directions: what a session needs of a connection.
///
/// `impl ByteStream for MyStream {}` is enough. The methods are short cuts for streams that know
/// better.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Writes at once, if that can be done without waiting; otherwise `WouldBlock`, and `poll_write`
    /// is called.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whether a read may find something, after which `poll_read` is called. If not, the task is
    /// woken when it may.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The address of the peer, if this is a TCP socket. A CancelRequest goes there and nowhere else,
    /// whatever else the host's name may mean by then; if it is not known, the same endpoint is
    /// dialed again.
    fn peer_address(&self) -> Option<SocketAddr> {
        None
    }
}

impl ByteStream for tokio::io::DuplexStream {}

impl ByteStream for TcpStream {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

#[cfg(unix)]
impl ByteStream for UnixStream {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        UnixStream::try_write(self, bytes)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }
}
