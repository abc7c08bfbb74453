//! Asks on another connection whether the backend of a session still works for it.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::timeout;
use txpostgres_policy::Probed;
use txpostgres_session::config::Endpoint;
use txpostgres_session::{CancelKey, Error, ErrorKind, Result, TlsSettings};

use super::connect::Connector;
use super::login::{Heard, ask, say_goodbye};

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
        let tls = TlsSettings::from_config(&self.config)?;
        let mut connected =
            self.approach(endpoint, &tls, &AtomicBool::new(false), &mut Heard::by(None)).await?;
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
