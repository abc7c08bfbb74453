//! Numbers of a pool for the `metrics` crate, under the names that OpenTelemetry has for pools of
//! database connections (semantic conventions, "Database client metrics"). Without the feature
//! `metrics` there are none, at no cost.

use std::time::Duration;

use super::statistics::PoolStatistics;

/// How often numbers that go up and down are told: each second.
pub(super) const REPORTED_EVERY: Option<Duration> =
    if cfg!(feature = "metrics") { Some(Duration::from_secs(1)) } else { None };

/// See the module's text.
pub(super) struct Meters {
    #[cfg(feature = "metrics")]
    told: told::Told,
}

#[cfg(not(feature = "metrics"))]
#[allow(clippy::unused_self, reason = "the methods are those of the feature")]
impl Meters {
    pub(super) fn new(_: &str) -> Self {
        Self {}
    }

    pub(super) fn created(&self, _: Duration) {}

    #[inline]
    pub(super) fn waited(&self, _: Duration) {}

    #[inline]
    pub(super) fn used(&self, _: Duration) {}

    pub(super) fn timed_out(&self) {}

    pub(super) fn report(&self, _: &PoolStatistics) {}
}

#[cfg(feature = "metrics")]
mod told {
    use std::time::Duration;

    use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

    use super::{Meters, PoolStatistics};

    const COUNT: &str = "db.client.connection.count";
    const IDLE_MIN: &str = "db.client.connection.idle.min";
    const MAX: &str = "db.client.connection.max";
    const PENDING: &str = "db.client.connection.pending_requests";
    const TIMEOUTS: &str = "db.client.connection.timeouts";
    const CREATE_TIME: &str = "db.client.connection.create_time";
    const WAIT_TIME: &str = "db.client.connection.wait_time";
    const USE_TIME: &str = "db.client.connection.use_time";
    const POOL: &str = "db.client.connection.pool.name";
    const STATE: &str = "db.client.connection.state";

    pub(in super::super) struct Told {
        idle: Gauge,
        used: Gauge,
        idle_min: Gauge,
        max: Gauge,
        pending: Gauge,
        timeouts: Counter,
        create_time: Histogram,
        wait_time: Histogram,
        use_time: Histogram,
    }

    impl Meters {
        /// Registers the numbers with the recorder that is installed now.
        pub(in super::super) fn new(pool: &str) -> Self {
            metrics::describe_gauge!(COUNT, "connections, by state");
            metrics::describe_gauge!(PENDING, "callers that wait for a connection");
            metrics::describe_counter!(TIMEOUTS, "callers that got no connection in time");
            let seconds = [
                (CREATE_TIME, "how long it takes to open a connection"),
                (WAIT_TIME, "how long a caller waits for a connection"),
                (USE_TIME, "how long a connection is in use"),
            ];
            for (name, what) in seconds {
                metrics::describe_histogram!(name, Unit::Seconds, what);
            }
            let name = || pool.to_owned();
            let told = Told {
                idle: gauge!(COUNT, POOL => name(), STATE => "idle"),
                used: gauge!(COUNT, POOL => name(), STATE => "used"),
                idle_min: gauge!(IDLE_MIN, POOL => name()),
                max: gauge!(MAX, POOL => name()),
                pending: gauge!(PENDING, POOL => name()),
                timeouts: counter!(TIMEOUTS, POOL => name()),
                create_time: histogram!(CREATE_TIME, POOL => name()),
                wait_time: histogram!(WAIT_TIME, POOL => name()),
                use_time: histogram!(USE_TIME, POOL => name()),
            };
            Self { told }
        }

        pub(in super::super) fn created(&self, took: Duration) {
            self.told.create_time.record(took);
        }

        pub(in super::super) fn waited(&self, waited: Duration) {
            self.told.wait_time.record(waited);
        }

        pub(in super::super) fn used(&self, used: Duration) {
            self.told.use_time.record(used);
        }

        pub(in super::super) fn timed_out(&self) {
            self.told.timeouts.increment(1);
        }

        /// Tells the numbers that go up and down.
        #[allow(clippy::cast_precision_loss, reason = "connections and callers are few")]
        pub(in super::super) fn report(&self, statistics: &PoolStatistics) {
            let told = &self.told;
            told.idle.set(statistics.idle as f64);
            told.used.set((statistics.size - statistics.idle) as f64);
            told.idle_min.set(statistics.min as f64);
            told.max.set(statistics.max as f64);
            told.pending.set(statistics.waiting as f64);
        }
    }
}
