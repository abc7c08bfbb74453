//! Runs: of a seed, of a script, of many seeds for a while.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::callers::Kind;
use crate::coverage::Coverage;
use crate::finding::Finding;
use crate::panics;
use crate::plan::Plan;
use crate::script::Script;
use crate::shrink::shrink;
use crate::trace::Trace;
use crate::world::{Chooser, Gauge, World};

/// What a run is given beside its seed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Tells how many bytes are allocated; growth is not looked at without it.
    pub gauge: Option<fn() -> usize>,
    /// The lines of the trace are kept.
    pub verbose: bool,
    /// Operations that callers do not do, by their words in a script.
    pub without: Vec<String>,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The rule that was broken, and how.
    pub finding: Option<String>,
    /// A hash of everything that happened.
    pub hash: u64,
    /// The run as a script.
    pub script: String,
    /// The last lines of the trace, if they were kept.
    pub trace: Vec<String>,
    /// Steps taken, and virtual milliseconds that passed.
    pub steps: u64,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
}

/// One run, as the inside has it.
struct Run {
    finding: Option<Finding>,
    script: Script,
    trace: Trace,
    now: u64,
    coverage: Coverage,
}

fn begin(plan: &Plan, seed: u64, options: &Options) -> (Result<World, Finding>, Trace) {
    panics::install();
    panics::watch(Some(seed));
    let trace = || if options.verbose { Trace::kept() } else { Trace::default() };
    (World::new(plan, trace(), options.gauge as Option<Gauge>), trace())
}

/// Runs to the end, with steps from `next`.
fn run(
    plan: Plan,
    seed: u64,
    options: &Options,
    mut next: impl FnMut(&World) -> Option<crate::step::Step>,
) -> Run {
    let mut script = Script { plan, steps: Vec::new() };
    let (world, trace) = begin(&script.plan, seed, options);
    let mut world = match world {
        Ok(world) => world,
        Err(finding) => {
            panics::watch(None);
            let coverage = Coverage::default();
            return Run { finding: Some(finding), script, trace, now: 0, coverage };
        }
    };
    let mut outcome = Ok(());
    while outcome.is_ok()
        && let Some(step) = next(&world)
    {
        script.steps.push(step);
        outcome = world.take(step).map(drop);
    }
    let outcome = outcome.and_then(|()| world.end());
    let finding = outcome.err();
    let (now, coverage) = (world.now, std::mem::take(&mut world.referee.coverage));
    let trace = std::mem::take(&mut world.trace);
    // What is left after a finding may panic once more when it is dropped; it has been told.
    world.abandon();
    panics::watch(None);
    Run { finding, script, trace, now, coverage }
}

fn run_of_seed(seed: u64, options: &Options) -> Run {
    let mut rng = Rng::with_seed(seed);
    let (mut plan, _, faults) = Plan::of(&mut rng);
    let without: Vec<Kind> =
        options.without.iter().filter_map(|word| Kind::of_word(word)).collect();
    plan.without(&without);
    let mut chooser = Chooser::new(rng, faults);
    run(plan, seed, options, |world| chooser.next(world))
}

fn run_of_script(script: &Script, options: &Options) -> Run {
    let mut steps = script.steps.iter().copied();
    run(script.plan.clone(), 0, options, |_| steps.next())
}

impl From<Run> for Report {
    fn from(run: Run) -> Self {
        Self {
            finding: run.finding.map(|finding| finding.to_string()),
            hash: run.trace.hash(),
            trace: run.trace.tail(),
            steps: run.script.steps.len() as u64,
            script: run.script.to_string(),
            virtual_ms: run.now,
        }
    }
}

/// Runs a seed.
pub fn run_seed(seed: u64, options: &Options) -> Report {
    run_of_seed(seed, options).into()
}

/// Runs a script again.
///
/// # Errors
///
/// The line that cannot be read.
pub fn replay(text: &str, options: &Options) -> Result<Report, String> {
    Ok(run_of_script(&Script::parse(text)?, options).into())
}

/// Makes a script that finds something shorter, for as long as it finds the same, and within this
/// time.
///
/// # Errors
///
/// The line that cannot be read, or that it finds nothing.
pub fn shrink_script(text: &str, options: &Options, within: Duration) -> Result<String, String> {
    let script = Script::parse(text)?;
    let finding = run_of_script(&script, options).finding.ok_or("the script finds nothing")?;
    let end = Instant::now() + within;
    let fails = |script: &Script| {
        let found = run_of_script(script, options).finding;
        Instant::now() < end && found.is_some_and(|found| found.rule == finding.rule)
    };
    Ok(shrink(script, fails).to_string())
}

/// Many seeds, one after another.
#[derive(Debug, Default)]
pub struct Seeds {
    /// How many were run.
    pub seeds: u64,
    /// Steps taken in all of them.
    pub steps: u64,
    /// Virtual time of all of them, in milliseconds.
    pub virtual_ms: u64,
    coverage: Coverage,
}

impl Seeds {
    /// Runs the next one.
    pub fn run(&mut self, seed: u64, options: &Options) -> Report {
        let run = run_of_seed(seed, options);
        self.seeds += 1;
        self.steps += run.script.steps.len() as u64;
        self.virtual_ms += run.now;
        self.coverage.add(&run.coverage);
        run.into()
    }

    /// What happened in all of them, and how often.
    pub fn coverage(&self) -> String {
        let mut text = self.coverage.to_string();
        let missing = self.missing();
        if !missing.is_empty() {
            let _ = write!(text, "\n   never: {}", missing.join(", "));
        }
        text
    }

    /// Kinds of things that never happened, and should in a minute.
    pub fn missing(&self) -> Vec<String> {
        crate::expected::expected().filter(|what| self.coverage.get(what) == 0).collect()
    }
}
