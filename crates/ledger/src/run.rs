//! A run: faults, calm, and the comparison.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use txpostgres::Connection;
use txpostgres::reconnection::{ConnectionState, DeadConnectionDetector};

use crate::book::{Book, Finding};
use crate::expected::missing;
use crate::fault::Fault;
use crate::servers::Servers;
use crate::timeline::Timeline;
use crate::worker::{Shared, Worker};

/// How many workers use the connection at once.
const WORKERS: u64 = 8;

/// Pauses between faults, in milliseconds.
const PAUSES: std::ops::Range<u64> = 300..2_000;

/// Within this time without faults each worker must be acknowledged something: 5 s.
const CALM: Duration = Duration::from_secs(5);

/// How many findings are printed.
const PRINTED: usize = 20;

/// Everything of a run.
struct Run {
    seconds: u64,
    /// The faults that there may be.
    among: Vec<Fault>,
    dice: Rng,
    runtime: Runtime,
    servers: Servers,
    connection: Connection,
    shared: Arc<Shared>,
    recoveries: Arc<AtomicU64>,
    faults: BTreeMap<Fault, u64>,
    bar: ProgressBar,
}

/// Keeps a ledger for so long, with faults among these, chosen by this seed.
///
/// # Errors
///
/// What it finds, or what keeps it from being run.
pub(crate) fn run(seconds: u64, seed: u64, among: &[Fault]) -> Result<(), String> {
    let mut run = Run::begin(seconds, seed, among)?;
    let workers = run.workers();
    let outcome = run.rough().and_then(|()| run.calm(&workers));
    run.bar.finish_and_clear();
    let hung = run.end(workers);
    let findings = match outcome.and(hung) {
        Ok(()) => run.compare()?,
        Err(complaint) => {
            let around = run.shared.timeline.around(&[]);
            return Err(format!("{around}ledger: {complaint}"));
        }
    };
    if findings.is_empty() {
        return Ok(());
    }
    let (findings, count) =
        (findings.get(..PRINTED.min(findings.len())).unwrap_or_default(), findings.len());
    let rows: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let around = run.shared.timeline.around(findings);
    Err(format!("{around}\n{}\nledger: {count} rows are not as they were told", rows.join("\n")))
}

/// The detector: attempts at once, and then every 50 ms.
fn connection() -> Connection {
    let delays =
        || std::iter::once(Duration::ZERO).chain(std::iter::repeat(Duration::from_millis(50)));
    let detector = DeadConnectionDetector::builder().reconnection_iterator(delays).build();
    Connection::builder()
        .detector(detector)
        .wait_for_recovery(Duration::from_secs(5))
        .liveness_bound(Duration::from_secs(1))
        .heartbeat(Some(Duration::from_millis(300)))
        .build()
}

