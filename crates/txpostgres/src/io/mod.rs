//! Bytes: streams to a server, how they are opened, and the transfer between a stream and a
//! session.

mod connect;
mod handshake;
#[cfg(unix)]
mod socket;
mod stream;

pub use connect::{Dial, DialFuture, ResolveFuture, Sockets};
pub(crate) use handshake::{receive_input, send_output};
#[cfg(unix)]
pub(crate) use socket::register;
pub use stream::ByteStream;
