//! Workload f: many rows into a table, by COPY and by inserts.
//!
//! Every contender gets them from the same thousand structs, again and again with other ids, and
//! the server is asked afterwards whether it has them all.

use std::ops::Range;
use std::sync::LazyLock;

use futures_util::future::try_join_all;
use tokio_postgres::types::{ToSql, Type};

use crate::Failure;
use crate::contenders::{Contender, Ours, Raw, Sqlx, TokioPostgres};
use crate::frames::message;
use crate::item::{COLUMNS, GENERATED, Item};
use crate::stopwatch::{Cost, Stopwatch};
use crate::target::Target;
use crate::task::Task;

const COPY: &str = "copy txpostgres_bench_copies (id, name, value, at) from stdin (format binary)";

const INSERT: &str =
    "insert into txpostgres_bench_copies (id, name, value, at) values ($1, $2, $3, $4)";

/// Inserts in a flight, and how many structs there are.
const FLIGHT: u32 = 1_000;

/// Bytes of rows that those who encode them themselves send at a time.
const CHUNK: usize = 64 * 1024;

/// What COPY's binary format begins and ends with.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = b"\xff\xff";

/// What the rows are made from, over and over.
static ITEMS: LazyLock<Vec<Item>> =
    LazyLock::new(|| (0..FLIGHT).map(|n| Item::number(n + 1)).collect());

/// Rows by their ids.
type Ids = Range<u32>;

/// Rows to be written: an id, and a struct for all else.
fn rows(ids: Ids) -> impl Iterator<Item = (i64, &'static Item)> + Send {
    let from = usize::try_from(ids.start % FLIGHT).unwrap_or(0);
    ids.map(i64::from).zip(ITEMS.iter().cycle().skip(from))
}

/// A client that writes rows.
trait Writer: Sized {
    async fn open(target: Target) -> Result<Self, Failure>;

    async fn copy(&mut self, ids: Ids) -> Result<(), Failure>;

    /// A thousand inserts at a time, which are all done or none.
    async fn many(&mut self, ids: Ids) -> Result<(), Failure>;

    /// A thousand at a time, each of which is done or not.
    async fn pipelined(&mut self, ids: Ids) -> Result<(), Failure>;
}

/// Connects, writes, and returns what the writing cost.
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

async fn measured<W: Writer>(task: Task, target: Target, rows: u32) -> Result<Cost, Failure> {
    let mut writer = W::open(target.clone()).await?;
    // Whatever is done once is done before the stopwatch starts.
    write(task, &mut writer, 10).await?;
    prepare(target.clone()).await?;
    let cost = write(task, &mut writer, rows).await?;
    judge(target, rows).await?;
    Ok(cost)
}

/// Asks the server whether it has all rows.
async fn judge(target: Target, rows: u32) -> Result<(), Failure> {
    let peer = TokioPostgres::open(target).await?;
    let count = format!(
        "select count(*) from txpostgres_bench_copies c join ({}) g
         on c.id % {FLIGHT} + 1 = g.id and (c.name, c.value, c.at) = (g.name, g.value, g.at)
         where c.id between 0 and {rows} - 1",
        GENERATED.replace("$1", &FLIGHT.to_string())
    );
    let count: i64 = peer.client.query_one(&count, &[]).await?.try_get(0)?;
    if count != i64::from(rows) {
        return Err(format!("{rows} rows were written, and the server has {count}").into());
    }
    Ok(())
}

async fn write<W: Writer>(task: Task, writer: &mut W, rows: u32) -> Result<Cost, Failure> {
    LazyLock::force(&ITEMS);
    let stopwatch = Stopwatch::start()?;
    if task == Task::Copy {
        writer.copy(0..rows).await?;
        return stopwatch.stop();
    }
    let mut done = 0;
    while done < rows {
        let flight = done..rows.min(done + FLIGHT);
        done = flight.end;
        match task {
            Task::Many => writer.many(flight).await?,
            _ => writer.pipelined(flight).await?,
        }
    }
    stopwatch.stop()
}

