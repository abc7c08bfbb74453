//! `Polling`, by the names that the original has.

use std::io::{ErrorKind as IoKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use txpostgres::{Error, ErrorKind, PollState, Pollable, Polling, Result};

/// Says what the bytes of its peer say, as psycopg2's numbers.
struct Told {
    stream: Option<UnixStream>,
    deadline: Option<Instant>,
    polls: u32,
}

impl Pollable for Told {
    fn fileno(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn poll(&mut self) -> Result<PollState> {
        self.polls += 1;
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(PollState::Ok);
        }
        let Some(stream) = &mut self.stream else { return Ok(PollState::Read) };
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => Err(Error::new(ErrorKind::Lost, "it ended")),
            Ok(_) => PollState::try_from(i32::from(byte[0] - b'0')),
            Err(error) if error.kind() == IoKind::WouldBlock => Ok(PollState::Read),
            Err(error) => Err(Error::new(ErrorKind::Lost, "it broke").with_source(error)),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

fn pair() -> (Polling<Told>, UnixStream) {
    let (own, peer) = UnixStream::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    (Polling::new(Told { stream: Some(own), deadline: None, polls: 0 }), peer)
}

/// Begins a cycle, and lets it come to wait.
async fn begin(polling: &Polling<Told>) -> tokio::task::JoinHandle<Result<()>> {
    let before = polling.pollable(|told| told.polls).unwrap();
    let cycle = tokio::spawn(polling.poll());
    while polling.pollable(|told| told.polls).unwrap() == before {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    cycle
}

async fn end(cycle: tokio::task::JoinHandle<Result<()>>) -> Result<()> {
    timeout(PATIENCE, cycle).await.expect("the cycle ends").unwrap()
}

#[tokio::test]
async fn poll_waits_until_the_pollable_is_ok() {
    let (polling, mut peer) = pair();
    for told in ["0", "10", "20", "1210"] {
        let cycle = begin(&polling).await;
        assert!(!cycle.is_finished());
        for byte in told.bytes() {
            peer.write_all(&[byte]).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        end(cycle).await.unwrap();
    }
}

#[tokio::test]
async fn already_polling() {
    let (polling, mut peer) = pair();
    let cycle = begin(&polling).await;
    assert_eq!(polling.poll().await.unwrap_err().kind(), ErrorKind::AlreadyPolling);
    peer.write_all(b"0").unwrap();
    end(cycle).await.unwrap();
    // A cycle whose future was dropped is over.
    let cycle = begin(&polling).await;
    cycle.abort();
    assert!(cycle.await.unwrap_err().is_cancelled());
    peer.write_all(b"0").unwrap();
    timeout(PATIENCE, polling.poll()).await.unwrap().unwrap();
    let inner = polling.pollable(|_| polling.pollable(|_| ()).unwrap_err().kind());
    assert_eq!(inner.unwrap(), ErrorKind::AlreadyPolling);
}

#[tokio::test]
async fn unexpected_poll_result() {
    let (polling, mut peer) = pair();
    let cycle = begin(&polling).await;
    peer.write_all(b"3").unwrap();
    assert_eq!(end(cycle).await.unwrap_err().kind(), ErrorKind::UnexpectedPollResult);
    peer.write_all(b"0").unwrap();
    polling.poll().await.unwrap();
}

#[tokio::test]
async fn continue_polling_moves_the_cycle_and_swallows_errors() {
    let (polling, mut peer) = pair();
    // Without a cycle there is nobody to report an error to.
    polling.continue_polling(false).unwrap();
    peer.write_all(b"99").unwrap();
    polling.continue_polling(true).unwrap();
    let error = polling.continue_polling(false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedPollResult);
    // Called by somebody else than the cycle's own task, whose descriptor says nothing.
    let cycle = begin(&polling).await;
    polling.pollable(|told| told.deadline = Some(Instant::now())).unwrap();
    polling.continue_polling(false).unwrap();
    end(cycle).await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_ends_the_cycle() {
    let (polling, peer) = pair();
    let cycle = begin(&polling).await;
    drop(peer);
    assert_eq!(end(cycle).await.unwrap_err().kind(), ErrorKind::Lost);

    let (polling, _peer) = pair();
    let cycle = begin(&polling).await;
    polling.connection_lost(Error::new(ErrorKind::Lost, "the reactor says so"));
    let error = end(cycle).await.unwrap_err();
    assert!(error.to_string().contains("the reactor says so"), "{error}");

    polling.pollable(|told| told.stream = None).unwrap();
    assert_eq!(polling.poll().await.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn a_deadline_polls_though_nothing_has_come() {
    let (polling, _peer) = pair();
    let soon = Instant::now() + Duration::from_millis(20);
    polling.pollable(|told| told.deadline = Some(soon)).unwrap();
    timeout(PATIENCE, polling.poll()).await.unwrap().unwrap();
}

#[tokio::test]
async fn reactor_and_prefix_are_attributes() {
    let (polling, _peer) = pair();
    assert_eq!(polling.prefix(), "pollable");
    let polling = polling.with_prefix("news");
    assert_eq!(polling.clone().prefix(), "news");
    assert_eq!(polling.reactor().id(), tokio::runtime::Handle::current().id());
}
