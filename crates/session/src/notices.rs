//! The newest notices of a session: few, and small.

use std::collections::VecDeque;

use crate::error::server_error::ServerError;
use crate::limits;

/// The newest notices, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    kept: VecDeque<ServerError>,
    /// Bytes of all of them together.
    bytes: usize,
}

impl Notices {
    /// Keeps a notice, or the beginning of each field of a large one; the oldest ones give way.
    pub(crate) fn push(&mut self, notice: &ServerError) {
        let notice = if notice.len() > limits::NOTICES_BYTES {
            notice.shortened(limits::NOTICE_FIELD_BYTES)
        } else {
            notice.clone()
        };
        // Of a kind of field there is one, but for a peer that lies.
        if notice.len() > limits::NOTICES_BYTES {
            return;
        }
        while self.kept.len() >= limits::NOTICES
            || self.bytes + notice.len() > limits::NOTICES_BYTES
        {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
        }
        self.bytes += notice.len();
        self.kept.push_back(notice);
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &ServerError> {
        self.kept.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(message: &str) -> ServerError {
        ServerError::parse(&[b"SNOTICE\0M", message.as_bytes(), b"\0\0"].concat())
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let mut notices = Notices::default();
        for number in 0..2 * limits::NOTICES {
            notices.push(&notice(&number.to_string()));
        }
        assert_eq!(notices.iter().len(), limits::NOTICES);
        assert_eq!(notices.iter().next().unwrap().message(), limits::NOTICES.to_string());
        // Of one that is too large the beginning is kept.
        notices.push(&notice(&"x".repeat(limits::NOTICES_BYTES)));
        let last = notices.iter().last().unwrap();
        assert_eq!(last.message(), "x".repeat(limits::NOTICE_FIELD_BYTES) + "…");
        assert_eq!(last.severity(), "NOTICE");
        // A peer that repeats a field gets nothing kept, and drives out no other.
        let many = b"Mtoo much\0".repeat(limits::NOTICES_BYTES / 5);
        notices.push(&ServerError::parse(&many));
        assert_eq!(notices.iter().len(), limits::NOTICES);
        let third = "y".repeat(limits::NOTICES_BYTES / 3 - 100);
        for _ in 0..9 {
            notices.push(&notice(&third));
        }
        assert_eq!(
            notices.iter().map(|notice| notice.message().len()).sum::<usize>(),
            3 * third.len()
        );
        let bytes: usize = notices.iter().map(ServerError::len).sum();
        assert_eq!(bytes, notices.bytes);
    }
}
