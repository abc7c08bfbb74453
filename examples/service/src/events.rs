//! Changes of accounts as server-sent events.

use std::convert::Infallible;
use std::future::ready;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt as _};
use txpostgres::NotifyEvent;

use crate::app::App;
use crate::failure::Failure;

/// `account` for each change; `reload` when some may have been missed, so that the client must look
/// at the accounts themselves.
///
/// All clients together have one connection, which is opened again when it is lost: their streams
/// go on through a restart of the server.
pub(crate) async fn events(
    State(app): State<App>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let subscription = app.pool.subscribe("account").await?;
    let events = subscription.filter_map(|event| {
        ready(match event {
            NotifyEvent::Notification(change) => {
                Some(Event::default().event("account").data(change.payload()))
            }
            NotifyEvent::Gap { .. } | NotifyEvent::Missed(_) => {
                Some(Event::default().event("reload").data("{}"))
            }
            // A gap follows.
            _ => None,
        })
    });
    // Without an end of its own, the answer would hold up the shutdown.
    Ok(Sse::new(events.map(Ok).take_until(app.stopped())).keep_alive(KeepAlive::default()))
}
