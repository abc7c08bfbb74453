//! The ledger of rows under random faults of real servers.

use crate::run::{cargo, succeed};

/// Passes everything on to the ledger's own command line.
pub(crate) fn ledger(arguments: &[&str]) -> Result<(), String> {
    // What tests are built with: servers take the time, not the client.
    let build = ["run", "--quiet", "--package", "txpostgres-ledger", "--"];
    succeed(&mut cargo(build.iter().chain(arguments).copied()))
}
