//! When a pool opens a connection: how many at a time while its server accepts them, and how often
//! it asks a server that does not.
//!
//! ```text
//!   Well ──an attempt fails──▶ Troubled ──one succeeds──▶ Well
//!    several at a time          one at a time, with pauses
//!
//!   in both: beside attempts that no server has answered, others begin
//! ```
//!
//! A pool that is in trouble asks with one connection, whatever the number of callers that wait: so
//! the attempts of a service do not grow with its load. The pauses grow with the outage, to a
//! fiftieth of its duration: a server that was away for ten seconds is noticed 0.2 s after it is
//! back. While no caller waits they are longer.
//!
//! # The bound
//!
//! Attempts that fail are at least [`SHORTEST_PAUSE`] apart, so there are 20 a second at most.
//! Attempts that are not answered at all are at least [`SILENCE`] apart, so there are 8 a second at
//! most, and [`MOST_SILENT`] at a time. Attempts that succeed are bounded by the size of the pool.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// The shortest pause after an attempt that has failed: 50 ms. A restart of a server takes longer,
/// and a client that comes back 50 ms late has lost little.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause while callers wait: 2 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause after a refusal that does not pass by itself, such as a wrong password: 1 s. Callers
/// are told of it meanwhile, and need not wait.
const PERMANENT_PAUSE: Duration = Duration::from_secs(1);

/// By how much longer the pauses are while no caller waits, those after silence too.
const UNHURRIED: u32 = 4;

/// The part of an outage that a pause takes.
const PART: u32 = 50;

/// After this time without a byte from the server an attempt is not waited for alone: 125 ms. One
/// that a network has swallowed that is well again is never answered.
pub const SILENCE: Duration = Duration::from_millis(125);

/// An attempt that the server has answered is waited for alone for this time: 3 s. A login may take
/// long for its own reasons; but the network may also have begun to swallow everything meanwhile.
const ANSWERED: Duration = Duration::from_secs(3);

/// The most attempts at a time of which none is answered.
pub const MOST_SILENT: usize = 28;

/// The age at which an unanswered attempt is dropped in favour of a new one, if there are
/// [`MOST_SILENT`]: 3 s. By then another begins every 125 ms.
const ABANDONED: Duration = Duration::from_secs(3);

/// How many attempts run at a time to reach the least number of connections: 4.
const FILLING: usize = 4;

/// How many attempts run at a time for callers that wait: 2. By the time that they have succeeded,
/// most callers of a burst are served.
const GROWING: usize = 2;

/// The number of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpeningId(u64);

/// What must be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpeningStep {
    /// Begin this attempt. Then ask again.
    Open(OpeningId),
    /// Drop this attempt, which is not answered. Then ask again.
    Abandon(OpeningId),
    /// Nothing, until this time.
    WaitUntil(Instant),
    /// Nothing, until something happens.
    Rest,
}

/// What the pool lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lack {
    /// Connections below the least number.
    pub below_least: usize,
    /// Callers that wait for one, or share one for want of an idle one.
    pub wanted: usize,
    /// How many more there may be, attempts included.
    pub room: usize,
}

#[derive(Debug)]
struct Attempt {
    id: OpeningId,
    began: Instant,
    /// When a server has last sent its first bytes, or was left for the next one, or it began.
    since: Instant,
    /// It had been silent for too long when a server was heard.
    was_silent: bool,
    /// How many servers have sent something and were not left.
    heard: u32,
    /// One that began later has succeeded.
    is_overtaken: bool,
}

impl Attempt {
    fn is_silent(&self, now: Instant) -> bool {
        self.silent_from() <= now
    }

