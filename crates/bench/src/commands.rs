//! What the commands do with what was asked of them.

use std::path::Path;

use crate::Failure;
use crate::arguments::Arguments;
use crate::contenders::Contender;
use crate::fake_server::{self, FakeServer};
use crate::pinning::{PinnedServer, pin_this_process};
use crate::runtime::Runtime;
use crate::table::Table;
use crate::target::Target;
use crate::task::Task;
use crate::workload::Plan;
use crate::workload_c::{self, Pooled, Slow};
use crate::{strace, turns, valgrind};

/// The command that runs one contender in this process, for tools that count from outside.
pub(crate) const ALONE: &str = "one";

const HELP: &str = "\
bench: txpostgres beside its peers and beside a bare socket

  bench a --dsn DSN | --fake      workload a: one prepared `select $1::int4` after another
  bench c --dsn DSN               workload c: 64 tasks look up rows by key through a pool of eight
      --slow own-text | same-text   one query in a hundred takes 50 ms, and the others are timed
      --pools ours,ours-exclusive,deadpool,sqlx   default: all
      --rounds 9 --queries 40000
  bench g --dsn DSN | --fake      workload g: bursts of 1,000 notifications, heard one by one
      --rounds 7                    rounds; in each, every contender has its turn
      --queries 20000               queries (g: notifications) of a turn, after a tenth
                                    of that to warm up
      --pin                         client and server on one core (Linux). A real server is pinned
                                    by its listening process and let go afterwards; that needs its
                                    user or root. The fake one inherits the core.
  bench d --dsn DSN | --fake      workload d: many rows, into structs, streamed and borrowed
  bench e --dsn DSN | --fake      workload e: one large value
  bench f --dsn DSN               workload f: many rows into a table, by COPY and by inserts
      --rounds 7                    rounds; in each, every contender has its turn in a process of its own
      --size N                      rows, or bytes of the value (100000; 20000 inserts; 50000000)
                                    Tables called txpostgres_bench_… are made anew in a real server.
  bench instructions              instructions and allocations of a query, by valgrind
  bench syscalls                  system calls of a query, by strace
      --task a                      or g, d, e, f, or one of their tables by its name, such as d-owned
      --dsn DSN                     a real server instead of the fake one; f needs it
  bench one --contender NAME --task a --size N --dsn DSN | --socket PATH
                                  runs one contender in this process, for tools that measure, and
                                  prints nanoseconds of wall and of CPU, sleeps, bytes of memory
  bench fake-server --socket PATH answers from memory; PATH ends in /.s.PGSQL.PORT

  --contenders raw,ours,tokio-postgres,sqlx  default: all
  --runtime current,multi,multi-block-on     default: all for a, current elsewhere
  --markdown                                 tables for docs/performance.md

A DSN names a Unix socket and needs no password: 'host=/socket/directory port=5432 user=postgres'.
Use a release build: cargo run --release -p txpostgres-bench -- a --fake
";

/// Does what `words` ask for.
pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut arguments = Arguments::new(words);
    match arguments.command().as_deref() {
        Some("a") => timed(Task::Ask, arguments),
        Some("c") => pooled(arguments),
        Some("g") => timed(Task::Hear, arguments),
        Some(workload @ ("d" | "e" | "f")) => in_turns(workload, arguments),
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

fn timed(task: Task, mut arguments: Arguments) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; its times say nothing");
    }
    let plan = Plan {
        task,
        contenders: arguments.list("--contenders", &task.contenders())?,
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
            task.name(),
            server.name(),
            runtime.name(),
            if pin { ", pinned" } else { "" },
            plan.rounds,
            plan.queries,
            task.unit().name,
        );
        show(&title, &table, markdown);
    }
    drop(pinned);
    Ok(())
}

fn pooled(mut arguments: Arguments) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; its times say nothing");
    }
    let slow = match arguments.option("--slow")?.as_deref() {
        None => Slow::None,
        Some("own-text") => Slow::OwnText,
        Some("same-text") => Slow::SameText,
        Some(other) => return Err(format!("--slow {other}: own-text or same-text").into()),
    };
    let plan = workload_c::Plan {
        pools: arguments.list("--pools", &Pooled::ALL)?,
        rounds: arguments.parsed("--rounds", 9)?,
        queries: arguments.parsed("--queries", 40_000)?,
        slow,
    };
    let runtimes = arguments.list("--runtime", &[Runtime::Current, Runtime::Multi])?;
    let markdown = arguments.flag("--markdown");
    let pin = arguments.flag("--pin");
    let dsn = arguments.option("--dsn")?.ok_or("c needs a real server: --dsn DSN")?;
    arguments.finish()?;
    if plan.rounds == 0 || plan.queries == 0 {
        return Err("--rounds and --queries must be at least 1".into());
    }
    let target = Target::from_dsn(&dsn)?;
    if pin {
        pin_this_process()?;
    }
    let pinned = if pin { Some(PinnedServer::new(&target)?) } else { None };
    Runtime::Current.run_here(workload_c::prepare(target.clone()))?;
    for runtime in runtimes {
        let table = plan.run(runtime, &target)?;
        let title = format!(
            "c, real server, {}{}{}: {} rounds of {}, medians",
            runtime.name(),
            if pin { ", pinned" } else { "" },
            match slow {
                Slow::None => "",
                Slow::OwnText => ", one in a hundred takes 50 ms by a text of its own",
                Slow::SameText => ", one in a hundred takes 50 ms by a parameter",
            },
            plan.rounds,
            plan.queries,
        );
        show(&title, &table, markdown);
    }
    drop(pinned);
    Ok(())
}

