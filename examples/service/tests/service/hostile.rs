//! Clients that leave in the middle, and more of them than there are connections.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::task::JoinSet;

use crate::bounded;
use crate::running::Running;

/// More than uploads and downloads may run at a time.
const LEAVING: usize = 6;

/// Waits until no upload and no download has a connection.
async fn bulk_is_at_rest(service: &Running) {
    bounded(async {
        loop {
            let bulk = service.client.get("/health").await.json()["bulk"].clone();
            if bulk["in_use"] == 0 && bulk["waiting"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_share_five_connections() {
    let service = Running::start(5).await;
    let mut requests = JoinSet::new();
    for n in 0..1_000 {
        let client = service.client.clone();
        requests.spawn(async move { client.account(&format!("one of many {n}"), 0).await });
    }
    bounded(requests.join_all()).await;
    let owners = service.owners().await;
    assert_eq!((owners.len(), owners.values().sum::<i64>()), (1_000, 1_000));
    let health = service.client.get("/health").await.json();
    assert_eq!((&health["pool"]["timeouts"], &health["pool"]["lost"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing_behind() {
    let service = Running::start(5).await;
    let client = &service.client;
    for _ in 0..LEAVING {
        // A row to end with, so that what was sent is no broken CSV.
        let parts = [Ok("owner,balance\ncut off,0\n"), Err(std::io::Error::other("gone"))];
        let body = Body::from_stream(iter(parts));
        client.try_send("POST", "/accounts.csv", body).await.unwrap_err();
    }
    let whole = client.send("POST", "/accounts.csv", "owner,balance\nwhole,0\n").await;
    assert_eq!(whole.status, 201, "{whole:?}");
    bulk_is_at_rest(&service).await;
    assert_eq!(service.owners().await, [("whole".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_download_that_is_left_gives_its_connection_back() {
    let service = Running::start(5).await;
    let connection = service.connection().await;
    let sql = "insert into account (owner, balance) select repeat('x', 100), n
               from generate_series(1, 200000) n";
    bounded(connection.run_operation(sql, ())).await.unwrap();
    for _ in 0..LEAVING {
        let answer = service.client.begin("GET", "/accounts.csv", "").await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body().into_data_stream();
        assert!(!bounded(body.next()).await.unwrap().unwrap().is_empty());
    }
    bulk_is_at_rest(&service).await;
    let whole = service.client.get("/accounts.csv").await;
    assert_eq!(whole.text.lines().count(), 200_001);
    let health = service.client.get("/health").await.json();
    assert_eq!(health["bulk"]["lost"], 0, "{health}");
}
