//! An HTTP client, and what an answer must be like.

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, header};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::{ACQUIRE, LATE, bounded};

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Body>,
    address: String,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    is_retry_advised: bool,
    took: Duration,
}

/// What a client knows after its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    NotDone,
    Unknown,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { http, address: address.to_owned() }
    }

    /// The head of an answer; its body is still to be read.
    pub(crate) async fn begin(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Result<Response<Body>, Failed> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())?;
        Ok(bounded(self.http.request(request)).await?.map(Body::new))
    }

    /// An answer as a whole; an error if it was cut off.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Result<Answer, Failed> {
        let began = Instant::now();
        let (head, body) = self.begin(method, path, body).await?.into_parts();
        let bytes = bounded(to_bytes(body, usize::MAX)).await?;
        Ok(Answer {
            status: head.status.as_u16(),
            text: String::from_utf8(bytes.into())?,
            is_retry_advised: head.headers.contains_key(header::RETRY_AFTER),
            took: began.elapsed(),
        })
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.try_send(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    /// Creates an account, and returns its key.
    pub(crate) async fn account(&self, owner: &str, balance: i64) -> i64 {
        let new = serde_json::json!({ "owner": owner, "balance": balance }).to_string();
        let answer = self.send("POST", "/accounts", new).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_i64().unwrap()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What it says of its request, while nothing but the database may be in the way. It came in
    /// time, and says all that it must.
    pub(crate) fn fate(&self) -> Fate {
        assert!(self.took < ACQUIRE + LATE, "too late: {self:?}");
        if self.status < 300 {
            return Fate::Done;
        }
        assert_eq!(self.status, 503, "{self:?}");
        let body = self.json();
        let text = body["error"].as_str().unwrap();
        let says_unknown = text.contains("may have been carried out");
        let fate = match body["outcome"].as_str() {
            Some("not-done") => Fate::NotDone,
            Some("unknown") => Fate::Unknown,
            _ => panic!("it does not say what became of the request: {self:?}"),
        };
        assert_eq!(says_unknown, fate == Fate::Unknown, "{self:?}");
        assert_eq!(self.is_retry_advised, fate == Fate::NotDone, "{self:?}");
        fate
    }
}
