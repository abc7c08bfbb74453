//! The life of a connection that is opened again after it was lost: what is done next, and when.

use std::time::{Duration, Instant};

/// The shortest delay after an error that repeats itself until a person mends its cause, such as a
/// wrong password: 10 s.
pub const PERMANENT_DELAY: Duration = Duration::from_secs(10);

/// The automaton of a connection that is reconnected.
///
/// ```text
///          lost           scheduled           due              opened              restored
///   Up ──────────▶ Down ────────────▶ Waiting ─────▶ Connecting ──────▶ Restoring ──────────▶ Up
///                  ▲ │                                   │                  │
///                  │ │ no delay is left: GivenUp         │ failed           │ lost
///                  └─┼───────────────────────────────────┴──────────────────┘
///                    ▼
///   Closed, GivenUp ── connected by the user ──▶ Up      closed by the user: any ──▶ Closed
///                   ── lost: a connect failed ─▶ Down
/// ```
///
/// So a connection that was lost is up again only after it was restored. A *run* is one outage,
/// from its `lost` to its end; what a run does after it is over has no effect.
#[derive(Debug)]
pub struct Lifeline {
    state: LifeState,
    run: RunId,
}

/// The state of a [`Lifeline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeState {
    /// Never opened, or closed by the user.
    Closed,
    /// There is a session that calls may use.
    Up,
    /// There is no session, and the next attempt is not scheduled yet.
    Down {
        /// How many attempts this run has made.
        attempts: u32,
        /// The last attempt failed for a reason that does not pass by itself.
        is_permanent: bool,
    },
    /// The next attempt is made at this time.
    Waiting {
        /// How many attempts this run has made.
        attempts: u32,
        /// When the next one is made.
        until: Instant,
    },
    /// An attempt is being made.
    Connecting {
        /// Its number, the first being 1.
        attempt: u32,
    },
    /// There is a new session, which is told what the last one was told.
    Restoring {
        /// The number of the attempt that has led to it.
        attempt: u32,
    },
    /// No further attempt is made.
    GivenUp,
}

/// The number of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunId(u64);

/// What a loss means for the lifeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// A run begins, which must be carried out.
    Begins(RunId),
    /// The run that goes on has lost the session that it was restoring.
    Continues,
    /// It is known already, or the user has closed the connection.
    Known,
}

impl Default for Lifeline {
    fn default() -> Self {
        Self { state: LifeState::Closed, run: RunId::default() }
    }
}

impl Lifeline {
    /// Of a connection that was never opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// The present state.
    pub fn state(&self) -> LifeState {
        self.state
    }

    /// Whether the connection was lost and is not up again.
    pub fn is_dead(&self) -> bool {
        !matches!(self.state, LifeState::Closed | LifeState::Up)
    }

    /// The user has opened the connection.
    pub fn connected(&mut self) {
        self.end_run();
        self.state = LifeState::Up;
    }

    /// The user has closed the connection.
    pub fn closed(&mut self) {
        self.end_run();
        self.state = LifeState::Closed;
    }

    /// The session was lost, or an attempt of the user to open the first one has failed.
    pub fn lost(&mut self) -> Lost {
        match self.state {
            LifeState::Up | LifeState::Closed | LifeState::GivenUp => {
                self.end_run();
                self.state = LifeState::Down { attempts: 0, is_permanent: false };
                Lost::Begins(self.run)
            }
            LifeState::Restoring { attempt } => {
                self.state = LifeState::Down { attempts: attempt, is_permanent: false };
                Lost::Continues
            }
            LifeState::Down { .. } | LifeState::Waiting { .. } | LifeState::Connecting { .. } => {
                Lost::Known
            }
        }
    }

    /// Schedules the next attempt of a connection that is down: after this delay, or at once if it
    /// is the first one and there is none. Without a delay no further attempt is made.
    pub fn schedule(&mut self, run: RunId, now: Instant, delay: Option<Duration>) {
        let LifeState::Down { attempts, is_permanent } = self.state else { return };
        if run != self.run {
            return;
        }
        let delay = match delay {
            Some(delay) if is_permanent => delay.max(PERMANENT_DELAY),
            Some(delay) => delay,
            None if attempts == 0 => Duration::ZERO,
            None => {
                self.state = LifeState::GivenUp;
                return;
            }
        };
        // A delay beyond the clock's range never ends.
        let until = now.checked_add(delay).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        self.state = LifeState::Waiting { attempts, until };
    }

    /// Begins the next attempt, if its time has come.
    pub fn begin_attempt(&mut self, run: RunId, now: Instant) -> bool {
        match self.state {
            LifeState::Waiting { attempts, until } if run == self.run && now >= until => {
                self.state = LifeState::Connecting { attempt: attempts.saturating_add(1) };
                true
            }
            _ => false,
        }
    }

    /// The attempt has failed. `is_permanent`: for a reason that does not pass by itself.
    pub fn failed(&mut self, run: RunId, is_permanent: bool) {
        if let LifeState::Connecting { attempt } = self.state
            && run == self.run
        {
            self.state = LifeState::Down { attempts: attempt, is_permanent };
        }
    }

    /// The attempt has led to a session.
    pub fn opened(&mut self, run: RunId) -> bool {
        match self.state {
            LifeState::Connecting { attempt } if run == self.run => {
                self.state = LifeState::Restoring { attempt };
                true
            }
            _ => false,
        }
    }

    /// The new session is restored. `false`: it was lost meanwhile, or the connection was closed.
    pub fn restored(&mut self) -> bool {
        let is_restoring = matches!(self.state, LifeState::Restoring { .. });
        if is_restoring {
            self.end_run();
            self.state = LifeState::Up;
        }
        is_restoring
    }

    /// The new session was over before it was restored. Its end may have come before it was known
    /// to be open, when it was told to no avail.
    pub fn not_restored(&mut self) {
        if let LifeState::Restoring { attempt } = self.state {
            self.state = LifeState::Down { attempts: attempt, is_permanent: false };
        }
    }

    /// The run cannot be carried out.
    pub fn give_up(&mut self, run: RunId) {
        if run == self.run && self.is_dead() {
            self.state = LifeState::GivenUp;
        }
    }

    /// Whether this run goes on.
    pub fn is_current(&self, run: RunId) -> bool {
        run == self.run
    }

    fn end_run(&mut self) {
        self.run = RunId(self.run.0 + 1);
    }
}

#[cfg(test)]
mod tests;
