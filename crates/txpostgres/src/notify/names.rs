//! Names of channels and payloads: what PostgreSQL takes.

use txpostgres_multiplex::ChannelName;
use txpostgres_session::limits::{NAME_BYTES, NOTIFY_PAYLOAD_BYTES};
use txpostgres_session::{Error, ErrorKind, Result};

/// Its parameters are texts, so that nothing has to be quoted.
pub(crate) const NOTIFY: &str = "select pg_notify($1, $2)";

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
            "the name of a channel has {bytes} bytes; {NAME_BYTES} are possible"
        ));
    }
    Ok(channel.into())
}

pub(crate) fn notification(channel: &str, payload: &str) -> Result<ChannelName> {
    let name = channel_name(channel)?;
    if payload.len() > NOTIFY_PAYLOAD_BYTES {
        let bytes = payload.len();
        let message = format!(
            "the payload of a NOTIFY has {bytes} bytes; {NOTIFY_PAYLOAD_BYTES} are possible"
        );
        return Err(Error::new(ErrorKind::Parameter, message)
            .with_hint("put it into a table, and notify of its key"));
    }
    if payload.contains('\0') {
        return Err(Error::new(
            ErrorKind::Parameter,
            "the payload of a NOTIFY holds a NUL character",
        ));
    }
    Ok(name)
}
