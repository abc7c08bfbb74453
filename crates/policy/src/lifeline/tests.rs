use fastrand::Rng;

use super::*;
use crate::SimpleBackoffIterator;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A lifeline that was lost, and its run.
fn lost() -> (Lifeline, RunId) {
    let mut lifeline = Lifeline::new();
    lifeline.connected();
    let Lost::Begins(run) = lifeline.lost() else { panic!("a loss begins a run") };
    (lifeline, run)
}

#[test]
fn an_outage_goes_its_way() {
    let (mut lifeline, run) = lost();
    let now = Instant::now();
    assert!(lifeline.is_dead());
    assert_eq!(lifeline.lost(), Lost::Known, "one loss is one run");
    lifeline.schedule(run, now, Some(Duration::ZERO));
    assert!(lifeline.begin_attempt(run, now));
    lifeline.failed(run, false);
    lifeline.schedule(run, now, Some(seconds(2)));
    assert!(!lifeline.begin_attempt(run, now + seconds(1)), "not before its time");
    assert!(lifeline.begin_attempt(run, now + seconds(2)));
    assert_eq!(lifeline.state(), LifeState::Connecting { attempt: 2 });
    assert!(lifeline.opened(run));
    assert!(lifeline.is_dead(), "not before it is restored");
    assert!(lifeline.restored());
    assert!(!lifeline.is_dead());
}

#[test]
fn a_session_that_is_lost_while_it_is_restored_goes_on_with_the_same_run() {
    let (mut lifeline, run) = lost();
    let now = Instant::now();
    lifeline.schedule(run, now, None);
    assert!(lifeline.begin_attempt(run, now), "without a delay there is one attempt, at once");
    assert!(lifeline.opened(run));
    assert_eq!(lifeline.lost(), Lost::Continues);
    assert!(!lifeline.restored(), "what was lost is not up");
    lifeline.schedule(run, now, None);
    assert_eq!(lifeline.state(), LifeState::GivenUp);
    assert!(matches!(lifeline.lost(), Lost::Begins(_)), "it may be tried again by hand");
}

/// The end of a session that is not known to be open yet is not forgotten.
#[test]
fn a_session_that_is_over_before_it_is_restored_is_opened_again() {
    let (mut lifeline, run) = lost();
    let now = Instant::now();
    lifeline.schedule(run, now, None);
    assert!(lifeline.begin_attempt(run, now));
    assert_eq!(lifeline.lost(), Lost::Known);
    assert!(lifeline.opened(run));
    lifeline.not_restored();
    assert_eq!(lifeline.state(), LifeState::Down { attempts: 1, is_permanent: false });
    assert!(lifeline.is_current(run));
    lifeline.closed();
    lifeline.not_restored();
    assert_eq!(lifeline.state(), LifeState::Closed);
}

#[test]
fn a_permanent_error_is_not_tried_again_in_a_hot_loop() {
    let (mut lifeline, run) = lost();
    let now = Instant::now();
    for attempt in 1..5 {
        lifeline.schedule(run, now, Some(Duration::ZERO));
        let at = if attempt == 1 { now } else { now + PERMANENT_DELAY };
        assert!(attempt == 1 || !lifeline.begin_attempt(run, now + seconds(9)));
        assert!(lifeline.begin_attempt(run, at));
        lifeline.failed(run, true);
    }
}

#[test]
fn a_run_that_is_over_has_no_effect() {
    let (mut lifeline, run) = lost();
    let now = Instant::now();
    lifeline.schedule(run, now, None);
    assert!(lifeline.begin_attempt(run, now));
    lifeline.closed();
    assert!(!lifeline.opened(run) && !lifeline.restored());
    let Lost::Begins(next) = lifeline.lost() else { panic!("a failed connect begins a run") };
    lifeline.schedule(run, now, Some(Duration::ZERO));
    assert_eq!(lifeline.state(), LifeState::Down { attempts: 0, is_permanent: false });
    assert!(lifeline.is_current(next) && !lifeline.is_current(run));
}

