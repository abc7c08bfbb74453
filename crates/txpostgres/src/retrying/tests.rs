//! Retrying calls in virtual time. Tests with a name of the original's show what that one shows.

use std::cell::{Cell, RefCell};
use std::future::{Future, Ready, pending, ready};
use std::iter::{from_fn, repeat, repeat_n};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Polls a future once, outside of any runtime.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Calls that fail with their number, and when each was made: in seconds of the paused clock.
struct Failing {
    started: Instant,
    made: RefCell<Vec<u64>>,
    successful: Cell<usize>,
}

impl Failing {
    fn new() -> Self {
        Self { started: Instant::now(), made: RefCell::default(), successful: Cell::new(0) }
    }

    fn call(&self) -> Ready<Result<usize, usize>> {
        let now = self.started.elapsed();
        assert_eq!(now.subsec_millis(), 0, "{now:?}");
        self.made.borrow_mut().push(now.as_secs());
        let number = self.made.borrow().len();
        ready(if number == self.successful.get() { Ok(number) } else { Err(number) })
    }
}

/// At once, and then every second without an end.
fn silly_iterator() -> SimpleBackoffIterator {
    simple_backoff_iterator()
        .initial_delay(SECOND)
        .factor(1.0)
        .jitter(0.0)
        .max_delay(None)
        .max_retries(None)
}

