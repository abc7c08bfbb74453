//! Moves bytes between a session and its socket, as many as go without waiting.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use bytes::BytesMut;
use socket2::Socket;
use txpostgres_session::{Error, ErrorKind, Session};

/// Bytes that are read at a time at first, and at most: 8 and 64 KiB.
const READ_BYTES: usize = 8 * 1024;
const MOST_READ_BYTES: usize = 64 * 1024;

/// Bytes that one poll reads at most, so that it takes no long time: 256 KiB. The descriptor is
/// readable still, and the event loop polls again.
const BYTES_A_POLL: usize = 256 * 1024;

/// A socket and its two buffers.
pub(crate) struct Transport {
    pub(crate) socket: Socket,
    outgoing: BytesMut,
    /// Bytes of `outgoing` that are written.
    written: usize,
    received: Vec<u8>,
    /// Why nothing can be written any more. What the server has said before it hung up explains
    /// more, so it is read first.
    broken: Option<io::Error>,
}

impl Transport {
    pub(crate) fn new(socket: Socket) -> Self {
        let received = vec![0; READ_BYTES];
        Self { socket, outgoing: BytesMut::new(), written: 0, received, broken: None }
    }

    pub(crate) fn fileno(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Writes what the session has to send. Returns whether all of it was written.
    pub(crate) fn send(&mut self, session: &mut Session) -> bool {
        while self.broken.is_none() {
            if self.written == self.outgoing.len() {
                self.outgoing.clear();
                self.written = 0;
                session.take_output(&mut self.outgoing);
                if self.outgoing.is_empty() {
                    break;
                }
            }
            let left = self.outgoing.get(self.written..).unwrap_or_default();
            match self.socket.write(left) {
                Ok(count) => {
                    self.written += count;
                    session.sent(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => self.broken = Some(error),
            }
        }
        true
    }

    /// Gives the session what has arrived. Returns whether anything did.
    pub(crate) fn receive(&mut self, session: &mut Session) -> bool {
        let mut taken = 0;
        while taken < BYTES_A_POLL && !session.is_closed() {
            let size = self.received.len();
            match self.socket.read(&mut self.received) {
                Ok(0) => {
                    session.receive_end();
                    return true;
                }
                Ok(count) => {
                    session.receive(self.received.get(..count).unwrap_or_default());
                    taken += count;
                    if count < size && self.broken.is_none() {
                        break;
                    }
                    if size < MOST_READ_BYTES {
                        self.received.resize(2 * size, 0);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Some(broken) = self.broken.take() else { break };
                    session.lost(lost(session, broken));
                    return true;
                }
                Err(error) => {
                    session.lost(lost(session, error));
                    return true;
                }
            }
        }
        taken > 0
    }

    /// Sends what goes at once, and says that nothing follows.
    pub(crate) fn say_goodbye(&mut self, session: &mut Session) {
        self.send(session);
        // The descriptor is closed next, which says the same.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

fn lost(session: &Session, error: io::Error) -> Error {
    let (kind, message) = if session.is_open() {
        (ErrorKind::Lost, "the connection to the server broke")
    } else {
        (ErrorKind::Connect, "the connection broke during the login")
    };
    Error::new(kind, message).with_source(error)
}
