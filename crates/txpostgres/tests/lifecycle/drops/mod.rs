//! Statements and interactions dropped after every possible number of polls: the connection stays usable, the next answer
//! is right, and nothing is committed that was not to be.

mod deeds;
mod piecemeal;

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use txpostgres::{Connection, Cursor, Error, ErrorKind, IsolationLevel, Rows, TransactionStatus};
use txpostgres_testkit::{Cluster, Direction, Proxy, TlsCertificates, shared};

use deeds::{Call, Deed, Inner, Interaction, PIECEMEAL, Piecemeal, deeds};

use crate::support::all::all;
use crate::support::dice::{Dice, Seed};
use crate::support::patience::{Progress, runtime, without_hanging};
use crate::support::polls::GiveUp;
use crate::support::trickle::Trickle;

/// Known to the connection after its first use.
const KNOWN: &str = "select $1::text";
/// A time limit that does not pass.
const LONG: Duration = Duration::from_secs(60);
const INSERT: &str = "insert into ledger values ($1)";

/// The connection that is tried, and another one that looks on.
struct Stage {
    connection: Connection,
    observer: Connection,
    dice: Mutex<Dice>,
}

/// What became of a deed.
struct Outcome {
    /// It ended before it was given up.
    finished: bool,
    /// Rows of its token that are to be in the ledger.
    rows: i64,
}

impl Stage {
    async fn open(venue: &Venue, seed: u64) -> Self {
        let connection = match venue.trickle {
            Some(trickle) => Connection::builder().connection_factory(trickle).build(),
            None => Connection::new(),
        };
        connection.connect(&*venue.dsn).await.unwrap();
        let observer = Connection::open(&*venue.direct).await.unwrap();
        observer.run_script("create table ledger (token text)").await.unwrap();
        Self { connection, observer, dice: Mutex::new(Dice::new(seed, 0)) }
    }

    fn token(&self) -> String {
        self.dice.lock().unwrap().token()
    }

    async fn perform(&self, deed: Deed, give_up: GiveUp, token: &str) -> Outcome {
        match deed {
            Deed::Call(call) => self.call(call, give_up, token).await,
            Deed::Interaction(kind) => self.interaction(kind, give_up, token).await,
            Deed::Inside { inner, first } => self.inside(inner, first, give_up, token).await,
            Deed::Piecemeal { piecemeal, inside } => {
                self.piecemeal(piecemeal, inside, give_up, token).await
            }
            Deed::Pipeline => self.pipeline(give_up).await,
            Deed::Queue => self.queue(give_up, token).await,
        }
    }

