//! What is to leave, and how much of it has: the ground for saying whether the server got a
//! request.
//!
//! Positions count plaintext bytes since the session began. Under TLS the bytes that leave are
//! others, so each chunk that was encrypted remembers which plaintext it carries.

use std::collections::VecDeque;
use std::fmt;

use bytes::BytesMut;

use crate::limits;

#[derive(Default)]
pub(crate) struct SendBuffer {
    /// Encoded and not yet handed to the driver.
    pending: BytesMut,
    /// Position behind the last byte handed out.
    handed: u64,
    /// Position behind the last byte that left.
    left: u64,
    /// Under TLS: what was handed out and is not encrypted yet.
    unencrypted: BytesMut,
    /// Under TLS: chunks that were encrypted, the oldest first.
    chunks: VecDeque<Chunk>,
    /// Under TLS: ciphertext bytes handed out and left.
    cipher_handed: u64,
    cipher_left: u64,
}

/// Some plaintext that was encrypted together.
#[derive(Debug)]
struct Chunk {
    /// Where its ciphertext begins.
    cipher_start: u64,
    /// Where its plaintext ends.
    plain_end: u64,
}

impl fmt::Debug for SendBuffer {
    /// Lengths only: a password may be in it, and values are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBuffer")
            .field("pending", &self.pending.len())
            .field("handed", &self.handed)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl SendBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.unencrypted.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.pending.len() + self.unencrypted.len()
    }

    /// Where messages are appended.
    pub(crate) fn pending(&mut self) -> &mut BytesMut {
        &mut self.pending
    }

    /// Appends what was written elsewhere, and leaves `bytes` empty.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &mut BytesMut) {
        move_to(&mut self.pending, bytes);
    }

    /// The position behind what has been appended so far.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.handed + self.pending.len() as u64
    }

    /// Hands out everything, to be sent as it is.
    #[inline]
    pub(crate) fn take_plain(&mut self, into: &mut BytesMut) {
        self.handed = self.end();
        if into.is_empty() {
            std::mem::swap(&mut self.pending, into);
        } else {
            into.extend_from_slice(&self.pending);
            self.pending.clear();
        }
    }

    /// Hands out everything, and gives up to `limit` bytes of it to be encrypted; say with
    /// [`encrypted`](Self::encrypted) what became of them. The rest comes the next time, before
    /// anything else is handed out: as part of it may have left, it cannot be taken back.
    pub(crate) fn take_chunk(&mut self, limit: usize) -> BytesMut {
        if self.unencrypted.is_empty() {
            self.handed = self.end();
            move_to(&mut self.unencrypted, &mut self.pending);
        }
        self.unencrypted.split_to(self.unencrypted.len().min(limit))
    }

    /// `ciphertext` bytes are to leave that carry no request.
    pub(crate) fn handshake(&mut self, ciphertext: usize) {
        self.cipher_handed += ciphertext as u64;
    }

    /// `ciphertext` bytes are to leave that carry the plaintext taken for encryption so far.
    pub(crate) fn encrypted(&mut self, ciphertext: usize) {
        let plain_end = self.handed - self.unencrypted.len() as u64;
        self.chunks.push_back(Chunk { cipher_start: self.cipher_handed, plain_end });
        self.cipher_handed += ciphertext as u64;
    }

    /// The driver sent `count` bytes, as they were handed out.
    pub(crate) fn sent_plain(&mut self, count: usize) {
        self.left = self.handed.min(self.left.saturating_add(count as u64));
    }

    /// The driver sent `count` bytes of ciphertext. A chunk of which any byte left counts as left:
    /// the server may have decrypted its first records.
    pub(crate) fn sent_encrypted(&mut self, count: usize) {
        self.cipher_left = self.cipher_handed.min(self.cipher_left.saturating_add(count as u64));
        while let Some(chunk) = self.chunks.front() {
            if chunk.cipher_start >= self.cipher_left {
                break;
            }
            self.left = self.left.max(chunk.plain_end);
            self.chunks.pop_front();
        }
    }

    /// Whether what ends at this position is yet to be handed out.
    pub(crate) fn is_pending(&self, position: u64) -> bool {
        self.handed < position
    }

    /// Takes back everything behind this position that was not handed out.
    pub(crate) fn take_back(&mut self, position: u64) -> BytesMut {
        let at = position.saturating_sub(self.handed).min(self.pending.len() as u64);
        self.pending.split_off(usize::try_from(at).unwrap_or(self.pending.len()))
    }

    /// Nothing that waits is to leave any more. What was handed out counts as left: a driver that
    /// says goodbye sends it first.
    pub(crate) fn withdraw(&mut self) {
        self.pending.clear();
        self.left = self.handed;
    }

    /// Whether the byte before this position has left.
    pub(crate) fn has_left(&self, position: u64) -> bool {
        self.left >= position
    }
}

/// Moves all of `from` behind `to`: handed over instead of copied, where nothing lies before it.
#[inline]
pub(crate) fn move_to(to: &mut BytesMut, from: &mut BytesMut) {
    if to.is_empty() {
        std::mem::swap(to, from);
    } else {
        append_to(to, from);
    }
}

#[inline(never)]
fn append_to(to: &mut BytesMut, from: &mut BytesMut) {
    to.extend_from_slice(from);
    if from.len() < limits::LARGE_REQUEST_BYTES {
        from.clear();
    } else {
        // So much memory is not kept for the next request.
        *from = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_has_left_in_plain() {
        let mut send_buffer = SendBuffer::default();
        send_buffer.pending().extend_from_slice(b"0123456789");
        let mut out = BytesMut::new();
        send_buffer.take_plain(&mut out);
        send_buffer.pending().extend_from_slice(b"abc");
        assert_eq!(send_buffer.end(), 13);
        send_buffer.sent_plain(4);
        assert!(send_buffer.has_left(4) && !send_buffer.has_left(5));
        send_buffer.sent_plain(6);
        assert!(send_buffer.has_left(10) && !send_buffer.has_left(11));
    }

    #[test]
    fn more_than_was_handed_out_cannot_leave() {
        let mut send_buffer = SendBuffer::default();
        send_buffer.pending().extend_from_slice(b"0123456789");
        send_buffer.take_plain(&mut BytesMut::new());
        for _ in 0..2 {
            send_buffer.sent_plain(usize::MAX);
            send_buffer.sent_encrypted(usize::MAX);
        }
        assert!(send_buffer.has_left(10) && !send_buffer.has_left(11));
    }

    #[test]
    fn counts_an_encrypted_chunk_from_its_first_byte() {
        let mut send_buffer = SendBuffer::default();
        send_buffer.pending().extend_from_slice(b"0123456789");
        assert_eq!(send_buffer.take_chunk(4).len(), 4);
        send_buffer.encrypted(30);
        assert!(!send_buffer.is_pending(10), "part of it may have left");
        assert_eq!((send_buffer.len(), send_buffer.end()), (6, 10));
        assert_eq!(send_buffer.take_chunk(100).len(), 6);
        send_buffer.encrypted(40);
        assert!(!send_buffer.has_left(1));
        send_buffer.sent_encrypted(1);
        assert!(send_buffer.has_left(4) && !send_buffer.has_left(5));
        send_buffer.sent_encrypted(29);
        assert!(!send_buffer.has_left(5));
        send_buffer.sent_encrypted(1);
        assert!(send_buffer.has_left(10));
    }
}
