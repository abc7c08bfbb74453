//! Who uses which connection of a pool: alone or shared with others, and who waits.
//!
//! ```text
//!   put ──▶ Idle ──alone──▶ Taken ────given back────┐
//!            │ ▲                                    ├─ clean ──▶ Idle
//!            │ └──────── clean ◀── Aside ◀──unclear─┤
//!            └─shared──▶ Shared(users) ──last back──┘
//!                         │     ▲
//!                         └─────┘ another shares, or one of several gives it back
//!
//!   lost, removed, or retired while idle: the slot is gone, whatever its state; retired while in
//!   use: gone when it is given back
//! ```
//!
//! Callers that find nothing queue in their order of arrival, and a connection that becomes free is
//! handed to the first of them, so that no later one takes it away. A caller that may share waits
//! behind one that wants a connection alone: otherwise that one would never find an idle one.
//!
//! Statements that are known to take long do not take the last connection while there are quick
//! ones, which would all wait for them. They queue by themselves: what waits for that reason holds
//! up nothing behind it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long after a quick statement others are expected: 1 s.
const QUICK_MEMORY: Duration = Duration::from_secs(1);

/// After connections were closed for their age, none is for that reason for 1 s: so those that were
/// opened together do not go together.
const EXPIRY_PAUSE: Duration = Duration::from_secs(1);

/// Names a slot. A slot that is gone has a name that no other gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName(u64);

/// The place of a caller in the queue. Lower ones came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u64);

/// How a caller wants to use a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing else uses it meanwhile.
    Alone,
    /// As `Alone`, for a statement that is known to take long: while there are quick ones, it
    /// leaves them a connection.
    Slow,
    /// An idle one, or else one that fewer than this many callers share.
    Shared {
        /// How many callers may share it, this one included. With 1 it is as good as alone.
        depth: u32,
    },
}

/// The use of a connection: a value that is spent by [`Slots::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that is not given back is lost to the pool"]
pub struct Claim {
    slot: SlotName,
    is_shared: bool,
    began: Instant,
}

impl Claim {
    /// The slot.
    pub fn slot(&self) -> SlotName {
        self.slot
    }

    /// When the use began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether others may use the connection meanwhile.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }
}

/// A connection that was claimed.
#[derive(Debug)]
pub struct Granted<C> {
    /// The use.
    pub claim: Claim,
    /// The connection.
    pub connection: C,
    /// How long it had been idle; `None` if it is shared with others already.
    pub idle: Option<Duration>,
    /// Unless it need not be checked, the caller says when it is [checked](Slots::checked).
    pub check: Check,
}

/// How a connection must be checked before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// It was used a moment ago, or others use it.
    No,
    /// It may be closed: whether its server has said so must be looked up.
    Look,
    /// It must prove that it is alive: it was idle for long, or another one was lost since it was
    /// used.
    Prove,
}

/// The state in which a connection is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It owes nothing and is in no transaction.
    Clean,
    /// That is not known, or not so.
    Unclear,
}

/// What has become of a connection that was given back.
#[derive(Debug)]
pub enum GivenBack<C> {
    /// Others use it, or can.
    Kept,
    /// It must be cleaned, and then be [put back](Slots::put_back) or [removed](Slots::remove).
    MustBeCleaned(SlotName, C),
    /// It was retired: it must be closed.
    Retired(C),
    /// Its slot was gone before.
    Gone,
}

/// Connections that were handed to callers in the queue: each caller must be told.
pub type Handed<C, W> = Vec<(W, Granted<C>)>;

/// How many connections are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotCounts {
    /// Used by nothing.
    pub idle: usize,
    /// Used by one caller alone.
    pub taken: usize,
    /// Used by callers that share.
    pub shared: usize,
    /// Being cleaned.
    pub aside: usize,
}

impl SlotCounts {
    /// All connections.
    pub fn size(&self) -> usize {
        self.idle + self.in_use() + self.aside
    }

    /// Those in use.
    pub fn in_use(&self) -> usize {
        self.taken + self.shared
    }
}

#[derive(Debug)]
struct Slot<C> {
    name: SlotName,
    connection: C,
    state: State,
    /// It is gone as soon as nothing uses it.
    is_retired: bool,
    /// The caller that has it checks it, and no other shares it.
    is_unchecked: bool,
    /// When it becomes too old.
    expires: Option<Instant>,
    /// Since when it is in its state; while it is shared, since when nothing was given back.
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Taken {
        is_slow: bool,
    },
    /// `drains`: what one of the users has left must be cleaned up when the last has gone.
    Shared {
        users: u32,
        drains: bool,
    },
    Aside,
}

