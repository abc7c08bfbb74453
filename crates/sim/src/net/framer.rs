//! Where messages and requests begin in what the client writes.

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Role {
    /// Its first packet is not complete.
    #[default]
    Unknown,
    Session,
    /// A CancelRequest for the session on this line.
    Cancel(usize),
}

/// See the file's text.
#[derive(Debug, Default)]
pub(super) struct Framer {
    pub(super) role: Role,
    /// The head of the message that is not complete, and the first packet as a whole.
    head: Vec<u8>,
    /// Bytes of the present message that are to come.
    left: usize,
    /// A request was begun and its Sync has not come.
    in_request: bool,
    /// Requests that were begun.
    pub(super) requests: u64,
}

impl Framer {
    /// Takes bytes; gives the tag of the first request that begins in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Option<u8> {
        let mut began = None;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.head.push(byte);
            if self.role == Role::Unknown {
                self.startup();
                continue;
            }
            if self.head.len() == 1 && self.begins(byte) {
                self.requests += 1;
                began = began.or(Some(byte));
            }
            if let Some(length) = self.head.get(1..).and_then(<[u8]>::first_chunk::<4>) {
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(4);
                self.left = length.saturating_sub(4);
                self.head.clear();
            }
        }
        began
    }

    fn startup(&mut self) {
        let word = |at: usize| {
            let bytes = self.head.get(at..)?.first_chunk::<4>()?;
            usize::try_from(u32::from_be_bytes(*bytes)).ok()
        };
        if word(0).is_none_or(|length| self.head.len() < length) {
            return;
        }
        self.role = match word(4) {
            Some(80_877_102) => Role::Cancel(word(8).unwrap_or(0).wrapping_sub(1_000)),
            _ => Role::Session,
        };
        self.head.clear();
    }

    /// Whether a message of this tag begins a request. Data of a COPY and Terminate belong to none.
    fn begins(&mut self, tag: u8) -> bool {
        match tag {
            b'Q' => !std::mem::take(&mut self.in_request),
            b'S' => {
                self.in_request = false;
                false
            }
            b'P' | b'B' | b'D' | b'E' | b'C' | b'F' => {
                !std::mem::replace(&mut self.in_request, true)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let mut framer = Framer::default();
        assert_eq!(framer.feed(&[0, 0, 0, 9, 0, 3, 0, 0, 0]), None);
        assert_eq!(framer.role, Role::Session);
        assert_eq!(framer.feed(b"P\0\0\0\x08ab"), Some(b'P'));
        assert_eq!(framer.feed(b"cdB\0\0\0\x04S\0\0"), None, "the same request");
        assert_eq!(framer.feed(b"\0\x04Q\0\0\0\x05\0"), Some(b'Q'));
        assert_eq!(framer.feed(b"d\0\0\0\x05\0X\0\0\0\x04"), None, "no requests");
    }

    #[test]
    fn a_cancel_names_its_session() {
        let mut framer = Framer::default();
        let code = 80_877_102_u32.to_be_bytes();
        let packet = [&[0, 0, 0, 16], &code[..], &1_003_u32.to_be_bytes(), &[1, 2, 3, 4]].concat();
        framer.feed(&packet);
        assert_eq!(framer.role, Role::Cancel(3));
    }
}
