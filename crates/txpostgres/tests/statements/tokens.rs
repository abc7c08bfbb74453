//! Ten thousand random statements of fifty tasks on one connection: each gets its own answer and nobody else's, whatever
//! fails, is dropped or is large in between.

use std::time::Duration;

use txpostgres::{Connection, Cursor, Error, ErrorKind, Rows, TransactionStatus};
use txpostgres_testkit::shared;

use crate::support::dice::{Dice, Seed};
use crate::support::patience::{Progress, runtime, without_hanging};
use crate::support::polls::GiveUp;

const TASKS: u64 = 50;
const STATEMENTS: u64 = 10_000;
const INSERT: &str = "insert into ledger values ($1, $2)";
const LARGE: usize = 1024 * 1024;

/// One of so many texts that say the same, so that some are known and others are not.
fn text(dice: &mut Dice) -> String {
    format!("select $1::text, {}", dice.below(40))
}

fn said(rows: &Rows) -> &str {
    rows.first().unwrap().get(0).unwrap()
}

/// A task's dice, and what it knows to be in the ledger.
struct Player {
    connection: Connection,
    dice: Dice,
    committed: i64,
    /// Statements to go.
    left: u64,
}

impl Player {
    async fn play(mut self) -> i64 {
        while self.left > 0 {
            self.left -= 1;
            match self.dice.below(100) {
                0 => self.large().await,
                1..=4 => self.script().await,
                5..=12 => self.refused().await,
                13..=20 => self.parameters().await,
                21..=44 => self.dropped().await,
                45..=49 => self.interaction().await,
                50..=64 => self.several().await,
                65..=74 => self.without_parameters().await,
                _ => self.plain().await,
            }
        }
        self.committed
    }

    async fn plain(&mut self) {
        let (sql, token) = (text(&mut self.dice), self.dice.token());
        let rows = self.connection.run_query(&sql, (&token,)).await.unwrap();
        assert_eq!(said(&rows), token);
    }

    async fn without_parameters(&mut self) {
        let token = self.dice.token();
        let sql = format!("select '{token}'");
        assert_eq!(said(&self.connection.run_query(&sql, ()).await.unwrap()), token);
    }

    async fn large(&mut self) {
        let token = self.dice.token();
        let sql = "select $1::text || repeat('x', $2)";
        let rows = self.connection.run_query(sql, (&token, 1024 * 1024)).await.unwrap();
        let answer = said(&rows);
        assert!(answer.starts_with(&token) && answer.len() == token.len() + LARGE);
    }

    async fn script(&mut self) {
        let (one, two) = (self.dice.token(), self.dice.token());
        let sql = format!("select '{one}'; select '{two}'");
        let results = self.connection.run_script(&sql).await.unwrap();
        assert_eq!(results.len(), 2);
        for (result, token) in results.iter().zip([one, two]) {
            assert_eq!(said(result.rows()), token);
        }
    }

    /// The server's error has the token in it.
    async fn refused(&mut self) {
        let token = self.dice.token();
        let error = match self.dice.below(3) {
            0 => self.connection.run_query("select ('x' || $1)::int", (&token,)).await.unwrap_err(),
            1 => {
                let sql = format!("select x{token} from nowhere");
                let error = self.connection.run_query(&sql, ()).await.unwrap_err();
                assert!(format!("{error:#}").contains(&token), "{error:#}");
                return;
            }
            _ => {
                let sql = format!("select 1; select 'x{token}'::int; select 2");
                self.connection.run_script(&sql).await.unwrap_err()
            }
        };
        assert_eq!(error.kind(), ErrorKind::Server);
        assert!(error.to_string().contains(&token), "{error}");
    }

    /// Values that cannot be sent.
    async fn parameters(&mut self) {
        let sql = text(&mut self.dice);
        let error = match self.dice.below(3) {
            0 => self.connection.run_query(&sql, (1_i32,)).await.unwrap_err(),
            1 => self.connection.run_query(&sql, ("a", "b")).await.unwrap_err(),
            _ => self.connection.run_query(&sql, ("a\0b",)).await.unwrap_err(),
        };
        assert!(matches!(error.kind(), ErrorKind::Parameter | ErrorKind::Server), "{error}");
    }

