//! Workload c: 64 tasks look up single rows through a pool of eight connections; and the same with
//! one query in a hundred that takes 50 ms, of which only the others are timed.

use std::future::Future;
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;

use crate::Failure;
use crate::runtime::Runtime;
use crate::stopwatch::{Cost, Stopwatch, median};
use crate::table::{Table, ratio, thousands};
use crate::target::Target;
use crate::workload_d;

const TASKS: u32 = 64;
const CONNECTIONS: usize = 8;
const ROWS: u32 = 100_000;

const LOOKUP: &str = "select id, name, value, at from txpostgres_bench_rows where id = $1::int8";
const SLOW: &str = "select pg_sleep(0.05)";
/// Slow and quick ones by the value of a parameter.
const EITHER: &str = "select id, name, value, at from txpostgres_bench_rows \
                      where id = $1::int8 and pg_sleep($2::float8) is not null";

type Found = (i64, String, f64, DateTime<Utc>);

/// A pool of eight connections.
trait Pool: Clone + Send + Sync + Sized + 'static {
    fn open(target: &Target) -> impl Future<Output = Result<Self, Failure>> + Send;
    /// One row by its key.
    fn look_up(&self, id: i64) -> impl Future<Output = Result<Found, Failure>> + Send;
    /// 50 ms, by a text of its own.
    fn sleep(&self) -> impl Future<Output = Result<(), Failure>> + Send;
    /// One row by its key, after this many seconds.
    fn look_up_after(
        &self,
        id: i64,
        seconds: f64,
    ) -> impl Future<Output = Result<Found, Failure>> + Send;
}

/// The pools, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooled {
    /// Statements share connections.
    Ours,
    /// Each statement has a connection for itself: `get` and then the call.
    Exclusive,
    Deadpool,
    Sqlx,
}

impl Pooled {
    pub(crate) const ALL: [Pooled; 4] =
        [Pooled::Ours, Pooled::Exclusive, Pooled::Deadpool, Pooled::Sqlx];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Pooled::Ours => "ours",
            Pooled::Exclusive => "ours-exclusive",
            Pooled::Deadpool => "deadpool",
            Pooled::Sqlx => "sqlx",
        }
    }
}

impl FromStr for Pooled {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Pooled, Failure> {
        let found = Pooled::ALL.into_iter().find(|pooled| pooled.name() == word);
        found.ok_or_else(|| {
            format!("{word} is not a pool; there are ours, ours-exclusive, deadpool, sqlx").into()
        })
    }
}

/// How slow queries come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    /// There are none.
    None,
    /// One in a hundred, by a text of its own.
    OwnText,
    /// One in a hundred, by the value of a parameter.
    SameText,
}

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) pools: Vec<Pooled>,
    pub(crate) rounds: u32,
    pub(crate) queries: u32,
    pub(crate) slow: Slow,
}

/// What one turn has cost, and how long each query that is not slow has taken.
struct Turn {
    cost: Cost,
    took: Vec<Duration>,
}

impl Plan {
    /// Runs the plan on one runtime.
    pub(crate) fn run(&self, runtime: Runtime, target: &Target) -> Result<Table, Failure> {
        let mut turns: Vec<Vec<Turn>> = self.pools.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.rounds {
            for (&pool, turns) in self.pools.iter().zip(&mut turns) {
                let (target, queries, slow) = (target.clone(), self.queries, self.slow);
                turns.push(runtime.run(async move {
                    match pool {
                        Pooled::Ours => turn::<Ours>(&target, queries, slow).await,
                        Pooled::Exclusive => turn::<Exclusive>(&target, queries, slow).await,
                        Pooled::Deadpool => turn::<Deadpool>(&target, queries, slow).await,
                        Pooled::Sqlx => turn::<SqlxPool>(&target, queries, slow).await,
                    }
                })?);
            }
        }
        Ok(self.table(&turns))
    }

