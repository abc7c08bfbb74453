//! One PostgreSQL session without sockets, clocks or threads: what PostgreSQL dictates, and nothing
//! else.
//!
//! [`Session`] is the whole of it: bytes and requests go in, bytes and events come out. Drivers own
//! the sockets.

mod answer_limit;
pub mod auth;
mod cancel;
mod command;
pub mod config;
mod copy;
mod error;
mod event;
mod exchange;
mod failure;
mod gate;
pub mod limits;
mod loss;
mod notices;
mod notification;
mod params;
mod pipeline;
mod protocol;
mod quoting;
mod request;
mod result;
mod send_buffer;
mod session;
mod since_idle;
mod statement;
pub mod tls;
mod transaction_effect;
mod transaction_status;
pub mod value;

pub use postgres_types as types;

pub use auth::{DerivedKey, KeyCache, KeyDerivation, Login, NONCE_BYTES};
pub use cancel::{Cancel, CancelKey};
pub use copy::rows::{Accepts, CopyDecoder, CopyEncoder, CopyRow};
pub use copy::{CopyData, CopyLayout, Direction};
pub use error::attempts::FailedAttempt;
pub use error::server_error::ServerError;
pub use error::sqlstate::SqlState;
pub use error::{Delivery, EndedBy, Error, ErrorKind, Result};
pub use event::Event;
pub use notification::Notification;
pub use params::Params;
pub use protocol::startup::{Encryption, SessionConfig};
pub use quoting::{push_ident, quote_ident, quote_literal};
pub use request::encoded::EncodeBuffer;
pub use request::{ParameterSets, Parameters, Request, ResultFormats, Results, Ticket};
pub use result::answer::{Answer, CommandTag, ResultSet};
pub use result::column_reader::ColumnReader;
pub use result::row::{Column, ColumnIndex, Format, Row};
pub use result::rows::{Iter, OwnedRow, Rows};
pub use result::shape::{FromRow, IterAs, Scalar};
pub use session::Session;
pub use statement::Statement;
pub use statement::query::{EncodedQuery, Execute, NextStep, Plan, Query, Submitted};
pub use statement::text::is_query_or_change;
pub use tls::TlsSettings;
pub use transaction_effect::TransactionEffect;
pub use transaction_status::TransactionStatus;
