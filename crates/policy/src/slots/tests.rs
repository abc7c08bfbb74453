//! Random callers of a pool: whatever they do, no connection is lost, given to two, or given out of
//! order.

use std::collections::HashMap;

use fastrand::Rng;

use super::*;

const STALL: Duration = Duration::from_millis(4);

const SETTINGS: SlotSettings =
    SlotSettings { stall: STALL, looked_at_after: Duration::MAX, proved_after: Duration::MAX };

type TestSlots = Slots<u32, u64>;

fn slots(size: u32, now: Instant) -> TestSlots {
    let mut slots = Slots::new(SETTINGS);
    for connection in 0..size {
        assert!(slots.put(now, connection, None).1.is_empty());
    }
    slots
}

fn give_back(slots: &mut TestSlots, now: Instant, claim: Claim) -> Handed<u32, u64> {
    let (given, _, handed) = slots.give_back(now, claim, Condition::Clean);
    assert!(matches!(given, GivenBack::Kept), "{given:?}");
    handed
}

#[test]
fn the_one_used_last_is_used_next() {
    let now = Instant::now();
    let mut slots = slots(3, now);
    let first = slots.claim(now, Want::Alone, None).unwrap();
    let second = slots.claim(now, Want::Alone, None).unwrap();
    let connection = first.connection;
    give_back(&mut slots, now, second.claim);
    give_back(&mut slots, now, first.claim);
    assert_eq!(slots.claim(now, Want::Alone, None).unwrap().connection, connection);
}

#[test]
fn a_connection_is_shared_only_when_none_is_idle() {
    let now = Instant::now();
    let mut slots = slots(2, now);
    let want = Want::Shared { depth: 2 };
    let granted: Vec<_> = (0..4).map(|_| slots.claim(now, want, None).unwrap()).collect();
    let connections: Vec<_> = granted.iter().map(|granted| granted.connection).collect();
    assert_eq!(connections[..2], [1, 0]);
    assert_ne!(connections[2], connections[3], "the one that the fewest share");
    assert!(slots.claim(now, want, None).is_none(), "two share each");
    assert!(slots.claim(now, Want::Alone, None).is_none());
    assert_eq!(slots.counts().shared, 2);
}

#[test]
fn nothing_is_sent_behind_a_statement_that_takes_long() {
    let now = Instant::now();
    let mut slots = slots(1, now);
    let want = Want::Shared { depth: 8 };
    let _slow = slots.claim(now, want, None).unwrap();
    assert!(slots.claim(now + STALL, want, None).is_some());
    assert!(slots.claim(now + STALL + STALL, want, None).is_none());
}

#[test]
fn a_caller_that_may_share_does_not_pass_one_that_may_not() {
    let now = Instant::now();
    let mut slots = slots(1, now);
    let shared = Want::Shared { depth: 8 };
    let [one, two] = [0; 2].map(|_| slots.claim(now, shared, None).unwrap().claim);
    slots.wait(Want::Alone, 1, None);
    assert!(slots.claim(now, shared, None).is_none());
    slots.wait(shared, 2, None);
    assert!(give_back(&mut slots, now, one).is_empty());
    let [(waiter, granted)] = give_back(&mut slots, now, two).try_into().unwrap();
    assert_eq!((waiter, slots.counts().taken), (1, 1));
    let [(waiter, _)] = give_back(&mut slots, now, granted.claim).try_into().unwrap();
    assert_eq!(waiter, 2);
}

