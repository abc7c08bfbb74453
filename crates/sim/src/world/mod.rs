//! The world of a run: the runtime, the network, the server, the callers; and what one step does to
//! them.

mod calm;
mod chooser;
mod ending;
mod moves;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use txpostgres::config::{Config, NoEnvironment};
use txpostgres::reconnection::DeadConnectionDetector;
use txpostgres::{Connection, ConnectionBuilder, Cooperator, ObserverWork, QueueBounds};

use crate::callers::{Env, Ledger, Told, Work};
use crate::finding::{Finding, Rule, found};
use crate::gate::Gate;
use crate::net::{Dialer, Net};
use crate::panics;
use crate::plan::{Plan, Settings};
use crate::referee::Referee;
use crate::server::{Happened, Server};
use crate::step::Step;
use crate::trace::Trace;
use crate::wakers::Flag;

pub(crate) use chooser::Chooser;

/// Tells how many bytes are allocated, if that is counted.
pub(crate) type Gauge = fn() -> usize;

/// See the file's text.
pub(crate) struct World {
    runtime: Option<Runtime>,
    /// Woken when the runtime has nothing to do.
    parked: Arc<Mutex<Option<Waker>>>,
    net: Net,
    server: Server,
    ledger: Ledger,
    told: Vec<Told>,
    gate: Gate,
    connection: Option<Connection>,
    /// A recovery handler runs: nothing else may use its session.
    recovering: Arc<AtomicBool>,
    config: Config,
    callers: Vec<Slot>,
    pub(crate) referee: Referee,
    pub(crate) trace: Trace,
    settings: Settings,
    /// Virtual milliseconds.
    pub(crate) now: u64,
    /// Counts what moves, so that standing still is seen.
    moves: u64,
    payloads: u32,
    gauge: Option<Gauge>,
}

/// A caller.
struct Slot {
    id: u32,
    work: Option<Work<'static>>,
    flag: Arc<Flag>,
    waker: Waker,
    is_aside: bool,
}

/// Observers yield by what they have heard, and not by a clock.
struct Steady;

impl Cooperator for Steady {
    fn cooperate(&self, work: ObserverWork, runtime: &tokio::runtime::Handle) {
        runtime.spawn(work);
    }

    fn is_time_to_yield(&self, events: usize, _: Duration) -> bool {
        events >= 8
    }
}

fn config(settings: &Settings) -> Result<Config, txpostgres::Error> {
    let Settings { cache, single, .. } = *settings;
    let text = format!(
        "host=sim port=5432 user=sim dbname=sim sslmode=disable statement_cache_size={cache} \
         pipelining={}",
        u8::from(!single)
    );
    Config::parse(&text)?.resolve(&NoEnvironment)
}

impl World {
    /// A world in which the connection is open and the callers have not been polled.
    pub(crate) fn new(plan: &Plan, trace: Trace, gauge: Option<Gauge>) -> Result<Self, Finding> {
        let settings = plan.settings.clone();
        let parked: Arc<Mutex<Option<Waker>>> = Arc::default();
        let bell = Arc::clone(&parked);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .event_interval(settings.tasks)
            .on_thread_park(move || {
                let waker = bell.lock().take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            })
            .build();
        let (runtime, config) = match (runtime, config(&settings)) {
            (Ok(runtime), Ok(config)) => (runtime, config),
            (runtime, config) => {
                let why = format!("{:?} {:?}", runtime.err(), config.err());
                return found(Rule::Unexplained, format!("no world can be made: {why}"));
            }
        };
        let net = Net::default();
        let mut builder =
            Connection::builder().connection_factory(Dialer(net.clone())).cooperator(Steady);
        if settings.queue > 0 {
            let notifications = usize::try_from(settings.queue).unwrap_or(1);
            builder = builder.notify_queue(QueueBounds { notifications, ..QueueBounds::default() });
        }
        let recovering = Arc::<AtomicBool>::default();
        if let Some(patience) = settings.reconnects {
            builder = reconnecting(builder, patience);
        }
        net.set_knobs(settings.knobs);
        net.set_single(settings.single);
        if trace.is_kept() {
            net.keep_log();
        }
        let ledger = Ledger::new(&net);
        let mut this = Self {
            runtime: Some(runtime),
            parked,
            net,
            server: Server::default(),
            ledger,
            told: Vec::new(),
            gate: Gate::default(),
            connection: Some(built(builder, &recovering)),
            recovering,
            config,
            callers: Vec::new(),
            referee: Referee::new(plan),
            trace,
            settings,
            now: 0,
            moves: 0,
            payloads: 0,
            gauge,
        };
        this.open()?;
        this.enlist(plan);
        Ok(this)
    }

