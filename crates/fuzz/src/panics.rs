//! What a panic said, be it one that the code catches itself.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

thread_local! {
    /// What the last panic of the case said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether a case runs on this thread.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Notes what panics say while a case runs; other panics are printed as ever.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if RUNS.get() {
                let mut said = info.to_string();
                if let Some((end, _)) = said.char_indices().nth(4_000) {
                    said.truncate(end);
                }
                SAID.set(Some(said));
            } else {
                usual(info);
            }
        }));
    });
}

/// A case begins or ends.
pub(crate) fn watch(runs: bool) {
    RUNS.set(runs);
    SAID.take();
}

/// What the last panic of the case said.
pub(crate) fn said() -> Option<String> {
    SAID.with_borrow(Clone::clone)
}