    async fn call(&self, call: Call, give_up: GiveUp, token: &str) -> Outcome {
        let connection = &self.connection;
        let answer = match call {
            Call::Known => give_up.poll(ask(connection, token)).await,
            Call::New => {
                let sql = format!("select $1::text /* {token} */");
                let rows = give_up.poll(connection.run_query(&sql, (token,))).await;
                rows.map(|rows| said(&rows.unwrap()))
            }
            Call::NoParameters => {
                let sql = format!("select '{token}'");
                let rows = give_up.poll(connection.run_query(&sql, ())).await;
                rows.map(|rows| said(&rows.unwrap()))
            }
            Call::Operation => {
                let count = give_up.poll(connection.run_operation(KNOWN, (token,))).await;
                count.map(|count| {
                    assert_eq!(count.unwrap(), 1);
                    token.to_owned()
                })
            }
            Call::Script => {
                let sql = format!("select 1; select '{token}'");
                let results = give_up.poll(connection.run_script(&sql)).await;
                results.map(|results| said(results.unwrap().last().unwrap().rows()))
            }
            Call::Limited => {
                let call = connection.run_query(KNOWN, (token,)).timeout(LONG);
                give_up.poll(call).await.map(|rows| said(&rows.unwrap()))
            }
            Call::CancelledOnDrop => {
                let call = connection.run_query(KNOWN, (token,)).cancel_on_drop();
                give_up.poll(call).await.map(|rows| said(&rows.unwrap()))
            }
            Call::NewCancelledOnDrop => {
                let sql = format!("select $1::text /* {token} */");
                let call = connection.run_query(&sql, (token,)).cancel_on_drop();
                give_up.poll(call).await.map(|rows| said(&rows.unwrap()))
            }
            Call::Cancelling => {
                let mut call = connection.run_query("select pg_sleep(60)", ());
                let handle = call.cancel_handle();
                let sent = GiveUp { after: 1, woken: false };
                assert!(sent.poll(&mut call).await.is_none());
                let cancelled = give_up.poll(connection.cancel(&handle)).await;
                assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Cancelled);
                cancelled.map(|cancelled| {
                    cancelled.unwrap();
                    token.to_owned()
                })
            }
            Call::Refused => {
                let refused = give_up.poll(connection.run_query("select $1::text::int", (token,)));
                refused.await.map(|refused| {
                    let error = refused.unwrap_err().to_string();
                    assert!(error.contains(token), "{error}");
                    token.to_owned()
                })
            }
        };
        assert_eq!(answer.as_deref().unwrap_or(token), token);
        Outcome { finished: answer.is_some(), rows: 0 }
    }

    async fn interaction(&self, kind: Interaction, give_up: GiveUp, token: &str) -> Outcome {
        // COMMIT is sent in the very poll in which the closure succeeds.
        let committing = &AtomicBool::new(false);
        let body = async |cursor: Cursor| {
            match kind {
                Interaction::Single
                | Interaction::Isolated
                | Interaction::Failing
                | Interaction::CancelledOnDrop
                | Interaction::Limited => {
                    cursor.run_operation(INSERT, (token,)).await?;
                }
                Interaction::Several => {
                    cursor.run_operation(INSERT, (token,)).await?;
                    assert_eq!(said(&cursor.run_query(KNOWN, (token,)).await?), token);
                    cursor.run_operation(INSERT, (token,)).await?;
                }
                Interaction::Nested => {
                    let nested =
                        async |nested: Cursor| nested.run_operation(INSERT, (token,)).await;
                    cursor.run_interaction(nested).await?;
                    cursor.run_operation(INSERT, (token,)).await?;
                }
                Interaction::Script => {
                    let sql = format!("insert into ledger values ('{token}'); select 1");
                    cursor.run_script(&sql).await?;
                }
                Interaction::Pipelined => {
                    let insert = || cursor.run_operation(INSERT, (token,));
                    for inserted in all(vec![insert(), insert(), insert()]).await {
                        inserted?;
                    }
                }
            }
            if let Interaction::Failing = kind {
                cursor.run_operation(INSERT, (1, 2)).await?;
            }
            committing.store(true, Ordering::SeqCst);
            Ok::<_, Error>(())
        };
        let mut interaction = self.connection.interaction();
        if let Interaction::Isolated = kind {
            interaction = interaction.isolation_level(IsolationLevel::Serializable);
        }
        interaction = match kind {
            Interaction::CancelledOnDrop => interaction.cancel_on_drop(),
            Interaction::Limited => interaction.timeout(LONG),
            _ => interaction,
        };
        let result = give_up.poll(interaction.run(body)).await;
        let committed = committing.load(Ordering::SeqCst);
        if let Some(result) = &result {
            assert_eq!(result.is_ok(), committed, "{result:?}");
            assert_ne!(committed, matches!(kind, Interaction::Failing));
        }
        let rows = match kind {
            _ if !committed => 0,
            Interaction::Several | Interaction::Nested => 2,
            Interaction::Pipelined => 3,
            _ => 1,
        };
        Outcome { finished: result.is_some(), rows }
    }

    async fn inside(&self, inner: Inner, first: bool, give_up: GiveUp, token: &str) -> Outcome {
        let interaction = self.connection.run_interaction(async |cursor| {
            if !first {
                cursor.run_operation(INSERT, (token,)).await?;
            }
            let Outcome { finished, rows } = inner.perform(&cursor, give_up, token).await;
            assert_eq!(said(&cursor.run_query(KNOWN, (token,)).await?), token);
            cursor.run_operation(INSERT, (token,)).await?;
            Ok::<_, Error>(Outcome { finished, rows: rows + 1 + i64::from(!first) })
        });
        interaction.await.unwrap()
    }

    async fn piecemeal(
        &self,
        piecemeal: Piecemeal,
        inside: bool,
        give_up: GiveUp,
        token: &str,
    ) -> Outcome {
        let fed = &AtomicBool::new(false);
        if !inside {
            let cursor = self.connection.cursor();
            let ended = give_up.poll(piecemeal.perform(&cursor, token, fed)).await;
            let rows = if fed.load(Ordering::SeqCst) { 2 } else { 0 };
            if let Some(ended) = &ended {
                ended.as_ref().unwrap();
            }
            return Outcome { finished: ended.is_some(), rows };
        }
        // A COPY that is given up fails its transaction: here a nested one.
        let finished = &AtomicBool::new(false);
        let interaction = self.connection.run_interaction(async |cursor| {
            cursor.run_operation(INSERT, (token,)).await?;
            let nested = cursor.run_interaction(async |nested| {
                let ended = give_up.poll(piecemeal.perform(&nested, token, fed)).await;
                finished.store(ended.is_some(), Ordering::SeqCst);
                if piecemeal.feeds() && !fed.load(Ordering::SeqCst) {
                    return nested.run_query("select nothing", ()).await.map(drop);
                }
                ended.transpose()?;
                assert_eq!(said(&nested.run_query(KNOWN, (token,)).await?), token);
                assert_eq!(open_cursors(nested.run_query(CURSORS, ()).await), 0);
                Ok(())
            });
            let rows = if nested.await.is_ok() && piecemeal.feeds() { 2 } else { 0 };
            assert_eq!(rows == 2, fed.load(Ordering::SeqCst));
            assert_eq!(said(&cursor.run_query(KNOWN, (token,)).await?), token);
            Ok::<_, Error>(rows + 1)
        });
        let rows = interaction.await.unwrap();
        Outcome { finished: finished.load(Ordering::SeqCst), rows }
    }

    async fn pipeline(&self, give_up: GiveUp) -> Outcome {
        let kept: Vec<_> = (0..4)
            .map(|_| {
                let (connection, token) = (self.connection.clone(), self.token());
                tokio::spawn(async move { assert_eq!(ask(&connection, &token).await, token) })
            })
            .collect();
        let tokens: Vec<String> = (0..4).map(|_| self.token()).collect();
        tokio::task::yield_now().await;
        let asked = tokens.iter().map(|token| Box::pin(ask(&self.connection, token))).collect();
        let answers = give_up.poll(all(asked)).await;
        for task in kept {
            task.await.unwrap();
        }
        assert_eq!(answers.as_ref().unwrap_or(&tokens), &tokens);
        Outcome { finished: answers.is_some(), rows: 0 }
    }

    async fn queue(&self, give_up: GiveUp, token: &str) -> Outcome {
        let inside = self.connection.run_interaction(async |cursor| {
            cursor.run_operation(INSERT, (token,)).await?;
            cursor.run_operation(INSERT, (token,)).await
        });
        let committing = &AtomicBool::new(false);
        let call = async {
            assert_eq!(ask(&self.connection, token).await, token);
        };
        let interaction = async {
            let interaction = self.connection.run_interaction(async |cursor| {
                cursor.run_operation(INSERT, (token,)).await?;
                committing.store(true, Ordering::SeqCst);
                Ok::<_, Error>(())
            });
            interaction.await.unwrap();
        };
        let waiting: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> =
            vec![Box::pin(call), Box::pin(interaction)];
        // Polled in this order: it is inside before the others come.
        let (inside, finished) = tokio::join!(inside, give_up.poll(all(waiting)));
        inside.unwrap();
        let finished = finished.is_some();
        Outcome { finished, rows: 2 + i64::from(committing.load(Ordering::SeqCst)) }
    }

    /// What must hold after whatever was dropped.
    async fn check(&self, token: &str, rows: i64) {
        let own = self.token();
        if self.dice.lock().unwrap().below(2) == 0 {
            let interaction = self
                .connection
                .run_interaction(async |cursor| cursor.run_query(KNOWN, (&own,)).await);
            assert_eq!(said(&interaction.await.unwrap()), own);
        } else {
            assert_eq!(ask(&self.connection, &own).await, own);
        }
        assert_eq!(self.connection.transaction_status(), Some(TransactionStatus::Idle));
        assert_eq!(open_cursors(self.connection.run_query(CURSORS, ()).await), 0);
        let sql = "select (select count(*) from ledger where token = $1),
            (select count(*) from pg_stat_activity
             where datname = current_database() and state like 'idle in transaction%')";
        let seen = self.observer.run_query(sql, (token,)).await.unwrap();
        let seen = seen.first().unwrap();
        assert_eq!(seen.get::<i64>(0).unwrap(), rows, "rows committed");
        assert_eq!(seen.get::<i64>(1).unwrap(), 0, "sessions idle in transaction");
    }

    /// Drops each deed after 0, 1, 2 … polls until it ends by itself.
    async fn drop_all(
        &self,
        deeds: impl Iterator<Item = Deed>,
        at_least: (usize, usize),
        progress: &Progress,
    ) {
        let mut counts = Vec::new();
        for deed in deeds {
            for woken in [false, true] {
                let mut after = 0;
                loop {
                    let give_up = GiveUp { after, woken };
                    progress.now(format_args!("{deed:?}, {give_up:?}"));
                    let token = self.token();
                    let outcome = self.perform(deed, give_up, &token).await;
                    self.check(&token, outcome.rows).await;
                    if outcome.finished {
                        break;
                    }
                    after += 1;
                }
                assert!(after >= at_least.0, "{deed:?} ended after {after} polls already");
                counts.push(after);
            }
        }
        let together: usize = counts.iter().sum();
        eprintln!("polls until each deed ended: {counts:?}, together {together}");
        assert!(together >= at_least.1, "only {together} points were tried");
    }
}