    /// Opens the connection, while nothing goes wrong.
    fn open(&mut self) -> Result<(), Finding> {
        let Some(connection) = self.connection.clone() else {
            return Ok(());
        };
        let (config, opened) = (self.config.clone(), Arc::new(Mutex::new(None)));
        let outcome = Arc::clone(&opened);
        self.callers.push(Slot::new(
            0,
            Box::pin(async move {
                let result = connection.connect(config).await;
                *outcome.lock() = Some(result.map_err(|error| error.to_string()));
            }),
        ));
        self.settle()?;
        self.callers.clear();
        let opened = opened.lock().take();
        match opened {
            Some(Ok(())) => Ok(()),
            other => found(Rule::Progress, format!("the connection cannot be opened: {other:?}")),
        }
    }

    fn enlist(&mut self, plan: &Plan) {
        let Some(connection) = &self.connection else {
            return;
        };
        for caller in &plan.callers {
            let (ledger, gate) = (self.ledger.clone(), self.gate.clone());
            let env = Env::new(connection.clone(), ledger, self.config.clone(), gate);
            self.callers.push(Slot::new(caller.id, env.run(caller.ops.clone())));
        }
    }

    /// Takes a step; says whether there was anything to do.
    pub(crate) fn take(&mut self, step: Step) -> Result<bool, Finding> {
        self.trace.note(format_args!("{step}"));
        self.referee.coverage.count_name("step: ", &step.word());
        let worked = match step {
            Step::Poll(caller) => self.poll(caller)?,
            Step::Turn(count) => self.turn(count)?,
            Step::Idle => self.idle()?,
            Step::Up(line, bytes) => self.net.deliver_up(line, bytes) > 0,
            Step::Down(line, bytes) => self.net.deliver_down(line, bytes) > 0,
            Step::Serve(line, count) => self.serve(line, count)?,
            Step::Flow => self.flow()?,
            Step::Tick(ms) => self.tick(ms)?,
            Step::Drop(caller) => self.drop_caller(caller)?,
            Step::Aside(caller) => self.put_aside(caller),
            Step::Cancel(op) => self.cancel(op)?,
            Step::Notify(channel) => {
                let payload = self.next_payload();
                self.server.notify(&crate::callers::channel_of(channel), &payload);
                true
            }
            Step::Ghost(line) => {
                self.net.ghost(line);
                true
            }
            Step::Limit(line, write, read) => {
                self.net.set_limits(line, write.max(1), read.max(1));
                true
            }
            Step::Reset(..) | Step::Hangup(_) | Step::Kill(_) => self.break_line(step),
            Step::Refuse(count) => {
                self.referee.causes.cancel = true;
                self.net.refuse(count);
                true
            }
            Step::Hang => {
                self.referee.causes.cancel = true;
                self.server.hangs = true;
                self.net.hold_dials(true);
                true
            }
            Step::Calm => {
                self.calm(false)?;
                true
            }
        };
        self.observe()?;
        Ok(worked)
    }

    fn next_payload(&mut self) -> String {
        self.payloads += 1;
        format!("p{}", self.payloads)
    }

