//! Who is measured. Each contender connects, prepares, asks and listens in its own way; how often,
//! what, and whether the answer is right is the same code for all.

mod ours;
mod raw;
mod sqlx;
mod tokio_postgres;

use std::str::FromStr;

pub(crate) use self::ours::{Ours, OursPool};
pub(crate) use self::raw::Raw;
pub(crate) use self::sqlx::Sqlx;
pub(crate) use self::tokio_postgres::TokioPostgres;

use crate::Failure;
use crate::stopwatch::{Cost, Stopwatch};
use crate::target::Target;
use crate::task::Task;

/// The statement of workload a.
const STATEMENT: &str = "select $1::int4";

/// The channel of workload g.
const CHANNEL: &str = "news";

/// Notifications of one transaction in workload g.
const BURST: u32 = 1_000;

/// Has the server notify this session of the numbers below [`BURST`].
const NOTIFY: &str = "select count(pg_notify('news', n::text)) from generate_series(0, 999) n";

/// The notifications of one burst, checked as they are heard.
#[derive(Default)]
struct Tally {
    heard: u32,
}

impl Tally {
    fn note(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let number = payload.iter().fold(0, |number, digit| {
            10_u32.wrapping_mul(number).wrapping_add(u32::from(digit.wrapping_sub(b'0')))
        });
        if number != self.heard {
            return Err(format!("notification {} says {number}", self.heard).into());
        }
        self.heard += 1;
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.heard == BURST
    }
}

/// One client that can ask `select $1::int4` again and again, and hear notifications.
trait Client: Sized + Send + 'static {
    /// Connects and does once whatever has to be done once, for either workload.
    fn connect(target: Target, task: Task) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Sends [`NOTIFY`] and returns when the answer and all notifications have been heard.
    fn hear(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Asks once and returns the integer that came back, after the server said that it is ready
    /// for the next query.
    fn ask(&mut self, number: i32) -> impl Future<Output = Result<i32, Failure>> + Send;
}

/// The clients, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Raw,
    Ours,
    TokioPostgres,
    Sqlx,
    /// Ours through a pool of one connection: for workload a only.
    Pool,
}

impl Contender {
    const ALL: [Contender; 4] =
        [Contender::Raw, Contender::Ours, Contender::TokioPostgres, Contender::Sqlx];

    /// The contenders that are measured by default.
    pub(crate) fn default_list() -> Vec<Contender> {
        Contender::ALL.to_vec()
    }

    /// The word on the command line and in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Raw => "raw",
            Contender::Ours => "ours",
            Contender::TokioPostgres => "tokio-postgres",
            Contender::Sqlx => "sqlx",
            Contender::Pool => "pool",
        }
    }

    /// Connects, asks `warm_up` questions (or hears so many notifications), then the `queries`
    /// whose cost is returned.
    pub(crate) async fn ask(
        self,
        task: Task,
        target: Target,
        warm_up: u32,
        queries: u32,
    ) -> Result<Cost, Failure> {
        let cost = match self {
            Contender::Raw => ask_all::<Raw>(task, target.clone(), warm_up, queries).await,
            Contender::Ours => ask_all::<Ours>(task, target.clone(), warm_up, queries).await,
            Contender::TokioPostgres => {
                ask_all::<TokioPostgres>(task, target.clone(), warm_up, queries).await
            }
            Contender::Sqlx => ask_all::<Sqlx>(task, target.clone(), warm_up, queries).await,
            Contender::Pool => ask_all::<OursPool>(task, target.clone(), warm_up, queries).await,
        };
        cost.map_err(|failure| {
            let (name, socket) = (self.name(), target.socket());
            let because = failure.source().map(|cause| format!(": {cause}"));
            let because = because.unwrap_or_default();
            format!("{name} at {}: {failure}{because}", socket.display()).into()
        })
    }
}

impl FromStr for Contender {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Contender, Failure> {
        let mut all = Contender::ALL.into_iter().chain([Contender::Pool]);
        all.find(|contender| contender.name() == word).ok_or_else(|| {
            let names = "raw, ours, tokio-postgres, sqlx, and for a also pool";
            format!("{word} is not a contender; there are {names}").into()
        })
    }
}

async fn ask_all<C: Client>(
    task: Task,
    target: Target,
    warm_up: u32,
    queries: u32,
) -> Result<Cost, Failure> {
    let mut client = C::connect(target, task).await?;
    turn(&mut client, task, warm_up).await?;
    let stopwatch = Stopwatch::start()?;
    turn(&mut client, task, queries).await?;
    stopwatch.stop()
}

async fn turn<C: Client>(client: &mut C, task: Task, count: u32) -> Result<(), Failure> {
    if task == Task::Ask {
        return ask_in_turn(client, count).await;
    }
    for _ in 0..count.div_ceil(BURST) {
        client.hear().await?;
    }
    Ok(())
}

async fn ask_in_turn<C: Client>(client: &mut C, queries: u32) -> Result<(), Failure> {
    let mut number = 0_i32;
    for _ in 0..queries {
        // An odd step visits every i32 once before any comes again, so a stale or half-read answer
        // cannot pass for the right one.
        number = number.wrapping_add(0x1E37_79B1);
        let answer = client.ask(number).await?;
        if answer != number {
            return Err(format!("asked for {number}, was told {answer}").into());
        }
    }
    Ok(())
}
