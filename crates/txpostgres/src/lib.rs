//! Asynchronous PostgreSQL that survives, for Tokio.

mod call;
mod connection;
mod cursor;
mod dial;
mod interaction;
mod link;
mod opening;
mod params;
mod switchboard;
mod turnstile;
mod watcher;

pub use txpostgres_session::{
    Column, ColumnIndex, CommandTag, Delivery, Error, ErrorKind, Format, Result, ResultSet, Row,
    Rows, ServerError, SqlState, TransactionStatus, config, types,
};

pub use call::{RunOperation, RunQuery};
pub use config::{Config, IntoConfig};
pub use connection::{Builder, Connection, Interaction};
pub use cursor::Cursor;
pub use dial::{ByteStream, Dial, Dialing, Sockets};
pub use interaction::IsolationLevel;
pub use params::Params;
