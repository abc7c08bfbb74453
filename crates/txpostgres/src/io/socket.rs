//! A socket that wakes only when there is something to read.
//!
//! Tokio's own streams are woken for room to write as well, and there is room anew each time the peer has read: one more turn
//! of the event loop for a query. Here the kernel is asked about room only once there was none.

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

/// Has the event loop tell of this descriptor.
// Deprecated because an `AsRawFd` of anybody's making may close its descriptor meanwhile. Those of the standard library, and
// only they come here, keep theirs open as long as they live; so its successor, which is `unsafe`, is not needed.
#[allow(deprecated)]
fn told_of<T: AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, interest)
}

/// So many writes in a row that found room end the telling of it.
const WRITES: u32 = 8;

/// A connected socket of the standard library that does not block.
pub(crate) struct Socket<S: AsRawFd> {
    stream: AsyncFd<S>,
    /// The runtime that the socket belongs to. It may be polled from outside of it, when a future is
    /// dropped there.
    runtime: Handle,
    /// The same socket, while it has no room, and for a while afterwards.
    full: Option<AsyncFd<OwnedFd>>,
    /// Writes since there was no room.
    writes: u32,
}

impl<S> Socket<S>
where
    S: AsFd + AsRawFd + Send + Unpin,
    for<'a> &'a S: Read + Write,
{
    pub(crate) fn new(stream: S) -> io::Result<Self> {
        let stream = told_of(stream, Interest::READABLE)?;
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

    /// Being told of room ends when there has been enough for a while: a socket that is full now and then will be again.
    fn has_room(&mut self) {
        if self.full.is_some() {
            self.writes += 1;
            if self.writes > WRITES {
                self.full = None;
            }
        }
    }

    /// Waits for room.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes = 0;
        if self.full.is_none() {
            let same = self.stream.get_ref().as_fd().try_clone_to_owned()?;
            let _runtime = self.runtime.enter();
            self.full = Some(told_of(same, Interest::WRITABLE)?);
        }
        if let Some(full) = &self.full {
            // There may be none after all: the next write finds out, and then waits for the next time.
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
                    // Less than there was room for: all that was there. What comes next is told anew.
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
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_read_ready(cx).map(drop)
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        SockRef::from(self.stream.get_ref()).peer_addr().ok()?.as_socket()
    }
}
