//! What a caller wants of a pool.

use std::panic::Location;
use std::time::Duration;

/// How a caller wants a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) purpose: Purpose,
    /// Others may use the connection meanwhile, if the statement is quick.
    pub(super) shares: bool,
    /// How long it waits; `None`: as the pool says.
    pub(super) limit: Option<Duration>,
    /// Where in the program.
    pub(super) place: Option<&'static Location<'static>>,
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One statement that cannot change the state of the session; the hash of its text.
    Statement(u64),
    /// Anything.
    Anything,
}