impl Inner {
    async fn perform(self, cursor: &Cursor, give_up: GiveUp, token: &str) -> Outcome {
        let mut rows = 0;
        let finished = match self {
            Self::Query => give_up.poll(cursor.run_query(KNOWN, (token,))).await.is_some(),
            Self::New => {
                let sql = format!("select $1::text /* {token} */");
                give_up.poll(cursor.run_query(&sql, (token,))).await.is_some()
            }
            Self::Operation => {
                // Sent with the first poll; what was sent is done.
                rows = i64::from(give_up.after > 0);
                give_up.poll(cursor.run_operation(INSERT, (token,))).await.is_some()
            }
            Self::Script => give_up.poll(cursor.run_script("select 1; select 2")).await.is_some(),
            Self::Nested | Self::NestedFailing => {
                // RELEASE is sent in the very poll in which the closure succeeds.
                let released = &AtomicBool::new(false);
                let failing = matches!(self, Self::NestedFailing);
                let nested = cursor.run_interaction(async |nested| {
                    nested.run_operation(INSERT, (token,)).await?;
                    if failing {
                        nested.run_query("select nothing", ()).await?;
                    }
                    released.store(true, Ordering::SeqCst);
                    Ok::<_, Error>(())
                });
                let result = give_up.poll(nested).await;
                rows = i64::from(released.load(Ordering::SeqCst));
                if let Some(result) = &result {
                    assert_eq!(result.is_err(), failing, "{result:?}");
                }
                result.is_some()
            }
        };
        Outcome { finished, rows }
    }
}

