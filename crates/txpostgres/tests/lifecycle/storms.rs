//! Small random programs on one connection (calls that are dropped, held back and interleaved, closes, reconnections,
//! killed sessions): nothing hangs, and who gets an answer gets its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use txpostgres::{Connection, Cursor, Error, ErrorKind, Result, Rows, TransactionStatus};
use txpostgres_testkit::shared;

use crate::support::dice::{Dice, Seed};
use crate::support::patience::{Progress, runtime, without_hanging};
use crate::support::polls::GiveUp;
use crate::support::trickle::Trickle;

/// What a program may do to its connection besides using it.
#[derive(Clone, Copy, PartialEq)]
enum Weather {
    /// Nothing: every statement must succeed.
    Fair,
    /// Close it, open it again, have its session killed.
    Rough,
}

/// One task of a program.
struct Sailor {
    connection: Connection,
    observer: Connection,
    dsn: Arc<str>,
    dice: Dice,
    weather: Weather,
}

fn said(rows: &Rows) -> &str {
    rows.first().unwrap().get(0).unwrap()
}

impl Sailor {
    async fn sail(mut self) {
        for _ in 0..=self.dice.below(8) {
            match self.dice.below(14) {
                0..=2 => self.ask().await,
                3 => self.new_statement().await,
                4..=5 => self.dropped().await,
                6..=7 => self.held().await,
                8 => self.interaction().await,
                9 => self.dropped_interaction().await,
                10 => self.script().await,
                11 => self.idle().await,
                12 if self.weather == Weather::Rough => self.close_or_connect().await,
                13 if self.weather == Weather::Rough => self.kill().await,
                _ => yield_now().await,
            }
        }
    }

    /// The answer of a question, or an error that the weather explains.
    fn judge(&self, result: Result<Rows>, token: &str) {
        match result {
            Ok(rows) => assert_eq!(said(&rows), token),
            Err(error) => self.excuse(&error),
        }
    }

    fn excuse(&self, error: &Error) {
        let excused = self.weather == Weather::Rough
            && matches!(
                error.kind(),
                ErrorKind::Closed
                    | ErrorKind::Lost
                    | ErrorKind::ConnectionDead
                    | ErrorKind::CommitUnknown
                    | ErrorKind::RollbackFailed
            );
        assert!(excused, "{error:?}");
    }

    async fn ask(&mut self) {
        let token = self.dice.token();
        let rows = self.connection.run_query("select $1::text", (&token,)).await;
        self.judge(rows, &token);
    }

    async fn new_statement(&mut self) {
        let token = self.dice.token();
        let sql = format!("select $1::text /* {token} */");
        let rows = self.connection.run_query(&sql, (&token,)).await;
        self.judge(rows, &token);
    }

    async fn script(&mut self) {
        let token = self.dice.token();
        let sql = format!("select '{token}'");
        let results = self.connection.run_script(&sql).await;
        let rows = results.map(|results| results.into_iter().next().unwrap().into_rows());
        self.judge(rows, &token);
    }

    async fn idle(&mut self) {
        for _ in 0..self.dice.below(20) {
            yield_now().await;
        }
    }

    fn give_up(&mut self) -> GiveUp {
        let after = usize::try_from(self.dice.below(4)).unwrap();
        GiveUp { after, woken: self.dice.below(2) == 0 }
    }

    async fn dropped(&mut self) {
        let (token, give_up) = (self.dice.token(), self.give_up());
        let call = self.connection.run_query("select $1::text", (&token,));
        if let Some(rows) = give_up.poll(call).await {
            self.judge(rows, &token);
        }
    }

    /// Asks, looks away while something else is asked, and comes back.
    async fn held(&mut self) {
        let (token, give_up) = (self.dice.token(), self.give_up());
        let connection = self.connection.clone();
        let mut held = connection.run_query("select $1::text", (&token,));
        let early = give_up.poll(&mut held).await;
        self.ask().await;
        self.idle().await;
        let rows = match early {
            Some(rows) => rows,
            None => held.await,
        };
        self.judge(rows, &token);
    }

