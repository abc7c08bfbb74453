//! One PostgreSQL session without sockets, clocks or threads: what PostgreSQL dictates, and nothing else.
//!
//! [`Session`] is the whole of it: bytes and requests go in, bytes and events come out. Drivers own the sockets.

mod answer;
pub mod auth;
mod cancel;
mod catalog;
pub mod config;
mod copy;
mod copy_rows;
mod encode;
mod error;
mod event;
mod exchange;
mod gate;
pub mod limits;
mod loss;
mod notification;
mod outbox;
mod owed;
mod phase;
mod pipeline;
mod place;
mod query;
mod quoting;
mod request;
mod row;
mod rows;
mod server_error;
mod session;
mod shape;
mod sqlstate;
mod startup;
mod statement;
pub mod tls;
mod transaction_status;
pub mod value;
mod wire;

pub use postgres_types as types;

pub use answer::{Answer, CommandTag, ResultSet};
pub use auth::{DerivedKey, KeyCache, KeyDerivation, Login};
pub use cancel::{Cancel, CancelKey};
pub use copy::{CopyData, CopyLayout, Direction};
pub use copy_rows::{Accepts, CopyDecoder, CopyEncoder, CopyRow};
pub use error::{Delivery, Error, ErrorKind, Interruption, Result};
pub use event::Event;
pub use notification::Notification;
pub use place::Place;
pub use query::{Query, Turn, Work};
pub use quoting::{push_ident, quote_ident, quote_literal};
pub use request::{ParameterSets, Parameters, Request, ResultFormats, Results, Ticket};
pub use row::{Column, ColumnIndex, Format, Row};
pub use rows::{Iter, OwnedRow, Rows};
pub use server_error::ServerError;
pub use session::Session;
pub use shape::{FromRow, IterAs, Scalar};
pub use sqlstate::SqlState;
pub use startup::{Encryption, Opening};
pub use statement::Statement;
pub use tls::TlsSettings;
pub use transaction_status::TransactionStatus;