/// Cursors and portals that are open in the session that asks.
const CURSORS: &str = "select count(*) from pg_cursors where name <> ''";

fn open_cursors(rows: Result<Rows, Error>) -> i64 {
    rows.unwrap().first().unwrap().get(0).unwrap()
}

fn piecemeal_deeds() -> impl Iterator<Item = Deed> {
    PIECEMEAL.into_iter().flat_map(|piecemeal| {
        [false, true].into_iter().map(move |inside| Deed::Piecemeal { piecemeal, inside })
    })
}

fn said(rows: &Rows) -> String {
    rows.first().unwrap().get(0).unwrap()
}

async fn ask(connection: &Connection, token: &str) -> String {
    said(&connection.run_query(KNOWN, (token,)).await.unwrap())
}

/// How a stage is reached.
struct Venue {
    dsn: String,
    direct: String,
    trickle: Option<Trickle>,
}

/// What is tried.
#[derive(Clone, Copy)]
enum Deeds {
    Whole,
    Piecemeal,
}

/// How many points of every deed must at least be tried, each and all together.
type AtLeast = (usize, usize);

fn try_all(what: Deeds, venue: Venue, threads: usize, at_least: AtLeast) {
    try_seeded(what, venue, threads, at_least, &Seed::of_this_run());
}

