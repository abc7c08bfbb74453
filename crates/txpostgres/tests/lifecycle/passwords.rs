//! Passwords of all kinds of characters, each set on a real server and then used: both must have
//! prepared it alike (SASLprep).

use txpostgres::{Config, Connection, quote_literal};
use txpostgres_testkit::{Cluster, Database};

use crate::support::bounded;
use crate::support::dice::{Dice, Seed};

/// The environment variable with the number of random passwords.
const NUMBER_VARIABLE: &str = "TXPOSTGRES_PASSWORDS";

/// Passwords in a run of all tests; CONTRIBUTING names the command for thousands.
const NUMBER: u64 = 150;

/// Characters about which the steps of SASLprep, or versions of Unicode, disagree.
const ODD: &[char] = &[
    // Spaces, and what is mapped to nothing.
    '\u{a0}',
    '\u{3000}',
    '\u{200b}',
    '\u{ad}',
    '\u{200d}',
    '\u{feff}',
    '\u{fe0f}',
    // Prohibited, some with normal forms that are not.
    '\u{340}',
    '\u{341}',
    '\u{2028}',
    '\u{e000}',
    '\u{fffd}',
    '\u{e0001}',
    '\u{7}',
    '\u{85}',
    // Unassigned in Unicode 3.2, all but the first with normal forms that are not.
    '\u{a69c}',
    '\u{2c7c}',
    '\u{32ff}',
    '\u{1d43}',
    '\u{1f130}',
    '\u{1f202}',
    '\u{221}',
    // Right to left, left to right, neither; and those that have changed sides since.
    '\u{627}',
    '\u{5d0}',
    '\u{fb50}',
    '\u{661}',
    'Ⅸ',
    'ﬁ',
    '\u{2801}',
    '\u{17b4}',
    '\u{1d6c1}',
    // Compositions.
    'é',
    '\u{301}',
    '\u{1100}',
    '\u{1161}',
    '\u{f951}',
    '\u{2f868}',
    'ǆ',
    '\'',
    '\\',
];

fn any_character(dice: &mut Dice) -> char {
    loop {
        let number = match dice.below(8) {
            0 | 1 => return ODD[usize::try_from(dice.below(ODD.len() as u64)).unwrap()],
            2 | 3 => 0x20 + dice.below(0x5f),
            4 => 1 + dice.below(0x2ff),
            5 => 0x590 + dice.below(0x170),
            6 => 1 + dice.below(0xffff),
            _ => 1 + dice.below(0x10_ffff),
        };
        if let Some(character) = char::from_u32(u32::try_from(number).unwrap()) {
            return character;
        }
    }
}

/// A server that asks the role `prepared` for its password by SCRAM.
async fn strict() -> (Cluster, Database, Connection) {
    let cluster = Cluster::builder()
        .hba("host all prepared 127.0.0.1/32 scram-sha-256")
        .hba("host all all 127.0.0.1/32 trust")
        .setting("password_encryption", "scram-sha-256")
        .start()
        .unwrap();
    let database = cluster.database().unwrap();
    let admin = bounded(Connection::open(database.dsn())).await.unwrap();
    admin.run_script("create role prepared login").await.unwrap();
    (cluster, database, admin)
}

/// Whether the server takes this password for the one that was set.
async fn opens(database: &Database, admin: &Connection, password: &str) -> bool {
    let sql = format!("alter role prepared password {}", quote_literal(password).unwrap());
    bounded(admin.run_script(&sql)).await.unwrap();
    let mut config = Config::parse(&database.dsn()).unwrap();
    config.user("prepared").password(password);
    match bounded(Connection::open(config)).await {
        Ok(connection) => {
            bounded(connection.close()).await;
            true
        }
        Err(error) => {
            assert_eq!(error.sqlstate().map(|code| code.to_string()).as_deref(), Some("28P01"));
            false
        }
    }
}

#[tokio::test]
async fn passwords_are_prepared_as_the_server_does() {
    let (_cluster, database, admin) = strict().await;
    let number = std::env::var(NUMBER_VARIABLE).ok().and_then(|text| text.parse().ok());
    let seed = Seed::of_this_run();
    let mut refused = Vec::new();
    let chosen = ODD.iter().flat_map(|c| {
        [format!("pass{c}word"), format!("\u{627}\u{ad}{c}\u{627}"), format!("{c}\u{ad}1")]
    });
    let random = (0..number.unwrap_or(NUMBER)).map(|number| {
        let mut dice = Dice::new(seed.0, number);
        (0..=dice.below(8)).map(|_| any_character(&mut dice)).collect()
    });
    for password in chosen.chain(random) {
        if !opens(&database, &admin, &password).await {
            refused.push(password);
        }
    }
    assert!(refused.is_empty(), "{} are not prepared alike: {refused:?}", refused.len());
}
