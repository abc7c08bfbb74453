//! Calls that are made on the connection from within a transaction's closure: they would wait for its
//! end, and it for theirs.
//!
//! Such a call is polled while the closure is. So whoever polls a closure notes that for the thread,
//! and a call that has to wait for the transaction looks whether it comes from there. What another
//! task asks, or this one beside the closure, is polled outside of it and may wait.

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

/// Takes a note back, though the closure may panic.
struct Note;

impl Drop for Note {
    fn drop(&mut self) {
        POLLED.with_borrow_mut(Vec::pop);
    }
}

/// The closure of a transaction, which notes when it is polled.
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

/// The error of a call that waits for the end of the transaction that it is made in.
#[cold]
pub(crate) fn waits_for_itself() -> Error {
    Error::new(
        ErrorKind::Request,
        "the call waits for the end of the interaction that it is made in",
    )
    .with_hint("ask by the interaction's cursor, or on another connection")
}