    fn table(&self, turns: &[Vec<Turn>]) -> Table {
        let mut table = Table::new(&[
            "",
            "q/s",
            "CPU µs",
            "p50 ms",
            "p99 ms",
            "q/s × deadpool",
            "q/s × sqlx",
            "p99 × exclusive",
        ]);
        let queries = f64::from(self.queries);
        let rate = |turns: &Vec<Turn>| {
            median(turns.iter().map(|turn| queries / turn.cost.wall.as_secs_f64()))
        };
        let quantile = |turns: &Vec<Turn>, part: f64| {
            median(turns.iter().map(|turn| at(&turn.took, part).as_secs_f64() * 1e3))
        };
        let of = |wanted| {
            let at = self.pools.iter().position(|&pool| pool == wanted)?;
            turns.get(at)
        };
        for (pool, turns) in self.pools.iter().zip(turns) {
            let cpu = turns.iter().map(|turn| turn.cost.cpu.as_secs_f64() * 1e6 / queries);
            table.row(vec![
                pool.name().to_owned(),
                thousands(rate(turns)),
                format!("{:.2}", median(cpu)),
                format!("{:.2}", quantile(turns, 0.5)),
                format!("{:.2}", quantile(turns, 0.99)),
                ratio(rate(turns), of(Pooled::Deadpool).map(rate)),
                ratio(rate(turns), of(Pooled::Sqlx).map(rate)),
                ratio(
                    quantile(turns, 0.99),
                    of(Pooled::Exclusive).map(|turns| quantile(turns, 0.99)),
                ),
            ]);
        }
        table
    }
}

/// The value at this part of the sorted durations.
fn at(sorted: &[Duration], part: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (sorted.len() as f64 * part) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

async fn turn<P: Pool>(target: &Target, queries: u32, slow: Slow) -> Result<Turn, Failure> {
    let pool = P::open(target).await?;
    all_tasks(&pool, queries.div_ceil(10), slow).await?;
    let stopwatch = Stopwatch::start()?;
    let mut took = all_tasks(&pool, queries, slow).await?;
    let cost = stopwatch.stop()?;
    took.sort_unstable();
    Ok(Turn { cost, took })
}

async fn all_tasks<P: Pool>(pool: &P, queries: u32, slow: Slow) -> Result<Vec<Duration>, Failure> {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let pool = pool.clone();
        tasks.spawn(async move { one_task(&pool, task, queries.div_ceil(TASKS), slow).await });
    }
    let mut took = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took.append(&mut done??);
    }
    Ok(took)
}

async fn one_task<P: Pool>(
    pool: &P,
    task: u32,
    queries: u32,
    slow: Slow,
) -> Result<Vec<Duration>, Failure> {
    let mut took = Vec::new();
    let mut key = task.wrapping_mul(0x9E37_79B9);
    for _ in 0..queries {
        key = key.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The high bits are the random ones.
        let is_slow = slow != Slow::None && (key >> 8).is_multiple_of(100);
        let id = i64::from((key >> 4) % ROWS) + 1;
        let began = Instant::now();
        let found = match (slow, is_slow) {
            (Slow::OwnText, true) => {
                pool.sleep().await?;
                continue;
            }
            (Slow::SameText, true) => {
                pool.look_up_after(id, 0.05).await?;
                continue;
            }
            (Slow::SameText, false) => pool.look_up_after(id, 0.0).await?,
            _ => pool.look_up(id).await?,
        };
        took.push(began.elapsed());
        if found.0 != id {
            return Err(format!("asked for {id}, was told {}", found.0).into());
        }
    }
    Ok(took)
}

/// Makes the table.
pub(crate) async fn prepare(target: Target) -> Result<(), Failure> {
    workload_d::prepare(target.clone(), &[ROWS]).await?;
    let peer = crate::contenders::TokioPostgres::open(target).await?;
    peer.client.batch_execute("alter table txpostgres_bench_rows add primary key (id)").await?;
    peer.client.batch_execute("vacuum analyze txpostgres_bench_rows").await?;
    Ok(())
}

// --- ours ---

