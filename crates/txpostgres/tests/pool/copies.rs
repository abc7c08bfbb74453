//! COPY on a pool: what has begun on one connection does not go on upon another.

use std::time::Duration;

use txpostgres::{Delivery, ErrorKind};

use super::pool;
use super::support::bounded;

const TERMINATE: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
    where datname = current_database() and pid <> pg_backend_pid()";

/// Until `finish` nothing is kept, so that a COPY whose connection is lost counts as not sent. All
/// the same it must not begin again by itself: the first part of its data is gone.
#[tokio::test]
async fn a_copy_whose_connection_is_lost_is_not_begun_again() {
    for pause in [0, 1, 20] {
        let (database, pool) = pool(2, 2).await;
        database.sql("create table numbers (n int)").unwrap();
        let mut copy = bounded(pool.copy_in("copy numbers from stdin")).await.unwrap();
        bounded(copy.send("1\n")).await.unwrap();
        bounded(copy.flush()).await.unwrap();
        database.sql(TERMINATE).unwrap();
        // Some data goes into a connection of which it is not known yet that it is lost.
        let mut sent = Ok(());
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            sent = bounded(copy.send("2\n")).await;
            if sent.is_err() {
                break;
            }
        }
        let error = match sent {
            Ok(()) => bounded(copy.finish()).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::NotSent));
        let count = database.sql("select count(*) from numbers").unwrap();
        assert_eq!(count.trim(), "0", "the server has kept a part");
        pool.close().await;
    }
}
