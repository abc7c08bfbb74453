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
    /// Keeps a notice, if it is not too large; the oldest ones give way.
    pub(crate) fn push(&mut self, notice: &ServerError) {
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
        self.kept.push_back(notice.clone());
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
        // One that is too large is not kept, and drives out no other.
        notices.push(&notice(&"x".repeat(limits::NOTICES_BYTES)));
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