    fn silent_from(&self) -> Instant {
        self.since + if self.heard > 0 { ANSWERED } else { SILENCE }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Openings {
    running: Vec<Attempt>,
    /// When the present trouble began, and when it is asked again.
    trouble: Option<Trouble>,
    last_id: u64,
    last_began: Option<Instant>,
    rng: Rng,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    since: Instant,
    failed: Instant,
    is_permanent: bool,
}

impl Openings {
    /// Without attempts. The seed is that of the jitter of the pauses.
    pub fn new(seed: u64) -> Self {
        let rng = Rng::with_seed(seed);
        Self { running: Vec::new(), trouble: None, last_id: 0, last_began: None, rng }
    }

    /// How many attempts are running.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether the last attempt has failed.
    pub fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether the last attempt has failed for a reason that does not pass by itself, and no other
    /// has begun since: callers need not wait.
    pub fn is_refused(&self) -> bool {
        self.trouble.is_some_and(|trouble| trouble.is_permanent) && self.running.is_empty()
    }

    /// Says what must be done next.
    pub fn next(&mut self, now: Instant, lack: Lack) -> OpeningStep {
        let Lack { below_least, wanted, room } = lack;
        if let Some(at) = self.running.iter().position(|attempt| attempt.is_overtaken) {
            return OpeningStep::Abandon(self.running.remove(at).id);
        }
        let needed = below_least.max(wanted).min(room);
        if needed == 0 {
            return OpeningStep::Rest;
        }
        if let Some(trouble) = self.trouble {
            let until = trouble.failed + self.pause(trouble, wanted > 0);
            if self.running.is_empty() && until > now {
                return OpeningStep::WaitUntil(until);
            }
        }
        let silent = self.running.iter().filter(|attempt| attempt.is_silent(now)).count();
        let answering = self.running.len() - silent;
        let at_once = if self.trouble.is_some() {
            1
        } else if below_least > 0 {
            below_least.min(FILLING)
        } else {
            needed.min(GROWING)
        };
        if answering >= at_once || self.running.len() >= needed.max(silent + 1) {
            return self.until_silent(now);
        }
        if silent > 0 {
            // Some network swallows them: whatever the need, they are begun one after the other.
            let apart = if wanted > 0 { SILENCE } else { SILENCE * UNHURRIED };
            let next = self.last_began.map_or(now, |began| began + apart);
            if next > now {
                return OpeningStep::WaitUntil(next);
            }
            if silent >= MOST_SILENT
                && let Some(at) = self.running.iter().position(|attempt| attempt.is_silent(now))
                && let Some(oldest) = self.running.get(at)
            {
                if oldest.began + ABANDONED > now {
                    return OpeningStep::WaitUntil(oldest.began + ABANDONED);
                }
                return OpeningStep::Abandon(self.running.remove(at).id);
            }
        }
        self.last_id += 1;
        let id = OpeningId(self.last_id);
        let attempt = Attempt {
            id,
            began: now,
            since: now,
            was_silent: false,
            heard: 0,
            is_overtaken: false,
        };
        self.running.push(attempt);
        self.last_began = Some(now);
        OpeningStep::Open(id)
    }

    /// When the first of the running attempts will have been silent for too long.
    fn until_silent(&self, now: Instant) -> OpeningStep {
        let silences = self.running.iter().map(Attempt::silent_from);
        let next = silences.filter(|silence| *silence > now).min();
        next.map_or(OpeningStep::Rest, OpeningStep::WaitUntil)
    }

    /// A server has sent its first bytes in this attempt, which is waited for from now on.
    pub fn heard(&mut self, now: Instant, id: OpeningId) {
        if let Some(attempt) = self.running.iter_mut().find(|attempt| attempt.id == id) {
            if attempt.heard == 0 {
                attempt.was_silent = attempt.is_silent(now);
            }
            (attempt.since, attempt.heard) = (now, attempt.heard + 1);
        }
    }

    /// The attempt has left a server that it had [heard](Self::heard), for its role perhaps. It
    /// goes on with the other hosts, of which none may answer.
    pub fn left(&mut self, now: Instant, id: OpeningId) {
        if let Some(attempt) = self.running.iter_mut().find(|attempt| attempt.id == id) {
            attempt.heard = attempt.heard.saturating_sub(1);
            // The next host begins now, unless those before are what is waited for.
            attempt.since = if attempt.was_silent { attempt.began } else { now };
        }
    }

    /// An attempt has succeeded. Those that are silent and began long before it are dropped: the
    /// network is well, and has swallowed them.
    pub fn opened(&mut self, now: Instant, id: OpeningId) {
        let began = self.running.iter().find(|attempt| attempt.id == id).map(|it| it.began);
        for attempt in &mut self.running {
            attempt.is_overtaken |= attempt.is_silent(now)
                && began.is_some_and(|began| attempt.began + SILENCE <= began);
        }
        self.ended(id);
        self.trouble = None;
    }

    /// An attempt has failed. `is_permanent`: for a reason that does not pass by itself.
    pub fn failed(&mut self, now: Instant, id: OpeningId, is_permanent: bool) {
        self.ended(id);
        let since = self.trouble.map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble { since, failed: now, is_permanent });
    }

    /// An attempt was dropped.
    pub fn dropped(&mut self, id: OpeningId) {
        self.ended(id);
    }

    /// A connection was lost: the next attempt may begin as soon as the bound allows. Not at once,
    /// since a server that goes away ends connections one after the other.
    pub fn hurry(&mut self) {
        if let Some(trouble) = self.trouble.as_mut().filter(|trouble| !trouble.is_permanent) {
            trouble.since = trouble.failed;
        }
    }

    fn ended(&mut self, id: OpeningId) {
        self.running.retain(|attempt| attempt.id != id);
    }

    fn pause(&mut self, trouble: Trouble, is_hurried: bool) -> Duration {
        let outage = trouble.failed.duration_since(trouble.since);
        let pause = (outage / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let pause = if trouble.is_permanent { pause.max(PERMANENT_PAUSE) } else { pause };
        let pause = if is_hurried { pause } else { pause * UNHURRIED };
        // Longer by up to a quarter, so that pools that failed together do not come together. The
        // same for the same failure: it may be asked for several times.
        let seed = self.rng.get_seed();
        pause + pause.mul_f64(Rng::with_seed(seed ^ self.last_id).f64() / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn lack(below_least: usize, wanted: usize) -> Lack {
        Lack { below_least, wanted, room: 20 }
    }

    fn open(openings: &mut Openings, now: Instant, lack: Lack) -> Vec<OpeningId> {
        let mut opened = Vec::new();
        while let OpeningStep::Open(id) = openings.next(now, lack) {
            opened.push(id);
        }
        opened
    }

    #[test]
    fn a_burst_opens_two() {
        let (mut openings, now) = (Openings::new(1), Instant::now());
        assert_eq!(open(&mut openings, now, lack(0, 45)).len(), 2);
        let later = now + 60 * MS;
        assert_eq!(open(&mut openings, later, lack(0, 10)).len(), 0);
        assert_eq!(open(&mut openings, later, lack(0, 0)).len(), 0);
    }

    #[test]
    fn the_least_number_is_opened_together() {
        let (mut openings, now) = (Openings::new(1), Instant::now());
        assert_eq!(open(&mut openings, now, lack(3, 0)).len(), 3);
        assert_eq!(openings.next(now, lack(3, 0)), OpeningStep::WaitUntil(now + SILENCE));
    }

    #[test]
    fn a_pool_without_room_opens_none() {
        let (mut openings, now) = (Openings::new(1), Instant::now());
        let lack = Lack { below_least: 0, wanted: 9, room: 0 };
        assert_eq!(openings.next(now, lack), OpeningStep::Rest);
    }

    /// Whatever the number of callers, a server that refuses is asked 20 times a second at most,
    /// and the pauses grow to a fiftieth of the outage.
    #[test]
    fn a_server_that_refuses_is_asked_with_pauses() {
        let (mut openings, start) = (Openings::new(1), Instant::now());
        let (mut now, mut begun) = (start, Vec::new());
        while now < start + Duration::from_secs(1_000) {
            match openings.next(now, lack(3, 5_000)) {
                OpeningStep::Open(id) => {
                    begun.push(now - start);
                    openings.failed(now, id, false);
                }
                OpeningStep::WaitUntil(until) => now = until,
                step => panic!("{step:?}"),
            }
        }
        let within = |from: u64, to: u64| {
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            begun.iter().filter(|at| (from..to).contains(*at)).count()
        };
        assert!((16..=20).contains(&within(0, 1)), "{}", within(0, 1));
        assert!((3..=6).contains(&within(10, 11)), "{}", within(10, 11));
        assert!((40..=60).contains(&within(900, 1_000)), "{}", within(900, 1_000));
    }

    /// A server that shuts down refuses new connections while it still ends the old ones.
    #[test]
    fn connections_that_are_lost_one_after_the_other_do_not_raise_the_bound() {
        let (mut openings, start) = (Openings::new(1), Instant::now());
        let mut begun = 0;
        for ms in 0..1_000 {
            let now = start + ms * MS;
            openings.hurry();
            while let OpeningStep::Open(id) = openings.next(now, lack(3, 5)) {
                begun += 1;
                openings.failed(now, id, false);
            }
        }
        assert!((16..=20).contains(&begun), "{begun}");
    }

    #[test]
    fn a_loss_ends_a_long_pause() {
        let (mut openings, start) = (Openings::new(1), Instant::now());
        for seconds in [0, 500] {
            let now = start + Duration::from_secs(seconds);
            let [id] = open(&mut openings, now, lack(1, 0))[..] else { panic!() };
            openings.failed(now, id, false);
        }
        let later = start + Duration::from_secs(501);
        assert!(open(&mut openings, later, lack(1, 0)).is_empty());
        openings.hurry();
        assert_eq!(open(&mut openings, later, lack(1, 0)).len(), 1);
    }

    #[test]
    fn after_a_success_all_that_is_lacking_is_opened() {
        let (mut openings, now) = (Openings::new(1), Instant::now());
        for id in open(&mut openings, now, lack(3, 0)) {
            openings.failed(now, id, false);
        }
        let later = now + Duration::from_secs(1);
        let [id] = open(&mut openings, later, lack(3, 9))[..] else { panic!() };
        openings.opened(later, id);
        assert_eq!(open(&mut openings, later, lack(2, 9)).len(), 2);
    }

    #[test]
    fn a_refusal_that_does_not_pass_is_told_until_the_next_attempt() {
        let (mut openings, now) = (Openings::new(1), Instant::now());
        let id = open(&mut openings, now, lack(1, 0))[0];
        openings.failed(now, id, true);
        assert!(openings.is_refused());
        assert!(open(&mut openings, now + 900 * MS, lack(1, 1)).is_empty());
        assert_eq!(open(&mut openings, now + 1_300 * MS, lack(1, 1)).len(), 1);
        assert!(!openings.is_refused());
    }

    /// A login that takes long for its own reasons is waited for, and another one begins once in
    /// 3 s, since the network may have swallowed its end.
    #[test]
    fn an_attempt_that_is_answered_is_waited_for() {
        let (mut openings, start) = (Openings::new(1), Instant::now());
        for id in open(&mut openings, start, lack(3, 1)) {
            openings.heard(start, id);
        }
        let (mut now, mut begun) = (start, Vec::new());
        while now < start + 10_000 * MS {
            match openings.next(now, lack(3, 1)) {
                OpeningStep::Open(id) => {
                    begun.push(now - start);
                    openings.heard(now, id);
                }
                OpeningStep::WaitUntil(until) => now = until,
                step => panic!("{step:?}"),
            }
        }
        assert_eq!(begun.first(), Some(&ANSWERED));
        assert!(begun.len() <= 12, "{begun:?}");
    }

    /// A standby answers and is left, and the primary is silent: that is no answer.
    #[test]
    fn an_attempt_that_has_left_its_server_is_silent() {
        let (mut openings, now) = (Openings::new(1), Instant::now());
        let id = open(&mut openings, now, lack(1, 1))[0];
        openings.heard(now + 50 * MS, id);
        openings.left(now + 60 * MS, id);
        // The next host has as much time as the first.
        let until = now + 60 * MS + SILENCE;
        assert_eq!(openings.next(now + 60 * MS, lack(1, 1)), OpeningStep::WaitUntil(until));
        assert_eq!(open(&mut openings, until, lack(1, 1)).len(), 1);
    }

    /// The same after the primary was silent for long: it is what the attempt goes on to wait for.
    #[test]
    fn an_attempt_that_was_silent_before_its_server_was_left_is_silent() {
        let (mut openings, now) = (Openings::new(1), Instant::now());
        let id = open(&mut openings, now, lack(1, 1))[0];
        openings.heard(now + 250 * MS, id);
        assert_eq!(open(&mut openings, now + 260 * MS, lack(1, 1)).len(), 0);
        openings.left(now + 260 * MS, id);
        assert_eq!(open(&mut openings, now + 260 * MS, lack(1, 1)).len(), 1);
    }

    /// After a network has swallowed 20 attempts, the first that succeeds is followed by as many at
    /// once as are lacking, and not by one every 125 ms.
    #[test]
    fn attempts_that_were_swallowed_do_not_slow_down_those_that_are_answered() {
        let (mut openings, mut now) = (Openings::new(1), Instant::now());
        let mut last = None;
        while openings.running() < 20 {
            match openings.next(now, lack(3, 8)) {
                OpeningStep::Open(id) => last = Some(id),
                OpeningStep::WaitUntil(until) => now = until,
                step => panic!("{step:?}"),
            }
        }
        openings.opened(now + MS, last.unwrap());
        let (mut abandoned, mut begun) = (0, 0);
        loop {
            match openings.next(now + MS, lack(2, 7)) {
                OpeningStep::Open(_) => begun += 1,
                OpeningStep::Abandon(_) => abandoned += 1,
                _ => break,
            }
        }
        assert_eq!((abandoned, begun), (19, 2));
    }

    /// A caller that comes when the network is well again finds an attempt that began less than
    /// 200 ms before, whatever the time that it swallowed everything.
    #[test]
    fn beside_attempts_that_are_silent_others_begin() {
        let (mut openings, start) = (Openings::new(1), Instant::now());
        let (mut now, mut begun, mut most) = (start, vec![start], 0);
        while now < start + Duration::from_secs(100) {
            match openings.next(now, lack(3, 1)) {
                OpeningStep::Open(_) => begun.push(now),
                OpeningStep::Abandon(_) => {}
                OpeningStep::WaitUntil(until) => now = until,
                OpeningStep::Rest => panic!(),
            }
            most = most.max(openings.running());
        }
        let gaps: Vec<_> = begun.windows(2).map(|two| two[1] - two[0]).collect();
        let longest = gaps.iter().max().unwrap();
        assert!(*longest <= 200 * MS, "{longest:?}");
        assert!(begun.len() < 805, "{}", begun.len());
        assert!(most <= MOST_SILENT + 3, "{most}");
    }

    /// While no caller waits there are two a second, and a caller that comes need not wait for the
    /// next of them.
    #[test]
    fn silent_attempts_are_fewer_while_no_caller_waits() {
        let (mut openings, start) = (Openings::new(1), Instant::now());
        let (mut now, mut begun) = (start, 0);
        while now < start + Duration::from_secs(10) {
            match openings.next(now, lack(3, 0)) {
                OpeningStep::Open(_) => begun += 1,
                OpeningStep::WaitUntil(until) => now = until,
                step => panic!("{step:?}"),
            }
        }
        assert!((20..=24).contains(&begun), "{begun}");
        // The next one would begin now: the caller comes before that.
        let OpeningStep::Open(_) = openings.next(now, lack(3, 0)) else { panic!("none") };
        let comes = now + SILENCE;
        assert!(matches!(openings.next(comes, lack(3, 0)), OpeningStep::WaitUntil(_)));
        assert!(matches!(openings.next(comes, lack(3, 1)), OpeningStep::Open(_)));
    }
}
