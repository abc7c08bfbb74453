//! What a commit must pass besides the tests: formatting, lints, documentation.

use crate::run::{cargo, succeed};

pub(crate) fn check() -> Result<(), String> {
    succeed(&mut cargo(["fmt", "--all", "--check"]))?;
    let lint = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    succeed(&mut cargo(lint))?;
    let document = ["doc", "--workspace", "--no-deps", "--all-features"];
    succeed(cargo(document).env("RUSTDOCFLAGS", "-D warnings"))?;
    println!("check: formatting, lints and documentation are as they should be");
    Ok(())
}
