//! Looks after a connection when nobody else does.
//!
//! While no call waits, what the server says by itself (a notice, its end) is read here. While several wait, it patrols:
//! a task that was woken to drive and does not poll its call (it awaits something else first) must not hold up the others.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::desk::Calls;
use crate::link::Link;
use crate::switchboard::Switchboard;

/// How long a task that was woken may take to drive before the watcher does, in place of it: 10 ms. Only while more than one
/// request is outstanding.
const PATROL: Duration = Duration::from_millis(10);

/// How many patrols a task that waits for itself is given before it is told so: 500, which are 5 s. A task may do several things
/// at once, and come back to a stream after a while.
const STANDSTILL: u32 = 500;

/// Runs until the session is over or nobody holds the link any more.
pub(crate) async fn watch(board: Arc<Switchboard>, link: Weak<Link>) {
    let mut nap: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |cx| {
        let patrols = {
            let mut desk = board.desk();
            if desk.session.is_closed() {
                return Poll::Ready(());
            }
            desk.set_watcher(cx.waker());
            desk.patrol
        };
        if board.has_rung() {
            match link.upgrade() {
                Some(link) => link.drive(None, true),
                None => return Poll::Ready(()),
            }
        }
        if !patrols {
            nap = None;
            return Poll::Pending;
        }
        loop {
            let sleeping = nap.get_or_insert_with(|| Box::pin(sleep(PATROL)));
            if sleeping.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            nap = None;
            let mut calls = Calls::new();
            let promised = {
                let mut desk = board.desk();
                desk.look_for_standstill(STANDSTILL, &mut calls);
                let promised = std::mem::take(&mut desk.flush_promised);
                desk.patrol = desk.concerns_several();
                promised
            };
            for waker in calls {
                waker.wake();
            }
            if promised || board.has_rung() {
                match link.upgrade() {
                    Some(link) => link.drive(None, true),
                    None => return Poll::Ready(()),
                }
            }
            if !board.desk().patrol {
                return Poll::Pending;
            }
        }
    })
    .await;
}
