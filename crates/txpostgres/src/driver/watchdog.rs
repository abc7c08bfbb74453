//! Drives a connection when the task that should drive does not.
//!
//! While no call waits, the watchdog is the driver: it reads unsolicited messages, such as
//! notifications, and the end of the session. Otherwise it sleeps, unless others depend on a task
//! that was woken or has made a promise: then it checks once after [`WATCHDOG_INTERVAL`], and does
//! what was not done since. So a task that has polled a call and then does something else delays
//! others by at most this interval.
//!
//! ```text
//!            no call waits: socket ready ──▶ drive
//!   Asleep ─┤
//!            woken, promised: alarm ──▶ Interval ──▶ tick: drive, send, wake waiters ──▶ Asleep,
//!                                          ▲                                  │          or again
//!                                          └──────────────────────────────────┘
//! ```

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use txpostgres_multiplex::{Drive, Effects};

use super::Driver;
use super::shared::Shared;

/// How long a task that was woken may take to drive before the watchdog drives in its place: 10 ms.
pub(crate) const WATCHDOG_INTERVAL: Duration = Duration::from_millis(10);

/// Runs until the session of this number is over, or the driver was dropped.
pub(super) fn watch(
    shared: Arc<Shared>,
    driver: Weak<Driver>,
    generation: u64,
) -> impl Future<Output = ()> + Send {
    let mut interval: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |cx| {
        let replaced = shared.alarm.register(cx.waker());
        let is_over = {
            let multiplexer = shared.multiplexer();
            multiplexer.generation() != generation || multiplexer.is_closed()
        };
        if is_over {
            // It may have been the watchdog of the next session, which must register again.
            if let Some(replaced) = replaced {
                replaced.wake();
            }
            return Poll::Ready(());
        }
        drop(replaced);
        if shared.alarm.take_drive() && shared.readiness.is_ready() {
            match driver.upgrade() {
                Some(driver) => driver.drive(None, true),
                None => return Poll::Ready(()),
            }
        }
        while shared.alarm.is_set() {
            if poll_interval(&mut interval, cx).is_pending() {
                return Poll::Pending;
            }
            interval = None;
            shared.alarm.clear();
            match driver.upgrade() {
                Some(driver) => tick(&shared, &driver),
                None => return Poll::Ready(()),
            }
        }
        Poll::Pending
    })
}

fn poll_interval(interval: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    interval.get_or_insert_with(|| Box::pin(sleep(WATCHDOG_INTERVAL))).as_mut().poll(cx)
}

/// Does what was not done within the interval.
fn tick(shared: &Shared, driver: &Driver) {
    let mut effects = Effects::default();
    let tick = {
        let mut multiplexer = shared.multiplexer();
        let tick = multiplexer.tick(&mut effects);
        shared.readiness.set_paused(multiplexer.is_over_limit());
        tick
    };
    effects.run();
    if tick.flush || shared.readiness.is_ready() && !shared.readiness.must_not_read() {
        driver.drive(None, true);
    }
    if tick.again {
        shared.alarm.set();
    }
}