    async fn interaction(&mut self) {
        let (token, yields) = (self.dice.token(), self.dice.below(5));
        let nested = self.dice.below(3) == 0;
        let interaction = self.connection.run_interaction(async |cursor: Cursor| {
            for _ in 0..yields {
                yield_now().await;
            }
            let ask = async |cursor: Cursor| cursor.run_query("select $1::text", (&token,)).await;
            if nested { cursor.run_interaction(ask).await } else { ask(cursor).await }
        });
        let rows = interaction.await;
        self.judge(rows, &token);
    }

    async fn dropped_interaction(&mut self) {
        let (token, give_up) = (self.dice.token(), self.give_up());
        let interaction = self.connection.run_interaction(async |cursor| {
            cursor.run_query("select 1", ()).await?;
            cursor.run_query("select $1::text", (&token,)).await
        });
        if let Some(rows) = give_up.poll(interaction).await {
            self.judge(rows, &token);
        }
    }

    async fn close_or_connect(&mut self) {
        let give_up = self.give_up();
        match self.dice.below(3) {
            0 => self.connection.close().await,
            1 => {
                give_up.poll(self.connection.close()).await;
            }
            _ => {
                if let Some(Err(error)) = give_up.poll(self.connection.connect(&*self.dsn)).await {
                    // Somebody else has opened it, or closed it meanwhile.
                    let kind = error.kind();
                    assert!(matches!(kind, ErrorKind::AlreadyConnected | ErrorKind::Closed));
                }
            }
        }
    }

    async fn kill(&mut self) {
        if let Some(pid) = self.connection.backend_pid() {
            let sql = "select pg_terminate_backend($1)";
            self.observer.run_query(sql, (pid,)).await.unwrap();
        }
    }
}

/// One program: some tasks, and afterwards a question that must be answered.
async fn program(dsn: &Arc<str>, observer: &Connection, seed: u64, number: u64, weather: Weather) {
    let mut dice = Dice::new(seed, number);
    let connection = if dice.below(4) == 0 {
        let bytes = 1 + usize::try_from(dice.below(40)).unwrap();
        Connection::builder().connection_factory(Trickle { bytes }).build()
    } else {
        Connection::new()
    };
    connection.connect(&**dsn).await.unwrap();
    let tasks: Vec<_> = (0..=dice.below(8))
        .map(|_| {
            let sailor = Sailor {
                connection: connection.clone(),
                observer: observer.clone(),
                dsn: Arc::clone(dsn),
                dice: Dice::new(dice.throw(), 0),
                weather,
            };
            tokio::spawn(sailor.sail())
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let token = dice.token();
    for attempt in 0.. {
        if connection.is_closed() {
            connection.connect(&**dsn).await.unwrap();
        }
        match connection.run_query("select $1::text", (&token,)).await {
            Ok(rows) => {
                assert_eq!(said(&rows), token);
                break;
            }
            // A session that was killed is found out by the first who uses it.
            Err(error) => assert!(weather == Weather::Rough && attempt == 0, "{error:?}"),
        }
    }
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Idle));
    if dice.below(2) == 0 {
        connection.close().await;
    }
}

async fn programs(dsn: &str, seed: u64, weather: Weather, time: Duration, progress: &Progress) {
    let dsn = Arc::from(dsn);
    let observer = Connection::open(&*dsn).await.unwrap();
    let (start, mut number) = (Instant::now(), 0);
    while start.elapsed() < time {
        progress.now(format_args!("program {number} of seed {seed}"));
        program(&dsn, &observer, seed, number, weather).await;
        number += 1;
    }
    eprintln!("{number} programs");
    assert!(number > 10, "only {number} programs in {time:?}");
}

fn storm(weather: Weather) {
    let seed = Seed::of_this_run();
    for threads in [0, 1, 4] {
        let number = seed.0;
        let database = shared().database().unwrap();
        let dsn = format!("{} statement_cache_size={}", database.unix_dsn(), 1 + number % 10);
        without_hanging(Duration::from_secs(20), move |progress| {
            let time = Duration::from_secs(3);
            runtime(threads).block_on(programs(&dsn, number, weather, time, progress));
        });
    }
}

#[test]
fn in_fair_weather_everything_is_answered() {
    storm(Weather::Fair);
}

#[test]
fn in_rough_weather_nothing_hangs() {
    storm(Weather::Rough);
}
