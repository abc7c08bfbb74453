//! A target: how its cases are made, what is checked of each, and what must have been reached.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::panics;
use crate::probe::{Gauge, Probe};
use crate::{certificates, conninfo, copy, session, values};

/// One kind of thing that arrives from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    pub(crate) cases: fn() -> Box<dyn Cases>,
    /// What must have been reached after a while, or else the target does nothing.
    pub(crate) expected: &'static [&'static str],
}

/// All of them, in the order in which they are run.
pub const TARGETS: [Target; 5] = [
    Target { name: "session", cases: session::cases, expected: session::EXPECTED },
    Target { name: "values", cases: values::cases, expected: values::EXPECTED },
    Target { name: "copy", cases: copy::cases, expected: copy::EXPECTED },
    Target { name: "conninfo", cases: conninfo::cases, expected: conninfo::EXPECTED },
    Target { name: "certificates", cases: certificates::cases, expected: certificates::EXPECTED },
];

/// What a case came to.
pub(crate) struct Outcome {
    pub(crate) probe: Probe,
    pub(crate) finding: Option<Finding>,
}

/// A check that failed.
pub(crate) struct Finding {
    pub(crate) why: String,
    /// The smallest case that was found to fail.
    pub(crate) case: String,
}

/// The cases of a target.
pub(crate) trait Cases {
    /// Makes the case of this seed and checks it. One that fails is made smaller until `end`.
    fn run(&self, seed: u64, gauge: Option<Gauge>, end: Instant) -> Outcome;
}

/// Cases made by a strategy.
pub(crate) struct Checked<S: Strategy> {
    pub(crate) strategy: S,
    pub(crate) check: fn(&S::Value, &mut Probe),
}

impl<S: Strategy> Cases for Checked<S>
where
    S::Value: Debug,
{
    fn run(&self, seed: u64, gauge: Option<Gauge>, end: Instant) -> Outcome {
        panics::install();
        let mut tree = self.strategy.new_tree(&mut runner(seed)).expect("a case can be made");
        let mut probe = Probe::new(gauge);
        let found = self.fails(&tree.current(), &mut probe);
        let finding = found.map(|why| self.shrink(&mut tree, why, gauge, end));
        Outcome { probe, finding }
    }
}

impl<S: Strategy> Checked<S>
where
    S::Value: Debug,
{
    /// Why the check fails, if it does.
    fn fails(&self, case: &S::Value, probe: &mut Probe) -> Option<String> {
        panics::watch(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.check)(case, probe)));
        // A panic that the code has caught itself is no finding.
        let said = panics::said().filter(|_| outcome.is_err());
        panics::watch(false);
        said
    }

    /// The smallest case that fails, among those that `proptest` tries.
    fn shrink(
        &self,
        tree: &mut S::Tree,
        why: String,
        gauge: Option<Gauge>,
        end: Instant,
    ) -> Finding {
        let mut best = Finding { why, case: format!("{:#?}", tree.current()) };
        let mut goes_on = tree.simplify();
        while goes_on && Instant::now() < end {
            let case = tree.current();
            goes_on = match self.fails(&case, &mut Probe::new(gauge)) {
                Some(why) => {
                    best = Finding { why, case: format!("{case:#?}") };
                    tree.simplify()
                }
                None => tree.complicate(),
            };
        }
        best
    }
}

/// A source of choices that is the same everywhere for a seed.
fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}
