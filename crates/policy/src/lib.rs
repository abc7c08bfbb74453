//! Decisions of txpostgres, as values. No socket, no clock: the caller carries them out.

mod backoff;
mod death;
mod encryption;
mod hosts;
mod lifeline;
mod liveness;
mod role;

pub use backoff::SimpleBackoffIterator;
pub use death::is_death;
pub use encryption::{Approach, Approaches, Tls};
pub use hosts::{ATTEMPT_DELAY, AttemptId, HostStep, Hosts, LOGIN_DELAY, is_permanent};
pub use lifeline::{LifeState, Lifeline, Lost, PERMANENT_DELAY, RunId};
pub use liveness::{Liveness, LivenessSettings, LivenessStep, Observed, Probed, WaitsFor};
pub use role::{RoleQuery, RoleVerdict};