fn try_seeded(what: Deeds, venue: Venue, threads: usize, at_least: AtLeast, seed: &Seed) {
    let number = seed.0;
    without_hanging(Duration::from_secs(20), move |progress| {
        runtime(threads).block_on(async {
            let stage = Stage::open(&venue, number).await;
            match what {
                Deeds::Whole => stage.drop_all(deeds(), at_least, progress).await,
                Deeds::Piecemeal => stage.drop_all(piecemeal_deeds(), at_least, progress).await,
            }
            stage.connection.close().await;
        });
    });
}

/// On several threads, somebody else may read most of an answer before its own task comes to it.
fn trickling(threads: usize) -> AtLeast {
    if threads == 0 { (3, 800) } else { (1, 400) }
}

/// Set to try everything on both kinds of runtime, which takes a minute and a half longer; without
/// it the seed says which one.
const BOTH_VARIABLE: &str = "TXPOSTGRES_TEST_BOTH_RUNTIMES";

/// Numbers of threads: 0 is a runtime of the current thread.
fn runtimes(seed: &Seed) -> Vec<usize> {
    if std::env::var_os(BOTH_VARIABLE).is_some() {
        return vec![0, 2];
    }
    let drawn = Dice::new(seed.0, 1).below(2);
    if drawn == 0 { vec![0] } else { vec![2] }
}

fn in_plain(what: Deeds) {
    let seed = Seed::of_this_run();
    for threads in runtimes(&seed) {
        let bytes = if threads == 0 { 2 } else { 3 };
        let database = shared().database().unwrap();
        let (dsn, trickle) = (database.dsn(), Some(Trickle { bytes }));
        let venue = Venue { direct: dsn.clone(), dsn, trickle };
        try_seeded(what, venue, threads, trickling(threads), &seed);
    }
}

#[test]
fn plain() {
    in_plain(Deeds::Whole);
}

#[test]
fn piecemeal_plain() {
    in_plain(Deeds::Piecemeal);
}

fn in_cipher(what: Deeds) {
    let cluster = Cluster::builder().tls(TlsCertificates::good().unwrap()).start().unwrap();
    let root = cluster.root_certificate().unwrap();
    let seed = Seed::of_this_run();
    for threads in runtimes(&seed) {
        let database = cluster.database().unwrap();
        let direct = format!("{} sslmode=disable", database.dsn());
        let root = root.display();
        let dsn = format!("{} sslmode=verify-full sslrootcert={root}", database.dsn());
        let trickle = Some(Trickle { bytes: 5 });
        let venue = Venue { dsn, direct, trickle };
        try_seeded(what, venue, threads, trickling(threads), &seed);
    }
}

#[test]
fn encrypted() {
    in_cipher(Deeds::Whole);
}

#[test]
fn piecemeal_encrypted() {
    in_cipher(Deeds::Piecemeal);
}

fn by_what_comes(what: Deeds) {
    for threads in [0, 2] {
        let database = shared().database().unwrap();
        let (dsn, direct) = (database.unix_dsn(), database.dsn());
        try_all(what, Venue { dsn, direct, trickle: None }, threads, (1, 100));
    }
}

#[test]
fn as_the_bytes_come() {
    by_what_comes(Deeds::Whole);
}

#[test]
fn piecemeal_as_the_bytes_come() {
    by_what_comes(Deeds::Piecemeal);
}

fn slowly(what: Deeds) {
    for threads in [0, 2] {
        let database = shared().database().unwrap();
        let proxy = Proxy::to_port(database.server().port()).unwrap();
        proxy.split(Direction::ToClient, 1);
        proxy.split(Direction::ToServer, 3);
        let (direct, port) = (database.dsn(), proxy.port());
        let dsn = format!("{direct} port={port}");
        try_all(what, Venue { dsn, direct, trickle: None }, threads, (1, 100));
    }
}

#[test]
fn through_a_slow_network() {
    slowly(Deeds::Whole);
}

#[test]
fn piecemeal_through_a_slow_network() {
    slowly(Deeds::Piecemeal);
}
