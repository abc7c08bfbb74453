//! The commands of this repository: `cargo xtask demo`, `test`, `sim`, `fuzz`, `ledger`, `survive`,
//! `tidy` and `check`.

mod acks;
mod arrows;
mod check;
mod cluster;
mod code;
mod cycles;
mod demo;
mod folders;
mod fuzz;
mod ledger;
mod modules;
mod named_tests;
mod patroni;
mod poolers;
mod prose;
mod run;
mod service;
mod sim;
mod survive;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask demo [--dsn DSN]    a tour of txpostgres on a throw-away server, or on yours
cargo xtask demo --service      examples/service on a throw-away server, to be tried with curl
cargo xtask demo --cluster      the pool while two nodes under Patroni switch over, and the leader is killed
cargo xtask test [-- ARGS]      every test of the workspace, with all set-up; ARGS go to the test runner
cargo xtask test --poolers      each kind of call through PgBouncer and Pgpool-II, and on PostgreSQL 14 and 18
cargo xtask sim [ARGS]          the simulator: --seed N, --seconds S, --script FILE
cargo xtask fuzz [TARGET] [ARGS] the fuzz loops, or one of them: --seconds S, --seed N
cargo xtask ledger [ARGS]       rows under random faults of real servers, beside the table: --seconds S, --seed N, --only F
cargo xtask survive [SCENARIOS] the pool beside others while servers and networks break; --help says what it needs
cargo xtask timeline PATH       what happened when in an outage, drawn from a real run
cargo xtask tidy                dependencies, folders, import cycles and comments, as ARCHITECTURE.md says
cargo xtask check               formatting, lints and documentation";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["demo"] => demo::demo(None),
        ["demo", "--service"] => service::service(),
        ["demo", "--dsn", dsn] => demo::demo(Some(dsn)),
        ["demo", option] if option.starts_with("--dsn=") => {
            demo::demo(option.strip_prefix("--dsn="))
        }
        ["demo", "--cluster"] => cluster::demo(),
        ["test"] => test::test(&[]),
        ["test", "--poolers"] => poolers::poolers(),
        ["test", "--", rest @ ..] => test::test(rest),
        ["sim", rest @ ..] => sim::sim(rest),
        ["fuzz", rest @ ..] => fuzz::fuzz(rest),
        ["ledger", rest @ ..] => ledger::ledger(rest),
        ["survive", rest @ ..] => survive::survive(rest),
        ["timeline", path] => run::succeed(&mut run::cargo([
            "run",
            "--quiet",
            "--package",
            "txpostgres-timeline",
            "--",
            path,
        ])),
        ["tidy"] => tidy::tidy(),
        ["check"] => check::check(),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        [] => Err(HELP.to_owned()),
        _ => Err(format!("unknown command {:?}\n{HELP}", arguments.join(" "))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}
