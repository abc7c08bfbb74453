//! Asynchronous PostgreSQL for any event loop: the session's own engine behind the contract of
//! libpq's asynchronous functions, and of psycopg2's asynchronous connections.
//!
//! No runtime, no thread, no executor: a [`Connection`] has a descriptor ([`fileno`]) and makes
//! progress when it is [polled]. Whatever can wait for a descriptor can drive it: `poll(2)`, mio,
//! calloop, GLib, the loop of a game, another language.
//!
//! ```
//! use rustix::event::{PollFd, PollFlags};
//! use txpostgres_poll::{Connection, PollState, Pollable, Result};
//!
//! /// Waits with `poll(2)` until it is done.
//! fn finish(pollable: &mut impl Pollable) -> Result<()> {
//!     loop {
//!         let events = match pollable.poll()? {
//!             PollState::Ok => return Ok(()),
//!             PollState::Read => PollFlags::IN,
//!             PollState::Write => PollFlags::OUT,
//!         };
//!         if let Some(fileno) = pollable.fileno() {
//!             // A signal may interrupt it: polling again does no harm.
//!             let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(fileno, events)], None);
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! # let server = txpostgres_testkit::shared().database().unwrap();
//! # let dsn = server.dsn();
//! let mut connection = Connection::connect_start(dsn)?;
//! finish(&mut connection)?;
//! connection.execute("select $1::int4 + 1", (41,))?;
//! finish(&mut connection)?;
//! let answer: i32 = connection.take_rows().first().unwrap().get(0)?;
//! assert_eq!(answer, 42);
//! # Ok(())
//! # }
//! ```
//!
//! # What it has, and what it leaves to others
//!
//! One statement at a time, its results as a whole, notifications, cancelling, TLS, every way to
//! log in, several hosts. What needs more than one session or a clock is left to the program:
//! time limits of statements (`statement_timeout` is the server's), reconnection, pools. The crate
//! `txpostgres`, for Tokio, has those.
//!
//! The [guide] says more.
//!
//! [`fileno`]: Connection::fileno
//! [polled]: Connection::poll

#![cfg(unix)]

mod cancel;
mod connection;
mod connector;
mod dialing;
mod open;
mod opening;
mod socket;
mod statement;
mod transport;

#[doc = include_str!("../guide/event_loops.md")]
pub mod guide {}

/// Types of PostgreSQL, and how values of Rust are written and read: the crate `postgres-types`.
pub mod types {
    pub use txpostgres_session::types::*;
}

pub use cancel::Cancel;
pub use connection::Connection;
pub use connector::Connector;
pub use txpostgres_policy::{PollState, Pollable};
pub use txpostgres_session::{
    Column, ColumnIndex, CommandTag, Delivery, EndedBy, Error, ErrorKind, Format, FromRow,
    Notification, OwnedRow, Params, Result, ResultSet, Row, Rows, ServerError, SqlState,
    TransactionStatus, config, quote_ident, quote_literal, value,
};

#[doc(no_inline)]
pub use config::{Config, IntoConfig};
