//! A client for rigs that break servers and networks: it keeps a ledger of rows, and says one line
//! for each event, so that a judge can compare what it said with what the table has.
//!
//! A pool as the first page of its guide shows it, or with the argument `connection` one connection
//! and its detector, as the guide on reconnecting shows it. The settings of the rig come from
//! variables `SURVIVE_…`; `ack`, `rej` and `unk` are the library's own words for
//! what became of a transaction: [`ErrorKind`].

#![allow(clippy::print_stdout, reason = "the lines are what it is for")]

use std::future::pending;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};
use txpostgres::{
    Connection, ConnectionPool, Error, ErrorKind, Executor, NotifyEvent, PooledConnection, Result,
    Subscription,
};

/// How long calls wait for the connection while it is dead.
const PATIENCE: Duration = Duration::from_secs(5);

const INSERT: &str = "insert into ledger (client, worker, seq) values ($1, $2, $3)";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn variable<T: FromStr>(name: &str, otherwise: T) -> T {
    let value = std::env::var(format!("SURVIVE_{name}")).ok();
    value.and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// What the rig wants of a pool and of a connection, besides statements.
trait Library: Executor + Clone + 'static {
    /// Has this many connections open at once, as far as it has several.
    async fn warm(&self, count: usize);

    async fn listen(&self) -> Result<Subscription>;
}

impl Library for ConnectionPool {
    async fn warm(&self, count: usize) {
        let held: Vec<_> = (0..count).map(|_| tokio::spawn(self.get())).collect();
        let mut connections: Vec<PooledConnection> = Vec::new();
        for one in held {
            connections.extend(one.await.ok().and_then(Result::ok));
        }
        drop(connections);
    }

    async fn listen(&self) -> Result<Subscription> {
        self.subscribe("survive").await
    }
}

impl Library for Connection {
    async fn warm(&self, _: usize) {}

    async fn listen(&self) -> Result<Subscription> {
        self.subscribe("survive").await
    }
}

#[derive(Clone)]
struct Client<L> {
    library: L,
    name: Arc<str>,
}

#[tokio::main]
async fn main() {
    println!("opening {:.6}", now());
    match std::env::args().nth(1).as_deref() {
        Some("connection") => tell(connection().await).await,
        _ => tell(pool().await).await,
    }
}

/// A pool: of the rig's size, and otherwise as it is by default.
async fn pool() -> ConnectionPool {
    let mut builder = ConnectionPool::builder(variable("DSN", String::new()));
    let (least, most) = (variable("POOL_MIN", 0), variable("POOL_MAX", 8));
    if least > 0 {
        builder = builder.min(least);
    }
    let limit = Duration::from_millis(variable("ACQUIRE_MS", 0));
    if !limit.is_zero() {
        builder = builder.acquire_timeout(limit);
    } else if variable("VARIANT", String::new()) == "tuned" {
        builder = builder.acquire_timeout(PATIENCE);
    }
    let pool = builder.max(most).build();
    let pool = pool.unwrap_or_else(|error| failed(&error));
    while let Err(error) = pool.start().await {
        eprintln!("{error}");
        sleep(Duration::from_millis(50)).await;
    }
    let watched = pool.clone();
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(500)).await;
            eprintln!("{:.6} {:?}", now(), watched.statistics());
        }
    });
    pool
}

/// One connection, which is opened again when it is lost.
async fn connection() -> Connection {
    let connection = Connection::builder().reconnecting().wait_for_recovery(PATIENCE).build();
    while let Err(error) = connection.connect(variable("DSN", String::new())).await {
        eprintln!("{error}");
        sleep(Duration::from_millis(50)).await;
    }
    if let Some(detector) = connection.detector() {
        let mut states = detector.states();
        tokio::spawn(async move {
            while let Some(state) = states.next().await {
                eprintln!("{:.6} {state:?}", now());
            }
        });
    }
    connection
}

fn failed(error: &Error) -> ! {
    println!("failed {:.6} {}", now(), word(&error.to_string()));
    std::process::exit(1);
}

/// Does what the rig asks for, for as long as it asks, and tells of it.
async fn tell(library: impl Library) {
    let name = variable("NAME", "client".to_owned()).into();
    let client = Client { library, name };
    let mode = variable("MODE", "ledger".to_owned());
    let story = async {
        match mode.as_str() {
            "listen" => client.listen().await,
            "burst" => client.bursts().await,
            _ => client.ledger().await,
        }
    };
    let _ = timeout(Duration::from_secs_f64(variable("SECONDS", 20.0)), story).await;
    println!("end {:.6}", now());
    std::process::exit(0);
}

