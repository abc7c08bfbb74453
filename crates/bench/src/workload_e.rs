//! Workload e: one value of 50 MB, to be owned.

use crate::Failure;
use crate::contenders::{Contender, Ours, Raw, Sqlx, TokioPostgres};
use crate::stopwatch::{Cost, Stopwatch};
use crate::target::Target;

/// What is asked. The fake server knows the table by its name.
const STATEMENT: &str = "select bytes from txpostgres_bench_values where size = $1::int4";

/// Bytes asked for before the stopwatch starts: whatever is done once is done then.
const WARM_UP: u32 = 10;

/// A client that fetches values.
trait Fetcher: Sized {
    /// What it hands out when asked for bytes of one's own.
    type Value: AsRef<[u8]>;

    async fn open(target: Target) -> Result<Self, Failure>;

    async fn fetch(&mut self, size: i32) -> Result<Self::Value, Failure>;
}

/// Connects, fetches, and returns what that cost.
pub(crate) async fn perform(
    contender: Contender,
    target: Target,
    size: u32,
) -> Result<Cost, Failure> {
    match contender {
        Contender::Raw => measured::<Floor>(target, size).await,
        Contender::Ours => measured::<Ours>(target, size).await,
        Contender::TokioPostgres => measured::<Peer>(target, size).await,
        Contender::Sqlx => measured::<Sqlx>(target, size).await,
        Contender::Pool => Err("the pool is measured on a and c".into()),
    }
}

async fn measured<F: Fetcher>(target: Target, size: u32) -> Result<Cost, Failure> {
    let mut fetcher = F::open(target).await?;
    fetch(&mut fetcher, WARM_UP).await?;
    fetch(&mut fetcher, size).await
}

async fn fetch<F: Fetcher>(fetcher: &mut F, size: u32) -> Result<Cost, Failure> {
    let asked = i32::try_from(size)?;
    let stopwatch = Stopwatch::start()?;
    let value = fetcher.fetch(asked).await?;
    let cost = stopwatch.stop()?;
    let value = value.as_ref();
    let is_right = value.len() == usize::try_from(size)?
        && value.iter().zip(0..).step_by(4_099).all(|(byte, at)| *byte == byte_at(at));
    if is_right { Ok(cost) } else { Err("the value is not what was asked for".into()) }
}

/// The byte in this place of every value.
pub(crate) fn byte_at(at: u32) -> u8 {
    b'0' + u8::try_from(at % 10).unwrap_or(0)
}

/// Makes the table, with a value of each size and the small one.
pub(crate) async fn prepare(target: Target, sizes: &[u32]) -> Result<(), Failure> {
    let peer = TokioPostgres::open(target).await?;
    peer.client
        .batch_execute(
            "drop table if exists txpostgres_bench_values;
             create unlogged table txpostgres_bench_values (size int4 primary key, bytes bytea);
             alter table txpostgres_bench_values alter bytes set storage external",
        )
        .await?;
    let mut sizes = [sizes, &[WARM_UP]].concat();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let times = size.div_ceil(10);
        let value = format!(
            "insert into txpostgres_bench_values values \
             ({size}, substr(convert_to(repeat('0123456789', {times}), 'UTF8'), 1, {size}))"
        );
        peer.client.batch_execute(&value).await?;
    }
    Ok(())
}

impl Fetcher for Ours {
    type Value = bytes::Bytes;

    async fn open(target: Target) -> Result<Ours, Failure> {
        Ours::open(target).await
    }

    async fn fetch(&mut self, size: i32) -> Result<Self::Value, Failure> {
        let rows = self.connection.run_query(STATEMENT, (size,)).await?;
        rows.into_value(0, 0)?.ok_or_else(|| "NULL came".into())
    }
}

struct Peer {
    client: tokio_postgres::Client,
    statement: tokio_postgres::Statement,
}

impl Fetcher for Peer {
    type Value = Vec<u8>;

    async fn open(target: Target) -> Result<Peer, Failure> {
        let TokioPostgres { client, .. } = TokioPostgres::open(target).await?;
        let statement = client.prepare(STATEMENT).await?;
        Ok(Peer { client, statement })
    }

    async fn fetch(&mut self, size: i32) -> Result<Vec<u8>, Failure> {
        Ok(self.client.query_one(&self.statement, &[&size]).await?.try_get(0)?)
    }
}

impl Fetcher for Sqlx {
    type Value = Vec<u8>;

    async fn open(target: Target) -> Result<Sqlx, Failure> {
        Sqlx::open(target).await
    }

    async fn fetch(&mut self, size: i32) -> Result<Vec<u8>, Failure> {
        let query = sqlx::query_scalar(STATEMENT).bind(size);
        Ok(query.fetch_one(&mut self.connection).await?)
    }
}

struct Floor(Raw);

impl Fetcher for Floor {
    type Value = Vec<u8>;

    async fn open(target: Target) -> Result<Floor, Failure> {
        let mut raw = Raw::open(target).await?;
        raw.prepare(STATEMENT).await?;
        Ok(Floor(raw))
    }

    async fn fetch(&mut self, size: i32) -> Result<Vec<u8>, Failure> {
        self.0.send(size).await?;
        self.0.large_value().await
    }
}
