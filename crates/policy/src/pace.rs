//! How many statements of a text may be in flight on one connection: learned from how long they
//! take.
//!
//! A statement that is sent behind others waits for them, even if another connection becomes free
//! meanwhile. That is worth it only if they are quick. So each text has an average, weighted by
//! time: how long, at a moment in which a connection works for this text, the statement takes that
//! it works for. One statement in a hundred that takes 50 ms among others of 0.1 ms is a hundredth
//! of the statements, but most of the time: the average is near 50 ms, and nothing is sent behind
//! such a text. A text that was never seen may take any time.

use std::time::Duration;

use crate::slots::Want;

/// Statements of one text that may be in flight together take this long on average: 4 ms. Shorter
/// than a caller notices, and longer than the turn of an executor in which some hundred tasks get
/// their answers, which is part of what is measured.
pub const LONGEST_FLIGHT: Duration = Duration::from_nanos(LONGEST_NANOS as u64);

const LONGEST_NANOS: u32 = 4_000_000;

/// The most statements in flight on a connection: beyond 32, the share of a system call and a
/// wake-up that each costs is negligible.
const DEEPEST: u32 = 32;

/// The time over which the average goes: 100 ms of work for the text.
const MEMORY: u64 = 100_000_000;

/// A statement that has taken at least this long counts as much as one that works this long: 100
/// µs. The round trip is measured now and then, and others may be shorter: statements that seem to
/// take no time count all the same, or a text that was slow once would be slow for ever.
const LEAST_WEIGHT: u32 = 100_000;

/// How many averages are kept: a power of two. Texts that fall on the same one share it.
const TEXTS: usize = 512;

/// See the module's text.
#[derive(Debug)]
pub struct Pace {
    /// Nanoseconds; 0 if no statement of the text has ended yet.
    averages: Box<[u32]>,
    /// The time of a round trip in which the server does nothing, the shortest that was seen.
    round_trip: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { averages: vec![0; TEXTS].into(), round_trip: Duration::MAX }
    }
}

impl Pace {
    /// How a statement of the text with this hash uses a connection.
    #[inline]
    pub fn want(&self, text: u64) -> Want {
        match self.averages.get(place(text)) {
            None | Some(0) => Want::Alone,
            Some(average) => match LONGEST_NANOS / *average {
                0 => Want::Slow,
                1 => Want::Alone,
                depth => Want::Shared { depth: depth.min(DEEPEST) },
            },
        }
    }

    /// A statement of this text has ended, for which its connection has worked this long.
    #[inline]
    pub fn note(&mut self, text: u64, worked: Duration) {
        // On the way a connection does not work, and can have other statements on the way as well.
        let on_the_way =
            if self.round_trip == Duration::MAX { Duration::ZERO } else { self.round_trip };
        let nanos = |time: Duration| u32::try_from(time.as_nanos()).unwrap_or(u32::MAX).max(1);
        let least = nanos(worked).min(LEAST_WEIGHT);
        let worked = nanos(worked.saturating_sub(on_the_way));
        let Some(average) = self.averages.get_mut(place(text)) else { return };
        if *average == 0 {
            *average = worked;
            return;
        }
        let (before, now) = (i64::from(*average), i64::from(worked));
        let weight = i64::try_from(u64::from(worked.max(least)).min(MEMORY)).unwrap_or(0);
        let memory = i64::try_from(MEMORY).unwrap_or(i64::MAX);
        // Rounded away from the old value, so that small differences count in the end.
        let step = (now - before) * weight / memory;
        let step = if step == 0 { (now - before).signum() } else { step };
        *average = u32::try_from(before + step).unwrap_or(u32::MAX).max(1);
    }

    /// A round trip in which the server did nothing has taken this long.
    pub fn round_trip(&mut self, took: Duration) {
        self.round_trip = self.round_trip.min(took);
    }
}