    fn break_line(&mut self, step: Step) -> bool {
        let (Step::Reset(line, _) | Step::Hangup(line) | Step::Kill(line)) = step else {
            return false;
        };
        if line >= self.net.lines() || self.net.is_dropped(line) {
            return false;
        }
        if self.net.is_cancel(line) {
            self.referee.causes.cancel = true;
        } else {
            self.referee.causes.loss = true;
        }
        match step {
            Step::Reset(_, kept) => self.net.reset(line, kept),
            Step::Hangup(_) => self.net.close_down(line),
            _ => self.server.terminate(line, self.now),
        }
        true
    }

    // --- What is seen ---

    /// Has the referee look at everything that happened.
    fn observe(&mut self) -> Result<(), Finding> {
        self.referee.now = self.now;
        for remark in self.net.take_log() {
            self.trace.remark(&remark);
        }
        loop {
            let happened = std::mem::take(&mut self.server.happened);
            let mut told = std::mem::take(&mut self.told);
            told.clear();
            self.ledger.take(&mut told);
            if happened.is_empty() && told.is_empty() {
                self.told = told;
                break;
            }
            self.moves += told.len() as u64;
            for happened in &happened {
                self.trace.note(format_args!("  {happened:?}"));
                if matches!(happened, Happened::Started { .. })
                    && self.recovering.load(Ordering::Relaxed)
                {
                    let why = format!("{happened:?} before the recovery handler had ended");
                    return found(Rule::Restored, why);
                }
                self.referee.happened(happened)?;
            }
            for told in &told {
                self.trace.note(format_args!("  {told:?}"));
                self.referee.told(told, &self.server, &self.net)?;
            }
            self.told = told;
        }
        if let Some(violation) = self.net.take_violation()
            && !self.referee.causes.close
        {
            return found(Rule::Gate, violation);
        }
        if let Some(said) = panics::said() {
            return found(Rule::Panic, said);
        }
        self.referee.check_memory(&self.net)
    }

    /// Operations that can be cancelled, whether or not they are over.
    pub(crate) fn cancellable(&self) -> Vec<u32> {
        self.ledger.handles()
    }

    /// Whether a caller is in the middle of something.
    pub(crate) fn is_engaged(&self, id: u32) -> bool {
        self.referee.is_engaged(id)
    }

    /// Callers that are there, each with whether it was woken and is polled.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u32, bool, bool)> {
        let present = self.callers.iter().filter(|slot| slot.work.is_some());
        present.map(|slot| (slot.id, slot.flag.is_woken(), !slot.is_aside))
    }
}

impl Slot {
    fn new(id: u32, work: Work<'static>) -> Self {
        let flag = Arc::new(Flag::default());
        let waker = flag.fresh();
        flag.wake();
        Self { id, work: Some(work), flag, waker, is_aside: false }
    }
}

/// With a detector that tries again soon.
fn reconnecting(builder: ConnectionBuilder, patience: u32) -> ConnectionBuilder {
    let delays = || {
        let again = Duration::from_millis(5);
        std::iter::once(Duration::ZERO).chain(std::iter::repeat(again))
    };
    let detector = DeadConnectionDetector::builder().reconnection_iterator(delays).build();
    let patience = Duration::from_millis(patience.into());
    builder.detector(detector).without_liveness().wait_for_recovery(patience)
}

/// The connection, with a recovery handler that says when it runs.
fn built(builder: ConnectionBuilder, recovering: &Arc<AtomicBool>) -> Connection {
    let connection = builder.build();
    let recovering = Arc::clone(recovering);
    connection.add_recovery_handler(move |connection| {
        let running = Running::begin(&recovering);
        async move {
            let _running = running;
            connection.run_script("listen probe; unlisten probe").await.map(drop)
        }
    });
    connection
}

/// A recovery handler runs as long as this lives.
struct Running(Arc<AtomicBool>);

impl Running {
    fn begin(flag: &Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(Arc::clone(flag))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
