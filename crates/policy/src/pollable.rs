//! The contract between something that is polled and whatever waits for its descriptor: psycopg2's
//! `poll()` and `fileno()`, libpq's `PQconnectPoll` and `PQsocket`.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use txpostgres_session::{Error, ErrorKind, Result};

/// Something that makes progress when its descriptor is ready: a [`poll`](Self::poll) tells what to
/// wait for, until it is [`PollState::Ok`].
///
/// ```text
///   ┌──▶ poll() ── Ok ──▶ done
///   │      │
///   │      ├── Read ───▶ wait until the descriptor is readable ──┐
///   │      └── Write ──▶ wait until it is writable ──────────────┤
///   └───────────────────────────────────────────────────────────┘
/// ```
///
/// The descriptor may be another one after each poll. Polling more often than is needed does no
/// harm.
pub trait Pollable {
    /// The descriptor to wait for; `None` if there is none any more.
    fn fileno(&self) -> Option<BorrowedFd<'_>>;

    /// Makes as much progress as is possible without waiting.
    ///
    /// # Errors
    ///
    /// What was waited for has failed, and is over with that.
    fn poll(&mut self) -> Result<PollState>;

    /// When to poll at the latest, though the descriptor is not ready. `None`: only the descriptor
    /// counts.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

impl<P: Pollable + ?Sized> Pollable for &mut P {
    fn fileno(&self) -> Option<BorrowedFd<'_>> {
        P::fileno(self)
    }

    fn poll(&mut self) -> Result<PollState> {
        P::poll(self)
    }

    fn deadline(&self) -> Option<Instant> {
        P::deadline(self)
    }
}

/// What a [`Pollable`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PollState {
    /// Nothing: it is done. psycopg2's `POLL_OK`.
    Ok,
    /// Until its descriptor can be read. psycopg2's `POLL_READ`.
    Read,
    /// Until its descriptor can be written to. psycopg2's `POLL_WRITE`.
    Write,
}

impl TryFrom<i32> for PollState {
    type Error = Error;

    /// From psycopg2's numbers, for what another library polls.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnexpectedPollResult`] for any other number.
    fn try_from(number: i32) -> Result<Self> {
        match number {
            0 => Ok(Self::Ok),
            1 => Ok(Self::Read),
            2 => Ok(Self::Write),
            other => Err(Error::new(
                ErrorKind::UnexpectedPollResult,
                format!("polling returned {other}, which is none of 0 (ok), 1 (read), 2 (write)"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_psycopg2s() {
        let states = [0, 1, 2].map(|number| PollState::try_from(number).unwrap());
        assert_eq!(states, [PollState::Ok, PollState::Read, PollState::Write]);
        for other in [-1, 3, i32::MAX] {
            let error = PollState::try_from(other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedPollResult);
            assert!(error.to_string().contains(&other.to_string()), "{error}");
        }
    }
}
