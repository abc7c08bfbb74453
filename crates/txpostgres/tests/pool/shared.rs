//! Statements that share a connection.

use std::time::{Duration, Instant};

use super::pool;
use super::support::bounded;

const FAST: &str = "select n from (values (1), (2)) v(n) where n = $1";

/// With all connections busy, quick statements are in flight together on them.
#[tokio::test]
async fn quick_statements_share_connections() {
    let (_database, pool) = pool(2, 2).await;
    let mut waited = Vec::new();
    // While the machine runs other tests, quick statements may be slow for a while.
    for _ in 0..20 {
        for _ in 0..500 {
            bounded(pool.run_query(FAST, (1,))).await.unwrap();
        }
        let mut calls = Vec::new();
        for _ in 0..16 {
            let pool = pool.clone();
            calls.push(tokio::spawn(async move { pool.run_query(FAST, (2,)).await }));
        }
        let before = pool.statistics();
        for call in calls {
            let rows = bounded(call).await.unwrap().unwrap();
            assert_eq!(rows.len(), 1);
        }
        let after = pool.statistics();
        assert_eq!(after.acquired - before.acquired, 16);
        // If each had a connection alone, 14 would wait.
        if after.waited - before.waited < 12 {
            return;
        }
        waited.push(after.waited - before.waited);
    }
    panic!("of 16 had to wait: {waited:?}");
}

/// A slow statement holds up no other while a connection is free, whatever was quick before.
#[tokio::test]
async fn a_slow_statement_holds_up_nothing() {
    let (_database, pool) = pool(2, 2).await;
    for _ in 0..500 {
        bounded(pool.run_query(FAST, (1,))).await.unwrap();
    }
    let began = Instant::now();
    let slow = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query("select pg_sleep(1.5)", ()).await }
    });
    let mut calls = Vec::new();
    for _ in 0..20 {
        let pool = pool.clone();
        calls.push(tokio::spawn(async move { pool.run_query(FAST, (2,)).await }));
    }
    for call in calls {
        bounded(call).await.unwrap().unwrap();
    }
    assert!(began.elapsed() < Duration::from_millis(1_400), "{:?}", began.elapsed());
    bounded(slow).await.unwrap().unwrap();
}

/// Of statements with the same text, some take long: these hold up few.
#[tokio::test]
async fn texts_that_take_long_now_and_then_are_not_shared() {
    let (_database, pool) = pool(2, 2).await;
    let sql = "select pg_sleep($1)";
    for n in 0..60 {
        let long = if n % 10 == 0 { 0.03 } else { 0.0 };
        bounded(pool.run_query(sql, (long,))).await.unwrap();
    }
    let slow = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run_query(sql, (1.5_f64,)).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..20 {
        let pool = pool.clone();
        calls.push(tokio::spawn(async move { pool.run_query(sql, (0.0_f64,)).await }));
    }
    for call in calls {
        bounded(call).await.unwrap().unwrap();
    }
    assert!(began.elapsed() < Duration::from_millis(1_400), "{:?}", began.elapsed());
    bounded(slow).await.unwrap().unwrap();
}

/// Each answer belongs to its question, whatever is in flight together, dropped or cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_belongs_to_its_question() {
    let (_database, pool) = pool(3, 3).await;
    let mut tasks = Vec::new();
    for task in 0..50_i64 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..200_i64 {
                let token = task * 1000 + round;
                match (task + round) % 7 {
                    0 => {
                        let call = pool.run_query("select $1::int8, pg_sleep(0.01)", (token,));
                        let _ = tokio::time::timeout(Duration::from_micros(500), call).await;
                    }
                    1 => {
                        let error = pool.run_query("select 1 / ($1::int8 - $1)", (token,)).await;
                        assert_eq!(error.unwrap_err().sqlstate().unwrap().as_str(), "22012");
                    }
                    2 => {
                        let seen = pool.run_interaction(async |cursor| {
                            cursor.run_query("select $1::int8", (token,)).one().await?.get::<i64>(0)
                        });
                        assert_eq!(seen.await.unwrap(), token);
                    }
                    _ => {
                        let row = pool.run_query("select $1::int8", (token,)).one().await.unwrap();
                        assert_eq!(row.get::<i64>(0).unwrap(), token);
                    }
                }
            }
        }));
    }
    for task in tasks {
        bounded(task).await.unwrap();
    }
    let statistics = pool.statistics();
    assert_eq!((statistics.waiting, statistics.size), (0, 3), "{statistics:?}");
}
