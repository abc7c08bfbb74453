//! Workload d: many rows of four columns, into structs that are kept, into structs that are not,
//! and visited where they lie.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use txpostgres::{Column, ColumnReader, FromRow, Row};

use crate::Failure;
use crate::contenders::{Contender, Ours, Raw, Sqlx, TokioPostgres};
use crate::item::{GENERATED, Item, Tally, read};
use crate::stopwatch::{Cost, Stopwatch};
use crate::target::Target;
use crate::task::Task;

/// What is asked. The fake server knows the table by its name.
const STATEMENT: &str = "select id, name, value, at from txpostgres_bench_rows limit $1::int4";

/// Rows asked for before the stopwatch starts: whatever is done once is done then.
const WARM_UP: u32 = 10;

/// A client that reads rows.
trait Reader: Sized {
    async fn open(target: Target) -> Result<Self, Failure>;

    /// All rows, as structs.
    async fn owned(&mut self, rows: i32) -> Result<Vec<Item>, Failure>;

    /// Each row as a struct for a moment; as many rows at once as the client hands out.
    async fn streamed(&mut self, rows: i32) -> Result<Tally, Failure>;

    /// The same, row by row; for clients that hand out single rows only there is no difference.
    async fn row_by_row(&mut self, rows: i32) -> Result<Tally, Failure> {
        self.streamed(rows).await
    }

    /// Each row looked at; nothing copied.
    async fn borrowed(&mut self, rows: i32) -> Result<Tally, Failure>;
}

/// Connects, reads, and returns what the reading cost.
pub(crate) async fn perform(
    task: Task,
    contender: Contender,
    target: Target,
    rows: u32,
) -> Result<Cost, Failure> {
    match contender {
        Contender::Raw => measured::<Floor>(task, target, rows).await,
        Contender::Ours => measured::<Ours>(task, target, rows).await,
        Contender::TokioPostgres => measured::<Peer>(task, target, rows).await,
        Contender::Sqlx => measured::<Sqlx>(task, target, rows).await,
        Contender::Pool => Err("the pool is measured on a and c".into()),
    }
}

async fn measured<R: Reader>(task: Task, target: Target, rows: u32) -> Result<Cost, Failure> {
    let mut reader = R::open(target).await?;
    read_as(task, &mut reader, WARM_UP).await?;
    read_as(task, &mut reader, rows).await
}

async fn read_as<R: Reader>(task: Task, reader: &mut R, rows: u32) -> Result<Cost, Failure> {
    let asked = i32::try_from(rows)?;
    let stopwatch = Stopwatch::start()?;
    let mut items = Vec::new();
    let mut tally = Tally::default();
    match task {
        Task::Owned => items = reader.owned(asked).await?,
        Task::Streamed => tally = reader.streamed(asked).await?,
        Task::RowByRow => tally = reader.row_by_row(asked).await?,
        _ => tally = reader.borrowed(asked).await?,
    }
    let cost = stopwatch.stop()?;
    if task == Task::Owned {
        tally = Tally::of(&items);
    }
    if tally != Tally::expected(rows) {
        return Err(format!("{rows} rows were asked for, and {tally:?} came").into());
    }
    Ok(cost)
}

/// Makes the table.
pub(crate) async fn prepare(target: Target, sizes: &[u32]) -> Result<(), Failure> {
    let most = sizes.iter().max().copied().unwrap_or(0);
    let rows = GENERATED.replace("$1", &most.to_string());
    let peer = TokioPostgres::open(target).await?;
    peer.client
        .batch_execute(&format!(
            "drop table if exists txpostgres_bench_rows;
             create unlogged table txpostgres_bench_rows as {rows}"
        ))
        .await?;
    peer.client.batch_execute("vacuum analyze txpostgres_bench_rows").await?;
    Ok(())
}

// --- ours ---

impl<'r> FromRow<'r> for Item {
    type Layout = [ColumnReader; 4];

    fn layout(columns: &[Column]) -> txpostgres::Result<Self::Layout> {
        Ok([
            ColumnReader::new::<i64>(columns, "id")?,
            ColumnReader::new::<String>(columns, "name")?,
            ColumnReader::new::<f64>(columns, "value")?,
            ColumnReader::new::<DateTime<Utc>>(columns, "at")?,
        ])
    }

    fn from_row([id, name, value, at]: &Self::Layout, row: Row<'r>) -> txpostgres::Result<Item> {
        Ok(Item {
            id: row.read(id)?,
            name: row.read(name)?,
            value: row.read(value)?,
            at: row.read(at)?,
        })
    }
}

impl Reader for Ours {
    async fn open(target: Target) -> Result<Ours, Failure> {
        Ours::open(target).await
    }

    async fn owned(&mut self, rows: i32) -> Result<Vec<Item>, Failure> {
        Ok(self.connection.run_query_as(STATEMENT, (rows,)).await?)
    }

    async fn streamed(&mut self, rows: i32) -> Result<Tally, Failure> {
        let mut stream = self.connection.query_stream(STATEMENT, (rows,));
        let mut tally = Tally::default();
        while let Some(rows) = stream.next_rows().await? {
            for item in rows.iter_as::<Item>()? {
                let Item { id, name, value, at } = item?;
                tally.add(id, &name, value, at);
            }
        }
        Ok(tally)
    }

