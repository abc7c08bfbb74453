//! What the commands do with what was asked of them.

use std::path::Path;

use crate::Failure;
use crate::arguments::Arguments;
use crate::contenders::{Contender, Workload};
use crate::fake_server::{self, FakeServer};
use crate::pinning::{PinnedServer, pin_this_process};
use crate::runtime::Runtime;
use crate::table::Table;
use crate::target::Target;
use crate::workload::Plan;
use crate::{strace, valgrind};

/// The command that runs one contender and measures nothing, for tools that count from outside.
pub(crate) const ALONE: &str = "one";

const HELP: &str = "\
bench: txpostgres beside its peers and beside a bare socket

  bench a --dsn DSN | --fake      workload a: one prepared `select $1::int4` after another
  bench g --dsn DSN | --fake      workload g: bursts of 1,000 notifications, heard one by one
      --rounds 7                    rounds; in each, every contender has its turn
      --queries 20000               queries (g: notifications) of a turn, after a tenth
                                    of that to warm up
      --pin                         client and server on one core (Linux). A real server is pinned
                                    by its listening process and let go afterwards; that needs its
                                    user or root. The fake one inherits the core.
  bench instructions              instructions and allocations of a query, by valgrind
  bench syscalls                  system calls of a query, by strace; --dsn is possible here too
  bench one --contender NAME --queries N --dsn DSN | --socket PATH
                                  runs one contender and measures nothing, for tools that do
  bench fake-server --socket PATH answers from memory; PATH ends in /.s.PGSQL.PORT

  --contenders raw,ours,tokio-postgres    default: all
  --workload a|g                          what instructions, syscalls and one count; a if not said
  --runtime current,multi,multi-block-on  default: all for a, current elsewhere
  --markdown                              tables for docs/performance.md

A DSN names a Unix socket and needs no password: 'host=/socket/directory port=5432 user=postgres'.
Use a release build: cargo run --release -p txpostgres-bench -- a --fake
";

/// Does what `words` ask for.
pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut arguments = Arguments::new(words);
    match arguments.command().as_deref() {
        Some("a") => timed(Workload::A, arguments),
        Some("g") => timed(Workload::G, arguments),
        Some("instructions") => counted(arguments, "instructions", valgrind::count_all),
        Some("syscalls") => counted(arguments, "system calls", strace::count_all),
        Some(ALONE) => alone(arguments),
        Some("fake-server") => {
            let socket = arguments.option("--socket")?.ok_or("--socket PATH is missing")?;
            let until_stdin_closes = arguments.flag("--until-stdin-closes");
            arguments.finish()?;
            fake_server::serve(Path::new(&socket), until_stdin_closes)
        }
        Some("help") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("{other} is not a command; see `bench help`").into()),
    }
}

fn timed(workload: Workload, mut arguments: Arguments) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; its times say nothing");
    }
    let plan = Plan {
        workload,
        contenders: arguments.list("--contenders", &Contender::default_list())?,
        rounds: arguments.parsed("--rounds", 7)?,
        queries: arguments.parsed("--queries", 20_000)?,
    };
    let runtimes = arguments.list("--runtime", &Runtime::ALL)?;
    let (markdown, pin) = (arguments.flag("--markdown"), arguments.flag("--pin"));
    let (fake, dsn) = (arguments.flag("--fake"), arguments.option("--dsn")?);
    arguments.finish()?;
    if plan.rounds == 0 || plan.queries == 0 {
        return Err("--rounds and --queries must be at least 1".into());
    }
    if pin {
        pin_this_process()?;
    }
    let server = Server::new(fake, dsn)?;
    let pinned = match &server {
        Server::Real(target) if pin => Some(PinnedServer::new(target)?),
        _ => None,
    };
    for runtime in runtimes {
        let table = plan.run(runtime, server.target())?;
        let title = format!(
            "{}, {} server, {}{}: {} rounds of {}, medians for each {}",
            workload.words().0,
            server.name(),
            runtime.name(),
            if pin { ", pinned" } else { "" },
            plan.rounds,
            plan.queries,
            workload.words().1,
        );
        show(&title, &table, markdown);
    }
    drop(pinned);
    Ok(())
}

type Counting = fn(Workload, &[Contender], Runtime, &Target) -> Result<Table, Failure>;

fn counted(mut arguments: Arguments, what: &str, count: Counting) -> Result<(), Failure> {
    let contenders = arguments.list("--contenders", &Contender::default_list())?;
    let runtimes = match arguments.option("--runtime")?.as_deref() {
        None => vec![Runtime::Current],
        Some("all") => Runtime::ALL.to_vec(),
        Some(words) => words.split(',').map(str::parse).collect::<Result<_, _>>()?,
    };
    let workload = arguments.parsed("--workload", Workload::A)?;
    let markdown = arguments.flag("--markdown");
    let (fake, dsn) = (arguments.flag("--fake"), arguments.option("--dsn")?);
    arguments.finish()?;
    let server = Server::new(fake || dsn.is_none(), dsn)?;
    for runtime in runtimes {
        let table = count(workload, &contenders, runtime, server.target())?;
        let (letter, unit) = workload.words();
        let (server, runtime) = (server.name(), runtime.name());
        let title = format!("{letter}, {server} server, {runtime}: {what} of a {unit}");
        show(&title, &table, markdown);
    }
    Ok(())
}

fn alone(mut arguments: Arguments) -> Result<(), Failure> {
    let contender = arguments.option("--contender")?.ok_or("--contender NAME is missing")?;
    let contender: Contender = contender.parse()?;
    let runtime = arguments.option("--runtime")?;
    let runtime = runtime.map_or(Ok(Runtime::Current), |word| word.parse())?;
    let queries = arguments.parsed("--queries", 2_000)?;
    let workload = arguments.parsed("--workload", Workload::A)?;
    let target = match (arguments.option("--dsn")?, arguments.option("--socket")?) {
        (Some(dsn), None) => Target::from_dsn(&dsn)?,
        (None, Some(socket)) => Target::from_socket(Path::new(&socket))?,
        _ => return Err("say where the server is: either --dsn DSN or --socket PATH".into()),
    };
    arguments.finish()?;
    runtime.run(contender.ask(workload, target, 0, queries)).map(drop)
}

fn show(title: &str, table: &Table, markdown: bool) {
    println!("{title}\n\n{}", table.print(markdown).trim_end());
    println!();
}

/// The server of a run: somebody's, or the fake one, which ends with the run.
enum Server {
    Real(Target),
    Fake(FakeServer),
}

impl Server {
    fn new(fake: bool, dsn: Option<String>) -> Result<Server, Failure> {
        match (fake, dsn) {
            (true, None) => Ok(Server::Fake(FakeServer::start()?)),
            (false, Some(dsn)) => Ok(Server::Real(Target::from_dsn(&dsn)?)),
            _ => Err("which server? Either --dsn 'host=/socket/directory user=postgres' \
                      for a running PostgreSQL, or --fake for answers from memory"
                .into()),
        }
    }

    fn target(&self) -> &Target {
        match self {
            Server::Real(target) => target,
            Server::Fake(server) => server.target(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Server::Real(_) => "real",
            Server::Fake(_) => "fake",
        }
    }
}
