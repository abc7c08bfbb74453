//! The numbers of a pool for the crate `metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use txpostgres::ConnectionPool;
use txpostgres_testkit::shared as shared_server;

use super::support::bounded;

#[tokio::test]
async fn they_have_the_names_of_opentelemetry() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let database = shared_server().database().unwrap();
    let pool = ConnectionPool::builder(database.dsn())
        .name("of this test")
        .min(2)
        .max(2)
        .acquire_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    bounded(pool.start()).await.unwrap();
    bounded(pool.run_query("select 1", ())).await.unwrap();
    let held = [bounded(pool.get()).await.unwrap(), bounded(pool.get()).await.unwrap()];
    bounded(pool.get()).await.unwrap_err();
    // Once a second what goes up and down is told.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    drop(held);
    let mut told = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let mut labels = key.key().labels().map(|label| label.value().to_owned());
        let is_of_it = |label: &String| label == "of this test";
        assert!(labels.clone().any(|label| is_of_it(&label)), "{key:?}");
        let state = labels.find(|label| !is_of_it(label));
        let name = key.key().name().trim_start_matches("db.client.connection.").to_owned();
        let number = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(number) => number.to_string(),
            DebugValue::Histogram(all) => format!("{} times", all.len()),
        };
        told.insert(
            format!("{name}{}", state.map_or(String::new(), |of| format!(" {of}"))),
            number,
        );
    }
    let told: Vec<String> =
        told.into_iter().map(|(name, number)| format!("{name} {number}")).collect();
    let wanted = [
        "count idle 0",
        "count used 2",
        "create_time 2 times",
        "idle.min 2",
        "max 2",
        "pending_requests 0",
        "timeouts 1",
        "use_time 3 times",
        "wait_time 3 times",
    ];
    assert_eq!(told, wanted);
}
