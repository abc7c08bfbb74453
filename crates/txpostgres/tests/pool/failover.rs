//! A primary and its synchronous standby change places under 200 tasks that write through the pool:
//! what was acknowledged is there once, and the whole pool follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::{JoinHandle, block_in_place};
use txpostgres::{ConnectionPool, SqlState};
use txpostgres_testkit::Proxy;

use crate::support::all::all;
use crate::support::pair::{Change, Pair, rows, sessions};
use crate::support::{bounded, eventually};

/// How many tasks write at once.
const WRITERS: usize = 200;

/// Every connection of the pool is on the new primary within this time of the promotion: 2 s.
const FOLLOWED: Duration = Duration::from_secs(2);

const INSERT: &str = "insert into written (id) values ($1)";

/// What the tasks were told.
#[derive(Default)]
struct Written {
    next: AtomicU64,
    acknowledged: Mutex<Vec<(u64, Instant)>>,
    /// How many changes of the primary have begun.
    changes: AtomicUsize,
    /// By error: how often any task was told so.
    errors: Mutex<BTreeMap<String, u64>>,
    stop: AtomicBool,
}

impl Written {
    fn len(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// When the first row was acknowledged after this time.
    fn first_after(&self, time: Instant) -> Option<Instant> {
        let acknowledged = self.acknowledged.lock();
        acknowledged.iter().rev().map(|(_, at)| *at).take_while(|at| *at > time).last()
    }
}

/// Writes rows at full speed: every other one in an interaction. Returns how often the task was
/// told that the server is read-only, for each change of the primary.
async fn write(pool: ConnectionPool, written: Arc<Written>) -> BTreeMap<usize, u64> {
    let mut refused = BTreeMap::new();
    while !written.stop.load(Ordering::Relaxed) {
        let number = written.next.fetch_add(1, Ordering::Relaxed);
        let id = i64::try_from(number).unwrap();
        let outcome = if number.is_multiple_of(2) {
            pool.run_operation(INSERT, (id,)).await
        } else {
            pool.run_interaction(async |cursor| {
                cursor.run_operation(INSERT, (id,)).await.map(|_| 1_u64)
            })
            .await
        };
        let Err(error) = outcome else {
            written.acknowledged.lock().push((number, Instant::now()));
            continue;
        };
        if error.sqlstate() == Some(SqlState::READ_ONLY_SQL_TRANSACTION) {
            *refused.entry(written.changes.load(Ordering::Relaxed)).or_default() += 1;
        }
        let told = format!("{:?} {:?}", error.kind(), error.sqlstate());
        *written.errors.lock().entry(told).or_default() += 1;
    }
    refused
}

/// The ports of the servers that all connections of the pool are on: it is held as a whole for a
/// moment.
async fn ports(pool: &ConnectionPool) -> Vec<i32> {
    let most = pool.statistics().max;
    let held = bounded(all((0..most).map(|_| Box::pin(pool.get())).collect())).await;
    let mut ports = Vec::new();
    for connection in held {
        let connection = connection.unwrap();
        let port = connection.run_query("select inet_server_port()", ()).one();
        ports.push(bounded(port).await.unwrap().get(0).unwrap());
    }
    ports
}

/// One change of the primary under load.
async fn change(pair: Pair, how: Change, pool: &ConnectionPool, written: &Written) -> Pair {
    let before = written.len();
    eventually("it writes", || written.len() > before + 500).await;
    written.changes.fetch_add(1, Ordering::Relaxed);
    let began = Instant::now();
    let promoted = block_in_place(|| pair.change(how));
    // The former primary acknowledges nothing by now, so that this is the new one.
    eventually("the first write", || written.first_after(promoted).is_some()).await;
    let first = written.first_after(promoted).unwrap() - promoted;
    let ports = ports(pool).await;
    let followed = promoted.elapsed();
    println!(
        "{how:?}: {before} rows before; promoted after {:.0?}; first write {first:.0?} later, all \
         {} connections there {followed:.0?} later",
        promoted - began,
        ports.len()
    );
    let port = i32::from(pair.1.port());
    assert!(ports.iter().all(|at| *at == port), "{how:?}: {ports:?}, not {port}");
    assert!(followed < FOLLOWED, "{how:?}: {followed:?}");
    let pair = block_in_place(|| pair.come_back(how));
    // The former primary takes connections, and none of ours is there or comes back to it.
    let size = pool.statistics().size.to_string();
    assert_eq!((sessions(&pair.1), sessions(&pair.0)), ("0".to_owned(), size), "{how:?}");
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_row_of_200_tasks_outlasts_a_failover() {
    let mut pair = block_in_place(Pair::start);
    let pool = ConnectionPool::new(pair.dsn()).unwrap();
    bounded(pool.start()).await.unwrap();
    let written = Arc::new(Written::default());
    let writers: Vec<JoinHandle<_>> =
        (0..WRITERS).map(|_| tokio::spawn(write(pool.clone(), Arc::clone(&written)))).collect();
    let changes = [
        Change::Crash,
        Change::Switchover,
        Change::PromotedFirst,
        Change::ReadOnlyFirst,
        Change::Crash,
    ];
    for how in changes {
        pair = change(pair, how, &pool, &written).await;
    }
    let before = written.len();
    eventually("it writes", || written.len() > before + 500).await;
    written.stop.store(true, Ordering::Relaxed);
    let mut told = 0;
    for writer in writers {
        let refused = bounded(writer).await.unwrap();
        assert!(refused.values().all(|count| *count <= 1), "25006 by change: {refused:?}");
        told += refused.values().sum::<u64>();
    }
    bounded(pool.close()).await;
    let rows = rows(&pair.0);
    let acknowledged = written.acknowledged.lock();
    for (id, _) in &*acknowledged {
        assert_eq!(rows.get(id), Some(&1), "row {id} was acknowledged");
    }
    assert!(rows.values().all(|count| *count == 1), "nothing is done twice");
    println!(
        "{} rows asked for, {} acknowledged, {} there; {told} tasks were told 25006; errors: {:?}",
        written.next.load(Ordering::Relaxed),
        acknowledged.len(),
        rows.len(),
        written.errors.lock()
    );
}

/// A network swallows everything to both servers and is well again: attempts that the standby has
/// answered, and whose first host stays silent, do not keep the pool from others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_answers_does_not_stand_for_the_primary() {
    let pair = block_in_place(Pair::start);
    let proxies = [&pair.0, &pair.1].map(|server| Proxy::to_port(server.port()).unwrap());
    let dsn = pair.dsn();
    let dsn = dsn.replace(&pair.0.port().to_string(), &proxies[0].port().to_string());
    let dsn = dsn.replace(&pair.1.port().to_string(), &proxies[1].port().to_string());
    let pool = ConnectionPool::builder(dsn).max(8).build().unwrap();
    bounded(pool.start()).await.unwrap();
    for proxy in &proxies {
        proxy.deafen_new(Some(0));
        proxy.deafen();
    }
    // What is open is found dead, and the attempts begin. They are all silent.
    pool.retire();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { (pool.get().await.unwrap(), Instant::now()) })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    for proxy in &proxies {
        proxy.deafen_new(None);
    }
    let healed = Instant::now();
    let mut last = Duration::ZERO;
    let mut held = Vec::new();
    for caller in callers {
        let (connection, at) = bounded(caller).await.unwrap();
        last = last.max(at - healed);
        held.push(connection);
    }
    println!("8 callers have a connection {last:.0?} after the network is well");
    assert!(last < Duration::from_secs(1), "{last:?}");
}
