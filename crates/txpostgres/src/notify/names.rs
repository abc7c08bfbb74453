//! The limits of PostgreSQL for names of channels and for payloads.

use txpostgres_multiplex::ChannelName;
use txpostgres_session::limits::{NAME_BYTES, NOTIFY_PAYLOAD_BYTES};
use txpostgres_session::{Error, ErrorKind, Result};

use crate::driver::{Call, Source};
use crate::query::RunQuery;

/// NOTIFY as a function call: the parameters are texts, so nothing must be quoted.
const NOTIFY: &str = "select pg_notify($1, $2)";

pub(crate) fn channel_name(channel: &str) -> Result<ChannelName> {
    let refused = |message| Err(Error::new(ErrorKind::Request, message));
    if channel.is_empty() {
        return refused("the name of a channel is empty".into());
    }
    if channel.contains('\0') {
        return refused("the name of a channel holds a NUL character".into());
    }
    if channel.len() > NAME_BYTES {
        let bytes = channel.len();
        return refused(format!(
            "the name of a channel has {bytes} bytes; at most {NAME_BYTES} are allowed"
        ));
    }
    Ok(channel.into())
}

fn notification(channel: &str, payload: &str) -> Result<ChannelName> {
    let name = channel_name(channel)?;
    if payload.len() > NOTIFY_PAYLOAD_BYTES {
        let bytes = payload.len();
        let message = format!(
            "the payload of a NOTIFY has {bytes} bytes; at most {NOTIFY_PAYLOAD_BYTES} are allowed"
        );
        return Err(Error::new(ErrorKind::Parameter, message)
            .with_hint("store it in a table, and notify with its key"));
    }
    if payload.contains('\0') {
        return Err(Error::new(
            ErrorKind::Parameter,
            "the payload of a NOTIFY holds a NUL character",
        ));
    }
    Ok(name)
}

/// Notifies the listeners of a channel.
pub(crate) async fn notify(source: Source, channel: &str, payload: &str) -> Result<()> {
    let channel = notification(channel, payload)?;
    RunQuery(Call::new(source, NOTIFY, (&*channel, payload))).await.map(drop)
}
