//! One NOTIFY as it reached this session.

use std::ffi::CStr;
use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::protocol::wire::Reader;

/// What a NOTIFY brought (manual, section 54.7, `NotificationResponse`).
///
/// Clones share the texts, so that any number of listeners cost one copy.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// The channel, a NUL, the payload: one allocation for both, copied as they came.
    texts: Arc<str>,
    channel_length: u32,
    process_id: i32,
}

impl Notification {
    /// A notification as the server would have told it, for tests of what listens.
    pub fn new(process_id: i32, channel: &str, payload: &str) -> Self {
        Self::from_texts(process_id, &[channel, "\0", payload].concat(), channel.len())
    }

    fn from_texts(process_id: i32, texts: &str, channel_length: usize) -> Self {
        // Bounded by limits::NOTIFICATION_BYTES where it comes from a server.
        let channel_length = u32::try_from(channel_length).unwrap_or(0);
        Self { texts: texts.into(), channel_length, process_id }
    }

    /// The process that sent it: what its own connection calls `backend_pid`.
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        self.texts.get(..self.channel_length as usize).unwrap_or_default()
    }

    /// The payload; empty when the sender gave none.
    pub fn payload(&self) -> &str {
        self.texts.get(self.channel_length as usize + 1..).unwrap_or_default()
    }

    /// Bytes of its texts.
    pub fn size(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body, "NotificationResponse");
        let process_id = reader.i32()?;
        let rest = reader.clone().remainder();
        // The usual case by the short way: a flood of notifications is mostly this.
        if let Ok(channel) = CStr::from_bytes_until_nul(rest)
            && let Some((_, payload)) = rest.split_at_checked(channel.count_bytes() + 1)
            && CStr::from_bytes_with_nul(payload).is_ok()
            && let Some((_, texts)) = rest.split_last()
            && let Ok(texts) = str::from_utf8(texts)
        {
            return Ok(Self::from_texts(process_id, texts, channel.count_bytes()));
        }
        let (channel, payload) = (reader.text()?, reader.text()?);
        reader.end()?;
        Ok(Self::new(process_id, &channel, &payload))
    }
}

impl fmt::Debug for Notification {
    /// Without the payload, which is a user's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("process_id", &self.process_id)
            .field("channel", &self.channel())
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<Notification> {
        Notification::read(body)
    }

    #[test]
    fn its_texts_are_found_again() {
        for (channel, payload) in [("news", "first"), ("", ""), ("ü", "é\u{10ffff}"), ("a", "")] {
            let body =
                [&7_i32.to_be_bytes()[..], channel.as_bytes(), b"\0", payload.as_bytes(), b"\0"];
            let notification = read(&body.concat()).unwrap();
            assert_eq!(notification.process_id(), 7);
            assert_eq!((notification.channel(), notification.payload()), (channel, payload));
            assert_eq!(notification, Notification::new(7, channel, payload));
        }
    }

    #[test]
    fn what_is_not_utf8_gets_replacement_characters() {
        let notification = read(b"\0\0\0\x01\xff\0a\xfe\0").unwrap();
        assert_eq!((notification.channel(), notification.payload()), ("\u{fffd}", "a\u{fffd}"));
    }

    #[test]
    fn what_breaks_off_or_goes_on_is_refused() {
        for body in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\x01",
            b"\0\0\0\x01a",
            b"\0\0\0\x01a\0",
            b"\0\0\0\x01a\0b",
        ] {
            assert!(read(body).unwrap_err().to_string().contains("breaks off"), "{body:?}");
        }
        assert!(read(b"\0\0\0\x01a\0b\0c").unwrap_err().to_string().contains("too many"));
        assert!(read(b"\0\0\0\x01a\0b\0\0").is_err());
    }

    #[test]
    fn debug_shows_no_payload() {
        let shown = format!("{:?}", Notification::new(1, "news", "secret"));
        assert!(shown.contains("news") && !shown.contains("secret"), "{shown}");
    }
}
