//! tokio-postgres as its documentation shows it: the connection is a spawned task, the statement is
//! prepared once. For notifications that task polls for messages, and passes them on through a channel
//! without a bound.

use std::future::poll_fn;

use ::tokio_postgres::{AsyncMessage, Client as Connection, NoTls, Notification, Statement};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{CHANNEL, Client, NOTIFY, STATEMENT, Tally, Workload};
use crate::Failure;
use crate::target::Target;

pub(super) struct TokioPostgres {
    client: Connection,
    statement: Statement,
    heard: UnboundedReceiver<Notification>,
}

impl Client for TokioPostgres {
    async fn connect(target: &Target, workload: Workload) -> Result<TokioPostgres, Failure> {
        let (client, mut connection) = ::tokio_postgres::connect(&target.dsn(), NoTls).await?;
        let (sender, heard) = unbounded_channel();
        tokio::spawn(async move {
            if workload == Workload::A {
                if let Err(failure) = connection.await {
                    eprintln!("tokio-postgres: {failure}");
                }
                return;
            }
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => drop(sender.send(notification)),
                    Ok(_) => {}
                    Err(failure) => return eprintln!("tokio-postgres: {failure}"),
                }
            }
        });
        let statement = client.prepare(STATEMENT).await?;
        if workload == Workload::G {
            client.batch_execute(&format!("listen {CHANNEL}")).await?;
        }
        Ok(TokioPostgres { client, statement, heard })
    }

    async fn hear(&mut self) -> Result<(), Failure> {
        self.client.simple_query(NOTIFY).await?;
        let mut tally = Tally::default();
        while !tally.is_complete() {
            let notification = self.heard.recv().await.ok_or("the connection ended")?;
            tally.note(notification.payload().as_bytes())?;
        }
        Ok(())
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        let row = self.client.query_one(&self.statement, &[&number]).await?;
        Ok(row.try_get(0)?)
    }
}
