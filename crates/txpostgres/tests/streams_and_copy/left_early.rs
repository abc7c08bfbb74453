//! Streams and COPY that are left early in a transaction begun by hand.

use crate::support::{assert_works, bounded, connected, count};

/// Inside of a transaction begun by hand, a stream or a COPY that is left early is read to its end:
/// a cancel would fail the transaction.
#[tokio::test]
async fn what_is_left_early_in_a_transaction_begun_by_hand_does_not_fail_it() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (n int)", ()).await.unwrap();
    let sql = "select repeat('x', 1000) from generate_series(1, 20000)";
    for way in ["stream", "rows", "copy", "copied rows"] {
        bounded(connection.run_script("begin; insert into t values (1)")).await.unwrap();
        match way {
            "stream" => {
                let mut stream = connection.query_stream(sql, ());
                bounded(stream.next()).await.unwrap().unwrap();
            }
            "rows" => {
                let mut stream = connection.query_stream(sql, ()).rows_as::<(String,)>();
                bounded(stream.next()).await.unwrap().unwrap();
            }
            "copy" => {
                let sql = format!("copy ({sql}) to stdout");
                let mut copy = bounded(connection.copy_out(&sql)).await.unwrap();
                bounded(copy.next()).await.unwrap().unwrap();
            }
            _ => {
                let mut copy = bounded(connection.copy_out_rows(sql)).await.unwrap();
                bounded(copy.next()).await.unwrap().unwrap();
            }
        }
        let after = bounded(connection.run_operation("insert into t values (2)", ())).await;
        assert!(after.is_ok(), "after a {way} that was left: {after:?}");
        bounded(connection.run_script("commit")).await.unwrap();
        assert_works(&connection).await;
    }
    assert_eq!(count(&connection, "select sum(n) from t").await, 12);
}
