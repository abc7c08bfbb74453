//! txpostgres: `run_query` with the text of the statement, which its cache has prepared; a subscription.

use txpostgres::{Connection, NotifyEvent, Subscription};

use super::{CHANNEL, Client, NOTIFY, STATEMENT, Tally, Workload};
use crate::Failure;
use crate::target::Target;

pub(super) struct Ours {
    connection: Connection,
    subscription: Option<Subscription>,
}

impl Client for Ours {
    async fn connect(target: &Target, workload: Workload) -> Result<Ours, Failure> {
        let connection = Connection::open(target.dsn()).await?;
        let subscription = match workload {
            Workload::A => None,
            Workload::G => Some(connection.subscribe(CHANNEL).await?),
        };
        Ok(Ours { connection, subscription })
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
