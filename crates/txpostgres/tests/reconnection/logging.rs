//! What is logged of an outage.

use std::time::Duration;

use tracing::Level;
use txpostgres_testkit::{Cluster, StopMode};

use crate::support::warnings::Warnings;
use crate::support::{bounded, eventually};
use crate::{open, reconnecting};

/// One warning for a loss and one line for a recovery, however many attempts are made.
#[tokio::test]
async fn one_warning_for_a_loss_and_one_line_for_a_recovery() {
    let cluster = Cluster::builder().start().unwrap();
    let database = cluster.database().unwrap();
    let connection = open(reconnecting(), database.dsn()).await;
    let detector = connection.detector().unwrap();
    for _ in 0..2 {
        let said = Warnings::listen_to(&[Level::ERROR, Level::WARN, Level::INFO]);
        cluster.stop(StopMode::Fast).unwrap();
        eventually("it is dead", || detector.connection_is_dead()).await;
        // Some ten attempts.
        tokio::time::sleep(Duration::from_millis(250)).await;
        cluster.start_again().unwrap();
        assert!(bounded(detector.recovered()).await);
        let said = said.take();
        assert_eq!(said.len(), 2, "{said:#?}");
        assert!(said[0].contains("the connection was lost") && said[0].contains("57P01"));
        assert!(said[1].contains("the connection is back"), "{said:?}");
    }
}