impl Run {
    fn begin(seconds: u64, seed: u64, among: &[Fault]) -> Result<Self, String> {
        let dice = Rng::with_seed(seed);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let servers = Servers::start()?;
        let (connection, recoveries) = (connection(), Arc::new(AtomicU64::new(0)));
        let shared = Arc::new(Shared {
            book: Book::default(),
            timeline: Timeline::new(),
            stop: AtomicBool::new(false),
            stuck: Mutex::default(),
        });
        let opened = runtime.block_on(connection.connect(servers.dsn()));
        opened.map_err(|error| error.to_string())?;
        let bar = ProgressBar::new(seconds);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} s, {msg}") {
            bar.set_style(style);
        }
        let faults = BTreeMap::new();
        let this = Self {
            seconds,
            among: among.to_vec(),
            dice,
            runtime,
            servers,
            connection,
            shared,
            recoveries,
            faults,
            bar,
        };
        this.note_states();
        this.show_progress();
        Ok(this)
    }

    /// Notes deaths and recoveries of the connection.
    fn note_states(&self) {
        let Some(detector) = self.connection.detector() else { return };
        let mut states = detector.states();
        let (shared, recoveries) = (Arc::clone(&self.shared), Arc::clone(&self.recoveries));
        self.runtime.spawn(async move {
            while let Some(state) = states.next().await {
                match state {
                    ConnectionState::Down { cause } => {
                        shared.timeline.note(format!("    down: {cause}"));
                    }
                    ConnectionState::Restoring { generation } => {
                        recoveries.fetch_add(1, Ordering::Relaxed);
                        shared.timeline.note(format!("    session {generation}"));
                    }
                    _ => {}
                }
            }
        });
    }

    fn show_progress(&self) {
        let (shared, bar) = (Arc::clone(&self.shared), self.bar.clone());
        self.runtime.spawn(async move {
            while !bar.is_finished() {
                bar.set_position(shared.timeline.now().as_secs());
                bar.set_message(format!("{} rows acknowledged", shared.book.acknowledged()));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }

    /// Starts the workers. Beside each is how many of its calls were acknowledged.
    fn workers(&mut self) -> Vec<(JoinHandle<()>, Arc<AtomicU64>)> {
        let worker = |_| {
            let acknowledged = Arc::new(AtomicU64::new(0));
            let worker = Worker {
                connection: self.connection.clone(),
                shared: Arc::clone(&self.shared),
                dice: self.dice.fork(),
                acknowledged: Arc::clone(&acknowledged),
            };
            (self.runtime.spawn(worker.work()), acknowledged)
        };
        (0..WORKERS).map(worker).collect()
    }

    /// One fault after another.
    fn rough(&mut self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(self.seconds);
        loop {
            std::thread::sleep(Duration::from_millis(self.dice.u64(PAUSES)));
            if Instant::now() >= end || !self.shared.stuck.lock().is_empty() {
                return Ok(());
            }
            let fault = Fault::choose(&self.among, &mut self.dice);
            self.shared.timeline.note(format!("{fault} begins"));
            let done = fault.inflict(&mut self.servers, &self.connection, &mut self.dice);
            let done = done.map_err(|error| format!("{fault} cannot be inflicted: {error}"))?;
            self.shared.timeline.note(format!("{fault}: {done}"));
            *self.faults.entry(fault).or_default() += 1;
        }
    }

    /// No faults any more: every worker must be acknowledged something in time.
    fn calm(&self, workers: &[(JoinHandle<()>, Arc<AtomicU64>)]) -> Result<(), String> {
        self.servers.heal_lines();
        self.shared.timeline.note("calm");
        let counts = || workers.iter().map(|(_, count)| count.load(Ordering::Relaxed));
        let before: Vec<u64> = counts().collect();
        let began = Instant::now();
        while counts().zip(&before).any(|(now, before)| now <= *before) {
            if began.elapsed() > CALM {
                let waiting = counts().zip(&before).filter(|(now, before)| now <= *before).count();
                let state = self.connection.detector().map(DeadConnectionDetector::state);
                return Err(format!(
                    "{waiting} workers were acknowledged nothing within {CALM:?} of the last \
                     fault; the connection is {state:?}"
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = began.elapsed();
        self.shared.timeline.note(format!("calm: each worker is served after {took:.0?}"));
        Ok(())
    }

    /// Stops the workers, and closes the connection.
    fn end(&self, workers: Vec<(JoinHandle<()>, Arc<AtomicU64>)>) -> Result<(), String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for (worker, _) in workers {
            if let Err(error) = self.runtime.block_on(worker) {
                self.shared.stuck.lock().push(format!("a worker: {error}"));
            }
        }
        self.runtime.block_on(self.connection.close());
        let stuck = self.shared.stuck.lock();
        if stuck.is_empty() { Ok(()) } else { Err(stuck.join("\n")) }
    }

    /// Compares the book with the table, and tells how much there was.
    fn compare(&self) -> Result<Vec<Finding>, String> {
        self.servers.until_idle()?;
        let table = self.servers.table()?;
        let book = &self.shared.book;
        let mut ways: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for ((way, outcome), count) in book.counts() {
            ways.entry(way.to_string()).or_default().push(format!("{count} {outcome}"));
            *sums.entry(outcome).or_default() += count;
        }
        for (way, outcomes) in &ways {
            println!("    {way:<20} {}", outcomes.join(", "));
        }
        let faults: Vec<String> =
            self.faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect();
        println!("    faults: {}", faults.join(", "));
        let sum = |outcome| sums.get(outcome).copied().unwrap_or(0);
        let (unknown, there) = book.unknown(&table);
        println!(
            "ledger: {} faults, {} recoveries; {} rows acknowledged, {} rejected, {unknown} unknown \
             of which {there} are there; {} rows in the table",
            self.faults.values().sum::<u64>(),
            self.recoveries.load(Ordering::Relaxed),
            sum("acknowledged"),
            sum("rejected"),
            table.len()
        );
        let findings = book.compare(&table);
        let recoveries = self.recoveries.load(Ordering::Relaxed);
        let missing = missing(self.seconds, book, (&self.among, &self.faults), recoveries);
        if findings.is_empty() && !missing.is_empty() {
            return Err(format!("ledger: never reached: {}", missing.join(", ")));
        }
        if findings.is_empty() {
            println!("ledger: the table agrees with the book");
        }
        Ok(findings)
    }
}
