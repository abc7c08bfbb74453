//! The connections of a pool and its callers under a model checker, which runs the threads of each
//! test in thousands of different orders: no connection is lost or given to two, no caller sleeps
//! on while there is one for it, and none is overtaken.
//!
//! The pool here does what the pool of a face does, in the same order: one lock around [`Slots`],
//! one around each [`Waiting`], and nothing else in common.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail so")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread::{self, Thread};
use txpostgres_policy::{
    Claim, Condition, GivenBack, Granted, Handed, Place, SlotSettings, Slots, Waiting, Want,
};

/// A caller that waits: what it is told is the use of a connection.
type Waiter = Arc<Mutex<Waiting<Permit, Thread>>>;

/// One moment: nothing here depends on time.
fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

struct Pool {
    slots: Mutex<Slots<Arc<Connection>, Waiter>>,
    /// Numbers the callers in the order in which they are served.
    served: AtomicU64,
    /// What callers do is drawn; otherwise they do the same in every run.
    is_random: bool,
}

/// Who uses a connection: `ALONE` or a number of callers.
#[derive(Default)]
struct Connection(AtomicU64);

const ALONE: u64 = 1 << 32;

/// The use of a connection, given back when it is dropped.
struct Permit {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    claim: Option<Claim>,
    users: u64,
}

impl Pool {
    fn new(connections: u32, is_random: bool) -> Arc<Self> {
        let settings = SlotSettings {
            stall: Duration::MAX,
            looked_at_after: Duration::MAX,
            proved_after: Duration::MAX,
        };
        let mut slots = Slots::new(settings);
        for _ in 0..connections {
            slots.put(now(), Arc::default(), None);
        }
        Arc::new(Self { slots: Mutex::new(slots), served: AtomicU64::new(0), is_random })
    }

    fn chance(&self, chance: f64) -> bool {
        self.is_random && thread_rng().gen_bool(chance)
    }

    fn permit(self: &Arc<Self>, granted: Granted<Arc<Connection>>) -> Permit {
        let users = if granted.claim.is_shared() { 1 } else { ALONE };
        let before = granted.connection.0.fetch_add(users, Ordering::SeqCst);
        assert!(before < ALONE && (users == 1 || before == 0), "two use what one has alone");
        let (pool, connection) = (Arc::clone(self), granted.connection);
        Permit { pool, connection, claim: Some(granted.claim), users }
    }

    fn hand(self: &Arc<Self>, handed: Handed<Arc<Connection>, Waiter>) {
        for (waiter, granted) in handed {
            let permit = self.permit(granted);
            let outcome = waiter.lock().unwrap().tell(permit);
            match outcome {
                Ok(Some(thread)) => thread.unpark(),
                Ok(None) => {}
                Err(permit) => drop(permit),
            }
        }
    }

    /// Gets a connection, or gives up after being woken `patience` times for nothing.
    fn get(self: &Arc<Self>, want: Want, patience: Option<u32>) -> Option<Permit> {
        let (waiter, place) = {
            let mut slots = self.slots.lock().unwrap();
            if let Some(granted) = slots.claim(now(), want, None) {
                drop(slots);
                return Some(self.permit(granted));
            }
            let waiter = Waiter::default();
            let place = slots.wait(want, Arc::clone(&waiter), None);
            (waiter, place)
        };
        let mut left = patience;
        loop {
            let (told, unused) = waiter.lock().unwrap().poll(thread::current());
            drop(unused);
            if told.is_some() {
                return told;
            }
            match &mut left {
                None => thread::park(),
                Some(0) => return self.leave(&waiter, place),
                Some(left) => {
                    *left -= 1;
                    thread::yield_now();
                }
            }
        }
    }

    /// Leaves the queue. A connection that was handed over meanwhile goes back, or is used.
    fn leave(self: &Arc<Self>, waiter: &Waiter, place: Place) -> Option<Permit> {
        let (_, handed) = self.slots.lock().unwrap().leave(now(), place);
        self.hand(handed);
        let (told, unused) = waiter.lock().unwrap().leave();
        drop(unused);
        told.filter(|_| self.chance(0.5))
    }

    fn assert_at_rest(&self, connections: usize) {
        let slots = self.slots.lock().unwrap();
        assert_eq!(slots.size(), connections);
        assert_eq!((slots.counts().idle, slots.waiting()), (connections, 0));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else { return };
        self.connection.0.fetch_sub(self.users, Ordering::SeqCst);
        let is_left = self.pool.chance(0.2);
        let condition = if is_left { Condition::Unclear } else { Condition::Clean };
        let (given, _, handed) = self.pool.slots.lock().unwrap().give_back(now(), claim, condition);
        self.pool.hand(handed);
        match given {
            GivenBack::Kept => {}
            GivenBack::MustBeCleaned(slot, _) => {
                let handed = self.pool.slots.lock().unwrap().put_back(now(), slot);
                self.pool.hand(handed);
            }
            GivenBack::Retired(_) | GivenBack::Gone => panic!("nothing was retired or removed"),
        }
    }
}

fn any_want() -> Want {
    match thread_rng().gen_range(0..4) {
        0 => Want::Alone,
        1 => Want::Slow,
        _ => Want::Shared { depth: 3 },
    }
}

/// Callers that want connections in all ways, some of which give up: all others are served, and
/// the pool is whole afterwards.
#[test]
fn no_connection_is_lost_and_no_caller_sleeps_on() {
    let run = || {
        let pool = Pool::new(2, true);
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    for _ in 0..2 {
                        let patience = thread_rng().gen_bool(0.4).then_some(2);
                        let permit = pool.get(any_want(), patience);
                        assert!(permit.is_some() || patience.is_some());
                        thread::yield_now();
                        drop(permit);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        pool.assert_at_rest(2);
    };
    shuttle::check_random(run, 3_000);
    // Few threads ahead of the others: finds what needs few switches at the wrong moment.
    shuttle::check_pct(run, 2_000, 3);
}

/// A hand-over to a caller that leaves at the same moment goes to the next one.
#[test]
fn what_is_handed_to_a_caller_that_leaves_goes_to_the_next() {
    let run = || {
        let pool = Pool::new(1, false);
        let held = pool.get(Want::Alone, None).unwrap();
        let leaves = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || drop(pool.get(Want::Alone, Some(1))))
        };
        let stays = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || drop(pool.get(Want::Alone, None).unwrap()))
        };
        drop(held);
        leaves.join().unwrap();
        stays.join().unwrap();
        pool.assert_at_rest(1);
    };
    shuttle::check_dfs(run, Some(20_000));
}

/// Callers that queue are served in that order, whatever the order in which threads run.
#[test]
fn no_caller_is_overtaken() {
    let run = || {
        let pool = Pool::new(1, true);
        let held = pool.get(Want::Alone, None).unwrap();
        let mut callers = Vec::new();
        for number in 0..4 {
            let pool_of_caller = Arc::clone(&pool);
            callers.push(thread::spawn(move || {
                let _permit = pool_of_caller.get(Want::Alone, None).unwrap();
                let served = pool_of_caller.served.fetch_add(1, Ordering::SeqCst);
                assert_eq!(served, number, "overtaken");
            }));
            // The next one comes when this one has queued.
            while pool.slots.lock().unwrap().waiting() <= usize::try_from(number).unwrap() {
                thread::yield_now();
            }
        }
        drop(held);
        for caller in callers {
            caller.join().unwrap();
        }
        pool.assert_at_rest(1);
    };
    shuttle::check_random(run, 2_000);
}