/// Makes the table, or empties it.
pub(crate) async fn prepare(target: Target) -> Result<(), Failure> {
    let peer = TokioPostgres::open(target).await?;
    let create = format!(
        "create unlogged table if not exists txpostgres_bench_copies ({COLUMNS});
         truncate txpostgres_bench_copies"
    );
    Ok(peer.client.batch_execute(&create).await?)
}

impl Writer for Ours {
    async fn open(target: Target) -> Result<Ours, Failure> {
        Ours::open(target).await
    }

    async fn copy(&mut self, ids: Ids) -> Result<(), Failure> {
        let columns = ["id", "name", "value", "at"];
        let mut copy = self.connection.copy_in_rows("txpostgres_bench_copies", &columns).await?;
        let rows = rows(ids).map(|(id, item)| (id, item.name.as_str(), item.value, item.at));
        copy.send_many(rows).await?;
        copy.finish().await?;
        Ok(())
    }

    async fn many(&mut self, ids: Ids) -> Result<(), Failure> {
        let sets = rows(ids).map(|(id, item)| (id, item.name.as_str(), item.value, item.at));
        self.connection.execute_many(INSERT, sets).await?;
        Ok(())
    }

    async fn pipelined(&mut self, ids: Ids) -> Result<(), Failure> {
        let inserts = rows(ids).map(|(id, item)| {
            let row = (id, item.name.as_str(), item.value, item.at);
            self.connection.run_operation(INSERT, row)
        });
        try_join_all(inserts).await?;
        Ok(())
    }
}

struct Peer {
    client: tokio_postgres::Client,
    statement: tokio_postgres::Statement,
}

impl Writer for Peer {
    async fn open(target: Target) -> Result<Peer, Failure> {
        let TokioPostgres { client, .. } = TokioPostgres::open(target).await?;
        let statement = client.prepare(INSERT).await?;
        Ok(Peer { client, statement })
    }

    async fn copy(&mut self, ids: Ids) -> Result<(), Failure> {
        const TYPES: [Type; 4] = [Type::INT8, Type::TEXT, Type::FLOAT8, Type::TIMESTAMPTZ];
        let sink = self.client.copy_in(COPY).await?;
        let writer = tokio_postgres::binary_copy::BinaryCopyInWriter::new(sink, &TYPES);
        let mut writer = std::pin::pin!(writer);
        for (id, item) in rows(ids) {
            writer.as_mut().write(&[&id, &item.name, &item.value, &item.at]).await?;
        }
        writer.finish().await?;
        Ok(())
    }

    async fn many(&mut self, ids: Ids) -> Result<(), Failure> {
        let transaction = self.client.transaction().await?;
        let inserts: Vec<_> = rows(ids)
            .map(|row| insert_by_peer(transaction.client(), &self.statement, row))
            .collect();
        try_join_all(inserts).await?;
        Ok(transaction.commit().await?)
    }

    async fn pipelined(&mut self, ids: Ids) -> Result<(), Failure> {
        let inserts: Vec<_> =
            rows(ids).map(|row| insert_by_peer(&self.client, &self.statement, row)).collect();
        try_join_all(inserts).await?;
        Ok(())
    }
}

async fn insert_by_peer(
    client: &tokio_postgres::Client,
    statement: &tokio_postgres::Statement,
    (id, item): (i64, &Item),
) -> Result<u64, tokio_postgres::Error> {
    let row: [&(dyn ToSql + Sync); 4] = [&id, &item.name, &item.value, &item.at];
    client.execute(statement, &row).await
}

