//! The signal to stop: what has begun comes to its end, and what is new is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::bounded;
use crate::running::Running;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_stopped_under_load_ends_what_it_has_begun() {
    let mut service = Running::start(5).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..20 {
        let (client, acknowledged) = (service.client.clone(), Arc::clone(&acknowledged));
        tasks.spawn(async move {
            for n in 0.. {
                let new = serde_json::json!({ "owner": format!("{task} {n}") }).to_string();
                // An error is a connection that was refused, or closed before the request.
                let Ok(answer) = client.try_send("POST", "/accounts", new).await else { return };
                assert_eq!(answer.status, 201, "{answer:?}");
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    bounded(async {
        while acknowledged.load(Ordering::Relaxed) < 200 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    service.stop();
    bounded(tasks.join_all()).await;
    assert!(service.ended().await.success());
    assert_eq!(service.owners().await.len(), acknowledged.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_request_that_waits_for_a_lock_is_answered_before_the_end() {
    let mut service = Running::start(5).await;
    for owner in ["Ada", "Grace"] {
        service.client.account(owner, 100).await;
    }
    let (connection, client) = (service.connection().await, service.client.clone());
    let locking = "select 1 from account where id = 1 for update";
    bounded(connection.run_script(&format!("begin; {locking}"))).await.unwrap();
    let body = r#"{"payer":1,"payee":2,"amount":100}"#;
    let transfer = tokio::spawn(async move { client.send("PUT", "/transfers/a", body).await });
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    bounded(async {
        while connection.run_query_as::<(i64,), _>(waiting, ()).one().await.unwrap().0 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    service.stop();
    bounded(async {
        // The port is free again: nothing new is taken.
        while service.client.try_send("GET", "/health", "").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    bounded(connection.run_script("rollback")).await.unwrap();
    assert_eq!(bounded(transfer).await.unwrap().status, 201);
    assert!(service.ended().await.success());
}
