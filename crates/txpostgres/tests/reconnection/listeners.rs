//! A listener whose session is killed again and again under a thousand notifications a second:
//! whatever it has missed is covered by one gap, and nothing else is missed.
//!
//! The long one is a command:
//! `cargo test -p txpostgres --test reconnection listeners:: -- --ignored --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;
use txpostgres::{Connection, NotifyEvent};
use txpostgres_testkit::{Database, shared};

use crate::support::bounded;
use crate::support::dice::{Dice, Seed};
use crate::{open, reconnecting};

/// A notification each millisecond.
const PAUSE: Duration = Duration::from_millis(1);

/// What listeners share with what notifies them.
#[derive(Default)]
struct Sent {
    /// This number and all before it are committed.
    committed: AtomicI64,
    stop: AtomicBool,
    /// The number after this one is the last; 0 if that is not known yet.
    before_last: AtomicI64,
}

/// Notifies of the next number, which is committed in a table with its notification.
async fn send_next(connection: &Connection, sent: &Sent) {
    let number = sent.committed.load(Ordering::SeqCst) + 1;
    let sql = "with sent as (insert into sent values ($1) returning n)
        select pg_notify('news', n::text) from sent";
    bounded(connection.run_query(sql, (number,))).await.unwrap();
    sent.committed.store(number, Ordering::SeqCst);
}

/// Notifies of one number after the other, and of a last one when told to stop.
async fn send(connection: Connection, sent: Arc<Sent>) {
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !sent.stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        send_next(&connection, &sent).await;
    }
    sent.before_last.store(sent.committed.load(Ordering::SeqCst), Ordering::SeqCst);
    send_next(&connection, &sent).await;
}

/// What one listener has heard, checked as it comes.
struct Heard {
    name: &'static str,
    sent: Arc<Sent>,
    /// The last number that was heard.
    last: i64,
    /// How often the session has ended since the last gap.
    losses: u64,
    /// How many gaps there are behind the last number.
    gaps_since: u64,
    /// What was committed when the last of them was told.
    committed_at_gap: i64,
    generation: u64,
    count: i64,
    /// How many numbers are missing, in how many holes.
    missed: i64,
    holes: u64,
    gaps: u64,
    disconnected: u64,
    /// Told of the first number after each gap.
    resumed: Option<UnboundedSender<u64>>,
}

impl Heard {
    fn new(name: &'static str, sent: &Arc<Sent>) -> Self {
        Self {
            name,
            sent: Arc::clone(sent),
            last: 0,
            losses: 0,
            gaps_since: 0,
            committed_at_gap: 0,
            generation: 1,
            count: 0,
            missed: 0,
            holes: 0,
            gaps: 0,
            disconnected: 0,
            resumed: None,
        }
    }

