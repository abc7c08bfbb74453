//! A real run, drawn: a server is restarted, then the network goes deaf; and one connection that
//! keeps answering. The picture is that of the guide's page on reconnecting.
//!
//! ```text
//! cargo xtask timeline docs/guide/reconnecting.svg
//! ```

mod happened;
mod picture;
mod story;

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("Where is the picture to be written? Give a path that ends in .svg.");
        return ExitCode::FAILURE;
    };
    match draw(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(path: &str) -> Result<(), Box<dyn Error>> {
    let happened = tokio::runtime::Runtime::new()?.block_on(story::told())?;
    picture::draw(&happened, path)?;
    println!("{path}: {} events in {:.1} s", happened.len(), happened.seconds());
    Ok(())
}
