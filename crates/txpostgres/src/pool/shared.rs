//! What the clones of a pool share: its connections, the callers that wait, and its settings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use txpostgres_policy::{
    Check, Granted, Handed, LONGEST_FLIGHT, Lack, OpeningId, OpeningStep, Openings, Pace, Place,
    SlotSettings, Slots, Want,
};
use txpostgres_session::{Error, ErrorKind, KeyCache, Result};

use super::member::{Member, MemberId};
use super::meters::Meters;
use super::permit::Permit;
use super::settings::Settings;
use super::statistics::{Counters, PoolStatistics};
use super::waiter::{Told, Waiter};
use super::wish::{Purpose, Wish};

/// A connection that was idle for longer than this is looked at before it is handed out, which is
/// a system call: 1 ms. The runtime may not have noticed yet that the server has closed it.
const LOOKED_AT_AFTER: Duration = Duration::from_millis(1);

/// The time, by the clock of the runtime.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// See the module's text.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) state: Mutex<State>,
    pub(super) counters: Counters,
    pub(super) meters: Meters,
    /// Keys derived from passwords, which all connections use.
    pub(super) keys: KeyCache,
    /// Something has happened that the keeper must know.
    pub(super) news: Notify,
    /// Nothing is in use any more.
    pub(super) at_rest: Notify,
    this: Weak<Self>,
    runtime: OnceLock<Handle>,
    last_member: AtomicU64,
}

/// Whether the pool hands out connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was not used yet: no task keeps it.
    New,
    Open,
    Closed,
}

/// What changes.
pub(super) struct State {
    pub(super) slots: Slots<Arc<Member>, Arc<Waiter>>,
    pub(super) pace: Pace,
    pub(super) openings: Openings,
    /// The tasks of the attempts.
    pub(super) attempts: HashMap<OpeningId, AbortHandle>,
    pub(super) phase: Phase,
    /// How often the pool has moved on to another server.
    pub(super) generation: u64,
    pub(super) min: usize,
    pub(super) max: usize,
    /// A caller had to share a connection for want of an idle one.
    pub(super) is_crowded: bool,
    /// When openings must be looked at again.
    pub(super) next_opening: Option<Instant>,
    /// A task waits for the pool to be at rest.
    pub(super) is_watched: bool,
    /// Connections that a program has added, while their detectors open them again.
    pub(super) dead: Vec<Arc<Member>>,
    /// Why the last attempt to open a connection has failed, and when.
    pub(super) last_failure: Option<(Error, Instant)>,
}

/// A connection that was handed out.
pub(super) struct Lent {
    pub(super) permit: Permit,
    /// How it must be checked before it is used.
    pub(super) check: Check,
}

impl Lent {
    #[inline]
    fn new(shared: &Arc<Shared>, granted: Granted<Arc<Member>>) -> Self {
        let Granted { claim, connection, check, .. } = granted;
        Self { permit: Permit::new(shared, connection, claim), check }
    }
}

