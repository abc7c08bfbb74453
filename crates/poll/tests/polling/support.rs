//! Waiting with `poll(2)`, and how long each poll takes of that.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::time::{ClockId, clock_gettime};
use txpostgres_poll::{Connection, IntoConfig, PollState, Pollable, Result};
use txpostgres_testkit::{Database, shared};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a poll that sleeps in the kernel may take.
const LONGEST_BLOCK: Duration = Duration::from_millis(2);

/// How long a poll may compute: 2 ms. A build without optimization is some 15 times slower.
const LONGEST_COMPUTATION: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 30 } else { 2 });

/// A database of this test's own, on the shared server.
pub(crate) fn database() -> Database {
    shared().database().unwrap()
}

/// An open connection.
pub(crate) fn connect(config: impl IntoConfig) -> Connection {
    let mut connection = Connection::connect_start(config).unwrap();
    finish(&mut connection).unwrap();
    connection
}

/// Polls until it is done.
pub(crate) fn finish(pollable: &mut impl Pollable) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !wait(pollable, until)? {}
    Ok(())
}

/// Polls once, and waits for what that asks for. Returns whether it is done.
pub(crate) fn wait(pollable: &mut impl Pollable, until: Instant) -> Result<bool> {
    let flags = match unblocked(pollable)? {
        PollState::Ok => return Ok(true),
        PollState::Read => PollFlags::IN,
        PollState::Write => PollFlags::OUT,
    };
    let until = pollable.deadline().map_or(until, |deadline| deadline.min(until));
    wait_for(pollable, flags, until);
    Ok(false)
}

/// Waits until the descriptor is ready. Returns whether it is.
pub(crate) fn wait_for(pollable: &impl Pollable, flags: PollFlags, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    assert!(!left.is_zero() || pollable.deadline().is_some(), "nothing came within {PATIENCE:?}");
    let fileno = pollable.fileno().expect("a descriptor to wait for");
    let limit = Timespec::try_from(left).unwrap();
    rustix::event::poll(&mut [PollFd::from_borrowed_fd(fileno, flags)], Some(&limit)).unwrap() > 0
}

/// Polls, and asserts that this neither slept in the kernel nor computed for long. That a thread is
/// kept from running by others shows in neither.
pub(crate) fn unblocked(pollable: &mut impl Pollable) -> Result<PollState> {
    let (slept, computed, began) = (times_slept(), computed(), Instant::now());
    let polled = pollable.poll();
    let took = began.elapsed();
    let computed = self::computed().saturating_sub(computed);
    assert!(computed < LONGEST_COMPUTATION, "a poll computed for {computed:?}");
    let slept = times_slept() - slept;
    assert!(slept == 0 || took < LONGEST_BLOCK, "a poll slept, and took {took:?}");
    polled
}

fn computed() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// How often this thread has slept in the kernel until something happened.
fn times_slept() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("Linux counts them").trim().parse().unwrap()
}
