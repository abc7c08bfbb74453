//! Errors as responses: a status, and in the body what became of the request.

use std::fmt;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use txpostgres::{Delivery, Error, ErrorKind, ServerError};

/// Why a request has failed, as the client reads it.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    outcome: Outcome,
    /// The constraint that does not allow it, for programs: `account_balance_check`.
    #[serde(skip_serializing_if = "Option::is_none")]
    constraint: Option<String>,
    /// The line of an upload, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip)]
    cause: Option<Error>,
}

/// What became of a request that has failed: whether it may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    NotDone,
    /// The connection was lost after the request was sent to the database, and before the answer.
    Unknown,
    Done,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error, outcome: Outcome::NotDone, constraint: None, line: None, cause: None }
    }

    pub(crate) fn not_found(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let class = error.sqlstate().map(|code| code.class().to_owned()).unwrap_or_default();
        let (status, text) = match (error.kind(), class.as_str()) {
            // Values that the table refuses (class 23) or that are none of their type (22): the
            // server's message is about the request, and may be shown. Its detail may have values
            // of other rows.
            (ErrorKind::Server, "22") => (StatusCode::UNPROCESSABLE_ENTITY, message(&error)),
            (ErrorKind::Server, "23") => (StatusCode::CONFLICT, message(&error)),
            // What passes: the connection, the pool, a server that stops, starts or is full.
            (ErrorKind::Server, "08" | "40" | "53" | "55" | "57")
            | (
                ErrorKind::Connect
                | ErrorKind::Lost
                | ErrorKind::ConnectionDead
                | ErrorKind::Closed
                | ErrorKind::Timeout
                | ErrorKind::CommitUnknown
                | ErrorKind::RollbackFailed,
                _,
            ) => (StatusCode::SERVICE_UNAVAILABLE, "the database is not available".to_owned()),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "the service has a fault".to_owned()),
        };
        let outcome = match error.delivery() {
            Delivery::NotSent | Delivery::Answered => Outcome::NotDone,
            Delivery::Unknown => Outcome::Unknown,
            Delivery::CarriedOut => Outcome::Done,
        };
        let text = match outcome {
            Outcome::NotDone => text,
            Outcome::Unknown => format!("{text}; the request may have been carried out"),
            Outcome::Done => format!("{text}; the request was carried out"),
        };
        let constraint = error.server().and_then(ServerError::constraint).map(Into::into);
        let line = error.item().filter(|_| status.is_client_error()).map(|line| line + 1);
        Self { outcome, constraint, line, cause: Some(error), ..Self::new(status, text) }
    }
}

fn message(error: &Error) -> String {
    error.server().map(|server| server.message().into_owned()).unwrap_or_default()
}

/// Reads, and once more if the connection was lost meanwhile: that does no harm to a read, whatever
/// became of the first.
pub(crate) async fn read<T, F>(read: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = txpostgres::Result<T>>,
{
    let outcome = match read().await {
        Err(error) if error.delivery() == Delivery::Unknown => read().await,
        outcome => outcome,
    };
    outcome.map_err(|error| Failure { outcome: Outcome::NotDone, ..error.into() })
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // Its text is for the log alone: it may name hosts, statements and tables. Not logged
        // earlier, since an interaction may be tried again after a failure.
        if let Some(cause) = self.cause.as_ref().filter(|_| self.status.is_server_error()) {
            tracing::warn!(status = self.status.as_u16(), "{cause:#}");
        }
        let is_passing = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let mut response = (self.status, Json(&self)).into_response();
        if is_passing && self.outcome == Outcome::NotDone {
            response.headers_mut().insert(header::RETRY_AFTER, 1.into());
        }
        response
    }
}

// An interaction may end with an error of the program's own, if it is an error as Rust has it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Failure {}
