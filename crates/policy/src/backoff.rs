//! How long to wait between the calls of something that is retried: delays that grow, with jitter.

use std::f64::consts::{E, TAU};
use std::iter::FusedIterator;
use std::mem;
use std::time::Duration;

use fastrand::Rng;

/// Delays between retries, which grow exponentially up to a limit.
///
/// ```text
///   now        max_retries: 10 delays in all                  max_delay
///    0 s    2.7 s    7.4 s    20 s    55 s    148 s    403 s    1,097 s    2,981 s    3,600 s
/// ```
///
/// The first delay is zero, which means at once; [`now(false)`](Self::now) leaves it out. The one
/// after it is `initial_delay * factor`, and each further one is `factor` times the one before, but
/// `max_delay` at most. Each is then drawn from a normal distribution around that value, so that
/// those who failed together do not come back together; jitter does not accumulate. A delay that
/// reaches `max_delay` is exactly that.
///
/// It is an iterator, and its settings return it:
///
/// ```
/// use std::time::Duration;
/// use txpostgres_policy::SimpleBackoffIterator;
///
/// let seed = 7;
/// let delays = SimpleBackoffIterator::new(seed)
///     .initial_delay(Duration::from_secs(10))
///     .max_delay(Duration::from_secs(90))
///     .factor(2.0)
///     .jitter(0.0)
///     .max_retries(5);
/// let seconds: Vec<u64> = delays.map(|delay| delay.as_secs()).collect();
/// assert_eq!(seconds, [0, 20, 40, 80, 90]);
/// ```
///
/// Whatever the settings, no delay is negative, and none overflows: there is no value that a
/// setting refuses.
///
/// It is not `Clone`, since a clone would draw the delays of its original: those who share settings
/// would come back together. Share a function that makes it.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[doc(alias("ExponentialBackoff", "ExponentialBuilder", "simpleBackoffIterator"))]
pub struct SimpleBackoffIterator {
    /// Whether the next delay is the zero at the beginning.
    now: bool,
    /// How many delays are left; `None` is no limit.
    left: Option<u32>,
    /// The last delay without its jitter, in seconds: finite, and not negative.
    mean: f64,
    longest: Duration,
    factor: f64,
    jitter: f64,
    rng: Rng,
}

impl SimpleBackoffIterator {
    /// With the default settings. The same seed gives the same delays.
    pub fn new(seed: u64) -> Self {
        Self {
            now: true,
            left: Some(10),
            mean: 1.0,
            longest: Duration::from_secs(3600),
            factor: E,
            jitter: 0.119_626_564_72,
            rng: Rng::with_seed(seed),
        }
    }

    /// Sets what the first delay that is not zero is computed from: that delay is this times
    /// [`factor`](Self::factor). 1 s by default; with zero, all delays are zero.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.mean = delay.as_secs_f64();
        self
    }

    /// Sets the longest delay, 3,600 s by default. `None` or zero: no limit, up to
    /// [`Duration::MAX`].
    pub fn max_delay(mut self, longest: impl Into<Option<Duration>>) -> Self {
        let longest = longest.into().filter(|longest| !longest.is_zero());
        self.longest = longest.unwrap_or(Duration::MAX);
        self
    }

    /// Sets what a delay is multiplied by to give the next: _e_ by default.
    ///
    /// With 1 all delays are the same; with less they become shorter, down to zero. The sign does
    /// not count. With NaN each delay is the longest.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how much the delays vary: the standard deviation of the normal distribution from which
    /// each is drawn, as a fraction of the delay. With 0 they do not vary.
    ///
    /// 0.11962656472 by default, as in Twisted's `ReconnectingClientFactory`. The sign does not
    /// count, neither of the jitter nor of what is drawn. With NaN each delay is the longest.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how many delays are left, with the zero of [`now`](Self::now): 10 by default. `None` or
    /// 0: no limit.
    ///
    /// A retrying call takes a delay before each call, the first included, so this is also the
    /// number of calls.
    #[doc(alias("max_times", "max_attempts"))]
    pub fn max_retries(mut self, limit: impl Into<Option<u32>>) -> Self {
        self.left = limit.into().filter(|limit| *limit != 0);
        self
    }

    /// Sets whether the first delay is zero, which means at once: `true` by default.
    pub fn now(mut self, now: bool) -> Self {
        self.now = now;
        self
    }

    /// Sets the seed of the jitter: the same seed gives the same delays.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Rng::with_seed(seed);
        self
    }

    /// The next delay of those that grow.
    fn grow(&mut self) -> Duration {
        // A delay has no sign.
        let mean = (self.mean * self.factor).abs();
        let drawn = (mean + mean * self.jitter * standard_normal(&mut self.rng)).abs();
        // What is too large is the longest delay, and so is NaN, which infinity times zero is as
        // well: of the two ends it is the one that cannot be a hot loop.
        self.mean = mean.min(self.longest.as_secs_f64());
        Duration::try_from_secs_f64(drawn).map_or(self.longest, |delay| delay.min(self.longest))
    }
}

