//! One side of a dialog, step by step, for a scripted server to play.

use std::io;
use std::time::Duration;

use crate::backend;
use crate::player::{CANCEL_REQUEST, SSL_REQUEST};
use crate::scripted_server::ScriptedServer;

/// How long a script may take unless it says otherwise.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// The steps of a scripted server on one connection, from its first byte to its last.
///
/// When the last step is done the connection is closed.
///
/// ```
/// use std::io::{Read, Write};
/// use txpostgres_testkit::{Script, backend};
///
/// let server = Script::new().expect(b"hello").send(backend::ready(b'I')).play()?;
/// let mut client = std::net::TcpStream::connect(server.address())?;
/// client.write_all(b"hello")?;
/// let mut answer = Vec::new();
/// client.read_to_end(&mut answer)?;
/// assert_eq!(answer, b"Z\0\0\0\x05I");
/// server.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) bound: Duration,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Expect(Vec<u8>),
    ExpectStartup,
    ExpectRequest(u32),
    ExpectMessage(u8),
    ExpectEnd,
    Send(Vec<u8>),
    SendSlowly(Vec<u8>, usize, Duration),
    Silence(Duration),
    Deafness(Duration),
    Close,
    Reset,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// A script without steps: the peer closes the connection at once.
    pub fn new() -> Self {
        Self { steps: Vec::new(), bound: BOUND }
    }

    /// Limits the time of the whole script; ten seconds by default.
    #[must_use]
    pub fn within(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// The client sends exactly these bytes next.
    #[must_use]
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        self.then(Step::Expect(bytes))
    }

    /// The client sends a `StartupMessage` of protocol 3. A request for encryption before it is
    /// answered `N`.
    #[must_use]
    pub fn expect_startup(self) -> Self {
        self.then(Step::ExpectStartup)
    }

    /// The client sends an `SSLRequest`; answer with `S`, `N` or any other bytes.
    #[must_use]
    pub fn expect_ssl_request(self) -> Self {
        self.then(Step::ExpectRequest(SSL_REQUEST))
    }

    /// The client sends a `CancelRequest`.
    #[must_use]
    pub fn expect_cancel_request(self) -> Self {
        self.then(Step::ExpectRequest(CANCEL_REQUEST))
    }

    /// The client sends one message with this tag and any contents.
    #[must_use]
    pub fn expect_message(self, tag: u8) -> Self {
        self.then(Step::ExpectMessage(tag))
    }

    /// The client sends one message for each of these tags: `expect_messages(b"PBDES")`.
    #[must_use]
    pub fn expect_messages(self, tags: impl AsRef<[u8]>) -> Self {
        tags.as_ref().iter().fold(self, |script, tag| script.expect_message(*tag))
    }

    /// The client closes the connection, without sending anything more.
    #[must_use]
    pub fn expect_end(self) -> Self {
        self.then(Step::ExpectEnd)
    }

    /// The client starts up, and is accepted without a password; see [`backend::welcome`].
    #[must_use]
    pub fn welcome(self) -> Self {
        self.expect_startup().send(backend::welcome())
    }

    /// Sends these bytes.
    #[must_use]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        self.then(Step::Send(bytes))
    }

    /// Sends these bytes in pieces of `chunk` bytes, with a pause before each.
    #[must_use]
    pub fn send_slowly(self, bytes: impl AsRef<[u8]>, chunk: usize, pause: Duration) -> Self {
        let bytes = bytes.as_ref().to_vec();
        self.then(Step::SendSlowly(bytes, chunk.max(1), pause))
    }

    /// Sends nothing for this time, and reads everything that arrives. Ends when the client closes
    /// the connection or the test finishes.
    #[must_use]
    pub fn silence(self, time: Duration) -> Self {
        self.then(Step::Silence(time))
    }

    /// Neither sends nor reads anything for this time, so that the client's socket fills. Ends when
    /// the test finishes.
    #[must_use]
    pub fn deafness(self, time: Duration) -> Self {
        self.then(Step::Deafness(time))
    }

    /// Closes the connection properly.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Resets the connection: the client gets "connection reset by peer". Over a Unix socket this
    /// is a close.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Plays it for the first connection to a free port of 127.0.0.1.
    pub fn play(self) -> io::Result<ScriptedServer> {
        ScriptedServer::tcp(vec![self])
    }

    /// Plays it for the first connection to a Unix socket, `.s.PGSQL.5432` in a new folder.
    pub fn play_unix(self) -> io::Result<ScriptedServer> {
        ScriptedServer::unix(vec![self])
    }
}
