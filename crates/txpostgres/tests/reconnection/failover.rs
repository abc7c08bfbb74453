//! A primary and its synchronous standby change places under a writer at full speed: what was
//! acknowledged is there once, on whichever of the two is the primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::{JoinHandle, block_in_place};
use txpostgres::reconnection::DeadConnectionDetector;
use txpostgres::{Connection, Error};

use crate::support::pair::{Change, Pair, rows, sessions};
use crate::support::{bounded, eventually};

/// The delay between attempts to reconnect: 50 ms.
const DELAY: Duration = Duration::from_millis(50);

/// The first write comes within this time of a promotion: 2 s. On an idle machine it takes less
/// than 500 ms, which each round prints; machines that run tests may be busy.
const FIRST_WRITE: Duration = Duration::from_secs(2);

/// How many tasks write at once.
const WRITERS: u64 = 4;

/// What the writers were told.
#[derive(Default)]
struct Written {
    next: AtomicU64,
    acknowledged: Mutex<Vec<(u64, Instant)>>,
    stop: AtomicBool,
}

impl Written {
    fn len(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// When the first row was acknowledged after this time.
    fn first_after(&self, time: Instant) -> Option<Instant> {
        let acknowledged = self.acknowledged.lock();
        acknowledged.iter().map(|(_, at)| *at).filter(|at| *at > time).min()
    }
}

/// Writes rows at full speed: every other one in an interaction.
async fn write(connection: Connection, written: Arc<Written>) {
    let insert = "insert into written (id) values ($1)";
    while !written.stop.load(Ordering::Relaxed) {
        let number = written.next.fetch_add(1, Ordering::Relaxed);
        let id = i64::try_from(number).unwrap();
        let outcome = if number.is_multiple_of(2) {
            connection.run_operation(insert, (id,)).await
        } else {
            connection
                .run_interaction(async |cursor| {
                    cursor.run_operation(insert, (id,)).await.map(|_| 1_u64)
                })
                .await
        };
        if outcome.is_ok() {
            written.acknowledged.lock().push((number, Instant::now()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_row_outlasts_a_failover() {
    let mut pair = block_in_place(Pair::start);
    let delays = || std::iter::once(Duration::ZERO).chain(std::iter::repeat(DELAY));
    let detector = DeadConnectionDetector::builder().reconnection_iterator(delays).build();
    let builder = Connection::builder().detector(detector);
    let connection = builder.wait_for_recovery(Duration::from_secs(20)).build();
    bounded(connection.connect(pair.dsn())).await.unwrap();
    let written = Arc::new(Written::default());
    let writers: Vec<JoinHandle<()>> = (0..WRITERS)
        .map(|_| tokio::spawn(write(connection.clone(), Arc::clone(&written))))
        .collect();
    for how in [Change::Crash, Change::Switchover, Change::PromotedFirst, Change::Crash] {
        let before = written.len();
        eventually("it writes", || written.len() > before + 200).await;
        let began = Instant::now();
        let promoted = block_in_place(|| pair.change(how));
        let port = pair.1.port();
        // The former primary acknowledges nothing by now, so that this is the new one.
        eventually("the first write", || written.first_after(promoted).is_some()).await;
        let first = written.first_after(promoted).unwrap() - promoted;
        println!(
            "{how:?}: {} rows before; promoted after {:.0?}; first write {first:.0?} later",
            written.len(),
            promoted - began
        );
        assert!(first < FIRST_WRITE, "{how:?}: {first:?}");
        let at = bounded(connection.run_query("select inet_server_port()", ()).one()).await;
        assert_eq!(at.unwrap().get::<i32>(0).unwrap(), i32::from(port));
        let began = Instant::now();
        pair = block_in_place(|| pair.come_back(how));
        println!("{how:?}: the former primary is a standby after {:.0?}", began.elapsed());
        // It takes connections, and none of ours is there or comes back to it.
        assert_eq!((sessions(&pair.1).as_str(), sessions(&pair.0).as_str()), ("0", "1"), "{how:?}");
    }
    let before = written.len();
    eventually("it writes", || written.len() > before + 200).await;
    written.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        bounded(writer).await.unwrap();
    }
    let rows = rows(&pair.0);
    let acknowledged = written.acknowledged.lock();
    for (id, _) in &*acknowledged {
        assert_eq!(rows.get(id), Some(&1), "row {id} was acknowledged");
    }
    assert!(rows.values().all(|count| *count == 1), "nothing is done twice");
    let (asked, there) = (written.next.load(Ordering::Relaxed), rows.len());
    println!("{asked} rows asked for, {} acknowledged, {there} there", acknowledged.len());
}

/// While there is no server for reading and writing, the connection stays on none, and calls say
/// so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_standbys_are_no_primary() {
    let pair = block_in_place(Pair::start);
    let connection = crate::open(crate::reconnecting(), pair.dsn()).await;
    let Pair(one, other) = &pair;
    block_in_place(|| one.demote(other)).unwrap();
    // Attempts are made every 20 ms, and each of them leaves both.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(connection.detector().unwrap().connection_is_dead());
    let insert = "insert into written values (1)";
    let error: Error = bounded(connection.run_operation(insert, ())).await.unwrap_err();
    assert_eq!(error.kind(), txpostgres::ErrorKind::ConnectionDead, "{error}");
    block_in_place(|| one.promote()).unwrap();
    assert!(bounded(connection.detector().unwrap().recovered()).await);
    bounded(connection.run_operation(insert, ())).await.unwrap();
    assert_eq!(one.sql("select count(*) from written").unwrap(), "1");
}
