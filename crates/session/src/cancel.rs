//! The key that lets us ask the server to cancel what the session is doing.

use std::fmt;

use crate::error::Result;
use crate::limits;
use crate::protocol::wire::{Reader, violation};

/// What a CancelRequest must show (manual, section 54.7, `BackendKeyData`). A peer that has it can
/// interrupt the session.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    process_id: i32,
    secret: Box<[u8]>,
}

impl CancelKey {
    /// Reads the body of a `BackendKeyData`; `None` if there is no key in it.
    pub(crate) fn read(body: &[u8]) -> Result<Option<Self>> {
        let mut reader = Reader::new(body, "BackendKeyData");
        let process_id = reader.i32()?;
        let secret = reader.remainder();
        if secret.is_empty() {
            // Some proxies have none to give (seen with RDS Proxy: gravitational/teleport#68711).
            return Ok(None);
        }
        if !limits::CANCEL_KEY_BYTES.contains(&secret.len()) {
            return Err(violation(format!(
                "the server sent a cancel key of {} bytes; 4 to 256 are possible",
                secret.len()
            )));
        }
        Ok(Some(Self { process_id, secret: secret.into() }))
    }

    /// The process that serves the session.
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

/// What became of a request that is to be cancelled: see
/// [`Session::cancel`](crate::Session::cancel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancel {
    /// It has its answer, or was never asked: there is nothing to cancel.
    Over,
    /// It had not left, and will not. It settles with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    Withdrawn,
    /// The server may be working on it, and on nothing else of ours. The gate is shut: send a
    /// CancelRequest, wait until the server has hung up on it, and call
    /// [`Session::open_gate`](crate::Session::open_gate).
    Running,
    /// Others travel with it, and a cancel could hit those: nothing is done.
    Pipelined,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length() {
        for length in 0..400 {
            let mut body = 7_i32.to_be_bytes().to_vec();
            body.extend(vec![1; length]);
            let key = CancelKey::read(&body);
            match length {
                0 => assert_eq!(key.unwrap(), None),
                4..=256 => assert_eq!(key.unwrap().unwrap().process_id(), 7),
                _ => assert!(key.is_err()),
            }
        }
        assert!(CancelKey::read(b"\0\0").is_err());
    }

    #[test]
    fn the_secret_is_not_shown() {
        let key = CancelKey::read(b"\0\0\0\x07\x2a\x2b\x2c\x2d").unwrap().unwrap();
        assert_eq!(format!("{key:?}"), "CancelKey { process_id: 7, .. }");
    }
}
