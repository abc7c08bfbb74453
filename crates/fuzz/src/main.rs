//! Runs the fuzz loops: one target or all, a seed or seeds for a while.
//!
//! The loops run in a child, since some faults take the process with them: a stack that overflows,
//! memory that is not there. What is left then is told here, with the seed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use txpostgres_fuzz::{Gauge, Options, Seeds, TARGETS, Target};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const HELP: &str = "\
fuzz [TARGET] [--seconds S] [--seed N] [--shrink-for S]

  TARGET          session, values, copy, conninfo or certificates; all in turn if not given
  --seconds S     runs seeds for so long, each target; 60 if nothing is given
  --seed N        runs this seed of the target; with --seconds, this one and those that follow it
  --shrink-for S  how long a case that fails is made smaller; 10 if not given";

/// Names the file in which the child notes each seed.
const LOG: &str = "TXPOSTGRES_FUZZ_LOG";

/// A run that is this long must have reached everything.
const COVERED_AFTER: u64 = 20;

/// What was asked for.
struct Arguments {
    targets: Vec<Target>,
    seed: Option<u64>,
    seconds: Option<u64>,
    shrink_for: u64,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut this =
            Self { targets: TARGETS.to_vec(), seed: None, seconds: None, shrink_for: 10 };
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse().ok();
            match word.as_str() {
                "--seed" => this.seed = Some(number()?),
                "--seconds" => this.seconds = Some(number()?),
                "--shrink-for" => this.shrink_for = number()?,
                name => {
                    this.targets.retain(|target| target.name == name);
                    this.targets.first()?;
                }
            }
        }
        let needs_target = this.seed.is_some() && this.seconds.is_none();
        (!needs_target || this.targets.len() == 1).then_some(this)
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(env::args().skip(1)) else {
        eprintln!("{HELP}");
        return ExitCode::FAILURE;
    };
    let outcome = match env::var_os(LOG) {
        None => in_child(),
        Some(log) => all(&arguments, Path::new(&log)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            if !complaint.is_empty() {
                eprintln!("{complaint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs this program once more, with the loops in it.
fn in_child() -> Result<(), String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let log: PathBuf = env::temp_dir().join(format!("txpostgres-fuzz-{}", std::process::id()));
    let status = Command::new(program).args(env::args_os().skip(1)).env(LOG, &log).status();
    let last = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    let status = status.map_err(|error| error.to_string())?;
    match (status.success(), status.code(), last.trim().split_once(' ')) {
        (true, ..) => Ok(()),
        // It has told why.
        (false, Some(1), _) | (false, _, None) => Err(String::new()),
        (false, _, Some((target, seed))) => Err(format!(
            "fuzz: {target}: seed {seed}: the process ended: {status}\n\
             fuzz: run it again with {target} --seed {seed}"
        )),
    }
}

fn all(arguments: &Arguments, log: &Path) -> Result<(), String> {
    txpostgres_fuzz::watch(log).map_err(|error| error.to_string())?;
    let gauge = Gauge {
        current: || ALLOCATED.current_usage(),
        peak: || ALLOCATED.peak_usage(),
        reset: || ALLOCATED.reset_peak_usage(),
    };
    let shrink_for = Duration::from_secs(arguments.shrink_for);
    let options = Options { gauge: Some(gauge), shrink_for };
    for target in &arguments.targets {
        let mut seeds = Seeds::new(*target, options);
        match (arguments.seed, arguments.seconds) {
            (Some(seed), None) => {
                seeds.run(seed).map_err(|report| report.text)?;
                println!("{}\nfuzz: {}: seed {seed} finds nothing", seeds.coverage(), target.name);
            }
            (first, seconds) => {
                for_a_while(&mut seeds, target, first.unwrap_or(1), seconds.unwrap_or(60))?;
            }
        }
    }
    Ok(())
}

fn for_a_while(seeds: &mut Seeds, target: &Target, first: u64, seconds: u64) -> Result<(), String> {
    let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
    let name = target.name;
    for seed in first.. {
        if let Err(report) = seeds.run(seed) {
            let after = began.elapsed().as_secs_f64();
            let count = seeds.seeds;
            return Err(format!("{}\nfuzz: found after {count} seeds, {after:.1} s", report.text));
        }
        if began.elapsed() >= limit {
            break;
        }
    }
    println!("{}", seeds.coverage());
    println!(
        "fuzz: {name}: {} seeds from {first} on in {:.0} s: nothing found",
        seeds.seeds,
        began.elapsed().as_secs_f64()
    );
    let missing = seeds.missing();
    if seconds >= COVERED_AFTER && !missing.is_empty() {
        return Err(format!("fuzz: {name}: never reached: {}", missing.join(", ")));
    }
    Ok(())
}
