//! Accounts as CSV, up and down by COPY: any number of rows, in constant memory.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::timeout;
use txpostgres::ConnectionPool;

use crate::app::App;
use crate::failure::{self, Failure};

/// How long a client may pause within an upload: 10 s. It has a connection meanwhile.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
pub(crate) struct Uploaded {
    rows: u64,
}

pub(crate) async fn upload(
    State(app): State<App>,
    body: Body,
) -> Result<(StatusCode, Json<Uploaded>), Failure> {
    let mut data = body.into_data_stream();
    let copied = copy(&app.bulk, &mut data).await;
    if copied.is_err() {
        // Many clients look for an answer when they have sent all: without this they would find a
        // connection that is closed.
        let rest = async { while let Some(Ok(_)) = data.next().await {} };
        let _ = timeout(PAUSE, rest).await;
    }
    Ok((StatusCode::CREATED, Json(Uploaded { rows: copied? })))
}

/// All rows or none: a return before `finish` drops the COPY, and the database keeps nothing.
async fn copy(bulk: &ConnectionPool, data: &mut BodyDataStream) -> Result<u64, Failure> {
    let sql = "copy account (owner, balance) from stdin (format csv, header)";
    let mut copy = bulk.copy_in(sql).await?;
    let late = |_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the upload has paused too long");
    let cut = |_| Failure::new(StatusCode::BAD_REQUEST, "the upload was cut off");
    while let Some(part) = timeout(PAUSE, data.next()).await.map_err(late)? {
        // It waits while the database is slower than the client, and so does the client.
        copy.send(part.map_err(cut)?).await?;
    }
    Ok(copy.finish().await?)
}

/// If the connection is lost in the middle, the body ends without its last chunk, which clients
/// report as an error: a part is never taken for the whole.
pub(crate) async fn download(State(app): State<App>) -> Result<impl IntoResponse, Failure> {
    let sql = "copy (select id, owner, balance from account order by id)
               to stdout (format csv, header)";
    let copy = failure::read(|| app.bulk.copy_out(sql)).await?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], Body::from_stream(copy)))
}
