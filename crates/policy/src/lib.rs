//! Decisions of txpostgres, as values. No socket, no clock: the caller carries them out.

mod backoff;
mod encryption;

pub use backoff::SimpleBackoffIterator;
pub use encryption::{Approach, Approaches, Tls};
