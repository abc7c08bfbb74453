//! Runs the simulator: a seed, a script, or seeds for a while.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use txpostgres_sim::{Options, Report, Seeds, replay, run_seed, shrink_script};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const HELP: &str = "\
sim [--seed N] [--seconds S] [--script FILE] [--shrink-for S] [--trace] [--without WORDS] [--survey]

  --seed N        runs this seed; with --seconds, this one and those that follow it
  --seconds S     runs seeds for so long
  --script FILE   runs a script
  --shrink-for S  how long a finding is made shorter; 30 if not given
  --trace         prints everything that happened
  --without WORDS leaves out operations, by their words in a script: discard,alter
  --survey        goes on after a finding, and tells at the end how often each rule was broken";

/// What was asked for.
struct Arguments {
    seed: Option<u64>,
    seconds: Option<u64>,
    script: Option<String>,
    shrink_for: u64,
    trace: bool,
    without: Vec<String>,
    survey: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut this = Self {
            seed: None,
            seconds: None,
            script: None,
            shrink_for: 30,
            trace: false,
            without: Vec::new(),
            survey: false,
        };
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse().ok();
            match word.as_str() {
                "--seed" => this.seed = Some(number()?),
                "--seconds" => this.seconds = Some(number()?),
                "--shrink-for" => this.shrink_for = number()?,
                "--script" => this.script = Some(words.next()?),
                "--without" => {
                    this.without = words.next()?.split(',').map(str::to_owned).collect();
                }
                "--survey" => this.survey = true,
                "--trace" => this.trace = true,
                _ => return None,
            }
        }
        Some(this)
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        eprintln!("{HELP}");
        return ExitCode::FAILURE;
    };
    let without = arguments.without.clone();
    let options = &Options { gauge: Some(|| ALLOCATED.current_usage()), verbose: false, without };
    let outcome = match (&arguments.script, arguments.seconds) {
        (Some(path), _) => of_script(path, options, &arguments),
        (None, None) => of_seed(arguments.seed.unwrap_or(1), options, &arguments),
        (None, Some(seconds)) => for_a_while(seconds, options, &arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}

fn of_script(path: &str, options: &Options, arguments: &Arguments) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let report = replay(&text, options)?;
    tell(&replay(&text, &verbose(options))?, arguments);
    if let Some(finding) = report.finding {
        return Err(finding);
    }
    println!("sim: {path} finds nothing; hash {:016x}", report.hash);
    Ok(())
}

fn of_seed(seed: u64, options: &Options, arguments: &Arguments) -> Result<(), String> {
    let report = run_seed(seed, options);
    if run_seed(seed, options).hash != report.hash {
        return Err(format!("sim: seed {seed} does not happen the same way twice"));
    }
    tell(&run_seed(seed, &verbose(options)), arguments);
    if report.finding.is_some() {
        return Err(found(seed, &report, options, arguments));
    }
    println!("sim: seed {seed} finds nothing; hash {:016x}", report.hash);
    Ok(())
}

/// The same, with the lines of the trace. They take memory, so that growth is not looked at.
fn verbose(options: &Options) -> Options {
    Options { verbose: true, gauge: None, ..options.clone() }
}

fn tell(report: &Report, arguments: &Arguments) {
    if arguments.trace {
        report.trace.iter().for_each(|line| println!("{line}"));
    }
}

fn for_a_while(seconds: u64, options: &Options, arguments: &Arguments) -> Result<(), String> {
    let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
    let first = arguments.seed.unwrap_or(1);
    let mut seeds = Seeds::default();
    let mut surveyed: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for seed in first.. {
        let report = seeds.run(seed, options);
        if let Some(finding) = report.finding.as_ref().filter(|_| arguments.survey) {
            surveyed.entry(rule_of(finding)).or_default().push((seed, finding.clone()));
        } else if report.finding.is_some() {
            let after = began.elapsed().as_secs_f64();
            let told = found(seed, &report, options, arguments);
            return Err(format!("{told}\nsim: found after {} seeds, {after:.1} s", seeds.seeds));
        }
        // Now and then a seed is run twice: everything must happen the same way.
        if seed % 16 == 0 && run_seed(seed, options).hash != report.hash {
            return Err(format!("sim: seed {seed} does not happen the same way twice"));
        }
        if began.elapsed() >= limit {
            break;
        }
    }
    println!("{}", seeds.coverage());
    for (rule, found) in &surveyed {
        println!("{rule}: {} times", found.len());
        for (seed, finding) in found.iter().take(40) {
            println!("    seed {seed}: {}", finding.chars().take(230).collect::<String>());
        }
    }
    println!(
        "sim: {} seeds from {first} on, {} steps, {:.0} s of virtual time, in {:.0} s: {}",
        seeds.seeds,
        seeds.steps,
        Duration::from_millis(seeds.virtual_ms).as_secs_f64(),
        began.elapsed().as_secs_f64(),
        if surveyed.is_empty() { "nothing found" } else { "see above" }
    );
    let missing = seeds.missing();
    if seconds >= 60 && !missing.is_empty() {
        return Err(format!("sim: never reached: {}", missing.join(", ")));
    }
    Ok(())
}

/// The rule that a finding names first.
fn rule_of(finding: &str) -> String {
    finding.split(':').next().unwrap_or_default().to_owned()
}

/// Tells of a finding: the rule, the end of the trace, and the shortest script that still finds it.
fn found(seed: u64, report: &Report, options: &Options, arguments: &Arguments) -> String {
    let finding = report.finding.clone().unwrap_or_default();
    let trace = run_seed(seed, &verbose(options)).trace;
    let from = trace.len().saturating_sub(60);
    let tail = trace.get(from..).unwrap_or_default().join("\n");
    let within = Duration::from_secs(arguments.shrink_for);
    let script = shrink_script(&report.script, options, within)
        .unwrap_or_else(|why| format!("# it cannot be shrunk: {why}\n{}", report.script));
    format!("{tail}\n\n{script}\nsim: seed {seed}: {finding}\nsim: replay it with --seed {seed}")
}
