//! Detects calls on the connection from within the closure of its own transaction, which would
//! deadlock: such a call waits for the end of the transaction, and the closure for the call.
//!
//! Such a call is polled while the closure is polled. So a thread notes while it polls a closure,
//! and a call that must wait for the transaction checks that note. Calls of another task, or of the
//! same task beside the closure, are polled outside of it and may wait.
//!
//! Recovery handlers are noted likewise: a call that one makes may use a session that is not given
//! to anything else yet.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use txpostgres_multiplex::{Drive as _, LockId};
use txpostgres_session::{Error, ErrorKind};

use super::{Driver, Scope};

thread_local! {
    /// What is being polled on this thread, the innermost last: the address of its driver, and what
    /// it is there.
    static POLLED: RefCell<Vec<(usize, Polled)>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polled {
    /// The closure of the transaction with this lease.
    Closure(LockId),
    /// Recovery handlers.
    Recovery,
}

fn address(driver: &Driver) -> usize {
    std::ptr::from_ref(driver).addr()
}

/// Removes a note, even if the closure panics.
struct Note;

impl Note {
    fn new(polled: (usize, Polled)) -> Self {
        POLLED.with_borrow_mut(|all| all.push(polled));
        Self
    }
}

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
    let polled = (address(driver), Polled::Closure(lease));
    poll_fn(|cx| {
        let _note = Note::new(polled);
        closure.as_mut().poll(cx)
    })
    .await
}

/// Polls recovery handlers, and notes that meanwhile.
pub(crate) fn recovering<'a>(
    driver: Arc<Driver>,
    mut handlers: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    Box::pin(poll_fn(move |cx| {
        let _note = Note::new((address(&driver), Polled::Recovery));
        handlers.as_mut().poll(cx)
    }))
}

/// The scope of a call of the connection that is made now.
pub(crate) fn in_recovery(driver: Arc<Driver>) -> Scope {
    let recovery = (address(&driver), Polled::Recovery);
    if POLLED.with_borrow(|polled| polled.contains(&recovery)) {
        let generation = driver.lock().generation();
        return Scope::Recovery(driver, generation);
    }
    Scope::Connection(driver)
}

/// Whether the closure of the transaction with this lease is being polled on this thread.
pub(crate) fn is_within(driver: &Driver, lease: LockId) -> bool {
    POLLED.with_borrow(|polled| polled.contains(&(address(driver), Polled::Closure(lease))))
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