/// sqlx sends one statement at a time.
async fn insert_in_turn(connection: &mut sqlx::PgConnection, ids: Ids) -> Result<(), Failure> {
    for (id, item) in rows(ids) {
        let query = sqlx::query(INSERT).bind(id).bind(&item.name).bind(item.value).bind(item.at);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

impl Writer for Sqlx {
    async fn open(target: Target) -> Result<Sqlx, Failure> {
        Sqlx::open(target).await
    }

    /// It has no encoder of rows for COPY: the floor's is used.
    async fn copy(&mut self, ids: Ids) -> Result<(), Failure> {
        let mut copy = self.connection.copy_in_raw(COPY).await?;
        let mut chunk = Vec::with_capacity(2 * CHUNK);
        chunk.extend_from_slice(HEADER);
        for (id, item) in rows(ids) {
            item.write(id, &mut chunk);
            if chunk.len() >= CHUNK {
                copy.send(&chunk[..]).await?;
                chunk.clear();
            }
        }
        chunk.extend_from_slice(TRAILER);
        copy.send(&chunk[..]).await?;
        copy.finish().await?;
        Ok(())
    }

    async fn many(&mut self, ids: Ids) -> Result<(), Failure> {
        use sqlx::Connection as _;
        let mut transaction = self.connection.begin().await?;
        insert_in_turn(&mut transaction, ids).await?;
        Ok(transaction.commit().await?)
    }

    async fn pipelined(&mut self, ids: Ids) -> Result<(), Failure> {
        insert_in_turn(&mut self.connection, ids).await
    }
}

struct Floor {
    raw: Raw,
    /// What is sent at a time.
    request: Vec<u8>,
}

impl Floor {
    /// Bind of s0 to a row, and Execute.
    fn insert(&mut self, id: i64, item: &Item) -> Result<(), Failure> {
        let start = self.request.len();
        self.request.extend_from_slice(b"B\0\0\0\0\0s0\0\0\x01\0\x01");
        item.write(id, &mut self.request);
        self.request.extend_from_slice(b"\0\0");
        let length = u32::try_from(self.request.len() - start - 1)?;
        if let Some(place) = self.request.get_mut(start + 1..start + 5) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.request.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
        Ok(())
    }

    fn sync(&mut self) {
        self.request.extend_from_slice(b"S\0\0\0\x04");
    }

    /// Fills in the length of the CopyData that takes up all of the request.
    fn end_chunk(&mut self) -> Result<(), Failure> {
        let length = u32::try_from(self.request.len() - 1)?;
        if let Some(place) = self.request.get_mut(1..5) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let sent = self.raw.write(&self.request).await;
        self.request.clear();
        sent
    }
}

impl Writer for Floor {
    async fn open(target: Target) -> Result<Floor, Failure> {
        let mut raw = Raw::open(target).await?;
        raw.prepare(INSERT).await?;
        Ok(Floor { raw, request: Vec::with_capacity(2 * CHUNK) })
    }

    async fn copy(&mut self, ids: Ids) -> Result<(), Failure> {
        self.raw.write(&message(b'Q', &[COPY.as_bytes(), b"\0"])).await?;
        self.raw.until_copy_begins().await?;
        self.request.extend_from_slice(b"d\0\0\0\0");
        self.request.extend_from_slice(HEADER);
        for (id, item) in rows(ids) {
            item.write(id, &mut self.request);
            if self.request.len() >= CHUNK {
                self.end_chunk()?;
                self.send().await?;
                self.request.extend_from_slice(b"d\0\0\0\0");
            }
        }
        self.request.extend_from_slice(TRAILER);
        self.end_chunk()?;
        self.request.extend_from_slice(b"c\0\0\0\x04");
        self.send().await?;
        self.raw.answer(|_| Ok(())).await
    }

    async fn many(&mut self, ids: Ids) -> Result<(), Failure> {
        for (id, item) in rows(ids) {
            self.insert(id, item)?;
        }
        self.sync();
        self.send().await?;
        self.raw.answer(|_| Ok(())).await
    }

    async fn pipelined(&mut self, ids: Ids) -> Result<(), Failure> {
        let count = ids.len();
        for (id, item) in rows(ids) {
            self.insert(id, item)?;
            self.sync();
        }
        self.send().await?;
        for _ in 0..count {
            self.raw.answer(|_| Ok(())).await?;
        }
        Ok(())
    }
}
