//! A primary and its synchronous standby, each behind a proxy, which change places.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use txpostgres_testkit::{Cluster, Direction, Proxy, SetupError, StopMode};

/// How long a server may take to come back by itself: 30 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a former primary works on after the promotion of the other server: 300 ms.
const LATE: Duration = Duration::from_millis(300);

/// Ends the wait of a commit for its standby.
const CANCEL: &str =
    "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";

/// The table, and a constraint of it that is checked at COMMIT.
const TABLE: &str = "
    create table parent (id bigint primary key);
    create table ledger (
        id bigint not null check (id >= 0),
        parent bigint references parent deferrable initially deferred
    )";

/// A server and the proxy in front of it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
}

/// The two servers.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) primary: Server,
    pub(crate) standby: Server,
    /// How they are reached, in an order that does not change.
    dsn: String,
}

/// How the primary ends when the standby takes its place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takeover {
    /// It is made a standby in good order.
    Switchover,
    /// It is stopped, so that it ends its sessions.
    Stopped,
    /// It ends at once.
    Crashed,
    /// Its first process is killed.
    Killed,
    /// It works on while the standby is promoted: its commits wait for ever, or until they are
    /// cancelled, and then they have happened on a server that is thrown away.
    Late,
}

pub(crate) type Outcome<T> = Result<T, String>;

fn told(error: &SetupError) -> String {
    error.to_string()
}

impl Server {
    fn new(cluster: Cluster) -> io::Result<Self> {
        let proxy = Proxy::to_port(cluster.port())?;
        Ok(Self { cluster, proxy })
    }

    /// Waits until it takes connections again.
    pub(crate) fn until_up(&self) -> Outcome<()> {
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.cluster.sql("select 1") {
            if Instant::now() > end {
                return Err(format!("the server does not come back: {error}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Servers {
    pub(crate) fn start() -> Outcome<Self> {
        // What is acknowledged must outlast a crash, also while there is no standby.
        let mut asked = Cluster::builder().setting("synchronous_commit", "on");
        for (name, value) in [("log_min_messages", "log"), ("max_wal_size", "1GB")] {
            asked = asked.setting(name, value);
        }
        let primary = asked.start().map_err(|error| told(&error))?;
        primary.sql(TABLE).map_err(|error| told(&error))?;
        let standby = Cluster::builder().standby_of(&primary).start();
        let standby = standby.map_err(|error| told(&error))?;
        primary.set_synchronous(Some(&standby)).map_err(|error| told(&error))?;
        let proxied = |cluster| Server::new(cluster).map_err(|error| error.to_string());
        let (primary, standby) = (proxied(primary)?, proxied(standby)?);
        let dsn = format!(
            "host=127.0.0.1,127.0.0.1 port={},{} user=postgres dbname=postgres \
             application_name=ledger target_session_attrs=read-write",
            primary.proxy.port(),
            standby.proxy.port()
        );
        Ok(Self { primary, standby, dsn })
    }

    pub(crate) fn dsn(&self) -> &str {
        &self.dsn
    }

    /// The standby becomes the primary, and the primary its synchronous standby.
    pub(crate) fn change_places(&mut self, how: Takeover) -> Outcome<()> {
        self.take_over(how).map_err(|error| told(&error))
    }

    fn take_over(&mut self, how: Takeover) -> Result<(), SetupError> {
        let (former, next) = (&self.primary.cluster, &self.standby.cluster);
        match how {
            Takeover::Switchover => former.demote(next)?,
            Takeover::Stopped => former.stop(StopMode::Fast)?,
            Takeover::Crashed => former.stop(StopMode::Immediate)?,
            Takeover::Killed => former.kill_postmaster()?,
            Takeover::Late => {}
        }
        next.promote()?;
        if matches!(how, Takeover::Late) {
            let end = Instant::now() + LATE;
            while Instant::now() < end {
                former.sql(CANCEL)?;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if !matches!(how, Takeover::Switchover) {
            former.rejoin(next)?;
        }
        next.set_synchronous(Some(former))?;
        // What was committed meanwhile was on one server only.
        next.wait_for_replay(former)?;
        std::mem::swap(&mut self.primary, &mut self.standby);
        Ok(())
    }

    /// Ends everything that proxies do to the lines.
    pub(crate) fn heal_lines(&self) {
        for proxy in [&self.primary.proxy, &self.standby.proxy] {
            for direction in [Direction::ToServer, Direction::ToClient] {
                proxy.flow(direction);
                proxy.delay(direction, Duration::ZERO);
                proxy.split(direction, usize::MAX);
                proxy.cut_after(direction, usize::MAX);
            }
            proxy.deafen_new(None);
        }
    }

    /// Ends what is left of connections at the proxies, after the client has closed its own, and
    /// waits until no session of ours is left on the primary: a statement that was given up may
    /// still run.
    pub(crate) fn until_idle(&self) -> Outcome<()> {
        // The end of a deaf connection is never passed on, and its session stays.
        self.primary.proxy.cut();
        self.standby.proxy.cut();
        let sql = "select count(*) from pg_stat_activity where application_name = 'ledger'";
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.primary.cluster.sql(sql).map_err(|error| told(&error))?;
            if left == "0" {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{left} sessions are left on the primary"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often each number is in the table.
    pub(crate) fn table(&self) -> Outcome<BTreeMap<i64, u64>> {
        let sql = "select id, count(*) from ledger group by id";
        let rows = self.primary.cluster.sql(sql).map_err(|error| told(&error))?;
        let row = |line: &str| {
            let (id, count) = line.split_once('|')?;
            Some((id.parse().ok()?, count.parse().ok()?))
        };
        let table: Option<BTreeMap<i64, u64>> = rows.lines().map(row).collect();
        table.ok_or_else(|| "the table cannot be read".to_owned())
    }
}
