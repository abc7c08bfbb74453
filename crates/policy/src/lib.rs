//! Decisions of txpostgres, as values. No socket, no clock: the caller carries them out.

mod backoff;
mod encryption;
mod hosts;
mod role;

pub use backoff::SimpleBackoffIterator;
pub use encryption::{Approach, Approaches, Tls};
pub use hosts::{ATTEMPT_DELAY, AttemptId, HostStep, Hosts, is_permanent};
pub use role::{RoleQuery, RoleVerdict};
