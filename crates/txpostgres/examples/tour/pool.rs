//! A pool with twenty tasks, which rides through whatever happens to its server meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use txpostgres::{ConnectionPool, Result};

use crate::failed;
use crate::screen::Guide;

const TASKS: u32 = 20;

/// The tasks, and what they use.
pub(crate) struct Riders {
    pool: ConnectionPool,
    tasks: JoinSet<Ride>,
    ends: Arc<AtomicBool>,
}

/// What one task has seen.
#[derive(Default)]
struct Ride {
    answered: u32,
    failed: u32,
    longest: Duration,
}

impl Riders {
    pub(crate) async fn start(guide: &Guide, dsn: &str) -> Result<Self> {
        let pool = ConnectionPool::new(dsn)?;
        pool.start().await?;
        let (mut tasks, ends) = (JoinSet::new(), Arc::<AtomicBool>::default());
        for _ in 0..TASKS {
            tasks.spawn(ride(pool.clone(), Arc::clone(&ends)));
        }
        let size = pool.statistics().size;
        guide.done(format!("beside it {TASKS} tasks ask through a pool of {size} connections"));
        Ok(Self { pool, tasks, ends })
    }

    pub(crate) async fn stop(mut self, guide: &Guide) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        let mut all = Ride::default();
        while let Some(ride) = self.tasks.join_next().await {
            let ride = ride.map_err(|error| failed("a task panicked").with_source(error))?;
            all.answered += ride.answered;
            all.failed += ride.failed;
            all.longest = all.longest.max(ride.longest);
        }
        let statistics = self.pool.statistics();
        guide.timed("the longest that a task of the pool has waited", all.longest);
        guide.fact("answered", all.answered);
        guide.fact("failed", format!("{}, which were in flight", all.failed));
        guide.fact("connections", format!("{} lost, {} open", statistics.lost, statistics.size));
        self.pool.close().await;
        Ok(())
    }
}

/// Asks on and on. A call that was in flight when its connection was lost fails, and the next one
/// waits for a connection.
async fn ride(pool: ConnectionPool, ends: Arc<AtomicBool>) -> Ride {
    let mut ride = Ride::default();
    while !ends.load(Ordering::Relaxed) {
        let began = Instant::now();
        match pool.run_query("select 1", ()).await {
            Ok(_) => ride.answered += 1,
            Err(_) => ride.failed += 1,
        }
        ride.longest = ride.longest.max(began.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    ride
}
