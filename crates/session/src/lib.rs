//! One PostgreSQL session without sockets, clocks or threads.

pub mod auth;
pub mod config;
mod error;
pub mod limits;
mod server_error;
mod sqlstate;
pub mod tls;

pub use error::{Delivery, Error, ErrorKind, Result};
pub use server_error::ServerError;
pub use sqlstate::SqlState;
