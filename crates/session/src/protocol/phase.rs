//! The four phases of a session's life.

use crate::protocol::startup::Startup;

/// ```text
///   Starting ──first ReadyForQuery──▶ Open ──close()──▶ Closing ──the link ends──▶ Closed
///      │                               │                                             ▲
///      └──────── an error, the link ends, a fatal message ───────────────────────────┘
/// ```
///
/// There is no way back: a new connection is a new session.
#[derive(Debug)]
pub(crate) enum Phase {
    /// From the first byte to the first ReadyForQuery.
    Starting(Box<Startup>),
    /// Requests are answered.
    Open,
    /// Terminate is on its way; whatever still arrives is ignored.
    Closing,
    /// Nothing is sent, nothing is received.
    Closed,
}
