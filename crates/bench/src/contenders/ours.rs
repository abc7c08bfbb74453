//! txpostgres: `run_query` with the text of the statement, which its cache has prepared.

use txpostgres::Connection;

use super::{Client, STATEMENT};
use crate::Failure;
use crate::target::Target;

pub(super) struct Ours {
    connection: Connection,
}

impl Client for Ours {
    async fn connect(target: &Target) -> Result<Ours, Failure> {
        let connection = Connection::open(target.dsn()).await?;
        Ok(Ours { connection })
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        let rows = self.connection.run_query(STATEMENT, (number,)).await?;
        let row = rows.first().ok_or("no row came")?;
        Ok(row.get(0)?)
    }
}
