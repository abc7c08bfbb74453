//! What a run must reach: one that does nothing finds nothing.

use std::collections::BTreeMap;

use crate::book::Book;
use crate::fault::Fault;
use crate::way::Way;

/// A run that is this long must have reached each outcome and a recovery: 20 s.
const SHORT: u64 = 20;

/// A run that is this long must have reached everything: 5 minutes.
const LONG: u64 = 300;

/// What was not reached in a run of so many seconds with faults among these, and must be.
pub(crate) fn missing(
    seconds: u64,
    book: &Book,
    (among, faults): (&[Fault], &BTreeMap<Fault, u64>),
    recoveries: u64,
) -> Vec<String> {
    let mut missing = Vec::new();
    let counts = book.counts();
    if seconds >= SHORT {
        for outcome in ["acknowledged", "rejected", "unknown"] {
            if !counts.keys().any(|(_, other)| *other == outcome) {
                missing.push(format!("a row that is {outcome}"));
            }
        }
        if recoveries == 0 && among.len() > 1 {
            missing.push("a recovery".to_owned());
        }
        let unused = Way::all().filter(|way| !counts.keys().any(|(other, _)| other == way));
        missing.extend(unused.map(|way| way.to_string()));
    }
    if seconds >= LONG {
        let without = among.iter().filter(|fault| !faults.contains_key(fault));
        missing.extend(without.map(ToString::to_string));
    }
    if seconds >= LONG && among.len() == Fault::all().count() {
        for words in ["CommitUnknown", "CarriedOut", "CommitRefused", "Cancelled", "ConnectionDead"]
        {
            if !book.has_said(words) {
                missing.push(format!("an error of the kind {words}"));
            }
        }
    }
    missing
}
