//! What txpostgres decides, as values. No socket, no clock: whoever asks does the deed.

mod encryption;

pub use encryption::{Approach, Approaches, Tls};