#[derive(Clone)]
struct Ours(txpostgres::ConnectionPool);

impl Pool for Ours {
    async fn open(target: &Target) -> Result<Ours, Failure> {
        let builder = txpostgres::ConnectionPool::builder(target.dsn());
        let pool = builder.min(CONNECTIONS).max(CONNECTIONS).build()?;
        pool.start().await?;
        Ok(Ours(pool))
    }

    async fn look_up(&self, id: i64) -> Result<Found, Failure> {
        Ok(self.0.run_query_as(LOOKUP, (id,)).one().await?)
    }

    async fn sleep(&self) -> Result<(), Failure> {
        Ok(self.0.run_operation(SLOW, ()).await.map(drop)?)
    }

    async fn look_up_after(&self, id: i64, seconds: f64) -> Result<Found, Failure> {
        Ok(self.0.run_query_as(EITHER, (id, seconds)).one().await?)
    }
}

#[derive(Clone)]
struct Exclusive(txpostgres::ConnectionPool);

impl Pool for Exclusive {
    async fn open(target: &Target) -> Result<Exclusive, Failure> {
        Ok(Exclusive(Ours::open(target).await?.0))
    }

    async fn look_up(&self, id: i64) -> Result<Found, Failure> {
        Ok(self.0.get().await?.run_query_as(LOOKUP, (id,)).one().await?)
    }

    async fn sleep(&self) -> Result<(), Failure> {
        Ok(self.0.get().await?.run_operation(SLOW, ()).await.map(drop)?)
    }

    async fn look_up_after(&self, id: i64, seconds: f64) -> Result<Found, Failure> {
        Ok(self.0.get().await?.run_query_as(EITHER, (id, seconds)).one().await?)
    }
}

// --- deadpool ---

#[derive(Clone)]
struct Deadpool(deadpool_postgres::Pool);

impl Deadpool {
    async fn ask(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Found, Failure> {
        let client = self.0.get().await?;
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_one(&statement, params).await?;
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    }
}

impl Pool for Deadpool {
    async fn open(target: &Target) -> Result<Deadpool, Failure> {
        let config = target.dsn().parse()?;
        let manager = deadpool_postgres::Manager::new(config, tokio_postgres::NoTls);
        Ok(Deadpool(deadpool_postgres::Pool::builder(manager).max_size(CONNECTIONS).build()?))
    }

    async fn look_up(&self, id: i64) -> Result<Found, Failure> {
        self.ask(LOOKUP, &[&id]).await
    }

    async fn sleep(&self) -> Result<(), Failure> {
        let client = self.0.get().await?;
        let statement = client.prepare_cached(SLOW).await?;
        client.execute(&statement, &[]).await?;
        Ok(())
    }

    async fn look_up_after(&self, id: i64, seconds: f64) -> Result<Found, Failure> {
        self.ask(EITHER, &[&id, &seconds]).await
    }
}

// --- sqlx, without its ping at checkout ---

#[derive(Clone)]
struct SqlxPool(sqlx::PgPool);

impl Pool for SqlxPool {
    async fn open(target: &Target) -> Result<SqlxPool, Failure> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(target.directory())
            .port(target.port)
            .username(&target.user)
            .database(&target.database);
        let most = u32::try_from(CONNECTIONS)?;
        let pool = PgPoolOptions::new().max_connections(most).test_before_acquire(false);
        Ok(SqlxPool(pool.connect_with(options).await?))
    }

    async fn look_up(&self, id: i64) -> Result<Found, Failure> {
        let row = sqlx::query(LOOKUP).bind(id).fetch_one(&self.0).await?;
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    }

    async fn sleep(&self) -> Result<(), Failure> {
        sqlx::query(SLOW).execute(&self.0).await?;
        Ok(())
    }

    async fn look_up_after(&self, id: i64, seconds: f64) -> Result<Found, Failure> {
        let row = sqlx::query(EITHER).bind(id).bind(seconds).fetch_one(&self.0).await?;
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    }
}
