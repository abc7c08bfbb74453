//! The database restarts under load: no request is answered wrongly, and none hangs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use tokio::task::{JoinSet, spawn_blocking};
use txpostgres_testkit::StopMode;

use crate::bounded;
use crate::client::{Client, Fate};
use crate::running::Running;

/// Accounts that pay each other, and the money that they have together.
const PAYING: usize = 6;
const MONEY: i64 = 1_000;

/// Rows of an upload.
const ROWS: usize = 200;

/// How many requests must succeed before the server is restarted again.
const BETWEEN: usize = 150;

/// Fast and immediate, in turn.
const RESTARTS: usize = 8;

/// What all tasks share.
#[derive(Debug, Default)]
struct Shared {
    done: AtomicUsize,
    not_done: AtomicUsize,
    unknown: AtomicUsize,
    is_over: AtomicBool,
}

impl Shared {
    fn note(&self, fate: Fate) {
        let counter = match fate {
            Fate::Done => &self.done,
            Fate::NotDone => &self.not_done,
            Fate::Unknown => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Waits until this many further requests have succeeded.
    async fn progress(&self) {
        let target = self.done.load(Ordering::Relaxed) + BETWEEN;
        bounded(async {
            while self.done.load(Ordering::Relaxed) < target {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

/// Owners whose rows were asked for, with what their client was told. One that was created is read
/// at once.
async fn creating(client: Client, shared: Arc<Shared>, task: usize) -> Vec<(String, Fate)> {
    let mut told = Vec::new();
    while shared.goes_on() {
        let owner = format!("created {task} {}", told.len());
        let new = serde_json::json!({ "owner": owner }).to_string();
        let answer = client.send("POST", "/accounts", new).await;
        let fate = answer.fate();
        shared.note(fate);
        if fate == Fate::Done {
            let path = format!("/accounts/{}", answer.json()["id"]);
            let read = client.get(&path).await;
            match read.fate() {
                Fate::Done => assert_eq!(read.json(), answer.json()),
                fate => assert_eq!(fate, Fate::NotDone, "a read changes nothing"),
            }
        }
        told.push((owner, fate));
    }
    told
}

/// Uploads of several rows, in parts.
async fn uploading(client: Client, shared: Arc<Shared>) -> Vec<(String, Fate)> {
    let mut told = Vec::new();
    while shared.goes_on() {
        let owner = format!("uploaded {}", told.len());
        let row = format!("{owner},0\n");
        let parts = std::iter::once("owner,balance\n".to_owned())
            .chain(std::iter::repeat_n(row, ROWS))
            .map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(futures_util::stream::iter(parts));
        let fate = client.send("POST", "/accounts.csv", body).await.fate();
        shared.note(fate);
        told.push((owner, fate));
    }
    told
}

/// Transfers, each sent until it is acknowledged. Returns how many.
async fn paying(client: Client, shared: Arc<Shared>, task: usize) -> usize {
    let mut count = 0;
    while shared.goes_on() {
        let from = (task + count) % PAYING;
        let to = (from + 1 + count % (PAYING - 1)) % PAYING;
        let body =
            serde_json::json!({ "payer": from + 1, "payee": to + 1, "amount": 1 }).to_string();
        let path = format!("/transfers/{task}-{count}");
        loop {
            let fate = client.send("PUT", &path, body.clone()).await.fate();
            shared.note(fate);
            if fate == Fate::Done {
                break;
            }
        }
        count += 1;
    }
    count
}

/// Downloads: those that come to their end have all accounts that pay, and end with a whole line.
async fn downloading(client: Client, shared: Arc<Shared>) {
    while shared.goes_on() {
        let Ok(answer) = client.try_send("GET", "/accounts.csv", "").await else {
            // Cut off in the middle, and the client has noticed.
            continue;
        };
        match answer.fate() {
            Fate::Done => {
                assert!(answer.text.ends_with('\n'));
                let rows = answer.text.lines().skip(1);
                let money: i64 = rows
                    .filter(|row| row.contains(",paying,"))
                    .map(|row| row.rsplit(',').next().unwrap().parse::<i64>().unwrap())
                    .sum();
                assert_eq!(money, MONEY, "a snapshot of all accounts");
            }
            fate => assert_eq!(fate, Fate::NotDone, "a read changes nothing"),
        }
    }
}

/// Server-sent events as they came. Ends with the service.
async fn listening(client: Client, heard: Arc<Mutex<String>>) {
    let answer = client.begin("GET", "/events", "").await.unwrap();
    let mut events = answer.into_body().into_data_stream();
    while let Some(part) = bounded(events.next()).await {
        heard.lock().unwrap().push_str(std::str::from_utf8(&part.unwrap()).unwrap());
    }
}

/// Accounts that may pay what they do not have, so that no transfer is refused for lack of money.
async fn accounts_that_pay(service: &Running) {
    for n in 0..PAYING {
        service.client.account("paying", if n == 0 { MONEY } else { 0 }).await;
    }
    let connection = service.connection().await;
    let sql = "alter table account drop constraint account_balance_check";
    bounded(connection.run_operation(sql, ())).await.unwrap();
}

/// What was acknowledged is there once, what was not done is not, what is unknown once or not.
async fn compare(service: &Running, told: Vec<(String, Fate)>, paid: usize) {
    let owners = service.owners().await;
    for (owner, fate) in told {
        let whole = if owner.starts_with("uploaded") { ROWS } else { 1 };
        let count = owners.get(&owner).copied().unwrap_or_default();
        let is_right = match fate {
            Fate::Done => count == i64::try_from(whole).unwrap(),
            Fate::NotDone => count == 0,
            Fate::Unknown => count == 0 || count == i64::try_from(whole).unwrap(),
        };
        assert!(is_right, "{owner}: {fate:?}, and {count} of {whole} rows are there");
    }
    let connection = service.connection().await;
    let sql = "select count(*) from transfer";
    let transfers: (i64,) = bounded(connection.run_query_as(sql, ()).one()).await.unwrap();
    assert_eq!(transfers.0, i64::try_from(paid).unwrap());
    let sql = "select a.id, a.balance, case a.id when 1 then $1::bigint else 0 end
                   + coalesce((select sum(amount)::bigint from transfer where payee = a.id), 0)
                   - coalesce((select sum(amount)::bigint from transfer where payer = a.id), 0)
               from account a where owner = 'paying'";
    let balances: Vec<(i64, i64, i64)> =
        bounded(connection.run_query_as(sql, (MONEY,))).await.unwrap();
    assert_eq!(balances.len(), PAYING);
    for (id, balance, sum) in balances {
        assert_eq!(balance, sum, "account {id}: each transfer was made once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_answered_wrongly_while_the_database_restarts() {
    let mut service = Running::start(5).await;
    accounts_that_pay(&service).await;
    let client = &service.client;
    let shared = Arc::new(Shared::default());
    let heard = Arc::new(Mutex::new(String::new()));
    let mut rows = JoinSet::new();
    for task in 0..8 {
        rows.spawn(creating(client.clone(), Arc::clone(&shared), task));
    }
    rows.spawn(uploading(client.clone(), Arc::clone(&shared)));
    let mut payments = JoinSet::new();
    for task in 0..6 {
        payments.spawn(paying(client.clone(), Arc::clone(&shared), task));
    }
    let downloads = tokio::spawn(downloading(client.clone(), Arc::clone(&shared)));
    let events = tokio::spawn(listening(client.clone(), Arc::clone(&heard)));

    for mode in [StopMode::Fast, StopMode::Immediate].into_iter().cycle().take(RESTARTS) {
        shared.progress().await;
        let cluster = Arc::clone(&service.cluster);
        spawn_blocking(move || cluster.restart(mode)).await.unwrap().unwrap();
    }
    shared.progress().await;
    shared.is_over.store(true, Ordering::Relaxed);
    let told: Vec<_> = bounded(rows.join_all()).await.into_iter().flatten().collect();
    let paid = bounded(payments.join_all()).await.into_iter().sum();
    bounded(downloads).await.unwrap();
    println!("{RESTARTS} restarts: {shared:?}");
    compare(&service, told, paid).await;

    let last = service.client.account("last", 0).await;
    let says = format!(r#""first": {last},"#);
    bounded(async {
        while !heard.lock().unwrap().contains(&says) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    assert!(heard.lock().unwrap().contains("event: reload"), "it was told that it missed some");
    service.stop();
    assert!(service.ended().await.success());
    bounded(events).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_each_request_is_told_so_in_time() {
    let service = Running::start(5).await;
    let client = &service.client;
    for owner in ["Ada", "Grace"] {
        client.account(owner, 100).await;
    }
    service.cluster.stop(StopMode::Fast).unwrap();
    let mut requests = JoinSet::new();
    for task in 0..10 {
        for (method, path, body) in [
            ("GET", "/accounts/1".to_owned(), ""),
            ("GET", "/accounts.csv".to_owned(), ""),
            ("POST", "/accounts".to_owned(), r#"{"owner":"late"}"#),
            ("POST", "/accounts.csv".to_owned(), "owner,balance\nlate,0\n"),
            ("PUT", format!("/transfers/{task}"), r#"{"payer":1,"payee":2,"amount":1}"#),
            ("GET", "/events".to_owned(), ""),
        ] {
            let client = client.clone();
            requests.spawn(async move { client.send(method, &path, body).await });
        }
    }
    for answer in bounded(requests.join_all()).await {
        assert_eq!(answer.fate(), Fate::NotDone, "{answer:?}");
    }
    let health = client.get("/health").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("down")));
    service.cluster.start_again().unwrap();
    assert_eq!(client.get("/accounts/1").await.status, 200);
    assert_eq!(client.get("/health").await.status, 200);
    assert!(!service.owners().await.contains_key("late"));
}
