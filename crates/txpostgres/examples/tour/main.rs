//! A tour of txpostgres: connect, ask, ask much at once, move money and take it back, hear a
//! notification, copy and stream many rows, fail with grace, survive a restart, alone and as a
//! pool.
//!
//! `cargo xtask demo` runs it on a server of its own. On yours:
//!
//! ```text
//! cargo run -p txpostgres --example tour -- 'host=localhost dbname=test'
//! ```
//!
//! It works in temporary tables, which only its own session sees and which end with it.

mod many_rows;
mod pool;
mod recovery;
mod screen;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use txpostgres::{Config, Connection, Error, NotifyEvent, Result};

use screen::Guide;
use traffic::{Counting, Lap, Traffic};

/// How many tasks share the connection, and how many operations each has.
const TASKS: i32 = 20;
const OPERATIONS: i32 = 10;

#[tokio::main]
async fn main() -> ExitCode {
    let dsn = std::env::args().nth(1).or_else(|| variable("TXPOSTGRES_DSN"));
    let Some(dsn) = dsn else {
        eprintln!("Which server? Give a connection string, or set TXPOSTGRES_DSN to one:");
        eprintln!("    cargo run -p txpostgres --example tour -- 'host=localhost dbname=test'");
        eprintln!("Or have one made and thrown away: cargo xtask demo");
        return ExitCode::FAILURE;
    };
    match tour(&dsn).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe tour ends here.\n{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What a variable says; an empty one says nothing.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn tour(dsn: &str) -> Result<()> {
    let mut guide = Guide::new();
    let traffic = Arc::new(Traffic::default());
    let connection = Connection::builder()
        .connection_factory(Counting(Arc::clone(&traffic)))
        .reconnecting()
        .build();

    guide.step("Connecting");
    connect(&guide, &connection, dsn).await?;
    guide.step("A table, and some rows");
    rows(&guide, &connection).await?;
    guide.step("Many tasks, one connection");
    many_tasks(&guide, &connection, &traffic).await?;
    guide.step("A transaction that commits");
    commits(&guide, &connection).await?;
    guide.step("A transaction that must not happen");
    rolls_back(&guide, &connection).await?;
    guide.step("A caller who loses patience");
    impatient(&guide, &connection).await?;
    guide.step("A slow query, cancelled");
    cancelled(&guide, &connection).await?;
    guide.step("A notification, while nobody asks");
    notification(&guide, &connection).await?;
    guide.step("Many rows in, by COPY");
    many_rows::copied(&guide, &connection).await?;
    guide.step("Many rows out, as a stream");
    many_rows::streamed(&guide, &connection).await?;
    guide.step("A cursor, moved both ways");
    many_rows::scrolled(&guide, &connection).await?;
    guide.step("A mistake, shown where it is");
    mistake(&guide, &connection).await?;
    guide.step("Cleaning up");
    connection.run_operation("drop table pg_temp.account, pg_temp.reading", ()).await?;
    guide.done("the tables are dropped");
    guide.step("A server that goes away and comes back");
    let riders = pool::Riders::start(&guide, dsn).await?;
    recovery::restarted(&guide, &connection).await?;
    riders.stop(&guide).await?;
    guide.step("Closing");
    connection.close().await;
    guide.done("the connection is closed");
    Ok(())
}

async fn connect(guide: &Guide, connection: &Connection, dsn: &str) -> Result<()> {
    let config = Config::parse(dsn)?;
    // The settings are shown without secrets.
    let said: Vec<String> =
        config.settings().iter().map(|(name, value)| format!("{name}={value}")).collect();
    guide.say(said.join(" "));
    let began = Instant::now();
    connection.connect(config).await?;
    guide.timed("connected", began.elapsed());
    let version = connection.parameter("server_version").unwrap_or_default();
    guide.fact("server", format!("PostgreSQL {version}"));
    guide.fact("process", connection.backend_pid().map_or("unknown".into(), |p| p.to_string()));
    guide.fact("encrypted", if connection.is_encrypted() { "yes, by TLS" } else { "no" });
    Ok(())
}

async fn rows(guide: &Guide, connection: &Connection) -> Result<()> {
    // With its schema in front of the name, so that no table of yours is meant by accident.
    connection
        .run_script(
            "create table pg_temp.account (
                 id      int primary key,
                 name    text not null,
                 balance bigint not null check (balance >= 0)
             )",
        )
        .await?;
    let inserted = connection
        .run_operation(
            "insert into pg_temp.account values (1, $1, $2), (2, $3, $4)",
            ("Ada", 1_000_i64, "Grace", 50_i64),
        )
        .await?;
    guide.done(format!("table account, {inserted} rows inserted"));
    balances(guide, connection).await
}

async fn balances(guide: &Guide, connection: &Connection) -> Result<()> {
    let sql = "select name, balance from pg_temp.account order by id";
    for row in &connection.run_query(sql, ()).await? {
        let (name, balance): (&str, i64) = (row.get("name")?, row.get("balance")?);
        guide.fact(name, format!("{balance:>6}"));
    }
    Ok(())
}

async fn many_tasks(guide: &Guide, connection: &Connection, traffic: &Traffic) -> Result<()> {
    let total = TASKS * OPERATIONS;
    let alone = Lap::begin(traffic);
    for n in 0..total {
        square(connection, n).await?;
    }
    let alone = alone.end(traffic);

    let together = Lap::begin(traffic);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let connection = connection.clone();
            tokio::spawn(async move {
                for n in 0..OPERATIONS {
                    square(&connection, task * OPERATIONS + n).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|error| failed("a task panicked").with_source(error))??;
    }
    let together = together.end(traffic);

    guide.timed(format!("{total} queries, one after another"), alone.time);
    guide.timed(format!("{total} queries from {TASKS} tasks"), together.time);
    guide.say("Every answer reached the task that had asked.");
    guide.say(format!(
        "The first took {} writes to the socket, each of which waited for its answer.",
        alone.writes
    ));
    guide.say(format!(
        "The second took {}: what tasks ask at the same time travels together.",
        together.writes
    ));
    Ok(())
}

/// Asks for a square, and checks the answer.
async fn square(connection: &Connection, n: i32) -> Result<()> {
    let rows = connection.run_query("select $1::int4 * $1::int4", (n,)).await?;
    let row = rows.first().ok_or_else(|| failed("no row came back"))?;
    if row.get::<i32>(0)? == n * n {
        Ok(())
    } else {
        Err(failed(format!("somebody else's answer came for {n}")))
    }
}

const CREDIT: &str = "update pg_temp.account set balance = balance + $1 where name = $2";
const DEBIT: &str = "update pg_temp.account set balance = balance - $1 where name = $2";

async fn commits(guide: &Guide, connection: &Connection) -> Result<()> {
    let amount = 250_i64;
    connection
        .run_interaction(async |cursor| {
            cursor.run_operation(CREDIT, (amount, "Grace")).await?;
            cursor.run_operation(DEBIT, (amount, "Ada")).await
        })
        .await?;
    guide.done(format!("Ada sent {amount} to Grace"));
    balances(guide, connection).await
}

async fn rolls_back(guide: &Guide, connection: &Connection) -> Result<()> {
    let amount = 5_000_i64;
    let outcome = connection
        .run_interaction(async |cursor| {
            cursor.run_operation(CREDIT, (amount, "Grace")).await?;
            cursor.run_operation(DEBIT, (amount, "Ada")).await
        })
        .await;
    match outcome {
        Ok(_) => return Err(failed("Ada spent more than she has")),
        Err(error) => {
            guide.say(format!("Ada sends {amount} to Grace: Grace is credited, then Ada debited."));
            guide.refused(error);
        }
    }
    guide.done("both updates are undone; the balances are as before");
    balances(guide, connection).await
}

async fn impatient(guide: &Guide, connection: &Connection) -> Result<()> {
    let limit = Duration::from_millis(20);
    let slow = connection.run_query("select pg_sleep(0.2)", ());
    if timeout(limit, slow).await.is_ok() {
        return Err(failed("a sleep of 200 ms took less than 20"));
    }
    guide.done("gave up on a slow query after 20 ms: its future was dropped");
    let began = Instant::now();
    square(connection, 12).await?;
    guide.timed("the next query got its own answer", began.elapsed());
    guide.say("The server finished the slow one first; its answer was thrown away.");
    Ok(())
}

async fn notification(guide: &Guide, connection: &Connection) -> Result<()> {
    // No other session of your server listens to a name with this process in it.
    let channel = format!("txpostgres tour {}", connection.backend_pid().unwrap_or_default());
    let mut news = connection.subscribe(&channel).await?;
    guide.done(format!("listening to \"{channel}\""));
    let undone = connection
        .run_interaction(async |cursor| {
            cursor.notify(&channel, "Ada is rich").await?;
            Err::<(), _>(failed("thought better of it"))
        })
        .await;
    if undone.is_ok() {
        return Err(failed("an interaction that failed was committed"));
    }
    let began = Instant::now();
    connection.notify(&channel, "Grace has 300").await?;
    match timeout(Duration::from_secs(5), news.next()).await {
        Ok(Some(NotifyEvent::Notification(heard))) if heard.payload() == "Grace has 300" => {
            guide.timed("sent and heard", began.elapsed());
            guide.fact("from", format!("process {}", heard.process_id()));
            guide.fact("payload", heard.payload());
        }
        other => return Err(failed(format!("heard {other:?}"))),
    }
    guide.say("What a transaction that was rolled back had sent was not heard.");
    Ok(())
}

async fn cancelled(guide: &Guide, connection: &Connection) -> Result<()> {
    let began = Instant::now();
    let mut slow = connection.run_query("select pg_sleep(60)", ());
    let handle = slow.cancel_handle();
    let other = connection.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // It goes on by itself.
        drop(other.cancel(&handle));
    });
    match slow.await {
        Ok(_) => return Err(failed("a sleep of a minute was not cancelled")),
        Err(error) => guide.refused(error),
    }
    guide.timed("a sleep of a minute, cancelled by handle", began.elapsed());
    let began = Instant::now();
    let limit = Duration::from_millis(50);
    match connection.run_query("select pg_sleep(60)", ()).timeout(limit).await {
        Ok(_) => return Err(failed("a sleep of a minute ended within 50 ms")),
        Err(error) => guide.refused(error),
    }
    guide.timed("another one, by its time limit", began.elapsed());
    square(connection, 12).await?;
    guide.say("Each through a connection of its own, and no other statement was hit.");
    Ok(())
}

async fn mistake(guide: &Guide, connection: &Connection) -> Result<()> {
    let sql = "select name,\n       balanse\n  from pg_temp.account";
    match connection.run_query(sql, ()).await {
        Ok(_) => Err(failed("there is a column of that name")),
        Err(error) => {
            guide.refused(format!("{error:#}"));
            Ok(())
        }
    }
}

fn failed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(txpostgres::ErrorKind::Request, message)
}