/// What a caller gets that may wait.
pub(super) enum Claimed {
    Lent(Lent),
    Queued(Arc<Waiter>, Place),
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Result<Arc<Self>> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| {
            Error::new(ErrorKind::Config, "could not obtain random bytes from the system")
                .with_source(error)
        })?;
        let state = State {
            slots: Slots::new(SlotSettings {
                stall: LONGEST_FLIGHT,
                // A hook is called each time.
                looked_at_after: match settings.before_acquire {
                    Some(_) => Duration::ZERO,
                    None => LOOKED_AT_AFTER,
                },
                proved_after: settings.proof_after,
            }),
            pace: Pace::default(),
            openings: Openings::new(u64::from_ne_bytes(seed)),
            attempts: HashMap::new(),
            phase: Phase::New,
            generation: 1,
            min: settings.min,
            max: settings.max.max(settings.min).max(1),
            is_crowded: false,
            next_opening: None,
            is_watched: false,
            dead: Vec::new(),
            last_failure: None,
        };
        Ok(Arc::new_cyclic(|this| Self {
            meters: Meters::new(&settings.name),
            runtime: settings.runtime.clone().map(OnceLock::from).unwrap_or_default(),
            settings,
            state: Mutex::new(state),
            counters: Counters::default(),
            keys: KeyCache::default(),
            news: Notify::new(),
            at_rest: Notify::new(),
            this: this.clone(),
            last_member: AtomicU64::new(0),
        }))
    }

    pub(super) fn this(&self) -> Weak<Self> {
        self.this.clone()
    }

    /// The runtime of the pool's own tasks: the one that was set, or that of the first caller.
    pub(super) fn runtime(&self) -> Option<&Handle> {
        if self.runtime.get().is_none()
            && let Ok(handle) = Handle::try_current()
        {
            // Another caller may have been first.
            let _ = self.runtime.set(handle);
        }
        self.runtime.get()
    }

    pub(super) fn next_member(&self) -> MemberId {
        MemberId(self.last_member.fetch_add(1, Ordering::Relaxed))
    }

    // --- Callers ---

    /// Claims a connection that is free.
    #[inline]
    pub(super) fn claim(self: &Arc<Self>, now: Instant, wish: &Wish) -> Option<Lent> {
        let (granted, must_grow) = {
            let mut state = self.state.lock();
            if state.phase != Phase::Open {
                return None;
            }
            let want = state.want(wish);
            let granted = state.slots.claim(now, want, None);
            let is_crowded = granted.as_ref().is_some_and(|granted| granted.idle.is_none());
            let has_room = state.slots.size() < state.max;
            state.is_crowded |= is_crowded && has_room;
            let must_grow = has_room && (is_crowded || self.settings.min_idle > 0);
            (granted, must_grow)
        };
        if must_grow {
            self.pump();
        }
        granted.map(|granted| Lent::new(self, granted))
    }

    /// Claims a connection, or queues the caller.
    pub(super) fn claim_or_wait(
        self: &Arc<Self>,
        now: Instant,
        wish: &Wish,
        place: Option<Place>,
    ) -> Result<Claimed> {
        self.begin()?;
        let mut state = self.state.lock();
        match state.phase {
            Phase::Closed => return Err(closed()),
            Phase::New | Phase::Open => {}
        }
        let want = state.want(wish);
        if let Some(granted) = state.slots.claim(now, want, place) {
            drop(state);
            return Ok(Claimed::Lent(Lent::new(self, granted)));
        }
        // Without a single connection, and none to be had: no caller waits for that.
        if state.slots.size() == 0 && state.openings.is_refused() && !state.slots.is_suspended() {
            drop(state);
            return Err(self.exhausted(wish));
        }
        let is_full = |most| state.slots.waiting() >= most;
        if place.is_none() && self.settings.max_waiting.is_some_and(is_full) {
            drop(state);
            return Err(self.exhausted(wish));
        }
        let waiter = Arc::<Waiter>::default();
        let place = state.slots.wait(want, Arc::clone(&waiter), place);
        let must_turn = state.slots.next_turn().is_some();
        drop(state);
        if must_turn {
            self.news.notify_one();
        }
        Ok(Claimed::Queued(waiter, place))
    }

    /// A caller does not wait any more.
    pub(super) fn leave(&self, place: Place) {
        let (left, handed) = self.state.lock().slots.leave(now(), place);
        self.hand(handed);
        drop(left);
    }

    /// Hands connections to callers in the queue.
    pub(super) fn hand(&self, handed: Handed<Arc<Member>, Arc<Waiter>>) {
        let Some(shared) = self.this.upgrade() else { return };
        for (waiter, granted) in handed {
            waiter.tell(Told::Lent(Lent::new(&shared, granted)));
        }
    }

    // --- Connections ---

    /// Opens what is lacking, as far as that may be now.
    pub(super) fn pump(&self) {
        loop {
            let now = now();
            let mut state = self.state.lock();
            if state.phase != Phase::Open {
                return;
            }
            let lack = state.lack(&self.settings);
            match state.openings.next(now, lack) {
                OpeningStep::Open(id) => {
                    let attempt = self.spawn(self.attempt(id));
                    match attempt {
                        Some(attempt) => drop(state.attempts.insert(id, attempt)),
                        None => state.openings.dropped(id),
                    }
                }
                OpeningStep::Abandon(id) => {
                    let attempt = state.attempts.remove(&id);
                    drop(state);
                    if let Some(attempt) = attempt {
                        attempt.abort();
                    }
                }
                step => {
                    let next = match step {
                        OpeningStep::WaitUntil(until) => Some(until),
                        _ => None,
                    };
                    let is_earlier = match (next, state.next_opening) {
                        (Some(next), Some(known)) => next < known,
                        (next, None) => next.is_some(),
                        (None, Some(_)) => false,
                    };
                    state.next_opening = next;
                    state.is_crowded = false;
                    drop(state);
                    if is_earlier {
                        self.news.notify_one();
                    }
                    return;
                }
            }
        }
    }

    /// Spawns a task of the pool.
    pub(super) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Option<AbortHandle> {
        self.runtime().map(|runtime| runtime.spawn(task).abort_handle())
    }

    /// A connection is dead, for this reason.
    pub(super) fn lost(&self, id: MemberId, error: &Error) {
        let member = self.remove(id);
        let moves_on = error.is_of_changed_role();
        let retired = {
            let now = now();
            let mut state = self.state.lock();
            state.slots.suspect(now);
            state.openings.hurry();
            let is_present = member.as_ref().is_some_and(|it| it.generation == state.generation);
            if moves_on && is_present {
                // The server is not the one that was asked for: nothing is kept on it.
                state.generation += 1;
                let generation = state.generation;
                state.slots.retire(|member| member.is_own && member.generation < generation)
            } else {
                Vec::new()
            }
        };
        if let Some(member) = member {
            self.counters.lost();
            tracing::debug!(target: "txpostgres", %error, "a connection of the pool was lost");
            drop(member);
        }
        self.retired(retired);
    }

    /// Removes a connection, whatever uses it.
    pub(super) fn remove(&self, id: MemberId) -> Option<Arc<Member>> {
        let (removed, is_at_rest) = {
            let mut state = self.state.lock();
            let slot = state.slots.connections().find(|(_, member)| member.id == id)?.0;
            (state.slots.remove(slot), state.is_watched && state.slots.is_at_rest())
        };
        if is_at_rest {
            self.at_rest.notify_waiters();
        }
        removed
    }

    /// Connections that were retired are closed, and replaced if need be.
    pub(super) fn retired(&self, members: Vec<Arc<Member>>) {
        for member in members {
            if member.is_own {
                self.counters.closed();
                self.spawn(async move { member.connection.close().await });
            }
        }
        self.pump();
    }

    /// Callers are refused from now on, and those that wait are told.
    pub(super) fn refuse(&self) {
        let waiters = {
            let mut state = self.state.lock();
            state.phase = Phase::Closed;
            state.slots.dismiss()
        };
        for waiter in waiters {
            waiter.tell(Told::Refused(closed()));
        }
    }

    /// Ends the pool: nothing is handed out any more, and callers that wait are told. Returns its
    /// connections.
    pub(super) fn shut(&self) -> Vec<Arc<Member>> {
        let (members, attempts, waiters) = {
            let mut state = self.state.lock();
            state.phase = Phase::Closed;
            let names: Vec<_> = state.slots.connections().map(|(name, _)| name).collect();
            let members = names.into_iter().filter_map(|name| state.slots.remove(name));
            let mut members: Vec<_> = members.collect();
            members.append(&mut state.dead);
            let attempts: Vec<_> = state.attempts.drain().collect();
            for (id, _) in &attempts {
                state.openings.dropped(*id);
            }
            (members, attempts, state.slots.dismiss())
        };
        for (_, attempt) in attempts {
            attempt.abort();
        }
        for waiter in waiters {
            waiter.tell(Told::Refused(closed()));
        }
        self.news.notify_one();
        members
    }

    /// The present numbers.
    pub(super) fn statistics(&self) -> PoolStatistics {
        let state = self.state.lock();
        let counts = state.slots.counts();
        let counted = self.counters.read();
        PoolStatistics {
            size: counts.size(),
            idle: counts.idle,
            taken: counts.taken,
            shared: counts.shared,
            cleaning: counts.aside,
            connecting: state.openings.running(),
            waiting: state.slots.waiting(),
            min: state.min,
            max: state.max,
            generation: state.generation,
            ..counted
        }
    }
}

