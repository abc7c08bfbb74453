//! Runs: one seed, or seeds for a while.

use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::probe::Gauge;
use crate::target::{Cases, Outcome, Target};
use crate::watchdog;

/// What a run is given beside its seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Tells how much memory is allocated; it is not looked at without.
    pub gauge: Option<Gauge>,
    /// How long a case that fails is made smaller.
    pub shrink_for: Duration,
}

/// A finding, as it is printed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The check that failed, the case, and how to see it again.
    pub text: String,
}

/// The seeds of one target, one after another.
pub struct Seeds {
    target: Target,
    cases: Box<dyn Cases>,
    options: Options,
    coverage: Coverage,
    /// How many were run.
    pub seeds: u64,
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seeds").field("target", &self.target.name).finish_non_exhaustive()
    }
}

impl Seeds {
    /// Those of this target.
    pub fn new(target: Target, options: Options) -> Self {
        let cases = (target.cases)();
        Self { target, cases, options, coverage: Coverage::default(), seeds: 0 }
    }

    /// Runs one.
    ///
    /// # Errors
    ///
    /// What it finds.
    pub fn run(&mut self, seed: u64) -> Result<(), Report> {
        let Outcome { probe, finding } = self.once(seed);
        self.seeds += 1;
        self.coverage.add(&probe.coverage);
        let name = self.target.name;
        if let Some(finding) = finding {
            let text = format!(
                "{}\n{}\nfuzz: {name}: seed {seed}: {}\nfuzz: run it again with {name} --seed {seed}",
                "the smallest case that fails:", finding.case, finding.why
            );
            return Err(Report { text });
        }
        // Now and then a seed is run twice: everything must happen the same way.
        if seed.is_multiple_of(64) {
            let again = self.once(seed);
            let same = again.finding.is_none() && again.probe.coverage == probe.coverage;
            if !same {
                let text = format!("fuzz: {name}: seed {seed} does not happen the same way twice");
                return Err(Report { text });
            }
        }
        Ok(())
    }

    fn once(&self, seed: u64) -> Outcome {
        watchdog::begin(self.target.name, seed);
        let end = Instant::now() + self.options.shrink_for;
        let outcome = self.cases.run(seed, self.options.gauge, end);
        watchdog::end();
        outcome
    }

    /// What was reached in all of them, and how often.
    pub fn coverage(&self) -> String {
        self.coverage.to_string()
    }

    /// What was never reached, and must be.
    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = |what: &&str| self.coverage.get(what) == 0;
        self.target.expected.iter().copied().filter(is_missing).collect()
    }
}