#[derive(Debug)]
struct Waiter<W> {
    place: Place,
    want: Want,
    told: W,
}

/// The connections of a pool and the callers that wait for one: see the module's text. `C` is a
/// connection, `W` what tells a waiting caller.
#[derive(Debug)]
pub struct Slots<C, W> {
    all: Vec<Slot<C>>,
    /// The idle ones, the one used last at the end: it is the warmest, and is used next.
    idle: Vec<SlotName>,
    queue: VecDeque<Waiter<W>>,
    /// The callers whose statements take long.
    slow: VecDeque<Waiter<W>>,
    /// When a caller came last whose statement is quick.
    last_quick: Option<Instant>,
    /// When connections went last because they were too old.
    last_expiry: Option<Instant>,
    last_name: u64,
    last_place: u64,
    /// Nothing is handed out.
    is_suspended: bool,
    settings: SlotSettings,
    /// What was idle before that must be checked.
    suspected: Option<Instant>,
}

/// Settings of [`Slots`].
#[derive(Debug, Clone, Copy)]
pub struct SlotSettings {
    /// A connection that has given nothing back for this long is not shared by a further caller.
    pub stall: Duration,
    /// A connection that was idle for this long must be looked at before it is used.
    pub looked_at_after: Duration,
    /// A connection that was idle for this long must prove that it is alive before it is used.
    pub proved_after: Duration,
}

impl<C: Clone, W> Slots<C, W> {
    /// Without connections.
    pub fn new(settings: SlotSettings) -> Self {
        Self {
            all: Vec::new(),
            idle: Vec::new(),
            queue: VecDeque::new(),
            slow: VecDeque::new(),
            last_quick: None,
            last_expiry: None,
            last_name: 0,
            last_place: 0,
            is_suspended: false,
            settings,
            suspected: None,
        }
    }

    // --- Connections ---

    /// Adds a connection, which is used from now on. It retires when it `expires`.
    pub fn put(
        &mut self,
        now: Instant,
        connection: C,
        expires: Option<Instant>,
    ) -> (SlotName, Handed<C, W>) {
        self.last_name += 1;
        let name = SlotName(self.last_name);
        let state = State::Aside;
        let slot = Slot {
            name,
            connection,
            state,
            is_retired: false,
            is_unchecked: false,
            expires,
            since: now,
        };
        self.all.push(slot);
        (name, self.put_back(now, name))
    }

    /// A connection that was aside is clean, and is used again.
    pub fn put_back(&mut self, now: Instant, name: SlotName) -> Handed<C, W> {
        let Some(slot) = self.slot(name).filter(|slot| slot.state == State::Aside) else {
            return Vec::new();
        };
        (slot.state, slot.since) = (State::Idle, now);
        self.idle.push(name);
        self.serve(now)
    }

    /// Removes a connection, whatever uses it. Returns it, unless it was gone.
    pub fn remove(&mut self, name: SlotName) -> Option<C> {
        let at = self.all.iter().position(|slot| slot.name == name)?;
        self.idle.retain(|idle| *idle != name);
        Some(self.all.swap_remove(at).connection)
    }

    /// Sets an idle connection aside, for what the pool itself does with it. Returns it.
    pub fn set_aside(&mut self, now: Instant, name: SlotName) -> Option<C> {
        let slot = self.slot(name).filter(|slot| slot.state == State::Idle)?;
        (slot.state, slot.since) = (State::Aside, now);
        let connection = slot.connection.clone();
        self.idle.retain(|idle| *idle != name);
        Some(connection)
    }

    /// A connection was lost: what is idle now must be checked before it is used.
    pub fn suspect(&mut self, now: Instant) {
        self.suspected = Some(now);
    }

    /// The caller that has this connection has found it alive: others may share it.
    pub fn checked(&mut self, now: Instant, claim: &Claim) -> Handed<C, W> {
        match self.slot(claim.slot) {
            Some(slot) => slot.is_unchecked = false,
            None => return Vec::new(),
        }
        self.serve(now)
    }

    /// Retires the connections of which `is_old` says so. Returns those that nothing used, which
    /// must be closed; the others are gone when they are given back.
    pub fn retire(&mut self, mut is_old: impl FnMut(&C) -> bool) -> Vec<C> {
        for slot in &mut self.all {
            slot.is_retired |= is_old(&slot.connection);
        }
        self.remove_idle(|slot| slot.is_retired)
    }

