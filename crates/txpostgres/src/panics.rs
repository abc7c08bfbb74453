//! Callbacks of the user: an error or a panic of one is told, and has no other effect.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// What a callback returns: a future, unless it has ended already.
pub(crate) type Calling = Option<Pin<Box<dyn Future<Output = Result<(), String>> + Send>>>;

/// How a callback failed.
pub(crate) enum CallbackFailure {
    Error(String),
    Panic(String),
}

/// Calls a callback and awaits its future.
pub(crate) async fn call_back(callback: impl FnOnce() -> Calling) -> Result<(), CallbackFailure> {
    let mut calling = match catch_unwind(AssertUnwindSafe(callback)) {
        Ok(None) => return Ok(()),
        Ok(Some(calling)) => calling,
        Err(panic) => return Err(CallbackFailure::Panic(said(&*panic))),
    };
    let outcome =
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| calling.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
    match outcome.await {
        Ok(outcome) => outcome.map_err(CallbackFailure::Error),
        Err(panic) => Err(CallbackFailure::Panic(said(&*panic))),
    }
}

/// Calls a callback that returns a future, and awaits it. `Err`: one of them panicked, with this
/// message.
pub(crate) async fn caught<T>(
    callback: impl FnOnce() -> Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<T, String> {
    let calling = catch_unwind(AssertUnwindSafe(callback));
    let mut calling = calling.map_err(|panic| said(&*panic))?;
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| calling.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(said(&*panic))),
    })
    .await
}

/// The message of a panic, if it has one.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default().into()
}
