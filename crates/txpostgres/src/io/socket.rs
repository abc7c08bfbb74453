//! A socket that wakes its task for readability only, as long as writes succeed.
//!
//! Tokio's own streams are woken for writability as well, and a socket becomes writable each time
//! the peer has read: one more turn of the event loop for each query. Here writability is
//! registered only after a write has found the socket's buffer full.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::runtime::Handle;

use super::ByteStream;
use super::stream::is_readable;

/// Registers a descriptor with the event loop.
// Deprecated because an arbitrary `AsRawFd` may close its descriptor while it is registered. Only
// types of the standard library are passed here, and they keep their descriptor open as long as
// they live, so the `unsafe` successor is not needed.
#[allow(deprecated)]
pub(crate) fn register<T: AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, interest)
}

/// Writes in a row without a full buffer after which writability is no longer registered.
const WRITES: u32 = 8;

/// A connected socket of the standard library that does not block.
pub(crate) struct Socket<S: AsRawFd> {
    stream: AsyncFd<S>,
    /// The runtime that the socket belongs to. The socket may be polled outside of it, when a
    /// future is dropped there.
    runtime: Handle,
    /// The same socket, registered for writability: while its buffer is full, and for [`WRITES`]
    /// writes afterwards.
    full: Option<AsyncFd<OwnedFd>>,
    /// Writes since the buffer was full.
    writes: u32,
}

impl<S> Socket<S>
where
    S: AsFd + AsRawFd + Send + Unpin,
    for<'a> &'a S: Read + Write,
{
    pub(crate) fn new(stream: S) -> io::Result<Self> {
        let stream = register(stream, Interest::READABLE)?;
        Ok(Self { stream, runtime: Handle::current(), full: None, writes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => {
                    self.has_room();
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the registration for writability after a while without a full buffer, and not at once:
    /// a socket whose buffer was full is likely to fill up again.
    fn has_room(&mut self) {
        if self.full.is_some() {
            self.writes += 1;
            if self.writes > WRITES {
                self.full = None;
            }
        }
    }

    /// Waits until the socket is writable.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes = 0;
        if self.full.is_none() {
            let same = self.stream.get_ref().as_fd().try_clone_to_owned()?;
            let _runtime = self.runtime.enter();
            self.full = Some(register(same, Interest::WRITABLE)?);
        }
        if let Some(full) = &self.full {
            // Readiness may be stale: the next write finds out, and then waits again.
            ready!(full.poll_write_ready(cx))?.clear_ready();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> AsyncRead for Socket<S>
where
    S: AsFd + AsRawFd + Send + Unpin,
    for<'a> &'a S: Read + Write,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.stream.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let size = room.len();
            match ready.try_io(|stream| stream.get_ref().read(room)) {
                Ok(Ok(count)) => {
                    // A short read has emptied the socket's buffer. New data makes the socket ready
                    // again.
                    if 0 < count && count < size {
                        ready.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl<S> AsyncWrite for Socket<S>
where
    S: AsFd + AsRawFd + Send + Unpin,
    for<'a> &'a S: Read + Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match this.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(this.poll_room(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.stream.get_ref()).shutdown(Shutdown::Write))
    }
}

impl<S> ByteStream for Socket<S>
where
    S: AsFd + AsRawFd + Send + Unpin,
    for<'a> &'a S: Read + Write,
{
    fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        let tried = self.stream.try_io(Interest::READABLE, |mut stream| {
            read = stream.read(bytes)?;
            // A short read has emptied the socket's buffer, as above.
            if 0 < read && read < bytes.len() {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        if read > 0 { Ok(read) } else { tried.map(|()| 0) }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_read_ready(cx).map(drop)
    }

    fn has_input(&self) -> Option<bool> {
        Some(is_readable(&SockRef::from(self.stream.get_ref())))
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        SockRef::from(self.stream.get_ref()).peer_addr().ok()?.as_socket()
    }
}