    /// Removes what is too old, and what has been idle for longer than `idle_limit` while there are
    /// more than `least` connections. At most `most` in all. Returns them: they must be closed.
    pub fn expire(
        &mut self,
        now: Instant,
        idle_limit: Option<Duration>,
        least: usize,
        most: usize,
    ) -> Vec<C> {
        let mut spare = self.all.len().saturating_sub(least);
        let mut left = most;
        let (may_expire, mut has_expired) = (self.may_expire(now), false);
        let removed = self.remove_idle(|slot| {
            let is_expired = may_expire && slot.expires.is_some_and(|expires| expires <= now);
            let is_unused = spare > 0
                && idle_limit.is_some_and(|limit| now.duration_since(slot.since) >= limit);
            let goes = left > 0 && (is_expired || is_unused);
            if goes {
                left -= 1;
                spare = spare.saturating_sub(1);
                has_expired |= is_expired;
            }
            goes
        });
        if has_expired {
            self.last_expiry = Some(now);
        }
        removed
    }

    /// Whether connections may go because they are too old.
    fn may_expire(&self, now: Instant) -> bool {
        let last = self.last_expiry;
        last.is_none_or(|last| now.saturating_duration_since(last) >= EXPIRY_PAUSE)
    }

    /// When [`expire`](Self::expire) must be called next, unless connections are added before.
    pub fn next_expiry(
        &self,
        now: Instant,
        idle_limit: Option<Duration>,
        least: usize,
    ) -> Option<Instant> {
        let idle_limit = idle_limit.filter(|_| self.all.len() > least);
        let next = self.all.iter().filter_map(|slot| {
            let is_idle = slot.state == State::Idle;
            // What is in use may be idle from now on; if it is too old, it goes when it is given
            // back, or soon after.
            let since = if is_idle { slot.since } else { now };
            let earliest = if is_idle { slot.since } else { now + EXPIRY_PAUSE };
            let earliest =
                self.last_expiry.map_or(earliest, |last| earliest.max(last + EXPIRY_PAUSE));
            let expires = slot.expires.map(|expires| expires.max(earliest));
            expires.into_iter().chain(idle_limit.map(|limit| since + limit)).min()
        });
        next.min()
    }

    fn remove_idle(&mut self, mut goes: impl FnMut(&Slot<C>) -> bool) -> Vec<C> {
        let mut removed = Vec::new();
        // The one that was idle longest goes first.
        let mut at = 0;
        while let Some(name) = self.idle.get(at).copied() {
            let found = self.all.iter().position(|slot| slot.name == name);
            match found {
                Some(index) if self.all.get(index).is_some_and(&mut goes) => {
                    self.idle.remove(at);
                    removed.push(self.all.swap_remove(index).connection);
                }
                _ => at += 1,
            }
        }
        removed
    }

    /// The connections, with their names.
    pub fn connections(&self) -> impl Iterator<Item = (SlotName, &C)> {
        self.all.iter().map(|slot| (slot.name, &slot.connection))
    }

    /// The connections that one caller uses alone, and since when.
    pub fn taken(&self) -> impl Iterator<Item = (&C, Instant)> {
        let taken = self.all.iter().filter(|slot| matches!(slot.state, State::Taken { .. }));
        taken.map(|slot| (&slot.connection, slot.since))
    }

    /// How many connections are in which state.
    pub fn counts(&self) -> SlotCounts {
        let mut counts = SlotCounts::default();
        for slot in &self.all {
            *match slot.state {
                State::Idle => &mut counts.idle,
                State::Taken { .. } => &mut counts.taken,
                State::Shared { .. } => &mut counts.shared,
                State::Aside => &mut counts.aside,
            } += 1;
        }
        counts
    }

