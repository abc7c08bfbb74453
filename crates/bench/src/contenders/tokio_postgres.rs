//! tokio-postgres as its documentation shows it: the connection is a spawned task, the statement is
//! prepared once.

use ::tokio_postgres::{Client as Connection, NoTls, Statement};

use super::{Client, STATEMENT};
use crate::Failure;
use crate::target::Target;

pub(super) struct TokioPostgres {
    client: Connection,
    statement: Statement,
}

impl Client for TokioPostgres {
    async fn connect(target: &Target) -> Result<TokioPostgres, Failure> {
        let (client, connection) = ::tokio_postgres::connect(&target.dsn(), NoTls).await?;
        tokio::spawn(async move {
            if let Err(failure) = connection.await {
                eprintln!("tokio-postgres: {failure}");
            }
        });
        let statement = client.prepare(STATEMENT).await?;
        Ok(TokioPostgres { client, statement })
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        let row = self.client.query_one(&self.statement, &[&number]).await?;
        Ok(row.try_get(0)?)
    }
}
