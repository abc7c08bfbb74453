//! A socket that takes and gives a few bytes at a time, with a wake-up between any two helpings.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};
use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Dial, DialFuture, Sockets};

use crate::support::around::{Around, Wrapped};

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
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            let stream = Sockets.dial(endpoint, config).await?;
            let helping = vec![0; self.bytes];
            let trickling = Trickling { stream, helping, may_read: false, may_write: false };
            Ok(Box::new(Wrapped(trickling)) as Box<dyn ByteStream>)
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

impl Around for Trickling {
    fn inside(&mut self) -> Pin<&mut dyn ByteStream> {
        Pin::new(&mut *self.stream)
    }

    fn read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(pause(&mut self.may_read, cx));
        let mut helping = ReadBuf::new(&mut self.helping);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut helping))?;
        into.put_slice(helping.filled());
        self.may_read = false;
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(pause(&mut self.may_write, cx));
        let helping = bytes.get(..self.helping.len()).unwrap_or(bytes);
        let count = ready!(self.inside().poll_write(cx, helping))?;
        self.may_write = false;
        Poll::Ready(Ok(count))
    }
}
