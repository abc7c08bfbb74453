//! The fuzz loops, built with optimisation and with every check of a debug build.

use crate::run::{cargo, succeed};

/// Passes everything on to the loops' own command line.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<(), String> {
    let build = ["run", "--quiet", "--profile", "checked", "--package", "txpostgres-fuzz", "--"];
    succeed(&mut cargo(build.iter().chain(arguments).copied()))
}
