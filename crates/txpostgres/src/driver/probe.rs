//! Asks on another connection whether the backend of a session still works for it.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;
use txpostgres_policy::Probed;
use txpostgres_session::config::Endpoint;
use txpostgres_session::{CancelKey, Error, ErrorKind, Event, Request, Result, Session};

use super::connect::Connector;
use super::login::say_goodbye;
use crate::io::{ByteStream, receive_input, send_output};

impl Connector {
    /// Asks the server at this endpoint about the backend with this process ID, within this time.
    pub(super) async fn probe(
        &self,
        endpoint: &Endpoint,
        process_id: i32,
        limit: Duration,
    ) -> Probed {
        match timeout(limit, self.ask_about(endpoint, process_id)).await {
            Ok(Ok(probed)) => probed,
            Ok(Err(error)) => meaning(&error),
            Err(_) => Probed::Unreachable,
        }
    }

    async fn ask_about(&self, endpoint: &Endpoint, process_id: i32) -> Result<Probed> {
        let mut connected = self.open_at(endpoint.clone()).await?;
        let (session, stream, _) = &mut *connected;
        let own = session.cancel_key().map(CancelKey::process_id);
        let answer = ask(&question(process_id), session, &mut **stream).await;
        say_goodbye(connected).await;
        let answer = answer?;
        let (backend, state) = answer.split_once(' ').unwrap_or((&answer, ""));
        if own.is_none_or(|own| own.to_string() != backend) {
            // A pooler gives numbers of its own, which say nothing about backends.
            return Ok(Probed::Unclear);
        }
        Ok(match state {
            "works" => Probed::Works,
            "unknown" => Probed::Unclear,
            _ => Probed::Gone,
        })
    }
}

/// The server's answer to this question, as text; empty if it has no row.
async fn ask(sql: &str, session: &mut Session, stream: &mut dyn ByteStream) -> Result<String> {
    let asked = session.submit(Request::Script { sql })?;
    let mut outgoing = BytesMut::new();
    let mut received = vec![0; 1024];
    loop {
        while let Some(event) = session.next_event() {
            match event {
                Event::Settled { ticket, outcome, .. } if ticket == asked => {
                    let rows = outcome?.take_rows();
                    let value = rows.first().and_then(|row| row.raw(0).ok().flatten());
                    return Ok(String::from_utf8_lossy(value.unwrap_or_default()).into_owned());
                }
                Event::Closed(error) => {
                    return Err(error.unwrap_or_else(|| {
                        Error::new(ErrorKind::Lost, "the connection was closed during a probe")
                    }));
                }
                _ => {}
            }
        }
        send_output(session, stream, &mut outgoing).await;
        if !session.has_events() {
            receive_input(session, stream, &mut received).await;
        }
    }
}

/// One text: the process ID of the backend that is asked, and what the other one does, nothing if
/// there is no such backend. One that waits to read from its client has nothing left to do, and one
/// that waits to write is not read: we would have got it (manual, section 28.2.3,
/// `pg_stat_activity`). The state of a backend is not known with `track_activities = off`.
fn question(process_id: i32) -> String {
    format!(
        "select pg_catalog.pg_backend_pid() || ' ' || coalesce((\
           select case when state is null or state = 'disabled' then 'unknown' \
                       when state like 'idle%' or wait_event_type = 'Client' then 'waits' \
                       else 'works' end \
             from pg_catalog.pg_stat_activity where pid = {process_id}), 'none')"
    )
}

/// A server that refuses the question is there.
fn meaning(error: &Error) -> Probed {
    match error.kind() {
        ErrorKind::Connect | ErrorKind::Lost | ErrorKind::Timeout => Probed::Unreachable,
        _ => Probed::Unclear,
    }
}