    /// How many connections there are.
    pub fn size(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing is in use, and nothing is being cleaned.
    pub fn is_at_rest(&self) -> bool {
        self.idle.len() == self.all.len()
    }

    // --- Callers ---

    /// Claims a connection. `None`: there is none for this caller, who may [wait](Self::wait).
    /// `place`: the one that the caller had in the queue.
    #[inline]
    pub fn claim(&mut self, now: Instant, want: Want, place: Option<Place>) -> Option<Granted<C>> {
        if let Want::Shared { .. } = want {
            self.last_quick = Some(now);
        }
        let comes_before = |first: Option<&Waiter<W>>| match first {
            None => true,
            Some(first) => place.is_some_and(|place| place < first.place),
        };
        // Slow ones that could be served were served.
        let is_first = comes_before(self.queue.front())
            && (want != Want::Slow || comes_before(self.slow.front()));
        if is_first { self.pick(now, want) } else { None }
    }

    /// Queues a caller, at its former `place` if it had one. Returns its place.
    pub fn wait(&mut self, want: Want, waiter: W, place: Option<Place>) -> Place {
        let place = place.unwrap_or_else(|| {
            self.last_place += 1;
            Place(self.last_place)
        });
        let queue = if want == Want::Slow { &mut self.slow } else { &mut self.queue };
        let at = queue.partition_point(|other| other.place < place);
        queue.insert(at, Waiter { place, want, told: waiter });
        place
    }

    /// Removes a caller that no longer waits. `None`: it does not wait, since a connection was
    /// handed to it. The callers behind it may go on.
    pub fn leave(&mut self, now: Instant, place: Place) -> (Option<W>, Handed<C, W>) {
        let left = [&mut self.queue, &mut self.slow].into_iter().find_map(|queue| {
            let found = queue.binary_search_by_key(&place, |waiter| waiter.place);
            queue.remove(found.ok()?)
        });
        match left {
            Some(left) => (Some(left.told), self.serve(now)),
            None => (None, Vec::new()),
        }
    }

    /// How many callers wait.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.slow.len()
    }

    /// Removes all callers that wait, in their order.
    pub fn dismiss(&mut self) -> Vec<W> {
        let mut all: Vec<_> = self.queue.drain(..).chain(self.slow.drain(..)).collect();
        all.sort_by_key(|waiter| waiter.place);
        all.into_iter().map(|waiter| waiter.told).collect()
    }

    /// When callers whose statements take long may have the last connection, if they wait for that:
    /// then [`serve`](Self::serve) must be called.
    pub fn next_turn(&self) -> Option<Instant> {
        let waits = !self.slow.is_empty() && !self.idle.is_empty() && !self.is_suspended;
        self.last_quick.filter(|_| waits).map(|quick| quick + QUICK_MEMORY)
    }

    /// From now on nothing is handed out, and every caller waits; or that ends.
    pub fn suspend(&mut self, now: Instant, is_suspended: bool) -> Handed<C, W> {
        self.is_suspended = is_suspended;
        self.serve(now)
    }

    /// Whether nothing is handed out.
    pub fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// Ends a use: the claim is spent. Returns also how long the connection has worked for it: not
    /// the time in which it worked for those that share it.
    #[inline]
    #[allow(clippy::needless_pass_by_value, reason = "a claim is spent once")]
    pub fn give_back(
        &mut self,
        now: Instant,
        claim: Claim,
        condition: Condition,
    ) -> (GivenBack<C>, Duration, Handed<C, W>) {
        let Claim { slot: name, is_shared, began } = claim;
        let Some(at) = self.all.iter().position(|slot| slot.name == name) else {
            return (GivenBack::Gone, now.duration_since(began), Vec::new());
        };
        let may_expire = self.may_expire(now);
        let Some(slot) = self.all.get_mut(at) else {
            return (GivenBack::Gone, now.duration_since(began), Vec::new());
        };
        let worked = now.duration_since(began.max(slot.since));
        slot.since = now;
        let is_unclear = match &mut slot.state {
            State::Shared { users, drains } if is_shared => {
                *users = users.saturating_sub(1);
                *drains |= condition == Condition::Unclear;
                if *users > 0 {
                    let handed = if *drains || slot.is_retired || self.queue.is_empty() {
                        Vec::new()
                    } else {
                        self.serve(now)
                    };
                    return (GivenBack::Kept, worked, handed);
                }
                *drains
            }
            State::Taken { .. } if !is_shared => condition == Condition::Unclear,
            // A claim is made with the state, and is spent once.
            _ => return (GivenBack::Gone, worked, Vec::new()),
        };
        if is_unclear && !slot.is_retired {
            slot.state = State::Aside;
            return (GivenBack::MustBeCleaned(name, slot.connection.clone()), worked, Vec::new());
        }
        let is_expired = may_expire && slot.expires.is_some_and(|expires| expires <= now);
        if slot.is_retired || is_expired {
            if is_expired {
                self.last_expiry = Some(now);
            }
            let connection = self.all.swap_remove(at).connection;
            return (GivenBack::Retired(connection), worked, Vec::new());
        }
        slot.state = State::Idle;
        self.idle.push(name);
        let has_waiters = !(self.queue.is_empty() && self.slow.is_empty());
        let handed = if has_waiters { self.serve(now) } else { Vec::new() };
        (GivenBack::Kept, worked, handed)
    }