impl<L: Library> Client<L> {
    /// Workers that each insert one row after the other, and perhaps one that asks what takes long.
    async fn ledger(&self) {
        println!("ready {:.6}", now());
        let workers: i32 = variable("WORKERS", 8);
        let think = Duration::from_millis(variable("THINK_MS", 100));
        for worker in 0..workers {
            let this = self.clone();
            tokio::spawn(async move {
                sleep(think * 2 * worker.unsigned_abs() / workers.unsigned_abs().max(1)).await;
                for seq in 0.. {
                    let is_fine = this.operation(&format!("{worker}:{seq}"), worker, seq, "").await;
                    // Between a half and one and a half: or commits that wait together march
                    // together.
                    let jitter = 50 + (worker * 7_919 + seq % 1_000 * 104_729).unsigned_abs() % 101;
                    sleep(think / if is_fine { 1 } else { 2 } * jitter / 100).await;
                }
            });
        }
        let slow: f64 = variable("SLEEP_S", 0.0);
        if slow > 0.0 {
            for seq in 0.. {
                let sql = format!("select pg_sleep({slow})");
                self.operation(&format!("slow:{seq}"), -1, seq, &sql).await;
                sleep(think).await;
            }
        }
        pending::<()>().await;
    }

    /// Many operations at once, after a time without any.
    async fn bursts(&self) {
        println!("ready {:.6}", now());
        self.library.warm(variable("WARM", 8)).await;
        println!("warm {:.6}", now());
        sleep(Duration::from_secs_f64(variable("IDLE_S", 5.0))).await;
        let sql = variable("QUERY", String::new());
        for burst in 0..variable("BURSTS", 2) {
            println!("burst {burst} {:.6}", now());
            for task in 0..variable("TASKS", 50) {
                let (this, sql) = (self.clone(), sql.clone());
                tokio::spawn(async move {
                    this.operation(&format!("{task}:{burst}"), task, burst, &sql).await;
                });
            }
            sleep(Duration::from_secs_f64(variable("GAP_S", 3.0))).await;
        }
        pending::<()>().await;
    }

    async fn listen(&self) {
        let Ok(mut heard) = self.library.listen().await else {
            return println!("failed {:.6} listen", now());
        };
        println!("listening {:.6}", now());
        while let Some(event) = heard.next().await {
            match event {
                NotifyEvent::Notification(one) => println!("heard {} {:.6}", one.payload(), now()),
                NotifyEvent::Disconnected => {}
                NotifyEvent::Gap { .. } => println!("gap {:.6} gap", now()),
                other => println!("gap {:.6} {}", now(), word(&format!("{other:?}"))),
            }
        }
        println!("gap {:.6} end", now());
    }

    /// One row in a transaction, or one query; and what became of it.
    async fn operation(&self, id: &str, worker: i32, seq: i32, sql: &str) -> bool {
        println!("start {id} {:.6}", now());
        let outcome = if sql.is_empty() {
            let row = (&*self.name, worker, seq);
            let insert = self.library.run_interaction(async |cursor| {
                println!("acquired {id} {:.6}", now());
                cursor.run_operation(INSERT, row).await
            });
            insert.await.map(drop)
        } else {
            println!("acquired {id} {:.6}", now());
            self.library.run_query(sql, ()).await.map(drop)
        };
        match &outcome {
            Ok(()) => println!("ack {id} {:.6}", now()),
            Err(error) => println!("{} {id} {:.6} {}", verdict(error), now(), why(error)),
        }
        outcome.is_ok()
    }
}

/// A transaction whose COMMIT was not sent has not happened, whatever became of its statements; of
/// one whose COMMIT was sent the error says whether that is known.
fn verdict(error: &Error) -> &'static str {
    if error.kind() == ErrorKind::CommitUnknown { "unk" } else { "rej" }
}

fn why(error: &Error) -> String {
    let place = match error.kind() {
        ErrorKind::ConnectionDead | ErrorKind::Closed | ErrorKind::Timeout => "acquire",
        ErrorKind::CommitUnknown | ErrorKind::CommitRefused => "commit",
        _ => "work",
    };
    match error.sqlstate() {
        Some(code) => format!("{place}:{}", code.as_str()),
        None => format!("{place}:{}", word(&format!("{:?}", error.kind()))),
    }
}

fn word(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join("_")
}
