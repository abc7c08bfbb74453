//! sqlx as its documentation shows it: one connection, statements that it prepares and keeps by
//! their text.

use ::sqlx::postgres::{PgConnectOptions, PgConnection};
use ::sqlx::{ConnectOptions as _, Row as _};

use super::{Client, STATEMENT};
use crate::Failure;
use crate::target::Target;
use crate::task::Task;

pub(crate) struct Sqlx {
    pub(crate) connection: PgConnection,
}

impl Sqlx {
    pub(crate) async fn open(target: Target) -> Result<Sqlx, Failure> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(target.directory())
            .port(target.port)
            .username(&target.user)
            .database(&target.database);
        Ok(Sqlx { connection: options.connect().await? })
    }
}

impl Client for Sqlx {
    async fn connect(target: Target, _: Task) -> Result<Sqlx, Failure> {
        Sqlx::open(target).await
    }

    /// Its listener is a connection of its own, which the fake server notifies of nothing.
    async fn hear(&mut self) -> Result<(), Failure> {
        Err("sqlx is not measured on g".into())
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        let query = ::sqlx::query(STATEMENT).bind(number);
        Ok(query.fetch_one(&mut self.connection).await?.try_get(0)?)
    }
}
