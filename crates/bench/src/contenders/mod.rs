//! Who is measured. Each contender connects, prepares, and asks in its own way; how often, what, and
//! whether the answer is right is the same code for all.

mod ours;
mod raw;
mod tokio_postgres;

use std::str::FromStr;

use crate::Failure;
use crate::stopwatch::{Cost, Stopwatch};
use crate::target::Target;

/// The statement of workload a.
const STATEMENT: &str = "select $1::int4";

/// One client that can ask `select $1::int4` again and again.
trait Client: Sized + Send + 'static {
    /// Connects and does once whatever has to be done once.
    fn connect(target: &Target) -> impl Future<Output = Result<Self, Failure>> + Send;

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
}

impl Contender {
    const ALL: [Contender; 3] = [Contender::Raw, Contender::Ours, Contender::TokioPostgres];

    /// Those measured when nobody chose.
    pub(crate) fn default_list() -> Vec<Contender> {
        Contender::ALL.to_vec()
    }

    /// The word on the command line and in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Raw => "raw",
            Contender::Ours => "ours",
            Contender::TokioPostgres => "tokio-postgres",
        }
    }

    /// Connects, asks `warm_up` questions, then the `queries` whose cost is returned.
    pub(crate) async fn ask(
        self,
        target: Target,
        warm_up: u32,
        queries: u32,
    ) -> Result<Cost, Failure> {
        let cost = match self {
            Contender::Raw => ask_all::<raw::Raw>(&target, warm_up, queries).await,
            Contender::Ours => ask_all::<ours::Ours>(&target, warm_up, queries).await,
            Contender::TokioPostgres => {
                ask_all::<tokio_postgres::TokioPostgres>(&target, warm_up, queries).await
            }
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
        let found = Contender::ALL.into_iter().find(|contender| contender.name() == word);
        found.ok_or_else(|| {
            format!("{word} is not a contender; there are raw, ours, tokio-postgres").into()
        })
    }
}

async fn ask_all<C: Client>(target: &Target, warm_up: u32, queries: u32) -> Result<Cost, Failure> {
    let mut client = C::connect(target).await?;
    ask_in_turn(&mut client, warm_up).await?;
    let stopwatch = Stopwatch::start()?;
    ask_in_turn(&mut client, queries).await?;
    stopwatch.stop()
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
