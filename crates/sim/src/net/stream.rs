//! The client's end of a line, as the library sees it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use txpostgres::ByteStream;

use super::Net;

/// See the file's text.
pub(super) struct Stream {
    pub(super) net: Net,
    pub(super) line: usize,
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// Whether something that may have to wait is done.
fn done(done: Option<io::Result<bool>>) -> Poll<io::Result<()>> {
    let is_done = done.unwrap_or_else(|| Err(gone()))?;
    if is_done { Poll::Ready(Ok(())) } else { Poll::Pending }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buffer.remaining();
        let read = self.net.with(self.line, |line, _| line.read(most, cx.waker()));
        let count = read.as_ref().map(|read| read.as_ref().map(|it| it.as_ref().map(Vec::len)));
        self.net.note(format_args!("read {}: {count:?}", self.line));
        match read.unwrap_or_else(|| Err(gone()))? {
            Some(bytes) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.net.write(self.line, bytes, Some(cx.waker()));
        self.net.note(format_args!("write {}: {written:?} of {}", self.line, bytes.len()));
        match written? {
            Some(count) => Poll::Ready(Ok(count)),
            None => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.net.with(self.line, |line, _| line.flush(cx.waker()));
        self.net.note(format_args!("flush {}: {flushed:?}", self.line));
        done(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.net.with(self.line, |line, _| line.shut(cx.waker()));
        done(shut)
    }
}

impl ByteStream for Stream {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let knows = self.net.with(self.line, |line, _| line.knobs.knows && !line.knobs.keeps_back);
        if knows != Some(true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = self.net.write(self.line, bytes, None);
        self.net.note(format_args!("try to write {}: {written:?} of {}", self.line, bytes.len()));
        written?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = self
            .net
            .with(self.line, |line, _| !line.knobs.knows || line.is_readable(cx.waker()))
            .unwrap_or(true);
        self.net.note(format_args!("is {} readable: {readable}", self.line));
        if readable { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.net.with(self.line, |line, _| line.drop_end());
    }
}
