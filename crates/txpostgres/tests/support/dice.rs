//! Random numbers that can be thrown again: a failing test prints its seed, and `TXPOSTGRES_TEST_SEED` takes it back.

use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable with the seed to use.
const SEED_VARIABLE: &str = "TXPOSTGRES_TEST_SEED";

/// The seed of a test, printed if the test fails.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn of_this_run() -> Self {
        let given = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
        Self(given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        }))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to throw the same dice again: {SEED_VARIABLE}={}", self.0);
        }
    }
}

/// The generator called `SplitMix64`.
pub(crate) struct Dice(u64);

impl Dice {
    /// Two values give the seed, so that every task of every round can have dice of its own.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut this = Self(seed);
        this.0 = this.throw() ^ number;
        this.throw();
        this
    }

    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }

    /// What no other statement says.
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}", self.throw())
    }
}
