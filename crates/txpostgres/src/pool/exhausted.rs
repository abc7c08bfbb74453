//! Why a caller got no connection: what the pool has, what it waits for, who has it.

use std::fmt::Write as _;
use std::panic::Location;
use std::time::Instant;

use txpostgres_session::{Error, ErrorKind};

use super::shared::{Shared, now};
use super::wish::Wish;

/// The error of a caller that is told of an attempt that has failed for good.
pub(super) fn refused(failure: &Error) -> Error {
    failure.without_causes().with_hint(
        "the pool has no connection, and cannot open one for this reason; it tries again about once a second",
    )
}

impl Shared {
    /// A caller got no connection.
    pub(super) fn not_granted(&self, error: &Error) {
        if error.kind() == ErrorKind::Timeout {
            self.counters.timed_out();
            self.meters.timed_out();
        }
    }

    /// The error of a caller that got no connection within its time, or may not wait.
    pub(super) fn exhausted(&self, wish: &Wish) -> Error {
        let statistics = self.statistics();
        let (failure, is_refused, longest, is_own) = {
            let state = self.state.lock();
            let failure = state.last_failure.as_ref();
            let failure = failure.map(|(error, at)| (error.without_causes(), *at));
            let is_refused = state.openings.is_refused() && state.slots.size() == 0;
            let task = tokio::task::try_id();
            let mut longest: Option<(Instant, Option<&Location<'_>>)> = None;
            let mut is_own = false;
            for (member, _) in state.slots.taken() {
                let holder = member.holder.lock();
                let Some(holder) = &*holder else { continue };
                is_own |= task.is_some() && holder.task == task;
                if longest.is_none_or(|(since, _)| holder.since < since) {
                    longest = Some((holder.since, holder.place));
                }
            }
            (failure, is_refused, longest, is_own)
        };
        if let Some((failure, _)) = failure.as_ref().filter(|_| is_refused) {
            return refused(failure);
        }
        let now = now();
        let is_full = self.settings.max_waiting.is_some_and(|most| statistics.waiting >= most);
        let limit = wish.limit.unwrap_or(self.settings.acquire_timeout);
        let mut message = if is_full {
            format!("{} callers wait for a connection of the pool already", statistics.waiting)
        } else {
            format!("no connection of the pool was free within {limit:?}")
        };
        let in_use = statistics.taken + statistics.shared;
        let _ = write!(
            message,
            ": {} of at most {} are open, {in_use} in use, {} idle, {} being cleaned up; {} are being \
             opened; {} callers wait",
            statistics.size,
            statistics.max,
            statistics.idle,
            statistics.cleaning,
            statistics.connecting,
            statistics.waiting,
        );
        if let Some((since, place)) = longest {
            let held = now.saturating_duration_since(since);
            let _ = write!(message, "; one is held for {held:.1?}");
            if let Some(place) = place {
                let _ = write!(message, ", since {}:{}", place.file(), place.line());
            }
        }
        if let Some((_, at)) = &failure {
            let ago = now.saturating_duration_since(*at);
            let _ = write!(message, "; an attempt to open one failed {ago:.1?} ago");
        }
        let error = Error::new(ErrorKind::Timeout, message);
        let error = match failure {
            Some((failure, _)) => error.with_source(failure),
            None => error,
        };
        if is_own {
            error.with_hint(
                "this task holds a connection of the pool while it waits for another: use the one that it has, or give it back first",
            )
        } else if statistics.size < statistics.max {
            error.with_hint("see the source for why no more connections could be opened in time")
        } else {
            error.with_hint(
                "give connections back sooner, or raise max, or acquire_timeout if waiting longer is of use",
            )
        }
    }
}
