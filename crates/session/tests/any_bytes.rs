//! Whatever a server sends, and whenever: no panic, every request settles once, and the session ends.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proptest::prelude::*;
use support::damage;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_dialogs(case in damage::damaged_dialogs()) {
        case.play();
    }

    #[test]
    fn anything_at_any_moment(case in damage::broken_dialogs()) {
        case.play();
    }
}
