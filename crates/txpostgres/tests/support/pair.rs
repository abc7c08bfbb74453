//! A primary and its synchronous standby, which change places while writers write.

use std::collections::BTreeMap;
use std::time::Instant;

use txpostgres_testkit::{Cluster, StopMode};

/// What makes a server refuse writes to sessions that do not ask for them.
const READ_ONLY: &str = "default_transaction_read_only";

/// How one of the two servers follows the other as the primary.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// The primary crashes, the standby is promoted, the former primary comes back.
    Crash,
    /// The primary is made a standby, and there is none for a while.
    Switchover,
    /// The standby is promoted while the primary works still. No commit of the former primary can
    /// be acknowledged by then; it is stopped afterwards, and comes back.
    PromotedFirst,
    /// The primary is made read-only, as managed services do it; later it is made a standby.
    ReadOnlyFirst,
}

/// The two servers, the first being the primary.
pub(crate) struct Pair(pub(crate) Cluster, pub(crate) Cluster);

impl Pair {
    pub(crate) fn start() -> Self {
        // What is acknowledged must outlast a crash, also while there is no standby.
        let primary = Cluster::builder().setting("synchronous_commit", "on").start().unwrap();
        primary.sql("create table written (id bigint)").unwrap();
        let standby = Cluster::builder().standby_of(&primary).start().unwrap();
        primary.set_synchronous(Some(&standby)).unwrap();
        Self(primary, standby)
    }

    pub(crate) fn dsn(&self) -> String {
        let (one, other) = (self.0.port(), self.1.port());
        format!(
            "host=127.0.0.1,127.0.0.1 port={one},{other} user=postgres dbname=postgres \
             application_name=writer target_session_attrs=read-write"
        )
    }

    /// Makes the standby the primary. Returns since when it takes writes and nothing keeps the
    /// connection from it.
    pub(crate) fn change(&self, how: Change) -> Instant {
        let Self(primary, standby) = self;
        match how {
            Change::Crash => {
                primary.stop(StopMode::Immediate).unwrap();
                standby.promote().unwrap();
                Instant::now()
            }
            Change::Switchover => {
                primary.demote(standby).unwrap();
                standby.promote().unwrap();
                Instant::now()
            }
            Change::ReadOnlyFirst => {
                primary.set(READ_ONLY, "on").unwrap();
                primary.reload().unwrap();
                primary.demote(standby).unwrap();
                standby.promote().unwrap();
                Instant::now()
            }
            Change::PromotedFirst => {
                standby.promote().unwrap();
                primary.stop(StopMode::Fast).unwrap();
                Instant::now()
            }
        }
    }

    /// Makes the former primary the synchronous standby of the new one.
    pub(crate) fn come_back(self, how: Change) -> Self {
        let Self(former, primary) = self;
        match how {
            Change::Switchover => {}
            Change::ReadOnlyFirst => {
                former.set(READ_ONLY, "off").unwrap();
                former.reload().unwrap();
            }
            Change::Crash | Change::PromotedFirst => former.rejoin(&primary).unwrap(),
        }
        primary.set_synchronous(Some(&former)).unwrap();
        primary.wait_for_replay(&former).unwrap();
        Self(primary, former)
    }
}

/// How many sessions the writers have on this server.
pub(crate) fn sessions(server: &Cluster) -> String {
    server
        .sql("select count(*) from pg_stat_activity where application_name = 'writer'")
        .unwrap_or_else(|error| error.to_string())
}

/// How often each row is there.
pub(crate) fn rows(server: &Cluster) -> BTreeMap<u64, u64> {
    let rows = server.sql("select id, count(*) from written group by id").unwrap();
    let number = |text: &str| text.parse().unwrap();
    let pairs = rows.lines().map(|row| row.split_once('|').unwrap());
    pairs.map(|(id, count)| (number(id), number(count))).collect()
}
