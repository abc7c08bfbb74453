//! One NOTIFY as it reached this session.

use crate::error::Result;
use crate::wire::Reader;

/// What a NOTIFY brought (manual, section 54.7, `NotificationResponse`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// The process that sent it; [`Connection::backend_pid`](https://docs.rs/txpostgres) of the sender.
    pub process_id: i32,
    /// The channel.
    pub channel: String,
    /// The payload; empty when the sender gave none.
    pub payload: String,
}

impl Notification {
    pub(crate) fn read(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body, "NotificationResponse");
        let process_id = reader.i32()?;
        let channel = reader.text()?.into_owned();
        let payload = reader.text()?.into_owned();
        reader.end()?;
        Ok(Self { process_id, channel, payload })
    }
}
