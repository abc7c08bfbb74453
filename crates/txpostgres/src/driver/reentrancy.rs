//! Detects calls on the connection from within the closure of its own transaction, which would
//! deadlock: such a call waits for the end of the transaction, and the closure for the call.
//!
//! Such a call is polled while the closure is polled. So a thread notes while it polls a closure,
//! and a call that must wait for the transaction checks that note. Calls of another task, or of the
//! same task beside the closure, are polled outside of it and may wait.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;

use txpostgres_multiplex::LockId;
use txpostgres_session::{Error, ErrorKind};

use super::Driver;

thread_local! {
    /// The transactions whose closures are being polled on this thread, the innermost last: the
    /// address of their driver, and their lease there.
    static POLLED: RefCell<Vec<(usize, LockId)>> = const { RefCell::new(Vec::new()) };
}

fn address(driver: &Driver) -> usize {
    std::ptr::from_ref(driver).addr()
}

/// Removes a note, even if the closure panics.
struct Note;

impl Drop for Note {
    fn drop(&mut self) {
        POLLED.with_borrow_mut(Vec::pop);
    }
}

/// Polls the closure of a transaction, and notes that meanwhile.
pub(crate) async fn noted<F: Future>(
    driver: &Driver,
    lease: LockId,
    mut closure: Pin<&mut F>,
) -> F::Output {
    let note = (address(driver), lease);
    poll_fn(|cx| {
        POLLED.with_borrow_mut(|polled| polled.push(note));
        let _note = Note;
        closure.as_mut().poll(cx)
    })
    .await
}

/// Whether the closure of the transaction with this lease is being polled on this thread.
pub(crate) fn is_within(driver: &Driver, lease: LockId) -> bool {
    POLLED.with_borrow(|polled| polled.contains(&(address(driver), lease)))
}

/// The error of a call that would wait for the end of the transaction that it is made in.
#[cold]
pub(crate) fn waits_for_itself() -> Error {
    Error::new(
        ErrorKind::Request,
        "the call waits for the end of the interaction that it is made in",
    )
    .with_hint("use the interaction's cursor, or another connection")
}
