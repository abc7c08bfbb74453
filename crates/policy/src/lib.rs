//! Decisions of txpostgres, as values. No socket, no clock: the caller carries them out.

mod attempt;
mod backoff;
mod death;
mod encryption;
mod hosts;
mod lifeline;
mod liveness;
mod openings;
mod pace;
#[cfg(unix)]
mod pollable;
mod role;
mod slots;
mod waiting;

pub use attempt::{
    Attempt, AttemptStep, CancelRoute, Fitness, LoginSettings, Nonce, too_slow, unreachable,
};
pub use backoff::SimpleBackoffIterator;
pub use death::is_death;
pub use encryption::{Approach, Approaches, Tls};
pub use hosts::{ATTEMPT_DELAY, AttemptId, HostStep, Hosts, LOGIN_DELAY, is_permanent};
pub use lifeline::{LifeState, Lifeline, Lost, PERMANENT_DELAY, RunId};
pub use liveness::{Liveness, LivenessSettings, LivenessStep, Observed, Probed, WaitsFor};
pub use openings::{Lack, MOST_SILENT, OpeningId, OpeningStep, Openings, SHORTEST_PAUSE, SILENCE};
pub use pace::{LONGEST_FLIGHT, Pace};
#[cfg(unix)]
pub use pollable::{PollState, Pollable};
pub use role::{RoleQuery, RoleVerdict};
pub use slots::{
    Check, Claim, Condition, GivenBack, Granted, Handed, Place, SlotCounts, SlotName, SlotSettings,
    Slots, Want,
};
pub use waiting::Waiting;