#[test]
fn retrying_call_start() {
    let call = RetryingCall::new(|| ready(Ok::<_, ()>(1)));
    assert_eq!(poll_once(call.start(simple_backoff_iterator(), |()| true)), Poll::Ready(Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn some_failures() {
    let failing = Failing::new();
    failing.successful.set(3);
    let mut tests = Vec::new();
    let tester = |failure: &usize| {
        tests.push(*failure);
        true
    };
    let result = RetryingCall::new(|| failing.call()).start(silly_iterator(), tester).await;
    assert_eq!(result, Ok(3));
    assert_eq!(tests, [1, 2]);
    assert_eq!(*failing.made.borrow(), [0, 1, 2]);
}

/// The last failure, and not the first.
#[tokio::test(start_paused = true)]
async fn ran_out_of_retries() {
    let failing = Failing::new();
    let call = RetryingCall::new(|| failing.call());
    assert_eq!(call.start([SECOND, SECOND], |_| true).await, Err(2));
    assert_eq!(*failing.made.borrow(), [1, 2]);
    // As many calls as `max_retries`.
    let failing = Failing::new();
    let backoff = silly_iterator().max_retries(5);
    assert_eq!(RetryingCall::new(|| failing.call()).start(backoff, |_| true).await, Err(5));
    assert_eq!(*failing.made.borrow(), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn custom_tester() {
    let failing = Failing::new();
    let call = RetryingCall::new(|| failing.call());
    assert_eq!(call.start(silly_iterator(), |failure| *failure < 4).await, Err(4));
    assert_eq!(*failing.made.borrow(), [0, 1, 2, 3]);
}

/// A tester that fails gives the failure of the whole.
#[tokio::test(start_paused = true)]
async fn failure_in_failure_tester() {
    let failing = Failing::new();
    let tester = |failure: &usize| if *failure == 1 { Ok(()) } else { Err(99) };
    assert_eq!(RetryingCall::new(|| failing.call()).start(silly_iterator(), tester).await, Err(99));
    assert_eq!(*failing.made.borrow(), [0, 1]);
}

/// The delay that is running goes on; the one after it is the first of the new backoff.
#[tokio::test(start_paused = true)]
async fn reset_backoff() {
    let failing = Failing::new();
    let handle = BackoffHandle::new();
    let call =
        RetryingCall::new(|| failing.call()).backoff_handle(&handle).start([SECOND; 4], |_| true);
    let reset = async {
        sleep(Duration::from_millis(2_500)).await;
        // The later one counts.
        handle.reset_backoff([]);
        handle.reset_backoff([2 * SECOND; 4]);
    };
    assert_eq!(tokio::join!(call, reset).0, Err(7));
    assert_eq!(*failing.made.borrow(), [1, 2, 3, 5, 7, 9, 11]);
}

#[tokio::test(start_paused = true)]
async fn a_call_resets_its_own_backoff() {
    let failing = Failing::new();
    let handle = BackoffHandle::new();
    let call = RetryingCall::new(async || {
        let result = failing.call().await;
        if result == Err(2) {
            handle.reset_backoff(silly_iterator().max_retries(2));
        }
        result
    });
    // The last delay of the first backoff was used: the reset comes in time.
    let result = call.backoff_handle(&handle).start([5 * SECOND; 2], |_| true).await;
    assert_eq!(result, Err(4));
    assert_eq!(*failing.made.borrow(), [5, 10, 10, 11]);
}

#[tokio::test(start_paused = true)]
async fn a_reset_before_the_start_has_no_effect() {
    let failing = Failing::new();
    let handle = BackoffHandle::new();
    handle.reset_backoff([3 * SECOND]);
    let call = RetryingCall::new(|| failing.call()).backoff_handle(&handle);
    assert_eq!(call.start([SECOND], |_| true).await, Err(1));
    assert_eq!(*failing.made.borrow(), [1]);
}

/// Dropped during a delay: no call is made any more. Dropped during a call: that call is dropped.
#[tokio::test(start_paused = true)]
async fn cancel() {
    let failing = Failing::new();
    let call = RetryingCall::new(|| failing.call()).start([SECOND; 4], |_| true);
    timeout(Duration::from_millis(2_500), call).await.unwrap_err();
    sleep(10 * SECOND).await;
    assert_eq!(*failing.made.borrow(), [1, 2]);

    let alive = Rc::new(());
    let call = RetryingCall::new(|| {
        let alive = Rc::clone(&alive);
        async move { pending::<Result<(), Rc<()>>>().await.map_err(|_| alive) }
    });
    let call = call.start([SECOND; 4], |_| true);
    let mut call = Box::pin(call);
    timeout(2 * SECOND, &mut call).await.unwrap_err();
    assert_eq!(Rc::strong_count(&alive), 2, "the call runs");
    drop(call);
    assert_eq!(Rc::strong_count(&alive), 1);
}

/// Nothing happens between two calls with a delay of zero: no timer, for which there is no runtime
/// here, and no second poll.
#[test]
fn zero_is_at_once_and_synchronous() {
    let calls = Cell::new(0);
    let call = RetryingCall::new(|| {
        calls.set(calls.get() + 1);
        ready(Err::<(), _>(calls.get()))
    });
    let backoff = repeat_n(Duration::ZERO, 1_000);
    assert_eq!(poll_once(call.start(backoff, |_| true)), Poll::Ready(Err(1_000)));
}

/// A call that always fails at once does not keep its thread from other tasks.
#[tokio::test]
async fn zeros_without_an_end_give_way() {
    let calls = Cell::new(0);
    let call = RetryingCall::new(|| {
        calls.set(calls.get() + 1);
        ready(if calls.get() == 2_500 { Ok(()) } else { Err(()) })
    });
    let mut call = Box::pin(call.start(repeat(Duration::ZERO), |()| true));
    let mut polls = Vec::new();
    let result = std::future::poll_fn(|context| {
        let poll = call.as_mut().poll(context);
        polls.push(calls.get());
        poll
    });
    assert_eq!(result.await, Ok(()));
    assert_eq!(polls, [1_000, 2_000, 2_500]);
}

#[test]
fn a_backoff_without_a_delay_makes_one_call() {
    let call = RetryingCall::new(|| ready(Err::<(), _>("once")));
    assert_eq!(poll_once(call.start([], |_| true)), Poll::Ready(Err("once")));
}

#[tokio::test]
async fn the_longest_delay_is_waited_for() {
    let call = RetryingCall::new(|| ready(Ok::<_, ()>(())));
    assert_eq!(poll_once(call.start([Duration::MAX], |()| true)), Poll::Pending);
}

#[test]
fn another_clock_is_asked_for_delays_that_are_not_zero() {
    let mut asked = Vec::new();
    let call = RetryingCall::new(|| ready(Err::<(), _>(1))).sleep(|delay| {
        asked.push(delay);
        ready(())
    });
    let backoff = [0, 1, 0, 2].map(Duration::from_secs);
    assert_eq!(poll_once(call.start(backoff, |_| true)), Poll::Ready(Err(1)));
    assert_eq!(asked, [SECOND, 2 * SECOND]);
}

/// Iterators are the users' code: it is not run under the lock of the handle.
#[test]
fn an_iterator_may_use_the_handle_itself() {
    struct Resets(BackoffHandle, u32);
    impl Iterator for Resets {
        type Item = Duration;
        fn next(&mut self) -> Option<Duration> {
            self.0.reset_backoff(Resets(self.0.clone(), self.1.checked_sub(1)?));
            Some(Duration::ZERO)
        }
    }
    impl Drop for Resets {
        fn drop(&mut self) {
            self.0.take();
        }
    }
    let handle = BackoffHandle::new();
    let calls = Cell::new(0);
    let call = RetryingCall::new(|| {
        calls.set(calls.get() + 1);
        ready(Err::<(), _>(calls.get()))
    });
    let call = call.backoff_handle(&handle).start(Resets(handle.clone(), 3), |_| true);
    assert_eq!(poll_once(call), Poll::Ready(Err(3)));
    // One that is never used, since another came, is dropped.
    handle.reset_backoff(Resets(handle.clone(), 3));
    handle.reset_backoff([]);
}

/// Neither the backoff nor the tester nor the failure need be `Send` or live forever.
#[test]
fn anything_can_be_retried() {
    let delays = Rc::new(Cell::new(3));
    let failure = String::from("borrowed");
    let backoff = from_fn(|| {
        delays.set(delays.get() - 1);
        (delays.get() > 0).then_some(Duration::ZERO)
    });
    let call = RetryingCall::new(async || Err::<(), _>((&*failure, Rc::clone(&delays))));
    let Poll::Ready(Err((text, _))) = poll_once(call.start(backoff, |_| true)) else {
        panic!("not ready");
    };
    assert_eq!((text, delays.get()), ("borrowed", 0));
}

/// The futures go through `tokio::spawn`: with what the closure owns, or within a block that owns
/// it.
#[tokio::test]
async fn futures_are_send() {
    let owned = String::from("owned");
    let call = RetryingCall::new(move || {
        let owned = owned.clone();
        async move {
            tokio::task::yield_now().await;
            Ok::<_, txpostgres_session::Error>(owned)
        }
    });
    let call = call.start(simple_backoff_iterator(), txpostgres_session::Error::is_retryable);
    assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), "owned");
    let block = async move {
        let (owned, handle) = (String::from("owned"), BackoffHandle::new());
        RetryingCall::new(async || {
            tokio::task::yield_now().await;
            handle.reset_backoff(silly_iterator());
            Ok::<_, txpostgres_session::Error>(owned.clone())
        })
        .backoff_handle(&handle)
        .start(simple_backoff_iterator(), |_| true)
        .await
    };
    assert_eq!(tokio::spawn(block).await.unwrap().unwrap(), "owned");
}

#[test]
fn no_two_backoffs_have_the_same_jitter() {
    let delays = || simple_backoff_iterator().take(3).collect::<Vec<_>>();
    assert_ne!(delays(), delays());
    let seeded = || simple_backoff_iterator().seed(5).collect::<Vec<_>>();
    assert_eq!(seeded(), seeded());
}
