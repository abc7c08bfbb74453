//! Panics of the library, wherever the runtime hides them.

use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

thread_local! {
    /// What was said by the first panic of the run on this thread.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    /// The seed that runs on this thread.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Notes what panics say while a run is on; those of other threads are as ever.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| match SEED.get() {
            Some(seed) => note(info, seed),
            None => usual(info),
        }));
    });
}

fn note(info: &PanicHookInfo<'_>, seed: u64) {
    let said = info.to_string();
    let is_second = SAID.with_borrow(Option::is_some);
    if is_second {
        // The process ends here if this one comes while the first unwinds: so it is printed.
        eprintln!("seed {seed}: {said}");
    }
    SAID.with_borrow_mut(|known| known.get_or_insert(said).truncate(2_000));
}

/// A run begins or ends on this thread.
pub(crate) fn watch(seed: Option<u64>) {
    SEED.set(seed);
    SAID.with_borrow_mut(Option::take);
}

/// What a panic of this run has said.
pub(crate) fn said() -> Option<String> {
    SAID.with_borrow(Clone::clone)
}
