//! From bytes to messages: where one ends and the next begins, with every length checked before
//! anything is done with it.
//!
//! A message is a tag, a length that counts itself, and a body (manual, section 54.2.1). The bytes
//! are cut where the network pleased; what comes out does not depend on it.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// Bytes of a tag and a length.
pub(crate) const HEADER: usize = 5;

/// The peer broke the protocol.
pub(crate) fn violation(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

/// How far the session is, as far as framing is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthState {
    /// Before authentication: only what a login needs is accepted.
    Unauthenticated,
    /// The server has authenticated us.
    Authenticated,
}

/// The longest message of each kind, its length word included; 0 for kinds that may not come.
type Longest = [usize; 256];

// Evaluated at compile time: an index out of bounds would not compile.
#[allow(clippy::indexing_slicing)]
const fn longest(long: &[u8], long_limit: usize, short: &[u8]) -> Longest {
    let mut table = [0; 256];
    let mut n = 0;
    while n < long.len() {
        table[long[n] as usize] = long_limit;
        n += 1;
    }
    n = 0;
    while n < short.len() {
        table[short[n] as usize] = limits::SHORT_MESSAGE_BYTES;
        n += 1;
    }
    table
}

#[allow(clippy::indexing_slicing)]
const fn with(mut table: Longest, tag: u8, limit: usize) -> Longest {
    table[tag as usize] = limit;
    table
}

static OF_STRANGERS: Longest = longest(b"R", limits::AUTHENTICATION_BYTES, b"ENvSKZ");
static OF_THE_SERVER: Longest = with(
    longest(b"DTtENdV", limits::MESSAGE_BYTES, b"123CGHIKRSWZcnsv"),
    b'A',
    limits::NOTIFICATION_BYTES,
);

/// The length of the body behind this header, if the two may be what they say.
#[inline]
pub(crate) fn body_length(tag: u8, length: u32, auth_state: AuthState) -> Result<usize> {
    let table = match auth_state {
        AuthState::Unauthenticated => &OF_STRANGERS,
        AuthState::Authenticated => &OF_THE_SERVER,
    };
    let limit = table.get(usize::from(tag)).copied().unwrap_or(0);
    let length = length as usize;
    if length < 4 || length > limit {
        Err(impossible(tag, length, limit, auth_state))
    } else {
        Ok(length - 4)
    }
}

#[cold]
fn impossible(tag: u8, length: usize, limit: usize, auth_state: AuthState) -> Error {
    let tag = char::from(tag);
    match auth_state {
        AuthState::Unauthenticated => not_postgresql(tag),
        AuthState::Authenticated if limit == 0 => {
            violation(format!("the server sent a message of the unknown kind {tag:?}"))
        }
        AuthState::Authenticated => violation(format!(
            "the server announced a message of kind {tag:?} with {length} bytes; 4 to {limit} are possible"
        )),
    }
}

fn not_postgresql(tag: char) -> Error {
    violation(format!(
        "what answers there is not a PostgreSQL server: its answer begins with {tag:?}"
    ))
    .with_hint("check host and port")
}

/// One message of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
}

/// Takes the first message off `bytes`; `None` if it is not complete.
pub(crate) fn split_message(
    bytes: &[u8],
    auth_state: AuthState,
) -> Result<Option<(Message<'_>, &[u8])>> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [tag, length @ ..] = *header;
    let length = body_length(tag, u32::from_be_bytes(length), auth_state)?;
    Ok(rest.split_at_checked(length).map(|(body, rest)| (Message { tag, body }, rest)))
}

/// The beginning of a message whose end has not arrived: never more than one.
#[derive(Default)]
pub(crate) struct Partial {
    bytes: Vec<u8>,
    /// Bytes of a message that are to come, and are not kept.
    discarded: usize,
}

impl fmt::Debug for Partial {
    /// Its length only: it may hold values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, discarded } = self;
        f.debug_struct("Partial")
            .field("bytes", &bytes.len())
            .field("discarded", discarded)
            .finish()
    }
}

