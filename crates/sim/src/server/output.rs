//! What a server session has to say: bytes, and for whose answer each of them is.

use std::collections::VecDeque;

use crate::wire;

/// Bytes that wait for room on the line; past this the session stops working, as a server that is
/// stuck in `send` does.
const FULL_BYTES: usize = 8 * 1024;

/// Bytes to be sent.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: VecDeque<u8>,
    /// The operation that the next bytes are for (0: none), and how many there are.
    owners: VecDeque<(u32, usize)>,
    total: u64,
    scratch: Vec<u8>,
}

impl Output {
    /// Writes a message that is for the answer of this operation.
    pub(crate) fn put(&mut self, owner: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        let count = self.scratch.len();
        self.bytes.extend(&self.scratch);
        self.total += count as u64;
        match self.owners.back_mut() {
            Some((last, counted)) if *last == owner => *counted += count,
            _ => self.owners.push_back((owner, count)),
        }
    }

    /// A message without a body.
    pub(crate) fn put_empty(&mut self, tag: u8) {
        self.put(0, |out| wire::put_empty(out, tag));
    }

    /// `CommandComplete`.
    pub(crate) fn put_complete(&mut self, tag: &str) {
        self.put(0, |out| wire::put(out, b'C', |out| wire::put_text(out, tag)));
    }

    /// Bytes written since the beginning, sent or not.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Throws away what has not been sent: its reader is gone.
    pub(crate) fn discard(&mut self) {
        self.bytes.clear();
        self.owners.clear();
    }

    /// Takes bytes that are for one operation, and says for which.
    pub(crate) fn take(&mut self, most: usize) -> Option<(u32, Vec<u8>)> {
        let (owner, count) = self.owners.front_mut()?;
        let (owner, taken) = (*owner, most.min(*count));
        if taken == 0 {
            return None;
        }
        *count -= taken;
        if *count == 0 {
            self.owners.pop_front();
        }
        Some((owner, self.bytes.drain(..taken).collect()))
    }
}
