//! A clock for tasks that look at something now and then: one thread for all connections.
//!
//! A timer of Tokio would do, but as long as any is registered, the runtime reads the clock and
//! looks at its timers whenever it goes to sleep: some 200 instructions for each query of a program
//! that has no other timer. The thread begins with the first pause, and ends a second after the
//! last one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long the thread stays when nothing waits for it: 1 s.
const IDLE: Duration = Duration::from_secs(1);

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::default);

#[derive(Default)]
struct Clock {
    state: Mutex<State>,
    /// An earlier end of a pause has come, or the first one.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The ends of pauses, the earliest first; some of them of pauses that were dropped.
    ends: BinaryHeap<Reverse<(Instant, u64)>>,
    wakers: HashMap<u64, Waker>,
    last: u64,
    is_running: bool,
}

/// Ends after this time. If there can be no thread it ends at once, and is an error.
pub(super) fn pause(time: Duration) -> Pause {
    Pause { end: Instant::now() + time, id: None }
}

/// See [`pause`].
pub(super) struct Pause {
    end: Instant,
    id: Option<u64>,
}

impl Future for Pause {
    type Output = Result<(), std::io::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if Instant::now() >= this.end {
            return Poll::Ready(Ok(()));
        }
        let waker = cx.waker().clone();
        let mut state = CLOCK.state.lock();
        let replaced = if let Some(id) = this.id {
            state.wakers.insert(id, waker)
        } else {
            state.last += 1;
            let id = state.last;
            this.id = Some(id);
            state.ends.push(Reverse((this.end, id)));
            state.wakers.insert(id, waker)
        };
        let begins = !std::mem::replace(&mut state.is_running, true);
        drop(state);
        drop(replaced);
        CLOCK.changed.notify_one();
        if begins && let Err(error) = begin() {
            CLOCK.state.lock().is_running = false;
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = CLOCK.state.lock().wakers.remove(&id);
            drop(waker);
        }
    }
}

fn begin() -> Result<(), std::io::Error> {
    thread::Builder::new().name("txpostgres-clock".to_owned()).spawn(run).map(drop)
}

fn run() {
    let mut due = Vec::new();
    let mut state = CLOCK.state.lock();
    loop {
        let now = Instant::now();
        let next = loop {
            match state.ends.peek() {
                Some(Reverse((end, _))) if *end > now => break Some(*end),
                Some(_) => {
                    if let Some(Reverse((_, id))) = state.ends.pop() {
                        due.extend(state.wakers.remove(&id));
                    }
                }
                None => break None,
            }
        };
        if !due.is_empty() {
            drop(state);
            for waker in due.drain(..) {
                waker.wake();
            }
            state = CLOCK.state.lock();
            continue;
        }
        let until = next.unwrap_or(now + IDLE);
        let is_late = CLOCK.changed.wait_until(&mut state, until).timed_out();
        if is_late && next.is_none() && state.ends.is_empty() {
            state.is_running = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses end in time, whichever was asked for first, and a dropped one disturbs none.
    #[test]
    fn pauses_end_in_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let began = Instant::now();
        let millis = Duration::from_millis;
        runtime.block_on(async {
            let long = tokio::spawn(pause(millis(120)));
            let dropped = tokio::spawn(pause(millis(60)));
            tokio::task::yield_now().await;
            dropped.abort();
            pause(millis(40)).await.unwrap();
            assert!(began.elapsed() >= millis(40) && !long.is_finished());
            long.await.unwrap().unwrap();
            assert!(began.elapsed() >= millis(120));
            // The thread may have ended.
            tokio::task::spawn_blocking(move || thread::sleep(IDLE + millis(100))).await.unwrap();
            pause(millis(10)).await.unwrap();
        });
    }
}
