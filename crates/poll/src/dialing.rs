//! A socket from its first packet to the end of the login, or of a CancelRequest.
//!
//! ```text
//!              connected, and has room             it is agreed on whether to encrypt
//!   Knocking ─────── Write ───────▶ Talking ───────────────────────────────────────────▶ Knocking
//! ```
//!
//! So the first message, and that of the login if it is not the first, is sent when the descriptor
//! was said to be writable: libpq's `PQconnectPoll` returns `PGRES_POLLING_WRITING` there.

use std::os::fd::BorrowedFd;

use txpostgres_policy::{PollState, unreachable};
use txpostgres_session::config::{Config, Endpoint};
use txpostgres_session::{Result, Session};

use crate::socket;
use crate::transport::Transport;

/// See the module's text.
pub(crate) struct Dialing {
    transport: Transport,
    stage: Stage,
    is_reached: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was waited for yet.
    Knocking,
    /// The event loop was told to wait for room.
    Waiting,
    /// Bytes are moved.
    Talking,
}

impl Dialing {
    /// Begins to connect.
    pub(crate) fn begin(endpoint: &Endpoint, config: &Config) -> Result<Self> {
        let socket = socket::connect(endpoint, config);
        let socket = socket.map_err(|error| unreachable(endpoint, error))?;
        let transport = Transport::new(socket);
        Ok(Self { transport, stage: Stage::Knocking, is_reached: false })
    }

    /// Moves bytes until the session has events. `Some`: it must wait.
    pub(crate) fn exchange(
        &mut self,
        session: &mut Session,
        endpoint: &Endpoint,
    ) -> Result<Option<PollState>> {
        if self.stage != Stage::Talking {
            let connected = socket::is_connected(&self.transport.socket);
            let is_connected = connected.map_err(|error| unreachable(endpoint, error))?;
            self.is_reached |= is_connected;
            if !is_connected || self.stage == Stage::Knocking {
                self.stage = Stage::Waiting;
                return Ok(Some(PollState::Write));
            }
            self.stage = Stage::Talking;
        }
        let negotiated = session.is_negotiating_encryption();
        let asks = session.has_output();
        let waits_for = if !self.transport.send(session) {
            Some(PollState::Write)
        } else if session.has_events() {
            None
        } else if asks || !self.transport.receive(session) {
            // What was just asked is not answered yet.
            Some(PollState::Read)
        } else {
            None
        };
        if negotiated && !session.is_negotiating_encryption() {
            self.stage = Stage::Knocking;
        }
        Ok(waits_for)
    }

    /// Whether there is a connection to the server.
    pub(crate) fn is_reached(&self) -> bool {
        self.is_reached
    }

    pub(crate) fn fileno(&self) -> BorrowedFd<'_> {
        self.transport.fileno()
    }

    /// The socket, whose session is open.
    pub(crate) fn into_transport(self) -> Transport {
        self.transport
    }

    /// Sends what goes at once, if the conversation has begun.
    pub(crate) fn say_goodbye(mut self, session: &mut Session) {
        if self.stage == Stage::Talking {
            self.transport.say_goodbye(session);
        }
    }
}