    /// Hands connections to the callers that wait, in their order, as far as there are any.
    pub fn serve(&mut self, now: Instant) -> Handed<C, W> {
        let mut handed = Vec::new();
        while let Some(next) = self.serve_next(now) {
            handed.push(next);
        }
        handed
    }

    fn serve_next(&mut self, now: Instant) -> Option<(W, Granted<C>)> {
        let first = self.queue.front().map(|waiter| waiter.place);
        let slow = self.slow.front().map(|waiter| waiter.place);
        let slow_is_first = slow.is_some_and(|slow| first.is_none_or(|first| slow < first));
        for is_slow in [slow_is_first, !slow_is_first] {
            let queue = if is_slow { &self.slow } else { &self.queue };
            let Some(want) = queue.front().map(|waiter| waiter.want) else { continue };
            if let Some(granted) = self.pick(now, want) {
                let queue = if is_slow { &mut self.slow } else { &mut self.queue };
                return queue.pop_front().map(|waiter| (waiter.told, granted));
            }
        }
        None
    }

    /// The connection for a caller whose turn it is.
    #[inline]
    fn pick(&mut self, now: Instant, want: Want) -> Option<Granted<C>> {
        if self.is_suspended || (want == Want::Slow && !self.spares_a_slow_one(now)) {
            return None;
        }
        if let Some(name) = self.idle.pop() {
            return self.pick_idle(now, want, name);
        }
        match want {
            Want::Shared { depth } if depth > 1 => self.pick_shared(now, depth),
            _ => None,
        }
    }

    /// Whether a statement that takes long leaves a connection to quick ones, or there are none.
    #[cold]
    fn spares_a_slow_one(&self, now: Instant) -> bool {
        let is_slow = |slot: &&Slot<C>| slot.state == State::Taken { is_slow: true };
        let quick = self.last_quick;
        self.all.iter().filter(is_slow).count() + 1 < self.all.len()
            || quick.is_none_or(|quick| now.saturating_duration_since(quick) >= QUICK_MEMORY)
    }

    #[inline]
    fn pick_idle(&mut self, now: Instant, want: Want, name: SlotName) -> Option<Granted<C>> {
        let (suspected, settings) = (self.suspected, self.settings);
        let slot = self.slot(name)?;
        let since = std::mem::replace(&mut slot.since, now);
        let idle = now.saturating_duration_since(since);
        let is_suspect = suspected.is_some_and(|suspected| since <= suspected);
        let check = if is_suspect || idle >= settings.proved_after {
            Check::Prove
        } else if idle >= settings.looked_at_after {
            Check::Look
        } else {
            Check::No
        };
        slot.is_unchecked = check != Check::No;
        let is_shared = matches!(want, Want::Shared { .. });
        slot.state = match want {
            Want::Alone => State::Taken { is_slow: false },
            Want::Slow => State::Taken { is_slow: true },
            Want::Shared { .. } => State::Shared { users: 1, drains: false },
        };
        let claim = Claim { slot: name, is_shared, began: now };
        Some(Granted { claim, connection: slot.connection.clone(), idle: Some(idle), check })
    }

    /// The connection that the fewest share, of those that answer.
    fn pick_shared(&mut self, now: Instant, depth: u32) -> Option<Granted<C>> {
        let stall = self.settings.stall;
        let mut best: Option<(&mut Slot<C>, u32)> = None;
        for slot in &mut self.all {
            let State::Shared { users, drains: false } = slot.state else { continue };
            let fewest = best.as_ref().map_or(depth, |(_, fewest)| *fewest);
            let is_stalled = now.duration_since(slot.since) > stall;
            if users < fewest && !(slot.is_retired || slot.is_unchecked || is_stalled) {
                best = Some((slot, users));
            }
        }
        let (slot, users) = best?;
        slot.state = State::Shared { users: users + 1, drains: false };
        let claim = Claim { slot: slot.name, is_shared: true, began: now };
        let connection = slot.connection.clone();
        Some(Granted { claim, connection, idle: None, check: Check::No })
    }

    fn slot(&mut self, name: SlotName) -> Option<&mut Slot<C>> {
        self.all.iter_mut().find(|slot| slot.name == name)
    }
}

#[cfg(test)]
mod tests;