fn in_turns(workload: &str, mut arguments: Arguments) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; its times say nothing");
    }
    let contenders = arguments.list("--contenders", &Contender::default_list())?;
    let rounds = arguments.parsed("--rounds", 7)?;
    let size: Option<u32> = arguments.option("--size")?.map(|word| word.parse()).transpose()?;
    let runtimes = runtimes(&mut arguments)?;
    let markdown = arguments.flag("--markdown");
    let (fake, dsn) = (arguments.flag("--fake"), arguments.option("--dsn")?);
    arguments.finish()?;
    if rounds == 0 || size == Some(0) {
        return Err("--rounds and --size must be at least 1".into());
    }
    let server = Server::new(fake, dsn)?;
    for task in Task::named(workload)? {
        let size = size.unwrap_or(task.default_size());
        server.prepare(task, &[size])?;
        for &runtime in &runtimes {
            let plan = turns::Plan { task, contenders: contenders.clone(), rounds, size };
            let table = plan.run(runtime, server.target())?;
            let title = format!(
                "{}, {} server, {}: {rounds} rounds, size {size}, medians for each {}",
                task.name(),
                server.name(),
                runtime.name(),
                task.unit().name,
            );
            show(&title, &table, markdown);
        }
    }
    Ok(())
}

/// `current` if nothing else is said.
fn runtimes(arguments: &mut Arguments) -> Result<Vec<Runtime>, Failure> {
    match arguments.option("--runtime")?.as_deref() {
        None => Ok(vec![Runtime::Current]),
        Some("all") => Ok(Runtime::ALL.to_vec()),
        Some(words) => words.split(',').map(str::parse).collect(),
    }
}

type Counting = fn(Task, &[Contender], Runtime, &Target) -> Result<Table, Failure>;

fn counted(mut arguments: Arguments, what: &str, count: Counting) -> Result<(), Failure> {
    let tasks = Task::named(arguments.option("--task")?.as_deref().unwrap_or("a"))?;
    let default = tasks.first().map_or_else(Vec::new, |task| task.contenders());
    let contenders = arguments.list("--contenders", &default)?;
    let runtimes = runtimes(&mut arguments)?;
    let markdown = arguments.flag("--markdown");
    let (fake, dsn) = (arguments.flag("--fake"), arguments.option("--dsn")?);
    arguments.finish()?;
    let server = Server::new(fake || dsn.is_none(), dsn)?;
    for task in tasks {
        let (small, large) = task.sizes();
        server.prepare(task, &[small, large])?;
        for &runtime in &runtimes {
            let table = count(task, &contenders, runtime, server.target())?;
            let (name, unit) = (task.name(), task.unit().name);
            let runtime = runtime.name();
            let title = format!("{name}, {} server, {runtime}: {what} of a {unit}", server.name());
            show(&title, &table, markdown);
        }
    }
    Ok(())
}

fn alone(mut arguments: Arguments) -> Result<(), Failure> {
    let contender = arguments.option("--contender")?.ok_or("--contender NAME is missing")?;
    let contender: Contender = contender.parse()?;
    let task: Task = arguments.option("--task")?.as_deref().unwrap_or("a").parse()?;
    let runtime = arguments.option("--runtime")?;
    let runtime = runtime.map_or(Ok(Runtime::Current), |word| word.parse())?;
    let size = arguments.parsed("--size", task.default_size())?;
    let target = match (arguments.option("--dsn")?, arguments.option("--socket")?) {
        (Some(dsn), None) => Target::from_dsn(&dsn)?,
        (None, Some(socket)) => Target::from_socket(Path::new(&socket))?,
        _ => return Err("say where the server is: either --dsn DSN or --socket PATH".into()),
    };
    arguments.finish()?;
    let cost = match task {
        Task::Ask | Task::Hear => runtime.run(contender.ask(task, target, 0, size))?,
        _ => runtime.run_here(task.perform(contender, target, size))?,
    };
    println!("{cost}");
    Ok(())
}

fn show(title: &str, table: &Table, markdown: bool) {
    println!("{title}\n\n{}", table.print(markdown).trim_end());
    println!();
}

/// The server of a run: the given one, or the fake one, which ends with the run.
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

    /// Makes what the task asks for.
    fn prepare(&self, task: Task, sizes: &[u32]) -> Result<(), Failure> {
        match self {
            Server::Real(target) => {
                let (target, sizes) = (target.clone(), sizes.to_vec());
                Runtime::Current.run_here(task.prepare(target, &sizes))
            }
            Server::Fake(_) if task.can_be_faked() => Ok(()),
            Server::Fake(_) => {
                Err(format!("{} needs a real server: --dsn DSN", task.name()).into())
            }
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
