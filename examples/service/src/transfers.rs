//! Transfers between accounts: a transaction that is tried again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use txpostgres::{ConnectionPool, Cursor};

use crate::accounts::no_account;
use crate::failure::Failure;

/// How often a transfer is tried again that came to nothing.
const RETRIES: u32 = 5;

#[derive(Deserialize)]
pub(crate) struct Transfer {
    payer: i64,
    payee: i64,
    amount: i64,
}

/// The client chooses the name of a transfer, so that it can send the request again after any
/// failure, and the money moves once: 201 the first time, 200 when it was made before.
pub(crate) async fn put(
    State(pool): State<ConnectionPool>,
    Path(id): Path<String>,
    Json(transfer): Json<Transfer>,
) -> Result<StatusCode, Failure> {
    pool.interaction()
        .retries(RETRIES)
        // For the same reason the pool may do so itself, if the answer to COMMIT was lost.
        .idempotent()
        .run(async |cursor| make(cursor, &id, &transfer).await)
        .await
}

async fn make(cursor: Cursor, id: &str, transfer: &Transfer) -> Result<StatusCode, Failure> {
    let &Transfer { payer, payee, amount } = transfer;
    // In the order of the keys: transfers in opposite directions would deadlock otherwise.
    let sql = "select id from account where id in ($1, $2) order by id for update";
    let found: Vec<(i64,)> = cursor.run_query_as(sql, (payer, payee)).await?;
    for account in [payer, payee] {
        if !found.contains(&(account,)) {
            return Err(no_account(account));
        }
    }

    let sql = "insert into transfer (id, payer, payee, amount) values ($1, $2, $3, $4)
               on conflict (id) do nothing";
    if cursor.run_operation(sql, (id, payer, payee, amount)).await? == 0 {
        let sql = "select payer, payee, amount from transfer where id = $1";
        let made: (i64, i64, i64) = cursor.run_query_as(sql, (id,)).one().await?;
        if made != (payer, payee, amount) {
            return Err(Failure::new(StatusCode::CONFLICT, "another transfer has this name"));
        }
        return Ok(StatusCode::OK);
    }

    // One statement, so one notification. The table itself refuses a negative balance.
    let sql = "update account set balance = balance + case id when $2 then $3::bigint else -$3 end
               where id in ($1, $2)";
    cursor.run_operation(sql, (payer, payee, amount)).await?;
    Ok(StatusCode::CREATED)
}
