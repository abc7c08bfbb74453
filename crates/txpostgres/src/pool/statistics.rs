//! What a pool has and has done, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Numbers of a pool: see [`ConnectionPool::statistics`](crate::ConnectionPool::statistics).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolStatistics {
    /// Connections that are open.
    pub size: usize,
    /// Of these, those that nothing uses.
    pub idle: usize,
    /// Of these, those that one caller has alone.
    pub taken: usize,
    /// Of these, those on which statements of one or more callers are in flight together.
    pub shared: usize,
    /// Of these, those that were given back and are being cleaned up.
    pub cleaning: usize,
    /// Attempts to open a connection that are going on.
    pub connecting: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
    /// The least number of connections.
    pub min: usize,
    /// The greatest number of connections.
    pub max: usize,
    /// How often the pool has moved on to another server, counted from 1.
    pub generation: u64,
    /// Connections that were handed out.
    pub acquired: u64,
    /// Callers that had to wait for one, or for it to be proved alive.
    pub waited: u64,
    /// How long they have waited, in all.
    pub waited_for: Duration,
    /// Callers that got none in time.
    pub timeouts: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// How long that took, in all.
    pub opening_took: Duration,
    /// Attempts to open a connection that have failed.
    pub not_opened: u64,
    /// Connections that were closed, being too old, not needed, or not clean.
    pub closed: u64,
    /// Connections that were lost.
    pub lost: u64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    acquired: AtomicU64,
    waited: AtomicU64,
    waited_micros: AtomicU64,
    timeouts: AtomicU64,
    opened: AtomicU64,
    opening_micros: AtomicU64,
    not_opened: AtomicU64,
    closed: AtomicU64,
    lost: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Counters {
    #[inline]
    pub(super) fn granted(&self, waited: Duration) {
        add(&self.acquired, 1);
        if !waited.is_zero() {
            add(&self.waited, 1);
            add(&self.waited_micros, micros(waited));
        }
    }

    pub(super) fn timed_out(&self) {
        add(&self.timeouts, 1);
    }

    pub(super) fn opened(&self, took: Duration) {
        add(&self.opened, 1);
        add(&self.opening_micros, micros(took));
    }

    pub(super) fn not_opened(&self) {
        add(&self.not_opened, 1);
    }

    pub(super) fn closed(&self) {
        add(&self.closed, 1);
    }

    pub(super) fn lost(&self) {
        add(&self.lost, 1);
    }

    /// The numbers that only grow.
    pub(super) fn read(&self) -> PoolStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PoolStatistics {
            acquired: read(&self.acquired),
            waited: read(&self.waited),
            waited_for: Duration::from_micros(read(&self.waited_micros)),
            timeouts: read(&self.timeouts),
            opened: read(&self.opened),
            opening_took: Duration::from_micros(read(&self.opening_micros)),
            not_opened: read(&self.not_opened),
            closed: read(&self.closed),
            lost: read(&self.lost),
            ..PoolStatistics::default()
        }
    }
}
