//! Counting what goes through the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use txpostgres::config::Endpoint;
use txpostgres::{ByteStream, Config, Dial, DialFuture, Sockets};

/// How often bytes were handed to the socket.
#[derive(Default)]
pub(crate) struct Traffic {
    writes: AtomicU64,
}

/// What a stretch of the tour took.
pub(crate) struct Lap {
    pub(crate) time: Duration,
    pub(crate) writes: u64,
}

pub(crate) struct Running {
    began: Instant,
    writes: u64,
}

impl Lap {
    pub(crate) fn begin(traffic: &Traffic) -> Running {
        Running { began: Instant::now(), writes: traffic.writes.load(Ordering::Relaxed) }
    }
}

impl Running {
    pub(crate) fn end(self, traffic: &Traffic) -> Lap {
        let writes = traffic.writes.load(Ordering::Relaxed) - self.writes;
        Lap { time: self.began.elapsed(), writes }
    }
}

/// Makes sockets as usual, and counts what is written to them.
pub(crate) struct Counting(pub(crate) Arc<Traffic>);

impl Dial for Counting {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            let stream = Sockets.dial(endpoint, config).await?;
            let counted = Counted { stream, traffic: Arc::clone(&self.0) };
            Ok(Box::new(counted) as Box<dyn ByteStream>)
        })
    }
}

struct Counted {
    stream: Box<dyn ByteStream>,
    traffic: Arc<Traffic>,
}

impl ByteStream for Counted {}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.traffic.writes.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
