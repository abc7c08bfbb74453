//! Keeps a ledger of rows under random faults of real servers and of the lines to them, and
//! compares it with the table.
//!
//! ```text
//!   workers ──▶ one Connection ──▶ a proxy for each ──▶ primary ──▶ synchronous standby
//!      │                               ▲                   ▲
//!      │ what they were told           └──── faults ───────┘   by a seed
//!      ▼
//!   book: acknowledged, rejected, unknown  ══ compared with ══  the table, after a calm phase
//! ```
//!
//! What was acknowledged must be in the table exactly once, what was rejected not at all, and what
//! is unknown at most once.

mod book;
mod calls;
mod expected;
mod fault;
mod outcome;
mod run;
mod servers;
mod timeline;
mod way;
mod worker;

use std::process::ExitCode;

use fault::Fault;

const HELP: &str = "\
ledger [--seconds S] [--seed N] [--only FAULTS]

  --seconds S     how long there are faults; 20 if not given
  --seed N        decides which faults there are, and what is written; a random one if not given.
                  Threads and servers take their own time: a seed does not happen the same way twice
  --only FAULTS   no others than these: TakeOver,Cut";

/// How long there are faults, if nothing else is said: 20 s, as in continuous integration.
const SECONDS: u64 = 20;

/// What was asked for.
struct Arguments {
    seconds: u64,
    seed: u64,
    only: Vec<Fault>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let seed = u64::from(fastrand::u32(..));
        let mut this = Self { seconds: SECONDS, seed, only: Fault::all().collect() };
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse().ok();
            match word.as_str() {
                "--seed" => this.seed = number()?,
                "--seconds" => this.seconds = number()?,
                "--only" => {
                    let list = words.next()?;
                    let find = |name| Fault::all().find(|fault| fault.to_string() == name);
                    this.only = list.split(',').map(find).collect::<Option<_>>()?;
                }
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
    println!("ledger: seed {}, {} s", arguments.seed, arguments.seconds);
    match run::run(arguments.seconds, arguments.seed, &arguments.only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("{complaint}\nledger: seed {}", arguments.seed);
            ExitCode::FAILURE
        }
    }
}