impl State {
    /// How this caller wants to use a connection.
    #[inline]
    fn want(&self, wish: &Wish) -> Want {
        match (wish.purpose, wish.shares) {
            (Purpose::Anything, _) => Want::Alone,
            (Purpose::Statement(text), shares) => match self.pace.want(text) {
                Want::Shared { .. } if !shares => Want::Alone,
                want => want,
            },
        }
    }

    fn lack(&self, settings: &Settings) -> Lack {
        if self.slots.is_suspended() {
            return Lack::default();
        }
        let size = self.slots.size();
        let idle = if settings.min_idle > 0 { self.slots.counts().idle } else { 0 };
        let below_idle = settings.min_idle.saturating_sub(idle);
        Lack {
            below_least: self.min.saturating_sub(size).max(below_idle),
            wanted: self.slots.waiting().max(usize::from(self.is_crowded)),
            room: self.max.saturating_sub(size),
        }
    }
}

/// The error of a call on a pool that is closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the pool is closed").with_hint("start it again")
}

impl Shared {
    /// Begins to keep the pool, at its first use.
    pub(super) fn begin(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.phase != Phase::New {
            return Ok(());
        }
        state.phase = Phase::Open;
        drop(state);
        self.keep().inspect_err(|_| self.state.lock().phase = Phase::New)
    }

    /// How long until a connection that is opened now is too old: with a jitter of a tenth, so that
    /// those that were opened together do not go together.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        let mut byte = [0; 2];
        let _ = getrandom::fill(&mut byte);
        let part = f64::from(u16::from_ne_bytes(byte)) / f64::from(u16::MAX);
        self.settings.max_lifetime.map(|lifetime| lifetime.mul_f64(1.0 - part / 10.0))
    }
}
