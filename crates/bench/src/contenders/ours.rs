//! txpostgres: `run_query` with the text of the statement, which its cache has prepared; a
//! subscription.

use txpostgres::{Connection, ConnectionPool, NotifyEvent, Subscription};

use super::{CHANNEL, Client, NOTIFY, STATEMENT, Tally};
use crate::Failure;
use crate::target::Target;
use crate::task::Task;

pub(crate) struct Ours {
    pub(crate) connection: Connection,
    subscription: Option<Subscription>,
}

impl Ours {
    pub(crate) async fn open(target: Target) -> Result<Ours, Failure> {
        // With a detector: what reconnection adds to each query.
        let builder = match std::env::var_os("TXPOSTGRES_BENCH_DETECTOR") {
            Some(_) => Connection::builder().reconnecting().heartbeat(None),
            None => Connection::builder(),
        };
        let connection = builder.build();
        connection.connect(target.dsn()).await?;
        Ok(Ours { connection, subscription: None })
    }
}

impl Client for Ours {
    async fn connect(target: Target, task: Task) -> Result<Ours, Failure> {
        let mut opened = Ours::open(target).await?;
        if task == Task::Hear {
            opened.subscription = Some(opened.connection.subscribe(CHANNEL).await?);
        }
        Ok(opened)
    }

    async fn hear(&mut self) -> Result<(), Failure> {
        let subscription = self.subscription.as_mut().ok_or("not subscribed")?;
        self.connection.run_script(NOTIFY).await?;
        let mut tally = Tally::default();
        while !tally.is_complete() {
            match subscription.next().await {
                Some(NotifyEvent::Notification(heard)) => tally.note(heard.payload().as_bytes())?,
                other => return Err(format!("heard {other:?}").into()),
            }
        }
        Ok(())
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        let rows = self.connection.run_query(STATEMENT, (number,)).await?;
        let row = rows.first().ok_or("no row came")?;
        Ok(row.get(0)?)
    }
}

/// Through a pool of one connection.
pub(crate) struct OursPool(ConnectionPool);

impl Client for OursPool {
    async fn connect(target: Target, _: Task) -> Result<OursPool, Failure> {
        let pool = ConnectionPool::builder(target.dsn()).min(1).max(1).build()?;
        pool.start().await?;
        Ok(OursPool(pool))
    }

    async fn hear(&mut self) -> Result<(), Failure> {
        Err("the pool is measured on a and c".into())
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        let rows = self.0.run_query(STATEMENT, (number,)).await?;
        let row = rows.first().ok_or("no row came")?;
        Ok(row.get(0)?)
    }
}