#[allow(clippy::cast_possible_truncation)] // The lowest bits are all that is wanted.
fn place(text: u64) -> usize {
    text as usize & (TEXTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u64 = 7;

    impl Pace {
        fn depth(&self, text: u64) -> u32 {
            match self.want(text) {
                Want::Shared { depth } => depth,
                Want::Alone => 1,
                Want::Slow => 0,
            }
        }
    }

    fn after(samples: impl IntoIterator<Item = u64>) -> Pace {
        let mut pace = Pace::default();
        for micros in samples {
            pace.note(TEXT, Duration::from_micros(micros));
        }
        pace
    }

    #[test]
    fn a_text_that_was_never_seen_is_alone() {
        assert_eq!(Pace::default().depth(TEXT), 1);
        assert_eq!(after([20]).depth(TEXT + 1), 1);
    }

    #[test]
    fn quick_statements_fly_together_and_slow_ones_alone() {
        assert_eq!(after([20; 10]).depth(TEXT), DEEPEST);
        assert_eq!(after([500; 10]).depth(TEXT), 8);
        assert_eq!(after([2_000; 10]).depth(TEXT), 2);
        assert_eq!(after([3_000; 10]).depth(TEXT), 1);
        assert_eq!(after([5_000; 10]).depth(TEXT), 0);
        assert_eq!(after([60_000_000; 10]).depth(TEXT), 0);
    }

    /// Of the statements in a flight, the first waits for a turn of the executor.
    #[test]
    fn a_turn_of_the_executor_does_not_separate_a_flight() {
        let flights = [800, 15, 15, 15, 15, 15, 15, 15].into_iter().cycle();
        assert!(after(flights.take(10_000)).depth(TEXT) >= 5);
    }

    #[test]
    fn one_slow_statement_in_a_hundred_keeps_the_text_alone() {
        let mut pace = Pace::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut alone = 0;
        for sample in 0..20_000 {
            let is_slow = rng.u32(..100) == 0;
            let micros = if is_slow { 50_000 } else { rng.u64(20..200) };
            pace.note(TEXT, Duration::from_micros(micros));
            alone += u32::from(sample >= 1_000 && pace.depth(TEXT) <= 1);
        }
        assert!(alone > 18_500, "{alone} of 19,000");
    }

    #[test]
    fn what_was_slow_once_is_forgiven() {
        let pace = after(std::iter::once(50_000).chain(std::iter::repeat_n(50, 20_000)));
        assert!(pace.depth(TEXT) > 4);
    }

    /// The round trip that was measured was a long one.
    #[test]
    fn what_was_slow_once_is_forgiven_by_statements_that_seem_to_take_no_time() {
        let mut pace = Pace::default();
        pace.round_trip(Duration::from_micros(250));
        pace.note(TEXT, Duration::from_millis(5));
        for _ in 0..4_000 {
            pace.note(TEXT, Duration::from_micros(200));
        }
        assert!(pace.depth(TEXT) > 4, "{}", pace.depth(TEXT));
    }

    /// Far away all the others are on the way only.
    #[test]
    fn one_slow_statement_in_a_hundred_is_not_forgiven_far_away() {
        let mut pace = Pace::default();
        pace.round_trip(Duration::from_millis(30));
        let mut alone = 0;
        for sample in 0..20_000 {
            let micros = if sample % 100 == 0 { 80_000 } else { 30_000 };
            pace.note(TEXT, Duration::from_micros(micros));
            alone += u32::from(pace.depth(TEXT) <= 1);
        }
        assert!(alone > 19_000, "{alone} of 20,000");
    }

    #[test]
    fn a_round_trip_is_no_work() {
        let mut pace = Pace::default();
        pace.round_trip(Duration::from_millis(30));
        pace.round_trip(Duration::from_millis(40));
        for _ in 0..10 {
            pace.note(TEXT, Duration::from_micros(30_100));
        }
        assert_eq!(pace.depth(TEXT), DEEPEST);
    }
}
