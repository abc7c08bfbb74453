//! A way of dialing, given by the user, that panics while the server is to be told of a cancel: the
//! connection answers on, or says that it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Connection, Dial, DialFuture, ErrorKind, Sockets};
use txpostgres_testkit::shared;

use crate::support::bounded;

/// Dials once, and panics from then on.
#[derive(Clone)]
struct Once {
    dialed: Arc<AtomicUsize>,
    /// Before it gives a future, or when that is polled.
    at_once: bool,
}

impl Dial for Once {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        let first = self.dialed.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(first || !self.at_once, "on purpose");
        Box::pin(async move {
            assert!(first, "on purpose");
            let stream = Sockets.dial(endpoint, config).await?;
            Ok(stream as Box<dyn ByteStream>)
        })
    }
}

/// Ways to cancel a statement that runs for 200 ms.
#[derive(Debug, Clone, Copy)]
enum Way {
    Handle,
    Limit,
    Drop,
    InteractionLimit,
}

async fn cancel(connection: &Connection, way: Way) {
    let limit = Duration::from_millis(20);
    let mut call = connection.run_query("select pg_sleep(0.2)", ());
    let outcome = match way {
        Way::Handle => {
            let handle = call.cancel_handle();
            let cancelling = async move {
                tokio::time::sleep(limit).await;
                handle.cancel().await
            };
            let (outcome, cancelled) = tokio::join!(call, cancelling);
            cancelled.ok();
            outcome
        }
        Way::Limit => call.timeout(limit).await,
        Way::Drop => {
            tokio::time::timeout(limit, call.cancel_on_drop()).await.unwrap_err();
            return;
        }
        Way::InteractionLimit => {
            let interaction = connection.interaction().timeout(limit);
            interaction.run(async |cursor| cursor.run_query("select pg_sleep(0.2)", ()).await).await
        }
    };
    // Answered, since no cancel reached the server; or an error that says why not.
    drop(outcome);
}

#[tokio::test]
async fn a_dialer_that_panics_during_a_cancel_does_not_shut_the_connection_for_ever() {
    let database = shared().database().unwrap();
    for way in [Way::Handle, Way::Limit, Way::Drop, Way::InteractionLimit] {
        for at_once in [false, true] {
            let dialed = Arc::new(AtomicUsize::new(0));
            let dial = Once { dialed: Arc::clone(&dialed), at_once };
            let connection = Connection::builder().connection_factory(dial).build();
            bounded(connection.connect(database.dsn())).await.unwrap();
            bounded(cancel(&connection, way)).await;
            for _ in 0..2 {
                let after = tokio::time::timeout(
                    Duration::from_secs(15),
                    connection.run_query("select 1", ()),
                );
                match after.await {
                    Ok(Ok(rows)) => assert_eq!(rows.len(), 1),
                    Ok(Err(error)) => {
                        let gone = [ErrorKind::Lost, ErrorKind::ConnectionDead];
                        assert!(gone.contains(&error.kind()), "{way:?}: {error:?}");
                    }
                    Err(elapsed) => panic!("{way:?}, at once {at_once}: shut for ever: {elapsed}"),
                }
            }
            assert!(dialed.load(Ordering::SeqCst) > 1, "the server was to be told");
        }
    }
}
