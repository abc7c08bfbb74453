//! Decisions of txpostgres, as values. No socket, no clock: the caller carries them out.

mod encryption;

pub use encryption::{Approach, Approaches, Tls};
