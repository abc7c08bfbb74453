//! How the library comes to its lines.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Dial, DialFuture};

use super::Net;
use super::stream::Stream;

/// Dials lines of a network.
pub(crate) struct Dialer(pub(crate) Net);

impl Dial for Dialer {
    fn dial<'a>(&'a self, _: &'a Endpoint, _: &'a Config) -> DialFuture<'a> {
        Box::pin(poll_fn(|cx| {
            let mut state = self.0.0.lock();
            if state.holds {
                state.dialers.push(cx.waker().clone());
                return Poll::Pending;
            }
            if state.refusals > 0 {
                state.refusals -= 1;
                return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            drop(state);
            let net = self.0.clone();
            let line = net.connect();
            Poll::Ready(Ok(Box::new(Stream { net, line }) as Box<dyn ByteStream>))
        }))
    }
}