    async fn row_by_row(&mut self, rows: i32) -> Result<Tally, Failure> {
        let mut stream = self.connection.query_stream(STATEMENT, (rows,)).rows_as::<Item>();
        let mut tally = Tally::default();
        while let Some(Item { id, name, value, at }) = stream.next().await.transpose()? {
            tally.add(id, &name, value, at);
        }
        Ok(tally)
    }

    async fn borrowed(&mut self, rows: i32) -> Result<Tally, Failure> {
        let mut stream = self.connection.query_stream(STATEMENT, (rows,));
        let mut tally = Tally::default();
        while let Some(rows) = stream.next_rows().await? {
            for row in rows.iter_as::<(i64, &str, f64, DateTime<Utc>)>()? {
                let (id, name, value, at) = row?;
                tally.add(id, name, value, at);
            }
        }
        Ok(tally)
    }
}

// --- tokio-postgres ---

struct Peer {
    client: tokio_postgres::Client,
    statement: tokio_postgres::Statement,
}

fn item_of_peer(row: &tokio_postgres::Row) -> Result<Item, tokio_postgres::Error> {
    Ok(Item {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        value: row.try_get(2)?,
        at: row.try_get(3)?,
    })
}

impl Reader for Peer {
    async fn open(target: Target) -> Result<Peer, Failure> {
        let TokioPostgres { client, .. } = TokioPostgres::open(target).await?;
        let statement = client.prepare(STATEMENT).await?;
        Ok(Peer { client, statement })
    }

    async fn owned(&mut self, rows: i32) -> Result<Vec<Item>, Failure> {
        let rows = self.client.query(&self.statement, &[&rows]).await?;
        Ok(rows.iter().map(item_of_peer).collect::<Result<_, _>>()?)
    }

    async fn streamed(&mut self, rows: i32) -> Result<Tally, Failure> {
        let stream = self.client.query_raw(&self.statement, [rows]).await?;
        let mut stream = std::pin::pin!(stream);
        let mut tally = Tally::default();
        while let Some(row) = stream.try_next().await? {
            let Item { id, name, value, at } = item_of_peer(&row)?;
            tally.add(id, &name, value, at);
        }
        Ok(tally)
    }

    async fn borrowed(&mut self, rows: i32) -> Result<Tally, Failure> {
        let stream = self.client.query_raw(&self.statement, [rows]).await?;
        let mut stream = std::pin::pin!(stream);
        let mut tally = Tally::default();
        while let Some(row) = stream.try_next().await? {
            tally.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        }
        Ok(tally)
    }
}

// --- sqlx ---

impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for Item {
    fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Item, sqlx::Error> {
        use sqlx::Row as _;
        // As its derive does it: by name.
        Ok(Item {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            value: row.try_get("value")?,
            at: row.try_get("at")?,
        })
    }
}

impl Reader for Sqlx {
    async fn open(target: Target) -> Result<Sqlx, Failure> {
        Sqlx::open(target).await
    }

    async fn owned(&mut self, rows: i32) -> Result<Vec<Item>, Failure> {
        let query = sqlx::query_as::<_, Item>(STATEMENT).bind(rows);
        Ok(query.fetch_all(&mut self.connection).await?)
    }

    async fn streamed(&mut self, rows: i32) -> Result<Tally, Failure> {
        let query = sqlx::query_as::<_, Item>(STATEMENT).bind(rows);
        let mut stream = query.fetch(&mut self.connection);
        let mut tally = Tally::default();
        while let Some(Item { id, name, value, at }) = stream.try_next().await? {
            tally.add(id, &name, value, at);
        }
        Ok(tally)
    }

    async fn borrowed(&mut self, rows: i32) -> Result<Tally, Failure> {
        use sqlx::Row as _;
        let mut stream = sqlx::query(STATEMENT).bind(rows).fetch(&mut self.connection);
        let mut tally = Tally::default();
        while let Some(row) = stream.try_next().await? {
            tally.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        }
        Ok(tally)
    }
}

// --- raw ---

struct Floor(Raw);

fn damaged() -> Failure {
    "a row is not what was asked for".into()
}

impl Reader for Floor {
    async fn open(target: Target) -> Result<Floor, Failure> {
        let mut raw = Raw::open(target).await?;
        raw.prepare(STATEMENT).await?;
        Ok(Floor(raw))
    }

    async fn owned(&mut self, rows: i32) -> Result<Vec<Item>, Failure> {
        self.0.send(rows).await?;
        let mut items = Vec::new();
        let item = |row: &[u8]| {
            let (id, name, value, at) = read(row).ok_or_else(damaged)?;
            items.push(Item { id, name: name.to_owned(), value, at });
            Ok(())
        };
        self.0.answer(item).await?;
        Ok(items)
    }

    async fn streamed(&mut self, rows: i32) -> Result<Tally, Failure> {
        self.0.send(rows).await?;
        let mut tally = Tally::default();
        let item = |row: &[u8]| {
            let (id, name, value, at) = read(row).ok_or_else(damaged)?;
            let item = std::hint::black_box(Item { id, name: name.to_owned(), value, at });
            tally.add(item.id, &item.name, item.value, item.at);
            Ok(())
        };
        self.0.answer(item).await?;
        Ok(tally)
    }

    async fn borrowed(&mut self, rows: i32) -> Result<Tally, Failure> {
        self.0.send(rows).await?;
        let mut tally = Tally::default();
        let visit = |row: &[u8]| {
            let (id, name, value, at) = read(row).ok_or_else(damaged)?;
            tally.add(id, name, value, at);
            Ok(())
        };
        self.0.answer(visit).await?;
        Ok(tally)
    }
}