impl Partial {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.discarded == 0
    }

    /// The kind of the message and its length with its header, once both have come.
    pub(crate) fn announced(&self) -> Option<(u8, usize)> {
        let (&[tag, ref length @ ..], _) = self.bytes.split_first_chunk::<HEADER>()?;
        // No longer than was checked.
        Some((tag, 1 + u32::from_be_bytes(*length) as usize))
    }

    /// Lets go of the message: its bytes are passed over as they come.
    pub(crate) fn discard(&mut self) {
        if let Some((_, length)) = self.announced() {
            self.discarded = length.saturating_sub(self.bytes.len());
            self.bytes = Vec::new();
        }
    }

    /// Ends an error or a notice behind so many of its bytes, if it is longer and they have come.
    /// Its other bytes are passed over.
    pub(crate) fn cut_words(&mut self, most: usize) {
        let (Some((b'E' | b'N', length)), true) = (self.announced(), self.bytes.len() >= most)
        else {
            return;
        };
        if let Ok(word) = u32::try_from(self.bytes.len() - 1)
            && let Some(place) = self.bytes.get_mut(1..HEADER)
        {
            place.copy_from_slice(&word.to_be_bytes());
            self.discarded = length.saturating_sub(self.bytes.len());
        }
    }

    /// Adds from `input` what this message still lacks, and no more. Says whether it is complete:
    /// empty if it was discarded, shorter if it was cut.
    pub(crate) fn fill(&mut self, input: &mut &[u8], auth_state: AuthState) -> Result<bool> {
        if self.discarded > 0 {
            let (passed, rest) = input.split_at(self.discarded.min(input.len()));
            self.discarded -= passed.len();
            *input = rest;
            return Ok(self.discarded == 0);
        }
        self.take(input, HEADER);
        let Some((&[tag, ref length @ ..], _)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(false);
        };
        let total = HEADER + body_length(tag, u32::from_be_bytes(*length), auth_state)?;
        self.take(input, total);
        Ok(self.bytes.len() == total)
    }

    /// Grows to `total` bytes as far as the input reaches. What is reserved follows what has
    /// arrived: at most as much again, and never past the end of the message.
    fn take(&mut self, input: &mut &[u8], total: usize) {
        let missing = total.saturating_sub(self.bytes.len());
        let (now, later) = input.split_at(missing.min(input.len()));
        if self.bytes.capacity() - self.bytes.len() < now.len() {
            let growth = now.len().max(self.bytes.len()).min(missing);
            self.bytes.reserve_exact(growth);
        }
        self.bytes.extend_from_slice(now);
        *input = later;
    }

    /// The message's bytes, header included; the buffer is empty afterwards.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// Reads the fields of one message's body; every reading past its end is an error that names the
/// message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8], what: &'static str) -> Self {
        Self { rest: body, what }
    }

    fn short(&self) -> Error {
        violation(format!("the server sent a {} that breaks off", self.what))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A text ended by NUL. What is not UTF-8 gets replacement characters: names and messages are
    /// for reading.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>> {
        self.bytes().map(String::from_utf8_lossy)
    }

    /// Bytes ended by NUL.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let end = self.rest.iter().position(|&b| b == 0).ok_or_else(|| self.short())?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or(&[]);
        Ok(text)
    }

    /// All that is left.
    pub(crate) fn remainder(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(violation(format!(
                "the server sent a {} with {} bytes too many",
                self.what,
                self.rest.len()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(tag: u8, length: u32) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn a_length_reserves_nothing() {
        // RUSTSEC-2026-0178's neighbour in postgres-protocol: five bytes made it reserve 4 GiB.
        let mut partial = Partial::default();
        let bytes = header(b'D', 1 << 30);
        assert!(!partial.fill(&mut &bytes[..], AuthState::Authenticated).unwrap());
        assert!(partial.bytes.capacity() < 64);
        let more = vec![0; 1000];
        assert!(!partial.fill(&mut &more[..], AuthState::Authenticated).unwrap());
        assert!(partial.bytes.capacity() < 4096);
    }

    #[test]
    fn impossible_lengths_are_refused_at_the_header() {
        for tag in 0..=u8::MAX {
            for length in [0, 1, 2, 3, (1 << 30) + 1, 1 << 31, u32::MAX - 1, u32::MAX] {
                for auth_state in [AuthState::Unauthenticated, AuthState::Authenticated] {
                    let bytes = header(tag, length);
                    let error = split_message(&bytes, auth_state).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Protocol);
                    let error = Partial::default().fill(&mut &bytes[..], auth_state).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Protocol);
                }
            }
        }
        assert!(split_message(&header(b'Z', 30_001), AuthState::Authenticated).is_err());
        assert!(split_message(&header(b'R', 2_001), AuthState::Unauthenticated).is_err());
    }

    #[test]
    fn another_service_is_named_as_such() {
        let error =
            split_message(b"HTTP/1.1 400 Bad Request\r\n", AuthState::Unauthenticated).unwrap_err();
        assert_eq!(
            error.to_string(),
            "what answers there is not a PostgreSQL server: its answer begins with 'H'"
        );
    }

    #[test]
    fn a_partial_message_takes_its_own_bytes_only() {
        let mut bytes = header(b'Z', 5);
        bytes.extend_from_slice(b"INEXT");
        for cut in 1..6 {
            let mut partial = Partial::default();
            let (mut first, mut second) = bytes.split_at(cut);
            assert!(!partial.fill(&mut first, AuthState::Authenticated).unwrap());
            assert!(partial.fill(&mut second, AuthState::Authenticated).unwrap());
            assert_eq!(second, b"NEXT");
            assert_eq!(partial.finish(), &bytes[..6]);
            assert!(partial.is_empty());
        }
    }
}
