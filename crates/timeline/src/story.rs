//! The run that is drawn: calls all the time, notifications all the time, and two faults.

use std::error::Error;
use std::time::Duration;

use tokio::time::{interval, sleep};
use txpostgres::reconnection::DeadConnectionDetector;
use txpostgres::{Connection, ErrorKind, NotifyEvent};
use txpostgres_testkit::{Cluster, Proxy, StopMode};

use crate::happened::{End, Event, Happened, Record};

/// How often a call is made, and a notification sent.
const PACE: Duration = Duration::from_millis(50);

/// How long a call waits while the connection is dead: less than the restart takes, so that some of
/// the calls wait in vain.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) async fn told() -> Result<Happened, Box<dyn Error>> {
    let cluster = Cluster::builder().start()?;
    let database = cluster.database()?;
    let proxy = Proxy::to_port(database.server().port())?;
    let connection = Connection::builder()
        .reconnecting()
        .wait_for_recovery(PATIENCE)
        .liveness_bound(Duration::from_secs(2))
        .build();
    connection.connect(format!("{} port={}", database.dsn(), proxy.port())).await?;
    let mut heard = connection.subscribe("pace").await?;

    let record = Record::begin();
    let states = connection.detector().map(DeadConnectionDetector::states);
    if let Some(mut states) = states {
        let record = record.clone();
        tokio::spawn(async move {
            while let Some(state) = states.next().await {
                record.note(Event::State(state));
            }
        });
    }
    {
        let record = record.clone();
        tokio::spawn(async move {
            while let Some(event) = heard.next().await {
                match event {
                    NotifyEvent::Notification(_) => record.note(Event::Notified),
                    NotifyEvent::Gap { .. } => record.note(Event::Gap),
                    _ => {}
                }
            }
        });
    }
    let calling = tokio::spawn(calls(connection.clone(), record.clone()));

    sleep(Duration::from_secs(1)).await;
    record.note(Event::Fault { what: "the server is down", begins: true });
    cluster.stop(StopMode::Fast)?;
    sleep(Duration::from_millis(1_200)).await;
    cluster.start_again()?;
    record.note(Event::Fault { what: "the server is down", begins: false });
    sleep(Duration::from_millis(1_300)).await;
    record.note(Event::Fault { what: "the network is deaf", begins: true });
    proxy.deafen();
    sleep(Duration::from_secs(3)).await;
    record.note(Event::Fault { what: "the network is deaf", begins: false });
    sleep(Duration::from_millis(500)).await;
    calling.abort();
    let happened = record.end();
    connection.close().await;
    Ok(happened)
}

/// A call at each tick, whether or not the last one has ended.
async fn calls(connection: Connection, record: Record) {
    let mut ticks = interval(PACE);
    loop {
        ticks.tick().await;
        let (connection, record) = (connection.clone(), record.clone());
        tokio::spawn(async move {
            let since = record.now();
            let end = match connection.notify("pace", "").await {
                Ok(()) => End::Answered,
                Err(error) if error.kind() == ErrorKind::ConnectionDead => End::Refused,
                Err(_) => End::Lost,
            };
            record.note(Event::Call { since, end });
        });
    }
}
