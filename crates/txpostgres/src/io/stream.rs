//! A stream of bytes in both directions: what a session is transported by.

use std::io;
#[cfg(unix)]
use std::io::Read as _;
#[cfg(unix)]
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::task::{Context, Poll};

#[cfg(unix)]
use socket2::SockRef;
#[cfg(unix)]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A stream of bytes in both directions: what a session is transported by.
///
/// `impl ByteStream for MyStream {}` is enough. The methods are optional optimizations.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Writes without waiting if it can; otherwise returns `WouldBlock`, and `poll_write` is
    /// called.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Reads without waiting if it can; otherwise returns `WouldBlock`, and `poll_read` is called.
    fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let _ = bytes;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whether the stream may be readable; if so, `poll_read` is called. If not, the task is woken
    /// when it may be.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Whether bytes, or the end of the stream, have arrived and were not read, as the system says
    /// now: the runtime may not have noticed yet. `None` if that cannot be told.
    fn has_input(&self) -> Option<bool> {
        None
    }

    /// The address of the peer, if this is a TCP socket. A CancelRequest is sent to this address
    /// even if the host's name resolves to another one by then. If the address is not known, the
    /// same endpoint is dialed again.
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

    #[cfg(unix)]
    fn has_input(&self) -> Option<bool> {
        Some(is_readable(&SockRef::from(self)))
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

/// Whether a socket that does not block has bytes to be read, or has ended or failed.
#[cfg(unix)]
pub(super) fn is_readable(socket: &socket2::Socket) -> bool {
    let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
    peeked.map_err(|error| error.kind()) != Err(io::ErrorKind::WouldBlock)
}

#[cfg(unix)]
impl ByteStream for UnixStream {
    fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        let tried = self.try_io(Interest::READABLE, || {
            read = (&*SockRef::from(&*self)).read(bytes)?;
            // A short read has emptied the socket's buffer: it is not readable any more, which
            // Tokio is told so.
            if 0 < read && read < bytes.len() {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        if read > 0 { Ok(read) } else { tried.map(|()| 0) }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        UnixStream::try_write(self, bytes)
    }

    fn has_input(&self) -> Option<bool> {
        Some(is_readable(&SockRef::from(self)))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }
}
