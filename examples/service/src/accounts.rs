//! Accounts: create, read, rename, delete, each in one statement.
//!
//! Statements that are known to be quick are pipelined when all connections are in use, so a burst
//! of these requests does not wait for a connection each.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use txpostgres::{ConnectionPool, FromRow};

use crate::failure::{self, Failure};

/// A row of the table, and the JSON of it.
#[derive(Serialize, FromRow)]
pub(crate) struct Account {
    id: i64,
    owner: String,
    balance: i64,
}

#[derive(Deserialize)]
pub(crate) struct NewAccount {
    owner: String,
    #[serde(default)]
    balance: i64,
}

#[derive(Deserialize)]
pub(crate) struct Renaming {
    owner: String,
}

/// A page of the list: `?after=17&limit=50`.
#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    after: i64,
    limit: Option<i64>,
}

pub(crate) async fn create(
    State(pool): State<ConnectionPool>,
    Json(new): Json<NewAccount>,
) -> Result<impl IntoResponse, Failure> {
    let sql = "insert into account (owner, balance) values ($1, $2) returning id, owner, balance";
    let account: Account = pool.run_query_as(sql, (new.owner, new.balance)).one().await?;
    let location = format!("/accounts/{}", account.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(account)))
}

pub(crate) async fn read(
    State(pool): State<ConnectionPool>,
    Path(id): Path<i64>,
) -> Result<Json<Account>, Failure> {
    let sql = "select id, owner, balance from account where id = $1";
    let account = failure::read(|| pool.run_query_as(sql, (id,)).optional()).await?;
    account.map(Json).ok_or_else(|| no_account(id))
}

pub(crate) async fn list(
    State(pool): State<ConnectionPool>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Account>>, Failure> {
    // By the key, and not by OFFSET: a late page costs no more than the first.
    let sql = "select id, owner, balance from account where id > $1 order by id limit $2";
    let limit = page.limit.unwrap_or(100).clamp(1, 1_000);
    failure::read(|| pool.run_query_as(sql, (page.after, limit))).await.map(Json)
}

pub(crate) async fn rename(
    State(pool): State<ConnectionPool>,
    Path(id): Path<i64>,
    Json(new): Json<Renaming>,
) -> Result<Json<Account>, Failure> {
    let sql = "update account set owner = $2 where id = $1 returning id, owner, balance";
    let account = pool.run_query_as(sql, (id, new.owner)).optional().await?;
    account.map(Json).ok_or_else(|| no_account(id))
}

pub(crate) async fn delete(
    State(pool): State<ConnectionPool>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Failure> {
    match pool.run_operation("delete from account where id = $1", (id,)).await? {
        0 => Err(no_account(id)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

pub(crate) fn no_account(id: i64) -> Failure {
    Failure::not_found(format_args!("account {id}"))
}