impl Iterator for SimpleBackoffIterator {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        Some(if mem::take(&mut self.now) { Duration::ZERO } else { self.grow() })
    }
}

impl FusedIterator for SimpleBackoffIterator {}

/// A number drawn from the standard normal distribution, by the transform of Box and Muller. The
/// second number that it could give is not worth its place.
fn standard_normal(rng: &mut Rng) -> f64 {
    // Of 0 there is no logarithm, and `f64` gives 0 but never 1.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many seeds as a test that draws from them tries.
    const SEEDS: u64 = 10_000;

    fn seconds(delays: SimpleBackoffIterator) -> Vec<f64> {
        delays.map(|delay| delay.as_secs_f64()).collect()
    }

    // The tests of the original, by their names.

    #[test]
    fn simple() {
        for seed in 0..100 {
            let delays = seconds(SimpleBackoffIterator::new(seed));
            assert_eq!((delays.len(), delays[0]), (10, 0.0));
            assert!(delays[..9].is_sorted_by(|one, next| one < next), "{seed}: {delays:?}");
        }
    }

    #[test]
    fn max_delay() {
        for seed in 0..SEEDS {
            let mut delays = SimpleBackoffIterator::new(seed).max_delay(Duration::from_secs(2));
            assert_eq!(delays.nth(4), Some(Duration::from_secs(2)));
        }
    }

    #[test]
    fn not_now() {
        let mut delays = SimpleBackoffIterator::new(1).now(false);
        assert!(delays.next().unwrap() > Duration::from_secs(1));
        assert_eq!(delays.count(), 9);
    }

    #[test]
    fn max_retries() {
        let mut delays = SimpleBackoffIterator::new(1).max_retries(3);
        assert_eq!(delays.by_ref().count(), 3);
        assert_eq!(delays.next(), None);
    }

    #[test]
    fn no_max_retries() {
        for none in [None, Some(0)] {
            let delays = SimpleBackoffIterator::new(1);
            let mut delays = delays.max_retries(none).max_delay(Duration::from_secs(1));
            assert_eq!(delays.nth(100_000), Some(Duration::from_secs(1)));
        }
    }

    #[test]
    fn no_max_delay() {
        for none in [None, Some(Duration::ZERO)] {
            let delays = SimpleBackoffIterator::new(1).max_retries(None).max_delay(none);
            let delays: Vec<_> = delays.take(1000).collect();
            let (growing, longest) = delays.split_at(40);
            assert!(growing.is_sorted_by(|one, next| one < next), "{growing:?}");
            assert!(longest[10..].iter().all(|delay| *delay == Duration::MAX));
        }
    }

    #[test]
    fn precise() {
        let delays = SimpleBackoffIterator::new(1)
            .initial_delay(Duration::from_secs(10))
            .max_delay(Duration::from_secs(90))
            .factor(2.0)
            .jitter(0.0);
        assert_eq!(seconds(delays)[..6], [0.0, 20.0, 40.0, 80.0, 90.0, 90.0]);
    }

    #[test]
    fn simple_backoff_iterator_has_the_defaults_of_the_original() {
        let delays = seconds(SimpleBackoffIterator::new(1).jitter(0.0));
        let grown = (1..=9).map(|power| E.powi(power).min(3600.0));
        for (delay, wanted) in delays.iter().skip(1).zip(grown) {
            assert!((delay - wanted).abs() < 1e-6, "{delays:?}");
        }
    }

    #[test]
    fn a_seed_gives_its_delays_and_no_others() {
        let delays = |seed| seconds(SimpleBackoffIterator::new(seed));
        assert_eq!(delays(7), delays(7));
        assert_eq!(delays(7), seconds(SimpleBackoffIterator::new(8).seed(7)));
        assert_ne!(delays(7), delays(8));
    }

    /// Mean and standard deviation of each delay, and how many of its values are within one.
    #[test]
    fn jitter_is_normal_and_does_not_accumulate() {
        for place in [1, 2, 5] {
            let mean = E.powi(i32::try_from(place).unwrap());
            let drawn: Vec<f64> = (0..SEEDS)
                .map(|seed| SimpleBackoffIterator::new(seed).nth(place).unwrap())
                .map(|delay| (delay.as_secs_f64() / mean - 1.0) / 0.119_626_564_72)
                .collect();
            let share =
                |inside: fn(f64) -> f64| drawn.iter().copied().map(inside).sum::<f64>() / 10_000.0;
            let within = |bound| drawn.iter().filter(|z: &&f64| z.abs() < bound).count();
            assert!(share(|z| z).abs() < 0.04, "{place}");
            assert!((share(|z| z * z) - 1.0).abs() < 0.06, "{place}");
            assert!((6_627..7_027).contains(&within(1.0)), "{place}: {}", within(1.0));
            assert!((9_460..9_640).contains(&within(2.0)), "{place}: {}", within(2.0));
        }
    }

    /// With a factor of 1 the original's delays sink: each is drawn around the last, and after some
    /// thousands they are a hot loop.
    #[test]
    fn equal_delays_do_not_sink() {
        let delays = SimpleBackoffIterator::new(1).factor(1.0).max_retries(None);
        let shortest = delays.skip(1).take(100_000).min().unwrap();
        assert!(shortest > Duration::from_millis(300), "{shortest:?}");
    }

    /// A draw below zero counts without its sign: with this jitter there are some 370 among 1,000.
    #[test]
    fn draws_below_zero_are_turned_round() {
        let delays = SimpleBackoffIterator::new(1).factor(1.0).jitter(3.0).max_retries(1_001);
        let delays: Vec<_> = delays.skip(1).collect();
        assert!(delays.iter().all(|delay| *delay < Duration::from_secs(20)), "{delays:?}");
        assert!(delays.iter().all(|delay| !delay.is_zero()), "{delays:?}");
    }

    /// What grows is limited too: a small factor does not lead so far beyond the limit that every
    /// draw is cut off.
    #[test]
    fn small_factors_vary_at_the_limit() {
        let longest = Duration::from_secs(2);
        let delays = SimpleBackoffIterator::new(1).factor(1.1).max_delay(longest);
        let delays: Vec<_> = delays.max_retries(2_000).skip(1_000).collect();
        let shorter = delays.iter().filter(|delay| **delay < longest).count();
        assert!((150..300).contains(&shorter), "{shorter}");
    }

    #[test]
    fn no_setting_makes_a_delay_negative_or_too_long() {
        let numbers = [
            0.0,
            -0.0,
            0.1,
            1.0,
            -1.0,
            3.0,
            1e9,
            -1e9,
            f64::MIN_POSITIVE,
            f64::MAX,
            f64::MIN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
        let durations =
            [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX];
        let settings = durations.iter().flat_map(|initial| {
            let limits = [Duration::ZERO, Duration::from_nanos(1), Duration::new(7, 999_999_999)];
            limits.into_iter().flat_map(move |longest| {
                numbers.into_iter().flat_map(move |factor| {
                    numbers.into_iter().map(move |jitter| (*initial, longest, factor, jitter))
                })
            })
        });
        for (initial, longest, factor, jitter) in settings {
            let delays = SimpleBackoffIterator::new(factor.to_bits() ^ jitter.to_bits());
            let delays = delays
                .initial_delay(initial)
                .max_delay(longest)
                .factor(factor)
                .jitter(jitter)
                .max_retries(200);
            let limit = if longest.is_zero() { Duration::MAX } else { longest };
            let all: Vec<_> = delays.collect();
            assert_eq!(all.len(), 200);
            assert!(all.iter().all(|delay| *delay <= limit));
            if factor.is_nan() || jitter.is_nan() {
                assert!(all[1..].iter().all(|delay| *delay == limit), "{initial:?} {all:?}");
            }
        }
    }
}