#[test]
fn what_takes_long_leaves_a_connection_to_what_is_quick() {
    let now = Instant::now();
    let mut slots = slots(2, now);
    let shared = Want::Shared { depth: 8 };
    // Without quick ones it may have all.
    let [one, two] = [0; 2].map(|_| slots.claim(now, Want::Slow, None).unwrap().claim);
    assert!(slots.claim(now, shared, None).is_none());
    give_back(&mut slots, now, one);
    assert!(slots.claim(now, Want::Slow, None).is_none(), "a quick one has come");
    slots.wait(Want::Slow, 1, None);
    let quick = slots.claim(now, shared, None).unwrap();
    assert!(give_back(&mut slots, now, quick.claim).is_empty());
    assert_eq!(slots.next_turn(), Some(now + QUICK_MEMORY));
    // One that wants a connection alone is not held up by it.
    let alone = slots.claim(now, Want::Alone, None).unwrap();
    assert!(give_back(&mut slots, now, alone.claim).is_empty());
    let later = now + QUICK_MEMORY;
    let [(waiter, _)] = slots.serve(later).try_into().unwrap();
    assert_eq!(waiter, 1);
    assert_eq!(slots.next_turn(), None);
    give_back(&mut slots, later, two);
}

#[test]
fn a_caller_that_comes_again_keeps_its_place() {
    let now = Instant::now();
    let mut slots = slots(1, now);
    let granted = slots.claim(now, Want::Alone, None).unwrap();
    let place = slots.wait(Want::Alone, 1, None);
    slots.wait(Want::Alone, 2, None);
    let [(1, bad)] = &mut give_back(&mut slots, now, granted.claim)[..] else { panic!() };
    // It was handed a connection that turned out to be dead.
    slots.remove(bad.claim.slot());
    assert_eq!(slots.wait(Want::Alone, 1, Some(place)), place);
    let (_, handed) = slots.put(now, 7, None);
    assert_eq!(handed.iter().map(|(waiter, _)| *waiter).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_was_idle_for_long_is_checked_before_others_share_it() {
    let now = Instant::now();
    let mut slots = TestSlots::new(SlotSettings {
        looked_at_after: STALL * 2,
        proved_after: STALL * 4,
        ..SETTINGS
    });
    slots.put(now, 0, None);
    let shared = Want::Shared { depth: 8 };
    let soon = slots.claim(now + STALL, shared, None).unwrap();
    assert_eq!(soon.check, Check::No);
    give_back(&mut slots, now + STALL, soon.claim);
    let later = now + STALL * 3;
    let granted = slots.claim(later, shared, None).unwrap();
    assert_eq!((granted.check, granted.idle), (Check::Look, Some(STALL * 2)));
    assert!(slots.claim(later, shared, None).is_none());
    slots.wait(shared, 1, None);
    let [(waiter, other)] = slots.checked(later, &granted.claim).try_into().unwrap();
    assert_eq!(waiter, 1);
    assert_eq!(other.check, Check::No);
    give_back(&mut slots, later, other.claim);
    give_back(&mut slots, later, granted.claim);
    // Another was lost.
    slots.suspect(later);
    let granted = slots.claim(later + STALL / 2, shared, None).unwrap();
    assert_eq!(granted.check, Check::Prove);
    slots.checked(later, &granted.claim);
    give_back(&mut slots, later + STALL, granted.claim);
    assert_eq!(slots.claim(later + STALL * 5, shared, None).unwrap().check, Check::Prove);
}

#[test]
fn what_is_unclear_is_cleaned_before_it_is_used() {
    let now = Instant::now();
    let mut slots = slots(1, now);
    let shared = Want::Shared { depth: 8 };
    let [left, other] = [0; 2].map(|_| slots.claim(now, shared, None).unwrap().claim);
    let (given, ..) = slots.give_back(now, left, Condition::Unclear);
    assert!(matches!(given, GivenBack::Kept));
    assert!(slots.claim(now, shared, None).is_none(), "it drains");
    let (given, ..) = slots.give_back(now, other, Condition::Clean);
    let GivenBack::MustBeCleaned(name, _) = given else { panic!("{given:?}") };
    assert!(slots.claim(now, Want::Alone, None).is_none());
    assert!(slots.put_back(now, name).is_empty());
    assert!(slots.claim(now, Want::Alone, None).is_some());
}

#[test]
fn what_is_retired_in_use_goes_when_it_is_given_back() {
    let now = Instant::now();
    let mut slots = slots(3, now);
    let granted = slots.claim(now, Want::Alone, None).unwrap();
    let mut idle = slots.retire(|_| true);
    idle.sort_unstable();
    assert_eq!(idle, [0, 1]);
    let (given, ..) = slots.give_back(now, granted.claim, Condition::Clean);
    assert!(matches!(given, GivenBack::Retired(2)), "{given:?}");
    assert_eq!(slots.size(), 0);
}

#[test]
fn what_is_lost_in_use_is_gone() {
    let now = Instant::now();
    let mut slots = slots(1, now);
    let granted = slots.claim(now, Want::Alone, None).unwrap();
    assert_eq!(slots.remove(granted.claim.slot()), Some(0));
    let (given, ..) = slots.give_back(now, granted.claim, Condition::Clean);
    assert!(matches!(given, GivenBack::Gone));
    assert_eq!(slots.size(), 0);
}

#[test]
fn what_is_too_old_or_spare_expires() {
    let start = Instant::now();
    let minute = Duration::from_secs(60);
    let mut slots = TestSlots::new(SETTINGS);
    for connection in 0..5 {
        slots.put(start, connection, Some(start + minute * (connection + 10)));
    }
    let limit = Some(minute * 5);
    assert_eq!(slots.next_expiry(start, limit, 3), Some(start + minute * 5));
    assert_eq!(slots.expire(start + minute * 5, limit, 3, 9), [0, 1], "down to three");
    assert_eq!(slots.next_expiry(start, limit, 3), Some(start + minute * 12));
    assert_eq!(slots.expire(start + minute * 14, limit, 3, 2), [2, 3], "two at a time");
}

/// A pool that is always in use: what is too old goes when it is given back, one a second.
#[test]
fn connections_that_were_opened_together_do_not_go_together() {
    let start = Instant::now();
    let old = start + Duration::from_secs(60);
    let mut slots = TestSlots::new(SETTINGS);
    for connection in 0..3 {
        slots.put(start, connection, Some(old));
    }
    for (seconds, left) in [(0, 2), (1, 1), (2, 0)] {
        let now = old + Duration::from_secs(seconds);
        while let Some(granted) = slots.claim(now, Want::Alone, None) {
            let (given, ..) = slots.give_back(now, granted.claim, Condition::Clean);
            if !matches!(given, GivenBack::Retired(_)) {
                break;
            }
        }
        assert_eq!(slots.size(), left);
        assert!(slots.expire(now, None, 0, 9).is_empty(), "nor by the keeper");
        let next = slots.next_expiry(now, None, 0);
        assert_eq!(next, (left > 0).then_some(now + EXPIRY_PAUSE), "which comes when one may");
    }
}

#[test]
fn a_suspended_pool_hands_out_nothing() {
    let now = Instant::now();
    let mut slots = slots(2, now);
    let granted = slots.claim(now, Want::Alone, None).unwrap();
    slots.suspend(now, true);
    assert!(slots.claim(now, Want::Alone, None).is_none());
    slots.wait(Want::Alone, 1, None);
    assert!(give_back(&mut slots, now, granted.claim).is_empty());
    assert!(slots.is_at_rest());
    assert_eq!(slots.suspend(now, false).len(), 1);
}

/// What the callers of a random run know.
#[derive(Default)]
struct World {
    claims: Vec<Claim>,
    /// Their places, and whether their statements take long.
    waiting: Vec<(Place, u64, bool)>,
    last_waiter: u64,
    aside: Vec<SlotName>,
    /// How many use each slot, and whether one of them alone.
    users: HashMap<SlotName, (u32, bool)>,
}

impl World {
    fn got(&mut self, granted: Granted<u32>) {
        let alone = !granted.claim.is_shared;
        let users = self.users.entry(granted.claim.slot()).or_default();
        assert!(users.0 == 0 || !(alone || users.1), "two use what one has alone");
        *users = (users.0 + 1, alone);
        self.claims.push(granted.claim);
    }

    /// What is handed goes to the callers that came first.
    fn handed(&mut self, handed: Handed<u32, u64>) {
        for (waiter, granted) in handed {
            let is_it = |(_, other, _): &(Place, u64, bool)| *other == waiter;
            let at = self.waiting.iter().position(is_it).expect("one that waits");
            let (_, _, is_slow) = self.waiting[at];
            let before = self.waiting[..at].iter().filter(|(.., other)| *other == is_slow);
            assert_eq!(before.count(), 0, "order inversion");
            self.waiting.remove(at);
            self.got(granted);
        }
    }

    fn left(&mut self, claim: &Claim) {
        if let Some(users) = self.users.get_mut(&claim.slot()) {
            users.0 -= 1;
        }
    }
}

/// A million random deeds of callers, most of which give up waiting: no connection is lost or given
/// to two, none is given out of order, and none stays idle while a caller waits.
#[test]
fn no_connection_is_lost_doubled_or_given_out_of_order() {
    for seed in 0..10 {
        random_run(seed, 100_000);
    }
}

fn random_run(seed: u64, deeds: u32) {
    let mut rng = Rng::with_seed(seed);
    let mut now = Instant::now();
    let size = rng.u32(1..20);
    let mut slots = slots(size, now);
    let mut world = World::default();
    let random_want = |rng: &mut Rng| match rng.u32(..4) {
        0 => Want::Alone,
        1 => Want::Slow,
        _ => Want::Shared { depth: rng.u32(1..6) },
    };
    for _ in 0..deeds {
        now += Duration::from_micros(rng.u64(..1_000));
        match rng.u32(..10) {
            0..=3 => {
                let want = random_want(&mut rng);
                if let Some(granted) = slots.claim(now, want, None) {
                    world.got(granted);
                } else if world.waiting.len() < 1_000 {
                    world.last_waiter += 1;
                    let place = slots.wait(want, world.last_waiter, None);
                    world.waiting.push((place, world.last_waiter, want == Want::Slow));
                }
            }
            4..=6 if !world.claims.is_empty() => {
                let claim = world.claims.swap_remove(rng.usize(..world.claims.len()));
                world.left(&claim);
                let is_clean = rng.u32(..5) > 0;
                let condition = if is_clean { Condition::Clean } else { Condition::Unclear };
                let (given, _, handed) = slots.give_back(now, claim, condition);
                if let GivenBack::MustBeCleaned(name, _) = given {
                    world.aside.push(name);
                }
                world.handed(handed);
            }
            7 if !world.aside.is_empty() => {
                let name = world.aside.swap_remove(rng.usize(..world.aside.len()));
                let handed = slots.put_back(now, name);
                world.handed(handed);
            }
            8 if !world.waiting.is_empty() => {
                let (place, waiter, _) = world.waiting.remove(rng.usize(..world.waiting.len()));
                let (left, handed) = slots.leave(now, place);
                assert_eq!(left, Some(waiter));
                world.handed(handed);
            }
            _ if rng.u32(..50) == 0 => {
                // One is lost, and another comes.
                let names: Vec<_> = slots.connections().map(|(name, _)| name).collect();
                let name = names[rng.usize(..names.len())];
                slots.remove(name).unwrap();
                world.users.remove(&name);
                world.aside.retain(|aside| *aside != name);
                let (_, handed) = slots.put(now, 0, None);
                world.handed(handed);
            }
            _ => {}
        }
        let counts = slots.counts();
        assert_eq!(counts.size(), size as usize);
        assert_eq!(slots.waiting(), world.waiting.len());
        let has_other = world.waiting.iter().any(|(.., is_slow)| !is_slow);
        assert!(counts.idle == 0 || !has_other, "idle while a caller waits");
        assert!(counts.idle <= 1 || world.waiting.is_empty(), "more than one is kept free");
    }
    // All goes back: all are idle.
    now += QUICK_MEMORY;
    loop {
        let all: Vec<_> = slots.connections().map(|(name, _)| name).collect();
        for name in all {
            let handed = slots.put_back(now, name);
            world.handed(handed);
        }
        let Some(claim) = world.claims.pop() else { break };
        world.left(&claim);
        let (_, _, handed) = slots.give_back(now, claim, Condition::Clean);
        world.handed(handed);
    }
    assert!(world.waiting.is_empty() && slots.is_at_rest(), "seed {seed}");
}
