//! COPY: rows in the binary format, and the data of both directions through a session.
//!
//! Checked: rows come back as they were written, however they are cut; a row that cannot be written
//! leaves nothing; damaged data is read the same way whole and in pieces; memory is a multiple of
//! the data; what a session sends is what it was given, up to the refusal; what it receives is
//! handed on byte by byte, whatever its layout says.

mod rows;
mod talk;

use proptest::prelude::*;

use crate::probe::Probe;
use crate::target::{Cases, Checked};

#[derive(Debug, Clone)]
enum Case {
    Rows(rows::Written),
    In(talk::In),
    Out(talk::Out),
}

pub(crate) const EXPECTED: &[&str] = &[
    "rows: read",
    "rows: refused",
    "rows: broken off",
    "rows: a row that is not written",
    "in: done",
    "in: failed",
    "in: refused",
    "in: cancelled",
    "in: rows",
    "in: data",
    "in: dead",
    "out: ok",
    "out: dead",
    "out: Text",
    "out: Binary",
    "out: failed",
];

pub(crate) fn cases() -> Box<dyn Cases> {
    let strategy = prop_oneof![
        3 => rows::written().prop_map(Case::Rows),
        1 => talk::any_in().prop_map(Case::In),
        1 => talk::any_out().prop_map(Case::Out),
    ];
    Box::new(Checked { strategy, check })
}

fn check(case: &Case, probe: &mut Probe) {
    match case {
        Case::Rows(written) => written.check(probe),
        Case::In(talk) => talk.check(probe),
        Case::Out(talk) => talk.check(probe),
    }
}
