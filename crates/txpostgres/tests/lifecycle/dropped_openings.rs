//! `connect`, `open` and `close` dropped after every possible number of polls: the connection can be opened again, and no
//! session is left on the server.

use std::time::{Duration, Instant};

use txpostgres::{Connection, ErrorKind, Result};
use txpostgres_testkit::{Cluster, Database, Direction, Proxy, TlsCertificates, shared};

use crate::support::free_port;
use crate::support::patience::{Progress, runtime, without_hanging};
use crate::support::polls::GiveUp;
use crate::support::trickle::Trickle;

/// How soon the server notices that somebody has gone.
const MOMENT: Duration = Duration::from_secs(10);

async fn ask(connection: &Connection, number: i64) -> Result<i64> {
    connection.run_query("select $1::int8", (number,)).await?.first().unwrap().get(0)
}

/// Waits until the sessions of this database are so many.
async fn wait_for_sessions(observer: &Connection, wanted: i64) {
    let sql = "select count(*) from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend'";
    let patience = Instant::now() + MOMENT;
    loop {
        let rows = observer.run_query(sql, ()).await.unwrap();
        let seen: i64 = rows.first().unwrap().get(0).unwrap();
        if seen == wanted {
            return;
        }
        assert!(Instant::now() < patience, "{seen} sessions are left instead of {wanted}");
        tokio::task::yield_now().await;
    }
}

/// Every k, in both ways of giving up; `deed` says whether it ended by itself.
async fn for_every_k(
    name: &str,
    at_least: usize,
    progress: &Progress,
    deed: impl AsyncFn(GiveUp) -> bool,
) {
    for woken in [false, true] {
        let mut after = 0;
        loop {
            let give_up = GiveUp { after, woken };
            progress.now(format_args!("{name}, {give_up:?}"));
            if deed(give_up).await {
                break;
            }
            after += 1;
        }
        assert!(after >= at_least, "{name} ended after {after} polls already");
        eprintln!("{name} ended after {after} polls");
    }
}

/// The connection string to try, the one to look on with, and how.
struct Venue {
    dsn: String,
    direct: String,
    trickle: Trickle,
    at_least: usize,
}

async fn drop_connect(venue: &Venue, progress: &Progress) {
    let observer = Connection::open(&venue.direct).await.unwrap();
    for_every_k("connect", venue.at_least, progress, async |give_up| {
        let connection = Connection::builder().connection_factory(venue.trickle).build();
        let result = give_up.poll(connection.connect(&venue.dsn)).await;
        let finished = result.is_some();
        if let Some(result) = result {
            result.unwrap();
        } else {
            assert!(connection.is_closed());
            assert_eq!(ask(&connection, 1).await.unwrap_err().kind(), ErrorKind::Closed);
            connection.connect(&*venue.dsn).await.unwrap();
        }
        assert_eq!(ask(&connection, 2).await.unwrap(), 2);
        connection.close().await;
        finished
    })
    .await;
    wait_for_sessions(&observer, 1).await;
}

async fn drop_close(venue: &Venue, progress: &Progress) {
    let observer = Connection::open(&venue.direct).await.unwrap();
    let connection = Connection::builder().connection_factory(venue.trickle).build();
    for_every_k("close", 1, progress, async |give_up| {
        connection.connect(&venue.dsn).await.unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|number| {
                let connection = connection.clone();
                tokio::spawn(async move { (number, ask(&connection, number).await) })
            })
            .collect();
        tokio::task::yield_now().await;
        let step = |step: &str| progress.now(format_args!("close, {give_up:?}: {step}"));
        step("closing");
        let finished = give_up.poll(connection.close()).await.is_some();
        assert_eq!(connection.is_closed(), give_up.after > 0);
        if !connection.is_closed() {
            assert_eq!(ask(&connection, 7).await.unwrap(), 7);
        }
        for task in waiting {
            step("others that ask");
            match task.await.unwrap() {
                (number, Ok(answer)) => assert_eq!(answer, number),
                (_, Err(error)) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
            }
        }
        step("closing once more");
        connection.close().await;
        step("connecting again");
        connection.connect(&venue.dsn).await.unwrap();
        step("asking again");
        assert_eq!(ask(&connection, 8).await.unwrap(), 8);
        step("closing at last");
        connection.close().await;
        finished
    })
    .await;
    wait_for_sessions(&observer, 1).await;
}

async fn drop_open(database: &Database, progress: &Progress) {
    let observer = Connection::open(database.dsn()).await.unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    proxy.split(Direction::ToClient, 3);
    let dsn = format!("{} port={}", database.dsn(), proxy.port());
    for_every_k("open", 2, progress, async |give_up| {
        let opened = give_up.poll(Connection::open(&dsn)).await;
        let finished = opened.is_some();
        let connection = match opened {
            Some(opened) => opened.unwrap(),
            None => Connection::open(&dsn).await.unwrap(),
        };
        assert_eq!(ask(&connection, 3).await.unwrap(), 3);
        // The last clone goes; nobody waits for the server to hang up.
        drop(connection);
        finished
    })
    .await;
    wait_for_sessions(&observer, 1).await;
}

fn on_each_runtime(deed: impl AsyncFn(&Progress) + Send + Sync + Clone + 'static) {
    for threads in [0, 2] {
        let deed = deed.clone();
        without_hanging(Duration::from_secs(20), move |progress| {
            runtime(threads).block_on(deed(progress));
        });
    }
}

#[test]
fn plain() {
    on_each_runtime(async |progress| {
        let database = shared().database().unwrap();
        let (dsn, direct) = (database.dsn(), database.dsn());
        let venue = Venue { dsn, direct, trickle: Trickle { bytes: 12 }, at_least: 20 };
        drop_connect(&venue, progress).await;
        drop_close(&venue, progress).await;
        drop_open(&database, progress).await;
    });
}

/// One host refuses us, one is set aside, and one is the second that could be.
#[test]
fn several_hosts() {
    on_each_runtime(async |progress| {
        let database = shared().database().unwrap();
        let direct = database.dsn();
        let (closed, open) = (free_port().await, database.server().port());
        let dsn = format!(
            "{direct} host=127.0.0.1,127.0.0.1,127.0.0.1 port={closed},{open},{open} \
             target_session_attrs=prefer-standby"
        );
        let venue = Venue { dsn, direct, trickle: Trickle { bytes: 40 }, at_least: 20 };
        drop_connect(&venue, progress).await;
    });
}

#[test]
fn encrypted_and_with_a_password() {
    let tls = TlsCertificates::good().unwrap();
    let cluster = Cluster::builder().tls(tls).auth("scram-sha-256").start().unwrap();
    let root = cluster.root_certificate().unwrap();
    let direct = cluster.dsn();
    let dsn = format!("{direct} sslmode=verify-full sslrootcert={}", root.display());
    on_each_runtime(async move |progress| {
        let (dsn, direct) = (dsn.clone(), format!("{direct} sslmode=disable"));
        let venue = Venue { dsn, direct, trickle: Trickle { bytes: 100 }, at_least: 20 };
        drop_connect(&venue, progress).await;
        drop_close(&venue, progress).await;
    });
}