/// Whatever happens in whatever order: between a loss and the next time that the connection is up,
/// it was restored, or the user opened it.
#[test]
fn there_is_no_way_from_up_to_up_that_skips_restoring() {
    for seed in 0..2_000 {
        let mut rng = Rng::with_seed(seed);
        let mut lifeline = Lifeline::new();
        let mut runs = vec![RunId::default()];
        let mut now = Instant::now();
        let (mut was_restoring, mut is_lost) = (false, false);
        for _ in 0..200 {
            let run = runs[rng.usize(..runs.len())];
            let before = lifeline.state();
            let mut by_user = false;
            match rng.u8(..9) {
                0 => {
                    lifeline.connected();
                    by_user = true;
                }
                1 => {
                    lifeline.closed();
                    by_user = true;
                }
                2 => {
                    if let Lost::Begins(run) = lifeline.lost() {
                        runs.push(run);
                    }
                }
                3 => lifeline.schedule(run, now, rng.bool().then(|| seconds(rng.u64(..9)))),
                4 => drop(lifeline.begin_attempt(run, now)),
                5 => lifeline.failed(run, rng.bool()),
                6 => drop(lifeline.opened(run)),
                7 => drop(lifeline.restored()),
                _ => now += seconds(rng.u64(..9)),
            }
            let after = lifeline.state();
            if before == LifeState::Up && after != LifeState::Up {
                (is_lost, was_restoring) = (true, false);
            }
            was_restoring |= matches!(after, LifeState::Restoring { .. });
            if after == LifeState::Up && before != LifeState::Up {
                assert!(by_user || !is_lost || was_restoring, "seed {seed}: {before:?}");
                assert!(by_user || matches!(before, LifeState::Restoring { .. }), "seed {seed}");
                is_lost = false;
            }
            assert_eq!(lifeline.is_dead(), !matches!(after, LifeState::Up | LifeState::Closed));
        }
    }
}

/// A year of outages in virtual time, with the delays of the default: every one ends within the
/// longest delay after the server is back, and none makes attempts in a hot loop.
#[test]
fn a_year_of_outages() {
    const LONGEST: Duration = Duration::from_secs(10);
    let mut rng = Rng::with_seed(7);
    let (start, mut outages) = (Instant::now(), 0_u32);
    let mut now = start;
    let mut lifeline = Lifeline::new();
    lifeline.connected();
    while now < start + seconds(365 * 24 * 3600) {
        now += Duration::from_millis(rng.u64(1..7_200_000));
        let back = now + Duration::from_millis(rng.u64(..600_000) * rng.u64(..2));
        let Lost::Begins(run) = lifeline.lost() else { panic!("it was up") };
        let mut delays = SimpleBackoffIterator::new(rng.u64(..))
            .max_delay(LONGEST)
            .factor(1.7)
            .max_retries(None);
        let (began, mut attempts) = (now, 0_u32);
        while lifeline.is_dead() {
            lifeline.schedule(run, now, delays.next());
            let LifeState::Waiting { until, .. } = lifeline.state() else {
                panic!("these delays have no end")
            };
            now = until;
            assert!(lifeline.begin_attempt(run, now));
            attempts += 1;
            if now < back || rng.u8(..20) == 0 {
                lifeline.failed(run, false);
                continue;
            }
            assert!(lifeline.opened(run));
            if rng.u8(..20) == 0 {
                assert_eq!(lifeline.lost(), Lost::Continues);
            } else {
                assert!(lifeline.restored());
            }
        }
        assert!(now <= back + LONGEST * 8, "{:?} late", now - back);
        let most = 8 + (now - began).as_secs() / 4;
        assert!(u64::from(attempts) <= most, "{attempts} attempts in {:?}", now - began);
        outages += 1;
    }
    assert!(outages > 5_000, "{outages}");
}
