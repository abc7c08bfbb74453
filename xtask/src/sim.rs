//! The simulator, built so that it is quick to build and quick enough to run.

use crate::run::{cargo, succeed};

/// Passes everything on to the simulator's own command line.
pub(crate) fn sim(arguments: &[&str]) -> Result<(), String> {
    let build = ["run", "--quiet", "--profile", "checked", "--package", "txpostgres-sim", "--"];
    succeed(&mut cargo(build.iter().chain(arguments).copied()))
}
