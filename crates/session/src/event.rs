//! Anything that comes out of a session.

use crate::auth::KeyDerivation;
use crate::copy::{CopyData, CopyLayout, Direction};
use crate::error::server_error::ServerError;
use crate::error::{Error, Result};
use crate::notification::Notification;
use crate::request::Ticket;
use crate::result::answer::Answer;
use crate::result::rows::Rows;
use crate::transaction_status::TransactionStatus;

/// What happened, in the order in which the server said it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Login needs a key derived from the password: run it where it may take a while, then call
    /// [`Session::supply_key`](crate::Session::supply_key).
    DeriveKey(Box<KeyDerivation>),
    /// The login has sent what is not well protected: one sentence for the log.
    Warning(String),
    /// The first ReadyForQuery: requests may be submitted.
    Opened,
    /// A request has its answer, which is final. Each ticket settles exactly once.
    Settled {
        /// Which request.
        ticket: Ticket,
        /// Its answer.
        outcome: Result<Box<Answer>>,
        /// The transaction status at its ReadyForQuery; the last one known if there was none.
        status: TransactionStatus,
    },
    /// Rows of a request that is streamed; they are not in its answer any more.
    Rows {
        /// Which request.
        ticket: Ticket,
        /// Those that came together.
        rows: Box<Rows>,
    },
    /// A COPY has begun: its data may be sent, or comes.
    CopyStarted {
        /// Which request.
        ticket: Ticket,
        /// From where to where.
        direction: Direction,
        /// The form of the data.
        layout: CopyLayout,
    },
    /// Data of a COPY to us, cut where it pleased the network.
    CopyData {
        /// Which request.
        ticket: Ticket,
        /// As it came.
        data: CopyData,
    },
    /// No transaction is open, and a LISTEN may not be in force any more: since the status was
    /// `Idle` the last time, a request had an UNLISTEN or a DISCARD ALL, or a LISTEN was rolled
    /// back. It comes before the request at whose end this is settles.
    ListensLost {
        /// The first request that was a cause; if it is the one that settles next, no other was.
        ticket: Ticket,
    },
    /// A NOTIFY arrived.
    Notification(Notification),
    /// A warning or a notice.
    Notice(ServerError),
    /// A parameter that the server reports has this value now.
    Parameter {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The session is over; no event follows. `None` if the user closed it.
    Closed(Option<Error>),
}
