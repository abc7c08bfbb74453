//! Calls that are made on the connection from within an interaction's closure: they would wait for its end, and it for theirs.
//!
//! Such a call is polled while the closure is. So whoever polls a closure notes so for the thread, and a call that has to wait for
//! the interaction inside looks whether that is where it comes from. What another task asks, or this one beside the
//! interaction, is polled outside of it and may wait.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use txpostgres_session::{Error, ErrorKind};

use crate::link::Link;
use crate::turnstile::{Turn, Turnstile};

thread_local! {
    /// The interactions whose closures are being polled on this thread, the innermost last: the address of their connection's
    /// link, and their turn there.
    static POLLED: RefCell<Vec<(usize, Turn)>> = const { RefCell::new(Vec::new()) };
}

fn address(link: &Arc<Link>) -> usize {
    Arc::as_ptr(link).addr()
}

/// Takes a note back, though the closure may panic.
struct Note;

impl Drop for Note {
    fn drop(&mut self) {
        POLLED.with_borrow_mut(Vec::pop);
    }
}

/// The closure of an interaction, which notes when it is polled.
pub(super) async fn noted<F: Future>(
    link: &Arc<Link>,
    turn: Turn,
    mut closure: Pin<&mut F>,
) -> F::Output {
    let note = (address(link), turn);
    poll_fn(|cx| {
        POLLED.with_borrow_mut(|polled| polled.push(note));
        let _note = Note;
        closure.as_mut().poll(cx)
    })
    .await
}

/// Why a call on this connection need not wait, if it is made from within the interaction that it would wait for.
#[cold]
pub(crate) fn why_not_to_wait(link: &Arc<Link>, turnstile: &Turnstile) -> Option<Error> {
    let note = (address(link), turnstile.turn_inside()?);
    let is_within = POLLED.with_borrow(|polled| polled.contains(&note));
    is_within.then(|| {
        Error::new(
            ErrorKind::Request,
            "the call waits for the end of the interaction that it is made in",
        )
        .with_hint("ask by the interaction's cursor, or on another connection")
    })
}
