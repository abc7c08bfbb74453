//! Which certificates are believed: our verdict beside libpq's, over every kind of chain.
//!
//! A generator makes the chains: algorithms × shapes × constraints × dates × uses × revocation. Each
//! is shown by a peer in this process to `psql` and to us, in each `sslmode` that judges.
//!
//! ```text
//! cargo test -p txpostgres --test certificates -- --include-ignored --nocapture
//! ```
//!
//! prints the table; `TXPOSTGRES_TEST_CASES` tries the cases alone that have this in their name. The
//! test that is not ignored tries a slice.

#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod chain;
mod changes;
mod deliberate;
mod der;
mod folder;
mod home;
mod keys;
mod kinds;
mod openssl_server;
mod peer;
mod revocation;
mod shapes;
mod table;
mod warnings;

use deliberate::STRICTER;
use keys::has_openssl;
use shapes::Case;
use table::{Found, MODES, try_all};

/// The modes, and one in which no certificate is judged, for there is nothing to judge it by: then
/// every server is believed that has its own key.
const AND_WITHOUT_ROOT: [&str; 5] =
    [MODES[0], MODES[1], MODES[2], MODES[3], "require sslrootcert=/nowhere/root.crt"];

/// Every dimension, and the modes in which it is tried.
fn dimensions() -> Vec<(Vec<Case>, &'static [&'static str])> {
    vec![
        (shapes::shapes(), &AND_WITHOUT_ROOT),
        (changes::algorithms(), &AND_WITHOUT_ROOT),
        (changes::dates(), &MODES),
        (changes::uses(), &["verify-full", "require"]),
        (changes::fields(), &AND_WITHOUT_ROOT),
        (changes::constraints(), &["verify-full"]),
        (revocation::revocation(), &["verify-full", "prefer"]),
    ]
}

/// The whole table, and that each deliberate difference is seen.
#[test]
#[ignore = "takes minutes"]
fn the_whole_table() {
    if !has_openssl() {
        println!("skipped: half of the table is made by the program openssl, which is not here");
        return;
    }
    let mut found = Found::default();
    // A part of a name tries those cases alone.
    let only = std::env::var("TXPOSTGRES_TEST_CASES").unwrap_or_default();
    for (number, (mut cases, modes)) in dimensions().into_iter().enumerate() {
        cases.retain(|(name, _)| name.contains(&only));
        found.add(try_all(&format!("whole{number}-"), &cases, modes));
    }
    found.finish();
    check_words(&found);
    for (number, stricter) in STRICTER.iter().enumerate() {
        assert!(!only.is_empty() || found.seen(number) > 0, "not seen: {}", stricter.why);
    }
}

/// Every fifth case that needs no other program, in the strictest mode and in the default.
#[test]
fn a_slice_of_the_table() {
    let mut found = Found::default();
    for (number, (cases, _)) in dimensions().into_iter().enumerate() {
        let cases: Vec<_> =
            cases.into_iter().filter(|(_, chain)| !chain.needs_openssl()).step_by(5).collect();
        found.add(try_all(&format!("slice{number}-"), &cases, &[MODES[0], MODES[3]]));
    }
    found.finish();
    check_words(&found);
}

/// No error of ours has Rust's debug output in it, and each says what to do.
fn check_words(found: &Found) {
    for (cell, said) in &found.errors {
        let debug = ["::", "Error(", "Error {", "Some(", "Other(", "{ ", "InvalidCertificate"];
        assert!(!debug.iter().any(|part| said.contains(part)), "{cell}: {said}");
        assert!(!said.ends_with("()"), "no hint: {cell}: {said}");
    }
}
