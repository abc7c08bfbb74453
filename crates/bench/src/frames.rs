//! Cutting bytes into protocol messages, and putting messages together, for the floor and the fake
//! server. Neither is a client: lengths are believed as far as the bytes are there.

/// One message from the front of `bytes`: its tag, its body, and the bytes after it. `None` while
/// it is not all there.
pub(crate) fn split_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (body, rest) = split_untagged(rest)?;
    Some((*tag, body, rest))
}

/// One message without a tag, as only the first of a connection is.
pub(crate) fn split_untagged(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.split_at_checked(length.checked_sub(4)?)
}

/// One message with a tag (0 for none), its length filled in.
pub(crate) fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(body.len() + 5);
    if tag != 0 {
        message.push(tag);
    }
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&body);
    message
}

/// What is left of a message's body. Each reading is `None` when the body is too short for it.
pub(crate) struct Body<'a>(pub(crate) &'a [u8]);

impl<'a> Body<'a> {
    pub(crate) fn int16(&mut self) -> Option<i16> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*value))
    }

    pub(crate) fn int32(&mut self) -> Option<i32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*value))
    }

    /// Up to the next zero byte, which is taken too.
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.0.get(..end)?;
        self.0 = self.0.get(end + 1..)?;
        Some(text)
    }

    /// A value behind its length: `Some(None)` for NULL.
    #[allow(clippy::option_option)] // too short, NULL, a value: `?` tells the first apart
    pub(crate) fn value(&mut self) -> Option<Option<&'a [u8]>> {
        let Ok(length) = usize::try_from(self.int32()?) else {
            return Some(None);
        };
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, message, split_message, split_untagged};

    #[test]
    fn a_message_is_cut_only_when_it_is_all_there() {
        let bytes = message(b'D', &[b"ab", b"c"]);
        assert_eq!(bytes, b"D\0\0\0\x07abc");
        for cut in 0..bytes.len() {
            assert_eq!(split_message(&bytes[..cut]), None);
        }
        assert_eq!(split_message(b"D\0\0\0\x07abcZ"), Some((b'D', &b"abc"[..], &b"Z"[..])));
        assert_eq!(split_untagged(&message(0, &[b"x"])), Some((&b"x"[..], &b""[..])));
        assert_eq!(split_message(b"D\0\0\0\x03"), None);
    }

    #[test]
    fn a_body_is_read_piece_by_piece() {
        let mut body = Body(b"name\0\0\x02\xff\xff\xff\xff\0\0\0\x01xy");
        assert_eq!(body.text(), Some(&b"name"[..]));
        assert_eq!(body.int16(), Some(2));
        assert_eq!(body.value(), Some(None));
        assert_eq!(body.value(), Some(Some(&b"x"[..])));
        assert_eq!(body.value(), None);
    }
}
