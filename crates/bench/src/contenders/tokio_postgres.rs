//! tokio-postgres as its documentation shows it: the connection is a spawned task, the statement is
//! prepared once. For notifications that task polls for messages, and passes them on through a
//! channel without a bound.

use std::future::poll_fn;

use ::tokio_postgres::{AsyncMessage, Client as Connection, NoTls, Notification, Statement};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{CHANNEL, Client, NOTIFY, STATEMENT, Tally};
use crate::Failure;
use crate::target::Target;
use crate::task::Task;

pub(crate) struct TokioPostgres {
    pub(crate) client: Connection,
    /// What [`Client::ask`] asks.
    statement: Option<Statement>,
    heard: Option<UnboundedReceiver<Notification>>,
}

impl TokioPostgres {
    pub(crate) async fn open(target: Target) -> Result<TokioPostgres, Failure> {
        let (client, connection) = ::tokio_postgres::connect(&target.dsn(), NoTls).await?;
        tokio::spawn(async move {
            if let Err(failure) = connection.await {
                eprintln!("tokio-postgres: {failure}");
            }
        });
        Ok(TokioPostgres { client, statement: None, heard: None })
    }
}

impl TokioPostgres {
    /// The task polls for messages and passes notifications on.
    async fn listening(target: Target) -> Result<TokioPostgres, Failure> {
        let (client, mut connection) = ::tokio_postgres::connect(&target.dsn(), NoTls).await?;
        let (sender, heard) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => drop(sender.send(notification)),
                    Ok(_) => {}
                    Err(failure) => return eprintln!("tokio-postgres: {failure}"),
                }
            }
        });
        client.batch_execute(&format!("listen {CHANNEL}")).await?;
        Ok(TokioPostgres { client, statement: None, heard: Some(heard) })
    }
}

impl Client for TokioPostgres {
    async fn connect(target: Target, task: Task) -> Result<TokioPostgres, Failure> {
        let mut opened = match task {
            Task::Hear => TokioPostgres::listening(target).await?,
            _ => TokioPostgres::open(target).await?,
        };
        opened.statement = Some(opened.client.prepare(STATEMENT).await?);
        Ok(opened)
    }

    async fn hear(&mut self) -> Result<(), Failure> {
        self.client.simple_query(NOTIFY).await?;
        let heard = self.heard.as_mut().ok_or("not listening")?;
        let mut tally = Tally::default();
        while !tally.is_complete() {
            let notification = heard.recv().await.ok_or("the connection ended")?;
            tally.note(notification.payload().as_bytes())?;
        }
        Ok(())
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        let statement = self.statement.as_ref().ok_or("nothing is prepared")?;
        let row = self.client.query_one(statement, &[&number]).await?;
        Ok(row.try_get(0)?)
    }
}