    fn note(&mut self, event: NotifyEvent) {
        let name = self.name;
        match event {
            NotifyEvent::Notification(notification) => {
                let number: i64 = notification.payload().parse().unwrap();
                assert_eq!(self.losses, 0, "{name}: {number} is heard before the gap");
                let follows = number == self.last + 1;
                assert!(number > self.last, "{name}: {number} is heard after {}", self.last);
                assert!(
                    follows || self.gaps_since == 1,
                    "{name}: a hole from {} to {number} has {} gaps",
                    self.last,
                    self.gaps_since
                );
                // One may have been on its way when the gap was told, and not counted yet.
                assert!(
                    self.gaps_since == 0 || number <= self.committed_at_gap + 2,
                    "{name}: {} was committed when the gap was told, and {number} comes first",
                    self.committed_at_gap
                );
                self.holes += u64::from(!follows);
                self.missed += number - self.last - 1;
                self.count += 1;
                self.last = number;
                if std::mem::take(&mut self.gaps_since) > 0
                    && let Some(resumed) = &self.resumed
                {
                    resumed.send(self.generation).ok();
                }
            }
            NotifyEvent::Disconnected => {
                self.losses += 1;
                self.disconnected += 1;
            }
            NotifyEvent::Gap { generation } => {
                assert!(self.losses > 0, "{name}: a second gap for a loss");
                assert!(generation > self.generation, "{name}: generation {generation} again");
                (self.losses, self.generation) = (0, generation);
                self.gaps += 1;
                self.gaps_since += 1;
                self.committed_at_gap = self.sent.committed.load(Ordering::SeqCst);
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Whether the last number was heard.
    fn is_done(&self) -> bool {
        let before = self.sent.before_last.load(Ordering::SeqCst);
        before > 0 && self.last > before
    }
}

/// Ends the session so many times: every fourth time another one while it is restored, by a
/// recovery handler. Returns how many sessions that were.
async fn kill(
    connection: &Connection,
    database: &Database,
    kills: u64,
    mut resumed: UnboundedReceiver<u64>,
) -> u64 {
    let mut dice = Dice::new(Seed::of_this_run().0, 0);
    let other = open(Connection::builder(), database.dsn()).await;
    let again = Arc::new(AtomicBool::new(false));
    let killed = Arc::new(AtomicU64::new(0));
    let (is_due, counted) = (Arc::clone(&again), Arc::clone(&killed));
    connection.add_recovery_handler(move |connection| {
        let (is_due, counted) = (Arc::clone(&is_due), Arc::clone(&counted));
        async move {
            if is_due.swap(false, Ordering::SeqCst) {
                let suicide = "select pg_terminate_backend(pg_backend_pid())";
                connection.run_query(suicide, ()).await.unwrap_err();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    while killed.load(Ordering::SeqCst) < kills {
        tokio::time::sleep(Duration::from_millis(dice.below(8))).await;
        again.store(dice.below(4) == 0, Ordering::SeqCst);
        let pid = connection.backend_pid().unwrap();
        bounded(other.run_query("select pg_terminate_backend($1)", (pid,))).await.unwrap();
        killed.fetch_add(1, Ordering::SeqCst);
        // A number was heard after the gap: what is missed next is another hole.
        bounded(resumed.recv()).await.unwrap();
    }
    killed.load(Ordering::SeqCst)
}

async fn holes_are_covered(kills: u64) {
    let database = shared().database().unwrap();
    database.sql("create table sent (n bigint)").unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    let sender = open(Connection::builder(), database.dsn()).await;
    let sent = Arc::new(Sent::default());
    let (resumed, told) = unbounded_channel();
    let mut news = bounded(connection.subscribe("news")).await.unwrap();
    let mut all = connection.notifications();
    let mut heard = Heard::new("the subscription", &sent);
    heard.resumed = Some(resumed);
    let subscription = tokio::spawn(async move {
        while !heard.is_done() {
            heard.note(bounded(news.next()).await.unwrap());
        }
        heard
    });
    let mut heard = Heard::new("the stream", &sent);
    let stream = tokio::spawn(async move {
        while !heard.is_done() {
            heard.note(bounded(all.next()).await.unwrap());
        }
        heard
    });
    let began = Instant::now();
    let sending = tokio::spawn(send(sender.clone(), Arc::clone(&sent)));
    let killed = kill(&connection, &database, kills, told).await;
    sent.stop.store(true, Ordering::SeqCst);
    bounded(sending).await.unwrap();
    let took = began.elapsed();
    let last = sent.committed.load(Ordering::SeqCst);
    for listener in [subscription, stream] {
        let heard = bounded(listener).await.unwrap();
        println!(
            "{}: {killed} sessions killed in {took:.1?}; {last} numbers, {:.0} a second; {} heard, \
             {} missed in {} holes; {} gaps, {} times disconnected",
            heard.name,
            f64::from(u32::try_from(last).unwrap()) / took.as_secs_f64(),
            heard.count,
            heard.missed,
            heard.holes,
            heard.gaps,
            heard.disconnected,
        );
        assert_eq!(heard.count + heard.missed, last);
        assert_eq!(heard.disconnected, killed, "each session that ends is told once");
        assert!(heard.gaps <= killed && heard.holes <= heard.gaps && heard.holes > 0);
    }
    let count = "select count(*), count(distinct n), max(n) from sent";
    assert_eq!(database.sql(count).unwrap(), format!("{last}|{last}|{last}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hole_is_covered_by_one_gap() {
    holes_are_covered(100).await;
}

#[tokio::test]
async fn every_hole_is_covered_by_one_gap_on_one_thread() {
    holes_are_covered(30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 20 s"]
async fn every_hole_of_a_thousand_kills_is_covered_by_one_gap() {
    holes_are_covered(1_000).await;
}