    async fn dropped(&mut self) {
        let give_up = self.give_up();
        let (sql, token) = (text(&mut self.dice), self.dice.token());
        match self.dice.below(5) {
            0 => {
                let script = format!("select '{token}'");
                if let Some(results) = give_up.poll(self.connection.run_script(&script)).await {
                    assert_eq!(said(results.unwrap().first().unwrap().rows()), token);
                }
            }
            1 => {
                let sql = format!("select '{token}' || repeat('y', 100000)");
                if let Some(rows) = give_up.poll(self.connection.run_query(&sql, ())).await {
                    assert!(said(&rows.unwrap()).starts_with(&token));
                }
            }
            _ => {
                if let Some(rows) = give_up.poll(self.connection.run_query(&sql, (&token,))).await {
                    assert_eq!(said(&rows.unwrap()), token);
                }
            }
        }
    }

    fn give_up(&mut self) -> GiveUp {
        let after = usize::try_from(self.dice.below(4)).unwrap();
        GiveUp { after, woken: self.dice.below(2) == 0 }
    }

    /// Several at once, in one task.
    async fn several(&mut self) {
        let asked = [(); 3].map(|()| (text(&mut self.dice), self.dice.token()));
        let calls = asked.each_ref().map(|(sql, token)| self.connection.run_query(sql, (token,)));
        let [first, second, third] = calls;
        let answers = tokio::join!(first, second, third);
        for (rows, (_, token)) in [answers.0, answers.1, answers.2].into_iter().zip(&asked) {
            assert_eq!(said(&rows.unwrap()), token);
        }
        self.left = self.left.saturating_sub(2);
    }

    /// Committed, rolled back or dropped.
    async fn interaction(&mut self) {
        let end = self.dice.below(3);
        let give_up = self.give_up();
        let count = 1 + self.dice.below(4);
        self.left = self.left.saturating_sub(count);
        let statements: Vec<_> =
            (0..count).map(|_| (text(&mut self.dice), self.dice.token())).collect();
        let mut committing = false;
        let interaction = self.connection.run_interaction(async |cursor: Cursor| {
            let number = i64::try_from(count).unwrap();
            let (first, token) = statements.first().unwrap();
            // One statement at a time, and two at once.
            let (inserted, rows) = tokio::join!(
                cursor.run_operation(INSERT, (token, number)),
                cursor.run_query(first, (token,))
            );
            assert_eq!((inserted?, said(&rows?)), (1, token.as_str()));
            for (sql, token) in &statements {
                assert_eq!(said(&cursor.run_query(sql, (token,)).await?), token);
            }
            if end == 1 {
                cursor.run_query("select nothing", ()).await?;
            }
            committing = true;
            Ok::<_, Error>(())
        });
        if end == 2 {
            if let Some(result) = give_up.poll(interaction).await {
                result.unwrap();
            }
        } else {
            assert_eq!(interaction.await.is_ok(), end == 0);
        }
        self.committed += i64::from(committing);
    }
}

async fn play(dsn: &str, seed: u64, progress: &Progress) {
    let connection = Connection::open(dsn).await.unwrap();
    connection.run_script("create table ledger (token text, number int8)").await.unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let dice = Dice::new(seed, number);
            let connection = connection.clone();
            let player = Player { connection, dice, committed: 0, left: STATEMENTS / TASKS };
            tokio::spawn(player.play())
        })
        .collect();
    let mut committed = 0;
    for (number, task) in tasks.into_iter().enumerate() {
        progress.now(format_args!("task {number}"));
        committed += task.await.unwrap();
    }
    let rows = connection.run_query("select count(*) from ledger", ()).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<i64>(0).unwrap(), committed);
    assert!(committed > 20, "{committed}");
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Idle));
    connection.close().await;
}

fn play_with(settings: &str) {
    let seed = Seed::of_this_run();
    let number = seed.0;
    let database = shared().database().unwrap();
    let dsn = format!("{} {settings}", database.dsn());
    without_hanging(Duration::from_secs(60), move |progress| {
        runtime(4).block_on(play(&dsn, number, progress));
    });
}

#[test]
fn every_answer_goes_to_its_own_question() {
    play_with("");
}

#[test]
fn with_a_small_cache() {
    play_with("statement_cache_size=8");
}

#[test]
fn with_no_cache() {
    play_with("statement_cache_size=0");
}
